"""A formula of a paper as a record, and its judgement: right, wrong, or without a type. Level 5.

An :class:`Equation` holds a formula twice, as printed and corrected, each as a statement that can be run:

Definition    a forward formula: its values and its derivative are those of the same function by another road
Gradient      a formula of a backward pass: the gradient of one argument, in a backward that is right elsewhere
Update        a step of the parameters: minus the rate times the gradient of the loss, so that the loss falls
Claim         a sentence about numbers

Every statement is judged at a random point of random sizes. One whose shapes or indices contradict each other has no
type: running it raises, or what it gives has not the shape of what it is said to be.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import copied
from gradcheck.arguments import name_of
from gradcheck.check import examine_backward
from gradcheck.equations.statement import (
    Claim,
    Definition,
    Gradient,
    Statement,
    Update,
    must_be_a_statement,
    specification,
)
from gradcheck.errors import told
from gradcheck.oracles import Oracle, autodiff, central_difference, complex_step
from gradcheck.pairing import call
from gradcheck.report import Report, Verdict
from gradcheck.shapes.sizes import generic
from gradcheck.shapes.specification import Sizes
from gradcheck.trees import describe
from gradcheck.verdict.laws import split_forward

__all__ = [
    "UNTYPABLE",
    "Claim",
    "Definition",
    "Equation",
    "Given",
    "Gradient",
    "Judgement",
    "Ruling",
    "Statement",
    "Update",
    "judge_equation",
    "judge_statement",
]

UNTYPABLE = "untypable"  # beside the three verdicts: shapes or indices contradict each other
SAME_VALUE = 1e-9  # how far two roads to one value may end apart, relative to its largest entry
CONTRADICTIONS = (ValueError, IndexError)  # what NumPy raises where shapes or indices do not fit


class Given:
    """A function that is not on trial: no explanation looks for a mistake in its source or among its operations."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        """Call the function with plain arrays."""
        return self.function(*map(_plain, args))


def _plain(value: Any) -> Any:
    """Return ``value`` with plain arrays for those that tell a tape what is done with them."""
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (tuple, list) else value


Examine = Callable[..., Report]  # examine_backward with its oracles and its seed


@dataclass(frozen=True)
class Equation:
    """A formula as a document prints it, and the form that passes.

    Attributes:
        id: what it is called: the document, and its place or number there.
        document: where it comes from.
        place: where in the document it stands.
        claims: what it says, in words.
        latex: the formula as printed.
        printed: its transcription: the smallest reading that has a type, if there is one.
        reading: every assumption that the transcription makes.
        corrected_latex: the form that passes; empty if it is the printed one.
        corrected: its transcription; None if it is the printed one.
    """

    id: str
    document: str
    place: str
    claims: str
    latex: str
    printed: Statement
    reading: str = ""
    corrected_latex: str = ""
    corrected: Statement | None = None


@dataclass(frozen=True)
class Ruling:
    """What the machine found about one statement.

    ``verdict`` is a :class:`Verdict` or ``UNTYPABLE``, ``found`` says in words why it is no pass. ``mistake`` is the id
    in the catalogue of a mistake that explains it and was verified, None where there is none.
    """

    verdict: str
    found: str = ""
    mistake: str | None = None
    report: Report | None = None


@dataclass(frozen=True)
class Judgement:
    """An equation with the rulings on its printed and on its corrected form."""

    equation: Equation
    printed: Ruling
    corrected: Ruling

    def to_dict(self) -> dict[str, Any]:
        """Return the judgement as plain data that JSON can hold."""
        equation = self.equation
        texts = ("id", "document", "place", "claims", "latex", "reading", "corrected_latex")
        return {name: getattr(equation, name) for name in texts} | {
            form: {
                "verdict": ruling.verdict,
                "found": ruling.found,
                "mistake": ruling.mistake,
                "report": None if ruling.report is None else ruling.report.to_dict(),
            }
            for form, ruling in (("printed", self.printed), ("corrected", self.corrected))
        }


def judge_equation(equation: Equation, rng: np.random.Generator | int) -> Judgement:
    """Judge an equation as printed and corrected, both at one random point where no size is 1.

    Raises:
        TypeError: ``equation`` is no Equation, or something in its statement is not of its type.
        ValueError: the shapes of a statement cannot be read, or no sizes obey them; or ``of`` names no argument of the
            forward.
    """
    if not isinstance(equation, Equation):
        raise TypeError(
            f"equation must be an Equation, but it is {describe(equation)}. Put its statement into a record first."
        )
    seed = int(np.random.default_rng(rng).integers(2**32))
    printed = judge_statement(equation.printed, seed)
    if equation.corrected is None:
        return Judgement(equation, printed, printed)
    return Judgement(equation, printed, judge_statement(equation.corrected, seed))


def judge_statement(
    statement: Statement,
    rng: np.random.Generator | int,
    *,
    sizes: Sizes | None = None,
    compiled: bool = True,
    hints: bool = True,
) -> Ruling:
    """Judge one statement at a random point.

    Those of its ``sizes`` that are not given are drawn generic: none is 1, so that no mistake hides. Without
    ``compiled`` a reference is asked for no number, as JAX compiles it for every new shape: there is no autodiff then,
    and of a definition the shape and the derivative are judged, not the value. Without ``hints`` it is not asked why a
    gradient is wrong, which costs more than to know that it is. What has no type is told with the sizes at which that
    was found.
    """
    must_be_a_statement(statement)
    rng = np.random.default_rng(rng)
    if isinstance(statement, Claim):
        return _tried(statement, rng)
    spec = specification(statement)
    point = spec.point(generic(spec, rng, sizes), int(rng.integers(2**32)))
    args = tuple(point)
    seed = int(rng.integers(2**32))
    oracles: list[Oracle] = [central_difference]
    oracles += [complex_step] if statement.analytic else []
    oracles += [autodiff(statement.reference)] if statement.reference and compiled else []
    examine = functools.partial(examine_backward, oracle=tuple(oracles), seed=seed, hints=hints)
    if isinstance(statement, Definition):
        ruling = _judge_definition(statement, args, examine, compiled=compiled)
    elif isinstance(statement, Gradient):
        ruling = _judge_gradient(statement, args, examine, rng)
    else:
        ruling = _judge_update(statement, args, examine)
    drawn = ", ".join(f"{name} = {value}" for name, value in point.sizes.items() if type(value) is int)
    if ruling.verdict != UNTYPABLE or not drawn:
        return ruling
    return replace(ruling, found=f"{ruling.found}, where {drawn}")


def _tried(statement: Claim, rng: np.random.Generator) -> Ruling:
    told = call(statement.holds, (rng,))
    if not (isinstance(told, tuple) and len(told) == 2 and isinstance(told[0], bool | np.bool_)):
        raise TypeError(
            f"Claim.holds must return whether it held and what was seen, but returned {describe(told)}. "
            'Return a pair such as (True, "the largest gap was 1e-9").'
        )
    return Ruling(str(Verdict.PASS if told[0] else Verdict.FAIL), "" if told[0] else str(told[1]))


def _places(statement: Gradient | Update, of: tuple[str, ...]) -> list[int]:
    """Return the positions of the arguments of the forward that are named ``of``."""
    names = _parameters(statement.forward)
    if missing := [name for name in of if name not in names]:
        raise ValueError(
            f"{type(statement).__name__}.of must name arguments of {name_of(statement.forward)} ({', '.join(names)}), "
            f"but it holds {missing[0]!r}. Choose among these."
        )
    return [names.index(name) for name in of]


def _judge_definition(statement: Definition, args: tuple[Any, ...], examine: Examine, *, compiled: bool) -> Ruling:
    try:
        out = np.asarray(call(statement.formula, copied(args)))
    except CONTRADICTIONS as error:
        return _contradiction(error)
    wanted = _by_reference(statement.reference, args, compiled=compiled)
    if out.shape != wanted.shape:
        return Ruling(UNTYPABLE, f"the formula has shape {out.shape}, and what it defines has shape {wanted.shape}")
    if compiled:
        apart = float(np.max(np.abs(out - wanted), initial=0.0))
        if not apart <= SAME_VALUE * float(np.max(np.abs(wanted), initial=0.0)):
            return Ruling(str(Verdict.FAIL), f"its value differs by {apart:.2g} from that by another road")

    @functools.wraps(statement.formula)
    def forward(*primals: Any) -> tuple[Any, Any]:
        return statement.formula(*primals), primals

    report = examine(forward, statement.backward, args, wrt=statement.wrt)
    return _ruling(report, tuple(report.arguments))


def _judge_gradient(statement: Gradient, args: tuple[Any, ...], examine: Examine, rng: np.random.Generator) -> Ruling:
    of = (statement.of,) if isinstance(statement.of, str) else tuple(statement.of)
    places = _places(statement, of)
    out, cache = split_forward(name_of(statement.forward), call(statement.forward, copied(args)))

    def gradients(dout: Any, cache: Any) -> dict[str, Any]:
        given = call(statement.formula, (dout, cache))
        return dict(zip(of, (given,) if isinstance(statement.of, str) else given, strict=True))

    try:
        claimed = gradients(rng.standard_normal(np.shape(out))[()], cache)
    except CONTRADICTIONS as error:
        return _contradiction(error)
    if clash := _clash(claimed, {name: np.shape(args[place]) for name, place in zip(of, places, strict=True)}):
        return Ruling(UNTYPABLE, clash)
    right = statement.backward and Given(statement.backward)
    wrt = of if right is None else tuple(call(right, (rng.standard_normal(np.shape(out))[()], cache)))

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        given = {**(right(dout, cache) if right else {}), **gradients(dout, cache)}
        return tuple(np.array(given[name]) for name in wrt)  # two formulas may give one and the same array

    return _ruling(examine(statement.forward, backward, args, wrt=wrt), of)


def _judge_update(statement: Update, args: tuple[Any, ...], examine: Examine) -> Ruling:
    """Judge a step by what it does: the slope of the loss along it, and whether it is minus rate times gradient."""
    (place,) = _places(statement, (statement.of,))
    out, cache = split_forward(name_of(statement.forward), call(statement.forward, copied(args)))
    if np.size(out) != 1:
        raise TypeError(
            f"{name_of(statement.forward)} must return a loss for an Update, but it returned {describe(out)}. "
            "Return a single number."
        )
    try:
        step = np.asarray(call(statement.step, (cache,)))
    except CONTRADICTIONS as error:
        return _contradiction(error)
    if clash := _clash({statement.of: step}, {statement.of: np.shape(args[place])}):
        return Ruling(UNTYPABLE, clash)

    def loss(w: Any) -> Any:
        return statement.forward(*args[:place], w.reshape(step.shape), *args[place + 1 :])[0]

    slope = central_difference(loss, np.ravel(args[place]))(np.ravel(step))

    def gradient(cache: Any) -> Any:
        """The gradient that the step claims to go along."""
        rate = call(statement.rate, (cache,)) if callable(statement.rate) else statement.rate
        return -call(statement.step, (cache,)) / rate

    wanted = float((step * gradient(cache)).sum())

    def backward(dloss: Any, cache: Any) -> tuple[Any, ...]:
        return (dloss * gradient(cache),)

    report = examine(statement.forward, backward, args, wrt=(statement.of,))
    ruling = _ruling(report, (statement.of,))
    missed = abs(float(slope.value) - wanted) > float(slope.error) + SAME_VALUE * abs(wanted)
    if slope.value - slope.error < 0 and not missed:
        return ruling
    way = "rises" if slope.value > 0 else "falls"
    seen = (
        f"along the step the loss {way} by {abs(slope.value):.2g} to first order, and would fall by {-wanted:.2g} "
        "if it were minus the rate times the gradient"
    )
    if ruling.verdict == Verdict.INCONCLUSIVE:
        return ruling
    found = f"{seen}; {ruling.found}" if ruling.mistake else seen
    return Ruling(str(Verdict.FAIL), found, ruling.mistake, report)


def _ruling(report: Report, of: tuple[str, ...]) -> Ruling:
    """Return what a report says about the arguments ``of``; the others are right, or nothing is decided."""
    own = {name: finding for name, finding in report.arguments.items() if name.partition("[")[0] in of}
    others = [name for name, finding in report.arguments.items() if name not in own and finding.verdict != Verdict.PASS]
    if others:
        found = f"the derivation around the formula is not right in d{', d'.join(others)}"
        return Ruling(str(Verdict.INCONCLUSIVE), found, None, report)
    if report.verdict is Verdict.PASS:
        return Ruling(str(Verdict.PASS), "", None, report)
    if report.verdict is Verdict.INCONCLUSIVE:
        reasons = [str(finding.reason) for finding in own.values() if finding.verdict is Verdict.INCONCLUSIVE]
        return Ruling(str(Verdict.INCONCLUSIVE), "; ".join(reasons), None, report)
    for explanation in report.explanations:
        if explanation.verified:
            return Ruling(str(Verdict.FAIL), explanation.sentence, explanation.mistake, report)
    wrong = [
        f"d{name} has a relative error of {finding.error:.2g}"
        for name, finding in own.items()
        if finding.verdict is Verdict.FAIL and math.isfinite(finding.error)
    ]
    return Ruling(str(Verdict.FAIL), "; ".join(wrong or report.broken), None, report)


def _by_reference(reference: Callable[..., Any], args: tuple[Any, ...], *, compiled: bool) -> Any:
    """Return what a reference gives; where nothing is to be compiled, something that has its shape."""
    try:
        import jax
    except ImportError:  # a reference in NumPy needs no JAX
        return np.asarray(call(reference, args))
    with jax.enable_x64(True):
        return np.asarray(call(reference, args)) if compiled else jax.eval_shape(lambda: call(reference, args))


def _contradiction(error: Exception) -> Ruling:
    return Ruling(UNTYPABLE, told(error))


def _clash(claimed: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str:
    found = {name: _shape(value) for name, value in claimed.items()}
    clashes = [
        f"the formula has {'no shape' if shape is None else f'shape {shape}'}, and {name} has shape {shapes[name]}"
        for name, shape in found.items()
        if shape != shapes[name]
    ]
    return "; ".join(clashes)


def _shape(value: Any) -> tuple[int, ...] | None:
    try:
        return tuple(np.shape(value))
    except ValueError:  # a list of arrays of several shapes
        return None


def _parameters(forward: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(forward).parameters)
