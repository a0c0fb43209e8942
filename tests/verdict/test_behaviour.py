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
        "clipped must be linear in the cotangent, but -64 times the cotangent does not give -64 times dW. "
        "Look for clipping, normalising, an absolute value or a constant that is added."
    ]


def test_an_absolute_value_is_named_also_where_the_cotangent_is_positive():
    absolute = lambda dout, x: 2 * x * np.abs(dout)  # noqa: E731
    for seed in range(5):
        assert not examine_backward(lambda x: (np.sum(x * x), x), absolute, (X,), seed=seed)


def test_what_is_homogeneous_but_not_additive_is_named():
    def rescaled(dout, cache):
        x, W = cache
        return dout * np.abs(dout).max() / np.linalg.norm(dout) @ W.T, x.T @ dout

    assert told(rescaled, lambda x, W: (x @ W, (x, W)))[0] == (
        "rescaled must be additive in the cotangent, but dx of a sum is not the sum."
    )


def test_an_accumulator_that_is_not_reset_is_named():
    total = np.zeros_like(W)

    def accumulating(dout, cache):
        dx, dW = backward(dout, cache)
        total[...] += dW
        return dx, total.copy()

    assert told(accumulating) == [
        "accumulating must give the same gradients when it is called again with the same cache, but dW grows by as "
        "much with every call, so it is added to what earlier calls left. Set the accumulator to zero first, or assign "
        "to it."
    ]


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


def test_code_that_depends_on_the_memory_order_is_named():
    def flat(x):
        return np.ravel(x, order="K") * np.arange(x.size), x

    def unflat(dout, x):
        return (dout * np.arange(x.size)).reshape(x.shape)

    assert any("Fortran-ordered" in sentence for sentence in told(unflat, flat, (X,)))


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


@pytest.mark.parametrize(("reduce", "count"), [(lambda y: y, 7), (lambda y: y[0], 5), (lambda y: y[0, :1], 4)])
def test_the_laws_of_a_right_backward_take_few_calls(reduce, count):
    def reduced(x, W):
        return reduce(np.tanh(x @ W)), (x, W)

    def pulled(dout, cache):
        dy = np.zeros((4, 5))
        reduce(dy)[...] = dout
        return backward(dy, cache)

    calls = {"forward": 0, "backward": 0}

    def counted(name, function):
        def call(*given):
            calls[name] += 1
            return function(*given)

        return call

    out, cache = reduced(X, W)
    dx, dW = pulled(out, cache)
    pair = counted("forward", reduced), counted("backward", pulled)
    trial = Trial(*pair, Arguments.of(reduced, (X, W)), out, out, {"x": dx, "W": dW})
    assert breaches(trial, np.random.default_rng(0)) == []
    assert calls == {"forward": 3, "backward": count}


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


def test_a_backward_that_steps_the_weights_of_the_forward_is_named():
    own = W.copy()

    def stepping(dout, x):
        dz = dout / np.cosh(x @ own) ** 2
        dx = dz @ own.T
        np.subtract(own, 1e-3 * x.T @ dz, out=own)
        return dx

    assert told(stepping, lambda x: (np.tanh(x @ own), x), (X,)) == [
        "stepping must leave what the forward reads as it is, but after it was called the same arguments give another "
        "output. Return the gradients, and change the weights outside of it."
    ]


# -- cotangents that real code hands down

SPECIAL = {
    "ones": lambda d: np.ptp(d) == 0 and d.any(),
    "zeros": lambda d: not d.any(),
    "zeros but for a one": lambda d: np.count_nonzero(d) == 1,
    "equal rows": lambda d: np.ptp(d, axis=0).max() == 0 and np.ptp(d) > 0,
    "rows of one number each": lambda d: np.ptp(d, axis=1).max() == 0 and np.ptp(d) > 0,
}


def special(case, wrong):
    return lambda d, x: (wrong(d) if SPECIAL[case](d) else d) * np.cos(x)


@pytest.mark.parametrize("case", SPECIAL)
@pytest.mark.parametrize("seed", range(3))
def test_a_backward_that_is_not_finite_for_a_cotangent_that_real_code_hands_down_is_named(case, seed):
    nan = special(case, lambda d: d * np.nan)
    report = examine_backward(lambda x: (np.sin(x), x), nan, (X,), seed=seed)
    assert report.arguments["x"].reason == (
        f"<lambda> must be linear in the cotangent, but for a cotangent of {case} dx is not finite. "
        "Look for a case that is treated by itself, or a division by it."
    )
    assert report.verdict is Verdict.FAIL


@pytest.mark.parametrize("case", SPECIAL)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_backward_that_is_wrong_for_a_cotangent_that_real_code_hands_down_is_named(case, dtype):
    wrong = special(case, lambda d: 3 * d + (not d.any()))
    report = examine_backward(lambda x: (np.sin(x), x), wrong, (X.astype(dtype),), seed=0)
    assert f"but for a cotangent of {case} dx differs by" in report.arguments["x"].reason
    assert report.verdict is Verdict.FAIL


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_a_loss_has_a_gradient_for_zero_and_for_one(number):
    wrong = lambda d, x: 2 * x * d * (np.nan if d == number else 1.0)  # noqa: E731
    assert "is not finite" in told(wrong, lambda x: (np.sum(x * x), x), (X,))[0]


def test_a_backward_may_treat_zeros_by_themselves_and_refuse_them():
    def forward(x):
        return np.sin(x), x

    def shortcut(d, x):
        return d * np.cos(x) if d.any() else np.zeros_like(x)

    def refusing(d, x):
        if not d.any():
            raise ValueError("nothing to do")
        return d * np.cos(x)

    assert check_backward(forward, shortcut, (X,)).remarks == ()
    assert check_backward(forward, refusing, (X,)).remarks == (
        "refusing was not tried with a cotangent of zeros, for which was raised ValueError: nothing to do.",
    )


def test_an_alarm_that_no_law_explains_is_undecided():
    calls = iter(range(10**6))
    large = lambda d, x: d * np.cos(x) * (2 if np.abs(d).max() > 16 and next(calls) < 2 else 1)  # noqa: E731
    report = examine_backward(lambda x: (np.sin(x), x), large, (X,), seed=0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.arguments["x"].reason == (
        "<lambda> must be linear in the cotangent, but for -16 times the sum of random numbers, ones, equal rows and a "
        "single one, Fortran-ordered, dx is off by 0.5 of the sum of their gradients. No law by itself shows why."
    )


# -- memory orders

ORDERS = {
    "A": lambda d: d.ravel(order="A").reshape(d.shape),
    "K": lambda d: d.ravel(order="K").reshape(d.shape),
    "bytes": lambda d: np.frombuffer(d.tobytes(order="A")).reshape(d.shape),
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_cotangent_that_is_read_in_memory_order_is_named(order):
    wrong = lambda d, x: ORDERS[order](d) * np.cos(x)  # noqa: E731
    (sentence,) = told(wrong, lambda x: (np.sin(x), x), (X,))
    assert sentence.startswith(
        "<lambda> must give the same gradients in every memory order, but with a Fortran-ordered cotangent dx differs"
    )


def test_an_argument_that_is_read_in_memory_order_is_named():
    wrong = lambda d, x: d * np.cos(ORDERS["A"](x))  # noqa: E731
    (sentence,) = told(wrong, lambda x: (np.sin(x), x), (X,))
    assert "but with Fortran-ordered arguments dx differs" in sentence


def contiguous(d, x):
    if not d.flags.c_contiguous:
        raise RuntimeError("dout must be contiguous")
    return d * np.cos(x)


def test_a_memory_order_that_is_refused_is_a_remark():
    report = check_backward(lambda x: (np.sin(x), x), contiguous, (X,))
    assert report.remarks == (
        "contiguous was not tried with a Fortran-ordered cotangent and a broadcast cotangent, for which was raised "
        "RuntimeError: dout must be contiguous.",
    )


def test_arguments_in_a_memory_order_that_the_forward_refuses_are_a_remark():
    def strict(x):
        if not x.flags.c_contiguous:
            raise ValueError("C order, please")
        return x * 2, None

    assert check_backward(strict, lambda dout, _: 2 * dout, (X,)).remarks == (
        "<lambda> was not tried with Fortran-ordered arguments, for which was raised ValueError: C order, please.",
    )


def test_what_is_wrong_is_found_also_where_memory_orders_are_refused():
    nan = lambda d, x: contiguous(d, x) * (np.nan if np.ptp(d) == 0 else 1)  # noqa: E731
    assert "cotangent of ones dx is not finite" in told(nan, lambda x: (np.sin(x), x), (X,))[0]


# -- rounding


def normalised(x, b):
    z = x + b
    s = z.std(0)
    y = (z - z.mean(0)) / s
    return y, (y, s)


def through_the_norm(dy, cache):
    y, s = cache
    dz = (dy - dy.mean(0) - y * (dy * y).mean(0)) / s
    return dz, dz.sum(0)


def found(forward, backward, args, seed=0):
    rng = np.random.default_rng(seed)
    arguments = Arguments.of(forward, args)
    out = forward(*arguments.fresh())[0]
    cotangent = rng.standard_normal(np.shape(out)).astype(np.asarray(out).dtype)
    gradients = backward(cotangent.copy(), forward(*arguments.fresh())[1])
    return breaches(
        Trial(forward, backward, arguments, out, cotangent, dict(zip(arguments.names, gradients, strict=True))), rng
    )


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(5))
def test_a_gradient_that_is_zero_but_for_rounding_breaks_no_law(scale, dtype, seed):
    rng = np.random.default_rng(seed)
    args = tuple((scale * rng.standard_normal(shape)).astype(dtype) for shape in ((8, 5), (5,)))
    assert [b for b in found(normalised, through_the_norm, args, seed) if b.verdict is not Verdict.PASS] == []


def test_a_small_gradient_that_is_not_linear_breaks_a_law():
    def clipped(dy, cache):
        dx, db = through_the_norm(dy, cache)
        return dx, db + 1e-10 * np.clip(dy.sum(0), -1, 1)

    rng = np.random.default_rng(0)
    (breach,) = found(normalised, clipped, (rng.standard_normal((8, 5)), rng.standard_normal(5)))
    assert breach.path == "b"
    assert "must be linear in the cotangent" in breach.sentence


def test_float32_inside_float64_is_linear():
    V = W.astype(np.float32)

    def inside(x):
        return np.tanh(x.astype(np.float32) @ V).astype(float), x

    def pull(dy, x):
        y = np.tanh(x.astype(np.float32) @ V)
        return (((dy.astype(np.float32) * (1 - y * y)) @ V.T).astype(float),)

    for seed in range(10):
        assert found(inside, pull, (np.random.default_rng(seed).standard_normal((64, 3)),), seed) == []


def test_a_solver_with_an_absolute_tolerance_returns():
    rng = np.random.default_rng(0)
    A = np.eye(8) + 0.1 * rng.standard_normal((8, 8))

    def solve(b, A):
        x = np.zeros(8)
        while np.linalg.norm(b - A @ x) > 1e-11:  # below the rounding of anything 1e6 times as large
            x = x + 0.9 * (b - A @ x)
        return x

    assert found(lambda b: (solve(b, A), None), lambda d, _: (solve(d, A.T),), (rng.standard_normal(8),)) == []


def test_a_tolerance_is_one_of_the_laws_too():
    rough = lambda d, x: d * np.cos(x) * (1 + 1e-3 * np.sin(np.abs(d).max()))  # noqa: E731
    report = examine_backward(lambda x: (np.sin(x), x), rough, (X,), tol=1e-2, seed=0)
    assert report.verdict is Verdict.PASS


def test_a_cotangent_that_is_refused_for_its_size_is_a_remark():
    def small(d, x):
        if np.abs(d).max() > 9:
            raise RuntimeError("too large")
        return d * np.cos(x)

    report = check_backward(lambda x: (np.sin(x), x), small, (X,), seed=0)
    assert report.remarks == (
        "small was not tried with a cotangent multiplied by -64, for which was raised RuntimeError: too large.",
    )
