"""The check: is a hand-written backward right, and how do we know? Level 4.

laws        what needs no oracle: arity, structure, shape, finiteness
behaviour   likewise: linear in the cotangent, repeatable, writing into nothing
probes      the one identity, and what agreeing with it proves
judge       from probes along random tangents to a verdict for each argument
locate      the wrong entries of a wrong gradient
"""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradcheck.adapters.arrays import at_home, is_foreign
from gradcheck.adapters.meant import Projection, as_meant
from gradcheck.arguments import Arguments, Chosen
from gradcheck.complexes import of_complex
from gradcheck.examination import Settings, examined, oracles_of, passed
from gradcheck.hints import Hints, must_be_hints
from gradcheck.inquiry import replay
from gradcheck.kinds import must_be_for, of_that_kind
from gradcheck.oracles import Oracle
from gradcheck.report import Report, Verdict
from gradcheck.settings import must_be_convention, must_be_functions, must_be_numbers, must_be_yes_or_no
from gradcheck.verdict.laws import ForeignOutputError
from gradcheck.verdict.subject import Backward, Forward
from gradcheck.witness import tell

__all__ = ["check_backward", "decide", "examine_backward"]


def check_backward(
    forward: Forward,
    backward: Backward,
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
    surrogate: Callable[..., Any] | None = None,
    projection: Projection | None = None,
    convention: str | None = None,
) -> Report:
    """Check a hand-written backward; return the report if it passes, and raise if it does not.

    Takes what :func:`examine_backward` takes.

    Raises:
        GradientError: the backward is wrong; ``error.report`` says where.
        ContractError: the backward returned something that is no gradient of its arguments.
        InconclusiveError: it could not be decided; ``error.report`` says why.
        TypeError, ValueError: as :func:`examine_backward`.
    """
    __tracebackhide__ = True
    report = examine_backward(
        forward,
        backward,
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
        surrogate=surrogate,
        projection=projection,
        convention=convention,
    )
    return passed(report)


def examine_backward(
    forward: Forward,
    backward: Backward,
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
    surrogate: Callable[..., Any] | None = None,
    projection: Projection | None = None,
    convention: str | None = None,
) -> Report:
    """Examine a hand-written backward and report what was found; never raises because of a number.

    Args:
        forward: ``forward(*args) -> (out, cache)``; ``out`` is a float array, a number, or a container of them.
            Integers and booleans in it are not differentiated: the backward is handed zeros of float64 for them.
        backward: ``backward(dout, cache) -> gradients``, one for each argument that moves. One that is returned for
            something else moves that too if it is a float, and makes the report inconclusive if it cannot move.
        args: the point, a tuple of the forward's arguments, or a dict of them by name, in any order.
            Float arrays move and complex ones, of NumPy, PyTorch, JAX or a library that follows the array API, also
            inside tuples, lists, dicts, dataclasses, and classes registered with JAX or optree; everything else stays.
        oracle: who measures; by default central differences, and autodiff as well where there is a ``reference``.
        reference: the same function as ``forward``, without the cache, in ``jax.numpy``.
        wrt: what moves: names or positions of arguments, in the order in which the backward returns their gradients, or
            leaves of them such as ``"params['W']"``. A Python float moves if it is named.
        tol: the relative error of an argument's gradient that is tolerated. By default an argument fails if its error
            is certainly above 5e-7 of its norm, or an entry is wrong by more than 5e-4 of its own size and stands
            clear of its bound; what is certainly smaller passes with a remark. With ``tol`` it passes if an error of
            ``tol`` is excluded with probability 1 − 1e-6, also where a smaller one is measured; it fails if what is
            measured is certainly larger; and it is inconclusive if 24 probes cannot tell, which they can where the
            error is below a third of ``tol`` or above twice that. 0 fails whatever can be measured. Of the laws of
            behaviour, being linear alone knows it.
        seed: of the cotangent and the tangents; the report has the one that was drawn.
        strict: whether remarks fail: a gradient that is right and inexact, or memory that is shared.
        hints: whether a failure is explained, and the lines of the backward are marked, when the report is read. For
            graded work False says what is wrong and where, and no repair; ``"places"`` moreover gives no number that
            was measured of a gradient that is not right.
        timeout: for how many seconds one call of the pair may last; by default for ever. If one lasts longer, the
            report is inconclusive and says what it was called for. The check is made in a thread of its own then, in
            a copy of the context. A thread cannot be ended from outside: the one that is left goes on until that call
            returns, and ends with it; it does not keep the process from ending.
        progress: called after each evaluation of the forward with how many there were and how many are likely: as many
            as a pass in float64 needs, and half as many again each time that more turn out to be needed.
        surrogate: the function ``surrogate(*args) -> out`` whose derivative the backward claims, where that is another
            one than the forward: the identity of a straight-through estimator, ``-x`` of a reversed gradient.
        projection: P, where what is claimed is the true gradient under an orthogonal projection: on a tangent space, on
            symmetric matrices. A function of the gradient; of several arguments a dict of functions, by name.
        convention: ``"jax"`` where complex cotangents and gradients are ∂L/∂Re z − i ∂L/∂Im z, and not
            ∂L/∂Re z + i ∂L/∂Im z as in NumPy code and in PyTorch (``"pytorch"``).

    Raises:
        TypeError, ValueError: the forward, an argument or a setting is not usable; before any number is compared.
        OracleError: an oracle cannot run the forward.
        NoReturnError: the pair raises a skip, an exit or the like at the point itself.
    """
    must_be_functions(
        {"forward": forward, "backward": backward},
        {"reference": reference, "progress": progress, "surrogate": surrogate},
    )
    must_be_numbers(tol, seed, timeout)
    must_be_yes_or_no("strict", strict)
    must_be_hints(hints)
    must_be_convention(convention)
    seed = secrets.randbits(32) if seed is None else int(seed)
    named: dict[str, Any] = {"oracle": oracle, "reference": reference, "wrt": wrt, "tol": tol}
    named |= {"strict": bool(strict) or None, "timeout": timeout, "surrogate": surrogate}
    named |= {"projection": projection, "convention": convention}
    examine = functools.partial(
        examined,
        Settings(wrt, tol, seed, bool(strict), hints, timeout, progress, replay(forward, backward, seed, named)),
    )
    with of_that_kind("check_backward", forward, backward, args):
        report, moved, pair = _examined(
            examine, forward, backward, args, wrt, oracle, reference, surrogate, projection, convention
        )
    if report.breached:
        must_be_for("check_backward", forward, backward, args)
    return tell(*pair, moved, report)


def decide(
    forward: Forward,
    backward: Backward,
    args: Sequence[Any] | Mapping[str, Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int,
    strict: bool = False,
    timeout: float | None = None,
    surrogate: Callable[..., Any] | None = None,
    convention: str | None = None,
) -> Verdict:
    """Return the verdict of :func:`examine_backward` alone: where a gradient is wrong is not looked for.

    Raises:
        TypeError, ValueError, OracleError, NoReturnError: as :func:`examine_backward`.
    """
    settings = Settings(wrt, tol, seed, strict, hints=False, timeout=timeout, progress=None, replay="", located=False)
    examine = functools.partial(examined, settings)
    report, _, _ = _examined(examine, forward, backward, args, wrt, oracle, reference, surrogate, None, convention)
    return report.verdict


def _examined(
    examine: Callable[..., tuple[Report, Arguments]],
    forward: Forward,
    backward: Backward,
    args: Sequence[Any] | Mapping[str, Any],
    wrt: Chosen,
    oracle: Oracle | Sequence[Oracle] | None,
    reference: Callable[..., Any] | None,
    surrogate: Callable[..., Any] | None,
    projection: Projection | None,
    convention: str | None,
) -> tuple[Report, Arguments, tuple[Forward, Backward]]:
    """Return the report of a pair as it is meant, what moved, and the pair as it was called."""
    jax = (convention or getattr(forward, "convention", None)) == "jax"
    forward, point = as_meant(forward, args, wrt, surrogate, projection)
    if not is_foreign(point):
        with contextlib.suppress(ForeignOutputError):  # of real arguments, as that of a Fourier transform
            report, moved = examine(forward, backward, point, oracles_of(oracle, reference))
            return report, moved, (forward, backward)
    home = at_home(forward, backward, point, reference, conjugated=jax)
    measure = oracles_of(oracle, home.reference)
    report, moved = of_complex(home, lambda pair: examine(*pair, home.args, measure))
    return report, moved, home.pair()
