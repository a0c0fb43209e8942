import sys

import mygrad
import numpy as np
import pytest
from mygrad.operation_base import Operation

from gradcheck import Verdict, check_backward, examine_backward, from_mygrad

X = np.random.default_rng(0).standard_normal((3, 4))


def cube(slip):
    class Cube(Operation):
        def __call__(self, x):
            self.variables = (x,)
            return x.data**3

        def backward_var(self, grad, index, **kwargs):
            return slip * 3 * grad * self.variables[index].data ** 2

    return lambda x: mygrad.Tensor._op(Cube, x)  # noqa: SLF001  (so MyGrad documents an operation of one's own)


@pytest.mark.parametrize(
    "wrap", [lambda f: f, lambda f: lambda x: mygrad.sin(f(x)).sum(axis=0)], ids=["itself", "inside"]
)
@pytest.mark.parametrize("given", [X, X.astype(np.float32), X[0]], ids=["64", "32", "row"])
def test_a_right_operation_passes_and_a_wrong_one_fails(wrap, given):
    assert check_backward(*from_mygrad(wrap(cube(1.0))), (given,), seed=0)
    assert examine_backward(*from_mygrad(wrap(cube(1.01))), (given,), seed=0).verdict is Verdict.FAIL


def test_several_arguments_and_outputs_pass_and_what_is_not_used_has_zeros():
    def function(weights, x, unused, axis):
        return mygrad.matmul(weights["w"], x), x.sum(axis=axis)

    report = check_backward(*from_mygrad(function), ({"w": X}, X.T.copy(), X, 0), seed=0)
    assert list(report.arguments) == ["weights['w']", "x", "unused"]


def test_without_mygrad_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mygrad", None)
    with pytest.raises(ImportError, match="from_mygrad must be able to import mygrad") as error:
        from_mygrad(lambda x: x)
    assert str(error.value).endswith("Install mygrad.")
