"""What NumPy does is kept as nodes, and memory tells which of them an array is."""

import contextlib

import numpy as np
import pytest

from gradcheck.steps.guard import Budget, Exceeded
from gradcheck.steps.tape import Tape
from gradcheck.steps.traced import Traced

X = np.arange(6.0).reshape(2, 3) + 1


def tape_and(*arrays):
    tape = Tape()
    return tape, *(tape.leaf(array, f"x{i}") for i, array in enumerate(arrays))


def node_of(tape, array):
    return tape.nodes[tape.read(array)]


def test_an_operation_is_a_node_of_its_operands():
    tape, x, y = tape_and(X, 2 * X)
    z = x * y
    node = node_of(tape, z)
    assert (node.kind, node.name, node.parents) == ("op", "multiply", (0, 1))
    assert node.compute([X, X]).tolist() == (X * X).tolist()


def test_a_view_is_a_gather_and_a_view_of_all_in_its_order_is_the_node_itself():
    tape, x = tape_and(X)
    assert node_of(tape, x.T).kind == "gather"
    assert node_of(tape, x[0]).value.tolist() == [1, 2, 3]
    assert tape.read(x.T.T) == 0
    assert tape.read(x[:]) == 0
    assert node_of(tape, x.reshape(3, 2)).kind == "gather"


def test_the_same_view_is_the_same_node_until_its_memory_is_written():
    tape, x = tape_and(X)
    row = x[0]
    first = tape.read(x[0])
    assert tape.read(row) == tape.read(x[0]) == first
    x[0, 1] = 5.0
    assert tape.read(row) != first
    assert node_of(tape, row).value.tolist() == [1, 5, 3]
    assert tape.nodes[first].value.tolist() == [1, 2, 3]


def test_a_buffer_that_is_filled_row_by_row_is_a_gather_of_the_rows():
    tape, x = tape_and(X)
    buffer = tape.constant(np.zeros((2, 3)))
    for i in range(2):
        buffer[i] = x[i] * 2
    node = node_of(tape, buffer)
    assert node.kind == "gather"
    assert [tape.nodes[p].name for p in node.parents] == ["setitem", "setitem"]
    assert node.value.tolist() == (2 * X).tolist()


def test_a_sum_in_place_is_seen_through_every_alias():
    tape, x = tape_and(X)
    alias = x
    x += 1
    assert node_of(tape, alias).name == "add"
    assert alias.tolist() == (X + 1).tolist()
    assert tape.nodes[0].value.tolist() == X.tolist()


def test_a_sum_into_a_part_is_written_once():
    tape, x = tape_and(X)
    x[0] += 10
    assert [node.name for node in tape.nodes if node.kind == "op"] == ["add"]
    assert x.tolist() == [[11, 12, 13], [4, 5, 6]]


def test_what_is_written_in_place_of_itself_is_read_first():
    _, x = tape_and(np.arange(4.0))
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2]


def test_a_number_is_not_changed_in_place():
    _, x = tape_and(X)
    before = total = x.sum()
    total += 1
    assert (float(before), float(total)) == (21.0, 22.0)
    assert before.is_number
    assert total.is_number


def test_an_array_without_an_axis_is_changed_in_place():
    _, x = tape_and(np.array(3.0))
    alias = x
    x += 1
    assert float(alias) == 4.0


def test_several_results_are_a_node_each():
    tape, x = tape_and(X)
    parts = np.split(x * 1, 3, axis=1)
    assert [node_of(tape, part).value.tolist() for part in parts] == [[[1], [4]], [[2], [5]], [[3], [6]]]
    fraction, whole = np.modf(x / 2)
    assert node_of(tape, whole).compute([x / 2]).tolist() == [[0, 1, 1], [2, 2, 3]]
    assert node_of(tape, fraction).name == "modf"


def test_turns_of_one_place_are_counted():
    tape, x = tape_and(X)
    for _ in range(3):
        x = x * 2
    node = node_of(tape, x)
    assert node.turn == tape.turns[node.site] == 2
    assert [tape.nodes[tape.at[node.site, t]].value[0, 0] for t in range(3)] == [2, 4, 8]


def test_an_array_from_elsewhere_is_a_constant_that_entered():
    tape, x = tape_and(X)
    y = x + np.ones((2, 3))
    parents = node_of(tape, y).parents
    assert tape.nodes[parents[1]].kind == "const"
    assert tape.entered == [parents[1]]


def test_a_copy_by_others_is_the_same_node():
    import copy

    tape, x = tape_and(X)
    y = copy.deepcopy(x)
    assert type(y) is Traced
    assert tape.read(y) == 0
    y[0] = 0
    assert x.tolist() == X.tolist()


def test_integers_and_flags_are_recorded_and_complex_numbers_lost():
    tape, x = tape_and(X)
    assert node_of(tape, x > 2).value.dtype == bool
    assert node_of(tape, np.argsort(x)).value.dtype.kind == "i"
    assert type(x * 1j) is np.ndarray
    assert {way for *_, way in tape.lost} == {"complex128"}


def test_memory_that_is_read_as_another_type_is_not_known():
    tape, x = tape_and(X)
    assert tape.read(np.asarray(x).view(np.int64)) == -1


def test_what_was_recorded_is_ended_by_an_exception_that_nothing_of_the_users_swallows():
    tape = Tape(Budget(bytes=1000))
    x = tape.leaf(np.ones(50), "x")

    def doubled(x):
        for _ in range(10):
            with contextlib.suppress(Exception):
                x = x * 2

    with pytest.raises(Exceeded, match="more than 0 MB"):
        doubled(x)
    tape = Tape(Budget(until=0.0))
    with pytest.raises(Exceeded, match="too long"):
        tape.leaf(np.ones(3), "x")
    assert not issubclass(Exceeded, Exception)


def test_after_it_was_closed_a_traced_array_is_an_array():
    tape, x = tape_and(X)
    count = len(tape.nodes)
    tape.close()
    assert type(x * 2) is np.ndarray
    assert type(x[0]) is np.ndarray
    x[0] = 7
    assert x.sum() == 36
    assert len(tape.nodes) == count


def test_another_thread_sees_arrays_and_records_nothing():
    import threading

    tape, x = tape_and(X)
    count, found = len(tape.nodes), []
    thread = threading.Thread(target=lambda: found.append((type(x * 2), float(x[0].sum()))))
    thread.start()
    thread.join()
    assert found == [(np.ndarray, 6.0)]
    assert len(tape.nodes) == count
