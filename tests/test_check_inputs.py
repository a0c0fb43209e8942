"""What goes into a check and what comes back, from end to end."""

import dataclasses
import warnings

import numpy as np
import pytest

import gradcheck
from gradcheck import InconclusiveError, Verdict, check_backward, examine_backward

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2)), RNG.standard_normal(2)


def sine(x, *_):
    return np.sin(x), x


def cosine(dy, x):
    return dy * np.cos(x)


def examine(forward, backward, *args, **settings):
    return examine_backward(forward, backward, args, **{"seed": 0, "hints": False, **settings})


@dataclasses.dataclass
class Dense:
    W: np.ndarray
    b: np.ndarray
    activation: str = "none"


class Layer:
    def __init__(self, W, b):
        self.W, self.b = W, b


def affine(x, layer):
    return x @ layer.W + layer.b, (x, layer)


def affine_backward(kind, wrong=1.0):
    def backward(dy, cache):
        x, layer = cache
        return dy @ layer.W.T, kind(x.T @ dy, wrong * dy.sum(0))

    return backward


def test_a_dataclass_is_checked_field_by_field():
    assert list(examine(affine, affine_backward(Dense), X, Dense(W, B)).arguments) == ["x", "layer.W", "layer.b"]
    report = examine(affine, affine_backward(Dense, 99.0), X, Dense(W, B))
    assert [path for path, finding in report.arguments.items() if finding.verdict == "fail"] == ["layer.b"]


@pytest.mark.parametrize("wrong", [1.0, 99.0])
def test_the_gradient_of_an_object_that_is_not_looked_into_is_no_pass(wrong):
    report = examine(affine, affine_backward(Layer, wrong), X, Layer(W, B))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.arguments["layer"].reason == (
        "a gradient was returned for it, but it is a Layer and does not move, so nothing was compared with it: "
        "pass its arrays in a tuple, a dict or a dataclass, or return None for it"
    )
    with pytest.raises(InconclusiveError, match="it is a Layer and does not move"):
        check_backward(affine, affine_backward(Layer, wrong), (X, Layer(W, B)), seed=0, hints=False)


@pytest.mark.parametrize(("factor", "verdict"), [(1, "pass"), (2, "fail"), (0, "fail"), (np.nan, "fail")])
def test_a_python_float_with_a_gradient_is_checked(factor, verdict):
    def backward(dy, cache):
        x, rate = cache
        return rate * dy, factor * (dy * x).sum()

    report = examine(lambda x, rate: (rate * x, (x, rate)), backward, X, 0.5)
    assert report.arguments["rate"].verdict == verdict


def test_nan_for_an_integer_is_no_pass():
    report = examine(lambda x, n: (n * x, n), lambda dy, n: (n * dy, np.nan), X, 3)
    assert report.verdict is Verdict.INCONCLUSIVE


def test_what_wrt_names_is_checked_and_nothing_else():
    def backward(dy, cache):
        x, _ = cache
        return {"W": x.T @ dy, "b": 99 * dy}

    forward = lambda x, p: (x @ p["W"] + p["b"], (x, p))  # noqa: E731
    report = examine(forward, backward, X, {"W": W, "b": B}, wrt="p['W']")
    assert (report.verdict, list(report.arguments)) == (Verdict.PASS, ["p['W']"])


@pytest.mark.parametrize(("wrong", "verdict"), [(1.0, "pass"), (2.0, "fail")])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_positions_beside_values_are_not_differentiated(wrong, verdict, dtype):
    handed = []

    def forward(x):
        return (x.max(1), x.argmax(1), int((x > 0).sum())), x

    def backward(dy, x):
        handed.append(dy)
        return (wrong * dy[0][:, None] * (x == x.max(1, keepdims=True))).astype(dtype)

    assert examine(forward, backward, X.astype(dtype)).verdict == verdict
    assert handed[0][1].dtype == np.float64
    assert not handed[0][1].any()
    assert handed[0][2] == 0.0


def hinge(x):
    loss = 0
    for margin in x:
        if margin > 5:
            loss = loss + margin
    return loss, x


def test_a_loss_that_is_the_int_0_is_a_loss():
    assert examine(hinge, lambda dy, x: dy * (x > 5).astype(float), B).verdict is Verdict.INCONCLUSIVE
    assert examine(hinge, lambda dy, x: dy * np.ones_like(x), B).verdict is Verdict.FAIL
    assert examine(hinge, lambda dy, x: dy * (x > 5).astype(float), B + np.array([10.0, 0.0])).verdict is Verdict.PASS


def test_a_cache_may_hold_itself():
    def forward(x):
        cache = {"x": x}
        cache["me"] = cache
        return np.sin(x), cache

    assert examine(forward, lambda dy, cache: cosine(dy, cache["x"]), X).verdict is Verdict.PASS


@pytest.mark.parametrize("kind", [dict, tuple, None])
def test_the_cost_does_not_grow_with_the_number_of_leaves(kind):
    arrays = [np.array(number) for number in RNG.standard_normal(600)]
    names = [f"p{i}" for i in range(600)]

    def gathered(numbers):
        return dict(zip(names, numbers, strict=True)) if kind is dict else tuple(numbers)

    def forward(*args):
        params = args if kind is None else tuple(args[0].values()) if kind is dict else args[0]
        return np.asarray(sum(np.sin(p) for p in params)), params

    def backward(dy, params):
        gradients = gathered(dy * np.cos(p) for p in params)
        return gradients if kind is None else (gradients,)

    report = examine(forward, backward, *(arrays if kind is None else [gathered(arrays)]))
    assert report.verdict is Verdict.PASS
    assert report.evaluations < 150


@pytest.mark.parametrize("filter_", ["error", "default"])
@pytest.mark.parametrize("mode", ["raise", "warn", "ignore"])
def test_the_settings_of_a_test_run_change_no_verdict_and_are_not_changed(mode, filter_):
    x = np.array([1e-9, 1.0, 30.0])
    root, power = (lambda x: (np.sqrt(x), x)), (lambda x: (np.exp(x), x))
    pairs = [(root, lambda dy, x: dy / (2 * np.sqrt(x))), (power, lambda dy, x: dy * np.exp(x))]
    with np.errstate(all=mode), warnings.catch_warnings():
        warnings.simplefilter(filter_)
        before = np.geterr(), list(warnings.filters)
        verdicts = [examine(*pair, x.astype(dtype)).verdict for pair in pairs for dtype in (np.float64, np.longdouble)]
        wrong = examine(power, lambda dy, x: 2 * dy * np.exp(x), x, hints=True)
        assert not wrong
        assert "FAIL" in str(wrong)
        assert (np.geterr(), list(warnings.filters)) == before
    with np.errstate(all="ignore"):
        assert verdicts == [examine(*pair, x).verdict for pair in pairs for _ in range(2)]


def test_a_floating_point_error_at_the_point_itself_reaches_the_user():
    with np.errstate(all="raise"), pytest.raises(FloatingPointError) as raised:
        examine(lambda x: (np.exp(-x) ** 2, x), cosine, np.array([400.0]))
    assert raised.value.__notes__ == ["gradcheck: raised inside <lambda>, called with args[0] (1,)."]


TOL, SEED, ORACLE = (
    "tol must lie between 0 and 1, but it is {}. Leave it out to let pass what is right to seven digits.",
    "seed must be a whole number from 0 on, but it is {}. Leave it out to draw one.",
    "oracle must be a function such as central_difference, complex_step or autodiff(reference), or several in a tuple, "
    "but it is {}. Pass one of these, or leave it out.",
)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"tol": "small"}, TypeError, TOL.format("a str")),
        ({"tol": True}, TypeError, TOL.format("the bool True")),
        ({"tol": [1e-3]}, TypeError, TOL.format("a list of 1")),
        ({"tol": 2}, ValueError, TOL.format("2")),
        ({"seed": "0"}, TypeError, SEED.format("a str")),
        ({"seed": 1.5}, TypeError, SEED.format("1.5")),
        ({"seed": True}, TypeError, SEED.format("the bool True")),
        ({"seed": -1}, ValueError, SEED.format("-1")),
        ({"oracle": []}, TypeError, ORACLE.format("empty")),
        ({"oracle": ["fd"]}, TypeError, ORACLE.format("a str")),
        ({"oracle": 3}, TypeError, ORACLE.format("the int 3")),
        (
            {"progress": 3},
            TypeError,
            "progress must be a function, but it is the int 3. Pass the function itself.",
        ),
        (
            {"reference": "sine"},
            TypeError,
            "reference must be a function, but it is a str. Pass the function itself.",
        ),
    ],
)
def test_settings_of_another_type_are_refused(settings, error, message):
    with pytest.raises(error) as raised:
        examine(sine, cosine, X, **settings)
    assert str(raised.value) == message


@pytest.mark.parametrize("settings", [{"tol": np.float32(1e-3)}, {"seed": np.int64(3)}, {"wrt": np.int64(0)}])
def test_numbers_of_numpy_are_numbers(settings):
    assert examine(sine, cosine, X, **settings).verdict is Verdict.PASS


def test_several_oracles_may_be_given_in_a_list():
    oracles = [gradcheck.central_difference, gradcheck.complex_step]
    assert examine(sine, cosine, X, oracle=oracles).verdict is Verdict.PASS


def test_one_wrong_leaf_of_many_is_found_without_asking_each():
    names = [f"p{i}" for i in range(200)]

    def backward(dy, params):
        return {name: dy * np.cos(p) * (1.01 if name == "p77" else 1.0) for name, p in params.items()}

    report = examine(
        lambda params: (np.asarray(sum(np.sin(p) for p in params.values())), params),
        backward,
        {name: np.array(number) for name, number in zip(names, RNG.standard_normal(200), strict=True)},
    )
    assert [path for path, finding in report.arguments.items() if finding.verdict != "pass"] == ["params['p77']"]
    assert report.evaluations < 1600  # each by itself would take 16 and more
