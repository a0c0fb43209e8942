"""From probes to a verdict for each argument. Level 3.

All arguments are probed together first, each scaled by its own claimed norm so that all contribute alike: then one
probe speaks of the *relative* error of every argument at once. Arguments are probed one by one where the joint probes
disagree, are not sharp enough, or would be dominated by an argument that has next to no effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradcheck.case import Case
from gradcheck.locate import wrong_entries
from gradcheck.probes import Probe, certificate
from gradcheck.report import Finding, Verdict

__all__ = ["VACUOUS", "judge"]

VACUOUS = "vacuous: the gradient is zero along everything probed, claimed and measured"

SHARP = 1e-7  # without a tolerance, probing stops at this certificate,
BLUNT = 1e-6  # a joint certificate worse than this is tried again one by one,
GROSS = 1e-2  # and one worse than this could hide a gross mistake: it is no pass
TOGETHER = 4  # joint probes at most
ALONE = 6  # probes of one argument at most
SIZING = 12  # probes from which the size of an error is estimated
WEAK = 1e-5  # an argument with this part of the largest effect is probed alone
NEGLIGIBLE = 1e-9  # an effect below this part of the output's size counts as none


def judge(case: Case) -> dict[str, Finding]:
    """Return a finding for every leaf that is judged, by its path."""
    strongest = max((case.effect(leaf) for leaf in case.judged), default=0.0)
    together = [leaf for leaf in case.judged if case.effect(leaf) > WEAK * strongest]
    certified: float | None = None
    probes: list[Probe] = []
    if len(together) > 1:
        probes = _joint(case, together)
        bound = certificate(probes)
        if all(one.agrees for one in probes) and bound <= (BLUNT if case.tol is None else case.tol):
            certified = bound
    findings = {}
    for leaf in case.judged:
        path, shape = case.layout.paths[leaf], case.layout.shapes[leaf]
        if certified is not None and leaf in together:
            findings[path] = Finding(Verdict.PASS, shape, _typical(probes), certified, reason=_convention(probes))
        else:
            findings[path] = _alone(case, leaf)
    return findings


def _joint(case: Case, together: list[int]) -> list[Probe]:
    """Probe some leaves together until the certificate is good enough or a probe disagrees."""
    scaled = [(leaf, 1.0 / case.norm(leaf)) for leaf in together]
    probes: list[Probe] = []
    while len(probes) < TOGETHER:
        probes.append(case.probe(case.tangent(scaled)))
        if not probes[-1].agrees or not math.isfinite(probes[-1].error):
            break
        if certificate(probes) <= _wanted(case) and not probes[-1].kink:
            break
    return probes


def _alone(case: Case, leaf: int) -> Finding:
    """Judge one leaf by probes of its own."""
    shape = case.layout.shapes[leaf]
    probes: list[Probe] = []
    norm = case.norm(leaf)
    while len(probes) < ALONE:
        probes.append(case.probe(case.tangent([(leaf, 1.0)])))
        if not math.isfinite(probes[-1].error):
            return Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason="the forward is not finite nearby")
        norm = max(case.norm(leaf), _rms(one.measured for one in probes))
        disagreeing = sum(not one.agrees for one in probes)
        if disagreeing > max(1, len(probes) // 3):
            return _failed(case, leaf, probes)
        enough = certificate(probes) <= _wanted(case) * norm and not probes[-1].kink
        if len(probes) >= 2 and not disagreeing and enough:
            break
    error, bound = (_rms(one.gap for one in probes) / norm, certificate(probes) / norm) if norm else (0.0, math.inf)
    allowed = GROSS if case.tol is None else case.tol
    if norm and bound <= allowed:
        return Finding(Verdict.PASS, shape, error, bound, reason=_convention(probes))
    effect = certificate(probes) * case.length(leaf)
    if case.effect(leaf) <= effect <= NEGLIGIBLE * case.scale or not norm:
        return Finding(Verdict.PASS, shape, 0.0, 0.0, reason=VACUOUS)
    reason = f"an error up to {bound:.1e} of the gradient could hide, and {allowed:.0e} is what a pass must exclude"
    return Finding(Verdict.INCONCLUSIVE, shape, error, bound, reason=reason)


def _failed(case: Case, leaf: int, probes: list[Probe]) -> Finding:
    """Say how wrong a leaf is, and where: exactly if every wrong entry was found, else by more probes."""
    entries, complete = wrong_entries(case, leaf)
    if complete and entries:
        apart = math.hypot(*(entry.claimed - entry.measured for entry in entries))
        claimed = math.hypot(*(entry.claimed for entry in entries))
        measured = math.hypot(*(entry.measured for entry in entries))
        true = math.sqrt(max(case.norm(leaf) ** 2 - claimed**2, 0.0) + measured**2)
    else:
        probes = probes + [case.probe(case.tangent([(leaf, 1.0)])) for _ in range(SIZING - len(probes))]
        apart, true = _rms(one.gap for one in probes), _rms(one.measured for one in probes)
    error = apart / true if true else math.inf
    name = f"d{case.layout.paths[leaf]}"
    reason = f"{name} is identically zero" if case.norm(leaf) == 0 else None
    worst = entries[0] if entries else None
    return Finding(Verdict.FAIL, case.layout.shapes[leaf], error, math.inf, worst, entries, reason)


def _wanted(case: Case) -> float:
    """Return the certificate at which probing stops."""
    return SHARP if case.tol is None else case.tol


def _rms(numbers: Iterable[float]) -> float:
    squares = [number * number for number in numbers]
    return math.sqrt(math.fsum(squares) / len(squares))


def _typical(probes: list[Probe]) -> float:
    return _rms(one.gap for one in probes)


def _convention(probes: list[Probe]) -> str | None:
    """Say that a kink lies at the point, where one does."""
    kinked = [one for one in probes if one.kink]
    if not kinked:
        return None
    if any(one.gap > one.error for one in kinked):
        return "at a kink: the gradient lies between the slopes on both sides, a convention"
    return "at a kink: the slopes on both sides differ"
