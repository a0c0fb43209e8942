"""A check over many shapes: what is right passes at all of them, what is wrong at one fails there and is made small."""

import io
import sys
import time

import numpy as np
import pytest

import gradcheck
from gradcheck import (
    ContractError,
    GradientError,
    InconclusiveError,
    Verdict,
    check_shapes,
    examine_shapes,
    from_layer,
    point,  # noqa: F401  (a replay line names it)
)

AFFINE = "x: N D, W: D M, b: M"


def affine(x, W, b):
    return x @ W + b, (x, W)


def right(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)


def averaged(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.mean(axis=0)


def transposed_where_square(dout, cache):
    x, W = cache
    dW = x.T @ dout
    return dout @ W.T, dW.T if W.shape[0] == W.shape[1] else dW, dout.sum(axis=0)


def alone(dout, cache):
    if len(cache[0]) == 1:
        raise IndexError("a batch of one")
    return right(dout, cache)


def test_a_right_backward_passes_and_the_report_says_what_was_tried():
    report = check_shapes(affine, right, AFFINE, seed=0)
    assert report
    assert (len(report.examples), report.place, report.needs.rules, report.refusals) == (100, None, (), ())
    lines = str(report).splitlines()
    assert lines[0] == (
        f"affine: PASS at 100 points of {report.shapes} shapes "
        "(3 of 3 gradients right; oracle central_difference, seed 0)"
    )
    assert lines[-1] == "  Tried: N 0 to 33, D 0 to 33, M 0 to 33."
    assert "correct" not in str(report)
    assert {path: finding.verdict for path, finding in report.arguments.items()} == dict.fromkeys("xWb", Verdict.PASS)


def test_the_widest_bound_of_all_points_is_told():
    report = examine_shapes(affine, right, AFFINE, seed=1, examples=10)
    bounds = [each.report.arguments["x"].bound for each in report.examples if each.why != "empty"]
    assert report.arguments["x"].bound == max(bounds)


def test_a_wrong_backward_fails_at_the_smallest_sizes_and_says_which_it_needs():
    with pytest.raises(GradientError) as failed:
        check_shapes(affine, averaged, AFFINE, seed=0)
    report = failed.value.report
    assert report.place == {"N": 2, "D": 1, "M": 1}
    assert report.needs.rules == ("N ≥ 2",)
    assert report.explanations[0].mistake == "A2"
    assert [step.verdict for step in report.steps].count("wrong") == 1
    lines = str(report).splitlines()
    assert lines[0].startswith("affine: FAIL at N=2, D=1, M=1 (1 of 3 gradients wrong; oracle central_difference, seed")
    assert lines[2] == "  It fails only where N ≥ 2, empty arrays apart: of 45 points drawn elsewhere none failed."


def test_a_mistake_that_shows_only_where_two_sizes_are_equal_is_found_and_named_so():
    report = examine_shapes(affine, transposed_where_square, AFFINE, seed=0)
    assert report.verdict is Verdict.FAIL
    assert report.place == {"N": 1, "D": 2, "M": 2}
    assert report.needs.rules == ("D = M", "D ≥ 2", "M ≥ 2")


def test_what_a_backward_raises_where_the_forward_does_not_is_a_failure():
    with pytest.raises(GradientError) as failed:
        check_shapes(affine, alone, AFFINE, seed=0)
    report = failed.value.report
    assert report.place == {"N": 1, "D": 1, "M": 1}
    assert report.needs.rules == ("N = 1",)
    assert report.arguments["W"].reason == "alone raised IndexError: a batch of one"


def test_a_gradient_of_a_wrong_shape_breaks_the_contract():
    with pytest.raises(ContractError):
        check_shapes(affine, lambda dout, cache: (*right(dout, cache)[:2], dout[0][:-1]), AFFINE, seed=0)


def test_a_mistake_on_empty_arrays_is_found():
    def counted(dout, cache):
        return dout @ cache[1].T, cache[0].T @ dout, dout.sum(axis=0) + (len(dout) == 0)

    report = examine_shapes(affine, counted, AFFINE, seed=0)
    assert report.verdict is Verdict.FAIL
    assert report.place["N"] == 0
    assert report.arguments["b"].reason == "counted must return zeros for db where the output is empty."


def test_a_forward_that_refuses_empty_arrays_is_no_finding():
    def forward(x):
        if not x.size:
            raise ValueError("nothing there")
        return x * 2, None

    assert examine_shapes(forward, lambda dout, _: dout * 2, "x: N D", seed=0)


def test_a_forward_that_refuses_a_shape_leaves_it_undecided_and_says_which():
    def forward(x, W, b):
        if len(x) == 1:
            raise ValueError("too few")
        return affine(x, W, b)

    with pytest.raises(InconclusiveError) as undecided:
        check_shapes(forward, right, AFFINE, seed=0)
    refused = len(undecided.value.report.refusals)
    assert f"forward raised at {refused} of 100 points" in str(undecided.value)
    assert "forward raised ValueError: too few at N=1, " in str(undecided.value)
    assert "; N >= 2; else mend the forward." in " ".join(str(undecided.value).split())
    assert check_shapes(forward, right, f"{AFFINE}; N >= 2", seed=0)


def test_a_forward_that_refuses_every_shape_leaves_all_undecided():
    def refusing(x, W, b):
        raise RuntimeError("not today")

    report = examine_shapes(refusing, right, AFFINE, seed=0, examples=4)
    assert {path: finding.verdict for path, finding in report.arguments.items()} == dict.fromkeys(
        "xWb", Verdict.INCONCLUSIVE
    )
    assert "refusing raised RuntimeError: not today" in str(report)


def test_an_output_that_is_not_finite_at_some_shape_is_a_refusal_too():
    def forward(x):
        return x.var(axis=0, ddof=1), x

    def backward(dout, x):
        return 2 * dout * (x - x.mean(axis=0)) / (len(x) - 1)

    report = examine_shapes(forward, backward, "x: N D", seed=0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert {each.sizes["N"] for each in report.refusals} == {1}
    assert examine_shapes(forward, backward, "x: N D; N > 1", seed=0)


def test_a_first_point_that_cannot_be_checked_at_all_raises_with_its_sizes():
    with pytest.raises(TypeError, match=r"must return a pair \(out, cache\)") as refused:
        examine_shapes(lambda x: x * 2, right, "x: N", seed=0)
    assert refused.value.__notes__[-1].startswith("gradcheck: at N=")


def test_the_replay_lines_do_what_they_did():
    report = examine_shapes(affine, averaged, AFFINE, seed=3)
    assert report.verdict is Verdict.FAIL
    names = {**vars(gradcheck), **globals()}
    names |= {name: getattr(gradcheck, name) for name in ("examine_backward", "examine_shapes", "point")}
    again = eval(report.replay, names)  # noqa: S307  (it is ours, and to evaluate it is the point)
    assert (again.verdict, str(again)) == (report.verdict, str(report))
    one = eval(report.report.replay, names)  # noqa: S307  (likewise)
    assert one.arguments["b"] == report.arguments["b"]


def test_the_same_seed_draws_the_same_points():
    one, other = (examine_shapes(affine, right, AFFINE, seed=7, examples=8) for _ in range(2))
    assert [(each.sizes, each.seed) for each in one.examples] == [(each.sizes, each.seed) for each in other.examples]
    assert one.seed == 7
    assert (
        examine_shapes(affine, right, AFFINE, examples=1).seed != examine_shapes(affine, right, AFFINE, examples=1).seed
    )


def test_settings_of_a_check_are_those_of_each_check():
    def inexact(dout, cache):
        dx, dW, db = right(dout, cache)
        return dx * (1 + 1e-5), dW, db

    assert not examine_shapes(affine, inexact, AFFINE, seed=0, examples=3)
    assert examine_shapes(affine, inexact, AFFINE, seed=0, examples=3, tol=1e-4)
    hidden = examine_shapes(affine, averaged, AFFINE, seed=0, hints=False)
    assert (hidden.explanations, len(hidden.steps)) == ((), 0)
    assert examine_shapes(affine, right, "x: N D, W: D M, b: M", seed=0, examples=3, wrt=["x", "W", "b"])


def test_a_budget_of_seconds_ends_the_search():
    assert len(examine_shapes(affine, right, AFFINE, seed=0, seconds=1e-9).examples) == 1


@pytest.mark.parametrize(("name", "value"), [("examples", 0), ("examples", 1.5), ("seconds", -1), ("seconds", "2")])
def test_a_budget_that_is_none_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a"):
        examine_shapes(affine, right, AFFINE, **{name: value})


def test_a_forward_that_does_not_return_at_some_shape_leaves_it_undecided():
    def sleepy(x, W, b):
        time.sleep(1.0 if len(x) == 1 else 0.0)
        return affine(x, W, b)

    report = examine_shapes(sleepy, right, AFFINE, seed=0, timeout=0.2, examples=5)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.place["N"] == 1
    assert "sleepy did not return within 0.2 s" in " ".join(str(report).split())


def test_shapes_that_are_no_text_are_refused():
    with pytest.raises(TypeError) as refused:
        examine_shapes(affine, right, 3)
    assert str(refused.value) == (
        "shapes must be a text, but it is the int 3. Write what the arguments are, as in 'x: N D'."
    )


def test_progress_is_told_after_each_point_or_drawn_as_a_bar(monkeypatch):
    told = []
    examine_shapes(affine, right, AFFINE, seed=0, examples=3, progress=lambda *counts: told.append(counts))
    assert told == [(1, 3), (2, 3), (3, 3)]
    error = io.StringIO()
    monkeypatch.setattr(sys, "stderr", error)
    examine_shapes(affine, right, AFFINE, seed=0, examples=3, progress=True)
    assert error.getvalue().endswith(f"\r{'█' * 30} 3 of 3 points\n")


def test_what_no_point_could_have_shown_is_added_up_over_all():
    report = examine_shapes(affine, right, f"{AFFINE}; N in 1", seed=0, examples=20)
    assert report
    (unseen, *_) = report.unseen
    assert unseen.startswith("no example had x.shape[0] ≥ 2, so sum for mean over the batch (A2)")
    assert unseen.split(".")[0] in " ".join(str(report).split())


def test_a_layer_is_checked_at_all_batch_sizes():
    class Scale:
        def __init__(self):
            self.w = np.arange(1.0, 4.0)
            self.dw = np.zeros(3)

        def forward(self, x):
            self.x = x
            return x * self.w

        def backward(self, dout):
            self.dw = (dout * self.x).mean(axis=0)
            return dout * self.w

    report = examine_shapes(*from_layer(Scale()), "x: N 3", seed=0)
    assert report.verdict is Verdict.FAIL
    assert report.place == {"N": 2}
    assert report.needs.rules == ("N ≥ 2",)


def test_a_report_is_data_and_html_too():
    report = examine_shapes(affine, averaged, AFFINE, seed=0)
    data = report.to_dict()
    assert (data["verdict"], data["place"], data["needs"]) == ("fail", {"N": 2, "D": 1, "M": 1}, ["N ≥ 2"])
    assert data["report"]["arguments"]["b"]["verdict"] == "fail"
    assert "FAIL at N=2, D=1, M=1" in report._repr_html_()


def test_points_at_which_a_net_is_shut_decide_nothing_and_hide_nothing():
    def relu(x):
        return np.maximum(x, 0), x

    report = examine_shapes(relu, lambda dout, x: dout * (x > 0), "x: N M", seed=0)
    assert report
    assert "nothing of a gradient, which has no effect there, as at N=" in str(report)
    shut = examine_shapes(relu, lambda dout, x: dout * (x > 0), "x: N M < 0", seed=0, examples=4)
    assert shut.verdict is Verdict.INCONCLUSIVE


def test_a_point_that_cannot_be_decided_leaves_the_whole_undecided():
    def noisy(x):
        return np.sin(x) + (np.random.default_rng().normal(size=x.shape) if len(x) == 3 else 0), x

    report = examine_shapes(noisy, lambda dout, x: dout * np.cos(x), "x: N; N in 2 3", seed=0, examples=6)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.place == {"N": 3}
    assert "  Found at point " in str(report)


def test_a_specification_that_is_read_already_is_taken_as_it_is():
    from derivations.mlp import MLP

    report = examine_shapes(MLP.forward, MLP.backward, MLP.spec, wrt=MLP.wrt, seed=0, examples=4)
    assert report
    assert report.replay.startswith("examine_shapes(mlp_forward, mlp_backward, MLP.spec, seed=0")


def test_complex_arrays_are_drawn_and_checked_as_they_are():
    def product(z, w):
        return z @ w, (z, w)

    def backward(dout, cache):
        z, w = cache
        return dout @ w.conj().T, z.conj().T @ dout

    def unconjugated(dout, cache):
        z, w = cache
        return dout @ w.T, z.conj().T @ dout

    text = "z: N D complex, w: D M complex"
    assert examine_shapes(product, backward, text, seed=0, examples=30)
    report = examine_shapes(product, unconjugated, text, seed=0)
    assert [str(finding.verdict) for finding in report.arguments.values()] == ["fail", "pass"]
    assert [each.mistake for each in report.explanations] == ["C9"]


def test_a_surrogate_and_a_convention_hold_at_every_point():
    pair = (lambda x: (np.round(x), None), lambda dout, _: dout.copy())
    assert examine_shapes(*pair, "x: N", seed=0, examples=10, surrogate=lambda x: x)
    report = examine_shapes(lambda z: (z**2, z), lambda d, z: 2 * d * z, "z: N complex", seed=0, convention="jax")
    assert report
    assert "convention='jax'" in report.replay
