"""The repairs: each undoes one known mistake, at every place of a function where it could have been made. Level 1.

An operator is a function ``operator(scene) -> proposals``. None of them knows whether it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gradcheck.edits.operators import (
    buffers,
    chain,
    entries,
    indices,
    jacobians,
    operands,
    order,
    scale,
    shape,
    terms,
    unread,
    whole,
)
from gradcheck.edits.scene import Proposal, Scene

__all__ = ["OPERATORS"]

OPERATORS: tuple[Callable[[Scene], Iterator[Proposal]], ...] = (
    scale.signs,
    scale.scaled,
    scale.dropped,
    scale.constants,
    scale.swapped_operators,
    scale.regularisers,
    shape.products,
    shape.transposes,
    shape.permutations,
    shape.einsums,
    shape.reductions,
    shape.axes,
    shape.slots,
    chain.derivatives,
    chain.formulas,
    jacobians.jacobians,
    jacobians.layers,
    jacobians.statistics,
    jacobians.cotangents,
    terms.terms,
    terms.product_rule,
    operands.operands,
    buffers.accumulations,
    buffers.copies,
    buffers.hoisted,
    buffers.clippings,
    buffers.dtypes,
    buffers.singular_points,
    indices.flips,
    indices.strides,
    indices.crops,
    indices.loops,
    indices.steps,
    order.updates,
    order.exchanged,
    order.conditions,
    order.divided,
    order.forgotten,
    order.balanced,
    unread.calls,
    unread.elements,
    unread.terms,
    unread.entries,
    unread.replacements,
    unread.turns,
    whole.sequences,
    whole.ranges,
    whole.gates,
    whole.complements,
    entries.labels,
    entries.indices,
    entries.slots,
    entries.rows,
    entries.branches,
    entries.gradients,
)
