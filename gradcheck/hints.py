"""How much of what was found is said: with a repair, without, or without a measured number. Level 0.

A check finds everything, whoever asks. What must not be told is taken out of its report here, at the door, so that no
surface has to know of it and none can leak it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

from gradcheck.containers import shown
from gradcheck.report import Answers, Entry, Finding, Report, Verdict

__all__ = ["Hints", "Sentence", "must_be_hints", "tolerance_for", "withheld"]

Hints = bool | Literal["places"]

SMALL = 1e-2  # of the gradient's norm: a larger error is no approximation,
DIFFUSE = 0.1  # nor is one whose largest part is as large a part of its own entry
TELLING = 5.0  # times the error is a tolerance that a check can tell from it


class Sentence(str):
    """A sentence about what is wrong, and after it what to do about that.

    It is the whole as a string; ``what`` is the first part alone, for those who are to find the repair themselves.
    """

    __slots__ = ("what",)
    what: str

    def __new__(cls, what: str, hint: str = "") -> Self:
        """Return the sentence ``what`` followed by ``hint``, which begins with a verb."""
        sentence = super().__new__(cls, f"{what} {hint}" if hint else what)
        sentence.what = what
        return sentence


def must_be_hints(hints: Any) -> None:
    """Raise ValueError unless ``hints`` is one of the levels."""
    if not (isinstance(hints, bool) or (isinstance(hints, str) and hints == "places")):
        raise ValueError(
            f"hints must be True, False or 'places', but it is {shown(hints)}. "
            "Leave it out to be told why a gradient is wrong."
        )


def withheld(report: Report, hints: Hints) -> Report:
    """Return ``report`` without what must not be told.

    Without hints no sentence holds a repair, and nothing is explained. With ``"places"`` moreover no number that was
    measured is left of a gradient that is not right: neither its entries, nor how far off it is, nor a sentence about
    that; of a wrong one are known its verdict, which entries are wrong, what is claimed there, and the law it breaks.
    """
    if hints is True:
        return report
    arguments = {
        path: replace(finding, reason=_what(finding.reason), remark=_what(finding.remark))
        for path, finding in (report.arguments if hints is False else _unmeasured(report.arguments)).items()
    }
    return replace(
        report,
        arguments=arguments,
        broken=tuple(map(_what, report.broken)),
        remarks=tuple(map(_what, report.remarks)),
        inquiry=Answers,
        tolerance=None,
    )


def tolerance_for(findings: Mapping[str, Finding]) -> str | None:
    """Return a sentence about the tolerance that would let all pass, if every failure is small and diffuse."""
    failed = [finding for finding in findings.values() if finding.verdict is Verdict.FAIL]
    if not failed or not all(map(_is_approximate, failed)):
        return None
    tol = 10.0 ** math.ceil(math.log10(TELLING * max(finding.error for finding in failed)))
    return (
        "If the forward is a solver that stops at a tolerance, or the backward approximates on purpose, say so: "
        f"tol={tol:.0e}."
    )


def _is_approximate(finding: Finding) -> bool:
    worst = finding.worst
    diffuse = worst is None or abs(worst.claimed - worst.measured) <= DIFFUSE * abs(worst.measured)
    return finding.reason is None and 0 < finding.error < SMALL and diffuse


def _unmeasured(findings: Mapping[str, Finding]) -> dict[str, Finding]:
    return {
        path: finding if finding.verdict is Verdict.PASS else _without_numbers(finding)
        for path, finding in findings.items()
    }


def _without_numbers(finding: Finding) -> Finding:
    entries = tuple(
        Entry(entry.name, entry.claimed, math.nan, math.nan, entry.index)
        for entry in sorted(finding.wrong_entries, key=lambda entry: entry.index)
    )
    told = replace(finding, worst=next(iter(entries), None), wrong_entries=entries)
    if finding.verdict is not Verdict.FAIL:
        return told
    # A law speaks of what the backward returned; any other reason may quote what was measured.
    told = replace(told, reason=finding.reason if isinstance(finding.reason, Sentence) else None)
    return told if math.isnan(finding.error) else replace(told, error=math.nan, bound=math.nan)


def _what(sentence: Any) -> Any:
    return sentence.what if isinstance(sentence, Sentence) else sentence
