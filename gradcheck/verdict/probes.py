"""The one identity, and what agreeing with it proves. Level 2.

For a forward f, a cotangent ȳ and a tangent ẋ:

    ⟨backward(ȳ), ẋ⟩ = ⟨ȳ, J ẋ⟩

The left side is claimed by the backward, the right side is measured by an oracle that pushes ẋ forward.

The certificate. Let e = claimed − true gradient. For Gaussian u, ⟨e, u⟩ is N(0, ‖e‖²), so if ‖e‖ ≥ ε a probe stays
within τ with probability at most √(2/π) τ/ε, and the probabilities of independent probes multiply. After k probes
that stayed within τ₁ … τ_k, ‖e‖ < ε = √(2/π) (τ₁ ⋯ τ_k)^(1/k) δ^(−1/k)  but with probability δ, in any dimension.
The τ have to be given beforehand, as the error of a measurement is.

Where probes see an error it is weighed: Σ ⟨e, u⟩² / ‖e‖² is χ² with k degrees of freedom, and by Chernoff's bound
P(χ² ≤ r k) for r < 1, and P(χ² ≥ r k) for r > 1, are (r e^(1 − r))^(k/2) at most. So ‖e‖² lies between Σ ⟨e, u⟩² / r k
for the two r at which that is δ: with 24 probes between 0.55² and 2.7² times the mean of what was seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.oracles.estimate import Pushforward
from gradcheck.report import CONFIDENCE
from gradcheck.trees import Array, norm

__all__ = ["Probe", "certificate", "least_error", "probe", "rms", "share"]

EPS = float(np.finfo(np.float64).eps)
LUCK = 1e3  # a probe that reaches this much farther than another one did so by a fluke of its bound
ROUNDINGS = 16.0  # how many roundings of its own entries any claimed gradient may carry


class Probe(NamedTuple):
    """Both sides of the identity along one tangent, and how far apart they may be without a contradiction.

    ``error`` bounds the measured side and the rounding of the claimed one; ``kink`` is half the jump of the slope.
    ``reason`` is what the oracle says of an error that is wide.
    """

    claimed: float
    measured: float
    error: float
    kink: float
    reason: str | None = None

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
    return Probe(claimed, float(measured.value), error, float(measured.kink), measured.reason)


def _inner(gradient: Array, tangent: Array) -> tuple[float, float]:
    """Return ⟨gradient, tangent⟩ and the norm of its terms, which are gone before f is called."""
    terms = gradient * tangent
    return float(terms.sum()), norm(terms)


def certificate(probes: Sequence[Probe], looks: int = 1) -> float:
    """Return ε: an error of that norm would have been seen by one of ``probes``, but with probability CONFIDENCE.

    With ``looks`` the certificate may be asked for that often as probes are added, and hold each time.
    """
    reaches = [one.reach for one in probes]
    if not reaches or not all(map(math.isfinite, reaches)):
        return math.inf
    log_chance = math.log(CONFIDENCE / looks)
    if not all(one.agrees for one in probes):
        return rms(reaches) / math.sqrt(share(len(probes), log_chance, above=False))
    least = max(max(reaches) / LUCK, 1e-300)
    mean = math.exp(math.fsum(math.log(max(reach, least)) for reach in reaches) / len(reaches))
    return math.sqrt(2 / math.pi) * mean * math.exp(-log_chance / len(reaches))


def least_error(probes: Sequence[Probe], looks: int = 1) -> float:
    """Return the norm that the error of the gradient exceeds, but with probability CONFIDENCE, in ``looks`` looks."""
    seen = rms(max(one.gap - one.error - one.kink, 0.0) for one in probes)
    return seen / math.sqrt(share(len(probes), math.log(CONFIDENCE / looks), above=True))


def share(k: int, log_chance: float, *, above: bool) -> float:
    """Return r, by bisection, at which (k/2) (log r + 1 − r) is ``log_chance``: above one or below it.

    Of k squared Gaussian numbers the mean is so many times the variance, or more (less), with that chance at most.
    """
    inside, outside = 1.0, 2 - 4 * log_chance / k if above else 0.0
    for _ in range(60):
        r = (inside + outside) / 2
        if r and k / 2 * (math.log(r) + 1 - r) > log_chance:
            inside = r
        else:
            outside = r
    return outside or math.ulp(0.0)


def rms(numbers: Iterable[float]) -> float:
    """Return the root mean square; 0.0 of nothing."""
    found = list(numbers)
    return math.hypot(*found) / math.sqrt(len(found)) if found else 0.0
