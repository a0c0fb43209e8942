import numpy as np
import pytest

from gradcheck import Verdict, central_difference, complex_step, examine_backward
from gradcheck.arguments import Arguments
from gradcheck.oracles import Estimate
from gradcheck.verdict.subject import Subject

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((5, 3)), RNG.standard_normal((3, 4)), RNG.standard_normal(4)


def measured(forward, backward, *args, oracles=(central_difference,), wrt=None, seed=0):
    """Return the verdict of every leaf by the numbers alone, without the laws of behaviour."""
    subject = Subject(forward, backward, oracles, None, np.random.default_rng(seed))
    claim = subject.claim(Arguments.of(forward, args, wrt), widen=wrt is None)
    return {path: str(finding.verdict) for path, finding in subject.measure(claim).items()}


# -- code that writes in place is measured by what it computes


def sigmoid(x):
    y = 1 / (1 + np.exp(-x))
    return y, y


def in_place(dy, y):
    dy *= y
    dy *= 1 - y
    return dy


def in_place_wrong(dy, y):
    dy *= y
    dy *= y
    return dy


def test_a_backward_that_writes_into_the_cotangent_is_measured_by_what_it_returns():
    assert measured(sigmoid, in_place, X) == {"x": "pass"}
    assert measured(sigmoid, in_place_wrong, X) == {"x": "fail"}


def scaled_in_place(x, W):
    x /= 255.0
    return np.tanh(x @ W), (x, W)


def scaled_backward_with(factor):
    def backward(dy, cache):
        x, W = cache
        dz = dy / np.cosh(x @ W) ** 2
        return factor * dz @ W.T, x.T @ dz

    return backward


def test_a_forward_that_writes_into_its_argument_is_measured_at_the_point_that_was_given():
    pixels = RNG.uniform(0, 255, (5, 3))
    before = pixels.copy()
    assert measured(scaled_in_place, scaled_backward_with(1 / 255), pixels, W) == {"x": "pass", "W": "pass"}
    assert measured(scaled_in_place, scaled_backward_with(1.0), pixels, W) == {"x": "fail", "W": "pass"}
    np.testing.assert_array_equal(pixels, before)


def test_a_forward_that_returns_one_buffer_again_and_again_is_measured_rightly():
    buffer = np.zeros((5, 4))
    forward = lambda x, W: (np.dot(x, W, out=buffer), (x, W))  # noqa: E731
    assert measured(forward, lambda dy, c: (dy @ c[1].T, c[0].T @ dy), X, W) == {"x": "pass", "W": "pass"}
    assert measured(forward, lambda dy, c: (dy @ c[1].T, 0 * c[1]), X, W) == {"x": "pass", "W": "fail"}


def test_a_backward_that_returns_its_own_buffer_is_judged_by_what_was_in_it():
    buffer = np.zeros((3, 4))

    def backward(dy, cache):
        np.dot(cache[0].T, dy, out=buffer)
        return dy @ cache[1].T, buffer

    assert measured(lambda x, W: (x @ W, (x, W)), backward, X, W) == {"x": "pass", "W": "pass"}


# -- an argument that was taken to stay is judged after all where it has a gradient


def scaled(x, alpha):
    return alpha * np.sin(x), (x, alpha)


def scaled_backward(factor):
    def backward(dy, cache):
        x, alpha = cache
        return alpha * dy * np.cos(x), factor * float((dy * np.sin(x)).sum())

    return backward


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (2.0, "fail"), (0.0, "fail")])
def test_a_python_float_that_has_a_gradient_is_judged(factor, verdict):
    assert measured(scaled, scaled_backward(factor), X, 0.3) == {"x": "pass", "alpha": verdict}


def test_a_python_float_without_a_gradient_stays():
    for backward in (lambda dy, c: c[1] * dy * np.cos(c[0]), lambda dy, c: (c[1] * dy * np.cos(c[0]), None)):
        assert measured(scaled, backward, X, 0.3) == {"x": "pass"}


def layer(x, params):
    return np.tanh(x @ params["W"]) if params["act"] == "tanh" else x @ params["W"], (x, params)


def layer_backward(factor):
    def backward(dy, cache):
        x, params = cache
        dz = dy / np.cosh(x @ params["W"]) ** 2
        return dz @ params["W"].T, {"W": factor * x.T @ dz}

    return backward


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (-7.0, "fail")])
def test_parameters_beside_a_string_that_have_a_gradient_are_judged(factor, verdict):
    found = measured(layer, layer_backward(factor), X, {"W": W, "act": "tanh"})
    assert found == {"x": "pass", "params['W']": verdict}


def test_parameters_beside_a_string_without_a_gradient_stay():
    backward = lambda dy, cache: layer_backward(1.0)(dy, cache)[0]  # noqa: E731
    assert measured(layer, backward, X, {"W": W, "act": "tanh"}) == {"x": "pass"}


def test_an_argument_that_moves_by_name_is_not_widened():
    assert measured(scaled, lambda dy, c: c[1] * dy * np.cos(c[0]), X, 0.3, wrt="x") == {"x": "pass"}


def batch_norm(x, gamma, beta, bn_param):
    mu, std = x.mean(axis=0), np.sqrt(x.var(axis=0) + bn_param["eps"])
    bn_param["running_mean"] = 0.9 * bn_param["running_mean"] + 0.1 * mu
    return gamma * (x - mu) / std + beta, ((x - mu) / std, std, gamma)


def batch_norm_backward(dy, cache):
    xhat, std, gamma = cache
    d = dy * gamma
    dx = (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0)) / std
    return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)


def test_a_dict_of_settings_that_holds_an_array_stays_where_it_has_no_gradient():
    settings = {"eps": 1e-5, "running_mean": np.zeros(4)}
    args = (RNG.standard_normal((7, 4)), np.ones(4), B, settings)
    assert measured(batch_norm, batch_norm_backward, *args) == {"x": "pass", "gamma": "pass", "beta": "pass"}
    np.testing.assert_array_equal(settings["running_mean"], np.zeros(4))


def test_a_dict_that_holds_nothing_but_arrays_must_have_a_gradient():
    forward = lambda x, params: (x @ params["W"], (x, params))  # noqa: E731
    report = examine_backward(forward, lambda dy, cache: (dy @ cache[1]["W"].T,), (X, {"W": W}), seed=0)
    assert report.verdict is Verdict.FAIL
    assert "must return one gradient for each argument that moves (x and params)" in str(report)


# -- what else a subject says


def test_an_unsteady_forward_is_told_from_a_steady_one():
    noise = np.random.default_rng(0)

    def unsteady(forward):
        subject = Subject(forward, lambda dy, x: dy, (central_difference,), None, np.random.default_rng(0))
        return subject.unsteady(subject.claim(Arguments.of(forward, (X,))))

    assert unsteady(lambda x: (np.sin(x), x)) is None
    said = unsteady(lambda x: (np.sin(x) + 1e-2 * noise.standard_normal(x.shape), x))
    assert said.startswith("the forward is not deterministic: two calls differ by ")
    assert said.endswith(" of out. Pass what it draws as an argument, or a generator, of which every call gets a copy")


def laws_of(forward):
    """Return what a subject says of the laws, and how often it called the forward for that."""
    calls = []

    def counted(x):
        calls.append(x)
        return forward(x)

    subject = Subject(counted, lambda dy, x: dy * np.cos(x), (central_difference,), None, np.random.default_rng(0))
    claim = subject.claim(Arguments.of(counted, (X,)), watch=True)
    before = len(calls)
    return *subject.laws(claim), len(calls) - before


def test_whether_a_forward_is_steady_is_seen_in_a_call_that_the_laws_need_anyway():
    assert laws_of(lambda x: (np.sin(x), x)) == (None, [], 2)  # and once at another point


def test_an_unsteady_forward_is_judged_by_no_law():
    noise = np.random.default_rng(0)
    unsteady, laws, _ = laws_of(lambda x: (np.sin(x) + 1e-2 * noise.standard_normal(x.shape), x))
    assert unsteady.startswith("the forward is not deterministic: two calls differ by ")
    assert laws == []


def test_an_argument_whose_gradient_broke_its_contract_fails_and_the_others_are_measured():
    backward = lambda dy, cache: (dy @ cache[1].T, (cache[0].T @ dy).T)  # noqa: E731
    assert measured(lambda x, W: (x @ W, (x, W)), backward, X, W) == {"x": "pass", "W": "fail"}


def to_the_right(f, x):
    """An oracle that looks to one side only, and so knows of no kink."""
    return lambda v: Estimate((f(x + 1e-7 * v) - f(x)) / 1e-7, 1e-5)


@pytest.mark.parametrize(("oracle", "zeros"), [(to_the_right, 3), (complex_step, 1)])
def test_an_oracle_blind_to_kinks_does_not_fail_a_convention_by_itself(oracle, zeros):
    forward = lambda x: (np.where(x.real > 0, x, 0), x)  # noqa: E731
    x = np.array([1.0, -1.0] + [0.0] * zeros)
    half = lambda dy, x: dy * np.where(x == 0, 0.5, x > 0)  # noqa: E731
    assert measured(forward, half, x, oracles=(oracle,)) == {"x": "inconclusive"}
    assert measured(forward, lambda dy, x: 2 * dy * (x > 0), x + 0.5, oracles=(oracle,)) == {"x": "fail"}


def test_the_cotangent_is_not_the_argument_that_the_user_drew_from_the_same_seed():
    seen = []

    def backward(dy, x):
        seen.append(dy.copy())
        return dy * np.cos(x)

    x = np.random.default_rng(0).standard_normal((5, 3))
    examine_backward(lambda x: (np.sin(x), x), backward, (x,), seed=0)
    assert not np.array_equal(seen[0], x)


# -- code in float32


def affine_args(rows, dtype):
    rng = np.random.default_rng(1)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in ((rows, 4), (4, 3), 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_an_affine_layer_that_returns_float32_passes(seed, dtype):
    def backward(dy, cache):
        x, W = cache
        return tuple(gradient.astype(x.dtype) for gradient in (dy @ W.T, x.T @ dy, dy.sum(axis=0)))

    forward = lambda x, W, b: ((x @ W + b).astype(np.float32), (x, W))  # noqa: E731
    report = examine_backward(forward, backward, affine_args(20, dtype), seed=seed)
    assert report.verdict is Verdict.PASS, str(report)


def test_a_buffer_in_float32_may_round_as_it_sums():
    def backward(dy, cache):
        x, W = cache
        db = np.zeros(W.shape[1], np.float32)
        for row in dy:
            db += row
        return dy @ W.T, x.T @ dy, db

    forward = lambda x, W, b: (x @ W + b, (x, W))  # noqa: E731
    report = examine_backward(forward, backward, affine_args(1000, np.float32), seed=0)
    assert report.verdict is Verdict.PASS, str(report)


@pytest.mark.parametrize("seed", range(3))
def test_a_sum_that_cancels_in_float32_does_not_fail(seed):
    c = np.random.default_rng(1000 + seed).standard_normal(100).astype(np.float32)
    c[-1] = 1e-4 - c[:-1].astype(np.float64).sum()
    forward = lambda b: ((b * c).sum(), b)  # noqa: E731
    report = examine_backward(forward, lambda dy, b: np.cumsum(dy * c)[-1:], (np.array([0.7], np.float32),), seed=seed)
    assert report.verdict is not Verdict.FAIL, str(report)


# -- the dtype of a gradient


def layer_of(out_dtype=None, *, inside=None):
    """Return a layer that computes in ``inside`` and returns ``out_dtype``, by default what it is given."""

    def forward(x, W):
        if inside:
            x, W = x.astype(inside), W.astype(inside)
        y = np.tanh(x @ W)
        return y.astype(out_dtype or y.dtype), (x, W)

    return forward


def gradients_in(*dtypes):
    def layer_backward(dy, cache):
        x, W = cache
        dz = dy / np.cosh(x @ W) ** 2
        return tuple(g.astype(dtype) for g, dtype in zip((dz @ W.T, x.T @ dz), dtypes, strict=True))

    return layer_backward


def in_dtype(dtype):
    return X.astype(dtype), W.astype(dtype)


def test_a_gradient_in_a_lower_precision_than_its_argument_and_the_output_fails_and_says_what_to_do():
    report = examine_backward(layer_of(), gradients_in(np.float64, np.float32), in_dtype(np.float64), seed=0)
    assert {path: str(f.verdict) for path, f in report.arguments.items()} == {"x": "pass", "W": "fail"}
    assert report.arguments["W"].reason == (
        "layer_backward must return dW in no lower precision than W and the output have, but it returned float32 and "
        "not float64. Make its buffers and constants in the dtype of W."
    )


def test_a_float16_gradient_of_float32_code_fails():
    report = examine_backward(layer_of(), gradients_in(np.float32, np.float16), in_dtype(np.float32), seed=0)
    assert {path: str(f.verdict) for path, f in report.arguments.items()} == {"x": "pass", "W": "fail"}


def test_a_gradient_in_a_higher_precision_than_its_argument_is_accepted():
    report = examine_backward(layer_of(), gradients_in(np.float64, np.float64), in_dtype(np.float32), seed=0)
    assert report.verdict is Verdict.PASS, str(report)


@pytest.mark.parametrize("out_dtype", [np.float32, np.float64])
def test_float32_gradients_of_a_forward_that_computes_in_float32_whatever_it_is_given_are_limited_by_it(out_dtype):
    forward = layer_of(out_dtype, inside=np.float32)
    report = examine_backward(forward, gradients_in(np.float32, np.float32), in_dtype(np.float64), seed=0)
    assert {f.reason for f in report.arguments.values()} == {"limited by float32"}
    assert report.verdict is Verdict.PASS, str(report)


def test_float32_somewhere_inside_the_forward_excuses_a_float32_gradient():
    inner = layer_of(inside=np.float32)

    def forward(x, W):
        y, cache = inner(x, W)
        return np.pi * y.astype(np.float64), cache

    scaled = lambda dy, cache: gradients_in(np.float32, np.float32)(np.pi * dy, cache)  # noqa: E731
    report = examine_backward(forward, scaled, in_dtype(np.float64), seed=0)
    assert report.verdict is Verdict.PASS, str(report)


# -- what a claim holds


def test_a_claim_holds_its_float64_gradients_once():
    subject = Subject(layer_of(), gradients_in(np.float64, np.float32), (), None, np.random.default_rng(0))
    claim = subject.claim(Arguments.of(subject.forward, in_dtype(np.float64)))
    assert np.shares_memory(claim.gradients.gradients["x"], claim.vector)
    assert claim.gradients.gradients["W"].dtype == np.float32
    assert claim.watched is None


def test_a_single_float64_array_is_not_copied_to_be_the_point():
    seen = []
    oracle = lambda f, x: (seen.append(x), central_difference(f, x))[1]  # noqa: E731
    x = RNG.standard_normal((5, 3))
    assert measured(lambda x: (np.sin(x), x), lambda dy, x: dy * np.cos(x), x, oracles=(oracle,)) == {"x": "pass"}
    assert np.shares_memory(seen[0], x)
    assert not seen[0].flags.writeable
    assert x.flags.writeable
