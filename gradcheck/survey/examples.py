"""One point of a survey, and what became of it. Level 5."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from gradcheck.adapters.arrays import at_home
from gradcheck.arguments import Arguments, name_of
from gradcheck.calls import Calls, TookTooLongError, answering, raised_inside, within
from gradcheck.check import decide, examine_backward
from gradcheck.complexes import joined
from gradcheck.errors import told
from gradcheck.report import Finding, Report, Verdict
from gradcheck.shapes.specification import Point, Sizes, Specification
from gradcheck.trees import is_float, leaves, rebuild
from gradcheck.verdict.judge import DROWNED, VACUOUS
from gradcheck.verdict.laws import match_gradients

__all__ = ["REFUSED", "SEEDS", "Example", "Pair", "is_blank"]

SEEDS = 1_000_000  # of points: few digits, as a person pastes them
REFUSED = "refused"  # beside the three verdicts: the forward raised, so that there is nothing to compare with


@dataclass(frozen=True)
class Example:
    """A point, and what was found there.

    Attributes:
        why: why these sizes were drawn, such as ``generic`` or ``empty``.
        sizes: what was chosen for every size and setting.
        seed: of the values, and of the check.
        verdict: one of the three, or ``REFUSED``.
        report: of the check; None where the forward refused.
        refusal: what the forward raised; None where it did not.
    """

    why: str
    sizes: Sizes
    seed: int
    verdict: str
    report: Report | None
    refusal: Exception | None = None

    def undecided(self, shown: Collection[str]) -> bool:
        """Whether a gradient is undecided there, but for those without an effect there that are ``shown`` elsewhere."""
        findings = self.report.arguments.items() if self.report is not None else ()
        open_ = {path: finding for path, finding in findings if finding.verdict is Verdict.INCONCLUSIVE}
        return any(not (path in shown and is_blank(finding)) for path, finding in open_.items())


def is_blank(finding: Finding) -> bool:
    """Whether a point says nothing of a gradient: it has no effect there, or one that drowns in rounding."""
    reason = finding.reason or ""
    return reason == VACUOUS or reason.endswith(DROWNED)


class Given(NamedTuple):
    """What a forward gives at a point, and whether its arrays are so ``empty`` that there is nothing to measure."""

    out: Any
    cache: Any
    empty: bool


@dataclass(frozen=True)
class Pair:
    """A forward and a backward, the specification of their arguments, and the settings of their checks."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    spec: Specification
    settings: Mapping[str, Any]

    def examine(self, sizes: Sizes, seed: int, why: str = "") -> Example:
        """Return what a check finds at a point.

        What the backward raises where the forward does not is a failure.

        Raises:
            TypeError, ValueError: the check refuses a setting, or what the forward returns.
        """
        given = self._tried(sizes, seed)
        if isinstance(given, Exception):
            return Example(why, sizes, seed, REFUSED, None, given)
        point = self.spec.point(sizes, seed)  # the forward may have written into the other
        try:
            if given.empty:
                report = self._of_laws(point, given)
            else:
                report = examine_backward(self.forward, self.backward, point, seed=seed, **self.settings)
        except Exception as error:
            if not raised_inside(error):
                raise
            report = self._raised(point, error)
        report = replace(report, replay=self._replay(report, point))
        return Example(why, sizes, seed, str(report.verdict), report)

    def verdict(self, sizes: Sizes, seed: int) -> str:
        """Return the verdict of :meth:`examine` alone, in less time where it is a failure.

        Raises:
            TypeError, ValueError: as :meth:`examine`.
        """
        given = self._tried(sizes, seed)
        if isinstance(given, Exception):
            return REFUSED
        point = self.spec.point(sizes, seed)
        settings = {name: value for name, value in self.settings.items() if name != "hints"}
        try:
            if given.empty:
                return str(self._of_laws(point, given).verdict)
            return str(decide(self.forward, self.backward, point, seed=seed, **settings))
        except Exception as error:
            if not raised_inside(error):
                raise
            return str(Verdict.FAIL)

    def _tried(self, sizes: Sizes, seed: int) -> Given | Exception:
        """Return what the forward gives at a point, or what it raises there."""
        point, calls, timeout = self.spec.point(sizes, seed), Calls(), self.settings.get("timeout")
        arrays = [leaf for _, leaf in leaves(tuple(point), "args") if isinstance(leaf, np.ndarray)]
        try:
            with _quiet(empty=any(leaf.size == 0 for leaf in arrays)):
                returned = within(timeout, calls, lambda: calls.called(self.forward)(*point))
        except TookTooLongError:  # the check waits as long once more, and says what it waited for
            returned = None
        except Exception as error:
            if not raised_inside(error):
                raise
            return error
        is_pair = isinstance(returned, tuple) and len(returned) == 2
        out, cache = returned if is_pair else (np.ones(1), None)  # the check refuses what is none
        nothing = not any(np.size(leaf) for _, leaf in leaves(out, "out"))
        moving = [is_float(leaf) or np.iscomplexobj(leaf) for leaf in arrays]
        empty = any(leaf.size == 0 and (moves or nothing) for leaf, moves in zip(arrays, moving, strict=True))
        if empty and not all(np.all(np.isfinite(leaf)) for _, leaf in leaves(out, "out") if is_float(leaf)):
            return FloatingPointError("the output is not finite")
        return Given(out, cache, empty)

    def _of_laws(self, point: Point, given: Given) -> Report:
        """Return what can be said where arrays are empty: gradients have their shapes, and are zero if the output is.

        Nothing is measured: there is nothing to move.
        """
        home = at_home(self.forward, self.backward, point)
        (_, backward), out, cache = home.pair(), *home.given(given.out, given.cache)
        arguments = Arguments.of(self.forward, home.args, self.settings.get("wrt"), empty=True)
        outs = [np.asarray(leaf) for _, leaf in leaves(out, "out")]
        dout = rebuild(out, iter([np.ones_like(leaf, dtype=np.result_type(leaf, np.float32)) for leaf in outs]))
        with _quiet(empty=True), answering(name_of(self.backward), (dout,)):
            claims = match_gradients(name_of(self.backward), backward(dout, cache), arguments)
        findings = {}
        for path, shape in zip(arguments.layout.paths, arguments.layout.shapes, strict=True):
            claimed, reason = claims.gradients.get(path), claims.breach or claims.breaches.get(path)
            if claimed is not None and not any(leaf.size for leaf in outs) and np.any(claimed):
                reason = f"{name_of(self.backward)} must return zeros for d{path} where the output is empty."
            findings[path] = _found(shape, reason)
        return self._report(point, joined(findings, home.paths))

    def _raised(self, point: Point, error: Exception) -> Report:
        home = at_home(self.forward, self.backward, point)
        arguments = Arguments.of(self.forward, home.args, self.settings.get("wrt"), empty=True)
        reason = f"{name_of(self.backward)} raised {told(error)}"
        shapes = zip(arguments.layout.paths, arguments.layout.shapes, strict=True)
        return self._report(point, joined({path: _found(shape, reason) for path, shape in shapes}, home.paths))

    def _report(self, point: Point, findings: dict[str, Finding]) -> Report:
        return Report(name_of(self.forward), findings, ("no number",), point.seed)

    def _replay(self, report: Report, point: Point) -> str:
        """Return the line that does this check again, of the point as of the rest."""
        given = report.replay or ""
        if "args" in given:
            return given.replace(" args,", f" {point!r},", 1)
        return f"{name_of(self.backward)} at {point!r}"


def _found(shape: tuple[int, ...], reason: str | None) -> Finding:
    if reason is None:
        return Finding(Verdict.PASS, shape, 0.0, 0.0)
    return Finding(Verdict.FAIL, shape, math.nan, math.inf, reason=reason)


@contextlib.contextmanager
def _quiet(*, empty: bool) -> Iterator[None]:
    """Let NumPy say nothing of numbers that overflow, nor of means over nothing where arrays are empty on purpose."""
    with np.errstate(all="ignore"), warnings.catch_warnings() if empty else contextlib.nullcontext():
        if empty:
            warnings.simplefilter("ignore", RuntimeWarning)
        yield
