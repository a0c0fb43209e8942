"""Which objects are looked into for arrays, what is in them, and how they are put together again. Level 0.

Lists, tuples, deques, mappings, dataclasses, and the classes that JAX or optree were told about, with all subclasses.
A container that cannot be put together again from what was found in it is a leaf, like any other object: a result of
``os.stat`` is a tuple, and ``os.environ`` a mapping.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["LEAVES", "Opened", "is_container", "opened", "shown"]

LEAVES = frozenset({np.ndarray, np.float64, np.float32, float, int, bool, str, complex, type(None), types.FunctionType})
"""What nearly every leaf is: recognised without asking what it might be otherwise."""


class Opened(NamedTuple):
    """A container taken apart by one level.

    Attributes:
        keys: what distinguishes the children: a key, a position, a field's name, or whatever a registry calls them.
        children: what it holds, in order.
        build: returns a container like this one with other children.
        label: returns how Python would write the access to the child of a key: ``['W']``, ``[0]``, ``.W``.
    """

    keys: Sequence[Any]
    children: Sequence[Any]
    build: Callable[[Sequence[Any]], Any]
    label: Callable[[Any], str]


def is_container(tree: object) -> bool:
    """Whether ``tree`` is looked into."""
    return opened(tree) is not None


def opened(tree: Any) -> Opened | None:
    """Return ``tree`` taken apart by one level; None where it is a leaf."""
    kind = type(tree)
    if kind in LEAVES:
        return None
    if kind is dict:
        keys = tuple(tree)
        return Opened(keys, tuple(tree.values()), lambda children: dict(zip(keys, children, strict=True)), _item)
    if kind is tuple or kind is list:
        return Opened(range(len(tree)), tree, kind, _item)
    if isinstance(tree, tuple | list | collections.deque | Mapping):
        return _subclass(tree)
    return _registered_with_jax(tree) or _registered_with_optree(tree) or _dataclass(tree)


def shown(value: object) -> str:
    """Return ``repr(value)``, and the name of its class where that raises."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  (the class is the user's, and so is how it is shown)
        return f"<{type(value).__name__}>"


def _item(key: object) -> str:
    return f"[{shown(key)}]"


def _attribute(name: str) -> str:
    return f".{name}"


def _subclass(tree: Any) -> Opened | None:
    """Open what is like a tuple, a list or a dict; None where it cannot be built anew."""
    if hasattr(type(tree), "n_sequence_fields"):  # a record of the system's, which holds more than it shows as a tuple
        return None
    keyed = isinstance(tree, Mapping)
    keys: Sequence[Any] = tuple(tree) if keyed else range(len(tree))
    children = tuple(tree.values()) if keyed else tuple(tree)
    like = _mapping_like if keyed else _tuple_like if isinstance(tree, tuple) else _list_like
    for way in (like, _constructed):
        found = Opened(keys, children, functools.partial(way, tree, keys), _item)
        if _is_faithful(tree, found):
            return found
    return None


def _is_faithful(tree: Any, way: Opened) -> bool:
    """Whether a container of the same class with the same children comes out."""
    try:
        again = way.build(way.children)
        children = tuple(again.values()) if isinstance(again, Mapping) else tuple(again)
    except Exception:  # noqa: BLE001  (whatever a class of the user's raises, it cannot be built this way)
        return False
    return type(again) is type(tree) and [*map(id, children)] == [*map(id, way.children)]


def _mapping_like(tree: Any, keys: Sequence[Any], children: Sequence[Any]) -> Any:
    """Return a dict with what a subclass adds: a default factory, an order, attributes."""
    if not isinstance(tree, dict):  # a copy might share the memory of another mapping, and be written into with it
        raise TypeError
    like = copy.copy(tree)
    like.update(zip(keys, children, strict=True))
    if getattr(tree, "__dict__", None) is tree:  # its items are its attributes
        like.__dict__ = like
    return like


def _constructed(tree: Any, keys: Sequence[Any], children: Sequence[Any]) -> Any:
    return type(tree)(dict(zip(keys, children, strict=True)) if isinstance(tree, Mapping) else children)


def _tuple_like(tree: Any, _keys: Sequence[Any], children: Sequence[Any]) -> Any:
    like = tuple.__new__(type(tree), children)
    if hasattr(tree, "__dict__"):
        like.__dict__.update(vars(tree))
    return like


def _list_like(tree: Any, _keys: Sequence[Any], children: Sequence[Any]) -> Any:
    """Return a list or a deque with what a subclass adds, or with its greatest length."""
    like = copy.copy(tree)
    like.clear()
    like.extend(children)
    return like


def _registered_with_jax(tree: Any) -> Opened | None:
    """Open an instance of a class that JAX was told about; JAX is never imported for that."""
    if isinstance(tree, Iterator):  # of which JAX warns that it is a leaf
        return None
    registry = getattr(sys.modules.get("jax"), "tree_util", None)
    if registry is None:
        return None
    pairs, structure = registry.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    if not pairs or registry.treedef_is_leaf(structure):
        return None
    keys, children = zip(*pairs, strict=True)

    def label(path: tuple[Any, ...]) -> str:
        numbered = isinstance(path[0], registry.FlattenedIndexKey)
        return f"[{path[0].key}]" if numbered else str(registry.keystr(path))

    return Opened(keys, children, structure.unflatten, label)


def _registered_with_optree(tree: Any) -> Opened | None:
    """Open an instance of a class that optree was told about, in whatever namespace; optree is never imported."""
    registry = getattr(sys.modules.get("optree"), "registry", None)
    if registry is None:
        return None
    entries = getattr(registry, "_NODETYPE_REGISTRY", None) or registry.register_pytree_node.get()
    entry = next((entry for entry in entries.values() if entry.type is type(tree)), None)
    if entry is None:
        return None
    children, metadata, *named = entry.flatten_func(tree)
    children = tuple(children)
    keys = tuple(named[0]) if named and named[0] is not None else range(len(children))
    label = _attribute if all(isinstance(key, str) and hasattr(tree, key) for key in keys) else _item
    return Opened(keys, children, lambda others: entry.unflatten_func(metadata, others), label) if children else None


def _dataclass(tree: Any) -> Opened | None:
    """Open a dataclass: by its constructor where that makes the same object again, else field by field.

    A field that the constructor computes from the others (``Wt = W.T``) does so for the new ones too. One that it
    draws at random is a child, and set.
    """
    if not hasattr(type(tree), "__dataclass_fields__"):
        return None
    fields = [field for field in dataclasses.fields(tree) if hasattr(tree, field.name)]
    given = tuple(field.name for field in fields if field.init)
    values = tuple(getattr(tree, name) for name in given)
    build = functools.partial(_initialised, tree, given)
    try:
        again = build(values)
        remade = all(_is_same(getattr(again, field.name), getattr(tree, field.name)) for field in fields)
    except Exception:  # noqa: BLE001  (a constructor of the user's may want something else, or refuse to be called again)
        remade = False
    if not remade:
        given = tuple(field.name for field in fields)
        values = tuple(getattr(tree, name) for name in given)
        build = functools.partial(_set, tree, given)
    return Opened(given, values, build, _attribute) if values else None


def _initialised(tree: Any, names: Sequence[str], values: Sequence[Any]) -> Any:
    return _with_the_rest(tree, type(tree)(**dict(zip(names, values, strict=True))))


def _set(tree: Any, names: Sequence[str], values: Sequence[Any]) -> Any:
    like = object.__new__(type(tree))
    for name, value in zip(names, values, strict=True):
        object.__setattr__(like, name, value)  # also where it is frozen
    return _with_the_rest(tree, like)


def _with_the_rest(tree: Any, like: Any) -> Any:
    """Give ``like`` the attributes of ``tree`` that are no fields, but for those that were computed from them."""
    kept = getattr(like, "__dict__", {})
    for name, value in getattr(tree, "__dict__", {}).items():
        if name not in kept and not isinstance(getattr(type(tree), name, None), functools.cached_property):
            object.__setattr__(like, name, value)
    return like


def _is_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    here, there = opened(one), opened(other)
    if here is None or there is None:
        return bool(one == other)
    return len(here.keys) == len(there.keys) and all(map(_is_same, here.children, there.children))
