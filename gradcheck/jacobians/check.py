"""The check of a derivative matrix: a Jacobian or a Hessian, entry by entry where it is wrong. Level 4.

That the matrix is right is decided as for any pullback, ȳ ↦ Jᵀ ȳ, whose entries are the columns. Of columns that are
wrong the rows are found by measuring them: one difference of the whole output along one entry of the argument.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gradcheck.adapters.arrays import Home, at_home
from gradcheck.adapters.blocks import blocks_of
from gradcheck.adapters.jacobians import from_jacobian
from gradcheck.adapters.signatures import by_keyword, in_order
from gradcheck.arguments import Arguments, Chosen, as_tuple, must_accept, name_of
from gradcheck.calls import Calls, TookTooLongError, within
from gradcheck.check import examine_backward
from gradcheck.complexes import joined
from gradcheck.examination import oracles_of, passed, undecided
from gradcheck.hints import Hints, Sentence, withheld
from gradcheck.inquiry import replay
from gradcheck.jacobians.entries import Matrix
from gradcheck.kinds import must_be_for, of_that_kind
from gradcheck.oracles import Oracle
from gradcheck.pairing import call
from gradcheck.report import Finding, Report, Verdict
from gradcheck.settings import must_be_functions, must_be_numbers, must_be_yes_or_no
from gradcheck.trees import describe
from gradcheck.witness import tell, unwitnessed

__all__ = ["check_hessian", "check_jacobian", "examine_hessian", "examine_jacobian"]

T = TypeVar("T")


def check_jacobian(
    function: Callable[..., Any],
    jacobian: Callable[..., Any],
    args: Sequence[Any] | Mapping[str, Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    strict: bool = False,
    hints: Hints = True,
    timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    symmetric: bool = False,
) -> Report:
    """Check a hand-written Jacobian; return the report if it passes, and raise if it does not.

    Takes what :func:`examine_jacobian` takes.

    Raises:
        GradientError: the matrix is wrong; ``error.report`` says where.
        ContractError: what was returned is no matrix of the output and its arguments.
        InconclusiveError: it could not be decided; ``error.report`` says why.
        TypeError, ValueError: as :func:`examine_jacobian`.
    """
    __tracebackhide__ = True
    report = examine_jacobian(
        function,
        jacobian,
        args,
        oracle=oracle,
        reference=reference,
        wrt=wrt,
        tol=tol,
        seed=seed,
        strict=strict,
        hints=hints,
        timeout=timeout,
        progress=progress,
        symmetric=symmetric,
    )
    return passed(report)


def examine_jacobian(
    function: Callable[..., Any],
    jacobian: Callable[..., Any],
    args: Sequence[Any] | Mapping[str, Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    strict: bool = False,
    hints: Hints = True,
    timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    symmetric: bool = False,
) -> Report:
    """Examine a hand-written Jacobian and report what was found; never raises because of a number.

    The report has a finding for each argument; its entries are those of the matrix, ``dout[2]/dx[5]``.

    Args:
        function: ``function(*args) -> y``.
        jacobian: ``jacobian(*args)``, in any form that :func:`gradcheck.from_jacobian` names.
        args: the point, a tuple of the arguments, or a dict of them by name.
        oracle: who measures; :func:`gradcheck.examine_backward` says more of this and what follows.
        reference: the same function in ``jax.numpy``.
        wrt: what moves.
        tol: the relative error of an argument's part of the matrix that is tolerated.
        seed: of the cotangents and the tangents.
        strict: whether remarks fail.
        hints: how much is said of what is wrong.
        timeout: for how many seconds one call may last.
        progress: called after each evaluation of the function.
        symmetric: whether the matrix must be its own transpose, as a Hessian is.

    Raises:
        TypeError, ValueError: the function, an argument or a setting is not usable; before any number is compared.
        OracleError: an oracle cannot run the function.
    """
    must_be_functions({"function": function, "jacobian": jacobian}, {})
    must_be_yes_or_no("symmetric", symmetric)
    settings = _settings(oracle, reference, wrt, tol, strict=strict, hints=hints, timeout=timeout, progress=progress)
    said = Said("examine_jacobian", ("function", "jacobian"), {"symmetric": symmetric or None})
    return _examined(function, jacobian, args, seed, settings, symmetric=symmetric, said=said)


def check_hessian(
    gradient: Callable[..., Any],
    hessian: Callable[..., Any],
    args: Sequence[Any] | Mapping[str, Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    strict: bool = False,
    hints: Hints = True,
    timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check a hand-written Hessian against its gradient; return the report if it passes, and raise if it does not.

    Takes what :func:`examine_hessian` takes.

    Raises:
        GradientError, ContractError, InconclusiveError, TypeError, ValueError: as :func:`check_jacobian`.
    """
    __tracebackhide__ = True
    report = examine_hessian(
        gradient,
        hessian,
        args,
        oracle=oracle,
        reference=reference,
        wrt=wrt,
        tol=tol,
        seed=seed,
        strict=strict,
        hints=hints,
        timeout=timeout,
        progress=progress,
    )
    return passed(report)


def examine_hessian(
    gradient: Callable[..., Any],
    hessian: Callable[..., Any],
    args: Sequence[Any] | Mapping[str, Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    strict: bool = False,
    hints: Hints = True,
    timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Examine a hand-written Hessian: the Jacobian of ``gradient``, which must be symmetric.

    Args:
        gradient: ``gradient(x, *rest)``, of the shape of x: itself checked by ``from_value_and_gradient``, say.
        hessian: ``hessian(x, *rest)``: a matrix, or where gradient and x are of its shape, the diagonal of one, as the
            objectives of XGBoost and LightGBM return it.
        args: the point, a tuple of the arguments.
        oracle: who measures; :func:`gradcheck.examine_jacobian` says more of this and what follows.
        reference: the gradient in ``jax.numpy``.
        wrt: what moves; by default the first argument.
        tol: the relative error that is tolerated.
        seed: of the cotangents and the tangents.
        strict: whether remarks fail.
        hints: how much is said of what is wrong.
        timeout: for how many seconds one call may last.
        progress: called after each evaluation of the gradient.

    Raises:
        TypeError, ValueError, OracleError: as :func:`examine_jacobian`.
    """
    must_be_functions({"gradient": gradient, "hessian": hessian}, {})
    moving = 0 if wrt is None and not isinstance(args, Mapping) else wrt
    settings = _settings(oracle, reference, moving, tol, strict=strict, hints=hints, timeout=timeout, progress=progress)
    said = Said("examine_hessian", ("gradient", "hessian"), {"wrt": wrt})
    return _examined(gradient, hessian, args, seed, settings, symmetric=True, said=said)


class Said(NamedTuple):
    """How a line that does the check again calls it: its name, what its functions are called, and other settings."""

    call: str
    roles: tuple[str, str]
    settings: Mapping[str, Any]


def _settings(
    oracle: Oracle | Sequence[Oracle] | None,
    reference: Callable[..., Any] | None,
    wrt: Chosen,
    tol: float | None,
    **others: Any,
) -> dict[str, Any]:
    return {"oracle": oracle, "reference": reference, "wrt": wrt, "tol": tol, **others}


def _examined(
    function: Callable[..., Any],
    jacobian: Callable[..., Any],
    args: Sequence[Any] | Mapping[str, Any],
    seed: int | None,
    settings: dict[str, Any],
    *,
    symmetric: bool,
    said: Said,
) -> Report:
    must_be_numbers(settings["tol"], seed, settings["timeout"])
    seed = secrets.randbits(32) if seed is None else int(seed)
    named = {**settings, "strict": settings["strict"] or None, "hints": None, "progress": None, **said.settings}
    again = replay(function, jacobian, seed, named, said.call, said.roles)
    if isinstance(args, Mapping):
        args = in_order(function, args)
        function, jacobian = by_keyword(function, args), by_keyword(jacobian, args)
    point = tuple(args.values()) if isinstance(args, Mapping) else as_tuple(function, args)
    home, given = at_home(function, jacobian, point), (said.call.replace("examine", "check"), function, jacobian, args)
    arguments, timeout = Arguments.of(home.rule()[0], home.args, settings["wrt"]), settings["timeout"]
    oracles = tuple(map(name_of, oracles_of(settings["oracle"], settings["reference"])))

    def told(report: Report) -> Report:
        return tell(function, None, arguments, withheld(report, settings["hints"]))

    def blocks(findings: dict[str, Finding]) -> Report:
        return Report(name_of(function), joined(findings, home.paths), oracles, seed, replay=again, noun="block")

    def breached(home: Home) -> dict[str, Finding]:
        out = call(home.forward, home.form.made(arguments.fresh()))
        if symmetric:
            _must_be_gradient(function, out, arguments)
        with of_that_kind(*given):
            must_accept(jacobian, len(point))
            return _breach(out, home, arguments)

    def entered(home: Home) -> Report:
        matrix = Matrix(home.rule()[0], home.of_arguments(home.backward), arguments)
        located = {path: matrix.located(path, finding) for path, finding in report.arguments.items()}
        broken = (*report.broken, *matrix.laws(seed, symmetric=symmetric))
        return replace(report, arguments=located, broken=broken)

    try:
        if breach := _timed(timeout, home, breached):
            must_be_for(*given)
            return told(blocks(breach))
        with unwitnessed():
            report = examine_backward(*from_jacobian(function, jacobian), point, seed=seed, **settings)
        report = replace(report, replay=again, noun="block")
        if report.convention is None:  # entries of complex matrices are known by their column alone
            report = _timed(timeout, home, entered)
    except TookTooLongError as late:
        report = blocks(undecided(late, arguments.layout))
    return told(report)


def _timed(timeout: float | None, home: Home, work: Callable[[Home], T]) -> T:
    """Return ``work`` of the two functions at ``home``, of which no call may last longer than ``timeout``."""
    calls = Calls()
    watched = replace(home, forward=calls.called(home.forward), backward=calls.called(home.backward))
    return within(timeout, calls, lambda: work(watched))


def _must_be_gradient(gradient: Callable[..., Any], out: Any, arguments: Arguments) -> None:
    """Raise a TypeError if what a Hessian is to be the Jacobian of is a scalar and its argument is none."""
    if np.ndim(out) == 0 and isinstance(out, float | np.floating | np.ndarray) and arguments.layout.size > 1:
        raise TypeError(
            f"{name_of(gradient)} must return the gradient, which the Hessian is the Jacobian of, but it returned "
            f"{describe(out)}. Pass the gradient of the function, not the function."
        )


def _breach(out: Any, home: Home, arguments: Arguments) -> dict[str, Finding]:
    """Return the findings where what was returned is no matrix of the output and its arguments; none where it is."""
    point, returned = home.form.made(arguments.fresh()), call(home.backward, home.form.made(arguments.fresh()))
    try:
        list(blocks_of(name_of(home.backward), returned, out, arguments.names, point))
    except (TypeError, ValueError) as breach:
        layout = arguments.layout
        return {
            path: Finding(Verdict.FAIL, shape, math.nan, math.inf, reason=Sentence(str(breach)))
            for path, shape in zip(layout.paths, layout.shapes, strict=True)
        }
    return {}
