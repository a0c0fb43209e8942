import inspect
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradcheck
from gradcheck import (
    ContractError,
    GradientError,
    InconclusiveError,
    Verdict,
    autodiff,
    central_difference,
    check_backward,
    complex_step,
    examine_backward,
)

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((5, 3)), RNG.standard_normal((3, 4)), RNG.standard_normal(4)


def affine(x, W, b):
    return x @ W + b, (x, W)


def affine_backward(dy, cache):
    x, W = cache
    return dy @ W.T, x.T @ dy, dy.sum(axis=0)


def reference(x, W, b):
    import jax.numpy as jnp

    return jnp.einsum("ni,io->no", x, W) + b


def verdicts(report):
    return {name: str(finding.verdict) for name, finding in report.arguments.items()}


def test_a_right_backward_passes_with_a_certificate_for_every_argument():
    report = check_backward(affine, affine_backward, (X, W, B))
    assert report.verdict is Verdict.PASS
    assert list(report.arguments) == ["x", "W", "b"]
    assert all(0 < finding.bound < 1e-6 for finding in report.arguments.values())


@pytest.mark.parametrize("oracle", [central_difference, complex_step, autodiff(reference)], ids=lambda o: o.__name__)
@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0, 0.5, 1 + 1e-5, 1 + 1e-6, 1 - 1e-6])
def test_a_wrong_factor_fails_in_every_oracle_and_names_its_argument_alone(oracle, factor):
    def wrong(dy, cache):
        dx, dW, db = affine_backward(dy, cache)
        return dx, factor * dW, db

    report = examine_backward(affine, wrong, (X, W, B), oracle=oracle)
    assert verdicts(report) == {"x": "pass", "W": "fail", "b": "pass"}
    assert report.arguments["W"].error == pytest.approx(abs(factor - 1), rel=1e-3)


def test_the_wrong_entries_are_named_worst_first():
    def wrong(dy, cache):
        dx, dW, db = affine_backward(dy, cache)
        dW[2, 1] += 0.5
        dW[0, 3] -= 0.25
        return dx, dW, db

    finding = examine_backward(affine, wrong, (X, W, B)).arguments["W"]
    assert [entry.name for entry in finding.wrong_entries] == ["dW[2, 1]", "dW[0, 3]"]
    assert finding.worst.claimed - finding.worst.measured == pytest.approx(0.5)


def test_one_wrong_entry_among_many_is_found():
    n = 20_000
    x = np.random.default_rng(1).standard_normal(n)

    def wrong(dy, x):
        dx = dy * np.cos(x)
        dx[12_345] *= 1.001
        return dx

    finding = examine_backward(lambda x: (np.sin(x), x), wrong, (x,)).arguments["x"]
    assert [entry.name for entry in finding.wrong_entries] == ["dx[12345]"]


@given(seed=st.integers(0, 2**32 - 1), scale=st.integers(-9, 9).map(lambda power: 10.0**power))
def test_scale_neither_hides_a_zero_gradient_nor_fails_a_right_one(seed, scale):
    def forward(x):
        return scale * np.tanh(x), x

    x = np.random.default_rng(seed).standard_normal(7)
    right = lambda dy, x: scale * dy / np.cosh(x) ** 2  # noqa: E731
    assert examine_backward(forward, right, (x,), seed=seed).verdict is Verdict.PASS
    assert examine_backward(forward, lambda dy, x: 0 * x, (x,), seed=seed).verdict is Verdict.FAIL
    assert examine_backward(forward, lambda dy, x: 1.001 * right(dy, x), (x,), seed=seed).verdict is Verdict.FAIL


def test_the_seed_replays_the_report():
    one, two = (examine_backward(affine, affine_backward, (X, W, B), seed=5) for _ in range(2))
    assert str(one) == str(two)
    drawn = examine_backward(affine, affine_backward, (X, W, B))
    assert str(examine_backward(affine, affine_backward, (X, W, B), seed=drawn.seed)) == str(drawn)


def test_the_global_generator_is_neither_read_nor_moved():
    np.random.seed(3)  # noqa: NPY002  (it is what must not be touched)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    check_backward(affine, affine_backward, (X, W, B))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_check_raises_what_the_report_says():
    with pytest.raises(GradientError) as raised:
        check_backward(affine, lambda dy, cache: (*affine_backward(dy, cache)[:2], 2 * dy.sum(axis=0)), (X, W, B))
    assert not isinstance(raised.value, ContractError)
    assert str(raised.value) == str(raised.value.report)
    assert verdicts(raised.value.report) == {"x": "pass", "W": "pass", "b": "fail"}


@pytest.mark.parametrize("kind", [GradientError, TypeError, ValueError, AssertionError])
def test_a_broken_contract_is_an_error_of_every_kind_that_is_looked_for(kind):
    with pytest.raises(kind, match="must return dW with W's shape"):
        check_backward(affine, lambda dy, cache: (dy @ cache[1].T, dy.T @ cache[0], dy.sum(axis=0)), (X, W, B))


def test_the_gradients_beside_a_broken_one_are_still_judged():
    def wrong(dy, cache):
        dx, dW, db = affine_backward(dy, cache)
        return 2 * dx, dW, db[:, None]

    assert verdicts(examine_backward(affine, wrong, (X, W, B))) == {"x": "fail", "W": "pass", "b": "fail"}


def test_nan_never_passes():
    report = examine_backward(lambda x: (x**2, x), lambda dy, x: np.where(x > 0, 2 * x * dy, np.nan), (X,))
    assert report.verdict is Verdict.FAIL
    assert "entries are not finite" in report.arguments["x"].reason


def test_what_cannot_be_decided_raises_and_says_why():
    noise = np.random.default_rng(0)

    def noisy(x):
        return np.tanh(x) + 0.1 * noise.standard_normal(x.shape), x

    with pytest.raises(InconclusiveError, match="the forward is not deterministic: two calls differ by"):
        check_backward(noisy, lambda dy, x: dy / np.cosh(x) ** 2, (X,))


def test_a_forward_that_is_too_coarse_is_undecided():
    coarse = lambda x: (np.round(np.tanh(x), 2), x)  # noqa: E731
    report = examine_backward(coarse, lambda dy, x: dy / np.cosh(x) ** 2, (X,))
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_check_that_could_not_fail_says_that_it_is_vacuous():
    report = examine_backward(lambda x: (np.ones(3) * 7, x), lambda dy, x: np.zeros_like(x), (X,))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.arguments["x"].reason.startswith("vacuous")


def test_one_gradient_that_is_zero_beside_others_passes_and_says_so():
    def forward(x, w):
        return x * 2 + 0 * w, None

    report = examine_backward(forward, lambda dy, _: (2 * dy, 0 * dy), (X, X + 1))
    assert report.verdict is Verdict.PASS
    assert report.arguments["w"].reason.startswith("vacuous")
    assert examine_backward(forward, lambda dy, _: (2 * dy, 1e-3 * dy), (X, X + 1)).verdict is Verdict.FAIL


def test_with_a_tolerance_a_pass_has_to_reach_it():
    def float32_inside(x):
        return np.tanh(x.astype(np.float32)).astype(float), x

    backward = lambda dy, x: dy / np.cosh(x) ** 2  # noqa: E731
    assert examine_backward(float32_inside, backward, (X,)).verdict is Verdict.PASS
    assert examine_backward(float32_inside, backward, (X,), tol=1e-9).verdict is Verdict.INCONCLUSIVE
    assert examine_backward(affine, affine_backward, (X, W, B), tol=1e-9).bound <= 1e-9


def test_at_a_kink_any_slope_between_both_sides_is_a_convention():
    x = np.array([0.0, 1.0, -1.0])
    for slope in (0.0, 0.5, 1.0):
        backward = lambda dy, x, slope=slope: dy * np.where(x == 0, slope, x > 0)  # noqa: E731
        report = examine_backward(lambda x: (np.maximum(x, 0), x), backward, (x,))
        assert report.verdict is Verdict.PASS, str(report)
        assert "at a kink" in report.arguments["x"].reason
    beyond = lambda dy, x: dy * np.where(x == 0, 2.0, x > 0)  # noqa: E731
    assert examine_backward(lambda x: (np.maximum(x, 0), x), beyond, (x,)).verdict is Verdict.FAIL


def test_a_reference_is_a_second_oracle():
    assert check_backward(affine, affine_backward, (X, W, B), reference=reference).oracles == (
        "central_difference",
        "autodiff",
    )


def liar(f, x):
    measure = complex_step(f, x)
    return lambda v: measure(v)._replace(value=2 * measure(v).value)


def test_an_oracle_that_stands_alone_decides_nothing_and_is_named():
    report = examine_backward(affine, affine_backward, (X, W, B), oracle=(central_difference, liar))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.arguments["W"].reason == (
        "the oracles contradict each other: liar stands alone against the claimed gradient and central_difference"
    )


def test_a_claim_that_stands_alone_against_two_oracles_is_wrong():
    wrong = lambda dy, cache: (*affine_backward(dy, cache)[:2], 3 * dy.sum(axis=0))  # noqa: E731
    report = examine_backward(affine, wrong, (X, W, B), oracle=(central_difference, complex_step))
    assert verdicts(report) == {"x": "pass", "W": "pass", "b": "fail"}


def test_three_sides_that_all_differ_decide_nothing():
    wrong = lambda dy, cache: (*affine_backward(dy, cache)[:2], 3 * dy.sum(axis=0))  # noqa: E731
    report = examine_backward(affine, wrong, (X, W, B), oracle=(central_difference, liar))
    assert report.arguments["b"].verdict is Verdict.INCONCLUSIVE
    assert report.arguments["b"].reason == (
        "the oracles contradict each other: the claimed gradient, central_difference, liar all differ"
    )


def test_several_outputs_have_a_cotangent_each():
    def forward(x):
        return (np.sin(x), float(x.sum())), x

    def backward(dout, x):
        dy, ds = dout
        assert isinstance(ds, float)
        return dy * np.cos(x) + ds

    check_backward(forward, backward, (X,))


def test_parameters_in_containers_are_checked_leaf_by_leaf():
    def forward(x, params):
        return np.tanh(x @ params["W"] + params["b"][0]), (x, params)

    def backward(dy, cache):
        x, params = cache
        dz = dy / np.cosh(x @ params["W"] + params["b"][0]) ** 2
        return dz @ params["W"].T, {"W": x.T @ dz, "b": [2 * dz.sum(axis=0)]}

    report = examine_backward(forward, backward, (X, {"W": W, "b": [B]}))
    assert verdicts(report) == {"x": "pass", "params['W']": "pass", "params['b'][0]": "fail"}
    assert report.arguments["params['b'][0]"].worst.name.startswith("dparams['b'][0][")


def test_an_exception_inside_the_forward_reaches_the_user_with_a_note():
    def forward(x):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine") as raised:
        check_backward(forward, affine_backward, (X,))
    assert raised.value.__notes__ == ["gradcheck: raised inside forward, called with args[0] (5, 3)."]


def test_an_exception_inside_the_backward_reaches_the_user_with_a_note():
    with pytest.raises(IndexError) as raised:
        check_backward(affine, lambda dy, cache: cache[2], (X, W, B))
    assert raised.value.__notes__[0].startswith("gradcheck: raised inside <lambda>, called with args[0] (5, 4)")


@pytest.mark.parametrize("tol", [-1e-3, 1.0, np.nan])
def test_a_tolerance_that_is_none_is_refused(tol):
    with pytest.raises(ValueError) as raised:
        check_backward(affine, affine_backward, (X, W, B), tol=tol)
    assert str(raised.value) == (
        f"tol must lie between 0 and 1, but it is {tol}. Leave it out to let pass what is right to seven digits."
    )


def test_an_oracle_that_is_none_is_refused():
    with pytest.raises(TypeError, match="oracle must be a function such as central_difference"):
        check_backward(affine, affine_backward, (X, W, B), oracle="central")


def test_both_checks_take_the_same_settings():
    assert str(inspect.signature(check_backward)) == str(inspect.signature(examine_backward))


def test_every_public_name_can_be_used():
    assert all(hasattr(gradcheck, name) for name in gradcheck.__all__)
    with pytest.raises(AttributeError, match="module 'gradcheck' has no attribute 'nothing'"):
        gradcheck.nothing  # noqa: B018


def test_evaluations_are_counted_and_so_many_announced_as_are_likely():
    calls, told = 0, []

    def counting(x, W, b):
        nonlocal calls
        calls += 1
        return affine(x, W, b)

    report = examine_backward(counting, affine_backward, (X, W, B), progress=lambda *now: told.append(now))
    assert [done for done, _ in told] == list(range(1, calls + 1))
    assert report.evaluations == calls <= 45
    assert {likely for _, likely in told} == {45}
    wrong = lambda dy, cache: [0.5 * g for g in affine_backward(dy, cache)]  # noqa: E731
    told.clear()
    assert not examine_backward(counting, wrong, (X, W, B), progress=lambda *now: told.append(now))
    assert told[-1][0] > 45
    assert all(done <= likely for done, likely in told)
    totals = list(dict.fromkeys(likely for _, likely in told))
    assert all(more == fewer + fewer // 2 for fewer, more in itertools.pairwise(totals))


def test_read_only_and_memory_mapped_arguments_are_taken(tmp_path):
    mapped = np.memmap(tmp_path / "x", dtype=float, shape=X.shape, mode="w+")
    mapped[:] = X
    fixed = X.copy()
    fixed.flags.writeable = False
    for x in (mapped, fixed):
        check_backward(affine, affine_backward, (x, W, B))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_lower_precision_passes_with_an_honest_bound_and_hides_no_gross_mistake(dtype):
    args = tuple(part.astype(dtype) for part in (X, W, B))
    report = check_backward(affine, affine_backward, args)
    assert all(f.reason == f"limited by {np.dtype(dtype)}" for f in report.arguments.values())
    wrong = lambda dy, cache: [dtype(1.1) * g for g in affine_backward(dy, cache)]  # noqa: E731
    assert examine_backward(affine, wrong, args).verdict is Verdict.FAIL


def test_a_dict_of_arrays_and_numbers_without_a_gradient_is_never_green():
    """It may be a dict of settings, or parameters whose gradients were forgotten: only the user knows."""

    def forward(x, params):
        return np.tanh(x @ params["W"]), (x, params["W"])

    def forgetful(dout, cache):
        x, W = cache
        return (dout / np.cosh(x @ W) ** 2 @ W.T,)

    args = (X, {"W": W, "steps": 3})
    report = examine_backward(forward, forgetful, args)
    assert verdicts(report) == {"x": "pass", "params['W']": "inconclusive"}
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "name in wrt= what moves" in report.arguments["params['W']"].reason
    assert examine_backward(forward, forgetful, args, wrt="x").verdict is Verdict.PASS


@pytest.mark.parametrize(("factor", "verdict"), [(1 + 1e-5, "pass"), (1 + 1e-3, "inconclusive"), (1.1, "fail")])
def test_with_a_tolerance_a_claim_is_judged_by_how_wrong_it_measurably_is(factor, verdict):
    wrong = lambda dy, cache: (affine_backward(dy, cache)[0] * factor, *affine_backward(dy, cache)[1:])  # noqa: E731
    report = examine_backward(affine, wrong, (X, W, B), tol=1e-3, seed=0)
    assert verdicts(report) == {"x": verdict, "W": "pass", "b": "pass"}
    assert examine_backward(affine, wrong, (X, W, B), seed=0).verdict is Verdict.FAIL


def test_a_tolerance_excuses_no_law():
    in_place = lambda dy, _: np.multiply(dy, 2, out=dy)  # noqa: E731
    assert examine_backward(lambda x: (2 * x, None), in_place, (X,), tol=0.1).verdict is Verdict.FAIL
    clipped = lambda dy, x: np.clip(dy * np.cos(x), -10, 10)  # noqa: E731
    assert examine_backward(lambda x: (np.sin(x), x), clipped, (X,), tol=0.1, seed=0).verdict is Verdict.FAIL
    coarse = lambda dy, x: (dy * np.cos(x)).astype(np.float32)  # noqa: E731
    assert examine_backward(lambda x: (np.sin(x), x), coarse, (X,), tol=0.1).verdict is Verdict.FAIL


def test_hints_can_be_withheld_and_the_verdict_and_the_location_stay():
    def wrong(dy, cache):
        dx, dW, _ = affine_backward(dy, cache)
        return dx, dW, dy.mean(axis=0)

    full = examine_backward(affine, wrong, (X, W, B), seed=0)
    bare = examine_backward(affine, wrong, (X, W, B), seed=0, hints=False)
    assert full.explanations
    assert [step.verdict for step in full.steps if step.verdict == "wrong"]
    assert (bare.explanations, bare.silence, bare.steps) == ((), None, ())
    assert bare.arguments == full.arguments
    assert (bare.verdict, bare.seed, bare.broken, bare.replay) == (full.verdict, full.seed, full.broken, full.replay)
    heads = {line.split(":")[0].split("(")[0].strip() for line in str(bare).splitlines()}
    assert not heads & {
        "Why",
        "Or",
        "To tell",
        "No explanation",
    }
    assert set(str(bare).splitlines()) < set(str(full).splitlines())
    with pytest.raises(GradientError) as raised:
        check_backward(affine, wrong, (X, W, B), seed=0, hints=False)
    assert str(raised.value) == str(bare)


def test_hints_change_nothing_where_nothing_is_wrong():
    with_hints, without = (examine_backward(affine, affine_backward, (X, W, B), seed=0, hints=h) for h in (True, False))
    assert with_hints == without


def test_an_explanation_read_late_speaks_of_the_arguments_of_the_check():
    def wrong(dy, cache):
        dx, dW, db = affine_backward(dy, cache)
        return dx, -dW, db

    args = X.copy(), W.copy(), B.copy()
    report = examine_backward(affine, wrong, args, seed=0)
    for array in args:
        array.fill(0.0)
    assert report.verdict is Verdict.FAIL
    assert [each.mistake for each in report.explanations] == ["A1"]


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "out[1] is"), (2, "out[1] and out[2] are"), (4, "out[1], out[2], out[3] and others are")],
)
def test_outputs_without_a_derivative_are_left_out_and_the_report_says_so(count, said):
    def forward(x):
        return (x * x, *(x.argmax() for _ in range(count))), x

    report = check_backward(forward, lambda dout, x: 2 * x * dout[0], (np.arange(1.0, 4.0),), seed=0, strict=True)
    assert report.remarks == (
        f"{said} left out: what holds no floats, or is declared to have no derivative, has none.",
    )
