"""What is found of a pushforward: a verdict for the part of its tangent that each argument has. Level 4.

⟨ȳ, pushforward(ẋ)⟩ = ⟨ȳ, J ẋ⟩ for every ȳ: the tangent is drawn and held fixed, and cotangents are what probes. All
arguments are pushed forward together first, each by so much that all parts of ẏ are as large; where that does not pass,
one by one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, name_of
from gradcheck.hints import Sentence
from gradcheck.oracles import Oracle
from gradcheck.pairing import call
from gradcheck.pushforward.rule import Answer, Rule, of_output
from gradcheck.pushforward.ties import at_tie, settled
from gradcheck.report import Finding, Verdict
from gradcheck.trees import Array, is_discrete, leaves, norm
from gradcheck.verdict.case import Case
from gradcheck.verdict.crossexamine import cross_examine
from gradcheck.verdict.judge import KINK, VACUOUS, judge
from gradcheck.verdict.kinks import beside
from gradcheck.verdict.laws import split_forward
from gradcheck.verdict.line import Line, Remembering
from gradcheck.verdict.rounding import rounding_of
from gradcheck.verdict.subject import dtype_kept

__all__ = ["Examination", "Findings"]

WEAK = 1e-5  # of the largest part of ẏ is a part that is pushed forward alone
Findings = dict[str, Finding]
_GRAVITY = (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL)


@dataclass(frozen=True)
class Examination:
    """A rule under examination, who measures, how sharp a pass must be, and the source of all randomness."""

    rule: Rule
    oracles: tuple[Oracle, ...]
    tol: float | None
    rng: np.random.Generator

    @classmethod
    def at(
        cls,
        function: Callable[..., Any],
        pushforward: Callable[..., Any],
        arguments: Arguments,
        oracles: tuple[Oracle, ...],
        tol: float | None,
        rng: np.random.Generator,
        computes: Callable[..., Any] | None = None,
        out: Any = None,
    ) -> Examination:
        """Return the examination of a rule at the point of ``arguments``; ``out`` is the output if it is known.

        Raises:
            TypeError, ValueError: the function returns no floats, or none that are finite.
        """
        out = call(function, arguments.fresh()) if out is None else out
        out, _ = split_forward(name_of(function), (out, None), hint="Return arrays of floats, or a container of them.")
        return cls(Rule(function, pushforward, arguments, out, of_output(out), computes), oracles, tol, rng)

    def tangent(self) -> Array:
        """Return a random tangent of all that moves, as long as that, in the precision of each leaf."""
        layout, point = self.rule.arguments.layout, self.rule.arguments.point
        tangent = self.rng.standard_normal(layout.size)
        for part, dtype in zip(layout.slices, layout.dtypes, strict=True):
            length = norm(point[part]) / math.sqrt(point[part].size) or 1.0
            tangent[part] = (length * tangent[part]).astype(dtype).astype(np.float64)
        return tangent

    @np.errstate(all="ignore")
    def parts(self, tangent: Array, whole: Answer) -> list[tuple[Array, Answer | Sentence]]:
        """Return the tangent of each argument alone with what is claimed of it; ``whole`` is claimed of all."""
        count = len(self.rule.arguments.layout.paths)
        alone = [self._only(tangent, (leaf,)) for leaf in range(count)]
        return [(part, whole if count == 1 else self.rule.claim(part)) for part in alone]

    @np.errstate(all="ignore")
    def findings(self, tangent: Array, pushed: Sequence[tuple[Array, Answer | Sentence]]) -> Findings:
        """Return what is found of the part of ẏ that each argument has along ``tangent``: those ``pushed`` forward."""
        layout = self.rule.arguments.layout
        parts, answers = zip(*pushed, strict=True)
        sizes = [norm(self.rule.flat(each)) if isinstance(each, Answer) else 0.0 for each in answers]
        strong = [leaf for leaf, size in enumerate(sizes) if size > WEAK * max(sizes)]
        found: Findings = {}
        if len(strong) > 1:
            scaled = self._scaled(parts, sizes, strong)
            finding = self._measured(scaled, self.rule.claim(scaled))
            if finding.verdict is Verdict.PASS and not (finding.remark or finding.conventions):
                share = math.sqrt(len(strong))
                for leaf in strong:
                    shape = layout.shapes[leaf]
                    found[layout.paths[leaf]] = replace(
                        finding, shape=shape, error=share * finding.error, bound=share * finding.bound
                    )
        for leaf, path in enumerate(layout.paths):
            if path not in found:
                found[path] = replace(self._measured(parts[leaf], answers[leaf]), shape=layout.shapes[leaf])
        return self._at_common_ties({path: found[path] for path in layout.paths}, tangent)

    def _at_common_ties(self, found: Findings, tangent: Array) -> Findings:
        """Return the findings where arguments meet at a tie: each may be a choice there, and all together none."""
        tied = [leaf for leaf, finding in enumerate(found.values()) if finding.conventions]
        together = self._only(tangent, tied)
        if len(tied) < 2:
            return found
        verdict, reason = settled(self.rule, together, self.rng)
        if verdict is not Verdict.FAIL:
            return found
        return {
            path: replace(finding, verdict=verdict, error=math.inf, reason=reason) if finding.conventions else finding
            for path, finding in found.items()
        }

    def _only(self, tangent: Array, leaves_: Iterable[int]) -> Array:
        """Return a tangent of some leaves alone."""
        alone = np.zeros_like(tangent)
        for leaf in leaves_:
            part = self.rule.arguments.layout.slices[leaf]
            alone[part] = tangent[part]
        return alone

    def _scaled(self, parts: Sequence[Array], sizes: Sequence[float], strong: Sequence[int]) -> Array:
        """Return the sum of tangents, each so long that its part of ẏ is as large as the others; in their precision."""
        layout = self.rule.arguments.layout
        total = np.zeros(layout.size)
        for leaf in strong:
            part = layout.slices[leaf]
            scale = 2.0 ** round(math.log2(max(sizes) / sizes[leaf]))  # which rounds nothing
            total[part] = scale * parts[leaf][part]
        return total

    def measured(self, tangent: Array, answer: Answer | Sentence) -> Finding:
        """Return what is found along one tangent of what the rule claims there, wherever the point is."""
        if not isinstance(answer, Answer):
            return Finding(Verdict.FAIL, (), math.nan, math.inf, reason=answer)
        return self._joined(self._by_output(tangent, answer))

    def _measured(self, tangent: Array, answer: Answer | Sentence) -> Finding:
        """Return what is found along one tangent; at a tie, beside it and at it."""
        finding = self.measured(tangent, answer)
        doubtful = finding.verdict is not Verdict.PASS and not math.isnan(finding.error)
        if not finding.conventions and not (doubtful and at_tie(self.rule, tangent, self.rng)):
            return finding
        rule = self.rule
        try:
            moved = beside(rule.arguments, self.rng)
            near = Examination.at(rule.function, rule.pushforward, moved, self.oracles, self.tol, self.rng)
            answer = near.rule.claim(tangent)
        except Exception:  # noqa: BLE001  (not finite there, or refused: nothing more can be said)
            return replace(finding, verdict=Verdict.INCONCLUSIVE, reason=finding.reason or KINK)
        found = near.measured(tangent, answer)
        if found.verdict is not Verdict.PASS:
            return found
        verdict, reason = settled(rule, tangent, self.rng)
        error = math.inf if verdict is Verdict.FAIL else found.error
        return replace(found, verdict=verdict, error=error, reason=reason, conventions=max(finding.conventions, 1))

    def _by_output(self, tangent: Array, answer: Answer) -> Findings:
        """Return what is found of the tangent of each leaf of the output."""
        rule, layout = self.rule, self.rule.layout
        double = all(dtype == np.float64 for dtype in (*rule.arguments.layout.dtypes, *layout.dtypes))
        primal = rule.primal
        known = (primal[0] if len(primal) == 1 else primal) if double else None
        pairing = Remembering.at_point(_of_floats(rule.function), rule.arguments, primal, known).along_line(tangent)
        line = Line(pairing, tangent, layout)
        claimed = rule.flat(answer)

        def again(at: Array) -> dict[str, Array]:
            try:
                found = rule.claim(tangent, rule.arguments.at(at))
            except Exception:  # noqa: BLE001  (whatever it raises, the rule does not run there: nothing is known)
                return {}
            return dict(found.tangents) if isinstance(found, Answer) else {}

        @functools.cache
        def rounding() -> tuple[Array, Array]:
            sizes = list(map(norm, pairing.primal))
            return rounding_of(
                again, rule.arguments.point, layout, answer.tangents, line.excursion, lambda leaf: sizes[leaf]
            )

        cases = {
            name_of(oracle): Case(
                claimed,
                layout.flatten(rule.primal),
                layout,
                tuple(range(len(layout.paths))),
                line.measured_by(oracle),
                rounding,
                line,
                self.tol,
                self.rng,
            )
            for oracle in self.oracles
        }
        found = {name: judge(case) for name, case in cases.items()}
        examined = {
            path: cross_examine(leaf, {name: one[path] for name, one in found.items()}, cases)
            for leaf, path in enumerate(layout.paths)
        }
        return dtype_kept(rule.who, next(iter(cases.values())), answer.tangents, examined)

    def _joined(self, found: Findings) -> Finding:
        """Return one finding of what was found of all leaves of the output."""
        vacuous = [finding for finding in found.values() if finding.reason == VACUOUS]
        told = [finding for finding in found.values() if finding.reason != VACUOUS] or vacuous
        worst = max(told, key=lambda finding: _GRAVITY.index(finding.verdict))
        errors = [finding.error for finding in told if not math.isnan(finding.error)]
        entries = sorted(
            (entry for finding in told for entry in finding.wrong_entries),
            key=lambda entry: -abs(entry.claimed - entry.measured),
        )
        return replace(
            worst,
            error=max(errors, default=math.nan),
            bound=max(finding.bound for finding in told),
            worst=next(iter(entries), worst.worst),
            wrong_entries=tuple(replace(entry, index=-1) for entry in entries),
            where=tuple(region for finding in told for region in finding.where),
            conventions=sum(finding.conventions for finding in told),
        )


def _of_floats(function: Callable[..., Any]) -> Callable[..., tuple[Any, None]]:
    """Return a forward whose output are the leaves of ``function``'s that have a tangent."""

    def floats(*args: Any) -> tuple[Any, None]:
        found = [leaf for _, leaf in leaves(function(*args), "out") if not is_discrete(leaf)]
        return (found[0] if len(found) == 1 else found), None

    floats.__name__ = name_of(function)
    return floats
