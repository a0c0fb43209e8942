"""Layers: objects with ``forward(x)``, ``backward(dout)`` and, at any depth, parameters and gradients. Level 1."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from gradcheck.adapters.discovery import Pairs, discovered
from gradcheck.adapters.gradients import copied, holds_floats, pass_on
from gradcheck.adapters.misgiven import must_be_for
from gradcheck.adapters.parameters import Parameters
from gradcheck.adapters.places import MISSING, Map, follow, parsed, text
from gradcheck.adapters.signatures import Pair, listed, must_be_callable, names_of, pair, signature_of
from gradcheck.trees import describe, is_container

__all__ = ["from_layer"]


def from_layer(layer: Any, *, parameters: Pairs | None = None) -> Pair:
    """Return the pair of a layer: ``forward(x, params)``, whose backward returns ``(dx, dparams)``.

    ``layer.forward(x)`` returns the output and remembers what it needs; ``layer.backward(dout)`` returns
    the gradient of ``x`` (a tuple for several inputs) and stores those of the parameters. Every call
    works on a deep copy of the layer in which each array of ``params`` stands wherever the parameter
    stood; the layer itself never changes. Stored gradients are set to zero before ``backward`` runs, so
    that a layer may add to them.

    A check needs no ``params``: it moves the layer's own. They are looked for in the whole tree of
    objects (layers in lists, dicts and attributes, objects with ``data`` and ``grad``) while a copy
    runs once forward and backward. A parameter has its gradient beside it, ``W`` and ``dW`` (or
    ``grad_W``, ``W_grad``, ``gradW``), or in ``grads`` under its key. What the output depends on and has no
    gradient is refused, unless the forward renews it, as a mask or a running average.

    ``params`` is a dict with the path to each parameter, such as ``layers[0].W``, and it is the layer's
    ``params`` itself where that holds them all. It follows the last input without a default, ``forward(x,
    params, train=True)``, and comes before ``*inputs``. A layer without parameters, such as a ReLU, has none.

    >>> import numpy as np
    >>> class Scale:
    ...     def __init__(self):
    ...         self.W, self.dW = np.array([2.0, 3.0]), None
    ...     def forward(self, x):
    ...         self.x = x
    ...         return self.W * x
    ...     def backward(self, dout):
    ...         self.dW = dout * self.x
    ...         return dout * self.W
    >>> layer = Scale()
    >>> forward, backward = from_layer(layer)
    >>> out, cache = forward(np.array([1.0, 10.0]), {"W": layer.W})
    >>> backward(np.array([1.0, 1.0]), cache)
    (array([2., 3.]), {'W': array([ 1., 10.])})

    Args:
        layer: The layer. It must be possible to ``copy.deepcopy`` it.
        parameters: Which attribute holds the gradient of which, beside the known habits: ``{"W": "dW"}`` for
            arrays of this name in any object, ``{"layers[0].W": "layers[0].dW"}`` for one, which may be a dict
            or list of arrays; ``{"mask": None}`` for a constant. If names that all lead to something from the
            layer itself are handed in as ``params``, they alone move.

    Raises:
        TypeError: ``layer`` has no ``forward`` and ``backward``; ``parameters`` is no dict, or names no array.
        ValueError (also when the pair is used): the gradient of an array is not found, two parameters are one
            array, the layer gives copies of them, ``params`` does not mirror them, or ``backward`` returns
            another number of gradients than ``forward`` has moving inputs.
    """
    must_be_for("from_layer", layer)
    who = type(layer).__name__
    for method in ("forward", "backward"):
        must_be_callable("from_layer", f"{who}.{method}", getattr(layer, method, None))
    adapted = _Adapted(who, Map(layer), parameters)

    def forward(*args: Any) -> tuple[Any, Any]:
        return adapted.forward(args)

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        return adapted.backward(dout, cache)

    names = (f"{who}.forward", f"{who}.backward")
    return pair(forward, backward, names=names, parameters=adapted.signature, as_arguments=adapted.as_arguments)


class _Adapted:
    """A layer with its parameters, which are found when it is first given inputs, unless they are named."""

    def __init__(self, who: str, layer_map: Map, named: Pairs | None) -> None:
        self.who, self.map = who, layer_map
        self.named, self.habits = _read(who, layer_map, named)
        self.known: Parameters | None = None
        inputs = list(signature_of(layer_map.thing.forward).parameters.values())
        self.names = inspect.Signature(inputs)
        needed = sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in inputs)
        spread = any(p.kind is p.VAR_POSITIONAL for p in inputs)
        self.position = 0 if spread else needed
        self.may_have = bool(layer_map.places or layer_map.numbers)
        if self.may_have:
            kind = inspect.Parameter.POSITIONAL_ONLY if spread else inspect.Parameter.POSITIONAL_OR_KEYWORD
            own = inspect.Parameter("params", kind, default=inspect.Parameter.empty if spread else None)
            inputs.insert(self.position, own)
        self.signature = inputs

    def as_arguments(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Return the arguments of the forward: those given, and the layer's own ``params`` if these are left out."""
        given = list(args)
        if len(given) < self.position:
            return tuple(given)
        handed = self.may_have and len(given) > self.position and is_container(given[self.position])
        if handed and self.named and self.named.mirrored_by(given[self.position]):
            return tuple(given)
        if self.known is None:
            inputs = [*given[: self.position], *given[self.position + 1 :]] if handed else given
            self.known = discovered(self.who, self.map, inputs, self.habits)
        if self.known.found and not handed:
            given.insert(self.position, self.known.arrays())
        return tuple(given)

    def parameters_of(self, args: Sequence[Any]) -> Parameters | None:
        """Return whose arrays the complete ``args`` hold as ``params``: the named parameters, all, or None for none."""
        if self.named and len(args) > self.position and self.named.mirrored_by(args[self.position]):
            return self.named
        return self.known if self.known and self.known.found else None

    def forward(self, args: Sequence[Any]) -> tuple[Any, Any]:
        args = self.as_arguments(args)
        used = copied(args)
        inputs = list(used)
        parameters = self.parameters_of(args)
        own = parameters.copy(inputs.pop(self.position)) if parameters else self.map.copy()
        out = copied(own.forward(*inputs))
        pass_on(args, used, args)
        return out, (own, used, args)

    def backward(self, dout: Any, cache: Any) -> tuple[Any, ...]:
        before, used, args = cache
        own, held = self.map.again(before, used)
        given = list(held)
        parameters = self.parameters_of(args)
        if parameters is None:
            gradients = _one_per_input(self.who, own.backward(dout), self._named(given))
            pass_on(used, held, args)
            return tuple(gradients)
        params = given.pop(self.position)
        parameters.clear(own)
        gradients = _one_per_input(self.who, own.backward(dout), self._named(given))
        gradients.insert(self.position, parameters.gradients(own))
        pass_on(used, held, args)
        pass_on(params, parameters.values(own), args[self.position])
        return tuple(gradients)

    def _named(self, given: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(names_of(self.names, len(given)), given, strict=True))


def _read(who: str, layer_map: Map, named: Pairs | None) -> tuple[Parameters | None, Pairs]:
    """Return the parameters that ``named`` gives from the layer itself, None if not all, and it as habits.

    Raises:
        TypeError: it is no dict, or names what neither the layer nor an object in it has.
    """
    if named is None:
        return None, {}
    if not isinstance(named, Mapping):
        raise TypeError(
            f"from_layer must be given parameters as a dict, but was given {describe(named)}. "
            'Name the pairs: parameters={"W": "dW"}.'
        )
    pairs = {name: gradient for name, gradient in named.items() if gradient is not None}
    if len(pairs) == len(named) and all(follow(layer_map.thing, parsed(name)) is not MISSING for name in pairs):
        return Parameters.named(who, layer_map, pairs), named
    inside = {step[1] for path in layer_map.paths for step in path} | {text(path) for path in layer_map.paths}
    if unknown := [name for name in named if name not in inside]:
        Parameters.named(who, layer_map, dict.fromkeys(unknown, ""))
    return None, named


def _one_per_input(who: str, returned: Any, given: Mapping[str, Any]) -> list[Any]:
    """Return one gradient for each input that was given, None for those that hold no float array."""
    moving = [name for name, value in given.items() if holds_floats(value)]
    several = isinstance(returned, tuple | list)
    if several and len(returned) == len(given) > 1:
        return list(returned)
    if len(moving) == 1 and (is_container(given[moving[0]]) or not several):
        gradients = [returned]
    else:
        gradients = list(returned) if several else [returned] if moving or returned is not None else []
    if len(gradients) != len(moving):
        raise ValueError(
            f"{who}.backward must return one gradient per moving input ({listed(moving)}), but returned "
            f"{describe(returned)}. Return a tuple in their order, and pass floats where there is a gradient."
        )
    found = dict(zip(moving, gradients, strict=True))
    return [found.get(name) for name in given]
