"""Which arrays of a layer are its parameters: shown by one forward and one backward of a copy. Level 1.

An array whose gradient is kept where a habit keeps it is a parameter, unless the forward puts another in its place and
the output does not depend on it: then it is a cache. An array without a gradient that the output depends on, and that
the forward leaves alone, may be a parameter that nobody would check: it is refused by name. What the output does not
depend on (buffers, the moments of an optimiser) and what each forward renews (masks, states) asks for no gradient.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.adapters.gradients import aside, copied, same
from gradcheck.adapters.habits import gradients_of
from gradcheck.adapters.parameters import Parameter, Parameters
from gradcheck.adapters.places import Map, Path, Place, Step, follow, parsed, text
from gradcheck.adapters.signatures import listed
from gradcheck.pairing import call
from gradcheck.trees import is_float, leaves, rebuild

__all__ = ["Pairs", "discovered"]

Pairs = Mapping[str, str | None]


def discovered(who: str, layer_map: Map, inputs: Sequence[Any], pairs: Pairs) -> Parameters:
    """Return the parameters of a layer, as one forward of ``inputs`` and one backward show them.

    ``pairs`` are habits of this layer: the name of the gradient for the name of an array, None for a constant.

    Raises:
        ValueError: the output depends on an array whose gradient is not found, or on one that a copy cannot hold.
    """
    run = _Run.of(who, layer_map, inputs, pairs)
    paired = {place.name: gradients for place in layer_map.places if (gradients := run.gradients(place))}
    # What has a gradient may be a cache if it is renewed; what has none may be a parameter if it is not.
    asked = [p for p in layer_map.places if (p.name in paired) == (p.name in run.renewed) and not run.is_constant(p)]
    depends = {place.name: place for place in run.reacting(asked)}
    if unknown := [place for name, place in depends.items() if name not in paired]:
        raise ValueError(_unpaired(run, unknown))
    run.must_be_whole()
    if unmoved := [text(path) for path in layer_map.others if text(path) not in run.renewed and run.has_gradient(path)]:
        raise ValueError(
            f"{who} must keep its parameters in NumPy arrays of real floats to have them moved, but {listed(unmoved)} "
            "has a gradient and is none. Make it with dtype=float, or split its real and imaginary part."
        )
    found = [
        run.parameter(place, paired[place.name])
        for place in layer_map.places
        if place.name in paired and (place.name in depends or place.name not in run.renewed)
    ]
    return Parameters.gathered(who, layer_map, [*found, *run.numbers()])


@dataclass(frozen=True)
class _Run:
    """A copy of a layer after one forward and one backward.

    ``renewed`` are the names of what the forward put another array in the place of, ``written`` of what the backward
    changed, and ``forwarded`` of all arrays that the copy held in between.
    """

    who: str
    map: Map
    inputs: Sequence[Any]
    pairs: Pairs
    layer: Any
    out: Any
    renewed: frozenset[str]
    written: frozenset[str]
    forwarded: frozenset[str]

    @classmethod
    def of(cls, who: str, layer_map: Map, inputs: Sequence[Any], pairs: Pairs) -> _Run:
        before = [np.array(place.array) for place in layer_map.places]
        layer, rng = layer_map.copy(), np.random.default_rng(0)
        start = _held(layer, layer_map)
        try:
            out = copied(call(layer.forward, tuple(copied(inputs))))
            middle, forwarded = _held(layer, layer_map), frozenset(place.name for place in Map(layer).places)
            call(layer.backward, (rebuild(out, (_normal_like(leaf, rng) for _, leaf in leaves(out, ""))),))
        finally:
            changed = _put_back(layer_map, before)
        if changed:
            raise ValueError(
                f"{who} must be able to run as a copy, but a run of its copy wrote into {listed(changed)} of the layer "
                "itself. Look for a function, a class or a module that refers to it."
            )
        end = _held(layer, layer_map)
        renewed = frozenset(name for name in start if not _unchanged(start[name], middle[name]))
        written = frozenset(name for name in start if not _unchanged(middle[name], end[name]))
        return cls(who, layer_map, inputs, pairs, layer, out, renewed, written, forwarded)

    def gradients(self, place: Place) -> list[Path]:
        """Return the paths to the gradient of an array, none if no habit leads to one."""
        if self.is_constant(place):
            return []
        found = self._by_habit(place.paths) or self._by_habit(_properties(self.layer, place))
        return [path for path in found if np.shape(follow(self.layer, path)) == place.array.shape] or found

    def parameter(self, place: Place, gradients: Sequence[Path]) -> Parameter:
        """Return an array with its gradient.

        Raises:
            ValueError: there are several gradients, and they differ.
        """
        first, *others = gradients
        if differing := [path for path in others if not _alike(self.layer, first, path)]:
            raise ValueError(
                f"{self.who} must keep one gradient of each parameter, but for {place.name} "
                f"{listed(map(text, [first, *differing]))} differ. Add them into one, or name the one that counts: "
                f'from_layer(layer, parameters={{"{place.name}": "{text(first)}"}}).'
            )
        return Parameter(place.paths[0], first)

    def _by_habit(self, paths: Sequence[Path]) -> list[Path]:
        named = {name: gradient for name, gradient in self.pairs.items() if gradient is not None}
        return list(dict.fromkeys(found for path in paths for found in gradients_of(self.layer, path, named)))

    def is_constant(self, place: Place) -> bool:
        """Whether the user says that an array has no gradient."""
        names = {name for path in place.paths for name in (text(path), path[-1][1]) if isinstance(name, str)}
        return any(name in self.pairs and self.pairs[name] is None for name in names)

    def numbers(self) -> list[Parameter]:
        """Return the single numbers, no arrays, that have a gradient and are not renewed by the forward."""
        return [
            Parameter(path, self._by_habit([path])[0])
            for path in self.map.numbers
            if text(path) not in self.renewed
            and self.has_gradient(path)
            and not isinstance(follow(self.map.thing, path[:-1]), tuple)
        ]

    def has_gradient(self, path: Path) -> bool:
        """Whether a habit leads to a gradient of the shape of the array or number at ``path``."""
        gradients = [follow(self.layer, found) for found in self._by_habit([path])[:1]]
        return any(each is not None and np.shape(each) == np.shape(follow(self.layer, path)) for each in gradients)

    def reacting(self, places: Sequence[Place]) -> list[Place]:
        """Return those of ``places`` that the output depends on; none if it is another one each time."""
        if not places or not self._same_out([]) or self._same_out(places):
            return []
        return [place for place in places if not self._same_out([place])]

    def _same_out(self, changed: Sequence[Place]) -> bool:
        """Whether the output stays bit by bit the same if the arrays of some places are other ones."""
        rng = np.random.default_rng(0)
        try:
            with np.errstate(all="ignore"):
                layer = self.map.copy({id(place.array): aside(place.array, rng) for place in changed})
                out = layer.forward(*copied(self.inputs))
        except Exception:  # noqa: BLE001  (what it refuses it depends on)
            return False
        pairs = zip(leaves(out, ""), leaves(self.out, ""), strict=False)
        return all(same(np.asarray(here), np.asarray(there)) for (_, here), (_, there) in pairs)

    def must_be_whole(self) -> None:
        """Raise a ValueError unless the layer had its parameters before its first forward; later ones never move."""
        known = {text(path) for place in self.map.places for path in place.paths}
        own = {id(place.array) for place in self.map.places}  # which a class may still hold
        new = [p for p in Map(self.layer).places if known.isdisjoint(map(text, p.paths)) and id(p.array) not in own]
        late = [place for place in new if self._by_habit(place.paths)]
        if not late:
            return
        before = {place.name: (place.array, np.array(place.array)) for place in late}
        self.layer.forward(*copied(self.inputs))
        after = {place.name: follow(self.layer, place.paths[0]) for place in late}
        if built := [name for name, (array, kept) in before.items() if after[name] is array and same(array, kept)]:
            raise ValueError(
                f"{self.who} must have its parameters before the check, but the first forward makes {listed(built)}. "
                "Call forward once before from_layer."
            )

    def unclaimed(self, place: Place) -> str | None:
        """Return the name of what may be the gradient of an array: what the backward left of its shape beside it."""
        owner, kept = place.paths[0][:-1], self.forwarded - self.written
        near = {
            path[-1][1]
            for other in Map(self.layer).places
            for path in other.paths
            if path[:-1] == owner and other.name not in kept and other.array.shape == place.array.shape
        }
        return near.pop() if len(near) == 1 else None


def _unpaired(run: _Run, unknown: Sequence[Place]) -> str:
    """Return the message about arrays that may be parameters, of which no gradient was found."""
    who = f"{run.who} must keep a gradient of each float array that its output depends on"
    if stepped := [place.name for place in unknown if place.name in run.written]:
        return (
            f"{who}, but its backward changes {listed(stepped)} instead, as a step of an optimiser does. "
            "Store the gradient, and step where the layer is trained."
        )
    pairs = {
        str(p.paths[0][-1][1]) if isinstance(p.paths[0][-1][1], str) else p.name: run.unclaimed(p) for p in unknown
    }
    named = ", ".join(
        f'"{name}": {"None" if gradient is None else f"{chr(34)}{gradient}{chr(34)}"}'
        for name, gradient in pairs.items()
    )
    return (
        f"{who}, but none is found for {listed(place.name for place in unknown)}. "
        f"Name the pairs, None for a constant: from_layer(layer, parameters={{{named}}})."
    )


def _put_back(layer_map: Map, before: Sequence[Any]) -> list[str]:
    """Put back what a run of a copy changed in the arrays of the layer itself, and return their names."""
    changed = [
        (place, kept) for place, kept in zip(layer_map.places, before, strict=True) if not same(place.array, kept)
    ]
    for place, kept in changed:
        place.array[...] = kept
    return [place.name for place, _ in changed]


def _held(layer: Any, layer_map: Map) -> dict[str, list[tuple[Any, Any]]]:
    """Return what a copy of the layer holds in each place, and for each number: the objects, and copies of them."""
    paths = {place.name: place.paths for place in layer_map.places}
    paths |= {text(path): [path] for path in (*layer_map.numbers, *layer_map.others)}
    found = {name: [follow(layer, path) for path in each] for name, each in paths.items()}
    return {name: [(each, copy.copy(each)) for each in held] for name, held in found.items()}


def _unchanged(before: Sequence[tuple[Any, Any]], after: Sequence[tuple[Any, Any]]) -> bool:
    pairs = zip(before, after, strict=True)
    return all(
        here is there and same(np.asarray(now), np.asarray(then)) if hasattr(here, "shape") else here == there
        for (here, then), (there, now) in pairs
    )


def _alike(layer: Any, one: Path, other: Path) -> bool:
    return same(np.asarray(follow(layer, one)), np.asarray(follow(layer, other)))


def _properties(layer: Any, place: Place) -> list[Path]:
    """Return the paths to an array through properties of the objects that it lies in."""
    array, found = follow(layer, place.paths[0]), []
    for above in {path[:end] for path in place.paths for end in range(len(path))}:
        owner = follow(layer, above)
        for each in type(owner).__mro__:
            for name in (name for name, value in vars(each).items() if isinstance(value, property)):
                step: Step = ("attribute", name)
                with contextlib.suppress(Exception):  # a property may raise what it likes; then it gives no array
                    given = leaves(getattr(owner, name), "")
                    below = [parsed(f"_{path}")[1:] for path, leaf in given if leaf is array]
                    found += [(*above, step, *rest) for rest in below]
    return found


def _normal_like(leaf: Any, rng: np.random.Generator) -> Any:
    if not is_float(leaf) and not isinstance(leaf, float | np.floating):
        return leaf
    drawn = rng.standard_normal(np.shape(leaf))
    return drawn.astype(leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(drawn)
