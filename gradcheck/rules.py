"""Both rules of a function, a backward and a pushforward: each against the oracle, and one against the other. Level 5.

For any tangent ẋ and cotangent ȳ, ⟨backward(ȳ), ẋ⟩ = ⟨ȳ, pushforward(ẋ)⟩: the dot-product test. It needs no oracle, and
does not see a mistake that both share, which an oracle does. Of three sides the one that both others contradict is the
odd one out.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.adapters.arrays import at_home
from gradcheck.adapters.signatures import by_keyword, in_order, signature_of
from gradcheck.arguments import Arguments, Chosen, by_name, name_of
from gradcheck.check import examine_backward
from gradcheck.examination import STREAM, passed
from gradcheck.hints import Hints
from gradcheck.oracles import Oracle
from gradcheck.pairing import call
from gradcheck.pushforward.check import examine_pushforward
from gradcheck.pushforward.rule import Answer, Rule, of_output
from gradcheck.report import Explanation, Finding, Report, Verdict
from gradcheck.trees import leaves, norm, rebuild, rounding_unit
from gradcheck.verdict.laws import match_gradients, split_forward

__all__ = ["RulesReport", "check_rules", "examine_rules"]

EQUAL = 1e-6  # of what is summed may two sides be apart that are equal; more in a lower precision:
ROUNDED = 1e3  # so many of its rounding units


@dataclass(frozen=True)
class RulesReport:
    """What the checks of two rules of one function found.

    Attributes:
        backward: the report of the backward.
        pushforward: the report of the pushforward.
        contradicted: the arguments for which the two contradict each other.
    """

    backward: Report
    pushforward: Report
    contradicted: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """FAIL if one of the rules fails or they contradict each other, else INCONCLUSIVE if one is, else PASS."""
        verdicts = {self.backward.verdict, self.pushforward.verdict}
        if Verdict.FAIL in verdicts or self.contradicted:
            return Verdict.FAIL
        return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else Verdict.PASS

    def __bool__(self) -> bool:
        """Whether the verdict is a pass."""
        return self.verdict is Verdict.PASS

    @property
    def breached(self) -> bool:
        """Whether a rule returned something that could not be compared at all."""
        return self.backward.breached or self.pushforward.breached

    @property
    def _sides(self) -> dict[str, Report]:
        return {"the backward": self.backward, "the pushforward": self.pushforward}

    @property
    def arguments(self) -> Mapping[str, Finding]:
        """The findings of both rules: those of the pushforward under ``x (pushforward)``."""
        forward = {f"{path} (pushforward)": finding for path, finding in self.pushforward.arguments.items()}
        return {**self.backward.arguments, **forward}

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """Why they are wrong."""
        return (*self.backward.explanations, *self.pushforward.explanations)

    @property
    def odd(self) -> str:
        """Which of the three sides the others contradict, as a sentence."""
        wrong = [side for side, report in self._sides.items() if report.verdict is Verdict.FAIL]
        oracle = self.backward.oracles[0]
        if self.breached:
            breaching = " and ".join(side for side, report in self._sides.items() if report.breached)
            return f"The two rules were not compared with each other: {breaching} broke its contract."
        if not self.contradicted:
            if len(wrong) < 2:
                return "The two rules agree with each other."
            both = f"The two rules agree with each other and not with {oracle}"
            return f"{both}: they share a mistake, or belong to another function."
        what = f"The two rules contradict each other for {by_name(self.contradicted)}"
        if len(wrong) == 1:
            other = "the pushforward" if wrong[0] == "the backward" else "the backward"
            return f"{what}: {wrong[0]} is the odd one out, {other} and {oracle} agree."
        return f"{what}{', and both contradict ' + oracle if wrong else ''}."

    def __str__(self) -> str:
        """Return both reports, and which side is the odd one out."""
        return f"{self.odd}\n{self.backward}\n{self.pushforward}"


def check_rules(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    pushforward: Callable[..., Any],
    args: Sequence[Any] | Mapping[str, Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    hints: Hints = True,
) -> RulesReport:
    """Check a backward and a pushforward of one function; return the report if both pass, and raise if they do not.

    Takes what :func:`examine_rules` takes.

    Raises:
        GradientError, ContractError, InconclusiveError: as :func:`check_backward`; ``error.report`` is a RulesReport.
        TypeError, ValueError: as :func:`examine_rules`.
    """
    __tracebackhide__ = True
    settings: dict[str, Any] = {"oracle": oracle, "reference": reference, "wrt": wrt, "tol": tol}
    return passed(examine_rules(forward, backward, pushforward, args, seed=seed, hints=hints, **settings))


def examine_rules(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    pushforward: Callable[..., Any],
    args: Sequence[Any] | Mapping[str, Any],
    *,
    oracle: Oracle | Sequence[Oracle] | None = None,
    reference: Callable[..., Any] | None = None,
    wrt: Chosen = None,
    tol: float | None = None,
    seed: int | None = None,
    hints: Hints = True,
) -> RulesReport:
    """Examine a backward and a pushforward of one function: each by itself, and one against the other.

    Args:
        forward: ``forward(*args) -> (out, cache)``.
        backward: ``backward(dout, cache) -> gradients``, as for :func:`examine_backward`.
        pushforward: ``pushforward(primals, tangents) -> (out, tangent of out)``, as for :func:`examine_pushforward`.
        args: the point, a tuple of the arguments, or a dict of them by name.
        oracle: who measures; :func:`examine_backward` says more of this and what follows.
        reference: the same function in ``jax.numpy``.
        wrt: what moves.
        tol: the relative error that is tolerated.
        seed: of everything random.
        hints: how much is said of what is wrong.

    Raises:
        TypeError, ValueError: a function, an argument or a setting is not usable; before any number is compared.
        OracleError: an oracle cannot run the function.
    """
    seed = secrets.randbits(32) if seed is None else seed
    if isinstance(args, Mapping):
        args = in_order(forward, args)
        forward, args = by_keyword(forward, args), tuple(args.values())

    def function(*values: Any) -> Any:
        returned = forward(*values)
        return returned[0] if isinstance(returned, tuple) and len(returned) == 2 else returned

    function.__name__, function.__signature__ = name_of(forward), signature_of(forward)  # type: ignore[attr-defined]
    settings: dict[str, Any] = {"oracle": oracle, "reference": reference, "wrt": wrt, "tol": tol}
    one = examine_backward(forward, backward, args, seed=seed, hints=hints, **settings)
    other = examine_pushforward(function, pushforward, args, seed=seed, hints=hints, **settings)
    pair, rule = (forward, backward), (function, pushforward)
    contradicted = () if one.breached or other.breached else _contradicted(pair, rule, args, wrt, seed)
    return RulesReport(one, other, contradicted)


@np.errstate(all="ignore")
def _contradicted(
    pair: tuple[Any, Any], rule: tuple[Any, Any], args: Sequence[Any], wrt: Chosen, seed: int
) -> tuple[str, ...]:
    """Return the arguments for which ⟨backward(ȳ), ẋ⟩ and ⟨ȳ, pushforward(ẋ)⟩ are not equal."""
    home = at_home(*pair, args, conjugated=getattr(pair[0], "convention", None) == "jax")
    ahead, back = home.pair()
    function, pushforward = at_home(*rule, args).rule()
    arguments, rng = Arguments.of(ahead, home.args, wrt), np.random.default_rng((seed, STREAM, 1))
    out, cache = split_forward(name_of(ahead), call(ahead, arguments.fresh()))
    layout = of_output(out)
    drawn = [(np.asarray(y).dtype, rng.standard_normal(np.shape(y))) for _, y in leaves(out, "out")]
    dout = rebuild(out, iter([np.asarray(bar, dtype)[()] for dtype, bar in drawn]))
    claimed = match_gradients(name_of(back), call(back, (dout, cache)), arguments).gradients
    handed = Rule(function, pushforward, arguments, out, layout)
    cotangent = layout.flatten([np.asarray(leaf) for path, leaf in leaves(dout, "out") if path in layout.paths])
    found = []
    leaves_ = zip(arguments.layout.paths, arguments.layout.slices, arguments.layout.dtypes, strict=True)
    for path, part, dtype in leaves_:
        tangent, gradient = np.zeros(arguments.layout.size), claimed.get(path)
        tangent[part] = rng.standard_normal(tangent[part].size).astype(dtype)
        answer = handed.claim(tangent)
        if gradient is None or not isinstance(answer, Answer):
            continue
        terms, others = np.ravel(gradient) * tangent[part], cotangent * handed.flat(answer)
        unit = max(rounding_unit(each) for each in (gradient.dtype, *arguments.layout.dtypes, *layout.dtypes))
        apart = abs(math.fsum(terms) - math.fsum(others))
        if apart > max(EQUAL, ROUNDED * unit) * max(norm(terms), norm(others)):
            found.append(path)
    return tuple(found)
