"""Which lines hand a value on is read off the bytecode."""

import pytest

from gradcheck.steps.journey import bindings, chooses, headed, passing, returning, storing


def sample(dout, cache):
    x, _ = cache  # 1
    dz = dout * x  # 2
    dh = dz  # 3
    found = {}  # 4
    found["w"] = dh  # 5
    parts = []  # 6
    parts.append(dz)  # 7
    return found, parts  # 8


FIRST = sample.__code__.co_firstlineno


def line(number):
    return FIRST + number


def test_the_lines_that_bind_what_a_line_reads():
    found = bindings(sample.__code__)
    assert found[line(3)] == {line(2)}
    assert line(3) in found[line(5)]
    assert not found[line(2)]  # x comes of the cache taken apart


@pytest.mark.parametrize(("end", "expected"), [(5, {3}), (8, {3, 5, 7})])
def test_a_value_passes_over_the_lines_that_give_it_other_names(end, expected):
    allowed = {line(n) for n in (3, 5, 7)}
    assert passing(sample.__code__, line(2), line(end), allowed) == {line(n) for n in expected} - {line(end)}


def test_what_is_given_first_passes_too():
    def backward(dout, cache):
        dx = dout
        return dx  # noqa: RET504  (the line is what the test is about)

    first = backward.__code__.co_firstlineno
    assert passing(backward.__code__, None, first + 2, {first + 1}) == {first + 1}


def test_what_is_returned_and_stored():
    assert [found.number for found in returning(sample.__code__)] == [line(8)]
    assert {found.number for found in storing(sample.__code__)} == {line(5)}


def test_a_function_that_takes_its_cache_apart_could_take_another_part():
    assert chooses(sample.__code__)
    assert not chooses((lambda dy, z: dy * z).__code__)


def test_the_line_on_which_the_innermost_loop_begins():
    def nested(xs):
        total = 0.0
        for x in xs:
            for y in x:
                total += y
            total *= 2
        return total

    first = nested.__code__.co_firstlineno
    found = [headed(nested.__code__, first + n, loops=True) for n in (4, 5, 6)]
    assert found == [[first + 3, first + 2], [first + 2], []]
