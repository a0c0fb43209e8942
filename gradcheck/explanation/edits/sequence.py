"""How one sees that a loop, an axis or a state is one of time. Level 1.

A loop is over time if its variable is called so, if each turn hands a value to the next, or if it runs up to the step
of a loop over time. An axis is one of time if such a loop counts along it, or puts its steps there.
"""

from __future__ import annotations

import ast

from gradcheck.explanation.edits.nodes import names_in, text
from gradcheck.explanation.edits.scene import Scene, Statement, is_over_time
from gradcheck.explanation.edits.watch import Seen

__all__ = ["carried", "counters", "is_later", "is_own", "is_time_loop", "sliced_axes", "steps_of", "time_axes"]

_STACKS = {"np.stack", "np.concatenate", "np.array", "np.asarray", "np.vstack"}
ROUNDS = 3  # names that are made of names that are made of what a loop over time wrote


def counters(statement: Statement) -> frozenset[str]:
    """Return the variables of the loops around a statement."""
    return frozenset[str]().union(*(names_in(loop.target) for loop in statement.loops))


def is_time_loop(statement: Statement) -> bool:
    """Whether a statement is a loop over time steps, or over the steps until one of them."""
    loop = statement.node
    if not isinstance(loop, ast.For):
        return False
    within = (names_in(outer.target) for outer in statement.loops if is_over_time(outer))
    return is_over_time(loop) or bool(frozenset[str]().union(*within) & names_in(loop.iter))


def carried(scene: Scene) -> frozenset[str]:
    """Return the names that one step hands to the next: read in a loop over time before they are bound in it."""
    found: set[str] = set()
    for each in scene.statements:
        if isinstance(each.node, ast.For) and is_time_loop(each):
            bound: set[str] = set()
            read: set[str] = set()
            for part in each.node.body:
                names = [name for name in ast.walk(part) if isinstance(name, ast.Name)]
                read |= {name.id for name in names if isinstance(name.ctx, ast.Load)} - bound
                bound |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
            found |= read & bound
    return frozenset(found)


def is_own(scene: Scene, node: ast.AST, statement: Statement) -> bool:
    """Whether an expression is what a step itself adds to what the next one hands on, and does not speak of that."""
    names = carried(scene)
    handed = names_in(getattr(statement.node, "value", None) or statement.node) & names
    return bool(handed) and not names_in(node) & names


def time_axes(scene: Scene) -> dict[str, int]:
    """Return the arrays with an axis of time, by name, each with the number of that axis."""
    found: dict[str, int] = {}
    lists: set[str] = set()
    for site in scene.sites:
        node, statement = site.node, site.statement
        if not statement.time:
            continue
        time = frozenset[str]().union(*(names_in(loop.target) for loop in statement.loops))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            axis = next((i for i, part in enumerate(parts) if names_in(part) & time), None)
            if axis is not None and not any(text(part) == "..." for part in parts[:axis]):
                found.setdefault(node.value.id, axis)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"append", "insert"}
        ):
            lists |= names_in(node.func.value)
    for _ in range(ROUNDS):
        for each in scene.statements:
            node_ = each.node
            if isinstance(node_, ast.Assign) and isinstance(node_.targets[0], ast.Name):
                axis = _axis_of(node_.value, found, lists, scene)
                if axis is not None:
                    found.setdefault(node_.targets[0].id, axis)
    return found


def _axis_of(value: ast.expr, known: dict[str, int], lists: set[str], scene: Scene) -> int | None:
    """Return the axis of time in what is made of arrays with such an axis, by shaping or entry by entry."""
    made = scene.seen(value)
    if isinstance(value, ast.Call) and text(value.func) in _STACKS and names_in(value) & lists:
        axis = next((k.value for k in value.keywords if k.arg == "axis"), None)
        return axis.value if isinstance(axis, ast.Constant) and isinstance(axis.value, int) else 0
    for part in ast.walk(value):
        if isinstance(part, ast.Name) and part.id in known:
            whole = scene.seen(part)
            if whole.is_array and whole.shape == made.shape:
                return known[part.id]
            shaped = isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute)
            if shaped and value.func.attr == "reshape":  # type: ignore[attr-defined]
                return 0
    return None


def steps_of(scene: Scene, name: str, axes: dict[str, int]) -> tuple[int, int]:
    """Return how many steps an array with an axis of time has, 1 where that was not seen, and its number of axes."""
    shapes = (scene.seen(site.node).shape for site in scene.sites if text(site.node) == name)
    known = next((shape for shape in shapes if shape is not None and axes[name] < len(shape)), None)
    return (1, 0) if known is None else (known[axes[name]], len(known))


def sliced_axes(node: ast.Subscript) -> list[int]:
    """Return the axes along which a subscript keeps a part, or one; those behind an ellipsis count from the end."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    dots = next((i for i, part in enumerate(parts) if text(part) == "..."), len(parts))
    whole = [isinstance(part, ast.Slice) and part.lower is None and part.upper is None for part in parts]
    return [i if i < dots else i - len(parts) for i, full in enumerate(whole) if not full and i != dots]


def is_later(one: Seen, other: Seen) -> bool:
    """Whether one of two arrays holds the same as the other some rows later: the states after steps and before them."""
    size = len(one.rows)
    if size != len(other.rows) or size < 2 or one.rows == other.rows:
        return False
    return any(
        left[shift:] == right[:-shift] and len(set(left[shift:])) > size // 3
        for shift in range(1, size // 2 + 1)
        for left, right in ((one.rows, other.rows), (other.rows, one.rows))
    )
