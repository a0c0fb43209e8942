"""From probes to a verdict for each argument. Level 3.

All arguments are probed together first, each scaled by its own claimed norm so that all contribute alike: then one
probe speaks of the *relative* error of every argument at once. Arguments are probed one by one where the joint probes
disagree, are not sharp enough, or would be dominated by an argument that has next to no effect.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np

from gradcheck.case import Case
from gradcheck.locate import BUDGET, wrong_entries
from gradcheck.probes import Probe, certificate
from gradcheck.report import Finding, Verdict

__all__ = ["KINK", "VACUOUS", "judge", "most_evaluations"]

VACUOUS = "vacuous: no tangent shows an effect of it, and the claimed one is too small to be seen"
KINK = "at a kink: the slopes on both sides differ, and the gradient is a convention"
EPS = float(np.finfo(np.float64).eps)

SHARP = 1e-7  # without a tolerance, probing stops at this certificate,
BLUNT = 1e-6  # a joint certificate worse than this is tried again one by one,
GROSS = 1e-2  # and one worse than this could hide a gross mistake: it is no pass,
COARSE = 100.0  # unless the arguments have so little precision: so many of their rounding units
TOGETHER = 4  # joint probes at most
ALONE = 6  # probes of one argument at most
FOLD = 5  # tangents, and all sums of two of them, along which a slope has to be additive before it refutes a claim
KINKED = 1e-3  # slopes that miss additivity by less than this part are additive
LAWS = 100  # calls of the forward for everything that is no probe, at most
EVALUATIONS = 60  # calls of the forward for one probe, at most: a full ladder after one that did not suit
SIZING = 12  # probes from which the size of an error is estimated
WEAK = 1e-5  # an argument with this part of the largest effect is probed alone
SEEN = 1e5  # times the rounding of the output is a change that can be seen
NEGLIGIBLE = 1e-11  # an effect below this part of the output's size counts as none


def most_evaluations(oracles: int, leaves: int) -> int:
    """Return how often a check may call the forward at most: where every leaf fails, at a kink."""
    probes = TOGETHER + leaves * (ALONE + FOLD * (FOLD + 1) // 2 + 1 + SIZING + BUDGET)
    return 2 * (LAWS + oracles * probes * EVALUATIONS)


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
    kinked = _kinked(probes)
    findings = {}
    for leaf in case.judged:
        path, shape = case.layout.paths[leaf], case.layout.shapes[leaf]
        if certified is not None and leaf in together:
            error = _rms(one.gap for one in probes)
            findings[path] = Finding(Verdict.PASS, shape, error, certified, conventions=kinked)
        elif kinked:
            findings[path] = Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=KINK, conventions=kinked)
        else:
            findings[path] = _alone(case, leaf)
    return findings


def _joint(case: Case, together: list[int]) -> list[Probe]:
    """Probe some leaves together until the certificate is good enough, a probe disagrees or a kink is seen."""
    scaled = [(leaf, 1.0 / case.norm(leaf)) for leaf in together]
    probes: list[Probe] = []
    while len(probes) < TOGETHER:
        probes.append(case.probe(case.tangent(scaled)))
        if not probes[-1].agrees or not math.isfinite(probes[-1].error) or probes[-1].kink:
            break
        if certificate(probes) <= _wanted(case):
            break
    return probes


def _alone(case: Case, leaf: int) -> Finding:
    """Judge one leaf by probes of its own."""
    shape = case.layout.shapes[leaf]
    probes: list[Probe] = []
    for _ in range(ALONE):
        one = case.probe(case.tangent([(leaf, 1.0)]))
        if one.kink:
            return Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=KINK, conventions=1)
        if not math.isfinite(one.error):
            continue
        probes.append(one)
        disagreeing = sum(not one.agrees for one in probes)
        if disagreeing > max(1, len(probes) // 3):
            return _refuted(case, leaf, probes)
        norm = max(case.norm(leaf), _rms(one.measured for one in probes))
        if len(probes) >= 2 and not disagreeing and certificate(probes) <= _wanted(case) * norm:
            break
    if len(probes) < 2:
        reason = "the forward is finite at too few steps around the point: move it away from the edge of its domain"
        return Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=reason)
    return _undisputed(case, leaf, probes)


def _undisputed(case: Case, leaf: int, probes: list[Probe]) -> Finding:
    """Say how small an error could hide in a leaf whose probes agree."""
    shape = case.layout.shapes[leaf]
    norm = max(case.norm(leaf), _rms(one.measured for one in probes))
    error, bound = (_rms(one.gap for one in probes) / norm, certificate(probes) / norm) if norm else (0.0, math.inf)
    allowed = max(GROSS, min(COARSE * case.unit(leaf), 0.5)) if case.tol is None else case.tol
    if bound <= allowed:
        limited = f"limited by {case.layout.dtypes[leaf]}" if case.unit(leaf) > EPS else None
        return Finding(Verdict.PASS, shape, error, bound, reason=limited)
    visible = certificate(probes) * max(case.length(leaf), math.sqrt(math.prod(shape)))
    scale = max(case.pairing.size, case.pairing.excursion(leaf))
    if (case.norm(leaf) <= certificate(probes) and visible <= NEGLIGIBLE * scale) or (not norm and not scale):
        return Finding(Verdict.PASS, shape, 0.0, 0.0, reason=VACUOUS)
    reason = (
        f"an error up to {bound:.1e} of the gradient could hide, and {allowed:.0e} is what a pass must exclude: "
        "the forward is too noisy here"
    )
    return Finding(Verdict.INCONCLUSIVE, shape, error, bound, reason=reason)


def _kinked(probes: list[Probe]) -> int:
    return sum(bool(one.kink) for one in probes)


def _refuted(case: Case, leaf: int, probes: list[Probe]) -> Finding:
    """Say that a leaf is wrong, unless what contradicts it is no derivative."""
    if not _additive(case, leaf):
        shape = case.layout.shapes[leaf]
        return Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=KINK, conventions=1)
    return _unresolved(case, leaf) if _vindicated(case, leaf) else _failed(case, leaf, probes)


def _additive(case: Case, leaf: int) -> bool:
    """Whether the slope along a sum of two tangents is the sum of the slopes.

    At a kink it is not, even where both sides of every line have one slope, as with the median of three ties.
    """
    tangents = [case.tangent([(leaf, 1.0)]) for _ in range(FOLD)]
    slopes = [case.pushforward(v) for v in tangents]
    for (u, here), (v, there) in itertools.combinations(zip(tangents, slopes, strict=True), 2):
        both = case.pushforward(u + v)
        size = max(abs(slope.value) for slope in (here, there, both))
        allowed = sum(slope.error + slope.kink for slope in (here, there, both)) + KINKED * size
        if abs(here.value + there.value - both.value) > allowed:
            return False
    return True


def _vindicated(case: Case, leaf: int) -> bool:
    """Give a claim that contradicts the oracle grossly a chance at the step that suits the claim itself.

    A function with structure finer than all steps of a difference, or rounded to a grid coarser than them, shows the
    difference a slope that it has nowhere. A claim that predicts its change where that can be seen is not refuted.
    """
    v = case.tangent([(leaf, 1.0)])
    one = case.probe(v)
    if not one.claimed or one.gap < abs(one.claimed) / 2:
        return False
    least = max(case.pairing.rounding, EPS * case.pairing.size)
    steps = [SEEN * least / abs(one.claimed)]
    if one.measured == 0.0:
        steps += [coarse * case.pairing.length(case.point, v) for coarse in (1e-3, 1e-2, 1e-1)]
    with np.errstate(all="ignore"):
        slopes = [(case.pairing(case.point + h * v) - case.pairing(case.point - h * v)) / (2 * h) for h in steps]
    return any(abs(slope - one.claimed) <= abs(one.claimed) / 10 for slope in slopes)


def _unresolved(case: Case, leaf: int) -> Finding:
    reason = "the forward has structure finer than the steps of the oracle can resolve: use another oracle"
    return Finding(Verdict.INCONCLUSIVE, case.layout.shapes[leaf], math.inf, math.inf, reason=reason)


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
