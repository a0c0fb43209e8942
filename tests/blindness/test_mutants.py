import numpy as np
import pytest

from gradcheck.arguments import Arguments
from gradcheck.blindness.mutants import mutants
from gradcheck.explanation.evidence import Evidence
from gradcheck.oracles import central_difference
from gradcheck.pairing import Pairing


def forward(x, W):
    z = x @ W
    return np.maximum(z, 0), (x, W, z > 0)


def backward(dy, cache):
    x, W, positive = cache
    dz = dy * positive
    dW = np.zeros_like(W)
    dW += x.T @ dz
    return dz @ W.T, dW


def mutants_of(forward, backward, args):
    arguments = Arguments.of(forward, args)
    out, cache = forward(*args)
    cotangent = np.random.default_rng(1).standard_normal(out.shape)
    pairing = Pairing.at_point(forward, arguments, cotangent)
    evidence = Evidence(
        forward, backward, arguments, out, cotangent, backward(cotangent, cache), {}, {}, (),
        pairing, central_difference(pairing, arguments.point), np.random.default_rng(2), 0,
    )  # fmt: skip
    return cotangent, list(mutants(evidence))


@pytest.fixture
def args():
    rng = np.random.default_rng(0)
    return rng.standard_normal((5, 4)), rng.standard_normal((4, 4))


def test_the_cache_may_hold_a_matrix_transposed_and_a_mask_open(args):
    cotangent, found = mutants_of(forward, backward, args)
    by_what = {mutant.what: mutant for mutant in found}
    x, W = args
    _, cache = forward(*args)
    dx, _ = by_what["W transposed"].backward(cotangent, cache)
    np.testing.assert_allclose(dx, (cotangent * cache[2]) @ W)
    dx, dW = by_what["cache[2] true everywhere"].backward(cotangent, cache)
    np.testing.assert_allclose(dx, cotangent @ W.T)
    np.testing.assert_allclose(dW, x.T @ cotangent)
    assert by_what["W transposed"].mistake == "B1"
    assert by_what["cache[2] true everywhere"].mistake == "C1"


def test_an_edit_of_what_is_right_is_a_mistake(args):
    _, found = mutants_of(forward, backward, args)
    mistakes = {mutant.what.partition("as ")[2]: mutant.mistake for mutant in found}
    assert mistakes["`return (dz @ W, dW)`"] == "B1"
    assert mistakes["`dW = x.T @ dz`"] == "E1"  # as a repair it would undo E2


def test_no_factor_too_many_is_tried(args):
    _, found = mutants_of(forward, backward, args)
    assert not [mutant.what for mutant in found if mutant.mistake == "C1" and "* (" in mutant.what]


def test_the_cache_is_not_written_into(args):
    cotangent, found = mutants_of(forward, backward, args)
    _, cache = forward(*args)
    before = [array.copy() for array in cache]
    for mutant in found:
        if " of backward" not in mutant.what:
            mutant.backward(cotangent, cache)
    assert all(np.array_equal(one, other) for one, other in zip(before, cache, strict=True))
