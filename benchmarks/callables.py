"""How often a check is wrong about the callables that people have, by kind: right and wrong rules at random points.

    python benchmarks/callables.py [--cases 60] [--kind "torch module" ...]

Each case is a rule for one of three functions of two matrices, at a random shape and dtype (float64, float32 or, where
the kind has them, complex128), as an array of NumPy or of the framework; and the same rule with a slip in the gradient
of the second: a factor of 1.001, the wrong sign, zeros, or rows that are shifted by one.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck import (
    examine_backward,
    from_autograd,
    from_gradient_in_place,
    from_jax,
    from_mygrad,
    from_pullback,
    from_torch,
)

Slip = Callable[[Any], Any]
NUMBER = itertools.count()
SHAPES = (1, 7)  # sizes from, and below


def shifted(gradient):
    """Return the rows in another order, or twice a single row."""
    count = len(gradient)
    return gradient[np.roll(np.arange(count), -1)] if count > 1 else 2 * gradient


SLIPS: tuple[Slip, ...] = (lambda g: 1.001 * g, lambda g: -g, lambda g: 0 * g, shifted)


def value(m, which, x, w):
    """Return one of three functions of x (N D) and w (D M), in the module ``m``."""
    if which == 0:
        return x @ w
    return m.tanh(x) * w.sum() if which == 1 else m.log1p(m.exp(x @ w))


def pulled(m, which, slip, d, x, w):
    """Return the gradients of x and, with a slip, of w, in the convention of JAX: without any conjugate."""
    if which == 1:
        t = m.tanh(x)
        return d * (1 - t * t) * w.sum(), slip((d * t).sum() * m.ones_like(w))
    k = d if which == 0 else d / (1 + m.exp(-(x @ w)))
    return k @ w.T, slip(x.T @ k)


def of_torch(kind, which, slip):
    import torch

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return value(torch, which, x, w)

        @staticmethod
        def backward(ctx, d):
            return tuple(g.conj() for g in pulled(torch, which, slip, d.conj(), *ctx.saved_tensors))

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return Rule.apply(x, self.w)

    if kind == "torch function":
        return from_torch(Rule)
    if kind == "torch plain":
        return from_torch(lambda x, w: 2 * Rule.apply(x, w))
    if kind == "torch module":
        return from_torch(Module())

    def operator(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return value(torch, which, x, w)

    operator.__annotations__ = {"x": torch.Tensor, "w": torch.Tensor, "return": torch.Tensor}
    custom = torch.library.custom_op(f"callables::rule{next(NUMBER)}", operator, mutates_args=())

    def keep(ctx, inputs, output):  # noqa: ARG001  (the names are PyTorch's)
        ctx.save_for_backward(*inputs)

    custom.register_autograd(Rule.backward, setup_context=keep)
    return from_torch(custom)


def of_jax(kind, which, slip):
    import jax

    def f(x, w):
        return value(jax.numpy, which, x, w)

    if kind == "pullback":
        return from_pullback(
            lambda x, w: (f(x, w), lambda d: pulled(jax.numpy, which, slip, d, x, w)), convention="jax"
        )
    if kind == "jax custom_vjp":
        rule = jax.custom_vjp(f)
        rule.defvjp(lambda x, w: (f(x, w), (x, w)), lambda kept, d: pulled(jax.numpy, which, slip, d, *kept))
        return from_jax(rule)
    rule = jax.custom_jvp(f)
    rule.defjvp(lambda primals, tangents: jax.jvp(f, primals, (tangents[0], slip(tangents[1]))))
    return from_jax(rule)


def of_autograd(_kind, which, slip):
    from autograd.extend import defvjp, primitive

    rule = primitive(lambda x, w: value(np, which, x, w))
    vjps = [lambda _ans, x, w, i=i: lambda d: pulled(np, which, slip, d, x, w)[i] for i in range(2)]
    defvjp(rule, *vjps)
    return from_autograd(rule)


def of_mygrad(_kind, which, slip):
    import mygrad
    from mygrad.operation_base import Operation

    class Rule(Operation):
        def __call__(self, x, w):
            self.variables = (x, w)
            return value(np, which, x.data, w.data)

        def backward_var(self, grad, index, **_kwargs):
            x, w = self.variables
            return pulled(np, which, slip, grad, x.data, w.data)[index]

    return from_mygrad(lambda x, w: mygrad.Tensor._op(Rule, x, w))  # noqa: SLF001  (so its documentation says)


def of_nlopt(_kind, which, slip):
    def f(x, grad):
        ones = np.ones((x.shape[1], 1), x.dtype)
        if grad.size:
            d = np.ones_like(value(np, which, x, ones))
            grad[...] = slip(pulled(np, which, lambda g: g, d, x, ones)[0])
        return value(np, which, x, ones).sum()

    return from_gradient_in_place(f)


KINDS = {
    **dict.fromkeys(("torch function", "torch plain", "torch module", "torch custom_op"), of_torch),
    **dict.fromkeys(("jax custom_vjp", "jax custom_jvp", "pullback"), of_jax),
    "autograd": of_autograd,
    "mygrad": of_mygrad,
    "in place": of_nlopt,
}


def arrays(kind, rng):
    """Return x and w of a random shape and dtype, in NumPy or in the framework of the kind."""
    n, d, m = rng.integers(*SHAPES, 3)
    real = kind in ("mygrad", "in place")
    dtype = rng.choice(["float64", "float32"] if real else ["float64", "float32", "complex128"])
    found = [rng.standard_normal(shape) for shape in ((n, d), (d, m))]
    if dtype == "complex128":
        found = [array + 1j * rng.standard_normal(array.shape) for array in found]
    found = [array.astype(dtype) for array in found]
    if kind.startswith("torch") and rng.integers(2):
        import torch

        return [torch.tensor(array) for array in found]
    if kind == "pullback" or (kind.startswith("jax") and rng.integers(2)):
        import jax

        with jax.enable_x64(True):
            return [jax.numpy.asarray(array) for array in found]
    return found


def judged(kind, cases):
    """Return how many right rules did not pass, and how many wrong ones did not fail."""
    rng, alarms, missed = np.random.default_rng(0), 0, 0
    for case in range(cases):
        which, (x, w) = case % 3, arrays(kind, rng)
        args = ({"w": w}, x) if kind == "torch module" else (x,) if kind == "in place" else (x, w)
        slip = SLIPS[case % len(SLIPS)]
        if slip is shifted and (which == 1 or (kind == "in place" and which == 0)):  # its rows are equal
            slip = SLIPS[0]
        alarms += str(examine_backward(*KINDS[kind](kind, which, lambda g: g), args, seed=case).verdict) != "pass"
        missed += str(examine_backward(*KINDS[kind](kind, which, slip), args, seed=case).verdict) != "fail"
    return alarms, missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=60, help="right rules, and wrong ones, of each kind (60)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be repeated")
    options = parser.parse_args()
    print(f"{'kind':<16}{'right':>7}{'alarms':>8}{'wrong':>7}{'missed':>8}{'seconds':>9}")
    for kind in options.kind or KINDS:
        began = time.perf_counter()
        alarms, missed = judged(kind, options.cases)
        seconds = time.perf_counter() - began
        print(f"{kind:<16}{options.cases:>7}{alarms:>8}{options.cases:>7}{missed:>8}{seconds:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
