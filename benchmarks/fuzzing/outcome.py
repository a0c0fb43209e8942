"""The judgement of one outcome: may it leave the library, and is everything else as it was?"""

from __future__ import annotations

import copy
import importlib
import io
import json
import opcode
import os
import pickle
import random
import sys
import traceback
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import gradcheck
from benchmarks.fuzzing.case import Case
from benchmarks.fuzzing.oddities import there
from benchmarks.fuzzing.settings import GREENISH
from gradcheck.calls import RAISED

HOUSE = str(Path(gradcheck.__file__).parent)
USERS = {str(path) for path in Path(__file__).parent.glob("*.py") if path != Path(__file__)}  # the functions of users
ENCODINGS = ("ascii", "cp1252")  # of consoles that cannot show −, ± or ✓
RAISE = opcode.opmap["RAISE_VARARGS"]
FORMS = ((" must ", " but "), ("could not ", " because "))  # of a message of the house
DOORS = {("pairing.py", "call"), ("calls.py", "called"), ("calls.py", "counted")}
ERRORS = (TypeError, ValueError, ImportError)


def warm() -> None:
    """Import what a check may import: the first import of some changes filters of warnings, or draws a number."""
    for name in ("jax", "torch", "hypothesis", "scipy.sparse", "pandas", "rich.progress", "matplotlib", "derivations"):
        if there(name.partition(".")[0]):
            importlib.import_module(name)
    for name in gradcheck.__all__:
        getattr(gradcheck, name)


# ------------------------------------------------------------------ surfaces


def render(value: Any, *, consoles: bool = False) -> None:
    """Show an answer on all of its surfaces; also on ``consoles`` that cannot show every sign."""
    parts = [value] if hasattr(value, "to_dict") else list(value) if isinstance(value, tuple) else []
    for part in parts:
        text = str(part)
        if hasattr(part, "_repr_html_"):
            part._repr_html_()
        if hasattr(part, "to_dict"):
            json.dumps(part.to_dict(), allow_nan=False)
        if hasattr(part, "show"):
            for encoding in ENCODINGS:
                part.show(io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict"))
        if isinstance(part, gradcheck.Report | gradcheck.BlindSpots):
            if consoles:
                _print_on_consoles(part)
            again = pickle.loads(pickle.dumps(part))  # noqa: S301  (of our own)
            if str(again) != text or str(copy.deepcopy(part)) != text:
                raise RuntimeError("a pickled report says something else")
    if isinstance(value, gradcheck.Report):
        bool(value), value.error, value.bound, repr(value)


def _print_on_consoles(value: Any) -> None:
    """Print on a console that cannot show every sign: a print of a report must not die on it."""
    stdout = sys.stdout
    for encoding in ENCODINGS:
        sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
        try:
            print(value)
        finally:
            sys.stdout = stdout


def kind_of(value: Any) -> str:
    """Return the verdict of a report, "other answer" for anything else."""
    return str(value.verdict) if isinstance(value, gradcheck.Report | gradcheck.ShapesReport) else "other answer"


def untrue(case: Case, value: Any) -> str:
    """Return what is wrong with a verdict; empty where nothing is known against it."""
    if not isinstance(value, gradcheck.Report | gradcheck.ShapesReport):
        return ""
    verdict = str(value.verdict)
    if bool(value) != (verdict == "pass"):
        return f"a report is {bool(value)} for {verdict}"
    if verdict == "pass" and case.pulled["watched"] and not case.pulled["calls"]:
        return "passes without a call of the backward"
    if verdict == "pass" and case.pulled["nan"]:
        return "passes although the backward gave NaN"
    if verdict == "pass" and case.truth == "wrong":
        return "passes a wrong backward"
    return "fails a right backward" if verdict == "fail" and case.truth == "right" else ""


# ------------------------------------------------------------------ exceptions


def of_exception(case: Case, problem: BaseException) -> tuple[str, str, str]:
    """Return the kind of an exception, what is wrong with its leaving the library, and where it comes from."""
    own = any(problem is raised for raised in case.raised) or _is_users(problem)
    if own and isinstance(problem, GREENISH):
        return "exception", f"{type(problem).__name__} of the user's leaves, and a runner takes it for no failure", ""
    if own and isinstance(problem, KeyboardInterrupt):
        return "the user's own", "", ""
    if own:
        noted = any("gradcheck" in note for note in getattr(problem, "__notes__", ()))
        return (
            "the user's own",
            "" if noted else "the user's own exception without a note",
            "" if noted else tail(problem),
        )
    if type(problem).__name__ == "Hung":
        return "exception", "hangs", tail(problem)
    of_house = type(problem).__module__.startswith("gradcheck")
    if (of_house or isinstance(problem, ERRORS)) and _is_deliberate(problem):
        text = _text(problem)
        if any(all(word in text for word in form) for form in FORMS):
            return "clear error", "", ""
        return "exception", f"a {type(problem).__name__} that is not of the house's form", text.splitlines()[0][:120]
    return "exception", f"{type(problem).__name__} from inside", tail(problem)


def _frames(problem: BaseException) -> list[types.TracebackType]:
    frames, at = [], problem.__traceback__
    while at is not None:
        frames.append(at)
        at = at.tb_next
    return frames


def _is_users(problem: BaseException) -> bool:
    """Whether an exception comes out of the user's functions, or out of what PyTorch and JAX do for them."""
    whose = [_whose(frame.tb_frame.f_code.co_filename) for frame in _frames(problem)]
    if "house" not in whose:
        return False
    last = len(whose) - 1 - whose[::-1].index("house")
    after = whose[last + 1 :]
    if not after:  # a function in C, or one that takes other arguments, has no frame: the door says that it was called
        return _is_door(_frames(problem)[-1]) and any(n.startswith(RAISED) for n in getattr(problem, "__notes__", ()))
    return "user" in after or ("framework" in after and bool(getattr(problem, "__notes__", ())))


def _is_door(frame: types.TracebackType) -> bool:
    """Whether a frame is one of the two in which the house calls a function of the user's, and does nothing else."""
    code = frame.tb_frame.f_code
    return (Path(code.co_filename).name, code.co_name) in DOORS and _whose(code.co_filename) == "house"


def _whose(filename: str) -> str:
    if filename.startswith(HOUSE):
        return "house"
    if filename in USERS:
        return "user"
    return "framework" if "/torch/" in filename or "/jax/" in filename else "other"


def _is_deliberate(problem: BaseException) -> bool:
    """Whether the innermost frame is the house's, at a raise statement."""
    frames = _frames(problem)
    inner = frames[-1]
    code = inner.tb_frame.f_code
    return _whose(code.co_filename) == "house" and code.co_code[inner.tb_lasti] == RAISE


def _text(problem: BaseException) -> str:
    try:
        return str(problem) or "(no message)"
    except Exception:  # noqa: BLE001  (a message of the user's may raise)
        return "(no message can be had)"


def tail(problem: BaseException) -> str:
    """Return where an exception comes from: the last line of the house's in it, and what was raised where."""
    frames = traceback.extract_tb(problem.__traceback__)
    if not frames:
        return "nowhere"
    house = [frame for frame in frames if frame.filename.startswith(HOUSE)]
    last, inner = (house or frames)[-1], frames[-1]
    place = f"{Path(last.filename).relative_to(HOUSE) if house else Path(last.filename).name}:{last.lineno} {last.name}"
    message = (_text(problem).splitlines() or [""])[0][:160]
    return f"{place}\n{last.line}\n{Path(inner.filename).name}:{inner.lineno} {type(problem).__name__}: {message}"


# ------------------------------------------------------------------ what must be as it was


def state() -> dict[str, Any]:
    """Return what a check must not change, each in a form that can be compared."""
    import jax

    numbers = np.random.get_state()  # noqa: NPY002  (the global one is what is watched)
    return {
        "np.geterr": np.geterr(),
        "np.random": (numbers[1].tobytes(), numbers[2]),
        "random": random.getstate(),
        **(_torch_state() if there("torch") else {}),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "jax x64": jax.config.jax_enable_x64,
        "print options": {**np.get_printoptions()},
        "recursion limit": sys.getrecursionlimit(),
        "trace": (sys.gettrace(), sys.getprofile()),
        "hooks": (sys.excepthook, sys.stdout, sys.stderr),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
    }


def _torch_state() -> dict[str, Any]:
    import torch

    return {
        "torch's random state": torch.random.get_rng_state().numpy().tobytes(),
        "torch's defaults": (str(torch.get_default_dtype()), torch.is_grad_enabled()),
    }


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names of what is not as it was."""
    return [name for name in before if before[name] != after[name]]


def restore(before: dict[str, Any]) -> None:
    """Put back what would make every later case look guilty."""
    np.seterr(**before["np.geterr"])
    np.set_printoptions(**before["print options"])
    sys.setrecursionlimit(before["recursion limit"])
    warnings.filters[:] = before["warnings"][0]
    sys.stdout = before["hooks"][1]


def snapshot(tree: Any, depth: int = 0) -> list[tuple[str, bytes]]:
    """Return the bytes of the plain arrays in a tree."""
    if isinstance(tree, np.ndarray):
        return [] if tree.dtype.hasobject else [(f"{tree.shape}{tree.dtype}", np.ascontiguousarray(tree).tobytes())]
    if depth > 30:
        return []
    parts = list(tree.values()) if isinstance(tree, dict) else list(tree) if isinstance(tree, tuple | list) else []
    return [found for part in parts[:200] for found in snapshot(part, depth + 1)]


def same(before: list[tuple[str, bytes]], after: list[tuple[str, bytes]]) -> bool:
    """Whether the arguments are as they were."""
    return before == after
