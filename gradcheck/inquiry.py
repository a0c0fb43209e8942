"""What a failed check is asked further: why, and what makes it happen again. Level 4."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, Chosen, name_of
from gradcheck.calls import Calls, answering
from gradcheck.containers import shown
from gradcheck.errors import told
from gradcheck.explanation.evidence import Evidence
from gradcheck.steps.explain import explain
from gradcheck.steps.twin import Twins
from gradcheck.oracles import central_difference
from gradcheck.pairing import Pairing
from gradcheck.report import Answers, Explanation, Finding, Verdict
from gradcheck.settings import must_be_functions, must_be_seed
from gradcheck.trees import Array, is_float, leaves
from gradcheck.verdict.kinks import beside
from gradcheck.verdict.laws import match_gradients
from gradcheck.verdict.subject import Backward, Claim, Forward, Subject

__all__ = ["deferred", "inquire", "reassure", "replay"]

SMALL = 1000  # entries: a larger pair that passed is not looked at for what looks wrong and is not
REMARKS = 2  # about a pair that passed
SLOPES = 40  # measured for an explanation, and
EACH = 24  # so many more for each wrong argument


def deferred(subject: Subject, claim: Claim, findings: Mapping[str, Finding]) -> Callable[[], Answers]:
    """Return the inquiry into a check, to be made when somebody reads what it finds.

    It keeps a copy of the arguments, which may have changed by then, but for a large pair that passed, of which nothing
    is asked.
    """
    kept = replace(claim.arguments, values=claim.arguments.fresh())
    return functools.partial(inquire, subject, claim._replace(forward=subject.forward, arguments=kept), findings)


@np.errstate(all="ignore")
def inquire(subject: Subject, claim: Claim, findings: Mapping[str, Finding]) -> Answers:
    """Ask which lines of the backward are right, and why those that are not are wrong.

    Never raises: what goes wrong here is told as ``silence``.
    """
    wrong = tuple(path for path, finding in findings.items() if finding.verdict is Verdict.FAIL)
    try:
        subject, claim = _apart(subject, claim)
        with answering("the pair", ()):
            return explain(subject.forward, subject.backward, claim.arguments, _evidence(subject, claim, wrong))
    except Exception as problem:  # noqa: BLE001  (the verdict and where it is wrong must stand, whatever this raises)
        return Answers(silence=f"looking for one raised {told(problem)}")


def _apart(subject: Subject, claim: Claim) -> tuple[Subject, Claim]:
    """Return the pair in a private copy of all that it reaches: what it does there is done to nothing of the user's."""
    own, arguments = Twins(), claim.arguments
    forward, backward = own.of(subject.forward), own.of(subject.backward)
    arguments = replace(arguments, values=tuple(map(own.of, arguments.values)))
    return replace(subject, forward=forward, backward=backward), claim._replace(forward=forward, arguments=arguments)


def _evidence(subject: Subject, claim: Claim, wrong: tuple[str, ...]) -> Evidence:
    arguments = claim.arguments
    _, cache = subject.forward(*arguments.fresh())
    returned = subject.backward(copy.deepcopy(claim.cotangent), cache)  # which may write into it
    found = match_gradients("backward", returned, arguments)
    claimed = {path: g.astype(np.float64) for path, g in found.gradients.items() if g is not None}
    pairing = Pairing.at_point(subject.forward, arguments, claim.cotangent)
    return Evidence(
        subject.forward,
        subject.backward,
        arguments,
        claim.out,
        claim.cotangent,
        returned,
        claimed,
        _misshapen(returned, arguments, found.gradients),
        wrong,
        pairing,
        central_difference(pairing, arguments.point),
        subject.rng,
        SLOPES + EACH * len(wrong),
    )


def _misshapen(returned: Any, arguments: Arguments, gradients: Mapping[str, Array | None]) -> dict[str, Array]:
    """Return the float arrays that the backward returned in the place of a gradient, but in another shape."""
    paths = arguments.layout.paths
    if isinstance(returned, Mapping):
        given = {path: returned.get(path, returned.get(f"d{path}")) for path in paths}
    else:
        found = [leaf for _, leaf in leaves(returned, "returned")]
        given = dict(zip(paths, found, strict=True)) if len(found) == len(paths) else {}
    named = ((path, np.asarray(leaf)) for path, leaf in given.items() if gradients[path] is None and leaf is not None)
    return {path: array for path, array in named if is_float(array)}


def replay(forward: object, backward: object, seed: int, settings: Mapping[str, Any]) -> str:
    """Return the line of Python that does a check again; what has no name in Python is called by its role."""
    given = "".join(f", {name}={_written(value, name)}" for name, value in settings.items() if value is not None)
    return (
        f"examine_backward({_written(forward, 'forward')}, {_written(backward, 'backward')}, args, seed={seed}{given})"
    )


def _written(value: object, role: str) -> str:
    """Return ``value`` as Python: a function by its name, if that is one."""
    if isinstance(value, tuple | list) and any(map(callable, value)):
        return f"({', '.join(_written(each, role) for each in value)}{',' if len(value) == 1 else ''})"
    if callable(value):
        return name_of(value) if name_of(value).isidentifier() else role
    return shown(value.item() if isinstance(value, np.generic) else value)
