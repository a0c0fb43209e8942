"""What the fuzzer changes in a case: its arguments and settings, and what its functions do, return and raise.

A change takes a random generator and the case, changes the case, and returns what it did in a few words. The wrappers
here are the user's functions: an exception that leaves them is the user's own.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.fuzzing.oddities import EXCEPTIONS, LAYOUTS, SETTINGS, VALUES

ERRONEOUS = ("warnings are errors", "floating-point errors raise", "both")


@dataclass
class Case:
    """One case: what is called, with which functions, arguments and settings, and what is known of it.

    ``truth`` is "right" or "wrong" where a person would know, "" where anything may be said. ``raised`` holds the
    exceptions that the user's functions were made to raise, ``pulled`` how often the backward was called and whether
    it gave NaN where the forward's output was finite.
    """

    seed: int
    entry: str
    forward: Any
    backward: Any
    args: Any
    settings: dict[str, Any] = field(default_factory=dict)
    truth: str = "right"
    ambient: str = ""
    labels: list[str] = field(default_factory=list)
    raised: list[BaseException] = field(default_factory=list)
    pulled: dict[str, Any] = field(default_factory=lambda: {"calls": 0, "nan": False, "finite": True, "watched": False})


Change = Callable[[np.random.Generator, Case], str]


def pick(rng: np.random.Generator, table: Any) -> Any:
    """Return one of the keys of a table, or of the items of a sequence."""
    items = list(table)
    return items[int(rng.integers(len(items)))]


def _arrays(tree: Any) -> list[Any]:
    if isinstance(tree, np.ndarray):
        return [tree]
    if isinstance(tree, dict):
        return [a for part in tree.values() for a in _arrays(part)]
    return [a for part in tree for a in _arrays(part)] if isinstance(tree, tuple | list) else []


def _mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply ``function`` to the arrays of a plain tree."""
    if isinstance(tree, dict):
        return {key: _mapped(function, part) for key, part in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_mapped(function, part) for part in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(_mapped(function, part) for part in tree)
    return tree if tree is None or isinstance(tree, str) else function(tree)


# ------------------------------------------------------------------ arguments


def an_argument_is_replaced(rng, case):
    i, name = int(rng.integers(max(len(case.args), 1))), pick(rng, VALUES)
    args = list(case.args)
    args[i : i + 1] = [VALUES[name](rng)]
    case.args, case.truth = tuple(args), ""
    return f"argument {i} is: {name}"


def an_argument_lies_otherwise(rng, case):
    floats = [i for i, a in enumerate(case.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    if not floats:
        return an_argument_is_replaced(rng, case)
    name = pick(rng, LAYOUTS)
    chosen = floats if rng.random() < 0.4 else [int(pick(rng, floats))]
    with np.errstate(all="ignore"):
        case.args = tuple(LAYOUTS[name](a) if i in chosen else a for i, a in enumerate(case.args))
    case.truth = case.truth if name in {"fortran", "read-only", "strided", "reversed", "subclass"} else ""
    return f"arguments {chosen} are {name}"


def an_argument_stays(rng, case):
    """Pass an odd value besides, which the forward takes and does not use."""
    name, forward, backward = pick(rng, VALUES), case.forward, case.backward
    count = len(case.args)

    def with_a_setting(*args):
        return forward(*args[:count])

    def names_none(dout, cache):
        gradients = backward(dout, cache)
        return (*(gradients if isinstance(gradients, tuple) and len(gradients) == count else (gradients,)), None)

    told = rng.random() < 0.5
    case.forward, case.args = with_a_setting, (*case.args, VALUES[name](rng))
    case.backward = names_none if told else backward
    case.truth = ""
    return f"a last argument stays: {name}{', None for it' if told else ''}"


def args_are_odd(rng, case):
    given = case.args
    odd = {
        "one array": lambda: given[0] if len(given) else np.ones(2),
        "a list": lambda: list(given),
        "a dict": lambda: dict(enumerate(given)),
        "a string": lambda: "x",
        "none": lambda: None,
        "an iterator": lambda: iter(given),
        "empty": lambda: (),
        "one too many": lambda: (*given, np.ones(2)),
        "one too few": lambda: given[:-1],
        "an object array": lambda: np.array([None, 1.0], dtype=object),
        "a set": lambda: {1.0},
        "nested once more": lambda: (given,),
    }
    name = pick(rng, odd)
    case.args, case.truth = odd[name](), ""
    return f"args is {name}"


def a_setting_is_odd(rng, case):
    name = pick(rng, SETTINGS)
    value = pick(rng, SETTINGS[name])
    case.settings[name], case.truth = SETTINGS[name][value](rng), ""
    return f"{name} is: {value}"


# ------------------------------------------------------------------ what the functions return


class _Shows:
    """An object that stands for an array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype=dtype)


def _tensor(out):
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
    "float": lambda out, cache: (float(np.sum(_arrays(out)[0] if _arrays(out) else out)), cache),
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
    "nan": lambda out, cache: (_mapped(lambda a: a * np.nan, out), cache),
    "inf": lambda out, cache: (_mapped(lambda a: a * 0 + np.inf, out), cache),
    "complex": lambda out, cache: (_mapped(lambda a: a + 1j, out), cache),
    "integers": lambda out, cache: (_mapped(lambda a: np.asarray(np.round(a), dtype=int), out), cache),
    "an object array": lambda out, cache: (np.array([out, None], dtype=object), cache),
    "a string": lambda out, cache: ("out", cache),
    "a set": lambda out, cache: ({1.0}, cache),
    "masked": lambda out, cache: (np.ma.masked_array(out, mask=np.ones(np.shape(out))), cache),
    "empty": lambda out, cache: (np.zeros(0), cache),
    "float32": lambda out, cache: (_mapped(np.float32, out), cache),
    "float16": lambda out, cache: (_mapped(np.float16, out), cache),
    "longdouble": lambda out, cache: (_mapped(np.longdouble, out), cache),
    "×1e300": lambda out, cache: (_mapped(lambda a: 1e300 * a, out), cache),
    "×1e-300": lambda out, cache: (_mapped(lambda a: 1e-300 * a, out), cache),
    "constant": lambda out, cache: (_mapped(lambda a: a * 0 + 1.0, out), cache),
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


_GRADIENTS: dict[str, Callable[[Any], Any]] = {
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
    "integers": _first(lambda g: _mapped(lambda a: np.asarray(np.round(a), dtype=int), g)),
    "booleans": _first(lambda g: _mapped(lambda a: np.asarray(a) > 0, g)),
    "nan": _first(lambda g: _mapped(lambda a: a * np.nan, g)),
    "all nan": lambda g: _mapped(lambda a: a * np.nan, g),
    "inf": _first(lambda g: _mapped(lambda a: a * 0 + np.inf, g)),
    "huge": _first(lambda g: _mapped(lambda a: a * 0 + 1e308, g)),
    "complex": _first(lambda g: _mapped(lambda a: a + 0j, g)),
    "strings": _first(lambda g: _mapped(lambda a: np.asarray(a).astype(str), g)),
    "objects": _first(lambda g: _mapped(lambda a: np.asarray(a).astype(object), g)),
    "transposed": _first(lambda g: _mapped(np.transpose, g)),
    "with one more axis": _first(lambda g: _mapped(lambda a: np.asarray(a)[None], g)),
    "flat": _first(lambda g: _mapped(np.ravel, g)),
    "summed": _first(lambda g: _mapped(np.sum, g)),
    "empty": _first(lambda g: np.zeros((0,))),
    "float32": lambda g: _mapped(np.float32, g),
    "float16": _first(lambda g: _mapped(np.float16, g)),
    "longdouble": lambda g: _mapped(np.longdouble, g),
    "matrix": _first(lambda g: _mapped(lambda a: np.matrix(np.atleast_2d(a)), g)),
    "masked": _first(lambda g: _mapped(lambda a: np.ma.masked_array(a, mask=np.ones(np.shape(a))), g)),
    "lists": lambda g: _mapped(lambda a: np.asarray(a).tolist(), g),
    "memory views": _first(lambda g: _mapped(lambda a: memoryview(np.array(a, dtype=float)), g)),
    "read-only": lambda g: _mapped(lambda a: np.broadcast_to(a, np.shape(a)), g),
    "a list of itself": _itself,
    "tensors": lambda g: _mapped(_tensor, g),
    "jax arrays": lambda g: _mapped(_jax, g),
    "with __array__": lambda g: _mapped(_Shows, g),
    "a set": lambda g: {1.0},
    "a class": lambda g: dict,
    "not implemented": lambda g: NotImplemented,
}


def the_backward_returns(rng, case):
    name, backward = pick(rng, _GRADIENTS), case.backward
    returned = _GRADIENTS[name]

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
            dout = _mapped(lambda a: np.asarray(rng.standard_normal(np.shape(a)))[()], out)
            size = sum(float(np.abs(a).sum()) for a in _arrays(_mapped(np.asarray, backward(dout, cache))))
    except BaseException:  # noqa: BLE001  (another change has broken it, or it raises what it likes; nothing is known)
        size = 0.0

    @functools.wraps(backward)
    def wrong(dout, cache):
        return _mapped(lambda a: factor * a, backward(dout, cache))

    case.backward = wrong
    case.truth = "wrong" if size and np.isfinite(size) and case.truth == "right" else ""
    return f"the backward is wrong by the factor {factor:g}"


# ------------------------------------------------------------------ what the functions do


def something_is_raised(rng, case):
    """Raise an exception at the k-th call of the forward or the backward, or at all from the k-th on."""
    name, who = pick(rng, EXCEPTIONS), pick(rng, ("forward", "backward"))
    k, once = int(pick(rng, (1, 1, 2, 2, 3, 4, 5, 8, 13, 20, 30))), bool(rng.random() < 0.5)
    function, calls = getattr(case, who), 0

    @functools.wraps(function)
    def raising(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == k or (calls > k and not once):
            problem = EXCEPTIONS[name]()
            case.raised.append(problem)
            raise problem
        return function(*args, **kwargs)

    setattr(case, who, raising)
    case.truth = "" if case.truth == "right" else case.truth
    return f"the {who} raises {name} at call {k}{'' if once else ' and after'}"


def _near(args, origin, least):
    pairs = zip(_arrays(args), origin, strict=True)
    return all(np.all(np.abs(a - b) <= least * (1 + np.abs(b))) for a, b in pairs)


def the_forward_refuses(rng, case):
    forward, origin = case.forward, [a.copy() for a in _arrays(tuple(case.args))]
    how = pick(rng, ("far points", "any other point", "float64", "complex", "views", "subclasses", "negative", "larger",
                     "nan far away", "warns", "zeros", "integers within"))  # fmt: skip

    @functools.wraps(forward)
    def refusing(*args, **kwargs):
        arrays = _arrays(args)
        if how == "far points" and not _near(args, origin, 1e-9):
            raise ValueError("too far from the edge")
        if how == "any other point" and not _near(args, origin, 0):
            raise ValueError("only there")
        if how == "float64" and any(a.dtype == np.float64 for a in arrays):
            raise TypeError("float32 only")
        if how == "complex" and any(a.dtype.kind == "c" for a in arrays):
            raise TypeError("real only")
        if how == "views" and not all(a.flags.owndata for a in arrays):
            raise ValueError("memory of its own only")
        if how == "subclasses" and not all(type(a) is np.ndarray for a in arrays):
            raise TypeError("plain arrays only")
        if how == "negative" and any((a < 0).any() for a in arrays if a.dtype.kind == "f"):
            raise ValueError("nothing negative")
        if how == "larger" and any((a > b).any() for a, b in zip(arrays, origin, strict=True)):
            raise ValueError("beyond the edge")
        if how == "zeros" and any((a == 0).any() for a in arrays):
            raise ZeroDivisionError("zero")
        if how == "warns":
            warnings.warn("this is deprecated", DeprecationWarning, stacklevel=1)
            np.log(np.zeros(1))
        out, cache = forward(*args, **kwargs)
        if how == "nan far away" and not _near(args, origin, 1e-9):
            out = _mapped(lambda a: a * np.nan, out)
        if how == "integers within":
            out = _mapped(lambda a: np.round(a, 6), out)
        return out, cache

    case.forward, case.truth = refusing, ""
    return f"the forward refuses: {how}"


def the_backward_refuses(rng, case):
    backward = case.backward
    how = pick(rng, ("layouts", "view", "other dtypes", "second pass", "zeros", "views", "large", "equal rows"))
    seen = []

    @functools.wraps(backward)
    def refusing(dout, cache):
        arrays = [a for a in _arrays(dout) if isinstance(a, np.ndarray)]
        if how == "layouts" and not all(a.flags.c_contiguous for a in arrays):
            raise RuntimeError("dout must be contiguous")
        if how == "view":
            for a in arrays:
                a.view(np.int64)
                a.reshape(-1).shape = (a.size,)
        if how == "other dtypes" and not all(a.dtype == np.float64 for a in arrays):
            raise TypeError("float64 only")
        if how == "second pass":
            if any(cache is one for one in seen):
                raise RuntimeError("the cache is used up")
            seen.append(cache)
        if how == "zeros" and any((a == 0).all() for a in arrays):
            raise ValueError("no zeros")
        if how == "views" and not all(a.flags.owndata for a in arrays):
            raise ValueError("memory of its own only")
        if how == "large" and any((np.abs(a) > 100).any() for a in arrays):
            raise OverflowError("too large")
        if how == "equal rows" and any(a.ndim and np.ptp(a, axis=0).max(initial=0.0) == 0 for a in arrays):
            raise ValueError("rows must differ")
        return backward(dout, cache)

    case.backward = refusing
    case.truth = "" if case.truth == "right" else case.truth
    return f"the backward refuses: {how}"


def the_functions_have_state(rng, case):
    forward, backward = case.forward, case.backward
    how = pick(rng, ("noise", "faint noise", "drift", "writes into dout", "writes into the arguments", "one buffer",
                     "accumulates", "empties the cache", "nan the second time", "other shape the second time",
                     "calls the check", "changes dtype", "writes into the output"))  # fmt: skip
    state: dict[str, Any] = {"calls": 0, "buffer": None, "noise": np.random.default_rng(0)}

    @functools.wraps(forward)
    def changing(*args, **kwargs):
        state["calls"] += 1
        if how == "writes into the arguments":
            for a in _arrays(args):
                if a.dtype.kind == "f":
                    a += 1.0
        out, cache = forward(*args, **kwargs)
        noise = {"noise": 1e-3, "faint noise": 1e-13}.get(how, 0.0) * state["noise"].standard_normal()
        if noise or how == "drift":
            out = _mapped(lambda a: a * (1 + noise) + (1e-6 * state["calls"] if how == "drift" else 0.0), out)
        if how == "other shape the second time" and state["calls"] == 2:
            out = _mapped(lambda a: np.asarray(a)[None], out)
        if how == "changes dtype" and state["calls"] % 2:
            out = _mapped(np.float32, out)
        if how == "calls the check":
            from gradcheck import examine_backward

            examine_backward(lambda x: (x * x, x), lambda d, x: 2 * d * x, (np.ones(2),), seed=0)
        return out, {"cache": cache, "out": out}

    @functools.wraps(backward)
    def changed(dout, kept):
        cache = kept.pop("cache") if how == "empties the cache" else kept["cache"]
        gradients = backward(dout, cache)
        if how == "writes into dout":
            for a in _arrays(dout):
                a *= 2
        if how == "writes into the output":
            for a in _arrays(kept["out"]):
                a *= 0
        if how == "nan the second time" and state.setdefault("pulls", 0):
            gradients = _mapped(lambda a: a * np.nan, gradients)
        state["pulls"] = state.get("pulls", 0) + 1
        if how in ("one buffer", "accumulates"):
            arrays = [np.array(a, dtype=float) for a in _arrays(gradients)]
            if state["buffer"] is None:
                state["buffer"] = [np.zeros_like(a) for a in arrays]
            for kept_array, a in zip(state["buffer"], arrays, strict=False):
                kept_array[...] = a + (kept_array if how == "accumulates" else 0)
            buffers = iter(state["buffer"])
            gradients = _mapped(lambda a: next(buffers) if isinstance(a, np.ndarray) else a, gradients)
        return gradients

    case.forward, case.backward, case.truth = changing, changed, ""
    return f"the functions have state: {how}"


class _Nameless:
    """A callable object without a name."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        return self.function(*args)


async def _coroutine(*_args):
    return None


def a_function_is_odd(rng, case):
    who = pick(rng, ("forward", "backward"))
    function = getattr(case, who)
    odd = {
        "none": lambda: None,
        "a string": lambda: "forward",
        "an object": lambda: _Nameless(function),
        "a class": lambda: _Nameless,
        "a lambda": lambda: lambda *args: function(*args),
        "a partial": lambda: functools.partial(function),
        "a ufunc": lambda: np.sin,
        "a builtin": lambda: len,
        "a coroutine": lambda: _coroutine,
        "keyword only": lambda: lambda *, x: function(x),
        "without arguments": lambda: lambda: None,
        "the pair": lambda: (case.forward, case.backward),
        "the other": lambda: case.backward if who == "forward" else case.forward,
        "a generator function": lambda: lambda *args: (yield function(*args)),
    }
    name = pick(rng, odd)
    setattr(case, who, odd[name]())
    case.truth = "right" if name in ("an object", "a lambda", "a partial") and case.truth == "right" else ""
    return f"the {who} is {name}"


def errors_are_raised(rng, case):
    case.ambient = pick(rng, ERRONEOUS)
    return case.ambient


CHANGES: tuple[tuple[Change, float], ...] = (
    (an_argument_is_replaced, 3),
    (an_argument_lies_otherwise, 3),
    (an_argument_stays, 2),
    (args_are_odd, 0.5),
    (a_setting_is_odd, 3),
    (the_forward_returns, 2),
    (the_backward_returns, 2),
    (the_backward_is_wrong, 3),
    (something_is_raised, 3),
    (the_forward_refuses, 2),
    (the_backward_refuses, 1.5),
    (the_functions_have_state, 1.5),
    (a_function_is_odd, 0.7),
    (errors_are_raised, 2),
)


def change(rng: np.random.Generator, case: Case) -> None:
    """Apply one change, drawn by its weight."""
    weights = np.array([weight for _, weight in CHANGES])
    function = CHANGES[int(rng.choice(len(CHANGES), p=weights / weights.sum()))][0]
    try:
        with np.errstate(all="ignore"):
            case.labels.append(function(rng, case))
    except (TypeError, ValueError, AttributeError, IndexError, KeyError):
        case.labels.append(f"({function.__name__} does not apply)")  # two changes that do not go together


def watch(case: Case) -> None:
    """Wrap the functions of a case so that it is seen whether the backward was called, and what it gave."""
    if not (callable(case.forward) and callable(case.backward)):
        return
    forward, backward, pulled = case.forward, case.backward, case.pulled
    pulled["watched"] = True

    @functools.wraps(forward)
    def watched_forward(*args, **kwargs):
        returned = forward(*args, **kwargs)
        out = returned[0] if isinstance(returned, tuple) and returned else returned
        pulled["finite"] = all(np.isfinite(a).all() for a in _arrays(out) if a.dtype.kind == "f")
        return returned

    @functools.wraps(backward)
    def watched_backward(*args, **kwargs):
        returned = backward(*args, **kwargs)
        pulled["calls"] += 1
        if pulled["finite"] and all(np.isfinite(a).all() for a in _arrays(args[:1]) if a.dtype.kind == "f"):
            pulled["nan"] |= any(np.isnan(a).any() for a in _arrays(returned) if a.dtype.kind == "f")
        return returned

    case.forward, case.backward = watched_forward, watched_backward
