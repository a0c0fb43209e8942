"""Which entries of a matrix are wrong: rows of the columns that are, and triangles that are not alike. Level 4."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.adapters.blocks import Block, blocks_of
from gradcheck.arguments import Arguments, name_of
from gradcheck.hints import Sentence
from gradcheck.oracles import central_difference
from gradcheck.pairing import call
from gradcheck.report import Entry, Finding, Verdict
from gradcheck.trees import Array, entry_name, is_discrete, leaves, norm

__all__ = ["Matrix"]

COLUMNS = 8  # that are measured, of each argument
ENTRIES = 5  # that are named, of each column
ROUNDINGS = 16.0  # how many roundings of its own an entry may carry
STREAM = 0x6A6163  # our own, of the vectors that a matrix is multiplied with
SYMMETRIC = 1e-9  # of the norm of a Hessian may its two triangles be apart
EPS = float(np.finfo(np.float64).eps)


class Matrix:
    """A matrix that was returned, and the function whose derivative it is to be."""

    def __init__(self, function: Callable[..., Any], jacobian: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function, self.who = function, name_of(jacobian)
        self.arguments = Arguments.of(function, args)
        self.out = call(function, self.arguments.fresh())
        given = self.arguments.fresh()
        returned = call(jacobian, given)
        pairs = zip(leaves(given, ""), leaves(self.arguments.values, ""), strict=True)
        arrays = [(now, then) for (_, now), (_, then) in pairs if isinstance(now, np.ndarray)]
        self.is_written = any(not np.array_equal(now, then) for now, then in arrays)
        self.blocks = list(blocks_of(self.who, returned, self.out, self.arguments.names, self.arguments.values))

    def laws(self, seed: int) -> Iterator[str]:
        """Yield the laws that are broken: that nothing is written into, and that both products are of one matrix."""
        if self.is_written:
            yield Sentence(f"{self.who} must not write into its arguments, but it did.", "Work on a copy.")
        rng = np.random.default_rng((seed, STREAM))
        for path, name, block in self.blocks:
            u, v = (rng.standard_normal(shape) for shape in (block.rows, block.columns))
            one, other = np.ravel(u) * block.pushed(v), np.ravel(block.pulled(u)) * np.ravel(v)
            if abs(one.sum() - other.sum()) > SYMMETRIC * (norm(one) + norm(other)) * math.sqrt(one.size + other.size):
                what = "but its products from the left and from the right are not of one"
                sentence = f"{self.who} must return one matrix for d{path}/d{name}, {what}."
                yield Sentence(sentence, "Compare matvec with rmatvec.")

    def asymmetry(self) -> str | None:
        """Return the sentence that a square block is not symmetric, None where all are."""
        for path, name, block in self.blocks:
            if block.is_diagonal or math.prod(block.rows) != math.prod(block.columns):
                continue
            dense = np.array([block.column(j) for j in range(math.prod(block.columns))]).T
            apart = np.abs(dense - dense.T)
            if norm(apart) > SYMMETRIC * norm(dense):
                i, j = (int(k) for k in np.unravel_index(int(np.argmax(apart)), apart.shape))
                one, other = (_entry(path, name, block, *each) for each in ((i, j), (j, i)))
                return Sentence(
                    f"the Hessian must be symmetric, but {one} is {dense[i, j]:.6g} and {other} is {dense[j, i]:.6g}.",
                    "Fill both triangles alike.",
                )
        return None

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
