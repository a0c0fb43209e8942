import collections
import dataclasses
import functools
import os
import time
import types
from pathlib import Path

import numpy as np
import pytest

from gradcheck.containers import is_container, opened, shown


class Words(dict):
    """A dict whose items are its attributes."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.__dict__ = self


class Named(list):
    name = ""


class Pair(tuple):
    __slots__ = ()


class Kept(collections.abc.Mapping):
    """A mapping that cannot be written into."""

    def __init__(self, items):
        self._items = dict(items)

    def __getitem__(self, key):
        return self._items[key]

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)


class Store(collections.UserDict):
    def __init__(self, path, items=()):
        super().__init__(items)


@dataclasses.dataclass
class Dense:
    W: object
    b: object


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    W: object
    b: object


def again(tree, *children):
    """Return a container like ``tree`` with other children, after a look at whether it is built of its own as well."""
    parts = opened(tree)
    same = parts.build(parts.children)
    assert type(same) is type(tree)
    assert list(map(id, opened(same).children)) == list(map(id, parts.children))
    return parts.build(children)


def test_subclasses_of_containers_stay_what_they_are():
    named = Named([1, 2])
    named.name = "layers"
    built = again(named, 3, 4)
    assert (type(built), built, built.name) == (Named, [3, 4], "layers")
    assert again(Pair([1, 2]), 3, 4) == Pair([3, 4])
    assert again(collections.deque([1, 2], maxlen=2), 3, 4).maxlen == 2
    assert again(collections.OrderedDict(a=1), 2) == collections.OrderedDict(a=2)


@pytest.mark.parametrize("kind", [types.MappingProxyType, Kept, collections.UserDict, collections.ChainMap])
def test_mappings_that_are_no_dicts_are_built_anew_and_never_written_into(kind):
    given = kind({"W": 1, "b": 2})
    built = again(given, 3, 4)
    assert (type(built), dict(built), dict(given)) == (type(given), {"W": 3, "b": 4}, {"W": 1, "b": 2})


def test_items_that_are_attributes_as_well_are_replaced_as_both():
    built = again(Words(W=1), 2)
    assert built.W == built["W"] == 2


@pytest.mark.parametrize("tree", [Path.cwd().stat(), time.localtime(), os.environ, Store("file", {"W": 1})])
def test_a_container_that_cannot_be_built_again_is_a_leaf(tree):
    assert not is_container(tree)


@pytest.mark.parametrize("tree", [object(), types.SimpleNamespace(W=1), np.ones(2), "text", {1, 2}, Dense, None])
def test_other_objects_are_leaves(tree):
    assert opened(tree) is None


@pytest.mark.parametrize("kind", [Dense, Frozen])
def test_a_dataclass_is_opened_field_by_field(kind):
    parts = opened(kind(1, 2))
    assert [parts.label(key) for key in parts.keys] == [".W", ".b"]
    assert again(kind(1, 2), 3, 4) == kind(3, 4)


def test_a_field_that_the_constructor_computes_follows_the_others():
    @dataclasses.dataclass
    class Derived:
        W: object
        Wt: object = dataclasses.field(init=False)

        def __post_init__(self):
            self.Wt = self.W.T

    parts = opened(Derived(np.ones((2, 3))))
    assert parts.keys == ("W",)
    assert parts.build([np.zeros((4, 5))]).Wt.shape == (5, 4)


def test_a_field_that_the_constructor_draws_is_a_child():
    rng = np.random.default_rng(0)

    @dataclasses.dataclass
    class Layer:
        size: int
        W: object = dataclasses.field(init=False)

        def __post_init__(self):
            self.W = rng.standard_normal(self.size)

    parts = opened(Layer(3))
    assert parts.keys == ("size", "W")
    assert parts.build([3, "new"]).W == "new"


def test_a_dataclass_whose_constructor_wants_something_else_is_set_field_by_field():
    @dataclasses.dataclass(init=False)
    class Net:
        W: object

        def __init__(self, width, depth):
            self.W = np.ones((width, depth))

        @functools.cached_property
        def norm(self):
            return float(np.linalg.norm(self.W))

    net = Net(2, 2)
    net.training = True
    assert net.norm == 2.0
    built = opened(net).build([np.zeros((2, 2))])
    assert (built.training, built.norm) == (True, 0.0)


def test_classes_that_jax_knows_are_opened_as_jax_does():
    import jax

    class Layer:
        def __init__(self, W, b):
            self.W, self.b = W, b

    jax.tree_util.register_pytree_node(Layer, lambda p: ((p.W, p.b), None), lambda _, parts: Layer(*parts))
    parts = opened(Layer(1, {"c": 2}))
    assert parts.children == (1, {"c": 2})
    assert [parts.label(key) for key in parts.keys] == ["[0]", "[1]"]
    assert parts.build([3, 4]).b == 4


def test_classes_that_optree_knows_are_opened_in_any_namespace():
    import optree

    class Layer:
        def __init__(self, W, b):
            self.W, self.b = W, b

    optree.register_pytree_node(
        Layer, lambda p: ((p.W, p.b), None, ("W", "b")), lambda _, parts: Layer(*parts), namespace="tests"
    )
    parts = opened(Layer(1, 2))
    assert [parts.label(key) for key in parts.keys] == [".W", ".b"]
    assert parts.build([3, 4]).W == 3


class ByAttribute(dict):
    """A dict that raises KeyError for an attribute that it has not."""

    __getattr__ = dict.__getitem__


class Unprintable:
    def __repr__(self):
        raise RuntimeError("this one is not to be shown")


def test_a_dict_that_raises_another_error_for_a_missing_attribute_is_looked_into():
    assert opened(ByAttribute(a=1)).children == (1,)


def test_what_cannot_be_shown_is_named_by_its_class():
    assert shown("x") == "'x'"
    assert shown(Unprintable()) == "<Unprintable>"
