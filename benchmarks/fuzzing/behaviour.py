"""What the functions of the fuzzer do: raise, refuse, remember, and be no functions at all."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from benchmarks.fuzzing.case import arrays_in, mapped, pick
from benchmarks.fuzzing.settings import EXCEPTIONS

__all__ = [
    "a_function_is_odd",
    "something_is_raised",
    "the_backward_refuses",
    "the_forward_refuses",
    "the_functions_have_state",
]


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
    pairs = zip(arrays_in(args), origin, strict=True)
    return all(np.all(np.abs(a - b) <= least * (1 + np.abs(b))) for a, b in pairs)


def the_forward_refuses(rng, case):
    forward, origin = case.forward, [a.copy() for a in arrays_in(tuple(case.args))]
    how = pick(
        rng,
        (
            "far points",
            "any other point",
            "float64",
            "complex",
            "views",
            "subclasses",
            "negative",
            "larger",
            "nan far away",
            "warns",
            "zeros",
            "integers within",
        ),
    )

    @functools.wraps(forward)
    def refusing(*args, **kwargs):
        arrays = arrays_in(args)
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
            out = mapped(lambda a: a * np.nan, out)
        if how == "integers within":
            out = mapped(lambda a: np.round(a, 6), out)
        return out, cache

    case.forward, case.truth = refusing, ""
    return f"the forward refuses: {how}"


def the_backward_refuses(rng, case):
    backward = case.backward
    how = pick(rng, ("layouts", "view", "other dtypes", "second pass", "zeros", "views", "large", "equal rows"))
    seen = []

    @functools.wraps(backward)
    def refusing(dout, cache):
        arrays = [a for a in arrays_in(dout) if isinstance(a, np.ndarray)]
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
    how = pick(
        rng,
        (
            "noise",
            "faint noise",
            "drift",
            "writes into dout",
            "writes into the arguments",
            "one buffer",
            "accumulates",
            "empties the cache",
            "nan the second time",
            "other shape the second time",
            "calls the check",
            "changes dtype",
            "writes into the output",
        ),
    )
    state: dict[str, Any] = {"calls": 0, "buffer": None, "noise": np.random.default_rng(0)}

    @functools.wraps(forward)
    def changing(*args, **kwargs):
        state["calls"] += 1
        if how == "writes into the arguments":
            for a in arrays_in(args):
                if a.dtype.kind == "f":
                    np.add(a, 1.0, out=a)
        out, cache = forward(*args, **kwargs)
        noise = {"noise": 1e-3, "faint noise": 1e-13}.get(how, 0.0) * state["noise"].standard_normal()
        if noise or how == "drift":
            out = mapped(lambda a: a * (1 + noise) + (1e-6 * state["calls"] if how == "drift" else 0.0), out)
        if how == "other shape the second time" and state["calls"] == 2:
            out = mapped(lambda a: np.asarray(a)[None], out)
        if how == "changes dtype" and state["calls"] % 2:
            out = mapped(np.float32, out)
        if how == "calls the check":
            from gradcheck import examine_backward

            examine_backward(lambda x: (x * x, x), lambda d, x: 2 * d * x, (np.ones(2),), seed=0)
        return out, {"cache": cache, "out": out}

    @functools.wraps(backward)
    def changed(dout, kept):
        cache = kept.pop("cache") if how == "empties the cache" else kept["cache"]
        gradients = backward(dout, cache)
        if how == "writes into dout":
            for a in arrays_in(dout):
                np.multiply(a, 2, out=a)
        if how == "writes into the output":
            for a in arrays_in(kept["out"]):
                np.multiply(a, 0, out=a)
        if how == "nan the second time" and state.setdefault("pulls", 0):
            gradients = mapped(lambda a: a * np.nan, gradients)
        state["pulls"] = state.get("pulls", 0) + 1
        if how in ("one buffer", "accumulates"):
            arrays = [np.array(a, dtype=float) for a in arrays_in(gradients)]
            if state["buffer"] is None:
                state["buffer"] = [np.zeros_like(a) for a in arrays]
            for kept_array, a in zip(state["buffer"], arrays, strict=False):
                kept_array[...] = a + (kept_array if how == "accumulates" else 0)
            buffers = iter(state["buffer"])
            gradients = mapped(lambda a: next(buffers) if isinstance(a, np.ndarray) else a, gradients)
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
        "a lambda": lambda: lambda *args: function(*args),  # noqa: PLW0108  (it is to be a lambda)
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
