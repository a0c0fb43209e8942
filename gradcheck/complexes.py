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

__all__ = ["conjugate", "joined", "of_complex", "of_wholes", "passed_of"]

Examine = Callable[[Pair], tuple[Report, Arguments]]
MISTAKE = "C9"
BOTH, RETURNED, TAKEN = (True, True), (False, True), (True, False)  # what is turned: handed down, returned
WAYS = {
    BOTH: "multiplies the {handed} by the conjugate of what it should: take conj of the derivative there{meant}",
    RETURNED: "returns the conjugate: take conj of it, or do not",
    TAKEN: "takes the conjugate of the {handed}: leave it as it is",
}
_SEVERITY = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


def of_complex(home: Home, examine: Examine) -> tuple[Report, Arguments]:
    """Return the report of a pair at ``home``, with one finding for each complex array and its convention; what moved.

    ``examine`` makes the same for a pair of functions of real arrays.
    """
    report, moved = examine(home.pair())
    wrong = report.verdict is Verdict.FAIL and report.inquiry is not Answers

    def inquiry() -> Answers:
        def passing(turned: tuple[bool, bool]) -> set[str]:
            return passed_of(examine(home.pair(turned))[0])

        failed = [path for path, finding in report.arguments.items() if finding.verdict is Verdict.FAIL]
        other = "pytorch" if home.conjugated else "jax"
        meant = f', or say convention="{other}" if {CONVENTIONS[other]} is meant'
        named = conjugate(name_of(home.backward), failed, home.paths, passing, "cotangent", meant)
        return replace(named, steps=report.answers.steps) if named else of_wholes(report.answers, home.paths)

    whole = replace(
        report,
        arguments=joined(report.arguments, home.paths),
        convention=CONVENTIONS["jax" if home.conjugated else "pytorch"] if home.has_complex else None,
        inquiry=inquiry if wrong and home.has_complex else report.inquiry,
    )
    return whole, moved


def conjugate(
    who: str,
    wrong: Sequence[str],
    paths: Sequence[str],
    passing: Callable[[tuple[bool, bool]], set[str]],
    handed: str,
    meant: str = "",
) -> Answers | None:
    """Return what is said if what is wrong is right with a conjugate more or less; None if it is not.

    Args:
        who: the rule.
        wrong: the arguments of which it is wrong.
        paths: of the complex ones.
        passing: gives the arguments of which it is right with what it is handed, and what it returns, turned into
            conjugates.
        handed: what it is handed: a tangent or a cotangent.
        meant: what else can be done where both are turned.
    """
    for turned, sentence in WAYS.items():
        if wrong and passing(turned).issuperset(wrong):
            wholes = tuple(dict.fromkeys(_whole(path, paths) for path in wrong))
            said = f"{who} {sentence.format(handed=handed, meant=meant)} (d{by_name(wholes)})"
            return Answers((Explanation(MISTAKE, wholes, said, verified=True),))
    return None


def passed_of(report: Report) -> set[str]:
    """Return the arguments of which the rule is right."""
    return {path for path, finding in report.arguments.items() if finding.verdict is Verdict.PASS}


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
