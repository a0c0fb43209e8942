"""From probes to a verdict for each argument. Level 3.

All arguments are probed together first, each scaled by its own claimed norm so that all contribute alike: then one
probe speaks of the *relative* error of every argument at once. Arguments are probed one by one where the joint probes
disagree, are not sharp enough, or would be dominated by an argument that has next to no effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from gradcheck.report import Finding, Verdict
from gradcheck.trees import Array
from gradcheck.verdict.case import Case
from gradcheck.verdict.locate import BUDGET, Location, locate
from gradcheck.verdict.probes import Probe, certificate, least_error

__all__ = ["KINK", "VACUOUS", "judge", "most_evaluations"]

VACUOUS = "vacuous: no tangent shows an effect of it, and the claimed one is too small to be seen"
KINK = "at a kink: the slopes on both sides differ, and the gradient is a convention"
EPS = float(np.finfo(np.float64).eps)
_NAMES = {float(np.finfo(low).eps): low.__name__ for low in (np.float32, np.float16)} | {2.0**-7: "bfloat16"}

SHARP = 1e-7  # without a tolerance, probing stops at this certificate,
BLUNT = 1e-6  # a joint certificate worse than this is tried again one by one,
GROSS = 1e-2  # and one worse than this could hide a gross mistake: it is no pass,
COARSE = 100.0  # unless the arguments have so little precision: so many of their rounding units
TOGETHER = 4  # joint probes at most
ALONE = 6  # probes of one argument at most,
TOLERANT = 24  # and so many where they have to tell which side of a tolerance an error lies on
LAWS = 100  # calls of the forward for everything that is no probe, at most
EVALUATIONS = 60  # calls of the forward for one probe, at most: a full ladder after one that did not suit
SIZING = 8  # probes from which the size of an error is estimated
WEAK = 1e-5  # an argument with this part of the largest effect is probed alone
SEEN = 1e5  # times the rounding of the output is a change that can be seen
COARSE_STEPS = (1e-1, 1e-2, 1e-3)  # of the point, at which an output that is rounded to a grid may still move
GRID = 32  # tangents on which the errors of such a grid cancel
NEGLIGIBLE = 1e-11  # an effect below this part of the output's size counts as none,
UNMOVED = 2e-9  # or where the claim is zero and nothing moved at any step, as behind a dead ReLU


def most_evaluations(oracles: int, leaves: int) -> int:
    """Return how often a check may call the forward at most: where every leaf fails, at a kink."""
    probes = TOGETHER + leaves * (TOLERANT + 1 + SIZING + BUDGET)
    slopes = leaves * (1 + len(COARSE_STEPS) * GRID)
    return 2 * (LAWS + oracles * (probes * EVALUATIONS + 2 * slopes))


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
            findings[path] = _at_a_kink(shape, kinked)
        else:
            findings[path] = _alone(case, leaf) if case.tol is None else _against_tolerance(case, leaf, case.tol)
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
        one = case.probe(case.tangent([(leaf, 1.0)]), roughly=True)
        if one.kink:
            return _at_a_kink(shape)
        if not math.isfinite(one.error):
            continue
        probes.append(one)
        disagreeing = sum(not one.agrees for one in probes)
        if disagreeing > max(1, len(probes) // 3):
            return _refuted(case, leaf, probes)
        norm = max(case.norm(leaf), _rms(one.measured for one in probes))
        if len(probes) >= 2 and not disagreeing and certificate(probes) <= _wanted(case) * norm:
            break
    return _undisputed(case, leaf, probes) if len(probes) >= 2 else _lost(shape)


def _against_tolerance(case: Case, leaf: int, tol: float) -> Finding:
    """Judge one leaf by whether its error is certainly smaller than ``tol``, certainly larger, or neither."""
    shape = case.layout.shapes[leaf]
    probes: list[Probe] = []
    norm = bound = least = 0.0
    for _ in range(TOLERANT):
        one = case.probe(case.tangent([(leaf, 1.0)]))
        if one.kink:
            return _at_a_kink(shape)
        if not math.isfinite(one.error):
            continue
        probes.append(one)
        norm = max(case.norm(leaf), _rms(one.measured for one in probes))
        bound, least = certificate(probes, TOLERANT), least_error(probes, TOLERANT)
        disagreeing = sum(not one.agrees for one in probes)
        if disagreeing > 1 and least > tol * norm:
            return _refuted(case, leaf, probes)
        if len(probes) >= 2 and bound <= tol * norm:
            break
        if len(probes) >= 2 and not disagreeing and one.error > tol * norm:
            break  # no number of probes like these tells
    if len(probes) < 2:
        return _lost(shape)
    if all(one.agrees for one in probes):
        return _undisputed(case, leaf, probes)
    error = _rms(one.gap for one in probes) / norm
    if bound <= tol * norm:
        reason = f"measurably off by {error:.1e}, within the tolerance"
        return Finding(Verdict.PASS, shape, error, bound / norm, reason=reason)
    reason = (
        f"an error between {least / norm:.1e} and {bound / norm:.1e} of the gradient was measured by {len(probes)} "
        f"probes, too near to tol={tol:.0e} to tell on which side: choose another tol, or mend the gradient"
    )
    return Finding(Verdict.INCONCLUSIVE, shape, error, bound / norm, reason=reason)


def _at_a_kink(shape: tuple[int, ...], conventions: int = 1) -> Finding:
    return Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=KINK, conventions=conventions)


def _lost(shape: tuple[int, ...]) -> Finding:
    reason = "the forward is finite at too few steps around the point: move it away from the edge of its domain"
    return Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=reason)


def _undisputed(case: Case, leaf: int, probes: list[Probe]) -> Finding:
    """Say how small an error could hide in a leaf whose probes agree."""
    shape = case.layout.shapes[leaf]
    norm = max(case.norm(leaf), _rms(one.measured for one in probes))
    error, bound = (_rms(one.gap for one in probes) / norm, certificate(probes) / norm) if norm else (0.0, math.inf)
    allowed = max(GROSS, min(COARSE * case.unit(leaf), 0.5)) if case.tol is None else case.tol
    if bound <= allowed:
        unit = max(case.unit(leaf), case.pairing.unit)
        limited = f"limited by {_NAMES.get(unit, case.layout.dtypes[leaf])}" if unit > EPS else None
        return Finding(Verdict.PASS, shape, error, bound, reason=limited)
    visible = certificate(probes) * max(case.length(leaf), math.sqrt(math.prod(shape)))
    scale = max(case.pairing.size, case.pairing.excursion(leaf))
    negligible = NEGLIGIBLE if norm else UNMOVED
    if (case.norm(leaf) <= certificate(probes) and visible <= negligible * scale) or (not norm and not scale):
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
    return _unresolved(case, leaf) if _vindicated(case, leaf, probes) else _failed(case, leaf, probes)


def _vindicated(case: Case, leaf: int, probes: list[Probe]) -> bool:
    """Give a claim that contradicts the oracle grossly a chance at the step that suits the claim itself.

    A function with structure finer than all steps of a difference, or rounded to a grid coarser than them, shows the
    difference a slope that it has nowhere. A claim that predicts its change where that can be seen is not refuted.
    """
    v = case.tangent([(leaf, 1.0)])
    one = case.probe(v, roughly=True)
    if one.claimed and one.gap >= abs(one.claimed) / 2:
        least = max(case.pairing.rounding, EPS * case.pairing.size)
        slope = _slope(case, v, SEEN * least / abs(one.claimed))
        if abs(slope - one.claimed) <= abs(one.claimed) / 10:
            return True
    flat = any(each.measured == 0.0 for each in (one, *probes))  # along all small steps, as on a grid
    return flat and any(_borne_out(case, leaf, coarse) for coarse in COARSE_STEPS)


def _borne_out(case: Case, leaf: int, step: float) -> bool:
    """Whether steps of so many lengths of the point show the slopes that are claimed, on the average of tangents.

    A single one may be off by as much as the grid that the output is rounded to; the regression of the slopes on the
    claims is what is left when these errors cancel.
    """
    products = squares = 0.0
    for tried in range(1, GRID + 1):
        v = case.tangent([(leaf, 1.0)])
        claimed = float(case.gradient @ v)
        products += claimed * _slope(case, v, step * case.pairing.length(case.point, v))
        squares += claimed * claimed
        if tried == GRID // 4 and not products > squares / 2:
            return False
    return abs(products - squares) <= squares / 10


def _slope(case: Case, v: Array, h: float) -> float:
    if not h:
        return math.nan
    with np.errstate(all="ignore"):
        return float(case.pairing(case.point + h * v) - case.pairing(case.point - h * v)) / (2 * h)


def _unresolved(case: Case, leaf: int) -> Finding:
    reason = "the forward has structure finer than the steps of the oracle can resolve: use another oracle"
    return Finding(Verdict.INCONCLUSIVE, case.layout.shapes[leaf], math.inf, math.inf, reason=reason)


def _failed(case: Case, leaf: int, probes: list[Probe]) -> Finding:
    """Say how wrong a leaf is, and where: exactly if every wrong entry was found, else by more probes."""
    shape, name = case.layout.shapes[leaf], f"d{case.layout.paths[leaf]}"
    reason = f"{name} is identically zero" if case.norm(leaf) == 0 else None
    found = locate(case, leaf) if case.located else None
    if found and found.count:
        error = _exactly(case, leaf, found)
    else:
        more = range(SIZING - len(probes))
        probes = probes + [case.probe(case.tangent([(leaf, 1.0)]), roughly=True) for _ in more]
        true = _rms(one.measured for one in probes)
        error = _rms(one.gap for one in probes) / true if true else math.inf
    if not found:
        return Finding(Verdict.FAIL, shape, error, math.inf, reason=reason)
    worst = next(iter(found.entries), None)
    return Finding(Verdict.FAIL, shape, error, math.inf, worst, found.entries, reason, where=found.regions)


def _exactly(case: Case, leaf: int, found: Location) -> float:
    """Return the relative error of a leaf of which every wrong entry was found."""
    apart = math.hypot(*(entry.claimed - entry.measured for entry in found.entries))
    claimed = math.hypot(*(entry.claimed for entry in found.entries))
    measured = math.hypot(*(entry.measured for entry in found.entries))
    true = math.sqrt(max(case.norm(leaf) ** 2 - claimed**2, 0.0) + measured**2)
    return apart / true if true else math.inf


def _wanted(case: Case) -> float:
    """Return the certificate at which probing stops."""
    return SHARP if case.tol is None else case.tol


def _rms(numbers: Iterable[float]) -> float:
    squares = [number * number for number in numbers]
    return math.sqrt(math.fsum(squares) / len(squares))
