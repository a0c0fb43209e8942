"""One test a row: a gradient that is right but for what the row looks at."""

import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.steps.claims import case_of
from gradcheck.steps.returned import Told, told


def affine(x, w, b):
    """x (N, D), w (D, M), b (M,)."""
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    return {"x": dout @ w.T, "w": x.T @ dout, "b": dout.sum(axis=0)}


def loss(x, w):
    """The mean of squares, and half the squared weights."""
    return float(np.mean((x @ w) ** 2) + 0.15 * np.sum(w**2)), (x, w)


def loss_backward(dout, cache):
    x, w = cache
    dy = dout * 2 * (x @ w) / (x @ w).size
    return {"x": dy @ w.T, "w": x.T @ dy + dout * 0.3 * w}


def said(forward, right, change, *shapes, paths, settings=()):
    """Return what is told where the right gradients are given to ``change``, which makes some wrong."""
    rng = np.random.default_rng(0)
    args = (*(rng.standard_normal(shape) for shape in shapes), *settings)
    arguments = Arguments.of(forward, args)
    out, _ = forward(*args)
    cotangent = np.asarray(rng.standard_normal(np.shape(out))) if np.ndim(out) else 0.7

    def backward(dout, cache):
        return change(right(dout, cache), dout, cache)

    def at(point):
        return case_of(forward, backward, arguments.moved(point), cotangent, paths)

    point = arguments.point
    return told(at(point), lambda: at(point * (1 + 0.3 * rng.uniform(-1, 1, point.size))))


def of_affine(path, change):
    """Return what is told of an affine layer with the gradient of one argument changed."""
    changed = lambda g, dout, cache: {**g, path: change(g[path], dout, cache)}  # noqa: E731
    return said(affine, affine_backward, changed, (4, 3), (3, 5), (5,), paths=(path,))


def test_a_gradient_that_is_right_is_told_nothing_of():
    assert of_affine("w", lambda g, dout, cache: g) == []


ROWS = {
    "transposed": ("w", lambda g, *_: g.T, "B1", "the gradient with its axes in another order: they must be (1, 0)"),
    "reshaped": ("b", lambda g, *_: g[None], "B2", "the gradient in the shape (1, 5), which must be (5,)"),
    "not summed": ("b", lambda g, dout, _: dout, "B3", "the gradient before it is summed over axis 0"),
    "bordered": (
        "w",
        lambda g, *_: np.pad(g, 1),
        "F3",
        "the gradient with a border: it must be cut to (3, 5), from (1, 1) on",
    ),
    "of the wrong sign": ("w", lambda g, *_: -g, "A1", "the gradient with the wrong sign"),
    "summed for averaged": ("b", lambda g, *_: g / 4, "A2", "0.25 times the gradient (1/x.shape[0])"),
    "doubled": ("w", lambda g, *_: 2 * g, "A4", "2 times the gradient"),
    "of an unknown factor": ("w", lambda g, *_: 0.123 * g, "A4", "0.123 times the gradient"),
    "whole": ("w", lambda g, *_: np.trunc(g), "H3", "the gradient in whole numbers"),
    "coarse": ("w", lambda g, *_: g.astype(np.float16), "H3", "the gradient with the precision of float16"),
    "clipped": ("w", lambda g, *_: np.clip(g, -0.1, 0.1), "G4", "the gradient clipped at 0.1"),
    "normalised": ("w", lambda g, *_: g / np.linalg.norm(g), "G4", "the gradient scaled to the norm 1"),
    "decayed": (
        "w",
        lambda g, _, cache: g + 0.5 * cache[1],
        "D1",
        "the gradient and 0.5 times w, whatever the cotangent is",
    ),
    "offset": (
        "w",
        lambda g, *_: g + np.arange(15.0).reshape(3, 5),
        "E2",
        "the gradient and what was there before: it must begin with zeros",
    ),
    "deaf": (
        "w",
        lambda g, dout, cache: cache[0].T @ np.ones((4, 5)),
        "C5",
        "the same for every cotangent: dout is not multiplied in",
    ),
    "zero": ("w", lambda g, *_: 0 * g, "C8", "zero everywhere, and the gradient is not"),
    "without the last sample": (
        "w",
        lambda g, dout, cache: cache[0][:-1].T @ dout[:-1],
        "C8",
        "the gradient without the last of 4 along axis 0 of the output",
    ),
    "cut": (
        "x",
        lambda g, *_: g * (np.arange(4) > 0)[:, None],
        "C8",
        "the gradient without the first of 4 along axis 0 of the output",
    ),
    "with a term too many": (
        "x",
        lambda g, _, cache: g + np.tanh(cache[0]),
        "E2",
        "the gradient and what was there before: it must begin with zeros",
    ),
}


@pytest.mark.parametrize(("path", "change", "mistake", "what"), ROWS.values(), ids=ROWS)
def test_each_row_says_what_was_returned(path, change, mistake, what):
    unverified = what.startswith("zero")
    assert of_affine(path, change) == [Told(mistake, what, (path,), not unverified)]


def test_gradients_in_each_others_place_are_told_by_whose_they_are():
    def swapped(g, *_):
        return {**g, "x": g["w"], "w": g["x"]}

    found = said(affine, affine_backward, swapped, (3, 3), (3, 3), (3,), paths=("x", "w"))
    assert found == [Told("B5", "the gradient of w", ("x",)), Told("B5", "the gradient of x", ("w",))]


def test_a_regulariser_that_is_missing_is_told_by_its_rate():
    def without(g, dout, cache):
        return {**g, "w": g["w"] - dout * 0.3 * cache[1]}

    assert said(loss, loss_backward, without, (4, 3), (3, 2), paths=("w",)) == [
        Told("D1", "the gradient without 0.3 times w", ("w",))
    ]


def test_a_bias_that_is_regularised_is_told_apart_from_weights():
    def forward(w, b):
        return float(np.sum(np.tanh(w * b))), (w, b)

    def right(dout, cache):
        w, b = cache
        slope = dout * (1 - np.tanh(w * b) ** 2)
        return {"w": slope * b, "b": (slope * w).sum(axis=0)}

    def decayed(g, dout, cache):
        return {**g, "b": g["b"] + dout * 0.4 * cache[1]}

    found = said(forward, right, decayed, (4, 5), (5,), paths=("b",))
    assert found == [Told("D2", "the gradient and 0.4 times b, which is too much", ("b",))]


def test_a_setting_is_named_as_a_factor():
    def forward(x, keep):
        return np.tanh(x) * keep, (x, keep)

    def right(dout, cache):
        x, keep = cache
        return {"x": dout * keep * (1 - np.tanh(x) ** 2)}

    found = said(forward, right, lambda g, *_: {"x": g["x"] / 0.8}, (3, 4), paths=("x",), settings=(0.8,))
    assert found == [Told("A4", "1.25 times the gradient (1/keep)", ("x",))]


def test_a_derivative_that_is_missing_is_found_among_the_arrays_in_sight():
    def forward(x):
        out = np.tanh(x)
        return out, out

    found = said(
        forward, lambda dout, out: {"x": dout * (1 - out**2)}, lambda g, dout, _: {"x": dout}, (3, 4), paths=("x",)
    )
    assert found == [Told("C1", "the gradient without the factor (1 - tanh(x)**2)", ("x",))]


def test_a_mask_that_is_missing_is_told_from_a_derivative():
    mask = (np.arange(12) % 3 > 0).reshape(3, 4) / 0.7

    def forward(x):
        return x * mask, mask

    found = said(forward, lambda dout, mask: {"x": dout * mask}, lambda g, dout, _: {"x": dout}, (3, 4), paths=("x",))
    assert found == [Told("E5", "the gradient without the factor cache", ("x",))]


def test_what_grows_with_every_call_is_told():
    grads = np.zeros(5)

    def forward(x):
        return 3 * x, None

    def backward(dout, _):
        grads.__iadd__(3 * dout)
        return {"x": grads.copy()}

    arguments = Arguments.of(forward, (np.arange(5.0),))
    backward(np.ones(5), None)
    case = case_of(forward, backward, arguments, np.arange(5.0), ("x",))
    assert told(case, lambda: case) == [
        Told("E2", "more with every call: what the last call left must be zeros at first", ("x",))
    ]


def test_a_gap_is_told_with_the_place_and_what_is_true_there():
    def forward(x):
        return np.sum(x**2), x

    arguments = Arguments.of(forward, (np.array([1.0, 0.0, 2.0, 3.0]),))
    with np.errstate(all="ignore"):
        case = case_of(forward, lambda dout, x: {"x": dout * 2 * x**2 / x}, arguments, 1.0, ("x",))
        found = told(case, lambda: case)
    assert found == [Told("H1", "nan at dx[1], where the gradient is 0", ("x",), verified=False)]


def test_a_row_that_holds_at_one_point_alone_is_not_told():
    def forward(x):
        return np.sum(x**2), x

    def backward(dout, x):
        return {"x": dout * 2 * x * (2.0 if x[0] == 1 else 3.0)}

    arguments = Arguments.of(forward, (np.array([1.0, 4.1, 2.2, 3.3]),))
    other = case_of(forward, backward, arguments.moved(np.array([1.5, 3.1, 2.2, 3.3])), 1.0, ("x",))
    assert told(case_of(forward, backward, arguments, 1.0, ("x",)), lambda: other) == []


def test_a_large_gradient_is_told_by_a_few_slopes():
    def forward(x):
        return np.sum(np.sin(x)), x

    arguments = Arguments.of(forward, (np.random.default_rng(0).standard_normal(5000),))
    case = case_of(forward, lambda dout, x: {"x": -dout * np.cos(x)}, arguments, 1.0, ("x",))
    assert case.truth["x"].entries is None
    assert told(case, lambda: case) == [Told("A1", "the gradient with the wrong sign", ("x",))]
