"""Arrays that tell a tape what is done with them, and take another result from it. Level 3.

No source is needed. The arrays that the backward is given, and those that it makes, are of a class that NumPy asks
before each operation. Operations are told apart by where in the code they stand, and the turns of a loop by a count.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np

from gradcheck.explanation.suspects.names import Around, arrays_in
from gradcheck.trees import Array

__all__ = ["Change", "Step", "Tape", "Watched", "plain", "tape_among"]

MOST = 3000  # operations that are kept
LARGEST = 100_000  # entries of an array that is kept
# The files of whoever watches, and NumPy's, are no callers.
WATCHERS = str(Path(__file__).parent), str(Path(np.__file__).parent)

Site = tuple[types.CodeType, tuple[int | None, ...], str]


class Step(NamedTuple):
    """One operation.

    Attributes:
        number: its place in the run.
        site: where it stands in the code, and its name.
        turn: how many operations of the same site and shape came before.
        name: the name of NumPy's function, ``get`` or ``set``.
        operands: what it was given, without the watching; for ``set`` the array before, the key and the value.
        sources: for each operand the number of the step whose result it is, None if it is none; for an ``update``
            also that of the part that was written.
        result: what came out.
        settings: what was given by keyword.
        names: for each operand what the function calls it, "" if it has no name there.
        around: the arrays that the function has names for, by name; in the first run only at the first turn.
        call: how often another call of the same function was told of before.
    """

    number: int
    site: Site
    turn: int
    name: str
    operands: tuple[Any, ...]
    sources: tuple[int | None, ...]
    result: Array
    settings: Mapping[str, Any] = MappingProxyType({})
    names: tuple[str, ...] = ()
    around: Mapping[str, Array] = MappingProxyType({})
    call: int = 0

    @property
    def place(self) -> str:
        """Where the operation stands, for a person: ``line 12 of tanh_backward``."""
        code, position, _ = self.site
        return f"line {position[0]} of {code.co_name}"


Change = Callable[[Step, "Tape"], Array | None]
Reel = list["Tape"]  # the tape that an array tells; none when the run is over


@dataclasses.dataclass
class Tape:
    """The operations of one run, and the gradients that came out.

    Attributes:
        steps: the operations, in order.
        used: the numbers of those whose result was needed again.
        gradients: the gradients of the right shape, by path.
        returned: what the backward returned, watched.
        turns: how often each operation was done, by its site and the shape of its result.
        calls: the last call of each function, and its number, for as long as the run lasts.
        reel: where the arrays find it.
        scalars: whether single numbers are watched too, as arrays without an axis.
    """

    change: Change | None = None
    scalars: bool = False
    steps: list[Step] = dataclasses.field(default_factory=list)
    used: set[int] = dataclasses.field(default_factory=set)
    gradients: dict[str, Array] = dataclasses.field(default_factory=dict)
    returned: Any = None
    turns: dict[tuple[Site, tuple[int, ...]], int] = dataclasses.field(default_factory=dict)
    calls: dict[types.CodeType, tuple[types.FrameType, int]] = dataclasses.field(default_factory=dict)
    reel: Reel = dataclasses.field(default_factory=list)

    def __enter__(self) -> Self:
        """Begin to be told."""
        self.reel.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Be told no more: a cycle through a base of an array, which the collector does not see, would never go."""
        self.reel.clear()
        self.calls.clear()

    def _call(self, frame: types.FrameType) -> int:
        last, number = self.calls.get(frame.f_code, (frame, 0))
        number += last is not frame
        self.calls[frame.f_code] = frame, number
        return number

    def tell(
        self, name: str, operands: tuple[Any, ...], result: Array, settings: dict[str, Any] | None = None
    ) -> tuple[Array, int]:
        """Keep an operation; return its result, or what it is changed to, and its number."""
        number = len(self.steps)
        frame = _caller()
        site = frame.f_code, _positions(frame.f_code)[frame.f_lasti // 2], name
        turn = self.turns.get((site, result.shape), 0)
        self.turns[site, result.shape] = turn + 1
        sources = tuple(_source(operand) for operand in operands)
        self.used.update(source for source in sources if source is not None)
        raw = tuple(plain(operand) for operand in operands)
        step = Step(number, site, turn, name, raw, sources, result, settings or {}, call=self._call(frame))
        if number >= MOST or result.size > LARGEST:
            return result, -1
        changed = self.change(step._replace(around=Around(frame)), self) if self.change else None
        result = result if changed is None else np.asarray(changed)
        if self.change:
            step = step._replace(result=np.array(result))
        else:
            around = {} if turn else {n: np.array(v) for n, v in arrays_in(frame)}
            kept = tuple(np.array(each) if isinstance(each, np.ndarray) else each for each in raw)
            names = tuple(_named(frame, operand) for operand in operands)
            step = step._replace(operands=kept, result=np.array(result), names=names, around=around)
        self.steps.append(step)
        return result, number

    def link(self, part: Any, number: int) -> None:
        """Note that what was written into a part of an array went into the result of a step."""
        source = _source(part)
        if number >= 0 and source is not None:
            self.steps[number] = self.steps[number]._replace(sources=(*self.steps[number].sources, source))

    def kept(self, result: Any) -> Any:
        """Return a single number as an array without an axis, where these are watched."""
        return np.asarray(result) if self.scalars and isinstance(result, np.floating) else result

    def watched(self, array: Any, number: int = -1) -> Any:
        """Return an array, or those in a tuple or a list, watched."""
        if isinstance(array, tuple | list):
            return type(array)(self.watched(each) for each in array)
        if type(array) is not np.ndarray or array.dtype.kind not in "fb":
            return array
        made = array.view(Watched)
        made.reel, made.step = self.reel, number
        return made


class Watched(np.ndarray[Any, np.dtype[Any]]):
    """An array that tells its tape what is done with it."""

    reel: Reel
    step: int
    aside: bool  # set where another part was given than was asked for

    @property
    def tape(self) -> Tape | None:
        """The tape that is told, None when the run is over."""
        return self.reel[0] if self.reel else None

    def __array_finalize__(self, other: Any) -> None:
        """Let views be watched by the same tape."""
        self.reel = getattr(other, "reel", [])
        self.step = getattr(other, "step", -1)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        """Do the operation on plain arrays and tell it."""
        tape = tape_among((*inputs, *(out or ())))
        raw = [plain(each) for each in inputs]
        if method == "at":
            before = np.array(raw[0])
            ufunc.at(*raw, **kwargs)
            self._told_in_place(inputs[0], "at", (before, *inputs[1:]), tape)
            return None
        if out is not None:
            inputs = tuple(
                _same_source(np.array(each), each) if each is out[0] and isinstance(each, Watched) else each
                for each in inputs
            )
            kwargs["out"] = tuple(plain(each) for each in out)
        result = getattr(ufunc, method)(*raw, **kwargs)
        result = tape.kept(result) if tape else result
        if tape is None or not isinstance(result, np.ndarray):
            return result
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if out is not None:
            self._told_in_place(out[0], name, inputs, tape)
            return out[0]
        return tape.watched(*tape.tell(name, inputs, result))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Do the operation on plain arrays and tell it."""
        tape = tape_among((args, kwargs))
        result = func(*plain(args), **plain(kwargs))
        result = tape.kept(result) if tape else result
        if tape is None or type(result) is not np.ndarray:
            return result if tape is None else tape.watched(result)
        return tape.watched(*tape.tell(func.__name__, args, result, plain(kwargs)))

    def _told_in_place(self, target: Any, name: str, operands: tuple[Any, ...], tape: Tape | None) -> None:
        if tape is None:
            return
        raw = plain(target)
        result, number = tape.tell(name, operands, raw)
        if result is not raw:
            raw[...] = result
        if isinstance(target, Watched):
            target.step = number

    def __getitem__(self, key: Any) -> Any:
        """Tell which part is taken."""
        part = plain(self)[plain(key)]
        part = self.tape.kept(part) if self.tape else part
        if self.tape is None or type(part) is not np.ndarray or part.dtype.kind != "f":
            return part
        result, number = self.tape.tell("get", (self, plain(key)), part)
        made = self.tape.watched(result, number)
        if result is not part:
            made.aside = True
        return made

    def __setitem__(self, key: Any, value: Any) -> None:
        """Tell which part is written."""
        raw, key = plain(self), plain(key)
        if self.tape is None:
            raw[key] = plain(value)
            return
        if isinstance(value, np.ndarray) and np.may_share_memory(raw, value):  # x[key] += term
            if not getattr(value, "aside", False):  # else the term went to another part already
                raw[key] = plain(value)
            self.step = self.tape.tell("update", (self,), raw)[1]
            self.tape.link(value, self.step)
            return
        before = _same_source(np.array(raw), self)
        raw[key] = plain(value)
        self._told_in_place(self, "set", (before, key, value), self.tape)

    def reshape(self, *shape: Any, **rest: Any) -> Any:
        """Tell the new shape."""
        made = plain(self).reshape(*shape, **rest)
        if self.tape is None or self.dtype.kind != "f" or self.ndim < 3 or made.ndim != 2:
            return self.tape.watched(made, self.step) if self.tape else made
        return self.tape.watched(*self.tape.tell("reshape", (self,), made))

    def dot(self, other: Any, out: Any = None) -> Any:  # noqa: ARG002  (nobody gives it)
        """Tell the product."""
        return np.dot(self, other)

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, **rest: Any) -> Any:  # type: ignore[override]  # noqa: ARG002  (nobody gives them)
        """Tell the reduction."""
        return np.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, **rest: Any) -> Any:  # type: ignore[override]  # noqa: ARG002  (nobody gives them)
        """Tell the reduction."""
        return np.mean(self, axis=axis, keepdims=keepdims)


def plain(tree: Any) -> Any:
    """Return what is given without the watching."""
    if isinstance(tree, Watched):
        return tree.view(np.ndarray)
    if type(tree) in (tuple, list):
        return type(tree)(plain(each) for each in tree)
    if type(tree) is dict:
        return {key: plain(value) for key, value in tree.items()}
    return tree


@functools.lru_cache(maxsize=256)
def _positions(code: types.CodeType) -> list[tuple[int | None, ...]]:
    """Return where in the text each instruction stands: its place in the code itself moves while it runs."""
    return list(code.co_positions())


def _caller() -> types.FrameType:
    frame = sys._getframe(2)  # noqa: SLF001  (there is no other way to know who calls)
    while frame.f_back is not None and (frame.f_code.co_filename.startswith(WATCHERS)):
        frame = frame.f_back
    return frame


def _named(frame: types.FrameType, operand: Any) -> str:
    """Return the name of a local variable that is ``operand``, or whose view it is."""
    if not isinstance(operand, Watched):
        return ""
    for name, value in frame.f_locals.items():
        if value is operand:
            return name
    whole = (value for value in frame.f_locals.items() if isinstance(value[1], Watched))
    return next((f"{name}.T" for name, value in whole if _is_transpose(value, operand)), "")


def _is_transpose(value: Watched, operand: Watched) -> bool:
    return (
        value.ndim > 1
        and value.T.shape == operand.shape
        and operand.base is not None
        and (value.ctypes.data == operand.ctypes.data and value.T.strides == operand.strides)
    )


def tape_among(things: Any) -> Tape | None:
    """Return the tape of the first watched array in a tree, None if there is none."""
    return next((each.tape for each in _every(things) if each.tape is not None), None)


def _every(thing: Any) -> Iterator[Watched]:
    if isinstance(thing, Watched):
        yield thing
    elif isinstance(thing, tuple | list):
        for each in thing:
            yield from _every(each)
    elif isinstance(thing, dict):
        yield from _every(tuple(thing.values()))


def _source(operand: Any) -> int | None:
    return operand.step if isinstance(operand, Watched) and operand.step >= 0 else None


def _same_source(array: Array, like: Watched) -> Watched:
    made = array.view(Watched)
    made.reel, made.step = like.reel, like.step
    return made
