"""Why a term of a pushforward is wrong, as far as its numbers tell: a sign, a factor, a term that is missing. Level 4.

What is pushed forward of one argument is compared with the true tangent as a returned gradient is with the true one, at
the point of the check and at another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradcheck.arguments import by_name
from gradcheck.errors import told as raised
from gradcheck.oracles import central_difference
from gradcheck.pushforward.rule import Answer, Rule
from gradcheck.report import Answers, Explanation
from gradcheck.steps.claims import Case
from gradcheck.steps.known import numbers
from gradcheck.steps.measured import CLOSE, Measured
from gradcheck.steps.returned import told
from gradcheck.trees import Array, is_discrete, leaves, norm

__all__ = ["why"]

APART = 0.3  # of each number, at most, to the other point
STREAM = 0x77687930  # our own, of that point
UNLIKE = "no mistake of the catalogue, undone, gives the measured tangents at two points"


@np.errstate(all="ignore")
def why(rule: Rule, tangent: Array, wrong: Sequence[str]) -> Answers:
    """Return why the terms of the arguments at ``wrong`` are; never raises, what goes wrong is told as ``silence``."""
    rng = np.random.default_rng(STREAM)

    def elsewhere() -> Case | None:
        arguments = rule.arguments
        point = arguments.point * (1 + APART * rng.uniform(-1, 1, arguments.layout.size))
        moved = arguments.moved(point)
        return _case(replace(rule, arguments=moved, out=rule.function(*moved.fresh())), tangent, wrong)

    try:
        found = told(_case(rule, tangent, wrong), elsewhere)
    except Exception as problem:  # noqa: BLE001  (the verdict and its place must stand, whatever the user's code raises)
        return Answers(silence=f"looking for one raised {raised(problem)}")
    explanations = []
    for each in found:
        what = each.what.replace("the gradient", "the true term").replace("a gradient", "a tangent")
        said = f"what {rule.who} pushes forward from {by_name(f'd{p}' for p in each.paths)} is {what}"
        explanations.append(Explanation(each.mistake, each.paths, said, each.verified))
    return Answers(tuple(explanations), None if explanations else UNLIKE)


def _case(rule: Rule, tangent: Array, wrong: Sequence[str]) -> Case:
    """Return the terms as what a backward returned: the tangent of the output for each argument alone."""
    arguments, returned, truth = rule.arguments, {}, {}
    for path, part in zip(arguments.layout.paths, arguments.layout.slices, strict=True):
        alone = np.zeros_like(tangent)
        alone[part] = tangent[part]
        answer = rule.claim(alone)
        if isinstance(answer, Answer):
            returned[path] = _shaped(rule, rule.flat(answer))
        if path in wrong:
            truth[path] = _measured(rule, alone)
    named = [*zip(arguments.names, arguments.values, strict=True), ("out", rule.out)]
    found = [(path, leaf) for name, tree in named for path, leaf in leaves(tree, name)]
    arrays = {path: leaf for path, leaf in found if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fbiu"}
    known = numbers(named[:-1], rule.out)
    return Case(rule.function, _none, arguments, 1.0, returned, truth, arrays, known, np.random.default_rng(STREAM))


def _none(_dout: object, _cache: object) -> None:
    """Stand for the backward that there is not: what asks it for another cotangent is told nothing."""


def _measured(rule: Rule, tangent: Array) -> Measured:
    """Return the true term along one tangent, every entry measured."""

    def flat(vector: Array) -> Array:
        out = leaves(rule.function(*rule.arguments.at(vector)), "out")
        return np.concatenate([np.ravel(leaf) for _, leaf in out if not is_discrete(leaf)]).astype(np.float64)

    estimate = central_difference(flat, rule.arguments.point)(tangent)
    value, error = np.atleast_1d(estimate.value), np.atleast_1d(estimate.error)
    close = max(CLOSE, norm(error) / norm(value)) if norm(value) else CLOSE
    return Measured(_shaped(rule, value).shape, value, close=close)


def _shaped(rule: Rule, flat: Array) -> Array:
    """Return the tangent of a single output in its shape; of several, as one vector."""
    shapes = rule.layout.shapes
    return flat.reshape(shapes[0]) if len(shapes) == 1 else flat
