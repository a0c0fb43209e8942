"""Each local pullback is the transpose of the derivative of its operation: ⟨pull(ȳ), v⟩ is the slope of ⟨ȳ, f(x)⟩."""

import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.steps import pulls
from gradcheck.steps.pulls import MOVES, RULES, SLOPES, pull, unbroadcast
from gradcheck.steps.run import traced

RNG = np.random.default_rng(3)
A, B, ROW = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4)), RNG.standard_normal(4)
BLOCK, VECTOR = RNG.standard_normal((2, 3, 4)), RNG.standard_normal(3)


def at_indices(x, v):
    out = x.copy()
    np.add.at(out, np.array([0, 2, 0]), v)
    return out


def away_from_indices(x, v):
    out = x.copy()
    np.subtract.at(out, np.array([0, 2, 0]), v)
    return out


def overwritten(x, v):
    out = x.copy()
    out[1] = v
    out[:, 2] *= 3.0
    return out


UNARY = [
    "negative",
    "positive",
    "square",
    "sqrt",
    "reciprocal",
    "exp",
    "expm1",
    "log",
    "log1p",
    "tanh",
    "sin",
    "cos",
    "absolute",
    "arctan",
]
BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "logaddexp", "hypot"]


def by_name(name):
    """Return a function of NumPy's such that it is looked up where it is called."""
    return lambda *xs: getattr(np, name)(*xs)  # noqa: PLW0108


# fmt: off
OPERATIONS = [
    *((name, by_name(name), (np.abs(A) + 0.5,)) for name in UNARY),
    *((name, by_name(name), (np.abs(A) + 0.5, np.abs(B) + 0.2)) for name in BINARY),
    *((f"{name}, broadcast", by_name(name), (np.abs(A) + 0.5, np.abs(ROW) + 0.2))
      for name in BINARY),
    ("a number first", lambda x: 2.0 / x, (np.abs(A) + 0.5,)),
    ("where", lambda x, y: np.where(A > 0, x, y), (A, B)),
    ("clip", lambda x: np.clip(x, -0.5, 0.5), (A,)),
    ("sum", lambda x: x.sum(axis=0), (A,)),
    ("sum, all", np.sum, (A,)),
    ("sum, two axes", lambda x: x.sum(axis=(0, -1), keepdims=True), (BLOCK,)),
    ("sum, where", lambda x: np.sum(x, where=A > 0), (A,)),
    ("add.reduce", np.add.reduce, (A,)),
    ("mean", lambda x: np.mean(x, axis=1, keepdims=True), (A,)),
    ("max", lambda x: x.max(axis=1), (A,)),
    ("min", np.min, (A,)),
    ("var", lambda x: x.var(axis=0, keepdims=True), (A,)),
    ("var, ddof", lambda x: np.var(x, axis=1, ddof=1), (A,)),
    ("std", lambda x: np.std(x, axis=-1), (A,)),
    ("cumsum", lambda x: np.cumsum(x, axis=1), (A,)),
    ("cumsum, flat", np.cumsum, (A,)),
    ("prod", lambda x: np.prod(x, axis=1), (A,)),
    ("matmul", lambda x, y: x @ y, (A, B.T)),
    ("matmul, a vector", lambda x, y: x @ y, (A, ROW)),
    ("matmul, vectors", lambda x, y: x @ y, (ROW, 2 * ROW + 1)),
    ("matmul, blocks", lambda x, y: x @ y, (BLOCK, B.T)),
    ("dot", np.dot, (A, B.T)),
    ("dot, blocks", np.dot, (BLOCK, RNG.standard_normal((2, 4, 2)))),
    ("inner", np.inner, (A, B)),
    ("outer", np.outer, (ROW, VECTOR)),
    ("multiply.outer", np.multiply.outer, (A, VECTOR)),
    ("vdot", np.vdot, (A, B)),
    ("tensordot", lambda x, y: np.tensordot(x, y, axes=([1], [2])), (BLOCK, RNG.standard_normal((2, 5, 3)))),
    ("tensordot, a number", lambda x, y: np.tensordot(x, y, axes=1), (BLOCK, B.T)),
    ("einsum", lambda x, y: np.einsum("bij,kj->bik", x, y), (BLOCK, B)),
    ("einsum, without an arrow", lambda x, y: np.einsum("ij,jk", x, y), (A, B.T)),
    ("einsum, summed first", lambda x, y: np.einsum("ij,k->k", x, y), (A, ROW)),
    ("add.at", at_indices, (A, B)),
    ("subtract.at", away_from_indices, (A, B)),
    ("gather", lambda x: x[[0, 2, 0]].T, (A,)),
    ("gather of several", overwritten, (A, ROW)),
    ("concatenate", lambda x, y: np.concatenate([x, y[:2]]), (A, B)),
    ("concatenate, with a number", lambda x: np.concatenate([[1.0], x]), (ROW,)),
    ("stack", lambda x, y: np.stack([x, y], axis=1), (A, B)),
    ("pad", lambda x: np.pad(x, 1), (A,)),
    ("roll", lambda x: np.roll(x, 1, axis=0), (A,)),
    ("repeat", lambda x: np.repeat(x, 2, axis=1), (A,)),
    ("tril", np.tril, (A,)),
    ("diag", np.diag, (ROW,)),
    ("norm", lambda x: np.linalg.norm(x, axis=1), (A,)),
    ("inv", np.linalg.inv, (RNG.standard_normal((3, 3)),)),
    ("kron", np.kron, (A[:2, :2], B[:2, :2])),
    ("sort", lambda x: np.sort(x, axis=1), (A,)),
]
# fmt: on


@pytest.mark.parametrize(("function", "args"), [row[1:] for row in OPERATIONS], ids=[row[0] for row in OPERATIONS])
def test_a_pullback_is_the_transpose_of_the_derivative(function, args):
    run = traced(lambda *xs: (function(*xs), None), None, Arguments.of(_of(len(args)), args))
    bars, rng = {run.outs[0]: run.cotangent[0]}, np.random.default_rng(0)
    for node in reversed(run.nodes):
        values = [run.value(p) for p in node.parents]
        for k, p in enumerate(node.parents):
            if node.id in bars and run.nodes[p].is_float:
                bars[p] = bars.get(p, 0.0) + pull(node, k, values)(bars[node.id])
    for path, x in zip("xy", args, strict=False):
        v, h = rng.standard_normal(np.shape(x)), 1e-5
        moved = [tuple(each + t * v if each is x else each for each in args) for t in (-h, h)]
        low, high = (np.sum(run.cotangent[0] * function(*each)) for each in moved)
        bar = bars[run.leaf[path]]
        assert np.shape(bar) == np.shape(x)
        assert np.sum(bar * v) == pytest.approx((high - low) / (2 * h), rel=1e-6, abs=1e-8)


def _of(count):
    return (lambda x: None, lambda x, y: None)[count - 1]


def test_every_rule_and_every_slope_is_tried():
    names = {name.partition(",")[0] for name, *_ in OPERATIONS}
    assert names >= set(RULES)
    assert names >= set(SLOPES)


def test_a_pullback_of_what_only_moves_cells_needs_no_rule():
    assert not MOVES & RULES.keys()


def test_what_is_too_large_to_be_measured_is_unknown(monkeypatch):
    monkeypatch.setattr(pulls, "LARGEST", 4)
    run = traced(lambda x: (np.linalg.norm(x), None), None, Arguments.of(_of(1), (A,)))
    assert pull(run.nodes[run.outs[0]], 0, [A])(np.ones(())) is None


def test_unbroadcast_sums_over_what_was_broadcast():
    bar = RNG.standard_normal((2, 3, 4))
    assert np.allclose(unbroadcast(bar, (3, 1)), bar.sum(axis=0).sum(axis=1, keepdims=True))
    assert unbroadcast(bar, bar.shape) is bar
