"""Which mistakes the inputs of a check could not have revealed, why, and which change of them would. Level 5.

A right backward is turned into wrong ones: its gradients are changed, its cache, its source. A wrong one that gives
the same gradients here cannot be seen here. It is called a blind spot of the *inputs* only if it gives others on other
inputs; else it is the same backward in other words. What was special about the inputs is what those lack.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, Chosen, name_of
from gradcheck.blindness.mutants import Mutant, mutants
from gradcheck.blindness.mutations import mutations
from gradcheck.blindness.roles import BATCH, hidden_by, role_of
from gradcheck.blindness.spots import BlindSpot, BlindSpots
from gradcheck.blindness.variations import Args, Variation, variations
from gradcheck.calls import Calls, answering
from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.batches import Batch, batch_of
from gradcheck.mistakes import CATALOGUE
from gradcheck.oracles import central_difference
from gradcheck.pairing import Pairing, call
from gradcheck.report import Finding, Verdict
from gradcheck.settings import must_be_functions, must_be_seed
from gradcheck.trees import Array, leaves, rebuild
from gradcheck.verdict.judge import VACUOUS
from gradcheck.verdict.laws import match_gradients, split_forward
from gradcheck.verdict.subject import Backward, Claim, Forward, Subject

__all__ = ["blind_spots"]

STREAM = 0x626C696E  # our own: default_rng(seed) may have drawn the user's arguments, which no cotangent must equal
EQUAL = 1e-13  # relative: gradients that differ by no more are the same, to any check
OTHER = 1e-6  # and by no less are others
SHOWN = 2  # wrong backwards that are named for one blind spot
BY_LAW = {"C5", "E2", "E3", "F7", "G4"}  # classes that laws of behaviour reveal on any inputs
ABSURD = re.compile(r"divided by (cache|.*\[\d+\]²)")  # a size that the cache keeps, or a label, is no factor

Gradients = dict[str, Array]


def blind_spots(
    forward: Forward, backward: Backward, args: Sequence[Any], *, wrt: Chosen = None, seed: int | None = None
) -> BlindSpots:
    """Return which mistakes in ``backward`` a check on ``args`` could not reveal.

    Combine those of several inputs with ``&``. Each statement was tried: the wrong backward passes the check on
    ``args``, and fails it on inputs that differ in what is said; for an axis of size 1 a few follow from what the
    forward does along it (no sum over one sample differs from a mean).

    Args:
        forward: ``forward(*args) -> (out, cache)``.
        backward: ``backward(dout, cache) -> gradients``; if its source can be had, edits of it are tried too.
        args: the arguments of one call of the forward.
        wrt: names or positions of the arguments that move; by default every float array does.
        seed: of the cotangents and the other inputs.

    Raises:
        ValueError: the pair does not pass the check on ``args``; then there is no right backward to start from.
        TypeError: as :func:`gradcheck.examine_backward`.
    """
    must_be_functions({"forward": forward, "backward": backward}, {})
    must_be_seed(seed)
    arguments = Arguments.of(forward, args, wrt)
    with answering("the pair", ()):
        return _Search(forward, backward, arguments, seed or 0, widen=wrt is None).run()


class _Search:
    """The search for blind spots at one point."""

    def __init__(self, forward: Forward, backward: Backward, arguments: Arguments, seed: int, *, widen: bool) -> None:
        self.forward, self.backward, self.seed = forward, backward, seed
        self.claim, self.findings, verdict = self._examined(forward, backward, arguments, widen=widen)
        if verdict is not Verdict.PASS and not _all_vacuous(self.findings):
            wrong = [f"d{path}" for path, finding in self.findings.items() if finding.verdict is verdict]
            word = "fails" if verdict is Verdict.FAIL else "is undecided"
            raise ValueError(
                f"blind_spots must be given a pair that passes the check, but {name_of(backward)} {word}"
                f"{' for ' if wrong else ''}{', '.join(wrong)}. Run check_backward, and mend what it finds first."
            )
        self.arguments = self.claim.arguments
        self.wrt = self.arguments.layout.paths
        self.right = {path: _double(g) for path, g in self.claim.gradients.gradients.items() if g is not None}
        self.batch: Batch | None = None

    def run(self) -> BlindSpots:
        evidence = self._evidence(self.claim)
        self.batch = batch_of(evidence)
        skipped = BY_LAW if self.batch else BY_LAW | {"A2"}  # of which axis the batch is tells its role
        hidden = [mutant for mutant in mutants(evidence) if self._is_hidden(mutant)]
        changed = {
            (mistake, done): None
            for mistake, done, wrong in mutations(self.right, evidence)
            if mistake not in skipped and not ABSURD.search(done) and not self._reveals(wrong, self.right, EQUAL)
        }
        spots: list[BlindSpot] = list(self._vacuous())
        for variation in variations(self.arguments, self._usable, np.random.default_rng((self.seed, STREAM, 1))):
            if not (hidden or changed or variation.longer):
                break
            spots += self._told_by(variation, hidden, changed)
        return BlindSpots(name_of(self.forward), tuple(_merged(spots)), tuple(self._alike()))

    def _told_by(
        self, variation: Variation, hidden: list[Mutant], changed: dict[tuple[str, str], None]
    ) -> Iterator[BlindSpot]:
        """Yield what a variation reveals, and take it off what is hidden."""
        base = self._gradients(self.forward, self.backward, variation.args)
        if base is None or (variation.at_kinks and not hidden):
            return
        shown = [m for m in hidden if self._dies(m, variation, base)]
        found = [] if variation.at_kinks else self._changed_there(variation, base, changed)
        roles = self._by_role(variation) if variation.longer else ()
        if not (shown or found or roles):
            return
        if self._verdict(self.forward, self.backward, variation.args) is not Verdict.PASS:
            return
        named: dict[str, list[str]] = {mistake: [] for mistake in roles}
        for key in found:
            del changed[key]
            named.setdefault(key[0], []).append(key[1])
        for mutant in shown:
            hidden.remove(mutant)
            rest = named.get(mutant.mistake, [])
            if len(rest) < SHOWN and self._verdict(mutant.forward, mutant.backward, None) is Verdict.PASS:
                named.setdefault(mutant.mistake, []).append(mutant.what)
        for mistake, unseen in named.items():
            yield BlindSpot(mistake, variation.why, variation.change, tuple(unseen[:SHOWN]))

    # -- at the point

    def _is_hidden(self, mutant: Mutant) -> bool:
        found = self._gradients(mutant.forward, mutant.backward, None)
        return found is not None and not self._reveals(found, self.right)

    def _reveals(self, wrong: Gradients, right: Gradients, least: float | None = None) -> bool:
        """Whether gradients differ by more than ``least``, by default by more than the check's own bound."""
        return any(
            _apart(wrong.get(path), gradient) > (max(self.findings[path].bound, EQUAL) if least is None else least)
            for path, gradient in right.items()
        )

    def _vacuous(self) -> Iterator[BlindSpot]:
        for path, finding in self.findings.items():
            if finding.reason == VACUOUS:
                change = f"Draw inputs on which the output depends on {path}."
                yield BlindSpot("I2", f"d{path} is zero here", change, (f"d{path} multiplied by any number",))

    def _alike(self) -> Iterator[BlindSpot]:
        if self.batch and self.batch.size == 2:
            why = f"{self.batch.name} is 2, so that a factor of the batch (A2) looks like any factor 2 (A4)"
            yield BlindSpot("A2", why, f"Draw {self.batch.name} of at least 3.")

    # -- elsewhere

    def _by_role(self, variation: Variation) -> tuple[str, ...]:
        """Return the mistakes that one sample, or one step, hides by what it is."""
        if not variation.why.endswith(" is 1"):
            return ()
        axes = dict(variation.longer)
        if len(axes) < len(variation.longer):
            return ()
        try:
            role = role_of(self.forward, self.arguments.names, variation.args, axes)
        except Exception:  # noqa: BLE001  (a forward that refuses one of the slices tells nothing)
            return ()
        if role in BATCH:
            if self.batch:
                return ()
            self.batch = Batch(1, variation.why.removesuffix(" is 1"), axes, role)  # and no other axis is
        return hidden_by(role, axes, _shapes(self.arguments))

    def _dies(self, mutant: Mutant, variation: Variation, base: Gradients) -> bool:
        found = self._gradients(mutant.forward, mutant.backward, variation.args)
        if found is not None and not self._reveals(found, base, OTHER):
            return False
        if not variation.at_kinks:
            return True
        return self._verdict(mutant.forward, mutant.backward, variation.args) is Verdict.FAIL

    def _changed_there(
        self, variation: Variation, base: Gradients, changed: dict[tuple[str, str], None]
    ) -> list[tuple[str, str]]:
        if not changed:
            return []
        try:
            evidence = self._evidence(self._subject(self.forward, self.backward).claim(self._at(variation.args)))
            return [
                (mistake, done)
                for mistake, done, wrong in mutations(base, evidence)
                if (mistake, done) in changed and self._reveals(wrong, base, OTHER)
            ]
        except Exception:  # noqa: BLE001  (what cannot be changed there tells nothing)
            return []

    def _usable(self, args: Args) -> bool:
        return self._gradients(self.forward, self.backward, args) is not None

    # -- how a pair is run

    def _subject(self, forward: Forward, backward: Backward) -> Subject:
        """Return a pair under examination; its first cotangent is that of any other with outputs of the same shape."""
        called, rng = Calls().called, np.random.default_rng((self.seed, STREAM, 0))
        return Subject(called(forward), called(backward), (central_difference,), None, rng)

    def _at(self, args: Args | None) -> Arguments:
        return self.arguments if args is None else Arguments.of(self.forward, args, self.wrt)

    def _gradients(self, forward: Forward, backward: Backward, args: Args | None) -> Gradients | None:
        """Return the gradients of a pair; None where it does not run, or breaks the contract."""
        try:
            arguments = self._at(args)
            with np.errstate(all="ignore"):
                out, cache = split_forward(name_of(forward), call(forward, arguments.fresh()))
                rng = np.random.default_rng((self.seed, STREAM, 0))
                cotangent = rebuild(out, (_normal_like(leaf, rng) for _, leaf in leaves(out, "out")))
                claims = match_gradients(name_of(backward), call(backward, (cotangent, cache)), arguments)
        except Exception:  # noqa: BLE001  (a wrong backward may raise anything, a forward refuse any inputs)
            return None
        if claims.breach or claims.breaches:
            return None
        return {path: _double(gradient) for path, gradient in claims.gradients.items() if gradient is not None}

    def _verdict(self, forward: Forward, backward: Backward, args: Args | None) -> Verdict:
        """Return the verdict of a check; inconclusive where it cannot be run."""
        try:
            with np.errstate(all="ignore"):
                return self._examined(forward, backward, self._at(args), widen=False)[2]
        except Exception:  # noqa: BLE001  (as above)
            return Verdict.INCONCLUSIVE

    def _examined(
        self, forward: Forward, backward: Backward, arguments: Arguments, *, widen: bool
    ) -> tuple[Claim, dict[str, Finding], Verdict]:
        subject = self._subject(forward, backward)
        claim = subject.claim(arguments, widen=widen, watch=True)
        breach = claim.gradients.breach
        broken = bool(breach) or bool(subject.broken_laws(claim))
        findings = subject.measure(claim)
        if any(finding.conventions for finding in findings.values()):
            findings = subject.settle_kinks(claim.arguments, findings)
        verdicts = {finding.verdict for finding in findings.values()}
        if Verdict.FAIL in verdicts or broken:
            return claim, findings, Verdict.FAIL
        unanswered = set(claim.arguments.layout.paths) - set(findings)
        undecided = Verdict.INCONCLUSIVE in verdicts or bool(unanswered) or _all_vacuous(findings)
        return claim, findings, Verdict.INCONCLUSIVE if undecided else Verdict.PASS

    def _evidence(self, claim: Claim) -> Evidence:
        pairing = Pairing.at_point(self.forward, claim.arguments, claim.cotangent)
        with np.errstate(all="ignore"):
            _, cache = call(self.forward, claim.arguments.fresh())
            returned = call(self.backward, (claim.cotangent, cache))
        claimed = {path: _double(g) for path, g in claim.gradients.gradients.items() if g is not None}
        measure = central_difference(pairing, claim.arguments.point)
        rng = np.random.default_rng((self.seed, STREAM, 2))
        return Evidence(
            self.forward, self.backward, claim.arguments, claim.out, claim.cotangent, returned, claimed, {}, (),
            pairing, measure, rng, 0,
        )  # fmt: skip


def _shapes(arguments: Arguments) -> dict[str, tuple[int, ...]]:
    return dict(zip(arguments.layout.paths, arguments.layout.shapes, strict=True))


def _all_vacuous(findings: dict[str, Finding]) -> bool:
    return all(finding.reason == VACUOUS for finding in findings.values())


def _apart(wrong: Array | None, right: Array) -> float:
    """Return by which part of the right gradient the wrong one differs; infinite where it is no such gradient."""
    if wrong is None or wrong.shape != right.shape:
        return math.inf
    apart, size = float(np.linalg.norm(wrong - right)), float(np.linalg.norm(right))
    if math.isnan(apart):
        return math.inf
    return apart / size if size else (math.inf if apart else 0.0)


def _merged(spots: Iterable[BlindSpot]) -> list[BlindSpot]:
    """Return the spots in the catalogue's order, one for each mistake and reason."""
    merged: dict[tuple[str, str], BlindSpot] = {}
    for spot in spots:
        key = (spot.mistake, spot.why)
        unseen = (*merged[key].unseen, *spot.unseen) if key in merged else spot.unseen
        merged[key] = replace(spot, unseen=tuple(dict.fromkeys(unseen))[:SHOWN])
    order = list(CATALOGUE)
    return sorted(merged.values(), key=lambda spot: order.index(spot.mistake))


def _double(gradient: Array) -> Array:
    return np.asarray(gradient, dtype=np.float64)


def _normal_like(leaf: Any, rng: np.random.Generator) -> Any:
    drawn = rng.standard_normal(np.shape(leaf))
    return drawn.astype(leaf.dtype, copy=False) if isinstance(leaf, np.ndarray) else type(leaf)(drawn)
