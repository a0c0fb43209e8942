import dataclasses

import numpy as np
import pytest

import gradcheck
from gradcheck import GradientError, Verdict, central_difference, check_backward, complex_step, examine_backward
from gradcheck.explanation import explain, inquiry
from tests.explanation.suspects.pair import normal

X, W, B = normal(0, (5, 3), (3, 4), (4,))


def affine(x, W, b):
    return x @ W + b, (x, W)


def right(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)


def averaged(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.mean(axis=0)


def doubled(dout, cache):
    x, W = cache
    return dout @ W.T, 2 * x.T @ dout, dout.sum(axis=0)


def judged(report):
    """What a report says but for the explanation and what comes with it."""
    return {path: dataclasses.asdict(finding) for path, finding in report.arguments.items()}


def calls_of(function):
    """Return ``function`` and the list of its calls; it raises from call number ``last[0]`` on."""
    calls, last = [], [None]

    def counted(*args):
        calls.append(1)
        if last[0] is not None and len(calls) > last[0]:
            raise RuntimeError(f"call {last[0] + 1}")
        return function(*args)

    return counted, calls, last


# -- the verdict and the location stand


@pytest.mark.parametrize("later", [1, 4])
def test_a_backward_that_raises_when_it_is_asked_further_leaves_verdict_and_location(later):
    backward, calls, last = calls_of(averaged)
    known = examine_backward(affine, backward, (X, W, B), seed=0, hints=False)
    last[0] = len(calls) + later
    calls.clear()
    report = examine_backward(affine, backward, (X, W, B), seed=0)
    assert report.verdict is Verdict.FAIL
    assert judged(report) == judged(known)


def test_a_backward_that_raises_at_once_when_it_is_asked_further_is_told():
    backward, calls, last = calls_of(averaged)
    assert not examine_backward(affine, backward, (X, W, B), seed=0, hints=False)
    last[0] = len(calls)
    calls.clear()
    report = examine_backward(affine, backward, (X, W, B), seed=0)
    assert report.explanations == ()
    assert report.silence == f"looking for one raised RuntimeError: call {last[0] + 1}"
    assert f"  No explanation: looking for one raised RuntimeError: call {last[0] + 1}." in str(report).splitlines()


def test_a_forward_that_raises_when_it_is_asked_further_is_told():
    forward, calls, last = calls_of(affine)
    known = examine_backward(forward, averaged, (X, W, B), seed=0, hints=False)
    last[0] = len(calls)
    calls.clear()
    report = examine_backward(forward, averaged, (X, W, B), seed=0)
    assert judged(report) == judged(known)
    assert report.silence == f"looking for one raised RuntimeError: call {last[0] + 1}"


def test_a_forward_that_raises_beside_the_point_leaves_what_algebra_finds():
    def local(x, W, b):
        if np.abs(b - B).max() > 0.5 or x.shape != X.shape:
            raise ValueError("too far")
        return affine(x, W, b)

    report = examine_backward(local, averaged, (X, W, B), seed=0, wrt=("x", "W", "b"))
    assert report.verdict is Verdict.FAIL
    assert report.arguments["b"].where == ("every entry of db",)
    assert [each.mistake for each in report.explanations] == ["A2"]


def test_a_family_that_raises_is_told(monkeypatch):
    def raises(evidence):
        raise ZeroDivisionError("in a family")
        yield

    families = explain.ALGEBRA + explain.PATTERNS
    for each in families:
        monkeypatch.setattr(each, "suspects", raises)
    monkeypatch.setattr(explain, "edits", lambda *args, **settings: iter(()))
    report = examine_backward(affine, doubled, (X, W, B), seed=0)
    assert report.verdict is Verdict.FAIL
    assert report.arguments["W"].where == ("every entry of dW",)
    assert (report.explanations, report.ruled_out) == ((), ())
    assert report.silence == "; ".join(
        [
            "no mistake of the catalogue, undone, makes the check pass",
            *(f"{each.__name__.split('.')[-1]} raised ZeroDivisionError: in a family" for each in families),
        ]
    )
    lines = str(report).splitlines()
    assert len(lines) <= 25
    assert lines[-1] == "  Replay: examine_backward(affine, doubled, args, seed=0)"


def test_a_budget_that_is_used_up_is_told(monkeypatch):
    monkeypatch.setattr(inquiry, "SLOPES", 0)
    monkeypatch.setattr(inquiry, "EACH", 2)
    report = examine_backward(affine, doubled, (X, W, B), seed=0)
    assert report.verdict is Verdict.FAIL
    assert report.silence == (
        "no mistake of the catalogue, undone, makes the check pass; "
        "2 slopes were measured, and no more are allowed for an explanation"
    )


def test_whatever_explaining_raises_is_told_in_one_line(monkeypatch):
    def breaks(evidence, recheck):
        raise MemoryError("first line\nsecond line")

    monkeypatch.setattr(inquiry, "explain", breaks)
    report = examine_backward(affine, doubled, (X, W, B), seed=0)
    assert report.verdict is Verdict.FAIL
    assert report.silence == "looking for one raised MemoryError: first line"


def test_a_backward_that_writes_into_its_cotangent_is_explained_all_the_same():
    def writes(dout, cache):
        x, W = cache
        dout *= -1
        return -dout @ W.T, x.T @ dout, -dout.sum(axis=0)

    report = examine_backward(affine, writes, (X, W, B), seed=0)
    assert report.broken
    assert report.arguments["W"].verdict is Verdict.FAIL
    assert report.explanations[0].mistake == "A1"
    assert report.explanations[0].arguments == ("W",)


def test_a_right_backward_is_asked_nothing():
    report = examine_backward(affine, right, (X, W, B), seed=0)
    assert report.verdict is Verdict.PASS
    assert (report.explanations, report.silence, report.ruled_out) == ((), None, ())


# -- the line that does it again


@pytest.mark.parametrize("settings", [{}, {"wrt": ("x", "W", "b")}, {"wrt": ["W", "b"]}, {"tol": np.float64(1e-3)}])
def test_the_line_does_the_check_again(settings):
    backward = doubled if settings.get("wrt") != ["W", "b"] else weights_doubled
    report = examine_backward(affine, backward, (X, W, B), **settings)
    known = {"examine_backward": gradcheck.examine_backward, "args": (X, W, B), "affine": affine}
    again = eval(report.replay, known | {backward.__name__: backward})  # noqa: S307  (our own line)
    assert again.verdict is report.verdict is Verdict.FAIL
    assert judged(again) == judged(report)
    assert str(again) == str(report)
    assert again.to_dict() == report.to_dict()


def weights_doubled(dout, cache):
    return doubled(dout, cache)[1:]


def test_the_line_names_the_seed_that_was_drawn_and_the_settings_that_were_given():
    report = examine_backward(affine, doubled, (X, W, B), tol=1e-3)
    assert not report
    assert report.replay == f"examine_backward(affine, doubled, args, seed={report.seed}, tol=0.001)"


def test_a_function_without_a_name_is_called_by_its_role():
    assert inquiry.replay(lambda x: x, lambda dout, cache: dout, 7, {"wrt": None}) == (
        "examine_backward(forward, backward, args, seed=7)"
    )


def test_oracles_are_written_by_name():
    settings = {"oracle": (central_difference, complex_step), "reference": affine}
    assert inquiry.replay(affine, right, 7, settings) == (
        "examine_backward(affine, right, args, seed=7, oracle=(central_difference, complex_step), reference=affine)"
    )


# -- all of it together


def test_the_error_says_where_the_error_enters_why_and_how_to_see_it_again():
    def net(x, W1, b1, W2, b2):
        h = np.tanh(x @ W1 + b1)
        return h @ W2 + b2, (x, h, W1, W2)

    def wrong(dy, cache):
        x, h, W1, W2 = cache
        da = -(dy @ W2.T) * (1 - h**2)
        return da @ W1.T, x.T @ da, da.sum(axis=0), h.T @ dy, dy.sum(axis=0)

    with pytest.raises(GradientError) as raised:
        check_backward(net, wrong, (X, W, B, np.diag(B) + 1, B), seed=0)
    lines = str(raised.value).splitlines()
    assert "  Why (A1): dx, dW1 and db1 are the true gradients with the wrong sign. Negate them." in lines
    assert "  Enters: dW2 and db2 are right, dW1 and db1 are wrong: the error enters between them." in lines
    assert lines[-1] == "  Replay: examine_backward(net, wrong, args, seed=0)"


class Left(BaseException):
    """What somebody raises to get out."""


def test_whatever_a_function_raises_while_a_reason_is_looked_for_the_verdict_stands():
    calls = iter(range(100))

    def leaving(dout, cache):
        if next(calls) > 3:
            raise Left
        return doubled(dout, cache)

    report = examine_backward(affine, leaving, (X, W, B), seed=0)
    assert report.verdict is Verdict.FAIL
    assert "must return, but it raised Left" in str(report)


@pytest.mark.parametrize("error", [KeyError, ValueError])
def test_what_a_function_raises_is_noted_where_it_is_reassured(error):
    def raising(_dout, _cache):
        raise error

    with pytest.raises(error) as caught:
        inquiry.reassure(affine, raising, (X, W, B))
    assert caught.value.__notes__[0].startswith("gradcheck: raised inside raising, called with args[0] (5, 4)")
