import functools
import inspect

import numpy as np

from gradcheck import check_backward, from_vjp
from gradcheck.adapters.signatures import name_of, names_of, signature_of


class Doubling:
    def __call__(self, x):
        return 2 * x

    def method(self, x, *rest, axis=0):
        return x, rest, axis


def test_a_function_is_called_by_its_own_name_whatever_wraps_it():
    assert name_of(np.sum) == "sum"
    assert name_of(functools.partial(np.sum, axis=0)) == "sum"
    assert name_of(Doubling()) == "Doubling"
    assert name_of(Doubling().method) == "Doubling.method"


def test_further_positional_arguments_are_counted_and_keywords_left_out():
    assert names_of(signature_of(Doubling().method), 3) == ("x", "rest[0]", "rest[1]")
    assert names_of(signature_of(lambda x, y: x + y), 1) == ("x",)


def test_a_function_that_does_not_tell_its_signature_takes_any_arguments():
    def untold(*args):
        return args

    untold.__signature__ = "unreadable"
    assert signature_of(untold) == inspect.signature(lambda *args: args)
    assert names_of(signature_of(untold), 2) == ("args[0]", "args[1]")


def test_arguments_by_name_have_their_gradients_in_the_order_of_the_signature():
    def forward(x, w, *, scale):
        return scale * (x @ w), (x, w, scale)

    def backward(dout, cache):
        x, w, scale = cache
        return scale * dout @ w.T, scale * x.T @ dout, np.sum(dout * (x @ w))

    rng = np.random.default_rng(0)
    args = {"scale": np.array(2.0), "w": rng.normal(size=(4, 2)), "x": rng.normal(size=(3, 4))}
    assert list(check_backward(forward, backward, args, seed=0).arguments) == ["x", "w", "scale"]


def test_an_adapted_forward_takes_arguments_by_name():
    pair = from_vjp(lambda x, y: x / y, lambda ans, x, y: lambda g: g / y, lambda ans, x, y: lambda g: -g * ans / y)
    report = check_backward(*pair, {"y": np.array([2.0, 3.0]), "x": np.array([4.0, 5.0])}, seed=0)
    assert list(report.arguments) == ["x", "y"]
