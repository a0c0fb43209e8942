"""Odd values for the fuzzer's arguments, and odd layouts of an array.

Every table maps a name to a function of a random generator, so that no case shares its objects with another.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import fractions
import importlib.util
import math
import threading
import types
import weakref
from typing import Any

import numpy as np


@dataclasses.dataclass
class Box:
    """Parameters in a dataclass."""

    W: Any
    b: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Parameters that cannot be set again."""

    W: Any


class Plain:
    """An object with an array."""

    def __init__(self, W):
        self.W = W


class Slotted:
    """An object without a dict."""

    __slots__ = ("W",)

    def __init__(self, W):
        self.W = W


class Uncopyable:
    """An object that refuses to be copied."""

    def __deepcopy__(self, memo):
        raise RuntimeError("this one is not to be copied")

    __copy__ = None


class Unprintable:
    """An object that cannot be shown."""

    def __repr__(self):
        raise RuntimeError("this one is not to be shown")


class Triple(tuple):
    """A subclass of tuple whose constructor takes its items one by one."""

    __slots__ = ()

    def __new__(cls, *items):
        return super().__new__(cls, items)


class Row(list):
    """A subclass of list with an argument of its own."""

    def __init__(self, items, name="row"):
        super().__init__(items)
        self.name = name


class Table(dict):
    """A subclass of dict that is read by attribute."""

    __getattr__ = dict.__getitem__


class Arr(np.ndarray):
    """A subclass of ndarray with an attribute."""


class Looped(list):
    """A list that holds itself."""


def _itself(_rng):
    loop: list[Any] = [np.ones(2)]
    loop.append(loop)
    return loop


def _dict_itself(_rng):
    loop: dict[str, Any] = {"x": np.ones(2)}
    loop["self"] = loop
    return loop


def _deep(rng, depth=1500):  # deeper than Python recurses
    tree: Any = rng.standard_normal(2)
    for _ in range(depth):
        tree = [tree]
    return tree


def _readonly(array):
    array.setflags(write=False)
    return array


def _object(rng):
    array = np.empty(2, dtype=object)
    array[:] = [rng.standard_normal(2), rng.standard_normal(3)]
    return array


def _structured(rng):
    array = np.zeros(3, dtype=[("a", "f8"), ("b", "i4")])
    array["a"] = rng.standard_normal(3)
    return array


def _sparse(rng):
    import scipy.sparse

    return scipy.sparse.csr_array(rng.standard_normal((3, 3)))


def there(package: str) -> bool:
    """Whether an optional package is installed; what it makes is None without it, so that a number keeps its case."""
    return importlib.util.find_spec(package) is not None


def _frame(rng):
    numbers = rng.standard_normal((3, 2))
    if not there("pandas"):
        return None
    import pandas as pd

    return pd.DataFrame(numbers, columns=["a", "b"])


def _torch_thing(name):
    def make(rng):
        numbers = rng.standard_normal((3, 2))
        if not there("torch"):
            return None
        import torch

        things = {"device": torch.device("cpu"), "dtype": torch.float32, "generator": torch.Generator()}
        return torch.from_numpy(numbers) if name == "tensor" else things[name]

    return make


def _jax_thing(name):
    def make(_rng):
        import jax

        return {
            "key": lambda: jax.random.key(0),
            "raw key": lambda: jax.random.PRNGKey(0),
            "array": lambda: jax.numpy.ones((3, 2)),
            "device": lambda: jax.devices()[0],
            "dtype": lambda: jax.numpy.float32,
        }[name]()

    return make


def _bfloat16(rng):
    import ml_dtypes

    return rng.standard_normal((3, 2)).astype(ml_dtypes.bfloat16)


# Values that take the place of an array, or are passed besides.
VALUES: dict[str, Any] = {
    "none": lambda r: None,
    "string": lambda r: "same",
    "bytes": lambda r: b"same",
    "int": lambda r: int(r.integers(-3, 4)),
    "huge int": lambda r: 10**400,
    "bool": lambda r: True,
    "float": lambda r: 0.5,
    "nan float": lambda r: math.nan,
    "inf float": lambda r: math.inf,
    "negative zero": lambda r: -0.0,
    "complex": lambda r: 1 + 2j,
    "fraction": lambda r: fractions.Fraction(1, 3),
    "decimal": lambda r: decimal.Decimal("0.1"),
    "date": lambda r: dt.date(2020, 1, 1),
    "float64 scalar": lambda r: np.float64(0.5),
    "float32 scalar": lambda r: np.float32(0.5),
    "longdouble scalar": lambda r: np.longdouble(0.5),
    "0-d": lambda r: np.array(0.5),
    "size 1": lambda r: r.standard_normal((1, 1)),
    "empty": lambda r: np.zeros((0, 3)),
    "empty list": lambda r: [],
    "empty dict": lambda r: {},
    "nan array": lambda r: np.array([1.0, np.nan]),
    "inf array": lambda r: np.array([[1.0, -np.inf]]),
    "huge array": lambda r: 1e300 * r.standard_normal(3),
    "tiny array": lambda r: 1e-300 * r.standard_normal(3),
    "denormal array": lambda r: np.array([5e-324, 1e-310]),
    "negative zeros": lambda r: np.array([-0.0, 0.0]),
    "mixed sizes": lambda r: np.array([1e300, 1e-300, 1.0]),
    "zeros": lambda r: np.zeros((2, 2)),
    "int array": lambda r: r.integers(0, 3, size=(2, 2)),
    "uint8 array": lambda r: np.arange(4, dtype=np.uint8),
    "bool array": lambda r: np.array([True, False]),
    "complex array": lambda r: np.array([1 + 2j, 3.0]),
    "string array": lambda r: np.array(["a", "b"]),
    "date array": lambda r: np.array(["2020-01-01"], dtype="datetime64[D]"),
    "object array": _object,
    "structured array": _structured,
    "record array": lambda r: _structured(r).view(np.recarray),
    "masked array": lambda r: np.ma.masked_array(r.standard_normal(3), mask=[0, 1, 0]),
    "unmasked array": lambda r: np.ma.masked_array(r.standard_normal(3)),
    "matrix": lambda r: np.matrix(r.standard_normal((2, 2))),
    "subclass": lambda r: r.standard_normal((2, 2)).view(Arr),
    "read-only": lambda r: _readonly(r.standard_normal((3, 2))),
    "broadcast": lambda r: np.broadcast_to(r.standard_normal(3), (2, 3)),
    "fortran": lambda r: np.asfortranarray(r.standard_normal((3, 2))),
    "strided": lambda r: r.standard_normal((6, 4))[::2, ::-1],
    "big-endian": lambda r: r.standard_normal(3).astype(">f8"),
    "float16": lambda r: r.standard_normal(3).astype(np.float16),
    "float32": lambda r: r.standard_normal((3, 2)).astype(np.float32),
    "longdouble": lambda r: r.standard_normal(3).astype(np.longdouble),
    "bfloat16": _bfloat16,
    "list of floats": lambda r: [0.1, 0.2],
    "list of arrays": lambda r: [r.standard_normal(2), r.standard_normal(3)],
    "tuple with none": lambda r: (r.standard_normal(2), None, "x"),
    "nested": lambda r: {"a": [r.standard_normal(2), {"b": (r.standard_normal(1),)}], 3: r.standard_normal(2)},
    "one array twice": lambda r: [r.standard_normal(2)] * 2,
    "itself": _itself,
    "dict of itself": _dict_itself,
    "deep": _deep,
    "not so deep": lambda r: _deep(r, 60),
    "many leaves": lambda r: [np.array(x) for x in r.standard_normal(150)],
    "read-only mapping": lambda r: types.MappingProxyType({"a": r.standard_normal(2)}),
    "ordered dict": lambda r: collections.OrderedDict(a=r.standard_normal(2)),
    "default dict": lambda r: collections.defaultdict(list, a=r.standard_normal(2)),
    "counter": lambda r: collections.Counter(a=2),
    "chain map": lambda r: collections.ChainMap({"a": r.standard_normal(2)}, {"b": r.standard_normal(1)}),
    "user dict": lambda r: collections.UserDict({"a": r.standard_normal(2)}),
    "user list": lambda r: collections.UserList([r.standard_normal(2)]),
    "deque": lambda r: collections.deque([r.standard_normal(2)]),
    "tuple subclass": lambda r: Triple(r.standard_normal(2), r.standard_normal(1)),
    "list subclass": lambda r: Row([r.standard_normal(2)]),
    "dict subclass": lambda r: Table(a=r.standard_normal(2)),
    "named tuple": lambda r: collections.namedtuple("P", "w b")(r.standard_normal(2), r.standard_normal(1)),  # noqa: PYI024
    "namespace": lambda r: types.SimpleNamespace(W=r.standard_normal(2)),
    "dataclass": lambda r: Box(r.standard_normal(2), r.standard_normal(1)),
    "dataclass with none": lambda r: Box(r.standard_normal(2)),
    "frozen dataclass": lambda r: Frozen(r.standard_normal(2)),
    "plain object": lambda r: Plain(r.standard_normal(2)),
    "slotted object": lambda r: Slotted(r.standard_normal(2)),
    "uncopyable": lambda r: Uncopyable(),
    "unprintable": lambda r: Unprintable(),
    "set": lambda r: {1, 2},
    "range": lambda r: range(3),
    "slice": lambda r: slice(0, 2),
    "ellipsis": lambda r: ...,
    "function": lambda r: lambda x: x,
    "class": lambda r: Plain,
    "module": lambda r: math,
    "lock": lambda r: threading.Lock(),
    "iterator": lambda r: iter([1.0]),
    "generator": lambda r: (x for x in [1.0]),
    "weak reference": lambda r: weakref.ref(Plain),
    "memory view": lambda r: memoryview(np.ones(3)),
    "dtype": lambda r: np.dtype(np.float32),
    "random generator": lambda r: np.random.default_rng(0),
    "random state": lambda r: np.random.RandomState(0),
    "sparse": _sparse,
    "data frame": _frame,
    "tensor": _torch_thing("tensor"),
    "torch device": _torch_thing("device"),
    "torch dtype": _torch_thing("dtype"),
    "torch generator": _torch_thing("generator"),
    "jax array": _jax_thing("array"),
    "jax key": _jax_thing("key"),
    "jax raw key": _jax_thing("raw key"),
    "jax device": _jax_thing("device"),
    "jax dtype": _jax_thing("dtype"),
}

# How an array may lie in memory, or in which precision, with the same numbers.
LAYOUTS: dict[str, Any] = {
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "fortran": np.asfortranarray,
    "read-only": lambda a: _readonly(a.copy()),
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
    "reversed": lambda a: a[::-1].copy()[::-1] if a.ndim else a,
    "subclass": lambda a: a.view(Arr),
    "masked": np.ma.masked_array,
    "×1e300": lambda a: 1e300 * a,
    "×1e-300": lambda a: 1e-300 * a,
    "×1e150": lambda a: 1e150 * a,
    "×1e-155": lambda a: 1e-155 * a,
    "×1e8": lambda a: 1e8 * a,
    "×1e-8": lambda a: 1e-8 * a,
    "zeros": np.zeros_like,
    "negative zeros": lambda a: -np.zeros_like(a),
    "rounded": np.round,
    "as a list": lambda a: a.tolist(),
    "as integers": lambda a: np.round(a).astype(int),
    "with a nan": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, np.nan, a),
    "with an inf": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, np.inf, a),
    "objects": lambda a: a.astype(object),
    "complex": lambda a: a.astype(complex),
    "empty": lambda a: a[:0] if a.ndim else a,
}
