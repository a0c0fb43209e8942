"""The changes that the fuzzer makes to a case: its arguments and settings, and what its functions do and return.

A change takes a random generator and the case, changes the case, and returns what it did in a few words.
"""

from __future__ import annotations

import numpy as np

from benchmarks.fuzzing.behaviour import (
    a_function_is_odd,
    something_is_raised,
    the_backward_refuses,
    the_forward_refuses,
    the_functions_have_state,
)
from benchmarks.fuzzing.case import Case, Change, pick
from benchmarks.fuzzing.oddities import LAYOUTS, VALUES
from benchmarks.fuzzing.returns import the_backward_is_wrong, the_backward_returns, the_forward_returns
from benchmarks.fuzzing.settings import SETTINGS

ERRONEOUS = ("warnings are errors", "floating-point errors raise", "both")


def an_argument_is_replaced(rng, case):
    i, name = int(rng.integers(max(len(case.args), 1))), pick(rng, VALUES)
    args = list(case.args)
    args[i : i + 1] = [VALUES[name](rng)]
    case.args, case.truth = tuple(args), ""
    return f"argument {i} is: {name}"


def an_argument_lies_otherwise(rng, case):
    floats = [i for i, a in enumerate(case.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    if not floats:
        return an_argument_is_replaced(rng, case)
    name = pick(rng, LAYOUTS)
    chosen = floats if rng.random() < 0.4 else [int(pick(rng, floats))]
    with np.errstate(all="ignore"):
        case.args = tuple(LAYOUTS[name](a) if i in chosen else a for i, a in enumerate(case.args))
    case.truth = case.truth if name in {"fortran", "read-only", "strided", "reversed", "subclass"} else ""
    return f"arguments {chosen} are {name}"


def an_argument_stays(rng, case):
    """Pass an odd value besides, which the forward takes and does not use."""
    name, forward, backward = pick(rng, VALUES), case.forward, case.backward
    count = len(case.args)

    def with_a_setting(*args):
        return forward(*args[:count])

    def names_none(dout, cache):
        gradients = backward(dout, cache)
        return (*(gradients if isinstance(gradients, tuple) and len(gradients) == count else (gradients,)), None)

    told = rng.random() < 0.5
    case.forward, case.args = with_a_setting, (*case.args, VALUES[name](rng))
    case.backward = names_none if told else backward
    case.truth = ""
    return f"a last argument stays: {name}{', None for it' if told else ''}"


def args_are_odd(rng, case):
    given = case.args
    odd = {
        "one array": lambda: given[0] if len(given) else np.ones(2),
        "a list": lambda: list(given),
        "a dict": lambda: dict(enumerate(given)),
        "a string": lambda: "x",
        "none": lambda: None,
        "an iterator": lambda: iter(given),
        "empty": lambda: (),
        "one too many": lambda: (*given, np.ones(2)),
        "one too few": lambda: given[:-1],
        "an object array": lambda: np.array([None, 1.0], dtype=object),
        "a set": lambda: {1.0},
        "nested once more": lambda: (given,),
    }
    name = pick(rng, odd)
    case.args, case.truth = odd[name](), ""
    return f"args is {name}"


def a_setting_is_odd(rng, case):
    name = pick(rng, SETTINGS)
    value = pick(rng, SETTINGS[name])
    case.settings[name], case.truth = SETTINGS[name][value](rng), ""
    return f"{name} is: {value}"


def errors_are_raised(rng, case):
    case.ambient = pick(rng, ERRONEOUS)
    return case.ambient


CHANGES: tuple[tuple[Change, float], ...] = (
    (an_argument_is_replaced, 3),
    (an_argument_lies_otherwise, 3),
    (an_argument_stays, 2),
    (args_are_odd, 0.5),
    (a_setting_is_odd, 3),
    (the_forward_returns, 2),
    (the_backward_returns, 2),
    (the_backward_is_wrong, 3),
    (something_is_raised, 3),
    (the_forward_refuses, 2),
    (the_backward_refuses, 1.5),
    (the_functions_have_state, 1.5),
    (a_function_is_odd, 0.7),
    (errors_are_raised, 2),
)


def change(rng: np.random.Generator, case: Case) -> None:
    """Apply one change, drawn by its weight."""
    weights = np.array([weight for _, weight in CHANGES])
    function = CHANGES[int(rng.choice(len(CHANGES), p=weights / weights.sum()))][0]
    try:
        with np.errstate(all="ignore"):
            case.labels.append(function(rng, case))
    except (TypeError, ValueError, AttributeError, IndexError, KeyError):
        case.labels.append(f"({function.__name__} does not apply)")  # two changes that do not go together
