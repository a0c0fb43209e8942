import numpy as np
import pytest
from jaxtyping import Float
from numpy import ndarray

from gradcheck import Derivation, point


def scaled_forward(x: Float[ndarray, "N D"], W: Float[ndarray, "D M"], reduction: str):
    return x @ W, (x, W, reduction)


def backward(dy, cache):
    raise NotImplementedError


def scaled_args(rng, N):
    return np.ones((N, 2)), rng.standard_normal((2, 3)), "sum"


def record(shapes="", args=None):
    return Derivation("scaled", scaled_forward, backward, scaled_forward, shapes, args)


def test_what_the_annotations_say_need_not_be_said_again():
    spec = record("W: D M scale D**-0.5, reduction in sum mean").spec
    assert spec.text == "x: N D, W: D M scale D**-0.5, reduction in sum mean"
    x, W, reduction = spec.point({"N": 2, "D": 3, "M": 5, "reduction": "mean"}, seed=0)
    assert (x.shape, W.shape, reduction) == ((2, 3), (3, 5), "mean")


def test_a_function_makes_the_arguments_of_the_sizes_that_are_named():
    x, W, reduction = record("N in 2 4", scaled_args).spec.point({"N": 4}, seed=0)
    assert (x.shape, W.shape, reduction) == ((4, 2), (2, 3), "sum")


def test_the_specification_is_read_once():
    one = record("reduction in sum mean")
    assert one.spec is one.spec


def test_a_point_of_a_text_is_pasted_as_the_text_and_one_of_a_function_as_that_of_the_record():
    sizes = {"N": 2, "D": 3, "M": 5, "reduction": "sum"}
    assert repr(record("reduction in sum mean").spec.point(sizes, seed=4)) == (
        "point('x: N D, W: D M, reduction in sum mean', seed=4, N=2, D=3, M=5, reduction='sum')"
    )
    made = record("N in 2 4", scaled_args)
    again = eval(repr(made.spec.point({"N": 4}, seed=4)), {"point": point, "SCALED": made})  # noqa: S307
    assert repr(again) == "point(SCALED.spec, seed=4, N=4)"


def test_a_point_of_a_record_has_generic_sizes_where_none_are_given():
    x, W, _ = point(record("reduction in sum mean").spec, seed=1, M=1)
    assert min(x.shape) > 1
    assert W.shape == (x.shape[1], 1)


def test_a_size_that_the_record_does_not_have_is_refused():
    with pytest.raises(TypeError) as caught:
        point(record("N in 2 4", scaled_args).spec, D=3)
    assert str(caught.value) == ("point must be given sizes of its specification (N), but D is none. Leave it out.")


def test_an_argument_that_is_specified_nowhere_is_refused():
    with pytest.raises(TypeError, match="shapes must say what reduction of scaled_forward is"):
        record().spec  # noqa: B018
