"""What a failed check is asked further: why, and what makes it happen again. Level 4."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.arguments import name_of
from gradcheck.calls import answering
from gradcheck.containers import shown
from gradcheck.errors import told
from gradcheck.report import Answers, Finding, Verdict
from gradcheck.steps.explain import explain
from gradcheck.steps.twin import apart
from gradcheck.verdict.subject import Claim, Subject

__all__ = ["deferred", "inquire", "replay", "written"]

LARGE = 100_000  # entries of all arguments: of more, a pass keeps no copy for somebody who asks for its lines


def deferred(subject: Subject, claim: Claim, findings: Mapping[str, Finding]) -> Callable[[], Answers]:
    """Return the inquiry into a check, to be made when somebody reads what it finds.

    It keeps a copy of the arguments, which may have changed by then, but for a large pair that passed, of which nothing
    is asked.
    """
    passed = all(finding.verdict is not Verdict.FAIL for finding in findings.values())
    if passed and claim.arguments.layout.size > LARGE:
        return Answers
    kept = replace(claim.arguments, values=claim.arguments.fresh())
    return functools.partial(inquire, subject, claim._replace(forward=subject.forward, arguments=kept), findings)


@np.errstate(all="ignore")
def inquire(subject: Subject, claim: Claim, findings: Mapping[str, Finding]) -> Answers:
    """Ask which lines of the backward are right, and why those that are not are wrong.

    Never raises: what goes wrong here is told as ``silence``.
    """
    wrong = tuple(path for path, finding in findings.items() if finding.verdict is Verdict.FAIL)
    try:
        given = subject.forward, subject.backward, claim.arguments.values
        with apart(*given) as (forward, backward, values), answering("the pair", ()):
            return explain(forward, backward, replace(claim.arguments, values=values), claim.cotangent, wrong)
    except Exception as problem:  # noqa: BLE001  (the verdict and where it is wrong must stand, whatever this raises)
        return Answers(silence=f"looking for one raised {told(problem)}")


def replay(
    forward: object,
    backward: object,
    seed: int,
    settings: Mapping[str, Any],
    call: str = "examine_backward",
    roles: tuple[str, str] = ("forward", "backward"),
) -> str:
    """Return the line of Python that does a check again; what has no name in Python is called by its role."""
    given = "".join(f", {name}={written(value, name)}" for name, value in settings.items() if value is not None)
    pair = ", ".join(map(written, (forward, backward), roles))
    return f"{call}({pair}, args, seed={seed}{given})"


def written(value: object, role: str) -> str:
    """Return ``value`` as Python: a function by its name, if that is one."""
    if isinstance(value, tuple | list) and any(map(callable, value)):
        return f"({', '.join(written(each, role) for each in value)}{',' if len(value) == 1 else ''})"
    if callable(value):
        return name_of(value) if name_of(value).isidentifier() else role
    return shown(value.item() if isinstance(value, np.generic) else value)
