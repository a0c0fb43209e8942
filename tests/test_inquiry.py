import pickle

import numpy as np
import pytest

from gradcheck import Verdict, examine_backward, inquiry
from gradcheck.inquiry import replay

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))


def affine(x, w):
    return x @ w, (x, w)


def wrong(dout, cache):
    x, w = cache
    return dout @ w.T, -(x.T @ dout)


def right(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout


@pytest.fixture
def asked(monkeypatch):
    """What is explained, a pair each time."""
    pairs = []

    def explained(forward, backward, *rest):
        pairs.append((forward, backward))
        return inquiry.Answers(silence="nobody knows")

    monkeypatch.setattr(inquiry, "explain", explained)
    return pairs


def test_nobody_is_asked_why_before_somebody_reads_it_and_then_once(asked):
    report = examine_backward(affine, wrong, (X, W), seed=0)
    assert report.verdict is Verdict.FAIL
    assert len(asked) == 0
    assert report.silence == report.silence == "nobody knows"
    assert len(asked) == 1


def test_a_pass_is_asked_for_its_lines_only_where_somebody_wants_them(asked):
    report = examine_backward(affine, right, (X, W), seed=0)
    assert "PASS" in str(report) + report._repr_html_()
    assert pickle.loads(pickle.dumps(report)).verdict is Verdict.PASS  # noqa: S301  (our own)
    assert len(asked) == 0
    assert report.steps == ()
    assert len(asked) == 1


def test_of_a_large_pair_that_passed_no_copy_is_kept(asked, monkeypatch):
    monkeypatch.setattr(inquiry, "LARGE", X.size + W.size)
    small = examine_backward(affine, right, (X, W), seed=0)
    monkeypatch.setattr(inquiry, "LARGE", X.size + W.size - 1)
    large, failed = (examine_backward(affine, backward, (X, W), seed=0) for backward in (right, wrong))
    assert (small.verdict, large.verdict, failed.verdict) == (Verdict.PASS, Verdict.PASS, Verdict.FAIL)
    assert large.inquiry is inquiry.Answers
    assert large.steps == ()
    assert len(asked) == 0
    assert [each.silence for each in (small.answers, failed.answers)] == ["nobody knows"] * 2


def test_the_inquiry_is_of_the_arguments_as_they_were():
    x, w = X.copy(), W.copy()
    report = examine_backward(affine, wrong, (x, w), seed=0)
    assert report.verdict is Verdict.FAIL
    x[:], w[:] = np.nan, np.nan
    assert [why.mistake for why in report.explanations] == ["A1"]


def test_reading_a_report_leaves_what_the_functions_reach_as_it_was():
    state = {"calls": 0, "w": W.copy()}

    def keeping(dout, cache):
        state["calls"] += 1
        state["w"] -= 0.1
        return wrong(dout, cache)

    report = examine_backward(affine, keeping, (X, W), seed=0)
    assert report.verdict is Verdict.FAIL
    before = state["calls"], state["w"].copy()
    _ = report.answers
    assert state["calls"] == before[0]
    np.testing.assert_array_equal(state["w"], before[1])


def test_what_is_raised_while_it_is_asked_is_told_as_silence(monkeypatch):
    def raising(*_, **__):
        raise RuntimeError("out of ideas")

    report = examine_backward(affine, wrong, (X, W), seed=0)
    monkeypatch.setattr("gradcheck.inquiry.explain", raising)
    assert report.verdict is Verdict.FAIL
    assert report.silence == "looking for one raised RuntimeError: out of ideas"
    assert report.explanations == ()


def test_of_a_pair_that_passes_every_line_is_marked():
    def right(dout, cache):
        x, w = cache
        return dout @ w.T, x.T @ dout

    report = examine_backward(affine, right, (X, W), seed=0)
    assert report.verdict is Verdict.PASS
    assert [(step.verdict, step.cotangent_of) for step in report.steps] == [("right", "x, w")]
    assert report.explanations == ()
    assert report.silence is None


def named(x):
    return x, None


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "examine_backward(named, affine, args, seed=3)"),
        ({"tol": 1e-4, "wrt": None}, "examine_backward(named, affine, args, seed=3, tol=0.0001)"),
        ({"oracle": (named, affine)}, "examine_backward(named, affine, args, seed=3, oracle=(named, affine))"),
        ({"oracle": (named,)}, "examine_backward(named, affine, args, seed=3, oracle=(named,))"),
        ({"oracle": lambda x: x}, "examine_backward(named, affine, args, seed=3, oracle=oracle)"),
        ({"wrt": ["x", 2]}, "examine_backward(named, affine, args, seed=3, wrt=['x', 2])"),
    ],
)
def test_a_check_is_replayed_by_one_line_of_python(settings, line):
    assert replay(named, affine, 3, settings) == line


def test_a_function_without_a_name_is_called_by_its_role():
    assert replay(lambda x: x, lambda x: x, 0, {}) == "examine_backward(forward, backward, args, seed=0)"
