"""When several oracles speak of one gradient: who agrees with whom. Level 3.

Claimed, and what each oracle measured, are sides that agree pairwise or do not. One that all others contradict, while
these agree among themselves, stands alone. If that is the claim, the backward is wrong; if it is an oracle, nothing is
decided, and the report says which oracle not to believe.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from gradcheck.report import Finding, Verdict
from gradcheck.verdict.case import Case

__all__ = ["cross_examine"]

CLAIMED = "the claimed gradient"
_SEVERITY = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


def cross_examine(leaf: int, findings: Mapping[str, Finding], cases: Mapping[str, Case]) -> Finding:
    """Return one finding about leaf number ``leaf`` from those of several oracles, by the oracle's name."""
    for finding in findings.values():
        if finding.conventions:
            return finding
    worst = max(findings.values(), key=lambda finding: _SEVERITY[finding.verdict])
    if worst.verdict is Verdict.PASS:
        return min(findings.values(), key=lambda finding: finding.bound)
    if len(findings) == 1 or (worst.verdict is Verdict.FAIL and math.isnan(worst.error)):
        return worst
    passed = [finding for finding in findings.values() if finding.verdict is Verdict.PASS]
    blind = all(finding.bound >= worst.error / 2 for finding in passed)
    if passed and blind:
        return worst
    alone = _alone(leaf, cases)
    if alone == CLAIMED or (alone is None and worst.verdict is not Verdict.FAIL):
        return worst
    others = " and ".join(side for side in (CLAIMED, *findings) if side != alone)
    reason = (
        f"the oracles contradict each other: {alone} stands alone against {others}"
        if alone
        else f"the oracles contradict each other: {', '.join((CLAIMED, *findings))} all differ"
    )
    return Finding(Verdict.INCONCLUSIVE, worst.shape, worst.error, math.inf, reason=reason)


def _alone(leaf: int, cases: Mapping[str, Case]) -> str | None:
    """Return the side that all others contradict along a common tangent, None where there is none."""
    first = next(iter(cases.values()))
    v = first.tangent([(leaf, 1.0)])
    probes = {name: case.probe(v) for name, case in cases.items()}
    values = {name: (one.measured, one.error) for name, one in probes.items()}
    values[CLAIMED] = (next(iter(probes.values())).claimed, 0.0)

    def agree(a: str, b: str) -> bool:
        return abs(values[a][0] - values[b][0]) <= values[a][1] + values[b][1]

    for side in values:
        rest = [other for other in values if other != side]
        if not any(agree(side, other) for other in rest) and all(
            agree(*two) for two in itertools.combinations(rest, 2)
        ):
            return side
    return None
