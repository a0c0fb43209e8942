"""The backward with a mark on each line: in plain text, and as a table for a notebook. Level 0."""

from __future__ import annotations

import html as markup
import itertools
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcheck.report import Step

__all__ = ["annotated", "around", "table"]

MARKS = {"right": "✓", "wrong": "✗", "unreached": "·", "auxiliary": " "}
PAINT = {"right": "#1a7f37", "wrong": "#cf222e", "unreached": "#6e7781", "auxiliary": "#6e7781"}
WIDTH = 118  # of a line,
CODE = 72  # of which so much for the code at most
NEAR = 1  # lines that are shown before and after a wrong one


def annotated(steps: Sequence[Step]) -> Iterator[str]:
    """Yield each step on a line: number, mark, code, and of what it holds the cotangent; a title for each function."""
    codes = [_code(step) for step in steps]
    room = min(max(map(len, codes), default=0), CODE)
    for (file, function), some in itertools.groupby(zip(steps, codes, strict=True), lambda pair: _place(pair[0])):
        yield f"  {function} ({file})"
        for step, code in some:
            line = f"  {step.line:5} {MARKS[step.verdict]} {_cut(code, room):{room}}  {_holds(step)}".rstrip()
            yield _cut(line, WIDTH)


def around(steps: Sequence[Step], most: int) -> tuple[Step, ...]:
    """Return the wrong steps and their neighbours in the same function; at most ``most``, the wrong ones first."""
    wrong = [i for i, step in enumerate(steps) if step.verdict == "wrong"]
    near = [
        j
        for by in range(1, NEAR + 1)
        for i in wrong
        for j in (i - by, i + by)
        if 0 <= j < len(steps) and j not in wrong and _place(steps[j]) == _place(steps[i])
    ]
    return tuple(steps[i] for i in sorted([*dict.fromkeys((*wrong, *near))][:most]))


def table(steps: Sequence[Step]) -> str:
    """Return the steps as a table in HTML: no script, no image, nothing that is lost where a page is not trusted."""
    rows = []
    for (file, function), some in itertools.groupby(steps, _place):
        rows.append(f'<tr><th colspan="4" style="text-align: left">{markup.escape(f"{function} ({file})")}</th></tr>')
        rows += [
            f'<tr><td style="text-align: right">{step.line}</td>'
            f'<td style="color: {PAINT[step.verdict]}" title="{step.verdict}">{MARKS[step.verdict]}</td>'
            f'<td style="text-align: left"><code>{markup.escape(_code(step))}</code></td>'
            f'<td style="text-align: left">{markup.escape(_holds(step))}</td></tr>'
            for step in some
        ]
    return f"<table>{''.join(rows)}</table>"


def _place(step: Step) -> tuple[str, str]:
    return PurePath(step.file).name or step.file, step.function


def _code(step: Step) -> str:
    """Return the text of a line; what is done on it where there is no text."""
    return step.source or f"[{step.operation}]"


def _holds(step: Step) -> str:
    if step.cotangent_of is None:
        return ""
    return f"{'should be ' * (step.verdict == 'wrong')}∂L/∂{step.cotangent_of}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
