"""Every cell of a buffer knows which node wrote it, and where in that node's value."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from gradcheck.steps.memory import Buffer, cells_up_to, owner_of, zeros


class Node:
    def __init__(self, value):
        self.value = value


VIEWS = {
    "all": lambda a: a,
    "a row": lambda a: a[1],
    "a column from the end": lambda a: a[::-1, 2],
    "a transpose": lambda a: a.T,
    "every second": lambda a: a[::2, 1::2],
    "nothing": lambda a: a[:0],
    "a new axis": lambda a: a[:, None, 1:],
    "one cell": lambda a: a[2, 3, ...],
    "windows": lambda a: as_strided(a, (3, 3, 2), (a.strides[0], a.strides[1], a.strides[1])),
    "a repeated row": lambda a: np.broadcast_to(a[0], (5, 4)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_cells_of_a_view_are_those_whose_numbers_it_shows(name):
    root = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(Buffer(root, 0).cells(VIEWS[name](root)), VIEWS[name](root))


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_written_through_a_view_is_known_in_its_place(name, order):
    root = np.zeros((3, 4), order=order)
    buffer, view = Buffer(root, 0), VIEWS[name](root)
    buffer.write(root, ..., root.shape, 0)
    buffer.write(view, ..., view.shape, 7)
    owner, place = buffer.origins(root)
    expected = np.zeros((3, 4))
    written = VIEWS[name](expected)
    if written.flags.writeable:
        written[...] = 7
        np.testing.assert_array_equal(owner, expected)
        np.testing.assert_array_equal(place[owner == 0], np.arange(12).reshape(3, 4)[owner == 0])
    if name != "windows" and written.flags.writeable:
        np.testing.assert_array_equal(buffer.origins(view)[1], np.arange(view.size).reshape(view.shape))


def test_an_array_that_was_not_written_to_in_parts_is_one_node_in_order():
    root = np.zeros((3, 4))
    owner, place = Buffer(root, 5).origins(root.T)
    assert (owner == 5).all()
    np.testing.assert_array_equal(place, np.arange(12).reshape(3, 4).T)


def test_filling_all_of_a_buffer_forgets_its_parts():
    root = np.zeros(4)
    buffer = Buffer(root, 0)
    buffer.write(root, [1, 2], (2,), 3)
    assert buffer.owner is not None
    buffer.fill(root, 9)
    assert buffer.owner is None
    assert buffer.whole == 9


def test_a_write_by_a_mask_or_a_list_of_indices_is_in_the_order_of_numpy():
    root = np.arange(6.0)
    buffer = Buffer(root, 0)
    buffer.write(root, [4, 1], (2,), 1)
    buffer.write(root, root > 4, (1,), 2)
    owner, place = buffer.origins(root)
    assert owner.tolist() == [0, 1, 0, 0, 1, 2]
    assert place.tolist() == [0, 1, 2, 3, 0, 0]


def test_a_value_is_copied_when_its_memory_is_about_to_be_written_and_not_before():
    root = np.arange(3.0)
    buffer, node = Buffer(root, 0), Node(root)
    buffer.lent.append(node)
    assert node.value is root
    assert buffer.keep() == root.nbytes
    root[:] = 0
    assert node.value.tolist() == [0, 1, 2]
    assert buffer.keep() == 0


def test_a_write_makes_what_was_read_before_out_of_date():
    root = np.zeros(3)
    buffer = Buffer(root, 0)
    buffer.views["key"] = 1
    before = buffer.version
    buffer.fill(root, 1)
    assert buffer.version > before
    assert not buffer.views


def test_the_owner_of_an_array_is_found_through_views_and_strides():
    root = np.zeros((4, 4))
    assert owner_of(root) is root
    assert owner_of(root[1:].T.reshape(2, 6)[0]) is not None
    assert owner_of(root[1:][:, 0]) is root
    assert owner_of(as_strided(root[1:], (2, 2), (8, 8))) is root


def test_an_array_over_foreign_memory_is_its_own_owner():
    array = np.frombuffer(bytearray(16))
    assert owner_of(array[1:]) is array


def test_a_closed_buffer_keeps_its_shape_and_no_memory():
    buffer = Buffer(np.ones((300, 400)), 0)
    buffer.close()
    assert buffer.root.shape == (300, 400)
    assert buffer.root.base.nbytes < 100


def test_numbers_of_cells_and_zeros_are_shared():
    assert cells_up_to(5).tolist() == [0, 1, 2, 3, 4]
    assert np.shares_memory(cells_up_to(5), cells_up_to(7))
    assert not cells_up_to(5).flags.writeable
    assert zeros((2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
