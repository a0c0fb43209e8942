"""The one identity, and what agreeing with it proves. Level 2.

For a forward f, a cotangent ȳ and a tangent ẋ:

    ⟨backward(ȳ), ẋ⟩ = ⟨ȳ, J ẋ⟩

The left side is claimed by the backward, the right side is measured by an oracle that pushes ẋ forward.

The certificate. Let e = claimed − true gradient. For Gaussian u, ⟨e, u⟩ is N(0, ‖e‖²), so if ‖e‖ ≥ ε a probe stays
within τ with probability at most √(2/π) τ/ε, and the probabilities of independent probes multiply. After k probes
that stayed within τ₁ … τ_k, ‖e‖ < ε = √(2/π) (τ₁ ⋯ τ_k)^(1/k) δ^(−1/k)  but with probability δ, in any dimension.
The τ have to be given beforehand. The error of a measurement is; where a gap is larger, τ is what was seen, and all
probes count with the largest: if ‖e‖ ≥ ε, it stays within τ(ε) = ε √(π/2) δ^(1/k) with probability δ at most.

A tolerance asks the other way round as well: is ‖e‖ certainly larger? Σ ⟨e, u⟩² / ‖e‖² is χ² with k degrees of
freedom, which exceeds k + 2 √(k t) + 2 t with probability e^(−t) at most (Laurent & Massart 2000, lemma 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.oracles.estimate import Pushforward
from gradcheck.report import CONFIDENCE
from gradcheck.trees import Array

__all__ = ["Probe", "certificate", "least_error", "probe"]

EPS = float(np.finfo(np.float64).eps)
LUCK = 1e3  # a probe that reaches this much farther than another one did so by a fluke of its bound
ROUNDINGS = 16.0  # how many roundings of its own entries any claimed gradient may carry


class Probe(NamedTuple):
    """Both sides of the identity along one tangent, and how far apart they may be without a contradiction.

    ``error`` bounds the measured side and the rounding of the claimed one; ``kink`` is half the jump of the slope.
    """

    claimed: float
    measured: float
    error: float
    kink: float

    @property
    def gap(self) -> float:
        """How far claimed and measured are apart."""
        return abs(self.claimed - self.measured)

    @property
    def agrees(self) -> bool:
        """Whether a right backward can show this gap: the error explains it, or a convention at a kink does.

        What was not measured contradicts nothing.
        """
        return not self.gap > self.error + self.kink

    @property
    def reach(self) -> float:
        """The largest error along this tangent that the probe leaves possible."""
        return self.gap + self.error


def probe(gradient: Array, pushforward: Pushforward, tangent: Array, *, roughly: bool = False) -> Probe:
    """Compare ⟨gradient, tangent⟩ with what the oracle measures along ``tangent``.

    If it is enough to do so ``roughly``, a slope that is far from the claimed one need not be measured sharply.
    """
    claimed, size = _inner(gradient, tangent)
    against = getattr(pushforward, "against", None) if roughly else None
    measured: Any = against(tangent, claimed) if against else pushforward(tangent)
    error = float(measured.error) + ROUNDINGS * EPS * size
    return Probe(claimed, float(measured.value), error, float(measured.kink))


def _inner(gradient: Array, tangent: Array) -> tuple[float, float]:
    """Return ⟨gradient, tangent⟩ and the norm of its terms, which are gone before f is called."""
    terms = gradient * tangent
    return float(terms.sum()), float(np.linalg.norm(terms))


def certificate(probes: Sequence[Probe], looks: int = 1) -> float:
    """Return ε: an error of that norm would have been seen by one of ``probes``, but with probability CONFIDENCE.

    With ``looks`` the certificate may be asked for that often as probes are added, and hold each time.
    """
    reaches = [one.reach for one in probes]
    if not reaches or not all(map(math.isfinite, reaches)):
        return math.inf
    explained = all(one.agrees for one in probes)
    least = max(max(reaches) / (LUCK if explained else 1.0), 1e-300)
    reaches = [max(reach, least) for reach in reaches]
    mean = math.exp(math.fsum(map(math.log, reaches)) / len(reaches))
    return math.sqrt(2 / math.pi) * mean * math.pow(CONFIDENCE / looks, -1 / len(reaches))


def least_error(probes: Sequence[Probe], looks: int = 1) -> float:
    """Return the norm that the error of the gradient exceeds, but with probability CONFIDENCE, in ``looks`` looks."""
    k, t = len(probes), math.log(looks / CONFIDENCE)
    seen = math.hypot(*(max(one.gap - one.error - one.kink, 0.0) for one in probes))
    return seen / math.sqrt(k + 2 * math.sqrt(k * t) + 2 * t)
