import functools
import inspect

import numpy as np

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
