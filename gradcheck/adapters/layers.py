"""Layers: objects with ``forward(x)``, ``backward(dout)`` and attributes for parameters and gradients. Level 1."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import by_key, copied, holds_floats, spellings
from gradcheck.adapters.signatures import Pair, listed, must_be_callable, names_of, pair, signature_of
from gradcheck.trees import describe, is_container, leaves

__all__ = ["from_layer"]


def from_layer(layer: Any, *, parameters: Mapping[str, str] | None = None) -> Pair:
    """Return the pair of a layer: ``forward(x, params)``, whose backward returns ``(dx, dparams)``.

    ``layer.forward(x)`` returns the output and remembers what it needs; ``layer.backward(dout)`` returns
    the gradient of ``x`` (a tuple for several inputs) and stores those of the parameters. Every call
    works on a deep copy of the layer in which each array of ``params`` stands wherever the parameter
    stood; the layer itself never changes. Stored gradients are set to zero before ``backward`` runs, so
    that a layer may add to them.

    ``params`` follows the last input without a default: ``forward(x, params, train=True)``. A layer
    without parameters, such as a ReLU, has no argument ``params``.

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
    >>> forward, backward = from_layer(layer, parameters={"W": "dW"})
    >>> out, cache = forward(np.array([1.0, 10.0]), {"W": layer.W})
    >>> backward(np.array([1.0, 1.0]), cache)
    (array([2., 3.]), {'W': array([ 1., 10.])})

    Args:
        layer: The layer. It must be possible to ``copy.deepcopy`` it.
        parameters: Which attribute holds the gradient of which: ``{"W": "dW", "b": "db"}``; names may be
            dotted (``"linear.W"``), and the attributes may be dicts or lists of arrays. ``params`` is then
            a dict with these names. Without it two habits are recognised: attributes ``params`` and
            ``grads``, both dicts or both lists (``params`` is then such a dict or list); or every float
            array ``W`` of the layer has an attribute ``dW``, ``grad_W``, ``W_grad`` or ``gradW``.

    Raises:
        TypeError: ``layer`` has no ``forward`` and ``backward``, or takes ``*args``; ``parameters`` is no
            dict, or names an attribute that holds no array.
        ValueError: The parameters cannot be found, are copies, or two are one array; ``params`` does not mirror
            them; or ``backward`` returns another number of gradients than ``forward`` has moving inputs.
    """
    who = type(layer).__name__
    for method in ("forward", "backward"):
        must_be_callable("from_layer", f"{who}.{method}", getattr(layer, method, None))
    inputs = list(signature_of(layer.forward).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in inputs):
        raise TypeError(
            f"{who}.forward must name its inputs, but takes *args. Give from_layer an object whose forward names them."
        )
    slots = _slots(who, layer, parameters, {p.name for p in inputs})
    position = sum(p.default is p.empty and p.kind is not p.KEYWORD_ONLY for p in inputs)
    names = names_of(inspect.Signature(inputs), len(inputs))

    def forward(*args: Any) -> tuple[Any, Any]:
        given = list(copied(args))
        params = given.pop(position) if slots and len(given) > position else None
        own = slots.replaced(layer, params) if slots else copy.deepcopy(layer)
        return copied(own.forward(*given)), (own, given)

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        own, given = copy.deepcopy(cache)
        if slots:
            slots.clear(own)
        gradients = _one_per_input(who, own.backward(dout), dict(zip(names, given, strict=False)))
        if slots:
            gradients.insert(position, slots.gradients(own))
        return tuple(gradients)

    if slots:
        inputs.insert(position, inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD))
    return pair(forward, backward, names=(f"{who}.forward", f"{who}.backward"), parameters=inputs)


@dataclass(frozen=True)
class _Slots:
    """Where a layer keeps its parameters and their gradients: attribute names, maybe dotted.

    ``bare`` says that the one parameter attribute is itself the container that ``params`` mirrors.
    """

    who: str
    names: Mapping[str, str]
    bare: bool

    def values(self, layer: Any) -> Any:
        """The parameters of ``layer``, in the container of ``params``."""
        found = {name: attrgetter(name)(layer) for name in self.names}
        return next(iter(found.values())) if self.bare else found

    def replaced(self, layer: Any, params: Any) -> Any:
        """A deep copy of ``layer`` with the arrays of ``params`` in place of its own."""
        own = list(leaves(self.values(layer), "params"))
        given = dict(leaves(params, "params"))
        if set(given) != {path for path, _ in own} or not is_container(params):
            raise ValueError(
                f"{self.who}.forward must be given params that mirror the layer's ({listed(p for p, _ in own)}), "
                f"but was given {describe(params)}. Pass the layer's own arrays in such a container."
            )
        # deepcopy looks here first, so the new array stands wherever the layer refers to the old one,
        # under two names as well as under one, and in any precision.
        memo = {id(old): given[path] for path, old in own}
        if len(memo) < len(own):
            raise ValueError(
                f"{self.who} must hold each parameter in an array of its own, but two of "
                f"{listed(p for p, _ in own)} are the same array. Copy one of them, or name only one in parameters=."
            )
        replaced = copy.deepcopy(layer, memo)
        unmoved = [path for path, leaf in leaves(self.values(replaced), "params") if leaf is not given[path]]
        if unmoved:
            raise ValueError(
                f"{self.who} must hold the very arrays it names as its parameters, but gives copies or views of "
                f"{listed(unmoved)}, or keeps them on the class. Name the attributes of the instance in parameters=."
            )
        return replaced

    def clear(self, layer: Any) -> None:
        """Set the stored gradients of ``layer`` to zero."""
        for name in self.names.values():
            for _, leaf in leaves(_attribute(layer, name), ""):
                if isinstance(leaf, np.ndarray):
                    leaf[...] = 0

    def gradients(self, layer: Any) -> Any:
        """The gradients of ``layer``, in the container of ``params``; None where there is none."""
        found = {}
        for name, gradient in self.names.items():
            primal, stored = attrgetter(name)(layer), _attribute(layer, gradient)
            both_dicts = isinstance(primal, Mapping) and isinstance(stored, Mapping)
            found[name] = by_key(stored, primal) if both_dicts else stored
        return next(iter(found.values())) if self.bare else found


def _attribute(layer: Any, name: str) -> Any:
    """The attribute ``name``, maybe dotted, of ``layer``; None if the layer has not made it yet."""
    for part in name.split("."):
        layer = getattr(layer, part, None)
    return layer


def _slots(who: str, layer: Any, parameters: Mapping[str, str] | None, inputs: set[str]) -> _Slots | None:
    if parameters is not None and not isinstance(parameters, Mapping):
        raise TypeError(
            f"from_layer must be given parameters as a dict, but was given {describe(parameters)}. "
            'Name the pairs: parameters={"W": "dW"}.'
        )
    if parameters is not None:
        slots = _Slots(who, dict(parameters), bare=False)
    elif is_container(getattr(layer, "params", None)) and is_container(getattr(layer, "grads", None)):
        slots = _Slots(who, {"params": "grads"}, bare=True)
    else:
        slots = _recognised(who, layer, inputs)
    for name in slots.names:
        for path, leaf in leaves(_attribute(layer, name), f"{who}.{name}"):
            if not isinstance(leaf, np.ndarray):
                raise TypeError(
                    f"{path} must be an array to be a parameter, but is {describe(leaf)}. "
                    f'Name the attributes that hold arrays: from_layer(layer, parameters={{"W": "dW"}}).'
                )
    return slots if any(True for _ in leaves(slots.values(layer), "")) else None


def _recognised(who: str, layer: Any, inputs: set[str]) -> _Slots:
    """Find ``dW`` for every float array ``W`` of the layer, or refuse: a part of them is never checked for all."""
    attributes = getattr(layer, "__dict__", {})
    stored = {spelling for name in attributes for spelling in spellings(name)[1:]}
    primals = [n for n, value in attributes.items() if holds_floats(value) and n not in stored | inputs]
    found = {name: [s for s in spellings(name)[1:] if s in attributes] for name in primals}
    if all(len(gradients) == 1 for gradients in found.values()):
        return _Slots(who, {name: str(gradients[0]) for name, gradients in found.items()}, bare=False)
    raise ValueError(
        f"{who} must have one attribute for the gradient of each of its float arrays ({listed(primals)}), but has the "
        f'attributes {listed(attributes)}. Name the pairs: from_layer(layer, parameters={{"W": "dW"}}).'
    )


def _one_per_input(who: str, returned: Any, given: Mapping[str, Any]) -> list[Any]:
    """Return one gradient for each input that was given, None for those that hold no float array."""
    moving = [name for name, value in given.items() if holds_floats(value)]
    several = isinstance(returned, tuple | list)
    if several and len(returned) == len(given) > 1:
        return list(returned)
    if len(moving) == 1 and (is_container(given[moving[0]]) or not several):
        gradients = [returned]
    else:
        gradients = list(returned) if several else [returned]
    if len(gradients) != len(moving):
        raise ValueError(
            f"{who}.backward must return one gradient per moving input ({listed(moving)}), but returned "
            f"{describe(returned)}. Return a tuple in the order of the inputs."
        )
    found = dict(zip(moving, gradients, strict=True))
    return [found.get(name) for name in given]
