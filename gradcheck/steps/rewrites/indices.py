"""Another index or mask in the place of one: what is gathered, scattered or let through. Level 3.

Undoes B6 (what is gathered or scattered at the wrong indices), E5 and C3 (a mask the wrong way round, or another one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.steps.rewrites.table import Array, Make, Operation, Rewrite
from gradcheck.steps.rewrites.values import INDICES, Values


def indices(op: Operation, values: Values) -> Iterator[Rewrite]:
    """Another array of indices, or another mask; a mask the wrong way round."""
    run = op.facts.run
    for k, p in enumerate(op.node.parents if op.node.kind == "op" else ()):
        old = run.value(p)
        if old.dtype.kind not in INDICES or not old.ndim:
            continue
        mistake, stands = _mistake(op, old, p), op.facts.called(p)
        if old.dtype.kind == "b":
            yield Rewrite(mistake, "the other way round", _with(k, lambda mask, *_: ~mask), stands)
        for each in values.keys:
            new = each.value
            if new.shape == old.shape and (new.dtype.kind == "b") == (old.dtype.kind == "b") and (new != old).any():
                make = _with(k, lambda _, node, at, take=each.take: take(node, at))
                yield Rewrite(mistake, op.facts.called(each.node), make, stands)


def _mistake(op: Operation, old: Array, p: int) -> str:
    if old.dtype.kind != "b":
        return "B6"
    return "E5" if op.facts.run.nodes[p].kind == "leaf" else "C3"


def _with(k: int, change: Callable[..., Array]) -> Make:
    """Return the rewrite with operand k changed."""

    def make(node: Any, values: Sequence[Array], at: Any) -> Array:
        new = change(values[k], node, at)
        return np.asarray(node.compute([*values[:k], new, *values[k + 1 :]]))

    return make
