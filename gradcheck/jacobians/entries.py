"""Which entries of a matrix are wrong: rows of the columns that are, and triangles that are not alike. Level 4."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.adapters.blocks import Block, blocks_of
from gradcheck.adapters.gradients import same
from gradcheck.arguments import Arguments, name_of
from gradcheck.hints import Sentence
from gradcheck.oracles import central_difference
from gradcheck.pairing import call
from gradcheck.report import Entry, Finding, Verdict
from gradcheck.trees import Array, entry_name, is_discrete, leaves, norm, rounding_unit

__all__ = ["Matrix"]

COLUMNS = 8  # that are measured, of each argument
ENTRIES = 5  # that are named, of each column
ROUNDINGS = 16.0  # how many roundings of its own an entry may carry
STREAM = 0x6A6163  # our own, of the vectors that a matrix is multiplied with
SAME = 5e-7  # of its terms may a sum be apart from the same sum taken in another way, or
ROUNDED = 1e3  # so many rounding units of the matrix
EPS = float(np.finfo(np.float64).eps)


class Matrix:
    """A matrix that was returned, and the function whose derivative it is to be."""

    def __init__(self, function: Callable[..., Any], jacobian: Callable[..., Any], arguments: Arguments) -> None:
        self.function, self.arguments, self.who = function, arguments, name_of(jacobian)
        self.out, given = call(function, arguments.fresh()), arguments.fresh()
        returned = call(jacobian, given)
        pairs = zip(leaves(given, ""), leaves(arguments.values, ""), strict=True)
        arrays = [(now, then) for (_, now), (_, then) in pairs if isinstance(now, np.ndarray)]
        self.is_written = any(not same(now, then) for now, then in arrays)
        blocks = blocks_of(self.who, returned, self.out, arguments.names, arguments.values)
        self.blocks = [each for each in blocks if each[1] in arguments.layout.paths]

    def laws(self, seed: int, *, symmetric: bool) -> Iterator[str]:
        """Yield the laws that are broken: nothing is written into, and both products are of one matrix.

        Where it is to be ``symmetric``, that it is.
        """
        if self.is_written:
            yield Sentence(f"{self.who} must not write into its arguments, but it did.", "Work on a copy.")
        rng = np.random.default_rng((seed, STREAM))
        for path, name, block in self.blocks:
            u, v = (rng.standard_normal(math.prod(shape)) for shape in (block.rows, block.columns))
            if self._differ(u * block.pushed(v), np.ravel(block.pulled(u.reshape(block.rows))) * v, block):
                what = "but its products from the left and from the right are not of one"
                sentence = f"{self.who} must return one matrix for d{path}/d{name}, {what}."
                yield Sentence(sentence, "Compare matvec with rmatvec.")
            elif symmetric and u.size == v.size and self._differ(u * block.pushed(v), v * block.pushed(u), block):
                yield self._asymmetry(path, name, block, v)

    def _differ(self, some: Array, others: Array, block: Block) -> bool:
        """Whether two ways to the same sum differ by more than the rounding of the matrix explains."""
        unit = max(block.unit, *(rounding_unit(dtype) for dtype in self.arguments.layout.dtypes))
        size = norm(some) + norm(others)
        return abs(float(some.sum() - others.sum())) > max(SAME, ROUNDED * unit) * size

    def _asymmetry(self, path: str, name: str, block: Block, v: Array) -> Sentence:
        """Return the sentence that a block is not symmetric, with two entries that are not alike.

        (J − Jᵀ) v is largest where some entry of a row is; that one is where the row differs most from the column.
        """
        i = int(np.argmax(np.abs(block.pushed(v) - np.ravel(block.pulled(v.reshape(block.rows))))))
        unit = np.zeros(v.size)
        unit[i] = 1.0
        row, column = np.ravel(block.pulled(unit.reshape(block.rows))), block.pushed(unit)
        j = int(np.argmax(np.abs(row - column)))
        one, other = (_entry(path, name, block, *each) for each in ((i, j), (j, i)))
        return Sentence(
            f"the Hessian must be symmetric, but {one} is {row[j]:.6g} and {other} is {column[j]:.6g}.",
            "Fill both triangles alike.",
        )

    def located(self, path: str, finding: Finding) -> Finding:
        """Return the finding of an argument with the entries of the matrix for those of its columns."""
        columns = [entry.index for entry in finding.wrong_entries if entry.index >= 0][:COLUMNS]
        if finding.verdict is not Verdict.FAIL or not columns or path not in self.arguments.layout.paths:
            return finding
        entries = sorted(self._wrong(path, columns), key=lambda entry: -abs(entry.claimed - entry.measured))
        if not entries:
            return finding
        few = len({entry.name for entry in entries}) <= ENTRIES and len(columns) == len(finding.wrong_entries)
        where = tuple(entry.name for entry in entries) if few else finding.where
        return replace(finding, worst=entries[0], wrong_entries=tuple(entries), where=where)

    def _wrong(self, path: str, columns: Sequence[int]) -> Iterator[Entry]:
        layout = self.arguments.layout
        start = layout.slices[layout.paths.index(path)].start
        given = {out: block for out, name, block in self.blocks if name == path}
        shape = layout.shapes[layout.paths.index(path)]
        for column in columns:
            tangent = np.zeros(layout.size)
            tangent[start + column] = 1.0
            for out, (value, error) in self._measured(tangent).items():
                nothing = Block(np.zeros((value.size, math.prod(shape))), value.shape, shape)
                block, flat = given.get(out, nothing), np.ravel(value)
                claimed = block.column(column)
                off = np.abs(claimed - flat) - np.ravel(error) - ROUNDINGS * EPS * np.abs(claimed)
                for row in np.argsort(-off)[:ENTRIES].tolist():
                    if off[row] > 0:
                        name = _entry(out, path, block, row, column)
                        yield Entry(name, float(claimed[row]), float(flat[row]), float(np.ravel(error)[row]))

    def _measured(self, tangent: Array) -> dict[str, tuple[Array, Array]]:
        """Return the column of each output along ``tangent``, and the bound of its error."""
        found = [(path, np.asarray(leaf)) for path, leaf in leaves(self.out, "out") if not is_discrete(leaf)]

        def flat(vector: Array) -> Array:
            out = call(self.function, self.arguments.at(vector))
            return np.concatenate([np.ravel(leaf) for _, leaf in leaves(out, "out") if not is_discrete(leaf)])

        estimate = central_difference(flat, self.arguments.point)(tangent)
        ends = np.cumsum([leaf.size for _, leaf in found])[:-1]
        value, error = np.split(np.atleast_1d(estimate.value), ends), np.split(np.atleast_1d(estimate.error), ends)
        return {path: (v.reshape(y.shape), e) for (path, y), v, e in zip(found, value, error, strict=True)}


def _entry(out: str, argument: str, block: Block, row: int, column: int) -> str:
    return f"d{entry_name(out, block.rows, row)}/d{entry_name(argument, block.columns, column)}"
