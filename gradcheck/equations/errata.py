"""What the command line shows of a ledger: every equation judged, as a table, as JSON and as a page. Level 6."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gradcheck.commands import cli
from gradcheck.equations.equation import Equation, Judgement, Ruling, judge_equation
from gradcheck.report import Verdict

__all__ = ["document", "judge", "markdown", "records", "right", "show", "summary", "write"]

HEADS = ("equation", "printed", "found", "mistake", "corrected")
STYLES = {**cli.STYLES, "untypable": "magenta"}


def records(module: ModuleType) -> list[Equation]:
    """Return the equations that ``EQUATIONS`` of a module holds; none if it holds anything else, or an id twice."""
    held = getattr(module, "EQUATIONS", ())
    if not isinstance(held, tuple | list) or not all(isinstance(each, Equation) for each in held):
        return []
    return list(held) if len({each.id for each in held}) == len(held) else []


def judge(equations: Sequence[Equation], seed: int) -> Iterator[Judgement]:
    """Judge the equations one by one, each from the same seed: those of one network meet it at the same sizes."""
    for equation in equations:
        yield judge_equation(equation, seed)


def right(judgements: Sequence[Judgement]) -> bool:
    """Whether every corrected form passes."""
    return all(judgement.corrected.verdict == Verdict.PASS for judgement in judgements)


def show(judgements: Sequence[Judgement]) -> None:
    """Print the ledger as a table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for head in HEADS:
        table.add_column(head, overflow="fold", no_wrap=head not in ("found", "mistake"))
    for judgement in judgements:
        found = judgement.printed.found or judgement.corrected.found
        cells = [Text(cli.printable(text)) for text in (found, judgement.printed.mistake or "")]
        verdicts = [_verdict(ruling.verdict) for ruling in (judgement.printed, judgement.corrected)]
        styled = [Text(verdict, style=STYLES[verdict.lower()]) for verdict in verdicts]
        table.add_row(judgement.equation.id, styled[0], *cells, styled[1])
    # Into a file or a pipe the table is as wide as its content.
    Console(width=None if sys.stdout.isatty() else 1000, highlight=False).print(table)


def summary(judgements: Sequence[Judgement], planned: int, seconds: float) -> str:
    """Return the last line: how many formulas are what."""
    if len(judgements) < planned:
        return f"INTERRUPTED after {len(judgements)} of {planned} equations, {seconds:.1f} s"
    passed = sum(judgement.corrected.verdict == Verdict.PASS for judgement in judgements)
    return f"{_counts(judgements)}; {passed} of {planned} pass corrected, {seconds:.1f} s"


def document(judgements: Sequence[Judgement], settings: Mapping[str, Any], seconds: float, *, complete: bool) -> Any:
    """Return the results as plain data, in the form of the results of a check."""
    passed = "pass" if right(judgements) else "fail"
    return {
        "schema_version": cli.SCHEMA_VERSION,
        "complete": complete,
        **settings,
        "verdict": passed if complete or passed == "fail" else "inconclusive",
        "seconds": seconds,
        "versions": cli.versions(),
        "equations": [judgement.to_dict() for judgement in judgements],
    }


def write(path: Path, content: Any) -> None:
    """Write ``content`` as JSON to ``path``, or to the standard output where that is ``-``."""
    if str(path) == "-":
        cli.say(json.dumps(content, indent=1, allow_nan=False))
    else:
        cli.write_json(path, content)


def markdown(judgements: Sequence[Judgement], command: str) -> str:
    """Return the ledger as a page of Markdown, its formulas between dollar signs."""
    wrong = [judgement for judgement in judgements if judgement.printed.verdict != Verdict.PASS]
    made = (
        f"Made by `{command}`: every verdict below was computed. A formula is transcribed as it is printed, with the "
        "smallest reading that gives it a type, and checked; where it does not pass, so is a corrected form. "
        "*Untypable* is a formula whose shapes or indices contradict each other."
    )
    table = "\n".join(("| equation | printed | found | corrected |", "|---|---|---|---|", *map(_line, wrong)))
    parts = ["# The equations, judged", made, f"{_counts(judgements)}.", "## What is wrong as printed", table]
    previous = None
    for judgement in judgements:
        if judgement.equation.document != previous:
            previous = judgement.equation.document
            parts.append(f"## Document {previous}")
        parts += _section(judgement)
    return "\n\n".join(parts) + "\n"


def _line(judgement: Judgement) -> str:
    name, printed = judgement.equation.id, judgement.printed
    return (
        f"| [{name}](#{_anchor(name)}) | {printed.verdict} | {_cell(printed.found)} | {judgement.corrected.verdict} |"
    )


def _section(judgement: Judgement) -> Iterator[str]:
    equation = judgement.equation
    yield f"### {equation.id}"
    yield f"{equation.claims} *{equation.place}.*"
    yield f"$$\n{equation.latex}\n$$"
    if equation.reading:
        yield f"Reading: {equation.reading}"
    yield f"As printed: {_told(judgement.printed)}"
    if equation.corrected is not None:
        yield f"$$\n{equation.corrected_latex}\n$$"
        yield f"Corrected: {_told(judgement.corrected)}"


def _told(ruling: Ruling) -> str:
    """Return a verdict and what was found, as a sentence."""
    return f"**{ruling.verdict}**{': ' if ruling.found else ''}{_text(ruling.found).removesuffix('.')}."


def _counts(judgements: Sequence[Judgement]) -> str:
    printed = [judgement.printed.verdict for judgement in judgements]
    told = [f"{printed.count(verdict)} {verdict}" for verdict in dict.fromkeys(("pass", "fail", "untypable", *printed))]
    return f"{len(printed)} equations as printed: {', '.join(told)}"


def _verdict(verdict: str) -> str:
    return verdict if verdict == Verdict.PASS else verdict.upper()


def _anchor(name: str) -> str:
    """Return the anchor that GitHub gives the heading ``name``."""
    return "".join(letter for letter in name.lower() if letter.isalnum() or letter in "-_")


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|").replace("\n", " ")


def _text(text: str) -> str:
    """Return ``text`` with ``<lambda>`` and ``F[3](z)`` as text: Markdown would take them for a tag and a link."""
    return text.replace("<", "\\<").replace("](", "]\\(")
