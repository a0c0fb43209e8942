"""Where an object keeps its arrays: a walk over all that it refers to, and copies in which others stand. Level 1.

A *path* leads from an object to one of its parts: attributes, the keys of dicts, the indices of lists and tuples. It is
written as Python would write it: ``layers[0].W``, ``params['b']``. A *place* is an array and all the paths to it.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import types
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.errors import told
from gradcheck.trees import Array, is_float

__all__ = ["MISSING", "Map", "Path", "Place", "Step", "assign", "follow", "member", "parsed", "text"]

Step = tuple[str, Any]  # ("attribute", name), ("item", key), or ("closure", name) of what a function was made around
Path = tuple[Step, ...]

LEAVES = (
    *(str, bytes, int, float, complex, type, types.ModuleType, types.BuiltinFunctionType),
    *(np.generic, np.dtype, np.ufunc, np.random.Generator, np.random.RandomState),
)
MISSING = object()


@dataclass(frozen=True)
class Place:
    """A float array, and the paths on which it is reached, the shortest first."""

    array: Array
    paths: list[Path]

    @property
    def name(self) -> str:
        """What to call the array: its shortest path."""
        return text(self.paths[0])


class Map:
    """All places of an object, found once, and copies of the object in which other arrays stand there.

    Each part is visited once, so that a layer that is used twice, a parent, or a list that holds itself is no trouble.

    Attributes:
        places: the float arrays, outermost first.
        numbers: the paths to single floats that are no arrays.
        others: the paths to arrays of whole or complex numbers, or of another library, which cannot move.
    """

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        self.places: list[Place] = []
        self.numbers: list[Path] = []
        self.others: list[Path] = []
        self._parts: list[tuple[Path, Any]] = []  # all that is reached
        self._shared: dict[int, Any] = {}  # what cannot be copied and holds no arrays: modules, locks, files
        self._on_class: list[Path] = []  # what all instances of a class share, and a copy must not
        self._functions: list[Path] = []  # those that were made around something, which a copy must not share
        self._walk()

    @property
    def paths(self) -> list[Path]:
        """The paths to all arrays and numbers."""
        return [*(path for place in self.places for path in place.paths), *self.numbers, *self.others]

    def _walk(self) -> None:
        found: dict[int, Place] = {}
        seen = {id(self.thing)}
        on_class: list[Path] = []
        reached: deque[tuple[Path, Any]] = deque([((), self.thing)])
        functions: deque[tuple[Path, Any]] = deque()  # looked into last: what they hold may be reached without them
        while reached or functions:
            queue = reached or functions
            path, thing = queue.popleft()
            self._parts.append((path, thing))
            if isinstance(thing, types.FunctionType) and queue is reached:
                functions += [(path, thing)] if thing.__closure__ else []
                continue
            self._functions += [path] if isinstance(thing, types.FunctionType) else []
            for step, part, of_class in _members(thing):
                here = (*path, step)
                if id(part) in found:
                    found[id(part)].paths.append(here)
                if isinstance(part, float | np.floating):
                    self.numbers.append(here)
                if isinstance(part, types.ModuleType):
                    self._shared[id(part)] = part
                if id(part) in seen or isinstance(part, LEAVES):
                    continue
                seen.add(id(part))
                if is_float(part):
                    self.places.append(found.setdefault(id(part), Place(part, [here])))
                elif _cannot_move(part):
                    self.others.append(here)
                    continue
                on_class += [here] if of_class else []
                queue.append((here, part))
        leading = self._leading()
        self._on_class = [path for path in on_class if path in leading]

    def _leading(self) -> set[Path]:
        """Return the paths to all that holds an array or a number, in whatever depth, and to these."""
        return {path[:end] for path in self.paths for end in range(len(path) + 1)}

    def copy(self, stand_ins: Mapping[int, Any] | None = None) -> Any:
        """Return a deep copy in which ``stand_ins`` take the places of the arrays whose ids are their keys.

        They stand wherever the object refers to those, under two names as well as under one and in any precision.

        Raises:
            TypeError: a part of the object cannot be copied.
        """
        memo = dict(stand_ins or {})
        copied = self._copied(self.thing, self.thing, memo)
        for path in self._on_class:
            setattr(follow(copied, path[:-1]), path[-1][1], self._copied(follow(self.thing, path), self.thing, memo))
        return copied

    def again(self, copied: Any, *others: Any) -> tuple[Any, ...]:
        """Return deep copies of a copy and of what it may refer to."""
        return self._copied((copied, *others), copied, {})  # type: ignore[no-any-return]

    def _copied(self, part: Any, thing: Any, memo: dict[int, Any]) -> Any:
        """Return a deep copy of a part of ``thing``, the object or a copy of it.

        What ``memo`` has for the id of something stands for that, as deepcopy looks there.
        """
        made_around = [f for path in self._functions if isinstance(f := follow(thing, path), types.FunctionType)]
        tried = memo | self._shared
        try:
            _copy_functions(made_around, tried)
            copied = copy.deepcopy(part, tried)
        except Exception as error:
            if self._share():
                return self._copied(part, thing, memo)
            raise TypeError(
                f"{type(self.thing).__name__} must be such that copy.deepcopy can copy it, because every call works on "
                f"a copy, but that raised {told(error)}. Give the part that it names a __deepcopy__."
            ) from error
        memo |= tried
        return copied

    def _share(self) -> bool:
        """Find what cannot be copied and holds no arrays, so that copies share it; whether there is any."""
        holding, before = self._leading(), len(self._shared)
        for path, part in reversed(self._parts):  # what a thing holds comes before it
            try:
                copy.deepcopy(part, dict(self._shared))
            except Exception:  # noqa: BLE001  (whatever a class of the user's raises when it is copied)
                self._shared |= {} if path in holding else {id(part): part}
        return len(self._shared) > before


def _copy_functions(functions: Sequence[types.FunctionType], memo: dict[int, Any]) -> None:
    """Put copies of ``functions`` into the memo of a deepcopy, made around copies of what they were made around."""
    cells: dict[int, tuple[types.CellType, types.CellType]] = {}
    for function in functions:
        around = tuple(cells.setdefault(id(cell), (cell, types.CellType()))[1] for cell in function.__closure__ or ())
        made = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, around
        )
        made.__kwdefaults__ = function.__kwdefaults__
        memo[id(function)] = made
    for cell, new in cells.values():
        with contextlib.suppress(ValueError):  # nothing was put into it yet
            new.cell_contents = copy.deepcopy(cell.cell_contents, memo)


def follow(thing: Any, path: Path) -> Any:
    """Return the part of ``thing`` at the end of ``path``; ``MISSING`` if there is none."""
    for kind, key in path:
        try:
            if kind == "closure":
                thing = thing.__closure__[thing.__code__.co_freevars.index(key)].cell_contents
            else:
                thing = getattr(thing, key) if kind == "attribute" else thing[key]
        except (AttributeError, LookupError, TypeError, ValueError):
            return MISSING
    return thing


def assign(thing: Any, path: Path, value: Any) -> None:
    """Put ``value`` where ``path`` leads to."""
    owner, (kind, key) = follow(thing, path[:-1]), path[-1]
    if kind == "attribute":
        setattr(owner, key, value)
    else:
        owner[key] = value


def member(owner: Any, name: Any) -> Step | None:
    """Return the step to what ``owner`` calls ``name``, a key of a dict or an attribute; None if nothing is."""
    if isinstance(owner, Mapping):
        return ("item", name) if name in owner else None
    if not isinstance(name, str) or isinstance(owner, list | tuple | np.ndarray):
        return None
    step = ("attribute", name)
    return None if follow(owner, (step,)) is MISSING else step


def text(path: Path) -> str:
    """Return ``path`` as Python would write it."""
    written = {"item": "[{!r}]", "attribute": ".{}", "closure": ".<{}>"}
    return "".join(written[kind].format(key) for kind, key in path).removeprefix(".")


def parsed(name: str) -> Path:
    """Return the path that ``name`` writes; what Python could not read is one attribute."""
    steps: list[Step] = []
    try:
        node = ast.parse(f"_.{name}", mode="eval").body
        while not isinstance(node, ast.Name):
            if isinstance(node, ast.Attribute):
                steps.append(("attribute", node.attr))
            elif isinstance(node, ast.Subscript):
                steps.append(("item", ast.literal_eval(node.slice)))
            else:
                return (("attribute", name),)
            node = node.value
    except (SyntaxError, ValueError):
        return (("attribute", name),)
    return tuple(reversed(steps))


def _members(thing: Any) -> Iterator[tuple[Step, Any, bool]]:
    """Yield the parts of ``thing``, each with its step and with whether its class holds it for all instances."""
    if isinstance(thing, LEAVES) or (type(thing) is np.ndarray and thing.dtype != object):
        return
    if isinstance(thing, types.FunctionType):
        for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # a cell that nothing was put into
                yield ("closure", name), cell.cell_contents, False
        return
    if isinstance(thing, types.MethodType | functools.partial):
        for name in ("__self__",) if isinstance(thing, types.MethodType) else ("func", "args", "keywords"):
            yield ("attribute", name), getattr(thing, name), False
        return
    if isinstance(thing, Mapping):
        for key, part in thing.items():
            yield ("item", key), part, False
    elif isinstance(thing, list | tuple | deque):
        for index, part in enumerate(thing):
            yield ("item", index), part, False
    elif isinstance(thing, np.ndarray) and thing.dtype == object:
        for entry in np.ndindex(thing.shape):
            yield ("item", entry), thing[entry], False
    for name, part, of_class in _attributes(thing):
        yield ("attribute", name), part, of_class


def _attributes(thing: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield the attributes of an object: its own, those in slots, and the data that its classes hold."""
    own = dict(getattr(thing, "__dict__", {}))
    classes = [each for each in type(thing).__mro__ if each.__module__ != "builtins"]
    for each in classes:
        slots = vars(each).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            mangled = f"_{each.__name__.lstrip('_')}{name}" if name[:2] == "__" != name[-2:] else name
            with contextlib.suppress(AttributeError, TypeError):  # nothing was put into it yet, or it is none
                own.setdefault(mangled, getattr(thing, mangled))
    for name, part in own.items():
        yield name, part, False
    for each in classes:
        for name, part in vars(each).items():
            if name not in own and name[:2] != "__" and _is_data(part):
                own[name] = part
                yield name, part, True


def _cannot_move(part: Any) -> bool:
    if isinstance(part, np.ndarray):
        return part.dtype.kind in "iuc"
    return hasattr(part, "__array_namespace__") or type(part).__module__.partition(".")[0] == "torch"


def _is_data(part: Any) -> bool:
    called = callable(part) and not hasattr(part, "forward")
    return not (hasattr(part, "__get__") or isinstance(part, LEAVES) or called)
