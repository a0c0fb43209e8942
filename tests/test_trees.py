import collections

import numpy as np
import pytest

from gradcheck.trees import Layout, describe, entry_name, leaves, rebuild


def test_leaves_are_named_as_python_would_index_them():
    tree = {"W": np.zeros(2), "b": [np.zeros(3), (np.zeros(4),)]}
    assert [path for path, _ in leaves(tree, "params")] == ["params['W']", "params['b'][0]", "params['b'][1][0]"]


def test_rebuild_keeps_every_kind_of_container():
    Point = collections.namedtuple("Point", "x y")  # noqa: PYI024  (its untyped kind is what users have)
    tree = (Point(1, 2), [3], {"k": 4}, collections.OrderedDict(a=5), collections.defaultdict(list, b=6))
    rebuilt = rebuild(tree, iter("abcdef"))
    assert rebuilt == (Point("a", "b"), ["c"], {"k": "d"}, collections.OrderedDict(a="e"), {"b": "f"})
    assert [type(part) for part in rebuilt] == [type(part) for part in tree]
    assert rebuilt[-1].default_factory is list


def test_entries_are_named_by_their_indices():
    assert entry_name("dW1", (3, 4), 7) == "dW1[1, 3]"
    assert entry_name("dparams['b']", (5,), 0) == "dparams['b'][0]"
    assert entry_name("dx", (), 0) == "dx"


def test_layout_takes_arrays_to_one_vector_and_back():
    arrays = [np.arange(6.0).reshape(2, 3), np.array(7.0), np.asfortranarray(np.arange(4.0).reshape(2, 2))]
    layout = Layout.of(zip(["x", "s", "W"], arrays, strict=True))
    vector = layout.flatten(arrays)
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 7, 0, 1, 2, 3]
    for back, array in zip(layout.unflatten(vector), arrays, strict=True):
        np.testing.assert_array_equal(back, array)
    assert [layout.entry_name(i) for i in (5, 6, 10)] == ["x[1, 2]", "s", "W[1, 1]"]


def test_an_entry_beyond_the_layout_is_an_index_error():
    with pytest.raises(IndexError):
        Layout.of([("x", np.zeros(2))]).locate(2)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros((3, 4)), "a float64 array of shape (3, 4)"),
        (np.zeros(2, dtype=np.int64), "an int64 array of shape (2,)"),
        (None, "None"),
        ({"W": 1}, "a dict with the keys 'W'"),
        ([1, 2], "a list of 2"),
        (3.5, "the float 3.5"),
        (object(), "an object"),
    ],
)
def test_values_are_described_in_a_few_words(value, said):
    assert describe(value) == said
