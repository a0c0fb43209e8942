"""A check of complex arrays: what is found of two parts is said of one gradient, a wrong conjugate by name. Level 4.

With a conjugate too many or too few the gradient is right for real numbers and wrong for complex ones, in one of three
ways: what is returned is its conjugate, what is handed down was taken for one, or both, as in another convention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gradcheck.adapters.arrays import CONVENTIONS, Home
from gradcheck.adapters.signatures import Pair
from gradcheck.arguments import Arguments, by_name, name_of
from gradcheck.report import Answers, Explanation, Finding, Report, Verdict

__all__ = ["conjugate", "joined", "of_complex", "of_wholes"]

Examine = Callable[[Pair], tuple[Report, Arguments]]
MISTAKE = "C9"
WAYS = {
    (
        True,
        True,
    ): "multiplies the cotangent by the conjugate of what it should: take conj of the derivative there, or say "
    'convention="{other}" if {meant} is meant',
    (False, True): "returns the conjugate: take conj of it, or do not",
    (True, False): "takes the conjugate of the cotangent: leave it as it is",
}
WAYS_AHEAD = {
    (True, True): "multiplies the tangent by the conjugate of what it should: take conj of the derivative there",
    (False, True): "returns the conjugate: take conj of it, or do not",
    (True, False): "takes the conjugate of the tangent: leave it as it is",
}
_SEVERITY = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


def of_complex(home: Home, examine: Examine) -> tuple[Report, Arguments]:
    """Return the report of a pair at ``home``, with one finding for each complex array and its convention; what moved.

    ``examine`` makes the same for a pair of functions of real arrays.
    """
    report, moved = examine(home.pair())
    wrong = report.verdict is Verdict.FAIL and report.inquiry is not Answers

    def inquiry() -> Answers:
        return _conjugate(home, examine, report) or of_wholes(report.answers, home.paths)

    whole = replace(
        report,
        arguments=joined(report.arguments, home.paths),
        convention=CONVENTIONS["jax" if home.conjugated else "pytorch"] if home.has_complex else None,
        inquiry=inquiry if wrong and home.has_complex else report.inquiry,
    )
    return whole, moved


def _conjugate(home: Home, examine: Examine, report: Report) -> Answers | None:
    """Return what is said if the wrong gradients are right with a conjugate more or less; None if they are not."""
    failed = [path for path, finding in report.arguments.items() if finding.verdict is Verdict.FAIL]
    for turned, sentence in WAYS.items():
        other = examine(home.pair(turned))[0].arguments
        if failed and all(path in other and other[path].verdict is Verdict.PASS for path in failed):
            wrong = tuple(dict.fromkeys(_whole(path, home.paths) for path in failed))
            convention = "pytorch" if home.conjugated else "jax"
            what = sentence.format(other=convention, meant=CONVENTIONS[convention])
            said = f"{name_of(home.backward)} {what} (d{by_name(wrong)})"
            return Answers((Explanation(MISTAKE, wrong, said, verified=True),), steps=report.answers.steps)
    return None


def conjugate(
    who: str, wrong: Sequence[str], paths: Sequence[str], passing: Callable[[tuple[bool, bool]], set[str]]
) -> Answers | None:
    """Return what is said if the wrong terms of a pushforward are right with a conjugate more or less; None if not.

    ``passing`` gives the terms that are right with the tangents, and those of the output, turned into conjugates.
    """
    for turned, sentence in WAYS_AHEAD.items():
        if set(wrong) <= passing(turned):
            wholes = tuple(dict.fromkeys(_whole(path, paths) for path in wrong))
            return Answers((Explanation(MISTAKE, wholes, f"{who} {sentence} (d{by_name(wholes)})", verified=True),))
    return None


def of_wholes(answers: Answers, paths: Sequence[str]) -> Answers:
    """Return the same answers, of complex arrays and not of their parts."""
    wholes = (tuple(dict.fromkeys(_whole(path, paths) for path in each.arguments)) for each in answers.explanations)
    pairs = zip(answers.explanations, wholes, strict=True)
    return replace(answers, explanations=tuple(replace(each, arguments=whole) for each, whole in pairs))


def _whole(path: str, paths: Sequence[str]) -> str:
    """Return the path of the complex array of which ``path`` leads to a part; other paths as they are."""
    whole, _, part = path.rpartition(".")
    return whole if whole in paths and part in ("real", "imag") else path


def joined(findings: Mapping[str, Finding], paths: Sequence[str]) -> dict[str, Finding]:
    """Return one finding for both parts of each complex array."""
    wholes: dict[str, Finding] = {}
    for path, finding in findings.items():
        whole = _whole(path, paths)
        wholes[whole] = _both(wholes[whole], finding) if whole in wholes else finding
    return wholes


def _both(one: Finding, other: Finding) -> Finding:
    """Return what is to be said of two parts of one gradient."""
    graver, lighter = sorted((one, other), key=lambda each: _SEVERITY.index(each.verdict))
    apart = {entry.name: abs(entry.claimed - entry.measured) for each in (one, other) for entry in each.wrong_entries}
    entries = sorted((*one.wrong_entries, *other.wrong_entries), key=lambda entry: -apart[entry.name])
    return replace(
        graver,
        error=max(graver.error, lighter.error) if math.isfinite(lighter.error) else graver.error,
        bound=max(graver.bound, lighter.bound),
        worst=entries[0] if entries else graver.worst or lighter.worst,
        wrong_entries=tuple(entries),
        where=(*one.where, *other.where),
        reason=graver.reason or (lighter.reason if lighter.verdict is graver.verdict else None),
        remark=graver.remark or lighter.remark,
        conventions=one.conventions + other.conventions,
    )
