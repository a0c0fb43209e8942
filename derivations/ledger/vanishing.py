"""Vanishing and exploding gradients: the claim of document 000 about the largest eigenvalue, and what holds.

The numbers are those of derivations/vanishing.py, whose page has the letters and the reasons. The networks are drawn at
random; a claim about all networks holds if it holds for every one that is tried.
"""

from functools import partial

import numpy as np

from derivations.vanishing import Case
from gradcheck.equations.equation import Claim, Equation

T = 40  # steps
ROUNDING = 1 + 1e-9


def told(case: Case) -> str:
    singular = float(np.linalg.norm(case.U, 2))
    return (
        f"with a largest eigenvalue of {case.radius:.1f} and a largest singular value of {singular:.1f}, "
        f"the norm is {case.norms[-1]:.0e} after {T} steps"
    )


def small_eigenvalue_shrinks(rng: np.random.Generator) -> tuple[bool, str]:
    """A matrix without eigenvalues but 0, far from normal; the inputs nearly saturate the second unit."""
    U = rng.uniform(60, 150) * np.array([[1.0, -1.0], [1.0, -1.0]])
    case = Case("nilpotent", "sigmoid", U, np.tile([0.0, 4.5], (T, 1)))
    return case.claim_holds, told(case)


def large_eigenvalue_grows(rng: np.random.Generator) -> tuple[bool, str]:
    """A rotation times a number above 1 and below the inverse of the steepest slope."""
    U = rng.uniform(1.5, 3.5) * np.linalg.qr(rng.standard_normal((5, 5)))[0]
    case = Case("orthogonal", "sigmoid", U, rng.standard_normal((T, 5)))
    return case.claim_holds, told(case)


def random_case(rng: np.random.Generator) -> Case:
    M = int(rng.integers(1, 6))
    U = rng.standard_normal((M, M))
    return Case("random", "sigmoid", U * rng.uniform(1, 12) / np.linalg.norm(U, 2), rng.standard_normal((T, M)) / 4)


def bound_holds(rng: np.random.Generator) -> tuple[bool, str]:
    for case in (random_case(rng) for _ in range(20)):
        if np.any(case.norms > case.bounds * ROUNDING):
            return False, told(case)
    return True, ""


def growth_needs_singular_value(rng: np.random.Generator) -> tuple[bool, str]:
    grown = [case for case in (random_case(rng) for _ in range(40)) if case.norms[-1] > 1]
    for case in grown:
        if not np.linalg.norm(case.U, 2) > 4:
            return False, told(case)
    return bool(grown), "no network that was drawn has a norm that grows"


ROW = partial(Equation, document="000", place="Backpropagation Through Time")

EQUATIONS = (
    ROW(
        id="000-20a",
        claims="If the largest eigenvalue of W_hh is less than 1 and t − k is large, the norm of the gradient shrinks "
        "exponentially (sigmoid).",
        latex=r"\rho(W_{hh}) < 1 \implies \left\lVert \frac{\partial h_t}{\partial h_k} \right\rVert \to 0",
        printed=Claim(small_eigenvalue_shrinks),
        reading="The norm of the gradient is that of ∂h_t/∂h_k; eigenvalues are compared by modulus.",
        corrected_latex=r"\left\lVert \frac{\partial h_t}{\partial h_k} \right\rVert \le "
        r"\left(\tfrac14 \sigma_{\max}(W_{hh})\right)^{t-k}, \text{ so that } \sigma_{\max}(W_{hh}) < 4 "
        r"\text{ is sufficient}",
        corrected=Claim(bound_holds),
    ),
    ROW(
        id="000-20b",
        claims="Conversely, if it is larger than 1, the norm grows extremely large.",
        latex=r"\rho(W_{hh}) > 1 \implies \left\lVert \frac{\partial h_t}{\partial h_k} \right\rVert \to \infty",
        printed=Claim(large_eigenvalue_grows),
        reading="As in 000-20a: the activation is the sigmoid, whose slope is at most 1/4.",
        corrected_latex=r"\left\lVert \frac{\partial h_t}{\partial h_k} \right\rVert \to \infty "
        r"\implies \sigma_{\max}(W_{hh}) > 4, \text{ which is necessary and not sufficient}",
        corrected=Claim(growth_needs_singular_value),
    ),
)
