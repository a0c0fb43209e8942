"""From probes to a verdict for each argument. Level 3.

All arguments are probed together first, each scaled by its own claimed norm so that all contribute alike: then one
probe speaks of the *relative* error of every argument at once. Arguments are probed one by one where the joint probes
disagree, are not sharp enough, or would be dominated by an argument that has next to no effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gradcheck.report import Entry, Finding, Verdict
from gradcheck.trees import Array, norm
from gradcheck.verdict.case import Case
from gradcheck.verdict.exactness import INEXACT, TOLERANT, Weight, gross, overshadowed, tolerated, weigh
from gradcheck.verdict.jumps import jumps
from gradcheck.verdict.locate import Location, locate
from gradcheck.verdict.probes import Probe, certificate, rms
from gradcheck.verdict.rounding import SAFETY

__all__ = ["DROWNED", "KINK", "VACUOUS", "judge"]

VACUOUS = "vacuous: no tangent shows an effect of it, and the claimed one is too small to be seen"
NOISY = "the forward is too noisy here. Take the noise out of it, or pass reference= for autodiff"
DROWNED = (
    "the effect of it drowns in the rounding of the output. Check the part of the code that it is in on its own, "
    "or pass oracle=complex_step, or reference= for autodiff"
)
GARBLED = (
    "the claimed gradient is no more than its own rounding: in another precision the backward gives another one. "
    "Compute it in a way that keeps its digits"
)
KINK = "at a kink: the slopes on both sides differ, and the gradient is a convention"
MAY_BE = "not exact: a guard, a solver, rounding?"  # as in log(p + 1e-8), an iteration that stops, a long backward
EPS, SINGLE = (float(np.finfo(dtype).eps) for dtype in (np.float64, np.float32))
_NAMES = {float(np.finfo(low).eps): low.__name__ for low in (np.float32, np.float16)} | {2.0**-7: "bfloat16"}

SHARP = 1e-7  # without a tolerance, probing stops at this certificate,
BLUNT = 1e-6  # a joint certificate worse than this is tried again one by one,
GROSS = 1e-2  # and one worse than this could hide a gross mistake: it is no pass,
COARSE = 100.0  # unless the arguments have so little precision: so many of their rounding units
TOGETHER = 4  # joint probes at most
HALVED = 8  # leaves or more that joint probes do not settle are probed in two groups, the weak and the strong
ALONE = 6  # probes of one argument at most
SIZING = 8  # probes from which the size of an error is estimated
WEAK = 1e-5  # an argument with this part of the largest effect is probed alone
SEEN = 1e5  # times the rounding of the output is a change that can be seen
COARSE_STEPS = (1e-1, 1e-2, 1e-3)  # of the point, at which an output that is rounded to a grid may still move
SMALL = 1e-2  # errors that are no larger may come from a solver,
JUMPED = 100.0  # if they are no more than so many times larger or smaller than a jump of it
GRID = 32  # tangents on which the errors of such a grid cancel
LEFT = 1e-6  # of the output's size is more than rounding leaves of what cancels
FARTHER = (1e-3, 1.0, -1.0, 30.0)  # the output has not moved at all where it does not move at these steps either
NEGLIGIBLE = 1e-11  # an effect below this part of the output's size counts as none,
DROWNING = 1e-6  # of the output's size is a bound that comes from its rounding; one that is worse, from noise
UNMOVED = 2e-9  # or where the claim is zero and nothing moved at any step, as behind a dead ReLU


def judge(case: Case) -> dict[str, Finding]:
    """Return a finding for every leaf that is judged, by its path."""
    effects = {leaf: case.effect(leaf) for leaf in case.judged}
    strongest = max(effects.values(), default=0.0)
    together = [leaf for leaf in case.judged if effects[leaf] > WEAK * strongest]
    certified, kinked = _certified(case, together, effects) if len(together) > 1 else ({}, 0)
    findings = {}
    for leaf in case.judged:
        path, shape = case.layout.paths[leaf], case.layout.shapes[leaf]
        if leaf in certified:
            findings[path] = Finding(Verdict.PASS, shape, *certified[leaf])
        elif kinked:
            findings[path] = _at_a_kink(shape, kinked)
        else:
            findings[path] = _alone(case, leaf)
        if findings[path].verdict is Verdict.PASS and not (case.tol or findings[path].remark):
            findings[path] = _in_the_shadow(case, leaf, findings[path])
    return findings


def _in_the_shadow(case: Case, leaf: int, finding: Finding) -> Finding:
    """Return the finding of a leaf that passes, unless a small entry is wrong in the shadow of large ones."""
    entry = overshadowed(case, leaf, finding.bound) if finding.bound and not finding.conventions else None
    return _failed(case, leaf, [], entry) if entry else finding


def _certified(
    case: Case, together: list[int], effects: Mapping[int, float]
) -> tuple[dict[int, tuple[float, float]], int]:
    """Return the leaves that joint probes certify, with their error and its bound, and how many probes saw a kink.

    Many leaves of different effects blunt the probes of them all: the weak move far where the strong hardly move. So a
    group that is not certified is probed once more in two parts; and where that does not help, what blunts the probes
    is the rounding of the forward, and alone they would be no sharper.
    """
    certified: dict[int, tuple[float, float]] = {}
    groups = [(together, math.inf)]
    while groups:
        group, before = groups.pop()
        probes = _joint(case, group)
        if kinked := _kinked(probes):
            return certified, kinked
        agree, bound = all(one.agrees for one in probes), certificate(probes)
        helped, wanted = bound < before / 2, case.tol or BLUNT
        if agree and (bound <= wanted or (not case.tol and not helped and bound <= GROSS)):
            certified |= dict.fromkeys(group, (rms(one.gap for one in probes), bound))
        elif len(group) >= HALVED and (helped or not agree):
            middle = math.sqrt(min(effects[leaf] for leaf in group) * max(effects[leaf] for leaf in group))
            weak = [leaf for leaf in group if effects[leaf] < middle]
            strong = [leaf for leaf in group if effects[leaf] >= middle]
            parts = (weak, strong) if weak else (group[::2], group[1::2])
            groups += [(part, bound if agree else math.inf) for part in parts]
    return certified, 0


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
    lost = None
    for number in range(1, TOLERANT + 1):
        one = case.probe(case.tangent([(leaf, 1.0)]), roughly=not case.tol)
        if one.kink:
            return _at_a_kink(shape)
        if math.isfinite(one.error):
            probes.append(one)
        else:
            lost = one.reason
        disagreeing = sum(not one.agrees for one in probes)
        if disagreeing > max(1, len(probes) // 3):
            return _disputed(case, leaf, probes)
        if (number >= ALONE and disagreeing) or (len(probes) >= 2 and _enough(case, leaf, probes)):
            break
        if number >= ALONE and not probes:
            break
    return _undisputed(case, leaf, probes) if len(probes) >= 2 else _lost(shape, lost)


def _enough(case: Case, leaf: int, probes: list[Probe]) -> bool:
    """Whether agreeing probes say all that can be hoped for: they are sharp, or more like them would not suffice."""
    whole = max(case.norm(leaf), rms(one.measured for one in probes))
    bound = certificate(probes)
    if bound <= (case.tol or SHARP) * whole:
        return True
    if case.tol:
        return probes[-1].error > case.tol * whole
    return len(probes) >= ALONE and (
        bound <= _allowed(case, leaf) * whole or probes[-1].reach > _allowed(case, leaf) * whole
    )


def _allowed(case: Case, leaf: int) -> float:
    """Return the part of the norm that a pass must exclude."""
    return case.tol or max(GROSS, min(COARSE * case.unit(leaf), 0.5))


def _at_a_kink(shape: tuple[int, ...], conventions: int = 1) -> Finding:
    return Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=KINK, conventions=conventions)


def _lost(shape: tuple[int, ...], said: str | None) -> Finding:
    reason = said or "the forward is finite at too few steps around the point: move it away from the edge of its domain"
    return Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=reason)


def _undisputed(case: Case, leaf: int, probes: list[Probe]) -> Finding:
    """Say how small an error could hide in a leaf whose probes agree."""
    shape = case.layout.shapes[leaf]
    whole = max(case.norm(leaf), rms(one.measured for one in probes))
    error, bound = (rms(one.gap for one in probes) / whole, certificate(probes) / whole) if whole else (0.0, math.inf)
    allowed = _allowed(case, leaf)
    if bound <= allowed:
        unit = max(case.unit(leaf), case.pairing.unit)
        limited = f"limited by {_NAMES.get(unit, case.layout.dtypes[leaf])}" if unit > EPS else _said(probes)
        return Finding(Verdict.PASS, shape, error, bound, reason=limited)
    if told := _lost_in_rounding(case, leaf, probes):
        return told
    if not whole and not any(case.pairing.along(case.tangent([(leaf, 1.0)]), t) for t in FARTHER):
        return Finding(Verdict.PASS, shape, 0.0, 0.0, reason=VACUOUS)
    visible = certificate(probes) * max(case.length(leaf), math.sqrt(math.prod(shape)))
    scale = max(case.pairing.size, case.pairing.excursion(leaf))
    negligible = NEGLIGIBLE if whole else UNMOVED
    if (case.norm(leaf) <= certificate(probes) and visible <= negligible * scale) or (not whole and not scale):
        return Finding(Verdict.PASS, shape, 0.0, 0.0, reason=VACUOUS)
    drowned = certificate(probes) <= DROWNING * scale / case.length(leaf)
    cause = _said(probes) or (DROWNED if drowned else NOISY)
    reason = f"an error up to {bound:.1e} of it could hide, and {allowed:.0e} is what a pass must exclude: {cause}"
    return Finding(Verdict.INCONCLUSIVE, shape, error, bound, reason=reason)


def _said(probes: list[Probe]) -> str | None:
    """Return what the oracle says of the widest of its bounds."""
    return max(probes, key=lambda one: one.error).reason


def _lost_in_rounding(case: Case, leaf: int, probes: list[Probe]) -> Finding | None:
    """Say of a claim that is no more than its own rounding whether that is the zero that was measured.

    The gradient of a bias before batch normalisation is what rounding left of a sum that cancels. Its own norm says
    nothing; what was summed does, of which its rounding is about one unit. But where digits are lost that matter, as
    in (1 − cos t) / t² at a small t, nothing is decided.
    """
    known, random = (part[case.layout.slices[leaf]] for part in case.rounding())
    rounding, shape = norm(known) + norm(random), case.layout.shapes[leaf]
    if case.norm(leaf) > rounding or case.unit(leaf) > SINGLE:
        return None
    if case.effect(leaf) > LEFT * max(case.pairing.size, case.pairing.excursion(leaf)):
        return Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf, reason=GARBLED)
    unseen = certificate(probes) * SAFETY * max(case.unit(leaf), EPS) / rounding if rounding else math.inf
    if unseen > (BLUNT if case.unit(leaf) <= EPS else GROSS / 10):
        return None
    reason = f"zero up to rounding: a larger effect than {unseen:.1e} of what was summed would have been seen"
    return Finding(Verdict.PASS, shape, 0.0, 0.0, reason=reason)  # a bound of its norm there is none


def _kinked(probes: list[Probe]) -> int:
    return sum(bool(one.kink) for one in probes)


def _disputed(case: Case, leaf: int, probes: list[Probe]) -> Finding:
    """Say whether a leaf is wrong whose probes disagree, or only inexact, or no derivative contradicts it."""
    if case.tol == 0 or not math.isfinite(case.norm(leaf)):  # no error can be weighed against a norm that overflows
        return _refuted(case, leaf, probes)
    weight = weigh(case, leaf, probes)
    above, below = tolerated(case, leaf)
    if weight.least > above * weight.norm:
        return _jumping(case, leaf, weight) or _refuted(case, leaf, probes)
    if case.tol is None and (entry := gross(case, leaf)):
        return _failed(case, leaf, probes, entry)
    return _inexact(case, leaf, weight, above, below)


def _refuted(case: Case, leaf: int, probes: list[Probe]) -> Finding:
    """Say that a leaf is wrong, unless the steps of the oracle do not suit the function."""
    return _unresolved(case, leaf) if _vindicated(case, leaf, probes) else _failed(case, leaf, probes)


def _jumping(case: Case, leaf: int, weight: Weight) -> Finding | None:
    """Return that nothing is decided of a small error that is about as large as a jump of the forward, if it jumps."""
    error = rms(one.gap for one in weight.probes) / weight.norm
    if error > SMALL or not any(error / JUMPED <= jump <= error * JUMPED for jump in jumps(case, leaf)):
        return None
    reason = (
        f"off by {error:.1e}, and the forward jumps here and there by about as much, as a solver does that stops at a "
        f"tolerance: tighten its tolerance, or pass tol={_above(error):.0e}"
    )
    return Finding(Verdict.INCONCLUSIVE, case.layout.shapes[leaf], error, math.inf, reason=reason)


def _above(error: float) -> float:
    """Return the power of ten above twice an error."""
    return 10.0 ** math.ceil(math.log10(2 * error))


def _inexact(case: Case, leaf: int, weight: Weight, above: float, below: float) -> Finding:
    """Say how inexact a leaf is whose error is not certainly too large; undecided where it is not certainly small."""
    shape, norm = case.layout.shapes[leaf], weight.norm
    error, bound = rms(one.gap for one in weight.probes) / norm, weight.most / norm
    if bound <= below and case.tol:
        reason = f"measurably off by {error:.1e}, within the tolerance"
        return Finding(Verdict.PASS, shape, error, bound, reason=reason)
    if bound <= below:
        low = _NAMES.get(max(case.unit(leaf), case.pairing.unit)) if below > INEXACT else None
        remark = f"right to {error:.1e}, {f'within {below:.0e}, the rounding of {low}' if low else MAY_BE}"
        return Finding(Verdict.PASS, shape, error, bound, remark=remark)
    limit = f"{'tol=' if case.tol else ''}{above:.0e}"
    reason = (
        f"an error between {weight.least / norm:.1e} and {bound:.1e} of the gradient was measured by "
        f"{len(weight.probes)} probes, too near to {limit} to tell on which side: choose another tol, or mend it"
    )
    return Finding(Verdict.INCONCLUSIVE, shape, error, bound, reason=reason)


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
        products += claimed * _slope(case, v, step * case.pairing.length(v))
        squares += claimed * claimed
        if tried == GRID // 4 and not products > squares / 2:
            return False
    return abs(products - squares) <= squares / 10


def _slope(case: Case, v: Array, h: float) -> float:
    if not h:
        return math.nan
    with np.errstate(all="ignore"):
        return (case.pairing.along(v, h) - case.pairing.along(v, -h)) / (2 * h)


def _unresolved(case: Case, leaf: int) -> Finding:
    reason = "the forward has structure finer than the steps of the oracle can resolve: use another oracle"
    return Finding(Verdict.INCONCLUSIVE, case.layout.shapes[leaf], math.inf, math.inf, reason=reason)


def _failed(case: Case, leaf: int, probes: list[Probe], entry: Entry | None = None) -> Finding:
    """Say how wrong a leaf is, and where: exactly if every wrong entry was found, else by more probes.

    ``entry`` is one that is known to be grossly wrong.
    """
    shape, name = case.layout.shapes[leaf], f"d{case.layout.paths[leaf]}"
    reason = f"{name} is identically zero" if case.norm(leaf) == 0 else None
    found = locate(case, leaf) if case.located else None
    if found and found.count:
        error = _exactly(case, leaf, found)
    else:
        more = range(SIZING - len(probes))
        probes = probes + [case.probe(case.tangent([(leaf, 1.0)]), roughly=True) for _ in more]
        true = rms(one.measured for one in probes)
        error = rms(one.gap for one in probes) / true if true else math.inf
    entries = found.entries if found else ()
    where = found.regions if found else ()
    if entry:
        own = abs(entry.claimed - entry.measured) / max(abs(entry.claimed), abs(entry.measured))
        reason = f"{entry.name} is wrong by {own:.1e} of its own size"
        entries = (entry, *(one for one in entries if one.index != entry.index))
    return Finding(Verdict.FAIL, shape, error, math.inf, next(iter(entries), None), entries, reason, where=where)


def _exactly(case: Case, leaf: int, found: Location) -> float:
    """Return the relative error of a leaf of which every wrong entry was found."""
    apart = math.hypot(*(entry.claimed - entry.measured for entry in found.entries))
    claimed = math.hypot(*(entry.claimed for entry in found.entries))
    measured = math.hypot(*(entry.measured for entry in found.entries))
    right = math.sqrt(max(case.norm(leaf) - claimed, 0.0)) * math.sqrt(case.norm(leaf) + claimed)
    true = math.hypot(right, measured)
    return apart / true if true else math.inf


def _wanted(case: Case) -> float:
    """Return the certificate at which probing stops."""
    return case.tol or SHARP
