import numpy as np
import pytest

from gradcheck import GradientError, Verdict, check_backward, examine_backward
from gradcheck.arguments import Arguments
from gradcheck.verdict.behaviour import Watched, breaches, leaks
from gradcheck.verdict.trial import Breach, Trial

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 5))


def forward(x, W):
    return np.tanh(x @ W), (x, W)


def backward(dout, cache):
    x, W = cache
    dz = dout / np.cosh(x @ W) ** 2
    return dz @ W.T, x.T @ dz


def told(backward, forward=forward, args=(X, W)):
    report = examine_backward(forward, backward, args, seed=1)
    assert report.verdict is Verdict.FAIL, str(report)
    sentences = [*report.broken, *(f.reason for f in report.arguments.values() if f.verdict is Verdict.FAIL)]
    return [sentence for sentence in sentences if sentence]


def test_a_right_backward_breaks_no_law():
    report = check_backward(forward, backward, (X, W))
    assert report.broken == ()


def test_an_ignored_cotangent_is_named():
    ones = lambda dout, cache: backward(np.ones_like(dout), cache)  # noqa: E731
    assert told(ones) == [
        f"<lambda> must be linear in the cotangent, but d{name} does not depend on it. Multiply by the cotangent."
        for name in ("x", "W")
    ]


def test_clipping_is_named_even_where_it_does_not_bite_at_this_point():
    def clipped(dout, cache):
        dx, dW = backward(dout, cache)
        return dx, np.clip(dW, -50, 50)

    assert told(clipped) == [
        "clipped must be linear in the cotangent, but 1048576 times the cotangent does not give 1048576 times dW. "
        "Look for clipping, normalising or a constant that is added."
    ]


def test_an_absolute_value_is_homogeneous_but_not_additive():
    def absolute(dout, cache):
        x, W = cache
        return np.abs(dout) @ W.T, x.T @ dout

    assert any("additive" in sentence for sentence in told(absolute, lambda x, W: (x @ W, (x, W))))


def test_an_accumulator_that_is_not_reset_is_named():
    total = np.zeros_like(W)

    def accumulating(dout, cache):
        dx, dW = backward(dout, cache)
        total[...] += dW
        return dx, total.copy()

    assert any("called again with the same cache" in sentence for sentence in told(accumulating))


def test_a_cache_that_is_consumed_is_named():
    def consuming(dout, cache):
        W, x = cache.pop(), cache.pop()
        return backward(dout, (x, W))

    assert told(consuming, lambda x, W: (np.tanh(x @ W), [x, W])) == [
        "consuming must give the same gradients when it is called again with the same cache, but it raised IndexError. "
        "Leave the cache as it is."
    ]


def test_a_buffer_that_the_next_forward_uses_again_is_named():
    buffer = np.empty((4, 5))

    def reusing(x, W):
        np.matmul(x, W, out=buffer)
        return np.tanh(buffer), (x, W, buffer)

    def from_buffer(dout, cache):
        x, W, z = cache
        dz = dout / np.cosh(z) ** 2
        return dz @ W.T, x.T @ dz

    assert [sentence.split(",")[0] for sentence in told(from_buffer, reusing)] == [
        "reusing must not disturb the cache of an earlier call"
    ] * 2


def test_state_that_is_kept_in_an_object_promises_no_isolation():
    kept = {}

    def stateful(x, W):
        kept["cache"] = (x, W)
        return np.tanh(x @ W), None

    check_backward(stateful, lambda dout, _: backward(dout, kept["cache"]), (X, W))


def test_a_backward_that_writes_into_the_cotangent_is_named():
    def in_place(dout, cache):
        x, W = cache
        dout /= np.cosh(x @ W) ** 2
        return dout @ W.T, x.T @ dout

    assert told(in_place) == ["in_place must not write into the cotangent, but it changed dout. Work on a copy."]


def test_a_forward_that_writes_into_its_argument_is_named():
    def doubling(x, W):
        x *= 2
        return forward(x, W)

    doubled = lambda dout, cache: (2 * backward(dout, cache)[0], backward(dout, cache)[1])  # noqa: E731
    assert told(doubled, doubling) == ["doubling must not write into its arguments, but it changed x."]


def test_a_backward_that_writes_into_an_argument_is_named():
    def stepping(dout, cache):
        dx, dW = backward(dout, cache)
        cache[1][...] -= 0.1 * dW
        return dx, dW

    assert "stepping must not write into the forward's arguments, but it changed W." in told(stepping)


def test_gradients_that_share_memory_with_each_other_are_named():
    shared = lambda dout, _: (dout, dout)  # noqa: E731
    assert told(shared, lambda a, b: (a + b, None), (X, X + 1)) == [
        "<lambda> must return memory of its own, but da shares it with db. Return a copy."
    ]


def test_a_gradient_that_is_a_view_of_the_cotangent_alone_is_accepted():
    check_backward(lambda x: (x.reshape(-1), x.shape), lambda dout, shape: dout.reshape(shape), (X,))


def test_parts_of_one_buffer_that_do_not_overlap_are_accepted():
    def halves(dout, _):
        both = np.concatenate([dout, 2 * dout])
        return both[: len(dout)], both[len(dout) :]

    check_backward(lambda a, b: (a + 2 * b, None), halves, (X, X + 1))


def test_a_gradient_that_is_an_argument_is_named():
    assert told(lambda dout, x: x, lambda x: (np.sum(x * x) / 2, x), (X,))


def test_code_that_depends_on_the_memory_order_is_named():
    def flat(x):
        return np.ravel(x, order="K") * np.arange(x.size), x

    def unflat(dout, x):
        return (dout * np.arange(x.size)).reshape(x.shape)

    assert any("Fortran-ordered" in sentence for sentence in told(unflat, flat, (X,)))


def test_code_that_refuses_another_memory_order_is_not_blamed():
    def strict(x):
        if not x.flags.c_contiguous:
            raise ValueError("C order, please")
        return x * 2, None

    check_backward(strict, lambda dout, _: 2 * dout, (X,))


def test_a_broken_law_is_a_gradient_error():
    with pytest.raises(GradientError, match="must not write into the cotangent"):
        check_backward(lambda x: (2 * x, None), lambda dout, _: np.multiply(dout, 2, out=dout), (X,))


def test_the_laws_can_be_asked_without_an_oracle():
    cotangent = np.ones((4, 5))
    dx, dW = backward(cotangent, (X, W))
    trial = Trial(forward, backward, Arguments.of(forward, (X, W)), np.tanh(X @ W), cotangent, {"x": dx, "W": dW})
    assert breaches(trial, np.random.default_rng(0)) == []


def centred_backward(dout, cache):
    dx, dW = backward(dout, cache)
    return dx - dx.mean(axis=0), dW


@pytest.mark.parametrize(("pull", "count"), [(backward, 0), (centred_backward, 1)])
def test_a_cotangent_that_reaches_other_samples_is_named(pull, count):
    cotangent = np.ones((4, 5))
    dx, dW = pull(cotangent, (X, W))
    trial = Trial(forward, pull, Arguments.of(forward, (X, W)), np.tanh(X @ W), cotangent, {"x": dx, "W": dW})
    found = leaks(trial, {"x": 0, "out": 0}, np.random.default_rng(0))
    assert [breach.path for breach in found] == ["x"] * count


def test_the_laws_of_a_right_backward_take_three_calls_of_it_and_of_the_forward():
    calls = {"forward": 0, "backward": 0}

    def counted(name, function):
        def call(*given):
            calls[name] += 1
            return function(*given)

        return call

    cotangent = np.ones((4, 5))
    dx, dW = backward(cotangent, (X, W))
    pair = counted("forward", forward), counted("backward", backward)
    trial = Trial(*pair, Arguments.of(forward, (X, W)), np.tanh(X @ W), cotangent, {"x": dx, "W": dW})
    assert breaches(trial, np.random.default_rng(0)) == []
    assert calls == {"forward": 3, "backward": 3}


def test_what_is_known_to_be_unclean_is_all_that_is_said():
    cotangent = np.ones((4, 5))
    trial = Trial(forward, backward, Arguments.of(forward, (X, W)), np.tanh(X @ W), cotangent, {"x": X, "W": W})
    known = Breach(None, "it wrote into something")
    assert breaches(trial, np.random.default_rng(0), Watched((known,), None)) == [known]


def test_a_forward_that_depends_on_the_memory_order_is_named_as_such():
    def flat(x):
        return np.ravel(x, order="K") * np.arange(x.size), x

    trial = Trial(
        flat,
        lambda dout, x: (dout * np.arange(x.size)).reshape(x.shape),
        Arguments.of(flat, (X,)),
        flat(X)[0],
        np.ones(X.size),
        {"x": np.arange(X.size, dtype=float).reshape(X.shape)},
    )
    assert [breach.sentence.split(",")[0] for breach in breaches(trial, np.random.default_rng(0))] == [
        "flat must give the same out in every memory order"
    ]
