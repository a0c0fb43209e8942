"""The sweep back over a recorded forward, right and with a slip in it. Level 4."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.steps.run import Run, traced
from gradcheck.steps.slips import Slip, slipped
from gradcheck.steps.truth import Bars, adjoint
from gradcheck.trees import Array, leaves
from gradcheck.verdict.subject import Backward, Forward

__all__ = ["Swept"]

ROUNDING = 1e-9  # relative


class Swept(NamedTuple):
    """A recorded forward, what is the same in every sweep over it, and the true cotangents."""

    run: Run
    pulls: dict[Any, Any]
    bars: Bars

    @classmethod
    def of(cls, forward: Forward, arguments: Arguments) -> Swept:
        """Record a forward and sweep back; raises what it raises, where it cannot be recorded."""
        run = traced(forward, None, arguments)
        pulls: dict[Any, Any] = {}
        return cls(run, pulls, adjoint(run, pulls))

    def gradients(self, slip: Slip | None = None) -> dict[str, Array] | None:
        """Return the gradients by path, the true ones or those with a slip; None if it gives none."""
        return self._read(self.bars if slip is None else slipped(self.run, self.pulls, slip))

    def regulariser(self, slip: Slip) -> str | None:
        """Return the class of a slip by which one parameter loses so many times itself; None where it is another."""
        right, wrong = self.gradients(), self.gradients(slip)
        if right is None or wrong is None:
            return None
        lost = {path: right[path] - wrong[path] for path in right if not np.array_equal(right[path], wrong[path])}
        for path, part in lost.items():
            value = self.run.value(self.run.leaf[path])
            rate = float((part * value).sum() / (value * value).sum())
            if len(lost) > 1 or part.size < 2 or np.linalg.norm(part - rate * value) > ROUNDING * np.linalg.norm(part):
                return None
            return "D2" if part.size == max(part.shape) and any(g.ndim > 1 for g in right.values()) else "D1"
        return None

    def takes_part(self, slip: Slip) -> bool:
        """Whether anything comes back through the operand of a slip."""
        return any(
            k == slip.operand and self.run.nodes[i].site == slip.site and np.any(part)
            for (i, k), part in self.bars.edges.items()
        )

    def backward(self, slip: Slip | None = None) -> Backward:
        """Return a backward for this point alone: the sweep from whatever cotangent it is given."""

        def backward(dout: Any, _cache: Any) -> tuple[Any, ...]:
            given = [np.asarray(leaf, dtype=np.float64) for _, leaf in leaves(dout, "dout")]
            shapes = (np.shape(bar) for bar in self.run.cotangent)
            bars = [bar.reshape(shape) for bar, shape in zip(given, shapes, strict=True)]
            run = self.run._replace(cotangent=bars)
            found = self._read(adjoint(run, self.pulls) if slip is None else slipped(run, self.pulls, slip))
            arguments = run.arguments
            if found is None:
                raise ValueError("what comes back must have the shape of what went in, but it has another")
            whole = arguments.at(arguments.layout.flatten(found[path] for path in arguments.layout.paths))
            return tuple(whole[i] for i in arguments.moving)

        return backward

    def _read(self, bars: Bars | None) -> dict[str, Array] | None:
        if bars is None:
            return None
        shapes = zip(self.run.arguments.layout.paths, self.run.arguments.layout.shapes, strict=True)
        return {
            path: np.broadcast_to(np.asarray(bars.nodes.get(self.run.leaf[path], 0.0), dtype=np.float64), shape)
            for path, shape in shapes
        }
