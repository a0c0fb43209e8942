"""A place is told from others by its frames and its instruction, and says its line, function and variable."""

import sys

import numpy as np

from derivations import affine
from gradcheck import trees
from gradcheck.steps.places import DEEPEST, Places, Site, is_users


def here(places):
    return places.frames(sys._getframe(1))  # noqa: SLF001


def top(function, *args):
    return function(*args)


PLACES = Places(top.__code__)


def test_a_place_has_the_frames_of_the_user_below_the_top_the_outermost_first():
    def inner():
        return here(PLACES)

    def outer():
        return inner()

    frames = top(outer)
    assert [code.co_name for code, _ in frames] == ["outer", "inner"]


def test_frames_of_python_and_of_numpy_are_nobodys_step():
    found = []
    top(lambda: np.apply_along_axis(lambda row: found.append(here(PLACES)) or row, 0, np.zeros((2, 1))))
    assert {tuple(code.co_name for code, _ in frames) for frames in found} == {("<lambda>", "<lambda>")}


def test_the_same_instruction_is_the_same_place_however_often_it_runs():
    def loop():
        return [here(PLACES) for _ in range(50)]  # Python specialises the instruction on the way

    frames = top(loop)
    assert all(each is frames[0] for each in frames)


def test_two_calls_of_one_line_are_two_places():
    def both():
        return here(PLACES), here(PLACES)

    one, other = top(both)
    assert one != other
    assert Site(one, "add").line == Site(other, "add").line


def test_places_of_two_recordings_are_equal():
    def once(places):
        return places.site(here(places), "add")

    one, other = (top(once, Places(top.__code__)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one is not other


def test_operations_of_one_instruction_with_other_names_are_two_places():
    frames = top(lambda: here(PLACES))
    assert PLACES.site(frames, "add") is PLACES.site(frames, "add")
    assert PLACES.site(frames, "add") != PLACES.site(frames, "gather")


def test_a_place_says_which_variable_takes_its_result():
    class Box:
        pass

    def local():
        taken = here(PLACES)
        return taken  # noqa: RET504

    def attribute():
        box = Box()
        box.held = here(PLACES)
        return box.held

    def neither():
        return here(PLACES)

    variables = [Site(top(function), "add").variable for function in (local, attribute, neither)]
    assert variables == ["taken", "box.held", ""]


def test_a_place_says_its_line_and_its_function():
    def named():
        return here(PLACES)

    site = Site(top(named), "add")
    assert (site.function, site.line) == ("named", named.__code__.co_firstlineno + 1)
    assert repr(site) == f"add in line {site.line} of named"


def test_a_place_without_frames_is_on_no_line():
    site = Site((), "leaf")
    assert (site.line, site.function, site.variable) == (0, "?", "")


def test_of_a_deep_recursion_the_innermost_frames_are_kept():
    def down(left):
        return here(PLACES) if left == 0 else down(left - 1)

    assert len(top(down, 100)) == DEEPEST


def test_code_is_the_users_unless_it_is_pythons_or_of_a_package():
    assert is_users(__file__)
    assert is_users("<stdin>")
    assert not is_users(np.__file__)
    assert not is_users("<frozen importlib._bootstrap>")
    assert not is_users(trees.__file__)
    assert is_users(affine.__file__)
