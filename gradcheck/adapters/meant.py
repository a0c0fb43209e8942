"""What a rule is meant to be, where it is no derivative of its forward. Level 1.

A straight-through estimator claims the derivative of another function; a Riemannian gradient, or one that is
symmetrised, is the true one under a projection. For both there is a forward whose derivative the rule claims.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.adapters.signatures import by_keyword, in_order, signature_of
from gradcheck.arguments import Arguments, Chosen, name_of
from gradcheck.trees import describe, leaves, norm, rebuild

__all__ = ["Projection", "as_meant"]

Projection = Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]]

EXACT = 1e-8  # how far what is called a projection may be from one
STREAM = 0x70726F6A  # our own, of what it is tried on


def as_meant(
    forward: Callable[..., Any],
    args: Any,
    wrt: Chosen,
    surrogate: Callable[..., Any] | None,
    projection: Projection | None,
) -> tuple[Callable[..., Any], Sequence[Any]]:
    """Return the forward of positional arguments of which the backward claims the derivative, and these."""
    if isinstance(args, Mapping):
        args = in_order(forward, args)
        surrogate = None if surrogate is None else by_keyword(surrogate, args)
        forward, args = by_keyword(forward, args), tuple(args.values())
    if surrogate is not None:
        forward = _with_surrogate(forward, surrogate)
    return forward if projection is None else _projected(forward, args, projection, wrt), args


def _with_surrogate(forward: Callable[..., Any], surrogate: Callable[..., Any]) -> Callable[..., Any]:
    """Return the forward with the output of ``surrogate(*args)``, whose derivative its backward claims, and its cache.

    Raises (when it is called):
        ValueError: the surrogate returns arrays of other shapes than the forward.
    """

    def meant(*args: Any) -> Any:
        returned, instead = forward(*args), surrogate(*args)
        if not isinstance(returned, tuple) or len(returned) != 2:
            return returned
        shapes, wanted = ([np.shape(leaf) for _, leaf in leaves(out, "out")] for out in (instead, returned[0]))
        if shapes != wanted:
            raise ValueError(
                f"{name_of(surrogate)} must return what {name_of(forward)} returns as out, but it returned shapes "
                f"{shapes} and not {wanted}. Return the same, without the cache."
            )
        return instead, returned[1]

    meant.__name__ = name_of(forward)
    meant.__signature__ = signature_of(forward)  # type: ignore[attr-defined]
    return meant


def _projected(
    forward: Callable[..., Any], args: Sequence[Any], projection: Projection, wrt: Chosen = None
) -> Callable[..., Any]:
    """Return x ↦ f(x₀ + P(x − x₀)), whose gradient at x₀ is P applied to that of the forward f.

    ``projection`` is P, of the gradient of the one argument that moves; or one for each, by its name. It must be an
    orthogonal projection: linear, symmetric, and the same when it is applied twice.

    Raises:
        TypeError: it is no function, and no dict of functions.
        ValueError: it names what does not move, or is no orthogonal projection.
    """
    arguments = Arguments.of(forward, args, wrt)
    paths = arguments.layout.paths
    if not isinstance(projection, Mapping) and len(paths) > 1:
        raise ValueError(
            f"projection must say whose gradient it projects, but {', '.join(paths)} move. "
            f"Pass a dict, projection={{{paths[0]!r}: P}}."
        )
    given = projection if isinstance(projection, Mapping) else dict.fromkeys(paths, projection)
    for path, function in given.items():
        _must_project(path, function, arguments)
    origin = dict(zip(paths, arguments.moving_leaves, strict=True))

    def along(path: str, leaf: Any) -> Any:
        return origin[path] + given[path](leaf - origin[path]) if path in given else leaf

    def meant(*values: Any) -> Any:
        trees = zip(arguments.names, values, strict=True)
        return forward(*(rebuild(tree, (along(*pair) for pair in leaves(tree, name))) for name, tree in trees))

    meant.__name__ = name_of(forward)
    meant.__signature__ = signature_of(forward)  # type: ignore[attr-defined]
    return meant


def _must_project(path: str, function: Any, arguments: Arguments) -> None:
    if not callable(function):
        raise TypeError(
            f"projection must be a function, or a dict of functions, but that of {path} is {describe(function)}. "
            "Pass the function that projects a gradient."
        )
    if path not in arguments.layout.paths:
        raise ValueError(
            f"projection must name what moves ({', '.join(arguments.layout.paths)}), but it names {path}. "
            "Choose among these."
        )
    rng = np.random.default_rng(STREAM)
    shape = arguments.layout.shapes[arguments.layout.paths.index(path)]
    u, v = rng.standard_normal((2, *shape))
    pu, pv = np.asarray(function(u.copy())), np.asarray(function(v.copy()))
    same = np.shape(pu) == shape and norm(np.asarray(function(pu.copy())) - pu) <= EXACT * norm(u)
    if not same or abs(float(np.sum(pu * v) - np.sum(u * pv))) > EXACT * norm(u) * norm(v):
        raise ValueError(
            f"projection must be an orthogonal one, P(P(g)) = P(g) and ⟨P(g), h⟩ = ⟨g, P(h)⟩, but that of {path} is "
            "not. Look at the point and the metric that it is made for."
        )
