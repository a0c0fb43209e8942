"""One mistake made alike in several statements: edits that belong together are tried as one. Level 1.

Who forgets 1/m for W1 forgets it for W2. Proposals of one function are twins if they make the same change of the
text in statements that assign to like names (dW1, dW2) or that are built alike.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator

from gradcheck.explanation.edits.nodes import text
from gradcheck.explanation.edits.scene import Proposal, Statement

__all__ = ["twins"]

MOST = 6  # statements that one mistake may stand in
PLAUSIBLE = 26  # the highest rank of an edit that is tried in several statements
LATER = 3
_ANYWHERE = {"F5"}  # a table of links is forgotten in the whole backward


def twins(proposals: Iterable[Proposal]) -> Iterator[Proposal]:
    """Yield, for each change that is proposed in several like statements, one proposal of all of them."""
    groups: dict[Hashable, dict[int, Proposal]] = defaultdict(dict)
    plausible = [proposal for proposal in proposals if proposal.rank <= PLAUSIBLE]
    alike: dict[Hashable, set[int]] = defaultdict(set)
    for proposal in plausible:
        for likeness in _likenesses(proposal):
            alike[likeness].add(proposal.statement.position)
    for proposal in plausible:
        likenesses = [likeness for likeness in _likenesses(proposal) if len(alike[likeness]) > 1]
        change = _change(proposal) if likenesses else None
        if change is None:
            continue
        for likeness in likenesses:
            group = groups[proposal.mistake, change, likeness, proposal.changes[0][0].field]
            group.setdefault(proposal.statement.position, proposal)
    found: set[tuple[int, ...]] = set()
    for group in groups.values():
        several = sorted(group.items())
        ids = tuple(id(proposal) for _, proposal in several)
        if 2 <= len(several) <= MOST and ids not in found:
            found.add(ids)
            members = [proposal for _, proposal in several]
            changes = tuple(change for member in members for change in member.changes)
            others = tuple(member.statement for member in members[1:])
            rank = max(member.rank for member in members) + LATER
            yield members[0]._replace(rank=rank, changes=changes, others=others)


def _likenesses(proposal: Proposal) -> Iterator[Hashable]:
    statement = proposal.statement
    if statement.target:
        yield "target", re.sub(r"\d+", "#", statement.target)
    yield _build(statement)
    if proposal.mistake in _ANYWHERE:
        yield "anywhere"


def _build(statement: Statement) -> str:
    """Return how a statement is built: the kinds of its parts."""
    kept = vars(statement.node)
    if "build" not in kept:
        kept["build"] = " ".join(type(part).__name__ for part in ast.walk(statement.node))
    return str(kept["build"])


def _change(proposal: Proposal) -> tuple[str, str] | None:
    """Return what a change takes out of the text and what it puts in, with numbered names made alike."""
    if len(proposal.changes) != 1 or isinstance(proposal.statement.node, ast.For | ast.If | ast.FunctionDef):
        return None
    ((place, new),) = proposal.changes
    held = getattr(place.parent, place.field)
    held = held if place.slot is None else held[place.slot]
    if not isinstance(new, ast.AST) or not isinstance(held, ast.AST):
        return None
    if isinstance(new, ast.Pass):
        return re.sub(r"(?<=[A-Za-z_])\d+", "#", text(held)), ""
    if isinstance(new, ast.stmt):
        ast.copy_location(new, held)  # unparse asks a statement for its line
    before, after = text(held), text(new)
    begin = _common(before, after)
    end = _common(before[begin:][::-1], after[begin:][::-1])
    cut = (before[begin : len(before) - end], after[begin : len(after) - end])
    out, into = (re.sub(r"(?<=[A-Za-z_])\d+", "#", part) for part in cut)
    return out, into


def _common(left: str, right: str) -> int:
    """Return with how many letters two texts begin alike."""
    differ = (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
    return next(differ, min(len(left), len(right)))
