"""Which of several causes are said, in which order, and which of them cannot be told apart. Level 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gradcheck.mistakes import CATALOGUE
from gradcheck.report import Explanation, Steps
from gradcheck.steps.words import Cause, said

__all__ = ["RETURNED", "explanations", "merged", "ranked"]

MOST = 3  # explanations that a person reads
RETURNED = (2.0,)  # the cost of what the returned gradients tell by themselves: a rewrite of the operation is simpler
MEANT = "I3"  # what may be meant and no mistake: it is said whatever else is
SEEN = {"B5", "C5", "E2", "G4", "H1", "H3"}  # mistakes that are seen of a returned gradient itself, and not concluded


def merged(causes: Sequence[Cause]) -> list[Cause]:
    """Return the causes, those that say the same of several arguments as one."""
    alike: dict[tuple[str, str], list[Cause]] = {}
    for cause in causes:
        alike.setdefault((cause.mistake, cause.should), []).append(cause)
    return [some[0]._replace(paths=_of_all(some)) for some in alike.values()]


def _of_all(causes: Sequence[Cause]) -> tuple[str, ...]:
    return tuple(sorted({path for cause in causes for path in cause.paths}))


def ranked(causes: Sequence[Cause], wrong: Sequence[str]) -> list[Cause]:
    """Return the causes to be said: what explains most first, and of that what assumes least.

    What a mistake explains is all that it explains on the lines where it was found: it may be made for each gradient
    by itself. A further one is said for what the ones before leave open, or where it is another mistake and assumes no
    more.
    """
    seen = {(cause.mistake, path) for cause in causes if _is_seen(cause) for path in cause.paths}
    certain = [cause for cause in causes if cause.verified or cause.mistake == "H1"]
    placed = {(cause.mistake, path) for cause in certain if cause.line for path in cause.paths}

    def explained(cause: Cause) -> set[str]:
        return {path for path in wrong if path in cause.paths or (cause.line and (cause.mistake, path) in placed)}

    def order(cause: Cause) -> tuple[Any, ...]:
        told = {path for _, path in seen}
        agrees = all((cause.mistake, path) in seen for path in cause.paths if path in told)
        return (
            cause not in certain,
            -len(explained(cause)),
            -len(set(cause.paths) & set(wrong)),
            not agrees,
            cause.cost,
        )

    left, chosen = set(wrong), list[Cause]()
    for cause in sorted(causes, key=order):
        paths = tuple(path for path in cause.paths if path in wrong)
        if len(chosen) == MOST or not paths:
            continue
        if left & set(paths) or cause.mistake == MEANT or _rivals(cause._replace(paths=paths), chosen):
            chosen.append(_with_line(cause, causes)._replace(paths=paths))
            left -= set(paths)
    return chosen


def _rivals(cause: Cause, chosen: Sequence[Cause]) -> bool:
    """Whether a cause is another mistake that explains as much as the first one does, and assumes no more."""
    first, other = chosen[0], cause.mistake not in {each.mistake for each in chosen}
    return other and cause.verified and set(cause.paths) >= set(first.paths) and cause.cost <= first.cost


def _is_seen(cause: Cause) -> bool:
    return cause.mistake in SEEN and cause.cost == RETURNED


def _with_line(cause: Cause, causes: Sequence[Cause]) -> Cause:
    """Return the same mistake as a line says it, where a cause knows of none."""
    same = (each for each in causes if each.mistake == cause.mistake and set(each.paths) >= set(cause.paths))
    return cause if cause.line else next((each for each in same if each.verified and each.line), cause)


def explanations(causes: Sequence[Cause], steps: Steps) -> Iterator[Explanation]:
    """Yield the causes in words; of those that cannot be told apart, on which inputs they could.

    What is said of no line stands at the first that is known for what it ought to be, or else that is wrong.
    """
    marked = sorted((step for step in steps if step.verdict == "wrong"), key=lambda step: step.cotangent_of is None)
    wrong = next(((step.file, step.line) for step in marked), None)
    for cause in causes:
        others = [each for each in causes if MEANT not in (each.mistake, cause.mistake)]
        rivals = [each for each in others if each.mistake != cause.mistake and set(each.paths) & set(cause.paths)]
        otherwise = CATALOGUE[rivals[0].mistake].visible if rivals else ""
        line = cause.line or (None if wrong else cause.forward)
        file, number = (line.code.co_filename, line.number) if line else wrong or ("", 0)
        yield Explanation(cause.mistake, cause.paths, said(cause), cause.verified, file, number, otherwise)
