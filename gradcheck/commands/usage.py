"""The words of the command line: jobs, their options, and what each must be. Level 6."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradcheck import __version__
from gradcheck.commands.job import ORACLES

__all__ = ["INTERRUPTED", "LEDGER", "parsers", "suggest"]

EXAMPLES = 24
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended

DESCRIPTION = """\
Check hand-written backward passes on random shapes and values, and on real input where a derivation has some.

A TARGET is a module that holds Derivation records or a tuple ALL of them (derivations), one record in a module
(derivations:rnn, my.module:LAYER), or the name of a derivation of this project (rnn). Modules are looked for in the
current directory first.
"""
EPILOG = f"""\
examples:
  python -m gradcheck check derivations                            the main job
  python -m gradcheck check rnn lenet5 --oracle autodiff           two derivations, one oracle
  python -m gradcheck check my.module:LAYER --examples 100         one of your own
  python -m gradcheck check derivations --seed 7 --json out.json   a run that can be compared

exit code: 0 if everything passed, 1 if anything failed, raised or was inconclusive, 2 if it was called wrongly and
nothing was checked, {INTERRUPTED} if it was interrupted.
"""

LEDGER = "derivations.ledger"
EQUATIONS_DESCRIPTION = """\
Judge formulas as a paper prints them, and as they are corrected, each at a random point.

A MODULE holds a tuple EQUATIONS of gradcheck.Equation records. Modules are looked for in the current directory first.
"""
EQUATIONS_EPILOG = f"""\
examples:
  python -m gradcheck equations                              every equation of the documents of this project
  python -m gradcheck equations --document 001 --json -      those of one document, as JSON
  python -m gradcheck equations my.paper --markdown page.md  those of a paper of your own, also as a page

exit code: 0 if every corrected form passed, 1 if one did not, 2 if it was called wrongly and nothing was judged,
{INTERRUPTED} if it was interrupted.
"""


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and those of its jobs by name."""
    parser = argparse.ArgumentParser(
        prog="gradcheck", description="Is a hand-written backward pass right, and how do you know?", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"gradcheck {__version__}")
    jobs = parser.add_subparsers(metavar="JOB", dest="job", required=True)
    check = jobs.add_parser(
        "check",
        help="check derivations",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_check(check.add_argument)
    equations = jobs.add_parser(
        "equations",
        help="judge the formulas of papers",
        description=EQUATIONS_DESCRIPTION,
        epilog=EQUATIONS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_equations(equations.add_argument)
    return parser, {"check": check, "equations": equations}


def _add_check(add: Callable[..., Any]) -> None:
    add("target", nargs="+", metavar="TARGET", help="module, module:NAME, or the name of a derivation")
    add(
        "--examples",
        type=_whole(1),
        default=EXAMPLES,
        metavar="N",
        help="random examples of each (default: %(default)s)",
    )
    add("--seed", type=_whole(0), metavar="INT", help="replays a run (default: drawn, and printed)")
    add(
        "--oracle", type=_oracle, action="append", metavar="NAME", help=f"{', '.join(ORACLES)} or all; repeatable (all)"
    )
    add(
        "--tol",
        type=_tolerance,
        metavar="X",
        help="relative error that a pass must exclude; 0 for the least it can (default: right to seven digits passes)",
    )
    add("--only", type=_number, metavar="I", help="only the example of that number, or real; prints its report in full")
    add("--json", type=Path, metavar="PATH", help="write the results there, as JSON")


def _add_equations(add: Callable[..., Any]) -> None:
    add("module", nargs="?", default=LEDGER, metavar="MODULE", help="holds the equations (default: %(default)s)")
    add("--document", metavar="NAME", help="only the equations of that document")
    add("--seed", type=_whole(0), default=0, metavar="INT", help="of all sizes and values (default: %(default)s)")
    add("--json", type=Path, metavar="PATH", help="write the results there, as JSON; - for the standard output")
    add("--markdown", type=Path, metavar="PATH", help="write them there as a page with the formulas")


def _whole(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if text.isascii() and text.isdigit() and int(text) >= least:
            return int(text)
        raise argparse.ArgumentTypeError(f"it must be a whole number of at least {least}, but it is {text!r}.")

    return whole


def _number(text: str) -> int | str:
    return text if text == "real" else _whole(0)(text)


def _oracle(text: str) -> str:
    names = (*ORACLES, "all")
    if text in names:
        return text
    hint = suggest(text, names)
    raise argparse.ArgumentTypeError(f"it must be one of {', '.join(names)}, but it is {text!r}.{hint}")


def _tolerance(text: str) -> float:
    try:
        tol = float(text)
    except ValueError:
        tol = math.nan
    if 0 <= tol < 1:
        return tol
    raise argparse.ArgumentTypeError(f"it must lie between 0 and 1, but it is {text!r}.")


def suggest(name: str, candidates: Sequence[str] | Mapping[str, Any]) -> str:
    """Return a hint that names the candidates that ``name`` may have meant; empty where there is none."""
    near = difflib.get_close_matches(name, candidates, n=3)
    return f" Try {' or '.join(near)}." if near else ""
