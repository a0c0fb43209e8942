"""Which line of a backward is the first wrong one, why, and what every line holds: all in one time. Level 3.

The pair is recorded once (run.py). One sweep back gives the true cotangents (truth.py), which are found again among
the values of the backward (match.py). The place where a true one makes all wrong gradients right says where (blame.py);
what makes it of what stands there says why (paths.py, search.py, lapses.py). Where nothing can be recorded the returned
gradients are all there is to look at (returned.py).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.errors import told as raised
from gradcheck.report import Answers, Steps
from gradcheck.steps.blame import Blame, Line, Pin, Replay
from gradcheck.steps.claims import Case, case_of, like
from gradcheck.steps.guard import Budget, Exceeded, guarded
from gradcheck.steps.lapses import lapses
from gradcheck.steps.listing import listing
from gradcheck.steps.match import Sight
from gradcheck.steps.measured import Measured
from gradcheck.steps.paths import Composition
from gradcheck.steps.ranking import RETURNED, explanations, merged, ranked
from gradcheck.steps.returned import told
from gradcheck.steps.run import Run, Unrecorded, traced
from gradcheck.steps.search import Search
from gradcheck.steps.truth import confirmed
from gradcheck.steps.words import Cause
from gradcheck.trees import Array, leaves

__all__ = ["explain"]

T = TypeVar("T")
SECONDS = 5.0  # for everything,
SEARCHED = 1.5  # of which for what could be done otherwise,
SWEPT = 0.5  # and for sweeps with a slip
APART = (0.5, 0.05)  # sizes of the point to the second one; the smaller where the forward refuses the other
UNSEEN = "the forward calls code that cannot be recorded{}, so no line of the backward can be compared"
BESIDE = 0.3  # of each number, at most, to the second point where nothing is recorded
LATE = "the time was over"
CONCLUDED = {"A4", "A5", "C1", "E5"}  # mistakes that a factor of a whole gradient is taken for
UNLIKE = "no mistake of the catalogue, undone, gives the measured gradients at two points"


@np.errstate(all="ignore")
def explain(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    arguments: Arguments,
    cotangent: Any,
    wrong: Sequence[str] = (),
    *,
    seed: int = 0,
    seconds: float = SECONDS,
) -> Answers:
    """Return why the gradients at ``wrong`` are wrong, and what each line of the backward holds.

    Never raises but for an interrupt; what goes wrong in here is told as ``silence``, with what was found until then.
    """
    inquest = Inquest(forward, backward, arguments, cotangent, tuple(wrong), seed, time.perf_counter() + seconds)
    recording = inquest.attempt(lambda: Recording(inquest, None))
    steps = _marked(inquest, recording)  # before anything that calls the user's code again, which may take the time
    causes: list[Cause] = []
    if wrong:
        causes += inquest.attempt(lambda: inquest.facts(recording)) or []
        if recording and recording.scalar and any(fact.mistake == "C5" for fact in causes):
            recording = inquest.attempt(lambda: Recording(inquest, inquest.bars)) or recording
            steps = _marked(inquest, recording) or steps
    if wrong and recording:
        causes += inquest.attempt(recording.causes) or []
    chosen = ranked(causes, inquest.wrong)
    silence = None if chosen or not wrong else "; ".join([UNLIKE, *inquest.notes])
    return Answers(tuple(explanations(chosen, steps)), silence, steps)


def _marked(inquest: Inquest, recording: Recording | None) -> Steps:
    """Return the lines with their marks; none where nothing was recorded, or the time is over."""
    found = inquest.attempt(lambda: listing(recording.blame, recording.pins())) if recording else None
    return found or Steps()


@dataclass
class Inquest:
    """One pair at one point, what is wrong with it, and what went wrong in finding out why."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]
    arguments: Arguments
    cotangent: Any
    wrong: tuple[str, ...]
    seed: int
    until: float
    notes: list[str] = field(default_factory=list)

    def attempt(self, stage: Callable[[], T]) -> T | None:
        """Return what a stage finds; None where it raises, or there is no time for it: then that is noted."""
        if time.perf_counter() > self.until:
            self._note(LATE)
            return None
        try:
            with guarded(self.until):
                return stage()
        except KeyboardInterrupt:
            raise
        except Exceeded:
            self._note(LATE)
        except Unrecorded as lost:
            self._note(str(lost))
        except BaseException as problem:  # noqa: BLE001  (the user's code may raise anything, and the verdict must stand)
            self._note(raised(problem))
        return None

    def _note(self, trouble: str) -> None:
        if trouble not in self.notes:
            self.notes.append(trouble)

    @property
    def bars(self) -> list[Array]:
        """The leaves of the cotangent."""
        return [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(self.cotangent, "dout")]

    def recorded(self, arguments: Arguments, bars: list[Array] | None, other: int = 0) -> Run:
        """Return a recording of the pair; the cotangent is drawn if there is none."""
        budget = Budget.of(self.until - time.perf_counter())
        return traced(self.forward, self.backward, arguments, bars, seed=self.seed + other, budget=budget)

    def moved(self, size: float) -> Arguments:
        """Return the arguments at another point, so many sizes of the point away."""
        point, rng = self.arguments.point, np.random.default_rng((self.seed, 11))
        return self.arguments.moved(point + size * np.sqrt(np.mean(point**2)) * rng.standard_normal(point.size))

    def facts(self, recording: Recording | None) -> list[Cause]:
        """Return what the returned gradients tell by themselves."""
        case = self.case(self.arguments, self.bars, recording.truth(self.bars) if recording else None)
        other = recording.elsewhere if recording else self._beside
        found = told(case, lambda: self.attempt(other))
        causes = [Cause(t.mistake, t.paths, None, "", f"is {t.what}", RETURNED, None, t.verified) for t in found]
        return recording.placed(causes) if recording else causes

    def _beside(self) -> Case:
        """Return the case at another point, at which what is zero stays zero."""
        rng = np.random.default_rng((self.seed, 17))
        factors = 1 + BESIDE * rng.uniform(-1, 1, self.arguments.layout.size)
        return self.case(self.arguments.moved(self.arguments.point * factors), self.bars, None)

    def case(self, arguments: Arguments, bars: Sequence[Array], truth: dict[str, Measured] | None) -> Case:
        """Return what there is to know of the pair at a point; the truth is measured if it is not known."""
        cotangent = like(self.cotangent, bars)
        return case_of(self.forward, self.backward, arguments, cotangent, self.wrong, truth, self.seed)


class Recording:
    """The recording of a pair, and what it shows."""

    def __init__(self, inquest: Inquest, bars: list[Array] | None) -> None:
        self.inquest, self.given = inquest, bars
        bars = bars if bars is not None or sum(bar.size for bar in inquest.bars) == 1 else inquest.bars
        self.run: Run = inquest.recorded(inquest.arguments, bars)
        self.sight = Sight(self.run)
        if not confirmed(inquest.forward, self.run, self.sight.bars, inquest.seed):
            raise Unrecorded(UNSEEN.format(_lost(self.run)))
        self.blame = Blame(self.sight)

    @property
    def scalar(self) -> bool:
        """Whether the output is a single number; then the cotangent of the recording is 1."""
        return bool(self.sight.scalar)

    def truth(self, bars: Sequence[Array], sight: Sight | None = None) -> dict[str, Measured]:
        """Return the true gradients of what is wrong for a cotangent: that of the recording, or another number."""
        sight = sight or self.sight
        unit = float(bars[0].ravel()[0] / sight.run.cotangent[0].ravel()[0]) if self.scalar else 1.0
        truths = {path: np.asarray(sight.truth(path)) for path in self.inquest.wrong}
        return {path: Measured(truth.shape, unit * truth.ravel()) for path, truth in truths.items()}

    def elsewhere(self) -> Case | None:
        """Return the case at the second point."""
        if self.second is None:
            return None
        sight, run = self.second.sight, self.second.run
        bars = self.inquest.bars if self.scalar else run.cotangent
        return self.inquest.case(run.arguments, bars, self.truth(bars, sight))

    def made(self, paths: Sequence[str]) -> Line | None:
        """Return the line on which the only one of some gradients is made."""
        result = self.run.results.get(paths[0], -1) if len(paths) == 1 else -1
        return next(iter(self.blame.lines([result])), None) if result >= 0 else None

    def placed(self, causes: Sequence[Cause]) -> list[Cause]:
        """Return what is told of whole gradients, on the line that makes the only one; nothing that fits by chance.

        A factor may be read into any gradient: it counts where that line is to blame.
        """
        blamed = {line for pin in self.blame.pins for line in self.blame.blamed(pin)[0]}
        found = [cause._replace(line=self.made(cause.paths)) for cause in causes]
        return [cause for cause in found if cause.mistake not in CONCLUDED or cause.line in blamed]

    @functools.cached_property
    def second(self) -> Replay | None:
        """The recording at another point; None where there is none."""
        inquest = self.inquest
        for size in APART:
            found = inquest.attempt(functools.partial(_sight_at, inquest, size, self.given))
            if found is not None and all(np.isfinite(bar).all() for bar in found.bars.nodes.values()):
                return Replay(found)
        return None

    def pins(self) -> list[Pin]:
        """Return the pins of what the check found wrong."""
        return [pin for pin in self.blame.pins if set(pin.paths) & set(self.inquest.wrong)]

    def causes(self) -> list[Cause]:
        """Return what gives the claimed gradients: on a line of the backward, or else in the forward's sweep."""
        inquest, second = self.inquest, self.second
        until = min(time.perf_counter() + SEARCHED, inquest.until)
        search = Search(self.blame, second, until)
        parts = Composition(self.blame, search.facts, second)
        found: list[Cause] = []
        for pin in self.pins():
            for source in (parts.causes, search.causes):
                found += inquest.attempt(functools.partial(_listed, source, pin)) or []
        for pin in self.pins():
            if not {path for cause in found for path in cause.paths} >= set(pin.paths):
                found += inquest.attempt(functools.partial(_listed, search.anywhere, pin)) or []
        if not {path for cause in found for path in cause.paths} >= set(self.blame.wrong):
            until = min(time.perf_counter() + SWEPT, inquest.until)
            found += inquest.attempt(lambda: list(lapses(self.blame, second, until))) or []
        return merged(found)


def _lost(run: Run) -> str:
    """Return where a value leaves the recording or comes in from elsewhere, as a part of a sentence; "" if unknown."""
    places = sorted((line, function) for function, line, _ in run.tape.lost)
    places += [(run.nodes[i].site.line, run.nodes[i].site.function) for i in run.tape.entered if i < run.start]
    return f" in line {places[0][0]} of {places[0][1]}" if places else ""


def _sight_at(inquest: Inquest, size: float, bars: list[Array] | None) -> Sight:
    """Return what is seen at another point, so many sizes of the point away."""
    return Sight(inquest.recorded(inquest.moved(size), bars, other=1))


def _listed(source: Callable[[Pin], Iterable[Cause]], pin: Pin) -> list[Cause]:
    return list(source(pin))
