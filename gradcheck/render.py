"""A report as a person reads it: plain text, text in colour, HTML with a small picture. Level 0.

The order is a person's: which gradients are right and which are wrong, how wrong and where, why, between which layers
the error enters, which lines of the backward are wrong, and a line that does it again.
"""

from __future__ import annotations

import html as markup
import itertools
import math
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from gradcheck.annotation import annotated, around, table
from gradcheck.entrance import entrance

if TYPE_CHECKING:
    from gradcheck.report import Entry, Explanation, Finding, Report

__all__ = ["Setting", "html", "shows_colour", "spelled", "text"]

WIDTH = 118  # of a line
LINES = 25  # of a report
ENTRIES = 5  # of one argument that the table looks at
ROOM = ((8, 5), (8, 3), (6, 3), (3, 2))  # lines of a failing report for its arguments and for entries; the first to fit
NOTED = 4  # lines that are kept for what is said of a report that is no failure, besides its arguments
DIGITS = 6  # of a number in the table, if these tell claimed from measured and the bound allows them,
EXACT = 17  # and at most: more say nothing of a float64
COLUMN = 13  # letters of a number in the table, at least
NAME = 40  # letters of a name
SAYING = 90  # letters about one argument, on its line
SENTENCE = 2  # lines of a sentence; an explanation is told in full,
REASONED = 3  # and a reason with its remedy has so many
SAID = 3  # explanations
MARKED = 7  # lines for the steps of the backward
CELLS = 4096  # entries of an argument of which a picture is drawn
SIDE = 6  # of a cell, in pixels
ACROSS = 64  # cells of a picture of an argument that has one axis only
INK = {"pass": "32", "fail": "31", "inconclusive": "33"}  # what a terminal calls green, red and yellow
PAINT = {"pass": "#1a7f37", "fail": "#cf222e", "inconclusive": "#9a6700"}
TOLD = {"pass": "right", "fail": "wrong", "inconclusive": "undecided"}
PLAIN = {
    "−": "-",
    "±": "+/-",
    "…": "...",
    "█": "#",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "×": "x",
    "·": "*",
    "²": "^2",
    "°": " deg",
    "✓": "v",
    "✗": "X",
    "∂": "d",
}


class Setting(NamedTuple):
    """What stands around the report of one check of many: where it was made, and sentences about the others."""

    where: str = ""
    above: Sequence[str] = ()
    below: Sequence[str] = ()


ALONE = Setting()


def text(report: Report, *, colour: bool = False, setting: Setting = ALONE) -> str:
    """Return ``report`` as text of at most ``LINES`` lines; with escape sequences for a terminal if in ``colour``."""
    above = [*_headline(report, setting.where, colour=colour), *_sentences(setting.above), *_laws(report)]
    certificate, below = list(_certificate(report)), [*_sentences(setting.below), *_after(report)]
    explained = list(_why(report))
    left = LINES - len(above) - len(certificate) - len(below)
    noted = min(len(explained), NOTED)
    wrong = list(_steps(report, MARKED))
    for arguments, entries in ROOM if report.verdict == "fail" else ((left - noted - 1, 0),):
        middle = [*_arguments(report, arguments, colour=colour), *certificate, *_entries(report, entries)]
        room = left + len(certificate) - len(middle)
        if len(explained) + len(wrong) <= room:
            break
    told = _fitting(explained, room)
    steps = list(_steps(report, room - len(told)))
    return "\n".join([*above, *middle, *told, *steps, *below])


def spelled(text: str, file: TextIO | None) -> str:
    """Return ``text`` in letters that ``file`` can show: plain stand-ins for signs that its encoding lacks."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    lacking = {ord(sign): plain for sign, plain in PLAIN.items() if not sign.encode(encoding, "ignore")}
    return text.translate(lacking).encode(encoding, "backslashreplace").decode(encoding)


def shows_colour(file: TextIO) -> bool:
    """Whether ``file`` is a terminal on which nobody asked for plain text (https://no-color.org)."""
    return file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def html(report: Report, setting: Setting = ALONE) -> str:
    """Return ``report`` for a notebook: its text, and for every wrong argument a picture of the error by entry."""
    pictures = "".join(_picture(path, finding) for path, finding in report.arguments.items() if finding.wrong_entries)
    marked = report.steps if report.verdict == "fail" else ()
    return (
        f'<div style="border-left: 4px solid {PAINT[report.verdict]}; padding-left: 1em">'
        f"<pre>{markup.escape(text(report, setting=setting))}</pre>{table(marked) if marked else ''}{pictures}</div>"
    )


def _headline(report: Report, where: str, *, colour: bool) -> list[str]:
    verdicts = [finding.verdict for finding in report.arguments.values()]
    count = verdicts.count(report.verdict)
    summary = f"{count} of {len(verdicts)} {report.noun}s {TOLD[report.verdict]}"
    if report.broken and not count:
        right = all(verdict == "pass" for verdict in verdicts)
        found = f"every {report.noun} is right here" if right else f"no {report.noun} is found wrong"
        summary = f"{found}, but a law is broken"
    how = f"oracle{'s' if len(report.oracles) > 1 else ''} {', '.join(report.oracles)}, seed {report.seed}"
    how += f"; gradients {report.convention}" if report.convention else ""
    word = report.verdict.upper()
    said = f"{word} {where}" if where else word
    first, *rest = _wrapped(f"{_short(report.name)}: {said} ({summary}; {how})", SENTENCE, indent="")
    return [first.replace(f": {word} ", f": {_inked(word, report.verdict, colour=colour)} ", 1), *rest]


def _sentences(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        yield from _wrapped(sentence)


def _inked(word: str, verdict: str, *, colour: bool) -> str:
    return f"\033[{INK[verdict]}m{word}\033[0m" if colour else word


def _laws(report: Report) -> Iterator[str]:
    """Yield laws that are broken, what is said of a gradient and too long for its line, and remarks; two of these."""
    long = (f"d{_short(path)}: {told}" for path, finding in report.arguments.items() if (told := _too_long(finding)))
    sentences = [
        *(f"Law: {sentence}" for sentence in report.broken),
        *itertools.islice(long, 1),
        *(f"Remark: {sentence}" for sentence in report.remarks),
    ]
    for sentence in sentences[:2]:
        yield from _wrapped(sentence, REASONED)


def _arguments(report: Report, most: int, *, colour: bool) -> Iterator[str]:
    """Yield a line for each argument; of many those that are wrong before others, and how many more there are."""
    named = list(report.arguments.items())
    if len(named) > most + 1:
        worst = sorted(range(len(named)), key=lambda i: ("fail", "inconclusive", "pass").index(named[i][1].verdict))
        shown = sorted(worst[:most])
        rest = [str(named[i][1].verdict) for i in worst[most:]]
        named = [named[i] for i in shown]
    else:
        rest = []
    width = max((len(_short(name)) for name, _ in named), default=0) + 1
    for name, finding in named:
        verdict = f"{finding.verdict:4}"
        said = _cut(_say(finding), min(SAYING, WIDTH - len(f"  {'':{width}}  {verdict}  ")))
        yield f"  {'d' + _short(name):{width}}  {_inked(verdict, finding.verdict, colour=colour)}  {said}"
    if rest:
        told = ", ".join(f"{rest.count(v)} {TOLD[v]}" for v in ("fail", "inconclusive", "pass") if v in rest)
        yield f"  and {len(rest)} more: {told}"


def _certificate(report: Report) -> Iterator[str]:
    if any(finding.verdict == "pass" and finding.bound for finding in report.arguments.values()):
        yield "  A larger error would have been seen with probability 1 − 1e-06."


def _say(finding: Finding) -> str:
    """Say what was found about one gradient."""
    if finding.verdict == "pass":
        within = f"error below {finding.bound:.1e} of its norm" if finding.bound else None
        return "; ".join(filter(None, [within, finding.reason, finding.remark]))
    if finding.verdict == "fail":
        if math.isinf(finding.error):
            return "; ".join([finding.reason or "the true gradient is zero", *finding.where[:2]])
        apart = None if math.isnan(finding.error) else f"relative error {finding.error:.2g}"
        return "; ".join(filter(None, [apart, finding.reason, ", ".join(finding.where[:3])]))
    return finding.reason or f"the bound is {finding.bound:.1e}"


def _too_long(finding: Finding) -> str | None:
    """Return the sentence about a gradient that does not fit on its line, None if there is none."""
    if finding.remark and finding.verdict == "pass":
        return finding.remark if len(_say(finding)) > SAYING else None
    return finding.reason if len(finding.reason or "") > SAYING else None


def _entries(report: Report, most: int) -> Iterator[str]:
    """Yield the table of the worst entries: of a few arguments some each; without columns for what is withheld."""
    entries = [entry for finding in report.arguments.values() for entry in finding.wrong_entries[:ENTRIES]]
    entries = sorted(entries, key=lambda e: -abs(e.claimed - e.measured) / (abs(e.measured) + e.error + 1e-300))[:most]
    if not entries:
        return
    known = not all(math.isnan(entry.error) for entry in entries)
    heads = ("claimed", "measured") if known else ("claimed",)
    rows = [(_short(e.name), *_numbers(e)[: len(heads)], f"  {e.error:.1e}" if known else "") for e in entries]
    width = max(5, *(len(name) for name, *_ in rows))
    column = max(COLUMN, *(len(number) for _, *numbers, _ in rows for number in numbers))
    for name, *numbers, bound in (("entry", *heads, "  ± bound" if known else ""), *rows):
        yield f"  {name:{width}}{''.join(f'  {number:>{column}}' for number in numbers)}{bound}"


def _numbers(entry: Entry) -> tuple[str, str]:
    """Return claimed and measured with so many digits that the first in which they differ is followed by one more.

    These are six where that is enough, or as few as the bound leaves to be known.
    """
    claimed, measured = entry.claimed, entry.measured
    size, apart = max(abs(claimed), abs(measured)), abs(claimed - measured)
    if not (0 < apart < math.inf and size < math.inf):
        return f"{claimed:.{DIGITS}g}", f"{measured:.{DIGITS}g}"
    known = _place(size) - _place(entry.error) + 1 if 0 < entry.error < math.inf else DIGITS
    digits = min(max(_place(size) - _place(apart) + 2, min(known, DIGITS)), EXACT)
    zeros = "#" if digits > DIGITS else ""  # both are as long
    return f"{claimed:{zeros}.{digits}g}", f"{measured:{zeros}.{digits}g}"


def _place(number: float) -> int:
    """Return the power of ten of the first digit of a positive number."""
    return math.floor(math.log10(number))


def _why(report: Report) -> Iterator[str]:
    for number, each in enumerate(report.explanations[:SAID]):
        yield from _explained(each, "Or" if number else "Why")
    if report.silence:
        yield from _wrapped(f"No explanation: {report.silence.removesuffix('.')}.")
    if report.advice:
        yield from _wrapped(report.advice)


def _steps(report: Report, room: int) -> Iterator[str]:
    """Yield the wrong lines of the backward and their neighbours, in at most ``room`` lines; nothing of a pass."""
    if report.verdict != "fail" or not any(step.verdict == "wrong" for step in report.steps):
        return
    for most in range(min(room, MARKED), 0, -1):  # each function among them takes a line for its title
        lines = list(annotated(around(report.steps, most)))
        if len(lines) <= min(room, MARKED):
            yield from lines
            return


def _explained(each: Explanation, how: str) -> Iterator[str]:
    yield from _wrapped(f"{how} ({each.mistake}): {each.sentence}")
    if each.otherwise:
        yield from _wrapped(f"To tell: {each.otherwise}", indent="      ", hanging=10)


def _after(report: Report) -> Iterator[str]:
    """Yield what follows the explanation."""
    if report.verdict != "fail":
        return
    decided = all(finding.verdict != "inconclusive" for finding in report.arguments.values())
    wrong = {path: finding.verdict == "fail" for path, finding in report.arguments.items()}
    if decided and (place := entrance(wrong)):
        yield from _wrapped(f"Enters: {place}", SENTENCE)
    if report.replay:
        yield from _wrapped(f"Replay: {report.replay}", SENTENCE)


def _wrapped(sentence: str, most: int = LINES, *, indent: str = "  ", hanging: int = 6) -> list[str]:
    """Return ``sentence`` in lines of at most ``WIDTH`` letters, and no more than ``most`` of them."""
    return textwrap.wrap(
        sentence,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * hanging,
        break_on_hyphens=False,
        max_lines=most,
        placeholder=" …",
    )


def _cut(sentence: str, most: int) -> str:
    return sentence if len(sentence) <= most else f"{sentence[: most - 1]}…"


def _short(name: str) -> str:
    """Return a name without its middle if it is long: both ends of it tell more."""
    half = NAME // 2
    return name if len(name) <= NAME else f"{name[: half - 1]}…{name[-half:]}"


def _fitting(lines: list[str], room: int) -> list[str]:
    """Return as many of ``lines`` as there is room for."""
    return lines if len(lines) <= room else [*lines[: max(room - 1, 0)], "      …"]


def _picture(path: str, finding: Finding) -> str:
    """Return a small picture of an argument: one cell per wrong entry, the redder the more it is wrong."""
    size = math.prod(finding.shape)
    if not 1 < size <= CELLS:
        return ""
    columns = finding.shape[-1] if len(finding.shape) > 1 else min(size, ACROSS)
    rows = math.ceil(size / columns)
    known = [entry for entry in finding.wrong_entries if 0 <= entry.index < size]
    if not known:
        return ""
    apart = [abs(entry.claimed - entry.measured) for entry in known]
    largest = max(filter(math.isfinite, apart), default=0.0) or 1.0
    cells = "".join(
        f'<rect x="{SIDE * (e.index % columns)}" y="{SIDE * (e.index // columns)}" width="{SIDE - 1}" '
        f'height="{SIDE - 1}" fill="#cf222e" fill-opacity="{0.15 + 0.85 * (a / largest if a <= largest else 1):.2f}">'
        f"<title>{markup.escape(e.name)}</title></rect>"
        for e, a in zip(known, apart, strict=True)
    )
    return (
        f'<figure style="display: inline-block; margin: 0 1em"><svg width="{SIDE * columns}" height="{SIDE * rows}" '
        f'role="img" aria-label="wrong entries of d{markup.escape(path)}">'
        f'<rect width="100%" height="100%" fill="#eaeef2"/>{cells}</svg>'
        f"<figcaption><code>d{markup.escape(path)}</code></figcaption></figure>"
    )
