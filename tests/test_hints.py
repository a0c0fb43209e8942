import copy
import json
import math
import pickle

import numpy as np
import pytest

from gradcheck import GradientError, InconclusiveError, check_backward, examine_backward
from gradcheck.hints import Sentence, tolerance_for
from gradcheck.report import Entry, Finding, Verdict

X = np.random.default_rng(0).standard_normal((3, 4))


def sine(x):
    return np.sin(x), x


def halved(dy, x):
    return dy * np.cos(x) / 2


def examined(backward, forward=sine, x=X, **settings):
    return examine_backward(forward, backward, (x,), seed=0, **settings)


# -- a sentence and its hint


def test_a_sentence_is_the_whole_and_knows_what_it_says_without_the_hint():
    sentence = Sentence("back must return one gradient, but it returned None.", "Return it.")
    assert sentence == "back must return one gradient, but it returned None. Return it."
    assert sentence.what == "back must return one gradient, but it returned None."
    assert Sentence("it is zero.").what == "it is zero."


def test_a_sentence_survives_a_copy_and_a_pickle():
    for sentence in (Sentence("It is wrong.", "Mend it."), Sentence("It is wrong.")):
        for other in (copy.deepcopy(sentence), pickle.loads(pickle.dumps(sentence))):  # noqa: S301  (our own)
            assert (other, other.what) == (sentence, sentence.what)


# -- levels


def test_hints_must_be_one_of_the_levels():
    for wrong in ("none", None, 2, X):
        with pytest.raises(ValueError, match=r"^hints must be True, False or 'places', but it is ") as raised:
            examined(halved, hints=wrong)
    assert str(raised.value).endswith("Leave it out to be told why a gradient is wrong.")


def numbers_in(plain):
    """Return every number of some plain data, and those in its strings."""
    if isinstance(plain, dict):
        return [number for value in plain.values() for number in numbers_in(value)]
    if isinstance(plain, list):
        return [number for value in plain for number in numbers_in(value)]
    return [plain] if isinstance(plain, float) else []


def test_places_say_what_is_wrong_and_where_and_no_number_that_was_measured():
    report = examined(halved, hints="places")
    finding = report.arguments["x"]
    assert (report.verdict, finding.where, len(finding.wrong_entries)) == (Verdict.FAIL, ("every entry of dx",), 12)
    assert math.isnan(finding.error)
    assert not report.breached
    assert all(math.isnan(entry.measured) and math.isnan(entry.error) for entry in finding.wrong_entries)
    assert [entry.index for entry in finding.wrong_entries] == list(range(12))
    assert str(report) == (
        "sine: FAIL (1 of 1 gradients wrong; oracle central_difference, seed 0)\n"
        "  dx  fail  every entry of dx\n"
        "  entry           claimed\n"
        + "".join(f"  {entry.name:8}  {entry.claimed:13.6g}\n" for entry in finding.wrong_entries[:5])
        + f"  Replay: {report.replay}"
    )
    claimed = {entry.claimed for entry in finding.wrong_entries}
    assert set(numbers_in(json.loads(json.dumps(report.to_dict(), allow_nan=False)))) == claimed
    full = examined(halved).arguments["x"]
    for entry in full.wrong_entries:
        assert f"{entry.measured:.4g}"[:-1] not in report._repr_html_()


def test_what_is_wrong_in_one_number_raises_the_error_of_a_wrong_gradient_at_every_level():
    for hints in (True, False, "places"):
        with pytest.raises(GradientError) as raised:
            check_backward(sine, halved, (X,), seed=0, hints=hints)
        assert type(raised.value) is GradientError


def test_a_right_gradient_keeps_its_certificate_at_every_level():
    right = [examined(lambda dy, x: dy * np.cos(x), hints=hints) for hints in (True, False, "places")]
    assert right[0] == right[1] == right[2]


def test_what_is_undecided_says_why_at_every_level():
    rng = np.random.default_rng(1)
    for hints in (True, False, "places"):
        with pytest.raises(InconclusiveError) as raised:
            check_backward(lambda x: (x + rng.random(), x), lambda dy, x: dy, (X,), seed=0, hints=hints)
        assert raised.value.report.arguments["x"].reason


# -- a tolerance


def failed(error, claimed=1.001, **settings):
    return Finding(Verdict.FAIL, (3,), error, math.inf, Entry("dx[0]", claimed, 1.0, 1e-9), **settings)


def test_a_small_and_diffuse_failure_names_the_tolerance_that_a_check_could_tell_from_it():
    for error, tol in ((1e-3, "1e-02"), (1.9e-4, "1e-03"), (2.1e-4, "1e-02"), (6e-7, "1e-05")):
        assert tolerance_for({"x": failed(error), "y": Finding(Verdict.PASS, (3,), 0.0, 1e-9)}) == (
            "If the forward is a solver that stops at a tolerance, or the backward approximates on purpose, say so: "
            f"tol={tol}."
        )


def test_no_tolerance_is_named_for_what_is_no_approximation():
    passed = Finding(Verdict.PASS, (3,), 0.0, 1e-9)
    large, one_entry, law = failed(0.02), failed(1e-3, claimed=2.0), failed(1e-3, reason="it writes into dout")
    assert tolerance_for({"x": passed}) is None
    for wrong in (large, one_entry, law, failed(math.inf), failed(math.nan)):
        assert tolerance_for({"x": failed(1e-3), "y": wrong}) is None


def test_the_tolerance_that_is_named_lets_it_pass_and_is_a_hint():
    def fixed_point(x, steps):
        """Solve z = cos(z + x) / 2."""
        z = np.zeros_like(x)
        for _ in range(steps):
            z = np.cos(z + x) / 2
        return z

    def solve(x):
        return fixed_point(x, 60), x

    def rough(dy, x):
        slope = np.sin(fixed_point(x, 6) + x) / 2
        return -dy * slope / (1 + slope)

    report = examined(rough, solve)
    assert report.verdict is Verdict.FAIL
    assert report.advice.endswith("say so: tol=1e-02.")
    assert f"  {report.advice}"[:100] in str(report)
    assert report.to_dict()["advice"] == report.advice
    assert examined(rough, solve, tol=float(report.advice.rpartition("=")[2][:-1]))
    for hints in (False, "places"):
        assert examined(rough, solve, hints=hints).advice is None


def test_no_tolerance_is_named_where_the_failure_is_explained():
    report = examined(lambda dy, x: dy * np.cos(x) * 1.005)
    assert report.explanations or report.advice
    explained = examined(lambda dy, x: -dy * np.cos(x))
    assert explained.explanations
    assert explained.advice is None


# -- every law


def writing(dy, x):
    dy *= np.cos(x)
    return dy.copy()


BREAKING = {
    "shape": lambda dy, x: (dy * np.cos(x)).T.copy(),
    "not summed": lambda dy, x: np.stack([dy * np.cos(x)]),
    "missing": lambda dy, x: (None,),
    "too many": lambda dy, x: (dy * np.cos(x), dy, dy),
    "whole numbers": lambda dy, x: np.ones(x.shape, dtype=int),
    "precision": lambda dy, x: (dy * np.cos(x)).astype(np.float32),
    "cotangent ignored": lambda dy, x: np.cos(x),
    "clipped": lambda dy, x: np.clip(dy, -2, 2) * np.cos(x),
    "memory order": lambda dy, x: dy.ravel(order="A").reshape(x.shape) * np.cos(x),
    "cotangent written into": writing,
}


def sentences_of(report):
    """Return what a report says about laws."""
    reasons = [finding.reason for finding in report.arguments.values() if finding.reason]
    return [*report.broken, *reasons, *report.remarks]


@pytest.mark.parametrize("backward", BREAKING.values(), ids=BREAKING)
def test_without_hints_no_law_names_a_repair(backward):
    full = examined(backward)
    told = [sentence for sentence in sentences_of(full) if isinstance(sentence, Sentence)]
    assert any(sentence.what != sentence for sentence in told)
    for hints in (False, "places"):
        bare = examined(backward, hints=hints)
        assert bare.verdict is full.verdict is Verdict.FAIL
        assert {sentence.what for sentence in told} <= set(sentences_of(bare))
        for hint in filter(None, (sentence.removeprefix(sentence.what).strip() for sentence in told)):
            assert hint not in str(bare) + json.dumps(bare.to_dict()) + bare._repr_html_()


def test_without_hints_shared_memory_is_remarked_without_a_repair():
    full, bare = (
        examine_backward(lambda a, b: (a + b, None), lambda dy, _: (dy, dy), (X, X + 1), seed=0, hints=hints)
        for hints in (True, False)
    )
    (remark,) = full.remarks
    assert bare.remarks == (remark.what,)
    assert remark.what in str(bare)
    assert not str(bare).count(remark.removeprefix(remark.what))
