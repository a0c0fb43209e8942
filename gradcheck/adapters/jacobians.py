"""Derivative matrices: Jacobians and Hessians, dense, sparse, diagonal, or known by their products alone. Level 1.

A matrix J claims the pullback ȳ ↦ Jᵀ ȳ. With several arguments or outputs there is a block for each pair of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gradcheck.adapters.gradients import copied
from gradcheck.adapters.signatures import Pair, must_be_callable, name_of, names_of, pair, signature_of
from gradcheck.pairing import call
from gradcheck.trees import Array, describe, is_discrete, is_float, leaves

__all__ = ["Block", "blocks_of", "from_hessian_vector_product", "from_jacobian"]


class Block(NamedTuple):
    """∂y/∂x of one output y and one argument x: a matrix, the shapes of both, and whether it is a diagonal alone."""

    matrix: Any
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    is_diagonal: bool = False

    def pulled(self, dout: Array) -> Array:
        """Return Jᵀ ȳ in the shape of x."""
        flat = np.ravel(dout)
        if self.is_diagonal:
            return np.reshape(np.conj(self.matrix) * np.reshape(dout, self.rows), self.columns)
        if hasattr(self.matrix, "rmatvec"):
            return np.reshape(self.matrix.rmatvec(flat), self.columns)
        return np.reshape(np.asarray(self.matrix.conj().T @ flat), self.columns)

    def column(self, number: int) -> Array:
        """Return column ``number`` of J, flat."""
        unit = np.zeros(math.prod(self.columns))
        unit[number] = 1.0
        if self.is_diagonal:
            return np.ravel(self.matrix) * unit
        if hasattr(self.matrix, "matvec"):
            return np.ravel(self.matrix.matvec(unit))
        return np.ravel(np.asarray(self.matrix @ unit))


def from_jacobian(f: Callable[..., Any], jacobian: Callable[..., Any]) -> Pair:
    """Return the pair of a function and of the function that computes its Jacobian.

    For ``check_backward``, ``check_shapes`` and whatever takes a pair; :func:`gradcheck.check_jacobian` says also which
    entry of the matrix is wrong.

    Args:
        f: ``f(*args) -> y``, an array, a number, or a tuple or dict of them.
        jacobian: ``jacobian(*args)`` with the same arguments. Of one output and one argument it returns a matrix: with
            shape ``y.shape + x.shape`` or ``(y.size, x.size)``; an array of NumPy, a matrix of ``scipy.sparse``, or a
            ``LinearOperator`` (``scipy.optimize.least_squares``); where y, x and the matrix have one shape, its
            diagonal. Of several arguments, one for each that moves, in a tuple or in a dict by name, as in Ceres and
            SciPy; of several outputs, a tuple or dict of these by output; or a dict by ``(output, argument)``, as the
            partials of OpenMDAO, in which what is missing is zero.

    Raises:
        TypeError: ``f`` or ``jacobian`` is not callable, or a block is no matrix.
        ValueError: a block has not the shape of its output and its argument.
    """
    must_be_callable("from_jacobian", "f", f)
    must_be_callable("from_jacobian", "jacobian", jacobian)
    signature = signature_of(f)

    def forward(*args: Any) -> tuple[Any, Any]:
        kept = copied(args)
        out = call(f, args)
        return out, (copied(out), kept)

    def backward(dout: Any, cache: Any) -> Any:
        out, args = cache
        names = names_of(signature, len(args))
        found: dict[str, Any] = {}
        cotangents, returned = dict(leaves(dout, "out")), call(jacobian, copied(args))
        for path, name, block in blocks_of(name_of(jacobian), returned, out, names, args):
            pulled = block.pulled(np.asarray(cotangents[path]))
            found[name] = found[name] + pulled if name in found else pulled
        gradients = tuple(found.get(name) for name in names)
        return gradients if len(args) > 1 else gradients[0]

    parameters = list(signature.parameters.values())
    return pair(forward, backward, names=(name_of(f), name_of(jacobian)), parameters=parameters)


def from_hessian_vector_product(gradient: Callable[..., Any], product: Callable[..., Any]) -> Pair:
    """Return the pair of a gradient and of the function that multiplies its Jacobian, the Hessian, by a vector.

    A Hessian is symmetric, so that its product with a cotangent is the pullback of the gradient.

    Args:
        gradient: ``gradient(x, *rest)``, of the shape of x.
        product: ``product(x, v, *rest)``, as the ``hessp`` of ``scipy.optimize.minimize``.

    Raises:
        TypeError: one of them is not callable.
    """
    must_be_callable("from_hessian_vector_product", "gradient", gradient)
    must_be_callable("from_hessian_vector_product", "product", product)

    def forward(*args: Any) -> tuple[Any, Any]:
        return call(gradient, args), args

    def backward(dout: Any, args: Any) -> Any:
        x, *rest = args
        product_ = call(product, (x, dout, *rest))
        return (product_, *(None for _ in rest)) if rest else product_

    parameters = list(signature_of(gradient).parameters.values())
    return pair(forward, backward, names=(name_of(gradient), name_of(product)), parameters=parameters)


def blocks_of(
    who: str, returned: Any, out: Any, names: tuple[str, ...], args: tuple[Any, ...]
) -> Iterator[tuple[str, str, Block]]:
    """Yield the path of the output, the name of the argument and the block of each pair that ``returned`` speaks of.

    Raises:
        TypeError, ValueError: as :func:`from_jacobian`.
    """
    outputs = [(path, np.asarray(leaf)) for path, leaf in leaves(out, "out") if not is_discrete(leaf)]
    given = list(zip(names, args, strict=True))
    moving = [(name, np.asarray(value)) for name, value in given if isinstance(value, np.ndarray) and _may_move(value)]
    moving = moving or [(name, np.asarray(value)) for name, value in given if _may_move(value)]
    for path, y, row in _rows(returned, outputs, out):
        for name, x, matrix in _columns(who, row, moving, returned, path):
            if matrix is not None:
                yield path, name, _block(f"{who} must return d{path}/d{name}", matrix, y.shape, x.shape)


def _may_move(value: Any) -> bool:
    return is_float(value) or isinstance(value, float | np.floating) or np.iscomplexobj(value)


def _rows(returned: Any, outputs: list[tuple[str, Array]], out: Any) -> Iterator[tuple[str, Array, Any]]:
    """Yield each output with what was returned for it."""
    if len(outputs) == 1 and not isinstance(out, Mapping | tuple | list):
        yield (*outputs[0], returned)
        return
    keys = list(out) if isinstance(out, Mapping) else range(len(outputs))
    pairs = isinstance(returned, Mapping) and all(isinstance(key, tuple) for key in returned)
    for key, (path, y) in zip(keys, outputs, strict=True):
        if pairs:
            yield path, y, {x: block for (of, x), block in returned.items() if of == key}
        else:
            yield path, y, returned[key]


def _columns(
    who: str, row: Any, moving: list[tuple[str, Array]], returned: Any, path: str
) -> Iterator[tuple[str, Array, Any]]:
    """Yield each argument with the block of one output that was returned for it."""
    if isinstance(row, Mapping):
        given = {key[-1] if isinstance(key, tuple) else key: block for key, block in row.items()}
        for name, x in moving:
            if name in given:
                yield name, x, given[name]
        return
    several = isinstance(row, tuple | list) and not all(np.ndim(part) == 0 for part in row)
    parts = list(row) if several else [row]
    if several and len(parts) != len(moving):
        what = f"{len(parts)} of {len(moving)}" if isinstance(returned, tuple | list) else describe(row)
        raise ValueError(
            f"{who} must return a matrix for each argument that moves ({', '.join(name for name, _ in moving)}), but "
            f"it returned {what} for {path}. Return them in a tuple in this order, or in a dict by name."
        )
    if not several and len(moving) > 1:
        moving = moving[:1]
    for (name, x), part in zip(moving, parts, strict=True):
        yield name, x, part


def _block(rule: str, matrix: Any, rows: tuple[int, ...], columns: tuple[int, ...]) -> Block:
    sparse = hasattr(matrix, "toarray") or hasattr(matrix, "rmatvec")
    if not sparse:
        matrix = np.asarray(matrix)
        if matrix.dtype.kind not in "fciu":
            raise TypeError(f"{rule} as a matrix, but returned {describe(matrix)}. Return an array of floats.")
    flat = (math.prod(rows), math.prod(columns))
    if matrix.shape in (flat, (*rows, *columns)):
        return Block(matrix if sparse else matrix.reshape(flat), rows, columns)
    if not sparse and matrix.shape == rows == columns:
        return Block(matrix, rows, columns, is_diagonal=True)
    if not sparse and matrix.size == math.prod(flat) and 1 in flat:
        return Block(matrix.reshape(flat), rows, columns)
    shapes = " or ".join(map(str, dict.fromkeys((flat, (*rows, *columns)))))
    hint = "Did you forget a transpose?" if matrix.shape == flat[::-1] else "Reshape it."
    raise ValueError(f"{rule} with shape {shapes}, but returned shape {matrix.shape}. {hint}")
