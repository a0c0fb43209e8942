"""A pushforward is judged by the same identity with the sides exchanged."""

import time

import jax.numpy as jnp
import numpy as np
import pytest

from gradcheck import (
    ContractError,
    GradientError,
    InconclusiveError,
    Verdict,
    check_pushforward,
    complex_step,
    examine_pushforward,
)

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((5, 4)), RNG.standard_normal((4, 3)), RNG.standard_normal(3)


def layer(x, W, b):
    return np.tanh(x @ W + b)


def layer_jvp(primals, tangents):
    (x, W, b), (dx, dW, db) = primals, tangents
    y = np.tanh(x @ W + b)
    return y, (1 - y * y) * (dx @ W + x @ dW + db)


def changed(change):
    """Return the rule of the layer with another tangent."""

    def rule(primals, tangents):
        y, dy = layer_jvp(primals, tangents)
        return y, change(y, dy.copy(), primals, tangents)

    return rule


def spoilt(_y, dy, _primals, _tangents):
    dy[2, 1] *= 1.01
    return dy


def test_a_right_rule_passes_with_a_certificate_and_few_evaluations():
    report = check_pushforward(layer, layer_jvp, (X, W, B), seed=0)
    assert list(report.arguments) == ["x", "W", "b"]
    assert report.bound < 1e-7
    assert report.evaluations <= 20
    assert "3 of 3 terms right" in str(report)


def test_a_rule_may_return_the_tangent_alone():
    assert examine_pushforward(layer, lambda p, t: layer_jvp(p, t)[1], (X, W, B), seed=0)


@pytest.mark.parametrize(
    ("change", "wrong", "mistake"),
    [
        (lambda y, dy, p, t: (1 - y * y) * (t[0] @ p[1] - p[0] @ t[1] + t[2]), ["W"], "A1"),
        (lambda y, dy, p, t: (1 - y * y) * (t[0] @ p[1] + p[0] @ t[1]), ["b"], "C8"),
        (lambda y, dy, p, t: dy / (1 - y * y), ["x", "W", "b"], "C1"),
        (lambda y, dy, p, t: dy * 1.001, ["x", "W", "b"], "A4"),
        (spoilt, ["x", "W", "b"], None),
        (lambda y, dy, p, t: dy + 1e-3 * (t[2] * 0 + p[2] * t[2][0]), ["b"], None),
    ],
    ids=["sign", "term", "derivative", "factor", "entry", "another column"],
)
def test_a_wrong_rule_fails_at_the_argument_whose_term_is_wrong(change, wrong, mistake):
    report = examine_pushforward(layer, changed(change), (X, W, B), seed=0)
    assert [path for path, finding in report.arguments.items() if finding.verdict is Verdict.FAIL] == wrong
    assert mistake in [None, *(each.mistake for each in report.explanations)]


def test_the_wrong_entries_are_those_of_the_output():
    finding = examine_pushforward(layer, changed(spoilt), (X, W, B), seed=0).arguments["x"]
    assert finding.where == ("dout[2, 1]",)
    assert finding.worst.claimed == pytest.approx(1.01 * finding.worst.measured)


def test_a_failure_raises_and_its_report_has_a_line_that_does_it_again():
    with pytest.raises(GradientError) as raised:
        check_pushforward(layer, changed(spoilt), (X, W, B), seed=0)
    assert "Replay: examine_pushforward(layer, rule, args, seed=0)" in str(raised.value)


@pytest.mark.parametrize(
    ("f", "jvp", "args", "said"),
    [
        (layer, changed(lambda y, dy, p, t: np.abs(dy)), (X, W, B), "must be linear in the tangents"),
        (layer, changed(lambda y, dy, p, t: dy * 0 + 1), (X, W, B), "dout does not depend on them"),
        (layer, lambda p, t: (layer(*p) + 1e-3, layer_jvp(p, t)[1]), (X, W, B), "its out is another"),
        (layer, changed(lambda y, dy, p, t: dy + 1e-3 * RNG.standard_normal(dy.shape)), (X, W, B), "called again"),
    ],
    ids=["abs", "constant", "primal", "random"],
)
def test_a_rule_that_breaks_a_law_fails(f, jvp, args, said):
    report = examine_pushforward(f, jvp, args, seed=0)
    assert report.verdict is Verdict.FAIL
    assert said in " ".join(str(report).split())


def test_a_rule_that_writes_into_its_tangents_fails():
    def jvp(primals, tangents):
        (x,), (dx,) = primals, tangents
        dx *= np.cos(x)
        return np.sin(x), dx

    with pytest.raises(GradientError, match="must not write into dx"):
        check_pushforward(np.sin, jvp, (X,), seed=0)


def test_a_rule_that_is_not_additive_fails():
    def jvp(primals, tangents):
        (x,), (dx,) = primals, tangents
        return np.sum(x), np.cbrt(np.sum(dx**3)) + 0.0

    report = examine_pushforward(np.sum, jvp, (X,), seed=0)
    assert report.verdict is Verdict.FAIL
    assert "additive" in str(report)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda y: (y, y[:2]), "with the shape of out, (5, 3), but returned shape (2, 3)"),
        (lambda y: (y, None), "as a float array, but returned None"),
        (lambda y: (y, np.full_like(y, np.nan)), "finite, but dout[0, 0] is nan"),
        (lambda y: (y, [y, y]), "must return a tangent like the output"),
    ],
    ids=["shape", "None", "NaN", "structure"],
)
def test_what_is_no_tangent_of_the_output_breaks_its_contract(returned, said):
    with pytest.raises(ContractError) as raised:
        check_pushforward(layer, lambda p, t: returned(layer(*p)), (X, W, B), seed=0)
    assert said in " ".join(str(raised.value).split())


def test_integers_have_tangents_of_zeros_and_what_is_no_number_has_none():
    seen = []

    def gather_jvp(primals, tangents):
        seen.append(tangents)
        (table, ids, _), (dtable, _, _) = primals, tangents
        return table[ids], dtable[ids]

    ids = np.array([0, 2, 2])
    assert examine_pushforward(lambda table, ids, mode: table[ids], gather_jvp, (X, ids, "clip"), seed=0)
    _, of_ids, of_mode = seen[0]
    assert np.array_equal(of_ids, np.zeros(3))
    assert of_mode is None


def test_outputs_and_arguments_may_be_containers():
    def net(params, x):
        return {"y": x @ params["W"], "norm": (params["W"] ** 2).sum(), "index": 3}

    def net_jvp(primals, tangents):
        (p, x), (dp, dx) = primals, tangents
        tangent = {"y": dx @ p["W"] + x @ dp["W"], "norm": 2 * (p["W"] * dp["W"]).sum(), "index": 0}
        return net(p, x), tangent

    assert examine_pushforward(net, net_jvp, ({"W": W}, X), seed=0)

    def wrong(primals, tangents):
        out, tangent = net_jvp(primals, tangents)
        return out, tangent | {"norm": tangent["norm"] / 2}

    report = examine_pushforward(net, wrong, ({"W": W}, X), seed=0)
    assert report.arguments["params['W']"].where == ("dout['norm']",)
    assert report.arguments["x"].verdict is Verdict.PASS


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_lower_precision_passes_and_a_wrong_rule_in_it_fails(dtype):
    args = tuple(array.astype(dtype) for array in (X, W, B))
    assert examine_pushforward(layer, layer_jvp, args, seed=0)
    assert not examine_pushforward(layer, changed(lambda y, dy, p, t: dy * dtype(1.5)), args, seed=0)


def test_complex_arguments_have_one_term_each():
    z = X[0] + 1j * X[1]
    right = examine_pushforward(np.exp, lambda p, t: (np.exp(p[0]), np.exp(p[0]) * t[0]), (z,), seed=0)
    assert right
    assert len(right.arguments) == 1
    assert not examine_pushforward(np.exp, lambda p, t: (np.exp(p[0]), np.exp(p[0]).conj() * t[0]), (z,), seed=0)


@pytest.mark.parametrize("settings", [{"reference": jnp.tanh}, {"oracle": complex_step}], ids=["autodiff", "complex"])
def test_any_oracle_measures(settings):
    rule = lambda p, t: (np.tanh(p[0]), (1 - np.tanh(p[0]) ** 2) * t[0])  # noqa: E731  (a rule in a line)
    assert examine_pushforward(np.tanh, rule, (X,), seed=0, **settings)
    assert not examine_pushforward(np.tanh, lambda p, t: (np.tanh(p[0]), t[0]), (X,), seed=0, **settings)


def test_what_is_zero_but_for_rounding_passes_as_that():
    def softmax(x):
        e = np.exp(x - x.max())
        return e / e.sum()

    def rule(primals, tangents):
        y, dx = softmax(primals[0]), tangents[0]
        return y.sum(), (y * (dx - y @ dx)).sum()

    report = examine_pushforward(lambda x: softmax(x).sum(), rule, (X[0],), seed=0)
    assert "zero up to rounding" in str(report)


def test_a_rule_without_any_effect_is_undecided():
    with pytest.raises(InconclusiveError):
        check_pushforward(lambda x: 0 * x + 1, lambda p, t: (0 * p[0] + 1, 0 * t[0]), (X,), seed=0)


def test_arguments_may_be_given_by_name():
    report = examine_pushforward(layer, layer_jvp, {"x": X, "W": W, "b": B}, seed=0, wrt="W")
    assert list(report.arguments) == ["W"]
    assert report


def test_a_surrogate_is_the_function_whose_derivative_the_rule_claims():
    rule = lambda p, t: (np.round(p[0]), t[0])  # noqa: E731  (a rule in a line)
    assert examine_pushforward(np.round, rule, (X,), seed=0, surrogate=lambda x: x)
    assert not examine_pushforward(np.round, rule, (X,), seed=0)
    spoilt_primal = examine_pushforward(np.round, lambda p, t: (p[0], t[0]), (X,), seed=0, surrogate=lambda x: x)
    assert spoilt_primal.verdict is Verdict.FAIL
    assert "must return what round returns as out" in str(spoilt_primal)


def never(*_):
    time.sleep(60)


@pytest.mark.parametrize(("function", "rule"), [(layer, never), (never, layer_jvp)])
def test_a_call_that_does_not_return_in_time_is_undecided(function, rule):
    report = examine_pushforward(function, rule, (X, W, B), timeout=0.05, seed=0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "never did not return within 0.05 s" in str(report)


def test_a_first_call_that_does_not_return_in_time_is_undecided_for_complex_arguments_too():
    report = examine_pushforward(lambda z: never(), lambda p, t: t[0], (X + 1j,), timeout=0.05, seed=0)
    assert list(report.arguments) == ["z"]
    assert report.verdict is Verdict.INCONCLUSIVE


def test_without_hints_nothing_is_explained_and_without_places_nothing_measured_is_told():
    rule = changed(lambda y, dy, p, t: 2 * dy)
    assert examine_pushforward(layer, rule, (X, W, B), seed=0, hints=False).explanations == ()
    report = examine_pushforward(layer, rule, (X, W, B), seed=0, hints="places")
    assert all(np.isnan(entry.measured) for entry in report.arguments["x"].wrong_entries)


def test_remarks_fail_where_they_are_to_be_strict():
    guarded = lambda p, t: (np.log(p[0]), t[0] / (p[0] + 1e-8))  # noqa: E731  (a rule in a line)
    x = np.array([0.2, 0.5, 0.3])
    assert "not exact" in str(examine_pushforward(np.log, guarded, (x,), seed=0))
    assert not examine_pushforward(np.log, guarded, (x,), seed=0, strict=True)


def test_a_tangent_in_a_lower_precision_than_the_output_fails():
    report = examine_pushforward(layer, changed(lambda y, dy, p, t: dy.astype(np.float32)), (X, W, B), seed=0)
    assert report.verdict is Verdict.FAIL
    assert "must return dout in no lower precision" in " ".join(str(report).split())


def test_a_term_that_is_dropped_when_another_argument_moves_breaks_a_law():
    def rule(primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        return x * y, dx * y if np.any(dx) else x * dy

    with pytest.raises(GradientError, match="dout of all tangents together is not the sum"):
        check_pushforward(lambda x, y: x * y, rule, (X, X + 1), seed=0)


def test_next_to_the_edge_of_a_domain_nothing_is_decided():
    rule = lambda p, t: (np.sqrt(p[0]), t[0] / (2 * np.sqrt(p[0])))  # noqa: E731  (a rule in a line)
    assert examine_pushforward(np.sqrt, rule, (np.array([1e-12, 1.0]),), seed=0).verdict is Verdict.INCONCLUSIVE


def test_arguments_that_are_no_tuple_are_refused():
    with pytest.raises(TypeError, match="args must be a tuple of the arguments of layer, but it is None"):
        check_pushforward(layer, layer_jvp, None)


def test_a_forward_with_its_cache_is_told_to_leave_the_cache_out():
    def forward(x):
        return np.sin(x), x

    def jvp(primals, tangents):
        return np.sin(primals[0]), np.cos(primals[0]) * tangents[0]

    report = examine_pushforward(forward, jvp, (np.arange(1.0, 4.0),), seed=0)
    assert "Pass lambda *args: forward(*args)[0]." in report.arguments["x"].reason
    assert check_pushforward(lambda *args: forward(*args)[0], jvp, (np.arange(1.0, 4.0),), seed=0)


def test_two_outputs_of_which_the_tangents_alone_are_returned_are_no_cache():
    def both(x):
        return x**2, 3 * x

    def jvp(primals, tangents):
        return 2 * primals[0] * tangents[0], 3 * tangents[0]

    assert check_pushforward(both, jvp, (np.arange(1.0, 4.0),), seed=0)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda p, t: (p[0] ** 2, 2 * p[0].conj() * t[0]), "multiplies the tangent by the conjugate of what it should"),
        (lambda p, t: (p[0] ** 2, (2 * p[0] * t[0]).conj()), "returns the conjugate"),
        (lambda p, t: 2 * p[0] * t[0].conj(), "takes the conjugate of the tangent"),
    ],
)
def test_a_wrong_conjugate_is_named(rule, said):
    z = X[0] + 1j * X[1]
    (explanation,) = examine_pushforward(lambda z: z**2, rule, (z,), seed=0).explanations
    assert (explanation.mistake, explanation.verified) == ("C9", True)
    assert said in explanation.sentence


def test_what_no_conjugate_mends_is_not_called_one():
    z = X[0] + 1j * X[1]
    report = examine_pushforward(lambda z: z**2, lambda p, t: (p[0] ** 2, 3 * p[0] * t[0]), (z,), seed=0)
    assert "C9" not in {each.mistake for each in report.explanations}


def test_a_wrong_conjugate_is_named_where_only_the_output_is_complex():
    def wave(x):
        return np.exp(1j * x)

    report = examine_pushforward(wave, lambda p, t: np.conj(1j * wave(p[0]) * t[0]), (X,), seed=0)
    assert [each.mistake for each in report.explanations] == ["C9"]


def test_an_output_without_a_tangent_is_named_and_fails_nobody():
    def ordered(x):
        return np.sort(x), np.argsort(x)

    report = examine_pushforward(ordered, lambda p, t: (t[0][np.argsort(p[0])], None), (B,), seed=0, strict=True)
    assert report
    assert "out[1] is left out" in report.remarks[0]
