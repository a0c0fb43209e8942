"""One recorded call of the forward and of the backward."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.steps.tape import Hole, Tape
from gradcheck.steps.traced import plain
from gradcheck.trees import leaves, rebuild
from gradcheck.verdict.laws import match_gradients


class Run(NamedTuple):
    """One traced call of the forward and of the backward: which nodes are what."""

    tape: Tape
    arguments: Arguments
    leaf: dict[str, int]
    outs: list[int]
    cotangent: list[np.ndarray]
    start: int  # the first node of the backward
    results: dict[str, int]
    claimed: dict[str, np.ndarray | None]

    @property
    def nodes(self):
        return self.tape.nodes

    def value(self, node):
        return self.tape.nodes[node].value


def traced(forward, backward, arguments, cotangent=None, seed=0, **options) -> Run:
    """Run forward and backward on one tape; ``cotangent`` is drawn if it is None."""
    tape, leaf = Tape(**options), {}
    args = []
    for name, value in zip(arguments.names, arguments.fresh()):
        found = []
        for path, each in leaves(value, name):
            if isinstance(each, np.ndarray) and each.dtype.kind in "fbiu" and not (each.ndim == 0 and each.dtype.kind in "iu"):
                each = tape.leaf(each, path)
                leaf[path] = len(tape.nodes) - 1
            elif path in arguments.layout.paths:
                each = tape.leaf(np.asarray(each), path)
                leaf[path] = len(tape.nodes) - 1
            found.append(each)
        args.append(rebuild(value, iter(found)))
    with np.errstate(all="ignore"):
        out, cache = tape.run(forward, *args)
        found = [each for _, each in leaves(out, "out")]
        outs = [tape.read(plain(each)) if isinstance(each, np.ndarray) else -1 for each in found]
        if cotangent is None:
            rng = np.random.default_rng((seed, 7))
            cotangent = [rng.standard_normal(np.shape(plain(each))) for each in found]
            if len(found) == 1 and np.size(plain(found[0])) == 1:  # so that nothing depends on where dout is multiplied in
                cotangent = [np.ones(np.shape(plain(found[0])))]
        start = len(tape.nodes)
        douts = [tape.leaf(bar.astype(getattr(y, "dtype", float)), "dout") for bar, y in zip(cotangent, found)]
        if backward is None:
            return Run(tape, arguments, leaf, outs, cotangent, start, {}, {})
        dout = rebuild(out, iter(douts)) if not isinstance(out, np.ndarray) else douts[0]
        returned = tape.run(backward, dout, cache)
    claims = match_gradients("backward", returned, arguments)
    results = {path: tape.read(each) for path, each in claims.gradients.items() if each is not None}
    for path, each in _misshapen(returned, arguments, claims).items():
        results[path] = tape.read(plain(each)) if isinstance(each, np.ndarray) else -1
    used = [p for node in tape.nodes[start:] for p in node.parents]
    for path, i in list(results.items()):  # so that what else is made of a result can be told from it
        if i >= 0 and (list(results.values()).count(i) > 1 or i in used or i < start + len(douts)):
            node = tape._node("op", f"return {path}", _itself, (Hole(0),), {}, (i,), ())
            node.value = tape.nodes[i].value
            results[path] = node.id
    return Run(tape, arguments, leaf, outs, cotangent, start, results, dict(claims.gradients))


def _itself(value):
    return value


def _misshapen(returned, arguments, claims):
    """Return what was returned for the arguments whose gradients have a wrong shape."""
    missing = [path for path, each in claims.gradients.items() if each is None]
    if not missing or claims.breach:
        return {}
    if len(arguments.moving) == 1:
        name = arguments.names[arguments.moving[0]]
        return {path: each for path, each in leaves(returned, name) if path in missing}
    named = returned if isinstance(returned, dict) else None
    given = returned
    found = {}
    for k, i in enumerate(arguments.moving):
        name = arguments.names[i]
        try:
            one = named.get(name, named.get(f"d{name}")) if named is not None else given[k]
        except (IndexError, TypeError, AttributeError):
            continue
        found.update({path: each for path, each in leaves(one, name) if path in missing})
    return found
