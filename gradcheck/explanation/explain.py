"""Why a gradient is wrong: every suspicion that holds, the simplest first. Level 3.

Three kinds of evidence are asked: algebra on the claimed gradients, edits of the backward's own source, and patterns of
what reaches what, seen by running the backward on watched arrays. Where some function has no source, patterns come
before edits. Each yields only what was verified: the gradients that undoing the mistake gives have the measured slopes.
An edit is verified once more at another point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import name_of
from gradcheck.explanation.edits import Aim, Edit, edits
from gradcheck.explanation.edits.keep import kept
from gradcheck.explanation.edits.reach import reached
from gradcheck.explanation.edits.source import NoSource, source_of
from gradcheck.explanation.evidence import Evidence, Exhausted
from gradcheck.explanation.suspects import (
    absent,
    chain,
    cotangents,
    counterfactual,
    engines,
    maxima,
    numbers,
    paths,
    regulariser,
    scale,
    shapes,
    signs,
    sums,
    tables,
    targets,
)
from gradcheck.explanation.suspects.batches import batch_of
from gradcheck.explanation.suspects.resized import holds_resized
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.mistakes import CATALOGUE
from gradcheck.report import Explanation
from gradcheck.trees import leaves
from gradcheck.verdict.laws import match_gradients

__all__ = ["Explained", "explain"]

ALGEBRA = (
    scale,
    regulariser,
    tables,
    targets,
    maxima,
    shapes,
    numbers,
    cotangents,
    signs,
)  # in the order of their cost
PATTERNS = (engines, chain, absent, sums, paths, counterfactual)
TRIED = 600  # edits of the source at most,
CALLED = 300  # so many where only functions that the backward calls have one,
KNOWN = 3  # so many times fewer where the mistake has a name already, and only its line is looked for,
FURTHER = 40  # and so many after the first that passes, for a mistake that cannot be told apart from it
REPAIRS = 4  # edits that pass, after which no more are tried
SAME = 1e-9  # relative: what an edit may change of a gradient that was right
PLAIN = {"A1": scale, "A4": scale, "B1": shapes, "B5": shapes, "D1": regulariser}  # whom algebra alone tells of what
SIZED = {"A2", "A3", "A4", "A5"}  # what is told apart at other sizes
FITTED = 2.0  # more doubt about an edit that makes the check pass at these sizes only
MOST = 3  # explanations that a person reads
EDITED = 0.5  # the doubt of the first edit that passes; one such choice among many is simpler than a fitted candidate
SEEN_TWICE = -1.0  # what is added twice in the source is why there is a factor 2, whatever else is 2
SURE = 0.6  # with so little doubt about everything that is wrong, no more is asked
ALIKE = 0.75  # doubts that differ by less are no reason to prefer one explanation to another

Recheck = Callable[[Callable[..., Any], Callable[[Any, Any], Any]], bool]


class Explained(NamedTuple):
    """The explanations, the simplest first; why there are none; and the mistakes that are ruled out, by name."""

    explanations: tuple[Explanation, ...]
    silence: str | None
    ruled_out: tuple[str, ...]


class Candidate(NamedTuple):
    """A class of mistakes with the arguments that it explains, and what supports it."""

    suspicion: Suspicion
    edit: Edit | None = None


def explain(evidence: Evidence, recheck: Recheck) -> Explained:
    """Return why the gradients of ``evidence.wrong`` are wrong.

    ``recheck`` says of another forward and backward whether they pass the check at another point. Whatever goes wrong
    in here is no reason to lose the verdict: it is told in ``silence``.
    """
    inquest = Inquest(evidence, [], [], [])
    with kept(evidence.forward, evidence.backward):
        inquest.ask(ALGEBRA)
        if _has_source(evidence.backward):
            inquest.ask_the_source(recheck, TRIED)
            inquest.ask(PATTERNS)
        else:  # then only functions that it calls can be edited, and they serve others too
            inquest.ask(PATTERNS)
            inquest.ask_the_source(recheck, CALLED)
    candidates, asked, troubles = inquest.candidates, inquest.asked, inquest.troubles
    explanations = tuple(_told_apart(_ranked(candidates, evidence)))
    found = {candidate.suspicion.mistake for candidate in candidates}
    ruled_out = tuple(CATALOGUE[id_].name for id_, family in PLAIN.items() if family in asked and id_ not in found)
    if explanations:
        return Explained(explanations, None, ruled_out)
    silence = "; ".join(["no mistake of the catalogue, undone, makes the check pass", *troubles])
    return Explained((), silence, ruled_out)


class Inquest(NamedTuple):
    """What is suspected so far, which families were asked to the end, and what went wrong in any."""

    evidence: Evidence
    candidates: list[Candidate]
    asked: list[ModuleType]
    troubles: list[str]

    def ask(self, families: tuple[ModuleType, ...]) -> None:
        """Ask some families, until one explains everything with no more doubt than an edit of the source leaves."""
        for family in families:
            if any(_explains_all(each, self.evidence) and each.suspicion.doubt <= SURE for each in self.candidates):
                return
            try:
                with np.errstate(all="ignore"):
                    found = (_sized(each, self.evidence) for each in family.suspects(self.evidence))
                    self.candidates.extend(map(Candidate, found))
                self.asked.append(family)
            except Exhausted as problem:
                self._note(str(problem))
                return
            except Exception as problem:  # noqa: BLE001  (an explanation must never take the verdict with it)
                self._note(f"{family.__name__.rpartition('.')[2]} raised {_told(problem)}")

    def ask_the_source(self, recheck: Recheck, most: int) -> None:
        """Try edits of the source: where the mistake has a name already, a third, to find its line."""
        known = any(_explains_all(each, self.evidence) for each in self.candidates)
        try:
            self.candidates.extend(_repairs(self.evidence, recheck, most // KNOWN if known else most))
        except Exhausted as problem:
            self._note(str(problem))
        except Exception as problem:  # noqa: BLE001  (the user's code, edited, may do anything; the report must stand)
            self._note(f"trying edits of the source raised {_told(problem)}")

    def _note(self, trouble: str) -> None:
        if trouble not in self.troubles:
            self.troubles.append(trouble)


def _has_source(backward: Callable[..., Any]) -> bool:
    """Whether every function of the user's that the backward leads to has a source; if not, it may stand there."""
    try:
        for function in reached(backward):
            source_of(function)
    except NoSource:
        return False
    return True


def _repairs(evidence: Evidence, recheck: Recheck, most: int) -> Iterator[Candidate]:
    """Yield those of the first ``most`` edits of the source that make the check pass; at these sizes alone, if none."""
    found, fitted = 0, list[Candidate]()
    example = (evidence.cotangent, evidence.cache)
    aim = Aim(frozenset(evidence.wrong), lambda backward: _touched(backward, evidence))
    made = edits(evidence.backward, example, forward=evidence.forward, args=evidence.arguments.fresh(), aim=aim)
    for tried, edit in enumerate(made):
        if tried >= most or found >= REPAIRS:
            break
        with kept(evidence.forward, evidence.backward):
            repairs = _repairs_all(edit, evidence) and recheck(edit.forward or evidence.forward, edit.backward)
            fits = repairs and _fits_these_sizes_alone(edit, evidence)
        if repairs:
            if fits:
                fitted.append(Candidate(_suspicion(edit, evidence, EDITED + FITTED), edit))
                continue
            found += 1
            most = min(most, tried + 1 + FURTHER)
            doubt = SEEN_TWICE if edit.mistake == "E2" else EDITED + 0.1 * found
            yield Candidate(_suspicion(edit, evidence, doubt), edit)
    yield from () if found else fitted


def _suspicion(edit: Edit, evidence: Evidence, doubt: float) -> Suspicion:
    mistake = _class_of(edit, evidence)
    sentence = f"{CATALOGUE[mistake].sentence} Edit line {edit.line} of {edit.function}, as shown."
    return Suspicion(mistake, evidence.wrong, sentence, doubt=doubt)


def _class_of(edit: Edit, evidence: Evidence) -> str:
    """Return the class of an edit: what lacks a batch size, where the forward averages, was divided by it twice."""
    batch = batch_of(evidence) if edit.mistake == "A2" else None
    points = [evidence.point[path] for path in evidence.wrong]
    if batch is None or batch.over != "mean" or all(max(point.shape, default=1) == point.size for point in points):
        return edit.mistake
    with np.errstate(all="ignore"):
        _, cache = (edit.forward or evidence.forward)(*evidence.arguments.fresh())
        repaired = evidence.claims(edit.backward(next(evidence.cotangents([evidence.flat_cotangent])), cache))
    claimed = evidence.claimed
    grown = (
        path in claimed and np.linalg.norm(repaired[path]) > np.linalg.norm(claimed[path]) for path in evidence.wrong
    )
    return "A3" if all(grown) else "A2"


def _sized(suspicion: Suspicion, evidence: Evidence) -> Suspicion:
    """Return a suspicion of a factor with more doubt where other sizes tell against it.

    A constant stays what it is in a batch of another size, and the size of a batch does not.
    """
    if suspicion.mistake not in {"A2", "A3", "A4"} or not suspicion.repaired:
        return suspicion
    factors = {}
    for path, repaired in suspicion.repaired.items():
        claimed = evidence.claimed.get(path)
        if claimed is None or np.shape(claimed) != np.shape(repaired):
            return suspicion
        factors[path] = float(np.vdot(claimed, repaired) / (np.vdot(claimed, claimed) or 1.0))
        if not np.allclose(repaired, factors[path] * claimed, rtol=SAME):
            return suspicion
    stays = holds_resized(evidence, evidence.forward, evidence.backward, factors)
    against = stays is False if suspicion.mistake == "A4" else stays is True
    return suspicion._replace(doubt=suspicion.doubt + FITTED) if against else suspicion


def _fits_these_sizes_alone(edit: Edit, evidence: Evidence) -> bool:
    """Whether a factor that an edit brings in is the right one by the chance of these sizes."""
    if edit.mistake not in SIZED:
        return False
    return holds_resized(evidence, edit.forward or evidence.forward, edit.backward) is False


def _repairs_all(edit: Edit, evidence: Evidence) -> bool:
    """Whether the edited backward gives the true gradient of every argument."""
    try:
        with np.errstate(all="ignore"):
            returned = _returned(edit.backward, edit.forward, evidence)
            gradients = match_gradients(name_of(evidence.backward), returned, evidence.arguments).gradients
    except Exception:  # noqa: BLE001  (an edit that does not run is none)
        return False
    for path in evidence.point:
        gradient = gradients.get(path)
        if gradient is None or not np.isfinite(gradient).all():
            return False
        if path not in evidence.wrong and not _same(gradient, evidence.claimed.get(path)):
            return False
    first, *rest = evidence.wrong
    repaired = {path: np.asarray(gradients[path], dtype=np.float64) for path in evidence.wrong}
    if not evidence.is_true(first, repaired.pop(first)):
        return False
    return not rest or evidence.are_true(repaired)


def _touched(backward: Callable[..., Any], evidence: Evidence) -> frozenset[str] | None:
    """Return the arguments whose gradients another backward changes; None if it does not run."""
    try:
        with np.errstate(all="ignore"):
            returned = _returned(backward, None, evidence)
            gradients = match_gradients(name_of(evidence.backward), returned, evidence.arguments).gradients
    except Exception:  # noqa: BLE001  (the user's code on other numbers may do anything)
        return None
    claimed = {path: evidence.claimed.get(path) for path in evidence.point}
    unshaped = {path for path in claimed if claimed[path] is None or gradients.get(path) is None}
    return frozenset(path for path in claimed if path in unshaped or not _same(gradients[path], claimed[path]))


def _returned(backward: Callable[..., Any], forward: Callable[..., Any] | None, evidence: Evidence) -> Any:
    """Return what another backward returns; what writes into its cache gets one of its own."""
    (cotangent,) = evidence.cotangents([evidence.flat_cotangent])
    sealed = None if forward else evidence.sealed()
    if sealed is not None:
        try:
            return backward(cotangent, sealed)
        except ValueError as problem:
            if "read-only" not in str(problem):
                raise
            (cotangent,) = evidence.cotangents([evidence.flat_cotangent])
    out, cache = (forward or evidence.forward)(*evidence.arguments.fresh())
    if forward and not _equal(out, evidence.out):
        raise ValueError("gradients made in the forward must not change what it computes, but they do")
    return backward(cotangent, cache)


def _equal(out: Any, known: Any) -> bool:
    pairs = zip(leaves(out, "out"), leaves(known, "out"), strict=True)
    return all(np.array_equal(here, there) for (_, here), (_, there) in pairs)


def _same(gradient: Any, claimed: Any) -> bool:
    """Whether an edit left a right gradient as it was."""
    return claimed is not None and bool(
        np.linalg.norm(np.asarray(gradient, dtype=np.float64) - claimed) <= SAME * np.linalg.norm(claimed)
    )


def _explains_all(candidate: Candidate, evidence: Evidence) -> bool:
    return set(evidence.wrong) <= set(candidate.suspicion.arguments)


def _ranked(candidates: list[Candidate], evidence: Evidence) -> list[Candidate]:
    """Return one candidate per class of mistakes, the one that explains most with the least doubt first."""
    merged: dict[str, Candidate] = {}
    for each in candidates:
        mistake = each.suspicion.mistake
        merged[mistake] = _merged(merged[mistake], each, evidence) if mistake in merged else each

    def order(candidate: Candidate) -> tuple[int, float]:
        unexplained = len(set(evidence.wrong) - set(candidate.suspicion.arguments))
        return unexplained, candidate.suspicion.doubt

    return sorted(merged.values(), key=order)


def _merged(one: Candidate, two: Candidate, evidence: Evidence) -> Candidate:
    """Return what two candidates of one class say together: two kinds of evidence leave less doubt than one."""
    first, second = sorted((one.suspicion, two.suspicion), key=lambda s: (-len(s.arguments), s.doubt))
    if one.edit and two.edit:
        return one
    arguments = tuple(path for path in evidence.wrong if path in {*first.arguments, *second.arguments})
    speaks = next((each.suspicion for each in (one, two) if each.edit is None), first)
    doubt = min(first.doubt, second.doubt) - (EDITED if one.edit or two.edit else 0.0)
    if not (one.edit or two.edit) and set(first.arguments) != set(arguments):
        doubt = max(first.doubt, second.doubt)
        speaks = first._replace(sentence=f"{first.sentence} {second.sentence}")
    return Candidate(speaks._replace(arguments=arguments, doubt=doubt), one.edit or two.edit)


def _told_apart(ranked: list[Candidate]) -> Iterator[Explanation]:
    """Yield the explanations that a person should read: the simplest, and what cannot be told apart from it."""
    explained: set[str] = set()
    for number, (suspicion, edit) in enumerate(ranked):
        rival = number > 0 and suspicion.doubt <= ranked[0].suspicion.doubt + ALIKE
        if number and not rival and set(suspicion.arguments) <= explained:
            continue
        if number >= MOST:
            return
        explained |= set(suspicion.arguments)
        explanation = Explanation(suspicion.mistake, suspicion.arguments, suspicion.sentence, verified=True)
        if edit:
            change = f"line {edit.line} of {edit.function}: {edit.before}  →  {edit.after}"
            explanation = replace(explanation, edit=change)
        if suspicion.otherwise or rival:
            visible = suspicion.otherwise or f"It would show on other inputs: {CATALOGUE[suspicion.mistake].visible}."
            explanation = replace(explanation, otherwise=visible)
        yield explanation


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}".splitlines()[0][:120]
