"""Whether gradients lie in memory that somebody else has too, where a later write would corrupt them. Level 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.hints import Sentence
from gradcheck.report import Verdict
from gradcheck.trees import Array, leaves
from gradcheck.verdict.trial import Breach, Run, is_array, moving_arrays

__all__ = ["shared"]

WORK = 1 << 16  # steps at most to tell whether two views with odd strides have an element in common
NAMED = 3  # gradients at most


def shared(who: str, gradients: Mapping[str, Array | None], first: Run, arguments: Arguments) -> Iterator[Breach]:
    """Remark on gradients that share memory with the cotangent, an argument, the cache or one another.

    No number is wrong, and code that only reads gradients may do so to save a copy. Where one is written into, as
    ``dx += …`` does, the other changes too.
    """
    own = [(f"d{path}", leaf) for path, leaf in gradients.items() if leaf is not None and leaf.size]
    cotangents, cached = (leaves(tree, name) for tree, name in ((first.passed, "dout"), (first.cache, "cache")))
    others = [
        *((path, leaf) for path, leaf in cotangents if is_array(leaf)),
        *moving_arrays(first.args, arguments).items(),
        *((path, leaf) for path, leaf in cached if is_array(leaf)),
    ]
    if pairs := _overlapping([*own, *others], len(own)):
        named = ", ".join(f"{gradient} with {other}" for gradient, other in pairs[:NAMED])
        more = f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
        yield Breach(
            None,
            Sentence(
                f"{who} returns memory that is not its own alone: {named}{more}.", "Copy what is written into later."
            ),
            Verdict.PASS,
        )


def _overlapping(named: Sequence[tuple[str, Array]], first: int) -> list[tuple[str, str]]:
    """Return of each of the ``first`` arrays that shares memory with another one with which.

    Arrays are sorted by where they begin, so that each is compared with those alone that reach so far.
    """
    found: set[tuple[int, int]] = set()
    reaching: list[tuple[int, int]] = []  # (end, number)
    for low, high, number in sorted((*np.lib.array_utils.byte_bounds(array), i) for i, (_, array) in enumerate(named)):
        reaching = [(end, other) for end, other in reaching if end > low]
        for _, other in reaching:
            one, two = sorted((number, other))
            if one < first and _share(named[one][1], named[two][1]):
                found.add((two, one) if two < first else (one, two))
        reaching.append((high, number))
    partners: dict[int, int] = {}
    for one, two in sorted(found, key=lambda pair: (pair[0], pair[1] < first, pair[1])):
        partners.setdefault(one, two)  # another's memory rather than that of another gradient
    return [(named[one][0], named[two][0]) for one, two in partners.items()]


def _share(one: Array, other: Array) -> bool:
    try:
        return np.shares_memory(one, other, max_work=WORK)  # type: ignore[arg-type]  # any number, says NumPy
    except np.exceptions.TooHardError:
        return True
