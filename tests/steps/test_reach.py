"""Code in every style that people write is recorded: each value can be computed again, and the sweep back is right."""

import contextlib
import dataclasses
import functools
import itertools
import math
import operator
import typing

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from gradcheck import from_layer
from gradcheck.arguments import Arguments
from gradcheck.steps.run import traced
from gradcheck.steps.truth import adjoint

RNG = np.random.default_rng(3)
X, W, B, S = (RNG.standard_normal(shape) for shape in ((4, 3), (3, 2), (2,), (4, 4)))
IMAGE, KERNEL = RNG.standard_normal((2, 1, 5, 5)), RNG.standard_normal((2, 1, 3, 3))
CASES = {}


def case(name, *args):
    """Register a function that returns a right pair."""

    def register(make):
        CASES[name] = make, args
        return make

    return register


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# -- objects


class Linear:
    def __init__(self, W, b):
        self.W, self.b = W.copy(), b.copy()
        self.dW = self.db = None

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = np.zeros_like(self.W)
        self.db = np.zeros(self.b.shape)
        self.dW += self.x.T @ dout
        self.db += dout.sum(axis=0)
        return dout @ self.W.T


class Tanh:
    def forward(self, x):
        self.a = np.tanh(x)
        return self.a

    def backward(self, dout):
        return dout * (1 - self.a**2)


class Sequential:
    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout):
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


@case("layers in a list, with weights of their own", X)
def _layers():
    return from_layer(Sequential(Linear(W, B), Tanh(), Linear(W.T.copy(), np.zeros(3))))


@case("an object that is called, with state", X)
def _called():
    class Layer:
        scale = 2.0

        @property
        def doubled(self):
            return self.scale * self.x

        @classmethod
        def square(cls, x):
            return cls.scale * x**2

        @staticmethod
        def slope(x):
            out = np.zeros(x.shape)
            out[...] = 4 * x
            return out

        def __call__(self, x):
            self.x = x
            return self.square(x) + self.doubled, None

        def pull(self, dout, _):
            return dout * (self.slope(self.x) + self.scale)

    layer = Layer()
    return layer, layer.pull


@case("inheritance and super", X)
def _inherits():
    class Base:
        def forward(self, x):
            self.buffer = np.zeros(x.shape)
            self.buffer[:] = x
            return self.buffer * 3, None

        def backward(self, dout, _):
            grad = np.empty(dout.shape)
            grad[:] = 3 * dout
            return grad

    class Derived(Base):
        def forward(self, x):
            out, _ = super().forward(np.sin(x))
            self.x = x
            return out, None

        def backward(self, dout, _):
            return super().backward(dout, None) * np.cos(self.x)

    layer = Derived()
    return layer.forward, layer.backward


@case("slots, dataclasses and NamedTuples", X)
def _records():
    class Slotted:
        __slots__ = ("x",)

    @dataclasses.dataclass
    class Cache:
        x: np.ndarray
        inner: list

        def pull(self, dout):
            made = np.zeros_like(self.x)
            made += dout * self.inner[0]
            return made

    class Pair(typing.NamedTuple):
        cache: Cache
        slotted: Slotted

    def forward(x):
        slotted = Slotted()
        slotted.x = x
        return np.exp(x) * 2, Pair(Cache(x, [np.exp(x) * 2]), slotted)

    def backward(dout, pair):
        assert pair.slotted.x is pair.cache.x
        return pair.cache.pull(dout)

    return forward, backward


@case("an engine of nodes", X)
def _engine():
    class Value:
        def __init__(self, data, parents=()):
            self.data, self.grad, self.parents = data, 0.0, parents
            self.pull = lambda: None

        def __mul__(self, other):
            other = other if isinstance(other, Value) else Value(other)
            out = Value(self.data * other.data, (self, other))

            def pull():
                self.grad += other.data * out.grad
                other.grad += self.data * out.grad

            out.pull = pull
            return out

        __rmul__ = __mul__

        def __add__(self, other):
            out = Value(self.data + other.data, (self, other))

            def pull():
                self.grad += out.grad
                other.grad += out.grad

            out.pull = pull
            return out

        def tanh(self):
            out = Value(np.tanh(self.data), (self,))

            def pull():
                self.grad += (1 - out.data**2) * out.grad

            out.pull = pull
            return out

        def backward(self, grad):
            order, seen = [], set()

            def visit(node):
                if node not in seen:
                    seen.add(node)
                    for parent in node.parents:
                        visit(parent)
                    order.append(node)

            visit(self)
            self.grad = grad
            for node in reversed(order):
                node.pull()

    def forward(x):
        values = [[Value(each) for each in row] for row in x]
        total = Value(0.0)
        for row in values:
            for a, b in itertools.pairwise(row):
                total = total + 2.0 * (a * b).tanh()
        return total.data, (values, total)

    def backward(dout, cache):
        values, total = cache
        total.backward(dout)
        return np.array([[value.grad for value in row] for row in values])

    return forward, backward


# -- memory


@case("buffers that are filled, aliases, and sums in place", X, W, B)
def _buffers():
    def forward(x, w, b):
        out = np.empty((len(x), w.shape[1]))
        for i in range(len(x)):
            out[i] = x[i] @ w
        out += b
        return out, (x, w)

    def backward(dout, cache):
        x, w = cache
        dz = dout
        dw, db = np.zeros_like(w), np.zeros(w.shape[1])
        dx = np.zeros(x.shape)
        for i, row in enumerate(dz):
            dw += np.outer(x[i], row)
            db[:] += row
            dx[i, :] = w @ row
        return dx, dw, db

    return forward, backward


@case("np.add.at and a table of rows", X)
def _scatter():
    index = np.array([0, 2, 2, 1, 3])

    def forward(x):
        return x[index] * 2, x.shape

    def backward(dout, shape):
        dx = np.zeros(shape)
        np.add.at(dx, index, dout * 2)
        return dx

    return forward, backward


@case("masks, where, and a boolean index that is written", X)
def _masks():
    def forward(x):
        mask = x > 0
        out = np.where(mask, x, 0.1 * x)
        return out, mask

    def backward(dout, mask):
        dx = dout.copy()
        dx[~mask] *= 0.1
        return dx

    return forward, backward


@case("out=, where= and ufuncs in place", X)
def _out():
    def forward(x):
        out = np.zeros_like(x)
        np.multiply(x, x, out=out)
        np.add(out, x, out=out, where=x > 0)
        return out, x

    def backward(dout, x):
        dx = np.empty_like(x)
        np.multiply(dout, 2 * x, out=dx)
        np.add(dx, dout, out=dx, where=x > 0)
        return dx

    return forward, backward


@case("copyto, flat, ravel and reshape of a buffer", X)
def _flat():
    def forward(x):
        out = np.zeros((x.size,))
        out.reshape(x.shape)[...] = np.sin(x)
        return out, x

    def backward(dout, x):
        dx = np.zeros(x.size)
        np.copyto(dx, dout)
        dx = dx.reshape(x.shape)
        dx.ravel()[:] *= np.cos(x).flat
        return dx

    return forward, backward


@case("as_strided and sliding windows", IMAGE, KERNEL)
def _windows():
    def forward(x, k):
        n, _, h, w = x.shape
        s = x.strides
        cols = as_strided(x, (n, h - 2, w - 2, 3, 3), (s[0], s[2], s[3], s[2], s[3]))
        return np.tensordot(cols, k[:, 0], axes=([3, 4], [1, 2])), (x, k, cols)

    def backward(dout, cache):
        x, k, _ = cache
        assert np.shares_memory(sliding_window_view(x, (3, 3), axis=(2, 3)), x)
        windows = sliding_window_view(x, (3, 3), axis=(2, 3))[:, 0]
        dk = np.einsum("nhwf,nhwij->fij", dout, windows)[:, None]
        dx = np.zeros_like(x)
        for i in range(3):
            for j in range(3):
                dx[:, 0, i : i + 3, j : j + 3] += dout @ k[:, 0, i, j]
        return dx, dk

    return forward, backward


@case("np.pad, stack, concatenate, split, transpose and a list of rows", X)
def _moves():
    def forward(x):
        wide = np.pad(x, ((1, 1), (0, 0)))
        parts = np.split(wide, 3, axis=0)
        rows = [np.concatenate([part, part[::-1]], axis=0) for part in parts]
        return np.stack(rows, axis=1).transpose(2, 0, 1), None

    def backward(dout, _):
        rows = np.moveaxis(dout, 0, -1)
        parts = [rows[:2, i] + rows[3:1:-1, i] for i in range(3)]
        return np.vstack(parts)[1:-1]

    return forward, backward


# -- numbers


@case("single numbers, math, item and float64", X)
def _numbers():
    def forward(x):
        total = 0.0
        for row in x:
            for each in row:
                total += math.exp(each) * each.item()
        return np.float64(1.0) * total, x

    def backward(dout, x):
        dx = np.zeros_like(x)
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                v = x[i, j]
                dx[i][j] = dout * (math.exp(v) * v + math.exp(v))
        return dx

    return forward, backward


@case("tolist, sum, max and abs of Python", X)
def _lists():
    def forward(x):
        return np.array([sum(each * each for each in row) for row in x.tolist()]), x

    def backward(dout, x):
        return np.array([[2 * d * v for v in row] for d, row in zip(dout, x.tolist(), strict=True)])

    return forward, backward


@case("a list of losses, averaged", X)
def _losses():
    def forward(x):
        losses = [np.sum(row**2) / 2 for row in x]
        assert all(isinstance(loss, float) for loss in losses)
        assert not any(isinstance(loss, np.ndarray) for loss in losses)
        return np.mean(losses), x

    def backward(dout, x):
        return np.array([dout * row / len(x) for row in x])

    return forward, backward


@case("single precision", X.astype(np.float32), W.astype(np.float32))
def _single():
    def forward(x, w):
        return sigmoid(np.asarray(x @ w, dtype=np.float32)), (x, w, sigmoid(x @ w))

    def backward(dout, cache):
        x, w, s = cache
        dz = (dout * s * (1 - s)).astype(np.float32)
        return np.array(dz @ w.T, dtype=np.float32), x.T @ dz

    return forward, backward


@case("arrays without an axis", np.array(0.7))
def _without_axis():
    def forward(x):
        total = np.zeros(())
        total += x**2
        return total, x

    def backward(dout, x):
        grad = np.zeros(())
        grad += 2 * x * dout
        return grad

    return forward, backward


# -- functions


@case("decorators, partial, lambda, closures and generators", X)
def _functions():
    def logged(function):
        @functools.wraps(function)
        def inner(*args, **kwargs):
            with np.errstate(all="ignore"):
                return function(*args, **kwargs)

        return inner

    @np.errstate(divide="ignore")
    def scaled(x, by):
        made = np.zeros(x.shape)
        made[...] = x * by
        return made

    halve = functools.partial(scaled, by=0.5)
    rows = lambda x: (row for row in x)  # noqa: E731

    @contextlib.contextmanager
    def nothing():
        yield

    @logged
    def forward(x):
        with nothing():
            return np.array([halve(np.sin(row)) for row in rows(x)]), x

    @functools.cache
    def factor(n):
        return 0.5 * np.ones(n)

    @logged
    def backward(dout, x):
        return functools.reduce(operator.mul, [dout, np.cos(x), factor(3)])

    return forward, backward


COUNT = [0]
TABLE = {"scale": np.array([1.0, 2.0, 3.0])}


@case("globals that are rebound and tables", X)
def _globals():
    def forward(x):
        global LAST  # noqa: PLW0603
        COUNT[0] += 1
        LAST = x * TABLE["scale"]
        return LAST * 1.0, {"n": COUNT[0]}

    def backward(dout, cache):
        assert LAST.shape == dout.shape
        return dout * TABLE["scale"]

    return forward, backward


@case("imports inside, and functions of linear algebra", S)
def _algebra():
    def forward(a):
        import numpy.linalg as la

        a = a + 4 * np.eye(4)
        inverse = la.inv(a)
        return inverse, inverse

    def backward(dout, inverse):
        import numpy as xp  # noqa: ICN001

        made = xp.zeros((4, 4))
        made -= inverse.T @ dout @ inverse.T
        return made

    return forward, backward


@case("functions of SciPy that go down to C", S, X)
def _scipy():
    scipy_linalg, special = pytest.importorskip("scipy.linalg"), pytest.importorskip("scipy.special")

    def forward(a, x):
        a = a + 4 * np.eye(4)
        y = scipy_linalg.solve(a, x)
        return special.expit(y), (a, y, special.expit(y))

    def backward(dout, cache):
        a, y, s = cache
        dx = scipy_linalg.solve(a.T, dout * s * (1 - s))
        return -dx @ y.T, dx

    return forward, backward


@case("np.vectorize, apply_along_axis and piecewise", X)
def _vectorized():
    def forward(x):
        softplus = np.vectorize(lambda v: math.log(1 + math.exp(v)))
        return softplus(x), x

    def backward(dout, x):
        made = np.apply_along_axis(lambda row: row * 1.0, 1, dout)
        return made * np.vectorize(sigmoid)(x)

    return forward, backward


@case("random numbers that are drawn inside", X)
def _drawn():
    def forward(x):
        rng = np.random.default_rng(0)
        mask = (rng.random(x.shape) < 0.5) / 0.5
        np.random.seed(1)  # noqa: NPY002
        noise = np.random.randn(*x.shape)  # noqa: NPY002
        return x * mask + noise, mask

    def backward(dout, mask):
        return dout * mask

    return forward, backward


@case("tests for the exact type", X)
def _types():
    def forward(x):
        assert type(x) is np.ndarray
        assert isinstance(x, np.ndarray)
        assert isinstance(x.sum(), float | int)
        assert np.isscalar(x[0, 0]) or x[0, 0].ndim == 0
        assert isinstance(np.random.default_rng(0).random(3), np.ndarray)
        if type(x).__name__ == "ndarray":
            x = x * 3
        return x, None

    def backward(dout, _):
        return dout * 3 if type(dout) in (np.ndarray, list) else None

    return forward, backward


@case("several outputs and a dict of gradients", X, W)
def _several():
    def forward(x, w):
        return {"out": x @ w, "loss": (x**2).sum()}, (x, w)

    def backward(dout, cache):
        x, w = cache
        grads = {}
        grads["x"] = dout["out"] @ w.T + 2 * x * dout["loss"]
        grads["w"] = x.T @ dout["out"]
        return grads

    return forward, backward


@case("a recurrence with a list of caches", RNG.standard_normal((5, 3)), RNG.standard_normal((3, 3)))
def _recurrence():
    def step(x, h, w):
        h = np.tanh(x + h @ w)
        return h, h

    def forward(x, w):
        h, states = np.zeros(3), [np.zeros(3)]
        for t in range(len(x)):
            h, kept = step(x[t], h, w)
            states.append(kept)
        return np.array(states[1:]), (w, states)

    def backward(dout, cache):
        w, states = cache
        T = len(states) - 1
        dx, dw, dh = np.zeros((T, 3)), np.zeros((3, 3)), np.zeros(3)
        for t in range(T)[::-1]:
            da = (dout[t] + dh) * (1 - states[t + 1] ** 2)
            dx[t] = da
            dw += np.outer(states[t], da)
            dh = da @ w.T
        return dx, dw

    return forward, backward


@case("a sort, cumulative sums and a maximum", X)
def _sorts():
    def forward(x):
        order = np.argsort(x, axis=0)
        ordered = x.copy()
        ordered.sort(axis=0)
        return np.cumsum(ordered, axis=0), order

    def backward(dout, order):
        summed = np.cumsum(dout[::-1], axis=0)[::-1]
        dx = np.zeros(order.shape)
        np.put_along_axis(dx, order, summed, axis=0)
        return dx

    return forward, backward


@case("read-only arrays", X)
def _read_only():
    def forward(x):
        y = np.exp(x)
        y.flags.writeable = False
        return y * 2, y

    def backward(dout, y):
        with pytest.raises(ValueError, match="read-only"):
            y[0] = 1
        return 2 * dout * y

    return forward, backward


# -- what must hold


def recorded(name):
    make, args = CASES[name]
    forward, backward = make()
    args = tuple(each.copy() for each in args)
    arguments = Arguments.of(forward, args)
    return forward, backward, arguments, traced(forward, backward, arguments)


@pytest.mark.parametrize("name", CASES)
def test_every_value_can_be_computed_again_from_those_that_it_was_made_of(name):
    *_, run = recorded(name)
    for node in run.nodes:
        if node.kind in ("op", "gather"):
            assert min(node.parents, default=0) >= 0, node.site
            again = node.compute([run.value(p) for p in node.parents])
            np.testing.assert_allclose(np.asarray(again), node.value, rtol=1e-6, atol=1e-12, err_msg=repr(node.site))


@pytest.mark.parametrize("name", CASES)
def test_a_recording_gives_the_numbers_that_the_pair_gives(name):
    forward, backward, arguments, run = recorded(name)
    out, cache = forward(*arguments.fresh())
    dout = run.cotangent[0] if not isinstance(out, dict) else dict(zip(out, run.cotangent, strict=True))
    if not isinstance(out, dict):
        dout = dout.astype(np.asarray(out).dtype)
    backward(dout, cache)
    again = traced(forward, backward, arguments)
    for path, gradient in run.claimed.items():
        assert type(gradient) is np.ndarray
        np.testing.assert_array_equal(gradient, again.claimed[path])
    assert all(i >= 0 for i in run.outs)
    for i, expected in zip(run.outs, out.values() if isinstance(out, dict) else [out], strict=True):
        np.testing.assert_allclose(run.value(i), expected, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_the_sweep_back_over_a_recording_is_the_gradient_that_a_right_backward_returns(name):
    *_, run = recorded(name)
    bars = adjoint(run).nodes
    for path, gradient in run.claimed.items():
        tolerance = 1e-4 if gradient.dtype == np.float32 else 1e-6
        assert run.results[path] >= 0, path
        np.testing.assert_allclose(bars[run.leaf[path]], gradient, rtol=tolerance, atol=tolerance, err_msg=path)
        np.testing.assert_allclose(run.value(run.results[path]), gradient)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_lost_on_the_way(name):
    *_, run = recorded(name)
    assert not run.tape.lost
    entered = {run.nodes[i].site.line for i in run.tape.entered if run.value(i).dtype.kind != "b"}
    allowed = 2 if name.startswith("random") else 0  # what a generator draws comes in from outside
    assert len(entered) <= allowed
