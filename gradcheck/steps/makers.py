"""What NumPy and math are for the twins: arrays that are made are traced, and single numbers stay so. Level 3."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradcheck.steps.tape import Tape
from gradcheck.steps.traced import Float, Traced, plain, tape_of

__all__ = ["changed", "recorded"]

CREATORS = ("zeros", "ones", "empty", "full", "eye", "identity", "arange", "linspace")
CONVERTERS = ("array", "asarray", "asanyarray", "ascontiguousarray")
FIRST = {"a", "x", "m", "v", "ary", "arr", "array"}  # what NumPy calls one array, of which others make lists
JOINING = ("concatenate", "stack", "hstack", "vstack", "dstack", "column_stack")  # of which each may be a list itself
ALIKE = "exp expm1 log log2 log10 log1p sqrt sin cos tan sinh cosh tanh hypot"
INVERSE = "sin cos tan sinh cosh tanh"
MATH: dict[str, Callable[..., Any]] = {
    "fabs": np.abs,
    "pow": np.power,
    "atan2": np.arctan2,
    **{name: getattr(np, name) for name in ALIKE.split()},
    **{f"a{name}": getattr(np, f"arc{name}") for name in INVERSE.split()},
    **{name: getattr(math, name) for name in ("erf", "erfc", "gamma", "lgamma")},
}


def changed(tape: Tape) -> dict[int, Any]:
    """Return what stands for functions of NumPy and of math, by the ids of those."""
    made: dict[Any, Any] = {np.ndarray: Traced, float: Float}
    made |= {getattr(np, name): _creating(tape, getattr(np, name)) for name in CREATORS}
    made |= {getattr(np, name): _converting(tape, getattr(np, name)) for name in CONVERTERS}
    made |= {func: _of_array(made[np.array], func) for func in _of_one_array()}
    made |= {func: Ufunc(made[np.array], func) for func in vars(np).values() if isinstance(func, np.ufunc)}
    made |= {getattr(np, name): _of_arrays(made[np.array], getattr(np, name)) for name in JOINING}
    made |= {getattr(math, name): _of_math(getattr(math, name), func) for name, func in MATH.items()}
    made[as_strided] = functools.partial(_strided, tape)
    made[np.fromiter] = lambda thing, dtype=None, count=-1: made[np.array](
        list(thing if count < 0 else itertools.islice(thing, count)), dtype
    )
    made[np.ndenumerate] = lambda array: ((at, made[np.asarray](array)[at]) for at in np.ndindex(np.shape(array)))
    made[np.vectorize] = lambda *args, **kwargs: recorded(np.vectorize(*args, **kwargs))
    return {id(thing): new for thing, new in made.items()}


def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a library as one operation: what it does inside cannot be seen."""
    name = getattr(function, "__name__", None) or type(function).__name__

    def call(*args: Any, **kwargs: Any) -> Any:
        tape = tape_of((args, kwargs))
        if tape is None:
            return function(*plain(args), **plain(kwargs))
        return tape.call(name, functools.partial(_copied, function), args, kwargs)

    return functools.update_wrapper(call, function, updated=())


def _copied(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function with copies of its arrays, which it may write into."""
    return function(*map(_copy, args), **{name: _copy(value) for name, value in kwargs.items()})


def _copy(thing: Any) -> Any:
    return thing.copy() if isinstance(thing, np.ndarray) else thing


def _creating(tape: Tape, make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def create(*args: Any, **kwargs: Any) -> Any:
        if tape_of((args, kwargs)) is not None:
            return tape.call(make.__name__, make, args, kwargs)
        made = make(*plain(args), **plain(kwargs))
        return tape.constant(made) if tape.is_recording() else made

    return create


def _converting(tape: Tape, make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def convert(thing: Any, *args: Any, **kwargs: Any) -> Any:
        if not tape.is_recording():
            return make(plain(thing), *args, **kwargs)
        if type(thing) is not Traced:
            if isinstance(thing, tuple | list) and tape_of(thing) is not None:
                return tape.call("array", np.array, (list(thing), *args), kwargs)
            return tape.constant(make(thing, *args, **kwargs))
        dtype = args[0] if args else kwargs.get("dtype")
        if dtype is not None and np.dtype(dtype) != thing.dtype:
            return thing.astype(dtype)
        copies = make is np.array and (kwargs.get("copy", True) or kwargs.get("ndmin", 0) > thing.ndim)
        if make is np.ascontiguousarray:
            copies = not thing.flags.c_contiguous
        if kwargs.get("ndmin", 0) > thing.ndim:
            return tape.call("array", np.array, (thing,), {"ndmin": kwargs["ndmin"]})
        return thing.copy() if copies else thing

    return convert


@functools.cache
def _of_one_array() -> tuple[Callable[..., Any], ...]:
    """Return the functions of NumPy that begin with one array, and look into no list that stands for it."""
    named = (
        (name, func) for name, func in vars(np).items() if name in np.__all__ and name not in {*CREATORS, *CONVERTERS}
    )
    found = ((func, _first_parameter(func)) for _, func in named if type(func) is type(np.sum))
    return tuple(func for func, first in found if first in FIRST)


def _first_parameter(function: Callable[..., Any]) -> str:
    try:
        return next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):  # it is C, and tells none
        return ""


def _listed(array: Callable[..., Any], thing: Any) -> Any:
    """Return a list in which there is something traced as one array, and anything else as it is."""
    return array(thing) if isinstance(thing, tuple | list) and tape_of(thing) is not None else thing


def _of_array(array: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays to which lists of traced arrays may be given."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*(_listed(array, thing) for thing in args), **kwargs)

    return call


def _of_arrays(array: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that joins arrays, each of which may be a list of traced ones."""

    @functools.wraps(function)
    def call(things: Any, *args: Any, **kwargs: Any) -> Any:
        some = isinstance(things, tuple | list)
        return function([_listed(array, thing) for thing in things] if some else things, *args, **kwargs)

    return call


class Ufunc:
    """A ufunc to which lists of traced arrays may be given; its methods are its own."""

    def __init__(self, array: Callable[..., Any], ufunc: np.ufunc) -> None:
        self._array, self._ufunc = array, ufunc
        functools.update_wrapper(self, ufunc, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the ufunc."""
        return self._ufunc(*(_listed(self._array, thing) for thing in args), **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Return what the ufunc has under a name."""
        return getattr(self._ufunc, name)


def _of_math(function: Callable[..., float], func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        tape = tape_of(args)
        value = function(*plain(args))  # which raises what NumPy only warns of
        return value if tape is None else tape.call(function.__name__, func, args, {})

    return call


def _strided(tape: Tape, array: Any, *args: Any, **kwargs: Any) -> Any:
    made = as_strided(array, *args, **kwargs)
    return tape.call("as_strided", as_strided, (array, *args), kwargs) if tape_of(array) is not None else made
