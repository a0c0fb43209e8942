"""What the command line shows of a run: progress, failures, the table, and the same as JSON. Level 6.

Rich draws the bar and the table, and is imported where it does. Text passes through :func:`say`, which prints on
any terminal, also one that knows no letters beyond ASCII.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from gradcheck.commands.job import Outcome, Row, worst
from gradcheck.render import spelled

__all__ = [
    "SetupError",
    "document",
    "must_be_writable",
    "must_have_rich",
    "printable",
    "progress",
    "say",
    "show",
    "summary",
    "versions",
    "write_json",
]

SCHEMA_VERSION = 1
STYLES = {"pass": "green", "inconclusive": "yellow", "error": "red", "fail": "red"}
HEADS = ("derivation", "input", "oracle", "examples", "worst error", "bound", "time", "verdict")

Replay = Callable[[Outcome], str]


class SetupError(Exception):
    """The run could not be shown or kept; nothing was checked."""


def must_have_rich(job: str = "check") -> None:
    """Raise SetupError unless Rich is installed."""
    if importlib.util.find_spec("rich") is None:
        raise SetupError(f"gradcheck {job} must have Rich, but it is not installed. Install gradcheck[derivations].")


def must_be_writable(path: Path, option: str = "--json") -> None:
    """Raise SetupError unless a file can be written at ``path``: to learn it after the run would be too late."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise SetupError(f"{option} must name a file in a folder that can be written to, but it is {str(path)!r}.")


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Draw a bar of ``total`` trials on a terminal, nothing elsewhere; yields what moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=total)

        def tell(done: str) -> None:
            bar.update(task, advance=1, description=done)

        yield tell


def say(text: str, file: TextIO | None = None) -> None:
    """Print ``text``, with what the output's encoding lacks spelled in ASCII."""
    print(printable(text), file=file, flush=True)


def show(rows: Sequence[Row], replay: Replay, *, in_full: bool = False) -> None:
    """Print the first failure and the first remarks of every row, then the table; with ``in_full`` every report."""
    for row in rows:
        if in_full:
            for outcome in row.outcomes:
                say(f"\n{_told(outcome)}")
            continue
        trial, count = row.trial, len(row.outcomes)
        who = f"\n{trial.derivation.name}, {trial.source} input, {trial.oracle}"
        if row.failures:
            first = row.failures[0]
            say(
                f"{who}: {len(row.failures)} of {count} examples did not pass. The first:\n{_told(first)}\n"
                f"  replay: {replay(first)}"
            )
        if row.remarked:
            first = row.remarked[0]
            told = "\n  ".join((_example(first), *first.remarks))
            say(f"{who}: {len(row.remarked)} of {count} examples pass with a remark. The first:\n  {told}")
    if rows:
        _print_table(rows)


def summary(rows: Sequence[Row], planned: int, seconds: float, command: str) -> str:
    """Return the last lines: the verdict of the run, what it covered, and how to replay it."""
    done = sum(len(row.outcomes) for row in rows)
    bad = sum(row.verdict != "pass" for row in rows)
    if done < planned:
        head = f"INTERRUPTED after {done} of {planned} checks"
    else:
        head = (
            f"{worst(row.verdict for row in rows).upper()}: {len(rows) - bad} of {len(rows)} rows passed, {done} checks"
        )
    return f"{head}, {seconds:.1f} s\nreplay: {command}"


def document(
    rows: Sequence[Row],
    replay: Replay,
    settings: Mapping[str, Any],
    command: str,
    seconds: float,
    *,
    complete: bool,
) -> dict[str, Any]:
    """Return the results as plain data; a number that is not finite becomes a string.

    ``versions`` names what else the examples depend on: NumPy may change its streams of random numbers.
    """
    verdict = worst(row.verdict for row in rows) if rows else "inconclusive"
    return {
        "schema_version": SCHEMA_VERSION,
        "complete": complete,
        "command": command,
        **settings,
        "verdict": verdict if complete or verdict != "pass" else "inconclusive",
        "seconds": seconds,
        "versions": versions(),
        "rows": [_row(row, replay) for row in rows],
    }


def versions() -> dict[str, str | None]:
    """Return the versions of what results depend on, None for a package that is not installed."""
    packages = ("gradcheck", "numpy", "jax")
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` to ``path``, wholly or not at all.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _row(row: Row, replay: Replay) -> dict[str, Any]:
    return {
        "derivation": row.trial.derivation.name,
        "target": row.trial.target,
        "input": row.trial.source,
        "oracle": row.trial.oracle,
        "verdict": row.verdict,
        "examples": len(row.outcomes),
        "error": _plain(row.error),
        "bound": _plain(row.bound),
        "seconds": row.seconds,
        "remarks": [
            {"example": _number(outcome), "replay": replay(outcome), "remarks": list(outcome.remarks)}
            for outcome in row.remarked
        ],
        "failures": [
            {
                "example": _number(outcome),
                "verdict": outcome.verdict,
                "sizes": {name: _plain(value) for name, value in (outcome.sizes or {}).items()},
                "replay": replay(outcome),
                "exception": outcome.exception,
                "report": None if outcome.report is None else outcome.report.to_dict(),
            }
            for outcome in row.failures
        ],
    }


def _told(outcome: Outcome) -> str:
    """Return one outcome in words: which example, and its report or what it raised."""
    told = f"  {_example(outcome)}\n{outcome.exception if outcome.report is None else outcome.report}"
    return told.replace("\n", "\n  ")


def _example(outcome: Outcome) -> str:
    number = "real input" if outcome.trial.number is None else f"example {outcome.trial.number}"
    sizes = ", ".join(f"{name}={value!r}" for name, value in (outcome.sizes or {}).items())
    return f"{number}: {sizes}" if sizes else number


def _number(outcome: Outcome) -> int | str:
    return "real" if outcome.trial.number is None else outcome.trial.number


def _print_table(rows: Sequence[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for head in HEADS:
        table.add_column(head, justify="right" if head in HEADS[3:7] else "left", overflow="fold")
    for row in rows:
        trial = row.trial
        numbers = (str(len(row.outcomes)), _short(row.error), _short(row.bound), f"{row.seconds:.1f} s")
        cells = (trial.derivation.name, trial.source, trial.oracle, *numbers)
        remarked = f", {len(row.remarked)} with a remark" if row.remarked else ""
        verdict = Text((row.verdict.upper() if row.verdict != "pass" else "pass") + remarked, style=STYLES[row.verdict])
        table.add_row(*(Text(printable(cell)) for cell in cells), verdict)
    # Into a file or a pipe the table is as wide as its content.
    Console(width=None if sys.stdout.isatty() else 1000, highlight=False).print(table)


def _short(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.1e}"


def printable(text: str) -> str:
    """Return ``text`` with what the output's encoding lacks spelled in ASCII."""
    return spelled(text, sys.stdout)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float) or value is None else repr(value)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
