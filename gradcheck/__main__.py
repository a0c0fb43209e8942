"""The command line: which derivations are meant, the run, and the exit code. Level 6."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import secrets
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gradcheck.commands import cli
from gradcheck.commands.job import ORACLES, Outcome, plan, run, tabulate
from gradcheck.commands.usage import INTERRUPTED, LEDGER, parsers, suggest
from gradcheck.derivation import Derivation
from gradcheck.equations import errata
from gradcheck.equations.equation import Equation, Judgement

__all__ = ["UsageError", "find", "find_equations", "main"]


class UsageError(Exception):
    """The command line asks for something that there is not; nothing was checked."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` and return the exit code.

    Raises:
        SystemExit: after ``--help`` and ``--version`` with 0, on bad usage with 2.
    """
    parser, jobs = parsers()
    options = parser.parse_args(argv)
    # The console script has its own folder there, and not the user's as `python -m` does.
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        cli.must_have_rich(options.job)
        if options.job == "equations":
            equations = find_equations(options.module, options.document)
            for option, path in (("--json", options.json), ("--markdown", options.markdown)):
                if path and str(path) != "-":
                    cli.must_be_writable(path, option)
            return _equations(equations, options)
        derivations = find(options.target)
        if options.json:
            cli.must_be_writable(options.json)
        _must_have_real_input(derivations, options.only)
    except (UsageError, cli.SetupError) as error:
        jobs[options.job].error(str(error))
    return _check(derivations, options)


def _must_have_real_input(derivations: Mapping[str, Derivation], only: int | str | None) -> None:
    if only == "real" and not any(each.real for each in derivations.values()):
        raise UsageError(
            f"--only real must meet a derivation with real input, but {', '.join(derivations)} has none. "
            "Give the number of an example."
        )


def _check(derivations: Mapping[str, Derivation], options: argparse.Namespace) -> int:
    seed = secrets.randbits(32) if options.seed is None else options.seed
    oracles = ORACLES if not options.oracle or "all" in options.oracle else tuple(dict.fromkeys(options.oracle))
    command = _command(options, seed)
    cli.say(command)
    trials = plan(derivations, oracles, options.examples, options.only)
    outcomes: list[Outcome] = []
    complete = True
    started = time.perf_counter()
    try:
        with cli.progress(len(trials)) as tell:
            for outcome in run(trials, seed, options.tol):
                outcomes.append(outcome)
                tell(f"{outcome.trial.derivation.name}, {outcome.trial.oracle}")
    except KeyboardInterrupt:
        complete = False
    seconds = time.perf_counter() - started
    rows = tabulate(outcomes)

    def replay(outcome: Outcome) -> str:
        return _replay(outcome, seed, options.tol)

    cli.show(rows, replay, in_full=options.only is not None)
    cli.say(cli.summary(rows, len(trials), seconds, command))
    if options.json:
        settings = {"seed": seed, "examples": options.examples, "oracles": list(oracles), "tol": options.tol}
        try:
            cli.write_json(options.json, cli.document(rows, replay, settings, command, seconds, complete=complete))
        except OSError as error:
            cli.say(f"gradcheck: --json must be written, but {error}.", sys.stderr)
            return 2
    if not complete:
        return INTERRUPTED
    return 0 if all(row.verdict == "pass" for row in rows) else 1


def _equations(equations: Sequence[Equation], options: argparse.Namespace) -> int:
    words = ["python", "-m", "gradcheck", "equations", *([] if options.module == LEDGER else [options.module])]
    words += ["--document", options.document] if options.document else []
    command = shlex.join([*words, "--seed", str(options.seed)])
    judgements: list[Judgement] = []
    started = time.perf_counter()
    # What was judged until an interrupt is shown, and the exit code says that it is not all.
    with contextlib.suppress(KeyboardInterrupt), cli.progress(len(equations)) as tell:
        for judgement in errata.judge(equations, options.seed):
            judgements.append(judgement)
            tell(judgement.equation.id)
    seconds = time.perf_counter() - started
    complete = len(judgements) == len(equations)
    if str(options.json) != "-":
        cli.say(command)
        errata.show(judgements)
        cli.say(errata.summary(judgements, len(equations), seconds))
    try:
        if options.json:
            settings = {"command": command, "seed": options.seed}
            errata.write(options.json, errata.document(judgements, settings, seconds, complete=complete))
        if options.markdown and complete:
            options.markdown.write_text(errata.markdown(judgements, command), encoding="utf-8")
    except OSError as error:
        cli.say(f"gradcheck: the results must be written, but {error}.", sys.stderr)
        return 2
    if not complete:
        return INTERRUPTED
    return 0 if errata.right(judgements) else 1


def find_equations(name: str, document: str | None = None) -> list[Equation]:
    """Return the equations that the module of that name holds, or those of one document.

    Raises:
        UsageError: there is no such module, it holds no equations, or there is no such document.
    """
    module = _import(name)
    if module is None:
        raise UsageError(f"MODULE must be a module, but there is no {name!r}. Write its name with dots, without .py.")
    equations = errata.records(module)
    if not equations:
        raise UsageError(
            f"{name} must hold a tuple EQUATIONS of Equation records of different ids, but it holds none. Add one."
        )
    chosen = [equation for equation in equations if document in (None, equation.document)]
    if not chosen:
        documents = list(dict.fromkeys(equation.document for equation in equations))
        hint = suggest(str(document), documents)
        raise UsageError(f"--document must be one of {', '.join(documents)}, but it is {document!r}.{hint}")
    return chosen


def find(targets: Sequence[str]) -> dict[str, Derivation]:
    """Return the derivations that the targets mean, keyed by a target that means this one alone.

    Raises:
        UsageError: a target means none, or its module raises when it is imported.
    """
    found: dict[str, Derivation] = {}
    for target in targets:
        for label, derivation in _find(target).items():
            if not any(derivation is each for each in found.values()):
                found[label] = derivation
    return found


def _find(target: str) -> dict[str, Derivation]:
    module_name, colon, name = target.partition(":")
    module = _import(module_name)
    if module is None:
        return {f"derivations:{target}": _of_this_project(target)}
    if not colon:
        records = _records(module)
        if not records:
            raise UsageError(
                f"{target} must hold a Derivation or a tuple ALL of them, but it holds none. "
                "Add one, or name another module."
            )
        return _labelled(module_name, records)
    by_name = _by_name(module)
    if name in by_name:
        return {target: by_name[name]}
    value = getattr(module, name, None)
    if isinstance(value, Derivation):
        return {target: value}
    records = _records(value)
    if records:
        return _labelled(module_name, records)
    came = f"there is no {name!r}" if value is None else f"{name} is of type {type(value).__name__}"
    raise UsageError(f"{target} must be a Derivation or a tuple of them, but {came}.{suggest(name, by_name)}")


def _labelled(module_name: str, records: Sequence[Derivation]) -> dict[str, Derivation]:
    labelled: dict[str, Derivation] = {}
    for record in records:
        label = f"{module_name}:{record.name}"
        if labelled.setdefault(label, record) is not record:
            raise UsageError(
                f"{module_name} must hold derivations of different names, but two are called {record.name!r}. "
                "Rename one."
            )
    return labelled


def _of_this_project(name: str) -> Derivation:
    """Return the derivation of that name."""
    module = _import("derivations")
    by_name = _by_name(module) if module else {}
    if name in by_name:
        return by_name[name]
    hint = suggest(name, by_name)
    if name.endswith(".py"):
        hint = " Write the module's name with dots, without .py."
    raise UsageError(
        "TARGET must be a module, one record in it as module:NAME, or the name of a derivation, "
        f"but {name!r} is none of these.{hint}"
    )


def _by_name(module: ModuleType) -> dict[str, Derivation]:
    """Return every record of a module, also those that only a tuple of it holds, by its name."""
    values = [module, *(value for value in vars(module).values() if not isinstance(value, ModuleType))]
    return {record.name: record for value in values for record in _records(value)}


def _records(value: Any) -> list[Derivation]:
    """Return the derivations that a value is or holds; none if it is something else."""
    if isinstance(value, Derivation):
        return [value]
    if isinstance(value, ModuleType):
        value = getattr(value, "ALL", [each for each in vars(value).values() if isinstance(each, Derivation)])
    if isinstance(value, tuple | list) and all(isinstance(each, Derivation) for each in value):
        return list(value)
    return []


def _import(name: str) -> ModuleType | None:
    """Return the module of that name, None if there is none."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and (name == missing or name.startswith(f"{missing}.")):
            return None
        hint = "\nInstall gradcheck[derivations]." if missing in ("jax", "jaxtyping") else ""
        end = "".join(traceback.format_exception(error, limit=-1, chain=False)).rstrip()
        raise UsageError(f"{name} must be importable, but importing it raised:\n{end}{hint}") from error


def _command(options: argparse.Namespace, seed: int) -> str:
    """Return the command line that replays the run."""
    words = ["python", "-m", "gradcheck", "check", *options.target, "--seed", str(seed)]
    words += ["--examples", str(options.examples)] if options.only is None else ["--only", str(options.only)]
    for oracle in options.oracle or []:
        words += ["--oracle", oracle]
    return shlex.join(words + (["--tol", repr(options.tol)] if options.tol is not None else []))


def _replay(outcome: Outcome, seed: int, tol: float | None) -> str:
    """Return the command line that replays one trial."""
    trial = outcome.trial
    number = "real" if trial.number is None else str(trial.number)
    words = ["python", "-m", "gradcheck", "check", trial.target, "--seed", str(seed), "--only", number]
    return shlex.join([*words, "--oracle", trial.oracle, *(["--tol", repr(tol)] if tol is not None else [])])


if __name__ == "__main__":
    sys.exit(main())
