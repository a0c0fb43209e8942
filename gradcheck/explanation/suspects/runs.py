"""A forward or a backward run on watched arrays: as it is, or with some results changed. Level 3."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradcheck.explanation.edits.reach import reached, replaced
from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.objects import changed_in, has_objects
from gradcheck.explanation.suspects.tape import Change, Tape, Watched, plain, tape_among
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["forward_tape", "run", "tape_of"]

SAME = 1e-9  # relative: how well a watched run has to repeat what was claimed
SINGLE = 400  # operations up to which single numbers are watched too: a loop over pixels has too many
MAKERS = ("zeros", "ones", "empty", "full", "arange", "eye", "array", "asarray", "copy", "zeros_like", "ones_like")


class Numpy(types.ModuleType):
    """NumPy, whose functions return watched arrays."""

    def __init__(self, tape: Callable[[], Tape | None]) -> None:
        super().__init__("numpy")
        self._tape_now = tape

    def __getattr__(self, name: str) -> Any:
        """Return NumPy's function of this name, watched."""
        found = getattr(np, name)
        if isinstance(found, np.ufunc):
            return _Ufunc(found, self._tape_now)
        if isinstance(found, type | types.ModuleType) or not callable(found):
            return found

        def called(*args: Any, **kwargs: Any) -> Any:
            result, tape = found(*args, **kwargs), self._tape_now()
            if tape and type(result) is np.ndarray and name not in MAKERS and tape_among((args, kwargs)) is None:
                return tape.watched(*tape.tell(name, args, result, kwargs))
            return tape.watched(result) if tape else result

        return called


class _Ufunc:
    def __init__(self, ufunc: np.ufunc, tape: Callable[[], Tape | None]) -> None:
        self.ufunc, self.tape = ufunc, tape

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result, tape = self.ufunc(*args, **kwargs), self.tape()
        if tape and type(result) is np.ndarray and "out" not in kwargs:
            return tape.watched(*tape.tell(self.ufunc.__name__, args, result, kwargs))
        return tape.watched(result) if tape else result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ufunc, name)


class Twin:
    """A function of the user's, or two that share a class, for whose own functions NumPy makes watched arrays."""

    def __init__(self, call: Any) -> None:
        self.tape: Tape | None = None
        functions = reached(call)
        module = Numpy(lambda: self.tape)
        worlds: dict[int, dict[str, Any]] = {}
        twins: dict[int, types.FunctionType] = {}
        for function in functions:
            world = worlds.setdefault(
                id(function.__globals__),
                {n: module if value is np else value for n, value in function.__globals__.items()},
            )
            twins[id(function)] = types.FunctionType(
                function.__code__, world, function.__name__, function.__defaults__, function.__closure__
            )
            twins[id(function)].__kwdefaults__ = function.__kwdefaults__
            twins[id(function)].__module__ = function.__module__
        for world in worlds.values():
            for name, value in world.items():
                world[name] = twins.get(id(value), value)
        self.function = call
        for function in functions:
            self.function = replaced(self.function, function, twins[id(function)])


def tape_of(evidence: Evidence) -> Tape | None:
    """Return the tape of the backward as it is; None if watching changes what it returns."""
    return evidence.once("tape", "", lambda _: _first(evidence))


def forward_tape(evidence: Evidence) -> Tape:
    """Return the tape of the forward; an empty one if it cannot be watched."""
    return evidence.once("forward tape", "", lambda _: _forward(evidence))


def run(evidence: Evidence, change: Change) -> dict[str, Array] | None:
    """Return the gradients, by path, with some results changed; None where the backward does not run so."""
    twin, scalars = evidence.once("twin", "", lambda _: (None, False))
    tape = _run(evidence, twin, change, scalars=scalars)
    return None if tape is None else tape.gradients


def _first(evidence: Evidence) -> Tape | None:
    for make in (_twin, lambda _: None):
        twin = make(evidence)
        for scalars in (True, False):
            tape = _run(evidence, twin, None, scalars=scalars)
            if tape is None or not tape.steps or not _repeats(tape, evidence):
                continue
            if scalars and len(tape.steps) > SINGLE:
                continue
            evidence.once("twin", "", lambda _, found=(twin, scalars): found)  # type: ignore[misc]
            return tape
    return None


def _twin(evidence: Evidence) -> Twin | None:
    """Return the twin of the backward; with the forward, where that makes the objects whose methods it calls."""
    try:
        made = has_objects(evidence.cache)
        return Twin((evidence.forward, evidence.backward) if made else evidence.backward)
    except Exception:  # noqa: BLE001  (what cannot be copied is watched without copies)
        return None


def _repeats(tape: Tape, evidence: Evidence) -> bool:
    for path, claimed in evidence.claimed.items():
        again = tape.gradients.get(path)
        allowed = SAME * float(np.abs(claimed).max(initial=0))
        if again is None or not np.allclose(again, claimed, rtol=SAME, atol=allowed):
            return False
    return True


def _run(evidence: Evidence, twin: Twin | None, change: Change | None, *, scalars: bool) -> Tape | None:
    tape = Tape(change, scalars)
    forward, backward = evidence.forward, evidence.backward
    if twin is not None:
        forward, backward = twin.function if isinstance(twin.function, tuple) else (forward, twin.function)
    try:
        with np.errstate(all="ignore"):
            _, cache = forward(*evidence.arguments.fresh())
        if twin is not None:
            twin.tape = tape
        with tape, np.errstate(all="ignore"), _watched_inside(cache, tape):
            (cotangent,) = evidence.cotangents([evidence.flat_cotangent])
            returned = backward(_watched_tree(cotangent, tape), _watched_tree(cache, tape))
        tape.returned = returned
        tape.gradients = evidence.claims(_plain_tree(returned))
    except Exception:  # noqa: BLE001  (a backward that does not take watched arrays cannot be watched)
        return None
    finally:
        if twin is not None:
            twin.tape = None
    return tape


def _forward(evidence: Evidence) -> Tape:
    tape = Tape()
    try:
        twin = Twin(evidence.forward)
        twin.tape = tape
        with tape, np.errstate(all="ignore"):
            twin.function(*_watched_tree(evidence.arguments.fresh(), tape))
    except Exception:  # noqa: BLE001  (a forward that does not take watched arrays cannot be watched)
        return Tape()
    return tape


@contextlib.contextmanager
def _watched_inside(cache: Any, tape: Tape) -> Iterator[None]:
    """Watch the arrays that objects in a cache hold, for as long as the backward runs."""
    if not has_objects(cache):
        yield
        return
    with contextlib.ExitStack() as undo:
        # What the backward itself has stored is made plain, after all that was there has been put back.
        undo.callback(changed_in, cache, lambda value: plain(value) if isinstance(value, Watched) else value)
        changed_in(cache, lambda value: tape.watched(value) if type(value) is np.ndarray else value, undo)
        yield


def _watched_tree(tree: Any, tape: Tape) -> Any:
    return rebuild(tree, (tape.watched(leaf) for _, leaf in leaves(tree, "")))


def _plain_tree(tree: Any) -> Any:
    return rebuild(
        tree, (np.array(plain(leaf)) if isinstance(leaf, np.ndarray) else leaf for _, leaf in leaves(tree, ""))
    )
