"""Whether a second call of a backward gives what the first one gave, and if not, why. Level 3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradcheck.hints import Sentence
from gradcheck.trees import leaves, norm
from gradcheck.verdict.sketch import Sketch, sketch
from gradcheck.verdict.trial import Breach, Trial, apart, each

__all__ = ["repeatable"]

DRIFT = 1e-9  # of the output: two calls of one forward that differ by more are not the same
GROWN = 1e-2  # of a gradient: what is added to it with every call, where that is its own size, is more


def repeatable(trial: Trial) -> Iterator[Breach]:
    """Call the backward again: with a fresh cache, and twice more with that."""
    who = f"{trial.who} must give the same gradients when it is called again with the same cache"
    try:
        if _steps(trial):
            yield Breach(
                None,
                Sentence(
                    f"{trial.who} must leave what the forward reads as it is, but after it was called the same "
                    "arguments give another output.",
                    "Return the gradients, and change the weights outside of it.",
                ),
            )
            return
        with np.errstate(all="ignore"):
            _, cache = trial.forward(*trial.arguments.fresh())
        first, again, third = (trial.answer(each(np.copy, trial.cotangent), cache) for _ in range(3))
    except Exception as error:  # noqa: BLE001  (whatever another call raises, the first did not)
        yield Breach(None, Sentence(f"{who}, but it raised {type(error).__name__}.", "Leave the cache as it is."))
        return
    for path, off in trial.differing(trial.sketches, again):
        if path in first and path in again and path in third and _grows(first[path], again[path], third[path]):
            what = "grows by as much with every call, so it is added to what earlier calls left"
            hint = "Set the accumulator to zero first, or assign to it."
        else:
            what = f"differs by {off:.2g} of its norm"
            hint = "Look for an accumulator that is not reset, a changed cache, or random numbers."
        yield Breach(path, Sentence(f"{who}, but d{path} {what}.", hint))


def _steps(trial: Trial) -> bool:
    """Whether the forward is what it was from call to call, and another than it was before the backward was called."""
    now, again = (trial.forward(*trial.arguments.fresh())[0] for _ in range(2))
    return not _is_kept(now, trial.out) and _is_kept(again, now)


def _is_kept(now: Any, before: Any) -> bool:
    pairs = zip(leaves(now, "out"), leaves(before, "out"), strict=True)
    return all(off <= DRIFT * size for off, size in (apart(sketch(a), sketch(b)) for (_, a), (_, b) in pairs))


def _grows(first: Sketch, again: Sketch, third: Sketch) -> bool:
    """Whether each of three gradients is the one before plus the same, and that is no small part of it."""
    more, still = again.numbers - first.numbers, third.numbers - again.numbers
    added = norm(more)
    return added > GROWN * first.norm and norm(still - more) <= GROWN * added
