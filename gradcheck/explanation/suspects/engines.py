"""An engine of nodes, each with a function that hands its gradient on: a node visited twice, a gradient replaced.

Level 3. No source is needed: the functions that the nodes hold count their calls, and the nodes tell what is stored in
their attributes. Run again, each function counts once, or what was replaced is added to.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.objects import changed_in, has_objects, is_object
from gradcheck.explanation.suspects.sight import is_sharp
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array

__all__ = ["suspects"]

SAME = 1e-9  # relative: what a change may do to a gradient that was right
MOST = 12  # places that store, each of which is tried
Place = tuple[types.CodeType, int]


class Watch:
    """What the nodes do in one run.

    Attributes:
        last: for each function that a node holds, in the order of the walk, how often it was called before; then only
            its last call counts. None to count.
        added: the place whose values are added to what was there; None for none.
    """

    def __init__(self, last: Counter[int] | None = None, added: Place | None = None) -> None:
        self.last, self.added = last, added
        self.calls: Counter[int] = Counter()
        self.numbers: dict[int, int] = {}
        self.nodes: list[tuple[Any, type]] = []
        self.kinds: dict[type, type] = {}
        self.stored: dict[Place, int] = defaultdict(int)
        self.fresh: set[tuple[int, str]] = set()

    def taken(self, value: Any) -> Any:
        """Return a function whose calls are counted, or a node that tells what is stored in it."""
        if isinstance(value, types.FunctionType):
            return self._counted(value, self.numbers.setdefault(id(value), len(self.numbers)))
        if is_object(value) and _stores_plainly(type(value)) and type(value) not in self.kinds.values():
            kind = type(value)
            if kind not in self.kinds:
                self.kinds[kind] = type(
                    kind.__name__, (kind,), {"__module__": kind.__module__, "__setattr__": self._set}
                )
            self.nodes.append((value, kind))
            object.__setattr__(value, "__class__", self.kinds[kind])
        return value

    def _counted(self, function: types.FunctionType, number: int) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any) -> Any:
            self.calls[number] += 1
            if self.last is None or self.calls[number] >= self.last[number]:
                return function(*args)
            return function(*(0 * each for each in args)) if args else None

        return call

    @property
    def _set(self) -> Callable[[Any, str, Any], None]:
        def store(node: Any, name: str, value: Any) -> None:
            self.store(node, name, value)

        return store

    def left(self) -> None:
        """Give the nodes their classes back."""
        for node, kind in self.nodes:
            object.__setattr__(node, "__class__", kind)

    def store(self, node: Any, name: str, value: Any) -> None:
        """Store an attribute of a node, or what it is to be instead."""
        old = vars(node).get(name)
        if _is_number(old) and _is_number(value) and np.shape(old) == np.shape(value):
            frame = sys._getframe(2)  # noqa: SLF001  (there is no other way to know who stores)
            place = (frame.f_code, frame.f_lasti)
            if (id(node), name) in self.fresh and np.any(old):
                self.stored[place] += 1
                if place == self.added:
                    value = old + value
            self.fresh.add((id(node), name))
        object.__setattr__(node, name, value)


class Ran(NamedTuple):
    """One run, and the gradients that came out."""

    watch: Watch
    gradients: dict[str, Array]


def suspects(evidence: Evidence) -> Iterator[Suspicion]:
    """Yield nodes that hand on twice (E2), and gradients that replace those of other paths (E1)."""
    if not evidence.wrong or not has_objects(evidence.cache):
        return
    if not all(is_sharp(evidence, path) for path in evidence.wrong):
        return
    first = _run(evidence, Watch())
    if first is None:  # what it gives may depend on the order of a set of nodes, and need not be the same again
        return
    often = sum(count > 1 for count in first.watch.calls.values())
    repaired = _repaired(evidence, lambda: Watch(last=first.watch.calls)) if often else None
    if repaired is not None:
        sentence = (
            f"Of the functions that hand a gradient on, {often} are called more than once. "
            "Visit every node of the graph once, when all that use it have been visited."
        )
        yield Suspicion("E2", evidence.wrong, sentence, repaired, 0.2)
        return
    for place in list(first.watch.stored)[:MOST]:
        repaired = _repaired(evidence, lambda place=place: Watch(added=place))  # type: ignore[misc]
        if repaired is not None:
            code, at = place
            line = list(code.co_positions())[at // 2][0]
            sentence = (
                f"line {line} of {code.co_name} replaces the gradient that other uses of the same node have left "
                "there. Add to it: write +=."
            )
            yield Suspicion("E1", evidence.wrong, sentence, repaired, 0.2)
            return


def _repaired(evidence: Evidence, watch: Callable[[], Watch]) -> dict[str, Array] | None:
    """Return the true gradients, by path, that a change gives, and not by the chance of one order of the nodes."""
    found: dict[str, Array] = {}
    for _ in range(2):
        ran = _run(evidence, watch())
        if ran is None or not _is_true(evidence, ran.gradients):
            return None
        found = {path: ran.gradients[path] for path in evidence.wrong}
    return found


def _run(evidence: Evidence, watch: Watch) -> Ran | None:
    try:
        with np.errstate(all="ignore"):
            _, cache = evidence.forward(*evidence.arguments.fresh())
            (cotangent,) = evidence.cotangents([evidence.flat_cotangent])
            with contextlib.ExitStack() as undo:
                undo.callback(watch.left)
                changed_in(cache, watch.taken, undo)
                returned = evidence.backward(cotangent, cache)
            return Ran(watch, evidence.claims(returned))
    except Exception:  # noqa: BLE001  (a backward that does not take watched nodes cannot be watched)
        return None


def _stores_plainly(kind: type) -> bool:
    return all("__setattr__" not in vars(each) for each in kind.__mro__ if each is not object)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | np.floating) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


def _is_true(evidence: Evidence, gradients: dict[str, Array]) -> bool:
    """Whether the wrong gradients are true, and the right ones as they were."""
    return all(
        path in gradients
        and (evidence.is_true(path, gradients[path]) if path in evidence.wrong else _is_near(gradients[path], old))
        for path, old in evidence.claimed.items()
    )


def _is_near(new: Array, old: Array) -> bool:
    return float(np.linalg.norm(new - old)) <= SAME * float(np.linalg.norm(old))
