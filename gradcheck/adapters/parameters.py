"""The parameters of a layer and their gradients, at any depth, and copies of the layer that hold others. Level 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradcheck.adapters.habits import stored
from gradcheck.adapters.places import MISSING, Map, Path, assign, follow, parsed, text
from gradcheck.adapters.signatures import listed
from gradcheck.trees import describe, is_container, leaves, rebuild

__all__ = ["Parameter", "Parameters"]

OWN: Path = (("attribute", "params"),)  # where layers that have ``params`` and ``grads`` gather all of them


class Parameter(NamedTuple):
    """The paths from a layer to a parameter, an array or a single number, and to its gradient."""

    path: Path
    gradient: Path


@dataclass(frozen=True)
class Parameters:
    """The parameters of a layer, in the order and the containers of the argument ``params``.

    ``params`` is a dict of what ``heads`` leads to, arrays and containers of arrays; or, where it is ``bare``, the one
    container itself. ``found`` are the leaves of it all, in order.
    """

    who: str
    map: Map
    heads: Mapping[str, Path]
    found: tuple[Parameter, ...]
    bare: bool = False

    @classmethod
    def named(cls, who: str, layer_map: Map, pairs: Mapping[str, str]) -> Parameters:
        """Return the parameters that ``pairs`` names by their paths, each with the path to its gradient.

        Raises:
            TypeError: at one of the paths there is no array, nor a container of arrays.
        """
        heads = {name: parsed(name) for name in pairs}
        found = []
        for name, head in heads.items():
            here = follow(layer_map.thing, head)
            for path, leaf in leaves(None if here is MISSING else here, f"{who}.{name}"):
                if not isinstance(leaf, np.ndarray):
                    raise TypeError(
                        f"{path} must be an array to be a parameter, but is {describe(leaf)}. "
                        f'Name the attributes that hold arrays: from_layer(layer, parameters={{"W": "dW"}}).'
                    )
                below = parsed(f"_{path.removeprefix(f'{who}.{name}')}")[1:]
                found.append(Parameter((*head, *below), (*parsed(pairs[name]), *below)))
        return cls(who, layer_map, heads, tuple(found))

    @classmethod
    def gathered(cls, who: str, layer_map: Map, found: Iterable[Parameter]) -> Parameters:
        """Return parameters that were found; those that fill a container stay together in it."""
        found = tuple(found)
        params = follow(layer_map.thing, OWN)
        by_array = {id(follow(layer_map.thing, parameter.path)): parameter for parameter in found}
        gathered = [id(leaf) for _, leaf in leaves(params, "")] if is_container(params) else []
        if found and sorted(gathered) == sorted(by_array):
            return cls(who, layer_map, {text(OWN): OWN}, tuple(map(by_array.__getitem__, gathered)), bare=True)
        by_path = {parameter.path: parameter for parameter in found}
        heads: dict[str, Path] = {}
        ordered: list[Parameter] = []
        for path in by_path:
            if any(path[: len(head)] == head for head in heads.values()):
                continue
            head, below = _filled(layer_map.thing, path, by_path)
            heads[text(head)] = head
            ordered += [by_path[*head, *rest] for rest in below]
        return cls(who, layer_map, heads, tuple(ordered))

    def values(self, layer: Any) -> Any:
        """Return what ``layer``, or a copy of it, has as its parameters, as ``params`` holds them."""
        held = {name: follow(layer, head) for name, head in self.heads.items()}
        return next(iter(held.values())) if self.bare else held

    def arrays(self) -> Any:
        """Return the layer's own parameters; a single number as an array, so that it moves."""
        values = self.values(self.map.thing)
        return rebuild(
            values, (leaf if isinstance(leaf, np.ndarray) else np.array(leaf) for _, leaf in leaves(values, ""))
        )

    def mirrored_by(self, params: Any) -> bool:
        """Whether ``params`` is a container with the paths of the layer's parameters."""
        own = {path for path, _ in leaves(self.values(self.map.thing), "")}
        return is_container(params) and {path for path, _ in leaves(params, "")} == own

    def copy(self, params: Any) -> Any:
        """Return a deep copy of the layer with the arrays of ``params`` in the places of its own.

        Raises:
            ValueError: ``params`` does not mirror the parameters, two of them are one array, or the layer gives copies.
        """
        own, given = list(leaves(self.values(self.map.thing), "params")), dict(leaves(params, "params"))
        if not self.mirrored_by(params):
            raise ValueError(
                f"{self.who}.forward must be given params that mirror the layer's ({listed(p for p, _ in own)}), "
                f"but was given {describe(params)}. Pass the layer's own arrays in such a container, or leave them out."
            )
        arrays = [(path, leaf) for path, leaf in own if isinstance(leaf, np.ndarray)]
        stand_ins = {id(leaf): given[path] for path, leaf in arrays}
        if len(stand_ins) < len(arrays):
            raise ValueError(
                f"{self.who} must hold each parameter in an array of its own, but two of "
                f"{listed(p for p, _ in own)} are the same array. Copy one of them, or name only one in parameters=."
            )
        copied = self.map.copy(stand_ins)
        for parameter, (path, leaf) in zip(self.found, own, strict=True):
            if not isinstance(leaf, np.ndarray):
                assign(copied, parameter.path, np.asarray(given[path])[()])
        held = dict(leaves(self.values(copied), "params"))
        if unmoved := [path for path, _ in arrays if held.get(path) is not given[path]]:
            raise ValueError(
                f"{self.who} must hold the very arrays it names as its parameters, but gives copies or views of "
                f"{listed(unmoved)}. Name the attributes that hold them in parameters=."
            )
        return copied

    def clear(self, layer: Any) -> None:
        """Set the stored gradients of ``layer``, which is a copy, to zero."""
        for _, gradient in self.found:
            held = stored(layer, gradient)
            if isinstance(held, np.ndarray):
                held[...] = 0
            elif isinstance(held, float | np.floating):
                assign(layer, gradient, 0.0)

    def gradients(self, layer: Any) -> Any:
        """Return the gradients in ``layer``, a copy, as ``params`` holds the parameters; None where there is none."""
        return rebuild(self.values(self.map.thing), (stored(layer, parameter.gradient) for parameter in self.found))


def _filled(layer: Any, path: Path, found: Mapping[Path, Parameter]) -> tuple[Path, list[Path]]:
    """Return the path to the container around ``path`` of which each leaf was found, and the paths from it to these.

    Without one, the path itself, and the empty path.
    """
    end = max((i + 1 for i, (kind, _) in enumerate(path) if kind == "attribute"), default=0)
    head, container = path[:end], follow(layer, path[:end])
    if end and end < len(path) and is_container(container):
        below = [parsed(f"_{name}")[1:] for name, _ in leaves(container, "")]
        if all((*head, *rest) in found for rest in below):
            return head, below
    return path, [()]
