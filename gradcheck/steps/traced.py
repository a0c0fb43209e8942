"""An array that tells its tape what is done with it. Level 3.

NumPy asks its subclasses twice, for ufuncs and for functions; methods, indexing and iteration are asked here. A number
that NumPy returns is traced as an array without an axis: it is told from such an array by ``is_number``, and is
never changed in place.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gradcheck.steps.memory import Buffer
    from gradcheck.steps.tape import Tape

__all__ = ["Float", "Kind", "Traced", "over", "plain", "tape_of"]

METHODS = (
    "sum mean max min prod std var argmax argmin cumsum cumprod dot reshape transpose ravel flatten copy astype repeat "
    "squeeze swapaxes take clip trace diagonal round argsort nonzero compress any all conj searchsorted choose"
)
IN_PLACE = "sort partition put itemset"
INTO_FIRST = {np.copyto, np.fill_diagonal, np.put, np.place, np.putmask, np.put_along_axis}
LIKE = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}
OPERATORS = "add sub mul truediv pow floordiv mod"
ORDINARY = (np.ndarray, np.generic, int, float, complex, list, tuple)


class Kind(type):
    """What the user finds as another class, such as ``np.ndarray``: equal to it, and with the same instances."""

    alike: type

    def __instancecheck__(cls, thing: object) -> bool:
        if type(thing) is Traced and thing.is_number:
            return issubclass(thing.dtype.type, cls.alike)
        return isinstance(thing, cls.alike)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, cls.alike)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.alike

    def __hash__(cls) -> int:
        return hash(cls.alike)


class Traced(np.ndarray, metaclass=Kind):
    """An array whose operations are recorded on ``tape``."""

    alike = np.ndarray
    tape: Tape | None = None
    seen: tuple[Buffer, int, int] | None = None  # the node that it was when its memory had been written so often
    is_number = False

    def __array_finalize__(self, other: Any) -> None:
        self.tape = getattr(other, "tape", None)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if any(
            getattr(type(each), "__array_ufunc__", _OURS) is not _OURS for each in inputs if type(each) is not Traced
        ):
            return NotImplemented
        tape = tape_of((*inputs, *(out or ())))
        func = ufunc if method == "__call__" else getattr(ufunc, method)
        if tape is None:
            for each in out or ():
                _unseen(each)
            out = {"out": plain(out)} if out else {}
            return func(*plain(inputs), **out, **plain(kwargs))
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if method == "at":
            tape.call(name, functools.partial(_at, ufunc), inputs, kwargs, into=inputs[0])
            return None
        if out is not None and len(out) == 1:
            if "where" in kwargs:  # what it leaves is what was there
                func, inputs = functools.partial(over, func), (out[0], *inputs)
            tape.call(name, func, inputs, kwargs, into=out[0])
            return out[0]
        return tape.call(name, func, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(kind, np.ndarray) for kind in types):
            return NotImplemented
        tape = tape_of((args, kwargs))
        if tape is None:
            return func(*plain(args), **plain(kwargs))
        if func in LIKE:
            return tape.constant(func(*plain(args), **plain(kwargs)))
        if func in INTO_FIRST:
            tape.call(func.__name__, functools.partial(_into, func), args, kwargs, into=args[0])
            return None
        out = kwargs.get("out")
        if isinstance(out, np.ndarray):
            tape.call(func.__name__, func, args, {k: v for k, v in kwargs.items() if k != "out"}, into=out)
            return out
        return tape.call(func.__name__, func, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        tape = tape_of(self)
        return np.ndarray.__getitem__(plain(self), plain(key)) if tape is None else tape.get(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        tape = tape_of(self)
        if tape is None:
            _unseen(self)
            plain(self)[plain(key)] = plain(value)
        else:
            tape.set(self, key, value)

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return repr(plain(self)[()] if self.is_number else plain(self))

    def fill(self, value: Any) -> None:
        """As that of an array: write one number everywhere."""
        self[...] = value

    @property
    def flat(self) -> Any:
        """The entries in one row."""
        return self.reshape(-1)

    @flat.setter
    def flat(self, value: Any) -> None:
        self[...] = np.reshape(value, self.shape) if np.size(value) == self.size else value

    # -- copies that are made by others

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        tape = tape_of(self)
        return plain(self).copy() if tape is None else tape.copy(self)

    def __reduce__(self) -> Any:
        return plain(self).__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return plain(self).__reduce_ex__(protocol)

    # -- numbers, and the ways to those of Python, on which the recording is lost

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(plain(self)[()])

    def __round__(self, digits: int | None = None) -> Any:
        return round(plain(self)[()]) if digits is None else self.round(digits)

    def item(self, *args: Any) -> Any:
        """As that of an array, but that the number stays traced."""
        tape = tape_of(self)
        if tape is None or self.dtype.kind != "f":
            return plain(self).item(*args)
        at = args[0] if args and isinstance(args[0], tuple) else args
        return self[np.unravel_index(*at, self.shape) if len(at) == 1 else at or (0,) * self.ndim]

    def tolist(self) -> Any:
        """As that of an array, but that the numbers stay traced."""
        if tape_of(self) is None or self.dtype.kind != "f":
            return plain(self).tolist()
        return [each if each.is_number else each.tolist() for each in self] if self.ndim else self.item()

    def __float__(self) -> float:
        tape = tape_of(self)
        if tape is not None:
            tape.lose("float")
        return float(plain(self))


class Float(float, metaclass=Kind):
    """What the user finds as ``float``: a traced number stays what it is."""

    alike = float
    dtype = np.dtype(float)  # so that NumPy takes it for the type

    def __new__(cls, thing: Any = 0.0) -> Any:
        """Return a number as ``float`` does, but that a traced one stays traced."""
        if type(thing) is not Traced or (tape := tape_of(thing)) is None or thing.size != 1 or thing.dtype.kind != "f":
            return float(thing)
        return tape.number(thing.astype(float).reshape(()))


_OURS = np.ndarray.__array_ufunc__


def _method(name: str, *, in_place: bool = False) -> Callable[..., Any]:
    descriptor = getattr(np.ndarray, name)

    @functools.wraps(descriptor)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        tape = tape_of(self)
        if tape is None:
            if in_place:
                _unseen(self)
            return descriptor(plain(self), *plain(args), **plain(kwargs))
        if in_place:
            tape.call(name, functools.partial(_into, descriptor), (self, *args), kwargs, into=self)
            return None
        out = kwargs.pop("out", None)
        made = tape.call(name, descriptor, (self, *args), kwargs, into=out)
        return made if out is None else out

    return method


def _operator(name: str) -> Callable[..., Any]:
    """An operator that asks the object on the other side first, as a number of NumPy does."""
    do = getattr(np.ndarray, f"__{name}__")

    @functools.wraps(do)
    def operator(self: Any, other: Any) -> Any:
        return NotImplemented if self.is_number and not isinstance(other, ORDINARY) else do(self, other)

    return operator


def _in_place(name: str) -> Callable[..., Any]:
    into, apart = getattr(np.ndarray, f"__i{name}__"), getattr(np.ndarray, f"__{name}__")
    return lambda self, other: (apart if self.is_number else into)(self, other)


for _name in METHODS.split():
    setattr(Traced, _name, _method(_name))
for _name in IN_PLACE.split():
    with contextlib.suppress(AttributeError):  # not every NumPy has it
        setattr(Traced, _name, _method(_name, in_place=True))
for _name in OPERATORS.split():
    setattr(Traced, f"__{_name}__", _operator(_name))
for _name in f"{OPERATORS} and or xor".split():
    setattr(Traced, f"__i{_name}__", _in_place(_name))
Traced.__name__ = Traced.__qualname__ = "ndarray"


def plain(tree: Any) -> Any:
    """Return what is given without the tracing."""
    kind = type(tree)
    if kind is Traced:
        return tree.view(np.ndarray)
    if kind is tuple:
        return tuple([plain(each) for each in tree])
    if kind is list:
        return [plain(each) for each in tree]
    if kind is dict:
        return {key: plain(value) for key, value in tree.items()}
    if kind is slice:
        return slice(
            *[each.__index__() if type(each) is Traced else each for each in (tree.start, tree.stop, tree.step)]
        )
    return tree


def tape_of(tree: Any) -> Tape | None:
    """Return the tape of the traced arrays in a tree, None if there are none or it does not record now and here."""
    kind = type(tree)
    if kind is Traced:
        tape: Tape | None = tree.tape
        return tape if tape is not None and tape.is_recording() else None
    if kind is tuple or kind is list:
        for each in tree:
            if (found := tape_of(each)) is not None:
                return found
    elif kind is dict:
        return tape_of(tuple(tree.values()))
    return None


def over(func: Callable[..., Any], before: Any, *args: Any, **kwargs: Any) -> Any:
    """Return what ``func`` leaves in a copy of ``before`` as its ``out``."""
    after = before.copy()
    func(*args, out=after, **kwargs)
    return after


def _unseen(array: Any) -> None:
    """Let an array be written into while nothing is recorded."""
    if type(array) is Traced and array.tape is not None:
        array.tape.unseen(array)


def _at(ufunc: np.ufunc, array: Any, index: Any, *values: Any) -> Any:
    array = array.copy()
    ufunc.at(array, index, *values)
    return array


def _into(func: Callable[..., Any], array: Any, *args: Any, **kwargs: Any) -> Any:
    array = array.copy()
    func(array, *args, **kwargs)
    return array
