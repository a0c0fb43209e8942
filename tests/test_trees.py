import collections

import numpy as np
import pytest

from gradcheck.trees import Layout, describe, entry_name, flatten, is_discrete, leaves, norm, rebuild


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
        (np.ma.masked_array([1.0]), "a masked float64 array of shape (1,)"),
        (None, "None"),
        ({"W": 1}, "a dict with the keys 'W'"),
        ([1, 2], "a list of 2"),
        (3.5, "the float 3.5"),
        (object(), "an object"),
    ],
)
def test_values_are_described_in_a_few_words(value, said):
    assert describe(value) == said


def test_containers_may_be_nested_deeply():
    tree = 1.0
    for _ in range(5000):
        tree = [tree]
    found, structure = flatten(tree)
    assert found == [1.0]
    assert structure.paths("x") == ["x" + 5000 * "[0]"]
    assert flatten(structure.unflatten([2.0]))[0] == [2.0]


def test_a_container_inside_itself_is_a_leaf_there():
    tree = [1, {"a": 2}]
    tree[1]["me"] = tree
    assert [path for path, _ in leaves(tree, "x")] == ["x[0]", "x[1]['a']", "x[1]['me']"]
    twice = [3]
    assert [leaf for _, leaf in leaves([twice, twice], "x")] == [3, 3]


def test_rebuild_takes_no_more_than_it_needs():
    replacements = iter(range(5))
    assert rebuild([0, [0, ()], {}], replacements) == [0, [1, ()], {}]
    assert list(replacements) == [2, 3, 4]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "g"])
def test_a_vector_is_float64_whatever_it_is_made_of(dtype):
    layout = Layout.of([("x", np.zeros((2, 2))), ("s", np.array(0.0))])
    vector = layout.flatten([np.arange(4, dtype=dtype).reshape(2, 2).T, 5])
    assert vector.dtype == np.float64
    assert vector.tolist() == [0, 2, 1, 3, 5]
    assert layout.flatten([0.0, 1.0]).tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("value", [True, 3, np.int32(3), np.arange(2), np.ones(2, bool)])
def test_integers_and_booleans_are_discrete(value):
    assert is_discrete(value)
    assert not is_discrete(np.asarray(value, dtype=float))


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_a_norm_neither_overflows_nor_warns_where_every_warning_is_an_error(size):
    with np.errstate(all="raise"):
        assert norm(np.full(4, size)) == pytest.approx(2 * size, rel=1e-15)
