"""One check over many shapes: what a pair does at generic sizes, and at degenerate ones on purpose. Level 5."""

from __future__ import annotations

import contextlib
import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.adapters.arrays import at_home, is_foreign
from gradcheck.arguments import Arguments, Chosen, name_of
from gradcheck.blindness.suite import Checks, sentences
from gradcheck.containers import shown
from gradcheck.errors import ContractError, GradientError, InconclusiveError
from gradcheck.hints import Hints
from gradcheck.inquiry import written as as_python
from gradcheck.oracles import Oracle
from gradcheck.report import Finding, Report, Verdict
from gradcheck.settings import must_be_convention, must_be_functions, must_be_numbers
from gradcheck.shapes.described import described
from gradcheck.shapes.sizes import rounds
from gradcheck.shapes.specification import Sizes, Specification
from gradcheck.survey.bar import bar
from gradcheck.survey.examples import REFUSED, SEEDS, Example, Pair, is_blank
from gradcheck.survey.needs import Needs, needs
from gradcheck.survey.report import ShapesReport, written
from gradcheck.survey.smallest import smallest
from gradcheck.trees import describe
from gradcheck.witness import WITNESS, tell

__all__ = ["check_shapes", "examine_shapes"]

EXAMPLES = 100  # points, of which a layer of three sizes has each kind of shape about twice
STREAM = 0x73757276  # our own: default_rng(seed) may have drawn something of the user's
DEFAULTS = {"strict": False, "hints": True, "examples": EXAMPLES}  # None of all others
PATIENCE = 10.0  # seconds of the processor, where none are given, for the smallest sizes and the needs of a failure

Note = tuple[Any, ...]  # what a witness is told of a check


def check_shapes(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    shapes: str | Specification | None = None,
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    strict: bool = False,
    hints: Hints = True,
    timeout: float | None = None,
    surrogate: Callable[..., Any] | None = None,
    convention: str | None = None,
    examples: int = EXAMPLES,
    seconds: float | None = None,
    progress: Callable[[int, int], None] | bool = False,
) -> ShapesReport:
    """Check a hand-written backward over many shapes; return the report if it passes, and raise if it does not.

    Takes what :func:`examine_shapes` takes.

    Raises:
        GradientError: the backward is wrong at some shape; ``error.report`` says where.
        ContractError: it returned something there that is no gradient of its arguments.
        InconclusiveError: it could not be decided, or the forward refused a shape; ``error.report`` says why.
        TypeError, ValueError: as :func:`examine_shapes`.
    """
    __tracebackhide__ = True
    report = examine_shapes(
        forward,
        backward,
        shapes,
        oracle=oracle,
        reference=reference,
        wrt=wrt,
        tol=tol,
        seed=seed,
        strict=strict,
        hints=hints,
        timeout=timeout,
        surrogate=surrogate,
        convention=convention,
        examples=examples,
        seconds=seconds,
        progress=progress,
    )
    if report.verdict is Verdict.PASS:
        return report
    if report.verdict is Verdict.INCONCLUSIVE:
        raise InconclusiveError(report)
    raise (ContractError if report.breached else GradientError)(report)


def examine_shapes(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    shapes: str | Specification | None = None,
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    strict: bool = False,
    hints: Hints = True,
    timeout: float | None = None,
    surrogate: Callable[..., Any] | None = None,
    convention: str | None = None,
    examples: int = EXAMPLES,
    seconds: float | None = None,
    progress: Callable[[int, int], None] | bool = False,
) -> ShapesReport:
    """Examine a hand-written backward over many shapes; never raises because of a number.

    Sizes are drawn generic first, at least 2 and all different, then degenerate on purpose: each size alone at 1, two
    of them equal, all equal, one long, empty where the forward takes that. The search ends at the first failure, which
    is then made as small as it still fails.

    Args:
        forward: as for :func:`gradcheck.examine_backward`, and
        backward: likewise.
        shapes: what the arguments are, ``"x: N D, W: D M, b: M, labels: N int < M"``; the grammar stands in
            docs/shapes.md. What an annotation or the docstring of the forward says need not be repeated. Or the
            specification of a derivation, its ``spec``.
        oracle: who measures, in each check; :func:`gradcheck.examine_backward` says more of this and what follows.
        reference: the same function in ``jax.numpy``.
        wrt: what moves.
        tol: the relative error that is tolerated.
        seed: of the sizes, the values and the checks; the report has the one that was drawn.
        strict: whether remarks fail.
        hints: whether a failure is explained.
        timeout: for how many seconds one call may last.
        surrogate: the function whose derivative the backward claims, where that is another one.
        convention: of complex gradients.
        examples: how many points are checked.
        seconds: after which no more points are drawn; by default all ``examples`` are.
        progress: True for a bar on the standard error; or what is called after each point with how many there were and
            how many there will be at most.

    Raises:
        TypeError: the specification and the forward do not go together, or a setting is of a wrong type.
        ValueError: the specification cannot be read, contradicts itself, or no sizes obey it.
    """
    told = bar if progress is True else None if progress is False else progress
    must_be_functions({"forward": forward, "backward": backward}, {"progress": told, "surrogate": surrogate})
    must_be_convention(convention)
    must_be_numbers(tol, seed, timeout)
    _must_be_budget(examples, seconds)
    if not isinstance(shapes, str | Specification | None):
        raise TypeError(
            f"shapes must be a text, but it is {describe(shapes)}. Write what the arguments are, as in 'x: N D'."
        )
    spec = shapes if isinstance(shapes, Specification) else described(forward, shapes)
    seed = secrets.randbits(32) if seed is None else int(seed)
    settings = {"oracle": oracle, "reference": reference, "wrt": wrt, "tol": tol}
    settings |= {"strict": strict, "hints": hints, "timeout": timeout, "surrogate": surrogate}
    settings |= {"convention": convention}
    pair, rng = Pair(forward, backward, spec, settings), np.random.default_rng((seed, STREAM))
    found, notes = _search(pair, rng, examples, seconds, told)
    checks = Checks()
    for note in notes:
        checks(*note)
    clock = time.process_time if seconds is None else time.monotonic
    end = clock() + (PATIENCE if seconds is None else seconds)
    failed, rules = _worst(pair, found, rng, lambda: clock() < end)
    report = _together(pair, found, seed) if failed is None or failed.report is None else failed.report
    _tell(pair, notes, report, failed)
    asked_of = f"{as_python(forward, 'forward')}, {as_python(backward, 'backward')}, {spec.name or repr(spec.text)}"
    asked = "".join(
        f", {name}={as_python(value, name)}"
        for name, value in (settings | {"examples": examples}).items()
        if value is not DEFAULTS.get(name)
    )
    return ShapesReport(
        name_of(forward),
        tuple(found),
        report,
        None if failed is None else failed.sizes,
        rules,
        () if failed else tuple(each.partition(": ")[2] for each in sentences(checks.summary())),
        seed,
        f"examine_shapes({asked_of}, seed={seed}{asked})",
    )


def _must_be_budget(examples: Any, seconds: Any) -> None:
    if not isinstance(examples, int | np.integer) or isinstance(examples, bool) or examples < 1:
        raise ValueError(
            f"examples must be a whole number from 1 on, but it is {shown(examples)}. Leave it out for {EXAMPLES}."
        )
    if seconds is not None and not (isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0):
        raise ValueError(
            f"seconds must be a positive number, but it is {shown(seconds)}. Leave it out to draw all examples."
        )


def _search(
    pair: Pair,
    rng: np.random.Generator,
    most: int,
    seconds: float | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Example], list[Note]]:
    """Return what was found at one point after the other, until one fails or the time is up, and all checks made."""
    found: list[Example] = []
    notes: list[Note] = []
    started = time.monotonic()
    for why, sizes in itertools.islice(rounds(pair.spec, rng), most):
        with listening(notes):
            found.append(
                _examined(pair, sizes, int(rng.integers(SEEDS)), why, first=all(e.report is None for e in found))
            )
        if progress:
            progress(len(found), most)
        if found[-1].verdict == Verdict.FAIL or (seconds is not None and time.monotonic() - started > seconds):
            break
    return found, notes


def _examined(pair: Pair, sizes: Sizes, seed: int, why: str, *, first: bool) -> Example:
    """Return what was found at a point; what the check refuses there is refused by the forward, but for the first."""
    try:
        return pair.examine(sizes, seed, why)
    except (TypeError, ValueError) as error:
        if first:
            error.add_note(f"gradcheck: at {written(sizes)}")
            raise
        return Example(why, sizes, seed, REFUSED, None, error)


@contextlib.contextmanager
def listening(notes: list[Note]) -> Iterator[None]:
    """Take down the checks that are made meanwhile, of which nobody else is told yet."""
    before = WITNESS.set(lambda *note: notes.append(note))
    try:
        yield
    finally:
        WITNESS.reset(before)


def _tell(pair: Pair, notes: Sequence[Note], report: Report, failed: Example | None) -> None:
    """Tell the witness of this context of the checks that passed, and of the one that did not, once."""
    for note in notes:
        if note[-1]:
            tell(*note)
    if failed is not None:
        point = pair.spec.point(failed.sizes, failed.seed)
        home = at_home(pair.forward, pair.backward, point)
        forward, backward = home.pair() if is_foreign(tuple(point)) else (pair.forward, pair.backward)
        tell(forward, backward, Arguments.of(forward, home.args, pair.settings.get("wrt"), empty=True), report)


def _worst(
    pair: Pair, found: Sequence[Example], rng: np.random.Generator, in_time: Callable[[], bool]
) -> tuple[Example | None, Needs]:
    """Return the failure at the smallest sizes with what it needs, or what is undecided; None where all is right."""
    last = found[-1]
    if last.verdict == Verdict.FAIL:
        with listening([]):
            least = smallest(pair, last, rng, in_time)
            return least, needs(pair, least, found, rng, in_time)
    return next((each for each in found if each.undecided(_shown(found))), None), Needs()


def _shown(found: Sequence[Example]) -> frozenset[str]:
    """Return the arguments of which some point could say something."""
    reports = [each.report for each in found if each.report is not None and each.why != "empty"]
    findings = (item for each in reports for item in each.arguments.items())
    return frozenset(path for path, each in findings if each.verdict is Verdict.PASS and not is_blank(each))


def _nothing(pair: Pair, example: Example) -> dict[str, Finding]:
    """Return that nothing is known of any gradient."""
    point = pair.spec.point(example.sizes, example.seed)
    layout = Arguments.of(pair.forward, point, pair.settings.get("wrt"), empty=True).layout
    shapes = zip(layout.paths, layout.shapes, strict=True)
    return {path: Finding(Verdict.INCONCLUSIVE, shape, math.nan, math.inf) for path, shape in shapes}


def _together(pair: Pair, found: Sequence[Example], seed: int) -> Report:
    """Return the report of many passes: the widest bound and the largest error of every gradient, and any remark.

    Where the forward refused points that it was to take, nothing is decided.
    """
    reports = [each.report for each in found if each.report is not None and each.why != "empty"]
    refused = sum(each.verdict == REFUSED and each.why != "empty" for each in found)
    reason = f"{name_of(pair.forward)} raised at {refused} of {len(found)} points" if refused else None
    findings = {} if reports else _nothing(pair, found[0])
    shown = _shown(found)
    for report in reports:
        for path, finding in report.arguments.items():
            if path in shown and is_blank(finding):
                continue
            other = findings.get(path, finding)
            widest = max(other, finding, key=lambda each: each.bound)
            remark = other.remark or finding.remark
            findings[path] = replace(widest, error=max(other.error, finding.error), remark=remark)
    if reason:
        findings = {path: replace(each, verdict=Verdict.INCONCLUSIVE, reason=reason) for path, each in findings.items()}
    oracles = reports[0].oracles if reports else ()
    remarks = tuple(dict.fromkeys(remark for report in reports for remark in report.remarks))
    return Report(
        name_of(pair.forward), findings, oracles, seed, evaluations=sum(r.evaluations for r in reports), remarks=remarks
    )
