"""One recorded call of the forward and of the backward, in a world of its own. Level 3."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.errors import told
from gradcheck.steps.guard import Budget, Exceeded, guarded
from gradcheck.steps.makers import changed, recorded
from gradcheck.steps.memory import Array
from gradcheck.steps.nodes import TRACED, Node
from gradcheck.steps.tape import Tape
from gradcheck.steps.traced import plain
from gradcheck.steps.twin import Twins
from gradcheck.trees import is_float, leaves, rebuild
from gradcheck.verdict.laws import Claims, match_gradients

__all__ = ["Run", "Unrecorded", "traced"]


class Unrecorded(Exception):
    """The pair could not be recorded; the message says why."""


class Run(NamedTuple):
    """One traced call of the forward and of the backward: which nodes are what.

    Attributes:
        leaf: the node of each array of the arguments, by its path.
        outs: those of the output, -1 where the recording was lost.
        cotangent: what the backward was given, one array for each of the output.
        start: the first node of the backward.
        results: the nodes of the returned gradients, by the paths of their arguments, -1 where that was lost.
        claimed: the returned gradients, None where there is none of the right shape.
    """

    tape: Tape
    arguments: Arguments
    leaf: dict[str, int]
    outs: list[int]
    cotangent: list[Array]
    start: int
    results: dict[str, int]
    claimed: dict[str, Array | None]

    @property
    def nodes(self) -> list[Node]:
        """The nodes of both calls, in order."""
        return self.tape.nodes

    def value(self, node: int) -> Array:
        """Return what a node holds."""
        return self.tape.nodes[node].value  # type: ignore[no-any-return]

    def above(self, ids: Iterable[int], first: int = 0) -> set[int]:
        """Return the nodes from ``first`` on that some nodes are computed from, themselves included."""
        found, waiting = set[int](), list(ids)
        while waiting:
            i = waiting.pop()
            if i >= first and i not in found:
                found.add(i)
                waiting.extend(self.nodes[i].parents)
        return found


def traced(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None,
    arguments: Arguments,
    cotangent: Sequence[Array] | None = None,
    seed: int = 0,
    *,
    budget: Budget | None = None,
) -> Run:
    """Return a recording of the forward and of the backward at a point.

    Args:
        forward: the user's, and
        backward: likewise; None for the forward alone. Neither of them, nor anything that they reach, is changed.
        arguments: of the forward.
        cotangent: what the backward is given; it is drawn from ``seed`` if it is None.
        seed: of the cotangent.
        budget: of time and memory.

    Raises:
        Unrecorded: one of them raised, or took more than it may.
    """
    tape = Tape(budget)
    twins = Twins(changed(tape), lambda array: tape.constant(array, ()), recorded)
    try:
        with np.errstate(all="ignore"), guarded(tape.budget.until):
            return contextvars.copy_context().run(_recorded, tape, twins, forward, backward, arguments, cotangent, seed)
    except KeyboardInterrupt:
        raise
    except Exceeded as exceeded:
        raise Unrecorded(f"the recording of the pair ended after {len(tape.nodes)} operations: {exceeded}") from None
    except BaseException as error:
        raise Unrecorded(f"recording the pair raised {told(error)}") from error
    finally:
        tape.close()
        twins.close()


def _recorded(
    tape: Tape,
    twins: Twins,
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None,
    arguments: Arguments,
    cotangent: Sequence[Array] | None,
    seed: int,
) -> Run:
    args, leaf = _given(tape, twins, arguments)
    out, cache = tape.run(twins.of(forward), *args)
    found = [each for _, each in leaves(out, "out")]
    outs = [tape.read(each) if isinstance(each, np.ndarray) else -1 for each in found]
    bars = _drawn(found, seed) if cotangent is None else list(cotangent)
    start = len(tape.nodes)
    if backward is None:
        return Run(tape, arguments, leaf, outs, bars, start, {}, {})
    douts = [tape.leaf(bar.astype(getattr(y, "dtype", float)), "dout") for bar, y in zip(bars, found, strict=True)]
    for given, y in zip(douts, found, strict=True):
        given.is_number = getattr(y, "is_number", not isinstance(y, np.ndarray))
    dout = rebuild(out, iter(douts))
    returned = tape.run(twins.of(backward), dout, cache)
    claims = match_gradients("backward", returned, arguments)
    results = {path: tape.read(each) for path, each in claims.gradients.items() if each is not None}
    for path, each in _misshapen(returned, arguments, claims).items():
        results[path] = tape.read(each) if isinstance(each, np.ndarray) else -1
    claimed = {path: plain(each) for path, each in claims.gradients.items()}
    run = Run(tape, arguments, leaf, outs, bars, start, results, claimed)
    return run._replace(results=_told_apart(run, start + len(douts)))


def _given(tape: Tape, twins: Twins, arguments: Arguments) -> tuple[list[Any], dict[str, int]]:
    """Return the arguments with their arrays traced, and the nodes of these by their paths."""
    leaf: dict[str, int] = {}

    def taken(path: str, each: Any) -> Any:
        if is_float(each) or path in arguments.layout.paths or (isinstance(each, np.ndarray) and each.ndim):
            if isinstance(each, np.ndarray) and each.dtype.kind not in TRACED:
                return twins.of(each)
            leaf[path] = len(tape.nodes)
            return tape.leaf(each, path)
        return twins.of(each)

    args = []
    for name, value in zip(arguments.names, arguments.fresh(), strict=True):
        found = [taken(path, each) for path, each in leaves(value, name)]
        args.append(twins.of(rebuild(value, iter(found))))
    return args, leaf


def _drawn(out: Sequence[Any], seed: int) -> list[Array]:
    """Return a random cotangent; of a single number 1, so that nothing depends on where it is multiplied in."""
    if len(out) == 1 and np.size(plain(out[0])) == 1:
        return [np.ones(np.shape(plain(out[0])))]
    rng = np.random.default_rng((seed, 7))
    return [rng.standard_normal(np.shape(plain(each))) for each in out]


def _told_apart(run: Run, given: int) -> dict[str, int]:
    """Return the results, each a node of its own: what else is made of it, or returned as well, is told from it.

    ``given`` is the first node of the backward that it computes.
    """
    results = dict(run.results)
    used = {parent for node in run.nodes[run.start :] for parent in node.parents}
    for path, i in run.results.items():
        if i >= 0 and (list(results.values()).count(i) > 1 or i in used or i < given):
            results[path] = run.tape.result(i, f"return {path}")
    return results


def _misshapen(returned: Any, arguments: Arguments, claims: Claims) -> Mapping[str, Any]:
    """Return what was returned for the arguments whose gradients have a wrong shape."""
    missing = [path for path, each in claims.gradients.items() if each is None]
    if not missing or claims.breach:
        return {}
    names = [arguments.names[i] for i in arguments.moving]
    if len(names) == 1:
        alone = {path: each for path, each in leaves(returned, names[0]) if path in missing}
        if alone or not isinstance(returned, tuple | list):
            return alone
    return {path: each for path, each in _by_argument(returned, names) if path in missing}


def _by_argument(returned: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for k, name in enumerate(names):
        with contextlib.suppress(IndexError, TypeError, AttributeError):
            one = returned.get(name, returned.get(f"d{name}")) if isinstance(returned, dict) else returned[k]
            yield from leaves(one, name)
