"""A traced array is like an array in all that can be seen of it."""

import copy
import functools
import itertools
import pickle

import numpy as np
import pytest

from gradcheck.steps.tape import Tape
from gradcheck.steps.traced import Float, Traced, plain, tape_of

X = np.random.default_rng(0).standard_normal((3, 4))

# fmt: off
USES = {
    "ufuncs": lambda x: np.exp(x) - 1 / (1 + x**2) + np.maximum(x, 0) // 1 % 2,
    "a reduction": lambda x: np.add.reduce(x, axis=0),
    "an outer product": lambda x: np.multiply.outer(x[0], x[1]),
    "an accumulation": lambda x: np.maximum.accumulate(x, axis=1),
    "sums and means": lambda x: x.sum(0) + x.mean(axis=0, keepdims=True) + x.std(0) + np.var(x, axis=0),
    "products": lambda x: x @ x.T + np.dot(x, x.T) + x.dot(x.T) + np.einsum("ij,kj->ik", x, x),
    "indexing": lambda x: x[1:, ::2] + x[[0, 2]][:, [0, 1]] + x[np.ix_([0, 1], [2, 3])],
    "masks": lambda x: x[x > 0],
    "sorting": lambda x: np.sort(x, axis=0) + np.take_along_axis(x, np.argsort(x, axis=0), 0),
    "shapes": lambda x: x.reshape(2, 6).ravel()[None].squeeze().reshape(4, -1).T.swapaxes(0, 1),
    "joins": lambda x: np.concatenate([x, np.vstack([x[0], x[1]])]) + np.pad(x, ((1, 1), (0, 0)))[:5],
    "columns": lambda x: np.c_[x, x[:, :1]] + np.hstack([x, x[:, :1]]),
    "where and clip": lambda x: np.where(x > 0, x, -x) + x.clip(-1, 1) + np.abs(x),
    "a type": lambda x: x.astype(np.float32).astype(float),
    "linear algebra": lambda x: np.linalg.inv(x @ x.T) + np.linalg.norm(x),
    "iteration": lambda x: [row * 2 for row in x] + [a + b for a, b in itertools.pairwise(x[0])],
    "numbers": lambda x: float(x[0, 0]) + x[1, 1].item() + int(x[0, 1] > 0) + round(x[0, 0] * 10),
    "a format": lambda x: f"{x[0, 0]:.3f} {x.shape} {len(x)} {x.ndim} {x.size} {x.dtype}",
    "text": lambda x: str(x) + str(x.sum()) + repr(x) + repr(x.sum()),
    "a choice": lambda x: 1 if x[0, 0] > 0 and x.any() and not (x > 9).all() else 2,
    "a hash": lambda x: {x[0, 0]: 1}[x[0, 0]],
    "a list": lambda x: x.tolist(),
    "bytes": lambda x: x.tobytes(),
    "real and imaginary parts": lambda x: x.real + x.imag,
    "flat": lambda x: list(x.flat)[:3],
    "a copy": lambda x: copy.copy(x) + copy.deepcopy(x) + pickle.loads(pickle.dumps(x)),  # noqa: S301
    "the largest": lambda x: (x.argmax(), np.unravel_index(x.argmax(), x.shape), x.max(), max(x[0]), min(x[1])),
    "a determinant": lambda x: np.linalg.slogdet(x @ x.T),
    "equal": lambda x: (np.array_equal(x, x), np.allclose(x, x + 1e-12), (x == +x).all()),
}
# fmt: on


def traced(array):
    return Tape().leaf(array, "x")


def same(one, other):
    if isinstance(one, list | tuple):
        assert type(one) is type(other)
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif isinstance(one, str | bytes | bool):
        assert plain(other) == one
    else:
        assert np.shape(one) == np.shape(other)
        assert np.asarray(one).dtype.kind == np.asarray(plain(other)).dtype.kind
        np.testing.assert_allclose(plain(other), one)


@pytest.mark.parametrize("name", USES)
def test_a_traced_array_gives_what_an_array_gives(name):
    same(USES[name](X.copy()), USES[name](traced(X)))


WRITES = {
    "a row": lambda x: x.__setitem__(0, 5),
    "a mask": lambda x: x.__setitem__(x > 0, 0),
    "indices": lambda x: x.__setitem__([0, 2], x[[2, 0]]),
    "operators": lambda x: functools.reduce(lambda x, do: do(x, 2), (np.ndarray.__iadd__, np.ndarray.__imul__), x),
    "fill": lambda x: x.fill(3),
    "sort": lambda x: x.sort(axis=0),
    "flat": lambda x: setattr(x, "flat", np.arange(12.0)),
    "copyto": lambda x: np.copyto(x, 1.0, where=x > 0),
    "out": lambda x: np.multiply(x, 2, out=x, where=x > 0),
    "at": lambda x: np.add.at(x, ([0, 0], [1, 1]), 1.0),
    "put": lambda x: (x.put([1], 7.0), np.put(x, [2], 8.0)),
    "a diagonal": lambda x: np.fill_diagonal(x, 0),
    "a view of a view": lambda x: x.T[1:].__setitem__((0, slice(None)), 9.0),
    "a buffer of another function": lambda x: np.cumsum(x, axis=0, out=x),
}


@pytest.mark.parametrize("name", WRITES)
def test_writing_into_a_traced_array_is_writing_into_an_array(name):
    expected, array = X.copy(), traced(X)
    WRITES[name](expected)
    WRITES[name](array)
    np.testing.assert_array_equal(plain(array), expected)
    node = array.tape.nodes[array.tape.read(array)]
    np.testing.assert_array_equal(node.value, expected)
    np.testing.assert_array_equal(array.tape.nodes[0].value, X)


def test_what_numpy_refuses_is_refused():
    x = traced(X)
    with pytest.raises(ValueError, match="mismatch"):
        x @ x
    with pytest.raises(IndexError):
        x[7]
    with pytest.raises(TypeError):
        hash(x)
    with pytest.raises(TypeError):
        iter(x[0, 0])


def test_a_number_lets_the_object_on_the_other_side_answer():
    class Value:
        def __rmul__(self, other):
            return "mine"

    assert traced(X).sum() * Value() == "mine"


def test_an_object_with_ufuncs_of_its_own_is_asked():
    class Other:
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            return "theirs"

    assert np.add(traced(X), Other()) == "theirs"


def test_the_class_of_traced_arrays_is_taken_for_that_of_arrays():
    assert Traced == np.ndarray
    assert Traced in {np.ndarray, list}
    assert isinstance(X, Traced)
    assert issubclass(np.ndarray, Traced)
    assert Traced.__name__ == "ndarray"


def test_a_float_of_a_traced_number_stays_traced():
    total = traced(X).sum()
    assert type(Float(total)) is Traced
    assert type(Float("1.5")) is float
    assert type(Float(2)) is float
    assert Float in {float, int}
    assert isinstance(1.5, Float)
    assert isinstance(total, Float)
    assert np.zeros(2, Float).dtype == float
    assert X.astype(Float).dtype == float


def test_a_tape_is_found_in_containers():
    x = traced(X)
    assert tape_of([1, (x, 2)]) is x.tape
    assert tape_of({"a": x}) is x.tape
    assert tape_of([X, 1]) is None
    assert type(plain({"a": [x, (x,)]})["a"][1][0]) is np.ndarray


def test_a_pickle_of_a_traced_array_holds_an_array():
    assert b"gradcheck" not in pickle.dumps(traced(X))
