"""Functions of JAX, of HIPS autograd and of MyGrad, with whatever rules are in them. Level 1."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.adapters.jax_arrays import arrays_of, jax_for, to_jax
from gradcheck.adapters.libraries import to_numpy
from gradcheck.adapters.misgiven import must_be_function_for
from gradcheck.adapters.recorded import Along, Framework, Pull, recorded
from gradcheck.adapters.signatures import Pair, must_be_order, name_of, signature_of
from gradcheck.trees import flatten, is_discrete, is_number, leaves

__all__ = ["from_autograd", "from_jax", "from_mygrad"]


def from_jax(f: Callable[..., Any], *, order: int = 1) -> Pair:
    """Return the pair of a function of JAX: the forward calls ``f``, the backward is the pullback of ``jax.vjp``.

    With ``order=2`` the forward is that pullback, with the cotangent as a last argument ``dout``, and the backward is
    JAX's of it: whether a rule may be differentiated twice.

    ``f`` may be a ``jax.custom_vjp``, a ``jax.custom_jvp``, a function with such inside, jitted or not, or a plain
    one. The check measures ``f`` itself and so judges its rules. To compare them with JAX's own derivative as well pass
    the plain function, ``reference=f.__wrapped__``; of a function that only calls such rules, one that does without.

    Arguments may be arrays of NumPy, JAX or PyTorch and containers of them; float64 stays float64 inside
    ``jax.enable_x64(True)``. Float arrays have a gradient, and complex ones in the convention of JAX; a Python float
    stays. Outputs that are integers or no arrays are left out, and the report says so.

    Raises:
        ImportError: JAX is not installed.
        TypeError: ``f`` cannot be called, or is for another adapter, which the message names.
        ValueError (by the backward): the rule returns something else than the function.
    """
    jax = jax_for("from_jax")
    must_be_function_for("from_jax", f)
    must_be_order("from_jax", order)

    def vjp(along: Along, arrays: list[Any]) -> tuple[list[Any], Pull]:
        out, pull = jax.vjp(along, arrays)

        def pulled(cotangents: list[Any]) -> list[Any]:
            return list(pull([jax.numpy.asarray(c, dtype=o.dtype) for c, o in zip(cotangents, out, strict=True)])[0])

        return out, pulled

    within = functools.partial(jax.enable_x64, True)
    known = f if order == 1 else _gradients_of(jax, f)
    return recorded(known, Framework(lambda leaf: to_jax(jax, leaf), arrays_of, vjp, within, "jax"))


def _gradients_of(jax: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the pullback of ``f`` as a function of its arguments and the cotangent."""

    def is_inexact(leaf: Any) -> bool:
        return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact)

    def gradients(*args: Any) -> tuple[Any, ...]:
        *primals, dout = args
        found, structure = flatten(tuple(primals))
        moving = [leaf for leaf in found if is_inexact(leaf)]

        def along(arrays: list[Any]) -> list[Any]:
            given = iter(arrays)
            out = f(*structure.unflatten(next(given) if is_inexact(leaf) else leaf for leaf in found))
            return [leaf for _, leaf in leaves(out, "") if is_inexact(leaf)]

        _, pull = jax.vjp(along, moving)
        return tuple(pull([leaf for _, leaf in leaves(dout, "") if is_inexact(leaf)])[0])

    dout = inspect.Parameter("dout", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [each.replace(default=each.empty) for each in signature_of(f).parameters.values()]
    gradients.__signature__ = inspect.Signature([*parameters, dout])  # type: ignore[attr-defined]
    gradients.__name__ = name_of(f)
    return gradients


def from_autograd(f: Callable[..., Any]) -> Pair:
    """Return the pair of a function of HIPS autograd, or of a primitive of ``autograd.extend``.

    The forward calls ``f``, the backward is autograd's pullback of it. Arguments may be arrays and containers of them;
    floats have a gradient, and complex ones in autograd's convention, which is that of JAX. There may be several
    outputs, in a tuple, a list or a dict.

    Raises:
        ImportError: autograd is not installed.
        TypeError: ``f`` cannot be called, or is for another adapter, which the message names.
        ValueError (by the backward): ``f`` returns something else where it is differentiated.
    """
    try:
        from autograd import builtins, core
    except ImportError as error:
        raise ImportError(
            f"from_autograd must be able to import autograd, but could not: {error}. Install autograd."
        ) from error
    must_be_function_for("from_autograd", f)

    def vjp(along: Along, arrays: list[Any]) -> tuple[list[Any], Pull]:
        def one(boxes: Any) -> Any:
            return builtins.tuple(tuple(along([boxes[i] for i in range(len(arrays))])))

        pull, out = core.make_vjp(one, arrays)
        return list(out), lambda cotangents: pull(tuple(cotangents))

    def taken(leaf: Any) -> Any:
        leaf = to_numpy(leaf)
        return np.array(leaf, order="K") if isinstance(leaf, np.ndarray) else leaf

    def opened(box: Any) -> Any:
        """Return what is in a box of several values; the boxes of each remain."""
        if isinstance(box, builtins.SequenceBox):
            return tuple(opened(box[i]) for i in range(len(box)))
        return {key: opened(box[key]) for key in box} if isinstance(box, builtins.DictBox) else box

    @functools.wraps(f)
    def plain(*args: Any) -> Any:
        return opened(f(*args))

    plain.__signature__ = signature_of(getattr(f, "fun", f))  # type: ignore[attr-defined]  # a primitive hides its own
    return recorded(plain, Framework(taken, np.asarray, vjp, convention="jax"))


def from_mygrad(f: Callable[..., Any]) -> Pair:
    """Return the pair of a function of MyGrad tensors, with whatever operations of one's own are in it.

    Arguments may be arrays and containers of them, which ``f`` gets as tensors; floats have a gradient.

    Raises:
        ImportError: MyGrad is not installed.
        TypeError: ``f`` cannot be called, or is for another adapter, which the message names.
    """
    try:
        import mygrad
    except ImportError as error:
        raise ImportError(
            f"from_mygrad must be able to import mygrad, but could not: {error}. Install mygrad."
        ) from error
    must_be_function_for("from_mygrad", f)

    def vjp(along: Along, arrays: list[Any]) -> tuple[list[Any], Pull]:
        tensors = [mygrad.tensor(array) for array in arrays]
        out = along(tensors)

        def pulled(cotangents: list[Any]) -> list[Any]:
            sum((o * c).sum() for o, c in zip(out, cotangents, strict=True)).backward()
            return [np.zeros(x.shape) if x.grad is None else x.grad for x in tensors]

        return out, pulled

    def taken(leaf: Any) -> Any:
        leaf = to_numpy(leaf)
        return (
            mygrad.tensor(leaf) if isinstance(leaf, np.ndarray) and is_number(leaf) and not is_discrete(leaf) else leaf
        )

    return recorded(f, Framework(taken, np.array, vjp))
