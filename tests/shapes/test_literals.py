from typing import Literal

import pytest

from gradcheck.shapes.described import described


def forward(x, reduction: Literal["sum", "mean"], order: Literal[1, 2] = 2):
    raise NotImplementedError


def test_the_values_of_a_setting_are_those_of_its_annotation():
    spec = described(forward, "x: N")
    assert spec.choices == {"reduction": ("sum", "mean"), "order": (1, 2)}


def test_the_text_says_otherwise_where_it_says_anything():
    assert described(forward, "x: N, order = 2").choices == {"reduction": ("sum", "mean")}


def of_bytes(x, reduction: Literal[b"sum"]):
    raise NotImplementedError


def test_a_value_that_no_text_can_hold_is_left_for_the_text_to_say():
    with pytest.raises(TypeError, match="shapes must say what reduction of of_bytes is"):
        described(of_bytes, "x: N")
