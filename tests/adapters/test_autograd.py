import sys

import autograd.numpy as anp
import jax.numpy as jnp
import numpy as np
import pytest
from autograd import builtins
from autograd.extend import defvjp, primitive

from gradcheck import Verdict, check_backward, examine_backward, from_autograd

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
Z = X + 1j * RNG.standard_normal((3, 4))


def with_rule(slip):
    @primitive
    def logsumexp(x):
        return np.log(np.exp(x).sum(axis=-1))

    defvjp(logsumexp, lambda ans, x: lambda g: slip * g[..., None] * np.exp(x - ans[..., None]))
    return logsumexp


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: lambda x: anp.sin(f(x))], ids=["itself", "inside"])
@pytest.mark.parametrize("given", [X, X.astype(np.float32), X[0], jnp.asarray(X)], ids=["64", "32", "row", "jax"])
def test_a_right_primitive_passes_and_a_wrong_one_fails(wrap, given):
    assert check_backward(*from_autograd(wrap(with_rule(1.0))), (given,), seed=0)
    assert examine_backward(*from_autograd(wrap(with_rule(1.01))), (given,), seed=0).verdict is Verdict.FAIL


def test_complex_arguments_are_in_the_convention_of_autograd():
    report = check_backward(*from_autograd(lambda z, x: anp.exp(z) * x), (Z, X), seed=0)
    assert report.convention == "∂L/∂Re z − i ∂L/∂Im z"


@pytest.mark.parametrize(
    "several",
    [tuple, builtins.tuple, lambda pair: builtins.dict({"a": pair[0], "b": pair[1]})],
    ids=["tuple", "box", "dict"],
)
def test_containers_several_outputs_and_settings_pass(several):
    def function(params, x, axis):
        return several((anp.dot(params["w"], x), anp.sum(x**2, axis=axis)))

    report = check_backward(*from_autograd(function), ({"w": X, "n": 3}, X.T, 0), seed=0)
    assert list(report.arguments) == ["params['w']", "x"]


def test_what_is_not_used_has_a_zero_gradient():
    assert check_backward(*from_autograd(lambda x, y: anp.sin(x)), (X, X), seed=0)


def test_without_autograd_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "autograd", None)
    with pytest.raises(ImportError, match="from_autograd must be able to import autograd") as error:
        from_autograd(lambda x: x)
    assert str(error.value).endswith("Install autograd.")


def test_the_arguments_of_a_primitive_keep_their_names():
    assert list(examine_backward(*from_autograd(with_rule(1.0)), (X,), seed=0).arguments) == ["x"]
