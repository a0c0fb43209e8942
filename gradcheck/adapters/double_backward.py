"""The backward of a backward: second order, where that is written by hand. Level 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gradcheck.adapters.gradients import LEFT_OUT
from gradcheck.adapters.signatures import Pair, must_be_callable, name_of, pair, signature_of
from gradcheck.pairing import call
from gradcheck.trees import describe, mapped

__all__ = ["from_double_backward"]


def from_double_backward(
    forward: Callable[..., Any], backward: Callable[..., Any], double_backward: Callable[..., Any]
) -> Pair:
    """Return the pair of which the forward is a backward, and the backward is that of it.

    The cotangent of the first is an argument that moves too, behind the others:
    ``check_backward(*from_double_backward(forward, backward, double_backward), (x, W, dout))``.

    Args:
        forward: ``forward(*args) -> (out, cache)``.
        backward: ``backward(dout, cache) -> gradients``; None for what has none is left out.
        double_backward: ``double_backward(dgradients, dout, cache) -> gradients``: with one cotangent for each gradient
            that ``backward`` returned, in the same container, the gradients for each argument and then for ``dout``.

    Raises:
        TypeError: one of them is not callable, or the forward returns no pair.
    """
    for role, function in (("forward", forward), ("backward", backward), ("double_backward", double_backward)):
        must_be_callable("from_double_backward", role, function)

    def gradients(*args: Any) -> tuple[Any, Any]:
        *primals, dout = args
        returned = call(forward, tuple(primals))
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(
                f"{name_of(forward)} must return a pair (out, cache), but it returned {describe(returned)}. "
                "Return what the backward needs as the second value."
            )
        found = call(backward, (dout, returned[1]))
        return mapped(lambda leaf: LEFT_OUT if leaf is None else leaf, found), (dout, returned[1])

    def back(dgradients: Any, cache: Any) -> Any:
        return call(double_backward, (dgradients, *cache))

    dout = inspect.Parameter("dout", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [p.replace(default=p.empty) for p in signature_of(forward).parameters.values()]
    return pair(gradients, back, names=(name_of(backward), name_of(double_backward)), parameters=[*parameters, dout])
