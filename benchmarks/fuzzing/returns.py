"""What the functions of the fuzzer return: outputs and gradients of every kind, and gross mistakes."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.fuzzing.case import arrays_in, mapped, pick
from benchmarks.fuzzing.oddities import there

__all__ = ["GRADIENTS", "the_backward_is_wrong", "the_backward_returns", "the_forward_returns"]


class _Shows:
    """An object that stands for an array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype=dtype)


def _tensor(out):
    if not there("torch"):
        return out
    import torch

    return torch.as_tensor(np.asarray(out))


def _jax(out):
    import jax.numpy as jnp

    return jnp.asarray(out)


def _itself(value):
    loop = [value]
    loop.append(loop)
    return loop


_OUT: dict[str, Callable[[Any, Any], Any]] = {
    "int 0": lambda out, cache: (0, cache),
    "int": lambda out, cache: (3, cache),
    "bool": lambda out, cache: (True, cache),
    "float": lambda out, cache: (float(np.sum(arrays_in(out)[0] if arrays_in(out) else out)), cache),
    "no pair": lambda out, cache: out,
    "triple": lambda out, cache: (out, cache, cache),
    "none": lambda out, cache: None,
    "none and cache": lambda out, cache: (None, cache),
    "a list for the pair": lambda out, cache: [out, cache],
    "a generator": lambda out, cache: (part for part in (out, cache)),
    "a generator as the output": lambda out, cache: ((part for part in [out]), cache),
    "in a list": lambda out, cache: ([out], cache),
    "in a dict": lambda out, cache: ({"y": out}, cache),
    "in a dict with a string": lambda out, cache: ({"y": out, "mode": "same"}, cache),
    "and an integer": lambda out, cache: ((out, 3), cache),
    "and none": lambda out, cache: ((out, None), cache),
    "and a string": lambda out, cache: ((out, "x"), cache),
    "and an int array": lambda out, cache: ((out, np.arange(3)), cache),
    "and a bool array": lambda out, cache: ((out, np.array([True, False])), cache),
    "and an empty array": lambda out, cache: ((out, np.zeros((0, 2))), cache),
    "and nan": lambda out, cache: ((out, np.nan), cache),
    "matrix": lambda out, cache: (np.matrix(np.atleast_2d(np.asarray(out, dtype=float))), cache),
    "memory view": lambda out, cache: (memoryview(np.array(out, dtype=float)), cache),
    "nan": lambda out, cache: (mapped(lambda a: a * np.nan, out), cache),
    "inf": lambda out, cache: (mapped(lambda a: a * 0 + np.inf, out), cache),
    "complex": lambda out, cache: (mapped(lambda a: a + 1j, out), cache),
    "integers": lambda out, cache: (mapped(lambda a: np.asarray(np.round(a), dtype=int), out), cache),
    "an object array": lambda out, cache: (np.array([out, None], dtype=object), cache),
    "a string": lambda out, cache: ("out", cache),
    "a set": lambda out, cache: ({1.0}, cache),
    "masked": lambda out, cache: (np.ma.masked_array(out, mask=np.ones(np.shape(out))), cache),
    "empty": lambda out, cache: (np.zeros(0), cache),
    "float32": lambda out, cache: (mapped(np.float32, out), cache),
    "float16": lambda out, cache: (mapped(np.float16, out), cache),
    "longdouble": lambda out, cache: (mapped(np.longdouble, out), cache),
    "×1e300": lambda out, cache: (mapped(lambda a: 1e300 * a, out), cache),
    "×1e-300": lambda out, cache: (mapped(lambda a: 1e-300 * a, out), cache),
    "constant": lambda out, cache: (mapped(lambda a: a * 0 + 1.0, out), cache),
    "with __array__": lambda out, cache: (_Shows(out), cache),
    "a tensor": lambda out, cache: (_tensor(out), cache),
    "a jax array": lambda out, cache: (_jax(out), cache),
    "a list of itself": lambda out, cache: (_itself(out), cache),
    "its cache alone": lambda out, cache: (cache, cache),
    "read-only": lambda out, cache: (np.broadcast_to(np.asarray(out, dtype=float), np.shape(out)), cache),
}


def the_forward_returns(rng, case):
    name, forward, backward = pick(rng, _OUT), case.forward, case.backward
    returned = _OUT[name]

    @functools.wraps(forward)
    def odd(*args, **kwargs):
        return returned(*forward(*args, **kwargs))

    def unwrapping(dout, cache):
        if name.startswith("in a dict"):
            return backward(dout["y"], cache)
        return backward(dout[0] if name.startswith(("in a list", "and ")) else dout, cache)

    case.forward, case.truth = odd, ""
    case.backward = unwrapping if rng.random() < 0.7 else backward
    return f"the forward returns: {name}"


def _first(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what changes the first gradient of several."""

    def changed(g):
        return (change(g[0]), *g[1:]) if isinstance(g, tuple) and not hasattr(g, "_fields") else change(g)

    return changed


GRADIENTS: dict[str, Callable[[Any], Any]] = {
    "none": lambda g: None,
    "a generator": lambda g: (part for part in [g]),
    "a list": lambda g: list(g) if isinstance(g, tuple) else [g],
    "a tuple of one more": lambda g: (g, None),
    "one too many": lambda g: (*(g if isinstance(g, tuple) else (g,)), np.ones(3)),
    "one too few": lambda g: g[:-1] if isinstance(g, tuple) else (),
    "by name": lambda g: {"x": g},
    "by dname": lambda g: {"dx": g[0] if isinstance(g, tuple) else g},
    "by number": lambda g: dict(enumerate(g if isinstance(g, tuple) else (g,))),
    "an int": lambda g: 3,
    "a string": lambda g: "g",
    "integers": _first(lambda g: mapped(lambda a: np.asarray(np.round(a), dtype=int), g)),
    "booleans": _first(lambda g: mapped(lambda a: np.asarray(a) > 0, g)),
    "nan": _first(lambda g: mapped(lambda a: a * np.nan, g)),
    "all nan": lambda g: mapped(lambda a: a * np.nan, g),
    "inf": _first(lambda g: mapped(lambda a: a * 0 + np.inf, g)),
    "huge": _first(lambda g: mapped(lambda a: a * 0 + 1e308, g)),
    "complex": _first(lambda g: mapped(lambda a: a + 0j, g)),
    "strings": _first(lambda g: mapped(lambda a: np.asarray(a).astype(str), g)),
    "objects": _first(lambda g: mapped(lambda a: np.asarray(a).astype(object), g)),
    "transposed": _first(lambda g: mapped(np.transpose, g)),
    "with one more axis": _first(lambda g: mapped(lambda a: np.asarray(a)[None], g)),
    "flat": _first(lambda g: mapped(np.ravel, g)),
    "summed": _first(lambda g: mapped(np.sum, g)),
    "empty": _first(lambda g: np.zeros((0,))),
    "float32": lambda g: mapped(np.float32, g),
    "float16": _first(lambda g: mapped(np.float16, g)),
    "longdouble": lambda g: mapped(np.longdouble, g),
    "matrix": _first(lambda g: mapped(lambda a: np.matrix(np.atleast_2d(a)), g)),
    "masked": _first(lambda g: mapped(lambda a: np.ma.masked_array(a, mask=np.ones(np.shape(a))), g)),
    "lists": lambda g: mapped(lambda a: np.asarray(a).tolist(), g),
    "memory views": _first(lambda g: mapped(lambda a: memoryview(np.array(a, dtype=float)), g)),
    "read-only": lambda g: mapped(lambda a: np.broadcast_to(a, np.shape(a)), g),
    "a list of itself": _itself,
    "tensors": lambda g: mapped(_tensor, g),
    "jax arrays": lambda g: mapped(_jax, g),
    "with __array__": lambda g: mapped(_Shows, g),
    "a set": lambda g: {1.0},
    "a class": lambda g: dict,
    "not implemented": lambda g: NotImplemented,
}


def the_backward_returns(rng, case):
    name, backward = pick(rng, GRADIENTS), case.backward
    returned = GRADIENTS[name]

    @functools.wraps(backward)
    def odd(dout, cache):
        return returned(backward(dout, cache))

    case.backward, case.truth = odd, ""
    return f"the backward returns: {name}"


def the_backward_is_wrong(rng, case):
    """Plant a gross mistake, if the gradients are not all zero."""
    factor, backward = float(pick(rng, (2.0, -1.0, 0.0, 1.01))), case.backward
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out, cache = case.forward(*case.args)
            dout = mapped(lambda a: np.asarray(rng.standard_normal(np.shape(a)))[()], out)
            size = sum(float(np.abs(a).sum()) for a in arrays_in(mapped(np.asarray, backward(dout, cache))))
    except BaseException:  # noqa: BLE001  (another change has broken it, or it raises what it likes; nothing is known)
        size = 0.0

    @functools.wraps(backward)
    def wrong(dout, cache):
        return mapped(lambda a: factor * a, backward(dout, cache))

    case.backward = wrong
    case.truth = "wrong" if size and np.isfinite(size) and case.truth == "right" else ""
    return f"the backward is wrong by the factor {factor:g}"
