"""What a forward says of its arguments need not be said again."""

from typing import Annotated, Literal

import numpy as np
import pytest
from jaxtyping import Bool, Float, Float32, Inexact, Int

from gradcheck.shapes.described import described, specification_of


def text(forward, said=None):
    return described(forward, said).text


def affine(x: Float[np.ndarray, "N D"], W: Inexact[np.ndarray, "D M"], b: Inexact[np.ndarray | np.generic, "M"]):
    return x @ W + b, None


def test_annotations_of_arrays_are_read():
    assert text(affine) == "x: N D, W: D M, b: M"

    def others(
        x: Float32[np.ndarray, "*batch 3 H+kh-1"], m: Bool[np.ndarray, "... #N"], s: Float[np.ndarray, ""], kh: int
    ):
        return x, m, s, kh

    assert text(others, "s: N") == "x: *batch 3 H+kh-1 float32, m: ... N bool, s: N, kh"


def test_what_is_said_comes_before_an_annotation_and_conditions_are_kept():
    assert text(affine, "W: D M scale 0.1; N > 3") == "x: N D, W: D M scale 0.1, b: M; N > 3"


def test_an_annotation_of_integers_has_to_be_bounded():
    def embed(labels: Int[np.ndarray, "N"], W: Float[np.ndarray, "K D"]):
        return W[labels], None

    assert text(embed, "labels: N int < K") == "labels: N int < K, W: K D"
    with pytest.raises(ValueError, match="shapes must bound integers from above"):
        described(embed, None)


def test_annotations_that_are_text_with_a_shape_in_it_are_read():
    def forward(x: Annotated[np.ndarray, "N D"], lam: float = 0.5):
        return x * lam, None

    assert text(forward) == "x: N D"


def test_annotations_like_those_of_nptyping_are_read():
    class ShapeMeta(type):
        pass

    class Shape(metaclass=ShapeMeta):
        __args__ = ("N rows, D, 3",)

    class NDArray:
        __args__ = (Shape, np.float64)

    def forward(x):
        return x, None

    forward.__annotations__ = {"x": NDArray}
    assert text(forward) == "x: N D 3"


def test_a_docstring_is_read_where_there_is_no_annotation():
    def forward(x, w, b, reg=0.1):
        """Compute a layer.

        Inputs:
        - x: A numpy array containing input data, of shape (N, d_1, ..., d_k)
        - x: of shape (N, D)
        - w: A numpy array of weights, of shape (D, M)
        - b: biases with shape=(M,)
        """
        return x @ w + b, None

    assert text(forward) == "x: N D, w: D M, b: M"

    def other(X, h0, W):
        """Do a step.

        Shapes     X (T, n, d)    h0, z (n, h)    W (d, h)
        """
        return X, h0, W

    assert text(other) == "X: T n d, h0: n h, W: d h"


def test_a_default_is_written_where_something_after_it_is_specified():
    def forward(x, mode="train", eps=1e-5):
        return x, mode, eps

    assert text(forward, "x: N, eps: float > 0") == "x: N, mode = 'train', eps: float > 0"


def test_a_forward_of_any_arguments_takes_what_the_text_says():
    assert text(lambda *args: args, "x: N, y: N") == "x: N, y: N"


def test_a_specification_that_does_not_fit_the_forward_is_refused():
    with pytest.raises(TypeError) as refused:
        described(affine, "z: N")
    assert str(refused.value) == (
        "shapes must name arguments of affine (x, W, b), but z is none. Name them as its signature does."
    )

    def forward(x, activation):
        return x, activation

    with pytest.raises(TypeError) as refused:
        described(forward, "x: N")
    assert str(refused.value) == (
        "shapes must say what activation of forward is, but neither it nor an annotation does. "
        'Write "activation: N D" for an array, or "activation in a b" for a setting.'
    )


def test_a_function_that_makes_the_arguments_is_given_sizes_alone():
    spec = specification_of(affine, "N, D in 2 3", lambda rng, N, D: (rng.standard_normal((N, D)),))
    assert spec.point({"N": 4, "D": 2}, 0)[0].shape == (4, 2)


def reduced(x, reduction: Literal["sum", "mean"], order: Literal[1, 2] = 2):
    raise NotImplementedError


def test_the_values_of_a_setting_are_those_of_its_annotation():
    spec = described(reduced, "x: N")
    assert spec.choices == {"reduction": ("sum", "mean"), "order": (1, 2)}


def test_the_text_says_otherwise_where_it_says_anything():
    assert described(reduced, "x: N, order = 2").choices == {"reduction": ("sum", "mean")}


def of_bytes(x, reduction: Literal[b"sum"]):
    raise NotImplementedError


def test_a_value_that_no_text_can_hold_is_left_for_the_text_to_say():
    with pytest.raises(TypeError, match="shapes must say what reduction of of_bytes is"):
        described(of_bytes, "x: N")
