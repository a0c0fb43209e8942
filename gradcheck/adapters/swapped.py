"""Other values, for one call, for the parameters that a function reads from an object of its own. Level 1."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import aside, copied
from gradcheck.adapters.places import Map
from gradcheck.adapters.signatures import listed
from gradcheck.trees import describe, leaves

__all__ = ["Swapped"]

Read = Callable[[Any], tuple[Any, Any]]


class Swapped:
    """A function, or a bound method, and the dict of parameters that it reads, or of the arrays that its object holds.

    A bound method runs on a copy of its object in which the new arrays stand wherever the old ones stood, so that
    nothing of the object changes. A function, whose objects nobody can know, runs as it is: the values are put into
    the dict and into its arrays, and taken out again.
    """

    def __init__(self, who: str, f: Callable[..., Any], params: MutableMapping[str, Any]) -> None:
        self.who, self.f, self.params = who, f, params
        self._reacts = False

    def __call__(self, read: Read, given: Any, rest: Sequence[Any]) -> tuple[Any, Any]:
        """Return what ``read`` makes of what the function returns for the parameters ``given`` and other arguments.

        Raises:
            ValueError: ``given`` has other keys than the parameters, or the loss does not react to them.
        """
        if not isinstance(given, Mapping) or set(given) != set(self.params):
            raise ValueError(
                f"{self.who} must be given params with the keys {listed(map(repr, self.params))}, but was given "
                f"{describe(given)}. Pass the object's own dict, or a copy of it, as the first argument."
            )
        loss, grads = self._run(read, given, rest)
        if not self._reacts and any(np.any(leaf) for _, leaf in leaves(grads, "") if leaf is not None):
            self._must_react(read, given, rest, loss)
        return loss, grads

    def _run(self, read: Read, given: Mapping[str, Any], rest: Sequence[Any]) -> tuple[Any, Any]:
        arrays = {id(own): given[key] for key, own in self.params.items() if isinstance(own, np.ndarray)}
        if not isinstance(self.f, types.FunctionType | types.BuiltinFunctionType):
            held = Map(self.f)  # anew each time, as the object may hold others by now
            if arrays.keys() <= {id(place.array) for place in held.places}:
                own = copy.copy(self.params)
                own.update(given)
                return read(held.copy({**arrays, id(self.params): own})(*rest))
        with _in_place(self.params, given):
            return read(self.f(*rest))

    def _must_react(self, read: Read, given: Mapping[str, Any], rest: Sequence[Any], loss: Any) -> None:
        rng = np.random.default_rng(0)
        moved = {key: aside(value, rng) if isinstance(value, np.ndarray) else value for key, value in given.items()}
        try:
            with np.errstate(all="ignore"):
                other, _ = self._run(read, moved, copied(tuple(rest)))
        except Exception:  # noqa: BLE001  (it may refuse other values; then it has seen them)
            return
        if np.array_equal(loss, other):
            raise ValueError(
                f"{self.who} must read its parameters from params, but its loss stays {float(loss)} when they change. "
                "Pass the dict whose arrays it reads, with float64 arrays, or use from_layer."
            )
        self._reacts = True


@contextmanager
def _in_place(params: MutableMapping[str, Any], given: Mapping[str, Any]) -> Iterator[None]:
    """Hold the values of ``given`` in ``params`` and in its arrays, and put everything back bit by bit.

    An array that cannot hold them exactly (of another precision, read-only, or sharing memory with another) is left
    alone: its entry is exchanged.
    """
    own = dict(params)
    kept = {key: (array, array.copy()) for key, array in own.items() if _can_hold(array, given[key], own)}
    try:
        params.update({key: value for key, value in given.items() if key not in kept})
        for key, (array, _) in kept.items():
            array[...] = given[key]
        yield
    finally:
        for array, before in kept.values():
            array[...] = before
        params.clear()
        params.update(own)


def _can_hold(array: Any, value: Any, own: Mapping[str, Any]) -> bool:
    if not (isinstance(array, np.ndarray) and isinstance(value, np.ndarray) and array.flags.writeable):
        return False
    others = [other for other in own.values() if isinstance(other, np.ndarray) and np.may_share_memory(other, array)]
    return array.dtype == value.dtype and array.shape == value.shape and len(others) == 1
