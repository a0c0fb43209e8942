"""The true cotangents of every value of the forward, by one sweep back over the recording. Level 3.

With ȳ given, every node hands to each of its operands its part, x̄ₖ = (∂y/∂xₖ)ᵀ ȳ, and the cotangent of a value is the
sum of the parts of all its uses. The identity holds for any value of the forward as it does for its arguments: ⟨z̄, v⟩
is the slope of φ where z moves along v. So measured slopes along random tangents of the arguments confirm the sweep;
where they do not, the recording lost a value on the way, and nothing that it says is to be believed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradcheck.oracles import central_difference
from gradcheck.pairing import Pairing
from gradcheck.steps.nodes import Node
from gradcheck.steps.pulls import Pull, pull
from gradcheck.steps.run import Run
from gradcheck.trees import Array, leaves, rebuild

__all__ = ["Bars", "Pulls", "adjoint", "confirmed", "pulled"]

PROBES = 2  # random tangents of all arguments together, along which the sweep is compared with measured slopes
CLOSE = 1e-7  # of the slope, beyond its measured error

Pulls = dict[tuple[int, int], Pull]
Change = Callable[[Node, int, Array, Array | None], Array | None]


class Bars(NamedTuple):
    """Cotangents of nodes, and of single uses of nodes: the part that operand k of node i hands back."""

    nodes: dict[int, Array]
    edges: dict[tuple[int, int], Array]


def adjoint(run: Run, pulls: Pulls | None = None, change: Change | None = None) -> Bars:
    """Return the cotangents of the forward's nodes; ``pulls`` keeps what is the same in every sweep.

    ``change(node, k, bar, part)`` may return something else than the right ``part`` of operand k.
    """
    pulls = {} if pulls is None else pulls
    nodes: dict[int, Any] = {}
    edges: dict[tuple[int, int], Array] = {}
    for out, bar in zip(run.outs, run.cotangent, strict=True):
        if out >= 0:
            nodes[out] = nodes.get(out, 0.0) + bar
    for node in reversed(run.nodes[: run.start]):
        if node.id not in nodes:
            continue
        bar = nodes[node.id]
        for k, parent in enumerate(node.parents):
            if parent < 0 or not run.nodes[parent].is_float:
                continue
            right = pulled(run, pulls, node, k)(bar)
            part = right if change is None else change(node, k, bar, right)
            if part is not None:
                edges[node.id, k] = part
                nodes[parent] = nodes[parent] + part if parent in nodes else part
    return Bars(nodes, edges)


def pulled(run: Run, pulls: Pulls, node: Node, k: int) -> Pull:
    """Return the pullback of operand k of a node, made at its first use."""
    if (node.id, k) not in pulls:
        pulls[node.id, k] = pull(node, k, [run.value(p) for p in node.parents])
    return pulls[node.id, k]


def confirmed(forward: Callable[..., Any], run: Run, bars: Bars, seed: int = 0) -> bool:
    """Whether measured slopes along random tangents of the arguments agree with the sweep back."""
    arguments = run.arguments
    out = forward(*arguments.fresh())[0]
    known = iter(run.cotangent)
    cotangent = rebuild(out, (np.reshape(next(known), np.shape(y)) for _, y in leaves(out, "out")))
    slope = central_difference(Pairing.at_point(forward, arguments, cotangent), arguments.point)
    truth = [
        np.broadcast_to(np.reshape(bars.nodes[i], shape) if i in bars.nodes else 0.0, shape)
        for i, shape in zip((run.leaf[p] for p in arguments.layout.paths), arguments.layout.shapes, strict=True)
    ]
    rng = np.random.default_rng((seed, 3))
    for _ in range(PROBES):
        v = rng.standard_normal(arguments.layout.size)
        measured = slope(v)
        if measured.kink > measured.error:  # several ties make an interval of slopes that this one does not tell
            continue
        apart = abs(float(arguments.layout.flatten(truth) @ v) - measured.value)
        if not apart <= measured.error + measured.kink + CLOSE * abs(measured.value):
            return False
    return True
