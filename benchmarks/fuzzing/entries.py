"""How the fuzzer makes a case from its seed, and how each public entry of gradcheck is called with it."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gradcheck
from benchmarks.fuzzing.adapted import ADAPTERS
from benchmarks.fuzzing.case import Case, pick, watch
from benchmarks.fuzzing.changes import change
from benchmarks.fuzzing.functions import PAIRS
from benchmarks.fuzzing.oddities import VALUES
from benchmarks.fuzzing.shapes import specification
from gradcheck.__main__ import main as command_line

STREAM = 0x66757A7A  # our own, so that no case shares numbers with a check of the same seed
SHARES = {
    "examine_backward": 0.44,
    "examine_pushforward": 0.03,
    "examine_jacobian": 0.02,
    "examine_shapes": 0.03,
    "check_backward": 0.13,
    "adapters": 0.20,
    "blind_spots": 0.05,
    "oracles": 0.04,
    "judge_equation": 0.035,
    "Derivation": 0.015,
    "main": 0.01,
}
BY_POINT = ("wrt", "seed")  # the settings of blind_spots
SEEDS = {
    "examine_backward",
    "examine_pushforward",
    "examine_jacobian",
    "check_backward",
    "examine_shapes",
    "blind_spots",
    "adapters",
}


def make(seed: int) -> tuple[Case, Callable[[], Any]]:
    """Return the case of a seed, and the function without arguments that calls the entry with it."""
    rng = np.random.default_rng([STREAM, seed])
    entry = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    forward, backward, args = pick(rng, PAIRS)(rng)
    case = Case(seed, entry, forward, backward, args)
    if entry in SEEDS:
        case.settings["seed"] = int(rng.integers(1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd may be deprecated
        return case, globals()[f"_{entry}"](rng, case)


def _changed(rng: np.random.Generator, case: Case, most: int = 2) -> None:
    for _ in range(int(rng.choice(most + 1, p=[0.12, *[0.88 / most] * most]))):
        change(rng, case)
    if case.truth or rng.random() < 0.5:
        watch(case)


def _examine_backward(rng, case):
    _changed(rng, case)
    return lambda: gradcheck.examine_backward(case.forward, case.backward, case.args, **case.settings)


def _examine_pushforward(rng, case):
    _changed(rng, case, 1)
    case.truth, value = "", VALUES[pick(rng, VALUES)](rng)
    function = _without_cache(case.forward)
    rules = {
        "output": lambda primals, tangents: (function(*primals), function(*primals)),
        "alone": lambda primals, tangents: function(*primals),
        "tangents": lambda primals, tangents: (function(*primals), tangents[0] if tangents else None),
        "writes": lambda primals, tangents: [np.multiply(t, 2, out=t) for t in tangents],
        "odd": lambda primals, tangents: value,
        "odd pair": lambda primals, tangents: (function(*primals), value),
        "raises": lambda primals, tangents: 1 / 0,
        "no function": value,
    }
    name = pick(rng, rules)
    case.labels.append(f"rule {name}")
    return lambda: gradcheck.examine_pushforward(function, rules[name], case.args, **case.settings)


def _examine_jacobian(rng, case):
    _changed(rng, case, 1)
    case.truth, value = "", VALUES[pick(rng, VALUES)](rng)
    function = _without_cache(case.forward)
    matrices = {
        "output": function,
        "zeros": lambda *args: np.zeros((np.size(function(*args)), np.size(args[0]))),
        "several": lambda *args: [np.zeros((np.size(function(*args)), np.size(each))) for each in args],
        "dict": lambda *args: {"x": value, ("out", "x"): value},
        "odd": lambda *args: value,
        "raises": lambda *args: 1 / 0,
        "no function": value,
    }
    name = pick(rng, matrices)
    case.labels.append(f"matrix {name}")
    return lambda: gradcheck.examine_jacobian(function, matrices[name], case.args, **case.settings)


def _without_cache(forward):
    """Return a function of the output alone; what is no function stays."""
    if not callable(forward):
        return forward

    def function(*args):
        returned = forward(*args)
        return returned[0] if isinstance(returned, tuple) and returned else returned

    return function


def _check_backward(rng, case):
    _changed(rng, case)
    return lambda: gradcheck.check_backward(case.forward, case.backward, case.args, **case.settings)


def _examine_shapes(rng, case):
    _changed(rng, case, 1)
    case.truth, text = "", specification(rng, case.forward, case.args)
    case.labels.append(f"shapes {text!r}")
    return lambda: gradcheck.examine_shapes(case.forward, case.backward, text, **{"examples": 6, **case.settings})


def _blind_spots(rng, case):
    _changed(rng, case, 1)
    settings = {name: case.settings[name] for name in BY_POINT if name in case.settings}

    def call():
        found = gradcheck.blind_spots(case.forward, case.backward, case.args, **settings)
        return found & found

    return call


def _adapters(rng, case):
    name = pick(rng, ADAPTERS)
    adapt, case.args, what = ADAPTERS[name](rng, case.forward, case.backward, case.args)
    case.entry, case.truth = name, ""
    case.labels.append(what)
    if rng.random() < 0.25:
        change(rng, case)
    entry = pick(rng, (gradcheck.examine_backward, gradcheck.check_backward))

    def call():
        return entry(*adapt(), case.args, **case.settings)

    return call


def _oracles(rng, case):
    value, truth = VALUES[pick(rng, VALUES)](rng), rng.standard_normal(3)
    functions = {
        "sin": lambda x: np.sin(x).sum(),
        "vector": np.sin,
        "abs": lambda x: np.abs(x).sum(),
        "constant": lambda x: 1.0,
        "int": lambda x: 3,
        "nan": lambda x: np.nan,
        "none": lambda x: None,
        "odd": lambda x: value,
        "raises": lambda x: 1 / 0,
        "complex": lambda x: x + 1j,
        "float32": lambda x: np.float32(np.sin(x).sum()),
        "huge": lambda x: 1e300 * np.sin(x).sum(),
        "no function": value,
    }
    points = {
        "plain": truth,
        "zeros": np.zeros(3),
        "odd": value,
        "tiny": 1e-300 * truth,
        "0-d": np.array(0.5),
        "list": [0.1, 0.2, 0.3],
    }
    tangents = {
        "plain": truth,
        "zeros": np.zeros(3),
        "odd": value,
        "one": np.eye(3)[0],
        "huge": 1e200 * truth,
        "nan": np.full(3, np.nan),
    }
    oracles = {
        "central_difference": lambda: gradcheck.central_difference,
        "complex_step": lambda: gradcheck.complex_step,
        "autodiff": lambda: gradcheck.autodiff(_jax_sine),
        "autodiff of odd": lambda: gradcheck.autodiff(value),
    }
    f, x, v, oracle = (pick(rng, table) for table in (functions, points, tangents, oracles))
    case.args, case.truth = (points[x], tangents[v]), ""
    case.labels.append(f"{oracle} of {f} at {x} along {v}")
    return lambda: oracles[oracle]()(functions[f], points[x])(tangents[v])


def _jax_sine(x):
    import jax.numpy as jnp

    return jnp.sin(x)


def _judge_equation(rng, case):
    _changed(rng, case, 1)
    case.truth, kind = "", pick(rng, ("Definition", "Gradient", "Update", "Claim", "none", "odd"))
    drawn, value = case.args, VALUES[pick(rng, VALUES)](rng)
    shapes = pick(rng, ("n in 1 2", "n in", "n; n < 1", "x: n", 3, None)) if rng.random() < 0.3 else ""
    statement = {
        "Definition": lambda: gradcheck.Definition(
            lambda *a: case.forward(*a)[0],
            lambda *a: case.forward(*a)[0],
            lambda d, a: case.backward(d, case.forward(*a)[1]),
            shapes,
            lambda r, **k: drawn,
        ),
        "Gradient": lambda: gradcheck.Gradient(
            case.forward, case.backward, pick(rng, ("x", ("x",), "nothing")), shapes, lambda r, **k: drawn
        ),
        "Update": lambda: gradcheck.Update(
            case.forward,
            lambda c: -0.1 * case.backward(1.0, c),
            pick(rng, (0.1, 0.0, np.nan)),
            "x",
            shapes,
            lambda r, **k: drawn,
        ),
        "Claim": lambda: gradcheck.Claim(lambda r: pick(rng, ((True, "held"), (False, "not"), value))),
        "none": lambda: None,
        "odd": lambda: value,
    }[kind]()
    case.labels.append(kind)
    equation = gradcheck.Equation("id", "document", "place", "claims", "latex", statement)
    return lambda: gradcheck.judge_equation(equation, pick(rng, (0, 7)))


def _Derivation(rng, case):
    import hypothesis
    from hypothesis import strategies as st

    from gradcheck.strategies import points

    args, case.truth = case.args, ""
    shapes = pick(rng, ("", "n in 1 2 3", "n in 1", "n in", "n in a None", "n, m; n < m", "n, m; n < 1"))
    case.labels.append(f"shapes {shapes}")
    record = gradcheck.Derivation(
        "drawn", case.forward, case.backward, lambda *a: case.forward(*a)[0], shapes, lambda r, **k: args
    )

    def call():
        reports = []

        @hypothesis.settings(max_examples=2, database=None, deadline=None, derandomize=True)
        @hypothesis.given(points(record, generic=bool(rng.random() < 0.5)), st.just(0))
        def holds(args, seed):
            reports.append(gradcheck.examine_backward(record.forward, record.backward, args, seed=seed))
            repr(args)

        holds()
        return reports[-1]

    return call


def _main(rng, case):
    argv = list(
        pick(
            rng,
            (
                ["check", "affine", "--examples", "1", "--oracle", "central_difference", "--seed", "3"],
                ["check", "affine", "--only", "0", "--oracle", "complex_step", "--tol", "1e-3"],
                ["check", "affine", "--only", "real"],
                ["check", "nothing"],
                ["check", "derivations:nothing"],
                ["check", "os"],
                ["check", "tests.nothing:X"],
                ["check", "affine", "--examples", "-1"],
                ["check", "affine", "--examples", "nan"],
                ["check", "affine", "--oracle", "magic"],
                ["check", "affine", "--tol", "nan"],
                ["check", "affine", "--tol", "2"],
                ["check", "affine", "--seed", "1e3"],
                ["check", "affine", "--json", "/nowhere/out.json"],
                ["check", "affine", "--examples", "1", "--oracle", "central_difference", "--json", "OUT"],
                ["check", ""],
                ["check", "affine:"],
                ["check", ":affine"],
                ["check", "affine\0"],
                ["check", "../affine"],
                ["equations", "os"],
                ["equations", "--document", "nothing"],
                ["equations", "nothing.at.all"],
                ["--version"],
                ["--help"],
                ["check", "--help"],
                [],
                ["nonsense"],
                ["check"],
            ),
        )
    )
    case.args, case.truth = tuple(argv), ""
    case.labels.append(" ".join(argv))

    def call():
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            error = stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            try:
                code = command_line([str(Path(folder) / "out.json") if word == "OUT" else word for word in argv])
            except SystemExit as end:
                code = end.code
            if code not in (0, 1, 2) or (code == 2 and not error.getvalue().strip()):
                raise RuntimeError(f"exit code {code!r}, and said {error.getvalue()!r}")
            return code

    return call
