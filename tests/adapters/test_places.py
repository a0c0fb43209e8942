import collections
import functools
import sys
import threading

import numpy as np
import pytest

from gradcheck.adapters.places import MISSING, Map, assign, follow, member, parsed, text


class Node:
    def __init__(self, **parts):
        self.__dict__.update(parts)


class Slotted:
    __slots__ = ("W", "empty")

    def __init__(self):
        self.W = np.ones(2)


class OnClass:
    W = np.ones(2)
    settings = {"depth": 2}  # noqa: RUF012  (shared by all instances, which is the point)


def names(thing):
    return [place.name for place in Map(thing).places]


def test_arrays_are_found_in_attributes_lists_dicts_slots_and_objects_within():
    layer = Node(W=np.ones(2), layers=[Slotted(), (Node(b=np.ones(1)),)], table={"k": np.ones(1), "n": 3})
    assert names(layer) == ["W", "table['k']", "layers[0].W", "layers[1][0].b"]


def test_an_array_with_two_names_is_one_place_the_outermost_name_first():
    W = np.ones(2)
    (place,) = Map(Node(layers=[Node(W=W)], params=[W])).places
    assert [text(path) for path in place.paths] == ["params[0]", "layers[0].W"]


def test_parents_and_lists_that_hold_themselves_are_walked_once():
    child = Node(W=np.ones(2))
    child.parent = Node(child=child, again=child)
    loop = [child]
    loop.append(loop)
    assert names(Node(loop=loop)) == ["loop[0].W"]


def test_queues_partials_methods_and_object_arrays_are_walked():
    held = np.empty(1, dtype=object)
    held[0] = np.ones(1)
    bound = Node(W=np.ones(1))
    bound.method = functools.partial(np.add, np.ones(1))
    thing = Node(queue=collections.deque([np.ones(1)]), held=held, call=BoundTo(np.ones(1)).method, inner=bound)
    assert names(thing) == ["queue[0]", "held[(0,)]", "inner.W", "call.__self__.W", "inner.method.args[0]"]


class BoundTo:
    def __init__(self, W):
        self.W = W

    def method(self):
        return self.W


def test_numbers_and_arrays_that_cannot_move_are_kept_apart():
    found = Map(Node(alpha=0.5, count=3, ids=np.arange(2), z=np.ones(1, dtype=complex)))
    assert [text(path) for path in found.numbers] == ["alpha"]
    assert [text(path) for path in found.others] == ["ids", "z"]


def test_a_copy_holds_the_arrays_that_stand_in_wherever_the_old_ones_stood():
    W = np.ones(2, dtype=np.float32)
    layer = Node(W=W, params={"W": W}, parent=Node())
    layer.parent.child = layer
    other = np.zeros(2)
    copied = Map(layer).copy({id(W): other})
    assert copied.W is copied.params["W"] is copied.parent.child.W is other
    assert layer.W is layer.params["W"] is W


def test_an_array_on_the_class_stands_on_the_copy_and_not_on_the_class():
    layer = Node(inner=OnClass())
    kept = OnClass.W
    other = np.zeros(2)
    copied = Map(layer).copy({id(OnClass.W): other})
    assert copied.inner.W is other
    assert OnClass.W is kept
    assert vars(layer.inner) == {}


def test_a_function_of_a_copy_is_made_around_the_copy():
    def around(layer):
        return lambda: layer.W

    layer = Node(W=np.ones(2))
    layer.read = around(layer)
    layer.pair = (around(layer), 1)
    found = Map(layer)
    copied = found.copy({id(layer.W): np.zeros(2)})
    assert copied.read() is copied.pair[0]() is copied.W
    (again,) = found.again(copied)
    assert again.read() is again.W
    assert again.W is not copied.W


def test_an_array_that_only_a_function_holds_is_found_and_replaced():
    W = np.ones(2)
    layer = Node(read=lambda: W)
    assert names(layer) == ["read.<W>"]
    copied = Map(layer).copy({id(W): np.zeros(2)})
    np.testing.assert_array_equal(copied.read(), [0, 0])
    np.testing.assert_array_equal(follow(layer, Map(layer).places[0].paths[0]), [1, 1])


def test_modules_locks_and_files_are_shared_with_the_copy():
    layer = Node(np=np, lock=threading.Lock(), out=sys.__stdout__, W=np.ones(2))
    copied = Map(layer).copy()
    assert (copied.np, copied.lock, copied.out) == (layer.np, layer.lock, layer.out)
    assert copied.W is not layer.W


def test_what_holds_arrays_and_cannot_be_copied_is_refused():
    class Stubborn:
        def __init__(self):
            self.W = np.ones(2)

        def __deepcopy__(self, memo):
            raise NotImplementedError("not today")

    with pytest.raises(TypeError) as error:
        Map(Node(inner=Stubborn())).copy()
    assert str(error.value) == (
        "Node must be such that copy.deepcopy can copy it, because every call works on a copy, but that raised "
        "NotImplementedError: not today. Give the part that it names a __deepcopy__."
    )


@pytest.mark.parametrize("name", ["W", "layers[0].W", "params['b']", "a.b[1]['k'].c", "held[(0, 1)]"])
def test_a_path_is_read_as_it_is_written(name):
    assert text(parsed(name)) == name


@pytest.mark.parametrize("name", ["not a name", "f(x)", "x[i]"])
def test_what_is_no_path_is_one_attribute(name):
    assert parsed(name) == (("attribute", name),)


def test_a_path_that_leads_nowhere_is_missing_and_one_can_be_put_to_use():
    layer = Node(a=[1, {"k": 2}])
    assert follow(layer, parsed("a[2]")) is follow(layer, parsed("b.c")) is MISSING
    assign(layer, parsed("a[1]['k']"), 3)
    assign(layer, parsed("c"), 4)
    assert (layer.a[1]["k"], layer.c) == (3, 4)


def test_a_member_is_a_key_of_a_dict_or_an_attribute_of_an_object_and_of_no_array():
    assert member({"W": 1}, "W") == ("item", "W")
    assert member(Node(W=1), "W") == ("attribute", "W")
    assert member({"W": 1}, "b") is member(np.ones(1), "T") is member([1], "append") is member(Node(), 0) is None
