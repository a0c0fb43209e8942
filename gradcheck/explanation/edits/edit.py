"""Every small edit of a hand-written backward that would undo a known mistake, as a backward to try. Level 1."""

from __future__ import annotations

import ast
import copy
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from gradcheck.explanation.edits.influence import Touched, moved, plausible
from gradcheck.explanation.edits.nodes import headline
from gradcheck.explanation.edits.operators import OPERATORS
from gradcheck.explanation.edits.reach import reached, replaced, spoken
from gradcheck.explanation.edits.scene import Place, Proposal, Scene, Statement
from gradcheck.explanation.edits.source import NoSource, Source, source_of
from gradcheck.explanation.edits.twins import twins
from gradcheck.explanation.edits.watch import Watched, watch

__all__ = ["Aim", "Edit", "edits"]

WIDTH = 70
TURNS = 4  # times as many statements as were run unedited may loops turn, and
SPARE = 100  # so many more; if nothing was seen,
UNSEEN = 10_000
UNPACKED = 3  # ranks: a mistake is likelier where a name is used than where it is unpacked
NO_LINE = "(left out)"
Rebuild = Callable[[types.FunctionType], Callable[..., Any]]


class Limits(NamedTuple):
    """How often the loops of an edited function may turn in all, and the branches that it must not take."""

    most: int
    closed: tuple[tuple[ast.AST, str], ...]


class Aim(NamedTuple):
    """The names of the wrong gradients, and what tells which gradients another backward changes."""

    wrong: frozenset[str]
    touched: Touched


@dataclass(frozen=True)
class Edit:
    """One small change of the user's own source, and the backward that it makes.

    Attributes:
        mistake: The class of the mistake that the change undoes, such as "B1".
        line: The line of the file, counted from 1.
        file: The file's name, or a notebook cell's.
        function: The qualified name of the function that is changed: the backward or one that it calls.
        before: The statement as it is, in at most 70 characters.
        after: The statement as it would be, likewise.
        rank: How plausible the change is; the lowest first.
        backward: The changed backward, to be called like the original. It may raise anything.
        forward: The changed forward whose cache belongs to ``backward``, where the gradients are
            computed in the forward; None where the forward stays.
    """

    mistake: str
    line: int
    file: str
    function: str
    before: str
    after: str
    rank: int
    backward: Callable[..., Any]
    forward: Callable[..., Any] | None = None


def edits(
    backward: Callable[..., Any],
    example: tuple[Any, ...] | None = None,
    *,
    forward: Callable[..., Any] | None = None,
    args: Sequence[Any] | None = None,
    aim: Aim | None = None,
) -> Iterator[Edit]:
    """Yield every small edit of ``backward``, or of a function that it calls, the most plausible first.

    Nothing is yielded where no source can be had; ``source_of`` says why. Each edit is compiled when it
    is asked for. The user's functions, modules, classes and objects are never changed: an edit of a
    function that ``backward`` calls comes with copies of everything on the way to it.

    Args:
        backward: A function, method, partial or object with ``__call__``, or one of gradcheck's adapters
            around any of them.
        example: The arguments of a call of ``backward``, ``(dout, cache)``. It is run once on a copy of
            them for each function that it calls, to see which names hold what. Without it no shapes are
            known: what needs them is not tried, and more is tried that cannot run. Functions and layers
            in the cache are edited too.
        forward: The forward, where the gradients are computed in it and ``backward`` hands them on
            (``from_loss_and_grad``). It is edited only if ``backward`` leads to no function of the user's.
        args: The arguments of ``forward``.
        aim: The names of the wrong gradients, and what tells which gradients another backward changes. What cannot
            change all that is wrong is not yielded then.
    """
    functions = reached((backward, *(example or ())))
    call, arguments, edits_forward = backward, cast("Sequence[Any] | None", example), False
    if not functions and forward is not None:
        functions, call, arguments, edits_forward = reached(forward), forward, args, True
    seen: set[tuple[int, int, str, str]] = set()
    for rank, proposal, source, limits, rebuild in _gathered(
        functions, call, arguments, None if edits_forward else aim
    ):
        edited = _applied(proposal, source, limits, seen)
        if edited is None:
            continue
        before, after, made = edited
        changed = rebuild(made)
        yield Edit(
            proposal.mistake,
            proposal.statement.node.lineno,
            source.file,
            source.function.__qualname__,
            *_shortened(before, after, _likewise(proposal)),
            rank,
            backward if edits_forward else changed,
            changed if edits_forward else None,
        )


def _gathered(
    functions: list[types.FunctionType], call: Callable[..., Any], arguments: Sequence[Any] | None, aim: Aim | None
) -> list[tuple[int, Proposal, Source, Limits, Rebuild]]:
    """Return what the operators propose for each function that has a source, the lowest rank first."""
    gathered: list[tuple[int, Proposal, Source, Limits, Rebuild]] = []
    for depth, function in enumerate(functions):
        try:
            source = source_of(function)
        except NoSource:
            continue
        rebuild = _rebuild(call, arguments, function)
        watched = _watched(source, rebuild, arguments)
        scene = Scene(source, watched)
        most = TURNS * watched.steps + SPARE if watched.steps else UNSEEN
        limits = Limits(most, scene.closed)
        # What the caller wrote is likelier to be wrong than a helper that others use too.
        later = min(depth, 2)
        proposals = [proposal for operator in OPERATORS for proposal in operator(scene)]
        proposals += list(twins(proposals))
        proposals = _aimed(proposals, scene, limits, rebuild, aim) if aim else proposals
        gathered += [(p.rank + later + UNPACKED * p.statement.unpacks, p, source, limits, rebuild) for p in proposals]
    return sorted(gathered, key=lambda row: row[0])


def _aimed(proposals: list[Proposal], scene: Scene, limits: Limits, rebuild: Rebuild, aim: Aim) -> list[Proposal]:
    """Return the proposals that may change every wrong gradient."""
    touched: dict[ast.expr, frozenset[str]] = {}
    for node, move in moved(scene):
        made = _applied(move, scene.source, limits, set())
        paths = aim.touched(rebuild(made[2])) if made else None
        if paths is not None:
            touched[node] = paths
    return list(plausible(proposals, touched, aim.wrong))


def _watched(source: Source, rebuild: Rebuild, arguments: Sequence[Any] | None) -> Watched:
    """Return what was seen of a function in one run on a copy of the arguments."""
    if arguments is None:
        return Watched()

    def run(shown: types.FunctionType) -> object:
        # The object of a bound method is copied with what it is given.
        call, own = copy.deepcopy((rebuild(shown), tuple(arguments)))
        return call(*own)

    return watch(source, run)


def _rebuild(call: Callable[..., Any], arguments: Sequence[Any] | None, old: types.FunctionType) -> Rebuild:
    """Return what makes ``call`` with a new function in the place of ``old``."""
    given = tuple(arguments or ())
    other = types.FunctionType(old.__code__, old.__globals__, old.__name__, old.__defaults__, old.__closure__)
    names = spoken((call, *given))
    through = any(a is not b for a, b in zip(replaced((call, *given), old, other, names)[1:], given, strict=True))

    def rebuilt(new: types.FunctionType) -> Callable[..., Any]:
        if not through:
            return replaced(call, old, new, names)  # type: ignore[no-any-return]

        # The function lies in the arguments too, and each call brings its own.
        def edited(*args: Any, **kwargs: Any) -> Any:
            changed, *others = replaced((call, *args), old, new, names)
            return changed(*others, **kwargs)

        return edited

    return rebuilt


def _applied(
    proposal: Proposal, source: Source, limits: Limits, seen: set[tuple[int, int, str, str]]
) -> tuple[str, str, types.FunctionType] | None:
    """Return the statement before and after, and the function; None for what was made already or is no Python."""
    statement = proposal.statement
    before = statement.headline
    undo: list[tuple[ast.AST, str, Any]] = []
    try:
        for place, new in proposal.changes:
            held = getattr(place.parent, place.field)
            undo.append((place.parent, place.field, held))
            _located(new, statement.node, source)
            _hang(place, new, held)
        after = _now(statement)
        key = (id(source), statement.position, after, _likewise(proposal))
        if key in seen or after == before:
            return None
        seen.add(key)
        return before, after, source.ending(*limits)
    except (SyntaxError, TypeError, ValueError, RecursionError):
        return None
    finally:
        for parent, field, held in reversed(undo):
            setattr(parent, field, held)


def _hang(place: Place, new: Any, held: Any) -> None:
    if place.slot is None:
        setattr(place.parent, place.field, new)
    else:
        news = new if isinstance(new, list) else [new]
        setattr(place.parent, place.field, [*held[: place.slot], *news, *held[place.slot + 1 :]])


def _located(new: Any, at: ast.AST, source: Source) -> None:
    """Put new nodes at the line of the statement, and let them speak of NumPy by the user's name for it."""
    for node in new if isinstance(new, list) else [new]:
        if isinstance(node, ast.AST) and not hasattr(node, "original"):
            if isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.arg) and not hasattr(node, "lineno"):
                ast.copy_location(node, at)
                if isinstance(node, ast.Name) and node.id == "np":
                    node.id = _numpy(source)
            for child in ast.iter_child_nodes(node):
                _located(child, at, source)


def _numpy(source: Source) -> str:
    known = source.function.__globals__
    return next((n for n in ("np", "numpy", "onp") if getattr(known.get(n), "__name__", "") == "numpy"), "np")


def _now(statement: Statement) -> str:
    """Return the statement as it stands in the changed tree, with what stands before it now."""
    body, index = getattr(statement.place.parent, statement.place.field), statement.place.slot or 0
    before = body[index]
    if before is not statement.node and index + 1 < len(body) and body[index + 1] is statement.node:
        return f"{headline(before)}; {statement.headline}"
    return NO_LINE if isinstance(before, ast.Pass) else headline(before)


def _likewise(proposal: Proposal) -> str:
    """Return in which other lines the same is changed."""
    lines = sorted({statement.node.lineno for statement in proposal.others} - {proposal.statement.node.lineno})
    return f" (likewise line {', '.join(map(str, lines))})" if lines else ""


def _shortened(before: str, after: str, likewise: str) -> tuple[str, str]:
    """Return both, cut around where they differ, and to the second add ``likewise``."""
    first = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    return _window(before, first, WIDTH), _window(after, first, WIDTH - len(likewise)) + likewise


def _window(text: str, first: int, width: int) -> str:
    if len(text) <= width:
        return text
    begin = max(0, min(first - width // 3, len(text) - width + 1))
    end = begin + width - 1 - (begin > 0)
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
