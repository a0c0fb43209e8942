"""What a rule is meant to be, where it is no derivative of its forward. Level 1.

A straight-through estimator claims the derivative of another function; a Riemannian gradient, or one that is
symmetrised, is the true one under a projection. For both there is a forward whose derivative the rule claims.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.adapters.libraries import kind_of, made_like, to_numpy
from gradcheck.adapters.signatures import by_keyword, in_order, names_of, signature_of
from gradcheck.arguments import Chosen, name_of
from gradcheck.trees import Array, describe, is_float, leaves, rebuild

__all__ = ["Projection", "as_meant"]

Projection = Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]]

EXACT = 1e-8  # how far what is called a projection may be from one,
ROUGH = 1e-2  # and in a lower precision
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
    orthogonal projection: linear, symmetric, and the same when it is applied twice. It is given arrays of the kind of
    the argument.

    Raises:
        TypeError: it is no function, and no dict of functions.
        ValueError: it names what does not move, or is no orthogonal projection.
    """
    names = names_of(signature_of(forward), len(args))
    found = [(path, leaf) for name, value in zip(names, args, strict=True) for path, leaf in leaves(value, name)]
    origin = {path: leaf for path, leaf in found if _is_inexact(leaf) and _is_named(path, names, wrt)}
    if not isinstance(projection, Mapping) and len(origin) > 1:
        raise ValueError(
            f"projection must say whose gradient it projects, but {', '.join(origin)} move. "
            f"Pass a dict, projection={{{next(iter(origin))!r}: P}}."
        )
    given = projection if isinstance(projection, Mapping) else dict.fromkeys(origin, projection)
    for path, function in given.items():
        _must_project(path, function, origin)

    def along(path: str, leaf: Any) -> Any:
        return origin[path] + given[path](leaf - origin[path]) if path in given else leaf

    def meant(*values: Any) -> Any:
        trees = zip(names, values, strict=True)
        return forward(*(rebuild(tree, (along(*pair) for pair in leaves(tree, name))) for name, tree in trees))

    meant.__name__ = name_of(forward)
    meant.__signature__ = signature_of(forward)  # type: ignore[attr-defined]
    return meant


def _is_inexact(leaf: Any) -> bool:
    """Whether a leaf is an array of floats or complex numbers, of any library."""
    array = to_numpy(leaf)
    return is_float(array) or (isinstance(array, np.ndarray) and np.iscomplexobj(array))


def _is_named(path: str, names: Sequence[str], wrt: Chosen) -> bool:
    if wrt is None:
        return True
    keys = [wrt] if isinstance(wrt, str | int) else list(wrt)
    chosen = [names[key] if isinstance(key, int) and -len(names) <= key < len(names) else key for key in keys]
    return any(path == key or path.startswith((f"{key}[", f"{key}.")) for key in chosen)


def _must_project(path: str, function: Any, origin: Mapping[str, Any]) -> None:
    if not callable(function):
        raise TypeError(
            f"projection must be a function, or a dict of functions, but that of {path} is {describe(function)}. "
            "Pass the function that projects a gradient."
        )
    if path not in origin:
        raise ValueError(
            f"projection must name what moves ({', '.join(origin)}), but it names {path}. Choose among these."
        )
    leaf, rng = origin[path], np.random.default_rng(STREAM)
    kind, shape = kind_of(leaf), np.shape(to_numpy(leaf))

    def projected(array: Array) -> Array:
        given = array.copy() if kind is None else made_like(kind._replace(asks=False), array)
        return np.asarray(to_numpy(function(given)))

    drawn = rng.standard_normal((4, *shape))
    u, v = (drawn[0] + 1j * drawn[1], drawn[2] + 1j * drawn[3]) if np.iscomplexobj(to_numpy(leaf)) else drawn[:2]
    pu, pv = projected(u), projected(v)
    exact = EXACT if pu.dtype.itemsize >= u.dtype.itemsize else ROUGH
    size = float(np.linalg.norm(np.ravel(u)))
    same = np.shape(pu) == shape and np.linalg.norm(np.ravel(projected(pu) - pu)) <= exact * size
    if not same or abs(np.vdot(pu, v).real - np.vdot(u, pv).real) > exact * size * np.linalg.norm(np.ravel(v)):
        raise ValueError(
            f"projection must be an orthogonal one, P(P(g)) = P(g) and ⟨P(g), h⟩ = ⟨g, P(h)⟩, but that of {path} is "
            "not. Look at the point and the metric that it is made for."
        )
