"""Odd settings for the fuzzer, and the exceptions that a user's functions may raise."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np
import pytest

from benchmarks.fuzzing.oddities import VALUES
from gradcheck import autodiff, central_difference, complex_step

__all__ = ["EXCEPTIONS", "GREENISH", "SETTINGS"]


def _raises(_calls, _total):
    raise RuntimeError("progress was not wanted")


_THINGS = (
    "none",
    "string",
    "int",
    "bool",
    "float",
    "nan float",
    "complex",
    "int array",
    "nan array",
    "empty list",
    "empty dict",
    "module",
    "unprintable",
    "dataclass",
    "itself",
    "huge int",
    "generator",
    "class",
)
SETTINGS: dict[str, dict[str, Any]] = {
    "tol": {
        **{name: VALUES[name] for name in _THINGS},
        **{str(tol): lambda r, tol=tol: tol for tol in (0, 0.0, 1e-12, 1e-4, 0.5, 0.999, 1, -1e-3, 1e300, 5e-324)},
        "float32": lambda r: np.float32(1e-3),
        "0-d": lambda r: np.array(1e-3),
        "one": lambda r: [1e-3],
    },
    "wrt": {
        **{name: VALUES[name] for name in _THINGS},
        **{
            str(wrt): lambda r, wrt=wrt: wrt
            for wrt in (
                "x",
                "W",
                ("x",),
                ["x", "W"],
                0,
                -1,
                (0, 1),
                7,
                (0, 0),
                "x.W",
                ("x", "x"),
                (),
                "params['W']",
                "nonsense",
                (None,),
                {"x"},
                ((0,),),
            )
        },
        "np.int64": lambda r: np.int64(0),
        "generator of names": lambda r: (name for name in ["x"]),
    },
    "seed": {
        **{name: VALUES[name] for name in _THINGS},
        **{str(seed): lambda r, seed=seed: seed for seed in (0, 1, 2**32, 2**64, 10**30, -1, 1.0)},
        "np.int64": lambda r: np.int64(3),
        "np.uint8": lambda r: np.uint8(3),
        "rng": lambda r: np.random.default_rng(0),
    },
    "oracle": {
        **{name: VALUES[name] for name in _THINGS},
        "difference": lambda r: central_difference,
        "complex step": lambda r: complex_step,
        "two": lambda r: (central_difference, complex_step),
        "twice": lambda r: [central_difference, central_difference],
        "name": lambda r: "central_difference",
        "autodiff unmade": lambda r: autodiff,
        "autodiff of numpy": lambda r: autodiff(lambda *a: np.sin(a[0])),
        "wrong kind": lambda r: lambda f, x: lambda v: 0.0,
        "no pushforward": lambda r: lambda f, x: None,
        "nested": lambda r: [[central_difference]],
        "generator of oracles": lambda r: (o for o in [central_difference]),
    },
    "progress": {
        **{name: VALUES[name] for name in ("none", "string", "int", "module", "class", "bool", "empty list")},
        "good": lambda r: lambda calls, total: None,
        "print-less": lambda r: lambda *a, **k: 3,
        "one argument": lambda r: lambda calls: None,
        "raises": lambda r: _raises,
    },
    "hints": {
        name: VALUES[name] for name in ("none", "string", "int", "bool", "nan array", "empty list", "unprintable")
    }
    | {"False": lambda r: False},
    "strict": {
        name: VALUES[name] for name in ("none", "string", "int", "bool", "nan array", "empty list", "unprintable")
    }
    | {"False": lambda r: False},
    "reference": {
        **{name: VALUES[name] for name in _THINGS},
        "numpy": lambda r: lambda *a: np.sin(a[0]),
        "nothing": lambda r: lambda *a: None,
        "other shape": lambda r: lambda *a: 0.0,
        "raises": lambda r: lambda *a: 1 / 0,
    },
}


class Base(BaseException):
    """An exception that is no Exception."""


class Own(Exception):
    """An exception of the user's with a constructor of its own."""

    def __init__(self, code, *, why):
        super().__init__(code, why)


class Mute(Exception):
    """An exception that cannot be shown."""

    def __str__(self):
        raise RuntimeError("no message")


EXCEPTIONS: dict[str, Any] = {
    "ValueError": lambda: ValueError("the user's own"),
    "TypeError": lambda: TypeError("the user's own"),
    "ZeroDivisionError": lambda: ZeroDivisionError("the user's own"),
    "KeyError": lambda: KeyError("the user's own"),
    "IndexError": lambda: IndexError("the user's own"),
    "AttributeError": lambda: AttributeError("the user's own"),
    "RuntimeError": lambda: RuntimeError("the user's own"),
    "NotImplementedError": lambda: NotImplementedError("the user's own"),
    "RecursionError": lambda: RecursionError("the user's own"),
    "MemoryError": lambda: MemoryError("the user's own"),
    "StopIteration": lambda: StopIteration("the user's own"),
    "StopAsyncIteration": lambda: StopAsyncIteration("the user's own"),
    "AssertionError": lambda: AssertionError("the user's own"),
    "FloatingPointError": lambda: FloatingPointError("the user's own"),
    "LinAlgError": lambda: np.linalg.LinAlgError("the user's own"),
    "OSError": lambda: OSError(2, "the user's own"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "the user's own"),
    "no message": ValueError,
    "group": lambda: ExceptionGroup("the user's own", [ValueError("one"), KeyError("two")]),
    "constructor": lambda: Own(3, why="the user's own"),
    "mute": Mute,
    "warning": lambda: UserWarning("the user's own"),
    "SkipTest": lambda: unittest.SkipTest("the user's own"),
    "pytest.skip": lambda: pytest.skip.Exception("the user's own"),
    "pytest.xfail": lambda: pytest.xfail.Exception("the user's own"),
    "pytest.fail": lambda: pytest.fail.Exception("the user's own"),
    "SystemExit 0": lambda: SystemExit(0),
    "SystemExit": lambda: SystemExit("the user's own"),
    "GeneratorExit": lambda: GeneratorExit("the user's own"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "BaseException": lambda: Base("the user's own"),
}
GREENISH = (
    unittest.SkipTest,
    pytest.skip.Exception,
    pytest.xfail.Exception,
    SystemExit,
)  # what a runner takes for no failure
