"""Vanishing and exploding gradients: what the spectrum of the recurrent matrix says, and what it does not say.

    python -m derivations.vanishing                          # a table of ‖∂h_t/∂h_k‖, a second
    python -m derivations.vanishing --picture vanishing.png  # and drawn against t − k

Letters and shapes are those of bptt.py, for one sample: h_t = f(z_t) (M,), z_t = U h_{t-1} + input, and ∂h_t/∂h_k is
the product J_t J_{t-1} … J_{k+1} of the J_j = diag(f'(z_j)) U. Document 000 writes rows, h_{t-1} Whh with Whh = Uᵀ;
to transpose changes neither eigenvalues nor norms. ‖·‖ is the spectral norm, s the largest singular value of U, ρ the
largest modulus of an eigenvalue, and m the largest slope of f: 1/4 for the sigmoid, 1 for tanh and ReLU.

The document says (000-20): if ρ < 1, the norm shrinks exponentially with t − k, for the sigmoid; if ρ > 1, it will grow
extremely large.

What holds is a bound. ‖diag(f'(z))‖ ≤ m and ‖U‖ = s, and the norm of a product is at most the product of the norms:

           ‖∂h_t/∂h_k‖ ≤ (m s)^(t−k)

So m s < 1 suffices for vanishing, and m s > 1 is necessary for exploding, but does not suffice. If U is ρ times an
orthogonal matrix, s is ρ, and where f is steepest the bound is attained. The printed claim fails in both its parts:

           ρ > 1 and yet vanishing         sigmoid with ρ = 2, as m s = 1/2; tanh and ReLU with ρ = 1.1 that inputs
                                           drive to where f' is below 1
           ρ < 1 and yet growing first     U not normal, s > 1: U^n tends to 0 in the end, ‖U‖, ‖U²‖ … may grow before
           ρ = 0 and yet growing for ever  U = c [1 −1; 1 −1] has U² = 0, but diag(d₁, d₂) U has the eigenvalue
                                           c (d₁ − d₂): slopes that differ undo the cancellation, sigmoid or not

z is given or comes from a run; any z_t can be had, as the input of a step can be anything.

Source     document 000, equations 17 to 19 and its last paragraph (000-20); R. Pascanu, T. Mikolov and Y. Bengio, On
           the difficulty of training recurrent neural networks, 2013, section 2.1, where the bound stands.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from derivations.activations import ACTIVATIONS
from derivations.bptt import jacobian_products, step_jacobians

__all__ = ["STEEPEST", "Case", "bounds", "counterexamples", "norms", "run", "spectra"]

# For every f, where it is steepest, and its slope there.
STEEPEST = {"sigmoid": (0.0, 0.25), "tanh": (0.0, 1.0), "relu": (1.0, 1.0)}
RADII = (0.5, 0.9, 1.1, 2.0, 6.0)
STEPS, UNITS = 40, 16


@dataclass(frozen=True, eq=False)
class Case:
    """A recurrent matrix U (M, M), and the z (T, M) at which the steps are taken."""

    name: str
    activation: str
    U: Float[ndarray, "M M"]
    z: Float[ndarray, "T M"]

    @property
    def radius(self) -> float:
        """The largest modulus of an eigenvalue of U."""
        return float(np.abs(np.linalg.eigvals(self.U)).max())

    @property
    def norms(self) -> Float[ndarray, "T+1"]:
        """‖∂h_T/∂h_{T−n}‖ for n = 0 … T."""
        return norms(self.U, self.z, self.activation)

    @property
    def bounds(self) -> Float[ndarray, "T+1"]:
        """What these norms cannot exceed."""
        return bounds(self.U, self.activation, len(self.z))

    @property
    def claim_holds(self) -> bool:
        """Whether the norm after T steps is where the printed claim has it: below 1 if ρ < 1, above if ρ > 1."""
        return bool((self.radius < 1) == (self.norms[-1] < 1))


def norms(U: Float[ndarray, "M M"], z: Float[ndarray, "T M"], activation: str) -> Float[ndarray, "T+1"]:
    """Return the spectral norms of ∂h_T/∂h_{T−n} for n = 0 … T, where f(z[t]) is the state of step t + 1."""
    forward, backward = ACTIVATIONS[activation]
    slopes = backward(np.ones_like(z), forward(z)[1])
    return np.array([np.linalg.norm(product, 2) for product in jacobian_products(step_jacobians(U, slopes))])


def bounds(U: Float[ndarray, "M M"], activation: str, T: int) -> Float[ndarray, "T+1"]:
    """Return (m s)^n for n = 0 … T."""
    _, m = STEEPEST[activation]
    powers: ndarray = (m * np.linalg.norm(U, 2)) ** np.arange(T + 1)
    return powers


def run(U: Float[ndarray, "M M"], inputs: Float[ndarray, "T M"], activation: str) -> Float[ndarray, "T M"]:
    """Return the z_t = U h_{t-1} + inputs[t] of a net that starts at h_0 = 0."""
    forward, _ = ACTIVATIONS[activation]
    h, z = np.zeros(len(U)), np.empty_like(inputs)
    for t, input_t in enumerate(inputs):
        z[t] = U @ h + input_t
        h, _ = forward(z[t])
    return z


def spectra(rng: np.random.Generator) -> list[Case]:
    """Return ρ times an orthogonal matrix for every ρ and f, where f is steepest and driven by Gaussian inputs."""
    Q, _ = np.linalg.qr(rng.standard_normal((UNITS, UNITS)))
    inputs = rng.standard_normal((STEPS, UNITS))
    return [
        Case(name, activation, radius * Q, z)
        for activation, (steepest, _) in STEEPEST.items()
        for radius in RADII
        for name, z in (
            ("steepest", np.full(inputs.shape, steepest)),
            ("driven", run(radius * Q, inputs, activation)),
        )
    ]


def counterexamples() -> list[Case]:
    """Return three matrices whose eigenvalues say the contrary of what happens."""
    chain = 0.5 * np.eye(8) + 2 * np.eye(8, k=1)  # triangular: every eigenvalue is 0.5
    cancelling = 12 * np.array([[1.0, -1.0], [1.0, -1.0]])  # its square is 0, and so is every eigenvalue
    return [
        Case("not normal", "relu", chain, np.ones((STEPS, 8))),
        Case("nilpotent", "sigmoid", cancelling, np.tile([0.0, 4.0], (STEPS, 1))),
        Case("twice orthogonal", "sigmoid", 2 * np.eye(4)[[1, 2, 3, 0]], np.zeros((STEPS, 4))),
    ]


def table(cases: Sequence[Case]) -> str:
    """Return a row for every case: its spectrum, some norms, and whether the printed claim holds."""
    header = (
        f"{'f':<9}{'U, z':<18}{'ρ':>7}{'s':>8}{'m s':>8}{'n = 1':>10}{'n = 10':>10}{'n = T':>10}{'largest':>10}  claim"
    )
    rows = [header]
    for case in cases:
        measured, s = case.norms, float(np.linalg.norm(case.U, 2))
        shown = (measured[1], measured[10], measured[-1], measured.max())
        rows.append(
            f"{case.activation:<9}{case.name:<18}{case.radius:7.2f}{s:8.2f}{s * STEEPEST[case.activation][1]:8.2f}"
            + "".join(f"{norm:10.1e}" for norm in shown)
            + f"  {'holds' if case.claim_holds else 'FAILS'}"
        )
    return "\n".join(rows)


def draw(cases: Sequence[Case], others: Sequence[Case], path: Path) -> None:
    """Draw the norms and bounds of every f in a panel of its own, and of the counterexamples in a fourth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = {f: [case for case in cases if case.activation == f and case.name == "driven"] for f in STEEPEST}
    for axes, (title, row) in zip(figure.subplots(2, 2).flat, (panels | {"": list(others)}).items(), strict=True):
        for number, case in enumerate(row):
            label = f"ρ = {case.radius:.1f}" if title else f"{case.name}, {case.activation}, ρ = {case.radius:.1f}"
            axes.semilogy(case.norms, color=f"C{number}", label=label)
            axes.semilogy(case.bounds, color=f"C{number}", linestyle="dotted")
        axes.set_title(f"{title}, driven by inputs" if title else "eigenvalues that mislead")
        axes.set_xlabel("t − k")
        axes.set_ylabel("‖∂h_t/∂h_k‖, dotted: (m s)^(t−k)")
        axes.set_ylim(1e-20, 1e20)
        axes.legend()
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and, if asked, make the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m derivations.vanishing", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the norms against t − k")
    parser.add_argument("--seed", type=int, default=0, help="of the orthogonal matrix and the inputs (0)")
    options = parser.parse_args(arguments)
    cases, others = spectra(np.random.default_rng(options.seed)), counterexamples()
    sys.stdout.write(f"{table([*cases, *others])}\n")
    if options.picture:
        draw(cases, others, options.picture)


if __name__ == "__main__":
    main()
