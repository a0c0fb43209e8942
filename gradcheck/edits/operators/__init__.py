"""The repairs: each undoes one known mistake, at every place of a function where it could have been made. Level 1.

An operator is a function ``operator(scene) -> proposals``. None of them knows whether it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gradcheck.edits.operators import (
    buffers,
    chain,
    indices,
    jacobians,
    nearby,
    operands,
    order,
    samples,
    scale,
    sequences,
    shape,
    terms,
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
    samples.kept,
    samples.single,
    samples.masked,
    samples.padded,
    samples.repeated,
    samples.twice,
    sequences.rolled,
    sequences.neighbours,
    sequences.counted,
    sequences.iterated,
    sequences.inside,
    sequences.handed,
    sequences.told,
    nearby.multiplied,
    nearby.slopes,
    nearby.uncalled,
    nearby.regrouped,
)
