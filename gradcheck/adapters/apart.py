"""What a rule of PyTorch must give when its outputs are used, and its arguments ask, one by one. Level 1.

PyTorch hands a rule zeros or None for an output that nobody uses, and tells it which arguments ask for a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck.adapters.libraries import to_numpy
from gradcheck.adapters.tensors import Evaluation
from gradcheck.errors import told
from gradcheck.trees import leaves

__all__ = ["must_hold_apart"]


def must_hold_apart(
    who: str, run: Evaluation, cotangents: Sequence[Any], gradients: Sequence[Any], names: Sequence[str]
) -> None:
    """Compare the gradients with those from each output alone, and for each argument alone.

    ``names`` are those of the arguments, and ``gradients`` those of their leaves, of the ``cotangents`` of the outputs.
    An argument that is a container is left alone.

    Raises:
        ValueError: some are others.
    """
    copies = [None if dy is None else dy.clone() for dy in cotangents]
    paths = [path for name, x in zip(names, run.given, strict=True) for path, _ in leaves(x, name)]
    _each_output(who, run, copies, dict(zip(paths, gradients, strict=True)))
    asking = [name for name in names if name in paths and gradients[paths.index(name)] is not None]
    for name in asking if len(asking) > 1 else ():
        number, alone = paths.index(name), run.alone(names.index(name))
        pairs = list(zip(copies, leaves(alone.out, ""), leaves(run.out, ""), strict=True))
        if any(_differ(run.torch, here, there) for _, (_, here), (_, there) in pairs):
            return  # it draws something: the runs cannot be compared
        found = alone.pull([dy if alone.asks(y) else None for dy, (_, y), _ in pairs])[number]
        if _differ(run.torch, found, gradients[number]):
            raise ValueError(
                f"{who} must give the same d{name} where no other argument asks for a gradient, "
                "but then it is another. Look at what ctx.needs_input_grad is asked for."
            )


def _each_output(who: str, run: Evaluation, copies: list[Any], gradients: dict[str, Any]) -> None:
    used = [i for i, dy in enumerate(copies) if dy is not None]
    if len(used) < 2:
        return
    rule = f"{who} must give the gradients of each output where the others are not used"
    hint = "The cotangents of those are zeros, or None after set_materialize_grads(False)."
    total: list[Any] = [None] * len(gradients)
    for one in used:
        try:
            part = run.pull([dy if i == one else None for i, dy in enumerate(copies)])
        except Exception as error:
            raise ValueError(f"{rule}, but then it raised {told(error)}. {hint}") from error
        total = [b if a is None else a if b is None else a + b for a, b in zip(total, part, strict=True)]
    for here, (path, there) in zip(total, gradients.items(), strict=True):
        if _differ(run.torch, here, there):
            raise ValueError(f"{rule}, but then d{path} is another. {hint}")


def _differ(torch: Any, some: Any, other: Any) -> bool:
    """Whether two tensors, or None, are further apart than two orders of a sum."""
    if not (isinstance(some, torch.Tensor) and isinstance(other, torch.Tensor)):
        return (some is None) != (other is None)
    a, b = np.asarray(to_numpy(some)), np.asarray(to_numpy(other))
    unit = torch.finfo(some.dtype).eps if a.dtype.kind in "fc" else 0.0
    return not np.array_equal(a, b) and not np.linalg.norm(a - b) <= unit**0.5 * np.linalg.norm(b)
