"""The blocks of a derivative matrix, ∂y/∂x of each output y and argument x, in whatever form they come. Level 1."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck.adapters.libraries import to_numpy
from gradcheck.trees import Array, describe, is_discrete, is_float, leaves, rounding_unit

__all__ = ["Block", "blocks_of", "is_pairs", "moving_of"]


class Block(NamedTuple):
    """∂y/∂x of one output y and one argument x: a matrix, the shapes of both, and whether it is a diagonal alone."""

    matrix: Any
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    is_diagonal: bool = False

    def pulled(self, dout: Array) -> Array:
        """Return Jᴴ ȳ in the shape of x."""
        flat = np.ravel(dout)
        if self.is_diagonal:
            return np.reshape(np.conj(self.matrix) * np.reshape(dout, self.rows), self.columns)
        if hasattr(self.matrix, "rmatvec"):
            return np.reshape(self.matrix.rmatvec(flat), self.columns)
        return np.reshape(np.asarray(self.matrix.conj().T @ flat), self.columns)

    def pushed(self, dx: Array) -> Array:
        """Return J ẋ, flat."""
        flat = np.ravel(dx)
        if self.is_diagonal:
            return np.asarray(np.ravel(self.matrix) * flat)
        times: Any = self.matrix.matvec(flat) if hasattr(self.matrix, "matvec") else self.matrix @ flat
        pushed: Array = np.array(times).reshape(-1)
        return pushed

    @property
    def unit(self) -> float:
        """The rounding unit of its numbers; of whole ones, none."""
        dtype = np.dtype(self.matrix.dtype)
        return rounding_unit(dtype) if is_float(np.empty(0, dtype)) else 0.0

    def column(self, number: int) -> Array:
        """Return column ``number`` of J, flat."""
        unit = np.zeros(math.prod(self.columns))
        unit[number] = 1.0
        return self.pushed(unit)


def moving_of(names: Sequence[str], args: Sequence[Any]) -> list[tuple[str, Array]]:
    """Return the arrays among the arguments that may have a block, by path; where there are none, the floats."""
    found = [(path, leaf) for name, value in zip(names, args, strict=True) for path, leaf in leaves(value, name)]
    arrays = [
        (path, np.asarray(to_numpy(leaf))) for path, leaf in found if hasattr(leaf, "dtype") and np.ndim(leaf) >= 0
    ]
    moving = [(path, x) for path, x in arrays if x.dtype.kind in "fc" or is_float(x)]
    return moving or [(path, np.asarray(leaf)) for path, leaf in found if isinstance(leaf, float)]


def blocks_of(
    who: str, returned: Any, out: Any, names: Sequence[str], args: Sequence[Any]
) -> Iterator[tuple[str, str, Block]]:
    """Yield the path of the output, the path of the argument and the block of each pair that ``returned`` speaks of.

    Raises:
        TypeError, ValueError: a block is no matrix, or has not the shape of its output and its argument.
    """
    outputs = [(path, np.asarray(to_numpy(leaf))) for path, leaf in leaves(out, "out") if not is_discrete(leaf)]
    moving = moving_of(names, args)
    for path, y, row in _rows(who, returned, outputs, out):
        for name, x, matrix in _columns(who, row, moving, names, path):
            if matrix is not None:
                yield path, name, _block(f"{who} must return d{path}/d{name}", matrix, y.shape, x.shape)


def is_pairs(returned: Any) -> bool:
    """Whether blocks were returned by ``(output, argument)``."""
    return _is_several(returned) and isinstance(returned, Mapping) and all(isinstance(key, tuple) for key in returned)


def _is_several(returned: Any) -> bool:
    """Whether several blocks were returned, and no matrix of any kind: a sparse one may be a dict by its class."""
    return isinstance(returned, Mapping | tuple | list) and not _is_sparse(returned) and not _is_numeric(returned)


def _is_sparse(matrix: Any) -> bool:
    return hasattr(matrix, "tocsr") or hasattr(matrix, "rmatvec")


def _is_numeric(returned: Any) -> bool:
    """Whether a list holds numbers, or rows of them, and no arrays."""
    return (
        isinstance(returned, list)
        and bool(returned)
        and not any(hasattr(leaf, "shape") or leaf is None for _, leaf in leaves(returned, ""))
    )


def _rows(who: str, returned: Any, outputs: list[tuple[str, Array]], out: Any) -> Iterator[tuple[str, Array, Any]]:
    """Yield each output with what was returned for it."""
    if is_pairs(returned):
        known = {_key_of(path) for path, _ in outputs}
        if unknown := next((key for key in returned if key[0] not in known), None):
            raise ValueError(
                f"{who} must return blocks by (output, argument), but it returned {unknown!r} and the outputs are "
                f"{', '.join(map(repr, sorted(known, key=str)))}. Name these."
            )
        for path, y in outputs:
            yield path, y, {key[1]: block for key, block in returned.items() if key[0] == _key_of(path)}
        return
    if len(outputs) == 1 and (not isinstance(out, Mapping | tuple | list) or not _is_several(returned)):
        yield (*outputs[0], returned)
        return
    keys = list(out) if isinstance(out, Mapping) else list(range(len(outputs)))
    for key, (path, y) in zip(keys, outputs, strict=True):
        try:
            row = returned[key]
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"{who} must return the blocks of each output, but there are none for {path} in what it returned, "
                f"{describe(returned)}. Return them in a container like the output."
            ) from error
        yield path, y, row


def _key_of(path: str) -> Any:
    """Return the key of an output in a dict of outputs; of a single one the name ``out``."""
    return ast.literal_eval(path[len("out[") : -1]) if path.startswith("out[") else path


def _columns(
    who: str, row: Any, moving: list[tuple[str, Array]], names: Sequence[str], path: str
) -> Iterator[tuple[str, Array, Any]]:
    """Yield each array that moves with the block of one output that was returned for it."""
    shapes = dict(moving)
    given = [name for name in names if any(_is_of(x, name) for x in shapes)]
    if not _is_several(row):
        parts: dict[str, Any] = {next(iter(shapes), ""): row}
    elif isinstance(row, Mapping) and all(key in names or key in shapes for key in row):
        parts = {each: block for name, part in row.items() for each, block in _blocks(part, name)}
    elif len(given) == 1 and isinstance(row, Mapping):
        parts = dict(_blocks(row, given[0]))
    elif not isinstance(row, Mapping) and len(row) == len(given):
        parts = {each: block for name, part in zip(given, row, strict=True) for each, block in _blocks(part, name)}
    else:
        raise ValueError(
            f"{who} must return a matrix for each argument that moves ({', '.join(given)}), but it returned "
            f"{describe(row)} for {path}. Return them in a tuple in this order, or in a dict by name."
        )
    if unknown := next((each for each in parts if each not in shapes), None):
        raise ValueError(
            f"{who} must return blocks of what moves ({', '.join(shapes)}), but it returned one of {unknown}. "
            "Leave it out."
        )
    yield from ((each, shapes[each], block) for each, block in parts.items())


def _is_of(path: str, name: str) -> bool:
    return path == name or path.startswith((f"{name}[", f"{name}."))


def _blocks(part: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the blocks in what was returned for one argument, each by the path of its array."""
    if not _is_several(part):
        yield name, part
        return
    items = part.items() if isinstance(part, Mapping) else enumerate(part)
    for key, each in items:
        yield from _blocks(each, f"{name}[{key!r}]")


def _block(rule: str, matrix: Any, rows: tuple[int, ...], columns: tuple[int, ...]) -> Block:
    flat = (math.prod(rows), math.prod(columns))
    if _is_sparse(matrix):
        matrix = matrix.tocsr() if hasattr(matrix, "tocsr") else _with_both(matrix)
        if matrix.shape == flat:
            return Block(matrix, rows, columns)
    else:
        matrix = np.asarray(to_numpy(matrix))
        if matrix.dtype.kind not in "fciu" and not is_float(matrix):
            raise TypeError(f"{rule} as a matrix, but returned {describe(matrix)}. Return an array of floats.")
        if matrix.shape in (flat, (*rows, *columns)):
            return Block(matrix.reshape(flat), rows, columns)
        if matrix.shape == rows == columns:
            return Block(matrix, rows, columns, is_diagonal=True)
        if matrix.size == math.prod(flat) and 1 in flat:
            return Block(matrix.reshape(flat), rows, columns)
    shapes = " or ".join(map(str, dict.fromkeys((flat, (*rows, *columns)))))
    hint = "Did you forget a transpose?" if matrix.shape == flat[::-1] else "Reshape it."
    raise ValueError(f"{rule} with shape {shapes}, but returned shape {matrix.shape}. {hint}")


def _with_both(operator: Any) -> Any:
    """Return a linear operator, as a matrix where it can be multiplied from one side alone."""
    try:
        operator.rmatvec(np.zeros(operator.shape[0]))
    except NotImplementedError:
        return np.array([operator.matvec(unit) for unit in np.eye(operator.shape[1])]).T
    return operator
