"""Between which two layers of a chain an error enters on the way back. Level 0.

A backward pass runs from the last layer to the first. Where the gradients of the later layers are right and those of
the earlier ones are wrong, the mistake lies in between. Layers are known by the numbers in the names of their
parameters: ``W1``, ``params['b2']``, ``layers[0][1]``, ``params['C3'][0]``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["entrance"]

NUMBER = re.compile(r"(\d+)")
MANY = 4  # names of one layer that a sentence holds


def entrance(wrong: Mapping[str, bool]) -> str | None:
    """Return where an error enters, as a sentence; None where the names do not tell.

    ``wrong`` says of every argument, by its path and in the order of the forward, whether its gradient is wrong.
    """
    layers: dict[int, list[str]] = {}
    for path in wrong:
        if (layer := _layer(path)) is not None:
            layers.setdefault(layer, []).append(path)
    order = sorted(layers)
    all_wrong = [all(wrong[path] for path in layers[layer]) for layer in order]
    right = [not any(wrong[path] for path in layers[layer]) for layer in order]
    for first in range(1, len(order)):
        if all(right[first:]) and right.count(True) == len(order) - first and all(all_wrong[: first - 1]):
            last = layers[order[first - 1]]
            if all_wrong[first - 1]:
                return f"{_list(layers[order[first]])} right, {_list(last)} wrong: the error enters between them."
    return None


def _layer(path: str) -> int | None:
    """Return the number of the layer that a path names: the first one in it."""
    found = NUMBER.search(path)
    return int(found[1]) if found else None


def _list(paths: list[str]) -> str:
    names = [f"d{path}" for path in paths]
    if len(names) > MANY:
        names = [*names[: MANY - 1], f"{len(names) - MANY + 1} more"]
    if len(names) == 1:
        return f"{names[0]} is"
    return f"{', '.join(names[:-1])} and {names[-1]} are"
