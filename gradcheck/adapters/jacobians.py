"""Derivative matrices as pairs: a Jacobian claims the pullback ȳ ↦ Jᴴ ȳ, and so does a Hessian's product. Level 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.adapters.blocks import blocks_of, is_pairs, moving_of
from gradcheck.adapters.gradients import copied
from gradcheck.adapters.libraries import to_numpy
from gradcheck.adapters.signatures import Pair, must_be_callable, name_of, names_of, pair, signature_of
from gradcheck.pairing import call
from gradcheck.trees import leaves, rebuild

__all__ = ["from_hessian_vector_product", "from_jacobian"]


def from_jacobian(f: Callable[..., Any], jacobian: Callable[..., Any]) -> Pair:
    """Return the pair of a function and of the function that computes its Jacobian.

    For ``check_backward``, ``check_shapes`` and whatever takes a pair; :func:`gradcheck.check_jacobian` says also which
    entry of the matrix is wrong.

    Args:
        f: ``f(*args) -> y``, an array, a number, or a tuple or dict of them.
        jacobian: ``jacobian(*args)`` with the same arguments. Of one output and one argument it returns a matrix: with
            shape ``y.shape + x.shape`` or ``(y.size, x.size)``; an array of NumPy, JAX or PyTorch, a matrix of
            ``scipy.sparse``, or a ``LinearOperator`` (``scipy.optimize.least_squares``); where y, x and the matrix have
            one shape, its diagonal. Of several arguments, one for each that moves, in a tuple or in a dict by name, as
            in Ceres and SciPy, for an argument that is a container one for each of its arrays; of several outputs, a
            tuple or dict of these by output; or a dict by ``(output, argument)``, as the partials of OpenMDAO, in which
            what is missing is zero.

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
        cotangents = {path: np.asarray(to_numpy(leaf)) for path, leaf in leaves(dout, "out")}
        returned = call(jacobian, copied(args))
        found = {path: np.zeros(x.shape) for path, x in moving_of(names, args)} if is_pairs(returned) else {}
        for path, x, block in blocks_of(name_of(jacobian), returned, out, names, args):
            pulled = block.pulled(cotangents[path])
            found[x] = found[x] + pulled if x in found else pulled
        named = [(path, leaf) for name, value in zip(names, args, strict=True) for path, leaf in leaves(value, name)]
        own = iter([_like(leaf, found.get(path)) for path, leaf in named])
        gradients = tuple(rebuild(value, own) for value in args)
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


def _like(leaf: Any, gradient: Any) -> Any:
    """Return a gradient of a real argument without the imaginary part that belongs to a complex output."""
    if gradient is None or not np.iscomplexobj(gradient) or np.iscomplexobj(to_numpy(leaf)):
        return gradient
    return gradient.real
