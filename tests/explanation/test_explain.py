import types

import numpy as np
import pytest

from gradcheck import GradientError, Verdict, check_backward, examine_backward
from gradcheck.explanation import explain
from gradcheck.explanation.edits import Edit
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.mistakes import CATALOGUE
from tests.explanation.suspects.pair import evidence_of, normal

X, W, B = normal(0, (5, 3), (3, 4), (4,))
V, C = normal(1, (4, 4), (4,))
T = normal(2, (5, 4))[0]
SILENT = "no mistake of the catalogue, undone, makes the check pass"

# -- what students write, each with one mistake


def affine(x, W, b):
    return x @ W + b, (x, W)


def wrong_sign(dout, cache):
    x, W = cache
    dx = dout @ W.T
    dW = -x.T @ dout
    return dx, dW, dout.sum(axis=0)


def bias_not_summed(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout


def bias_averaged(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.mean(axis=0)


def net(x, W1, b1, W2, b2):
    h = np.tanh(x @ W1 + b1)
    return h @ W2 + b2, (x, h, W1, W2)


def without_the_derivative_of_tanh(dout, cache):
    x, h, W1, W2 = cache
    da = dout @ W2.T
    return da @ W1.T, x.T @ da, da.sum(axis=0), h.T @ dout, dout.sum(axis=0)


def without_a_transpose(dout, cache):
    x, h, W1, W2 = cache
    da = (dout @ W2) * (1 - h**2)
    return da @ W1.T, x.T @ da, da.sum(axis=0), h.T @ dout, dout.sum(axis=0)


def ridge(W, x, t, reg):
    r = x @ W - t
    return np.sum(r**2) / len(x) + 0.5 * reg * np.sum(W * W), (W, x, r, reg)


def divided_twice(dout, cache):
    W, x, r, reg = cache
    dr = 2 * r * dout / len(x)
    return x.T @ dr / len(x) + reg * W * dout


def without_the_regulariser(dout, cache):
    _W, x, r, _reg = cache
    return 2 * x.T @ r * dout / len(x)


AFFINE, NET, RIDGE = (affine, (X, W, B), None), (net, (X, W, B, V, C), None), (ridge, (W, X, T, 0.1), "W")
STUDENTS = [
    (wrong_sign, AFFINE, "A1", ("W",), "dW is the true gradient with the wrong sign. Negate it."),
    (
        bias_not_summed,
        AFFINE,
        "B3",
        ("b",),
        "db, of shape (5, 4), is the true gradient once summed over axis 0. Sum over axis 0: what was broadcast "
        "forward is summed backward.",
    ),
    (
        bias_averaged,
        AFFINE,
        "A2",
        ("b",),
        "db is 1/5 of the true gradient, and 5 is x.shape[0], the batch. Remove the division by the batch size: the "
        "forward does not average.",
    ),
    (
        without_the_derivative_of_tanh,
        NET,
        "C1",
        ("x", "W1", "b1"),
        "The derivative of the activation is not multiplied in. Edit line {line} of without_the_derivative_of_tanh, as "
        "shown.",
    ),
    (
        without_a_transpose,
        NET,
        "B1",
        ("x", "W1", "b1"),
        "A matrix is transposed where it must not be, or is not where it must be. Edit line {line} of "
        "without_a_transpose, as shown.",
    ),
    (
        divided_twice,
        RIDGE,
        "A3",
        ("W",),
        "The part of dW that comes from the data is 1/5 of the true gradient, and 5 is x.shape[0], the batch. Remove "
        "one division by the batch size.",
    ),
    (
        without_the_regulariser,
        RIDGE,
        "D1",
        ("W",),
        "dW lacks reg * W, and 0.1 is reg. Add it for the regulariser.",
    ),
]


@pytest.mark.parametrize(
    ("backward", "task", "mistake", "arguments", "sentence"), STUDENTS, ids=lambda p: getattr(p, "__name__", "")
)
def test_what_students_do_wrong_is_named_first(backward, task, mistake, arguments, sentence):
    forward, args, wrt = task
    with pytest.raises(GradientError) as raised:
        check_backward(forward, backward, args, wrt=wrt, seed=0)
    sentence = sentence.format(line=backward.__code__.co_firstlineno + 2)
    first = raised.value.report.explanations[0]
    assert (first.mistake, first.arguments, first.verified) == (mistake, arguments, True)
    assert first.sentence == sentence
    told = " ".join(str(raised.value).split())
    assert f"Why ({mistake}): {sentence}" in told


def test_the_edit_that_undoes_it_is_shown_with_its_line():
    report = examine_backward(net, without_the_derivative_of_tanh, (X, W, B, V, C), seed=0)
    line = without_the_derivative_of_tanh.__code__.co_firstlineno + 2
    assert report.explanations[0].edit == (
        f"line {line} of without_the_derivative_of_tanh: da = dout @ W2.T  →  da = dout @ W2.T * (1 - h ** 2)"
    )


# -- what is verified, and what is ruled out


def family(suspects):
    """A family of suspicions that has this function."""
    return types.SimpleNamespace(__name__="gradcheck.explanation.suspects.mine", suspects=suspects)


def nothing(evidence):
    return iter(())


@pytest.fixture
def with_families(monkeypatch):
    """Replace the families of suspicions, and leave the source alone."""

    def replace(*families, edits=lambda *args, **settings: iter(())):
        monkeypatch.setattr(explain, "ALGEBRA", families)
        monkeypatch.setattr(explain, "PATTERNS", ())
        monkeypatch.setattr(explain, "edits", edits)

    return replace


def explained(evidence, recheck=lambda forward, backward: True):
    return explain.explain(evidence, recheck)


def test_a_mistake_that_only_a_family_that_was_not_asked_knows_is_not_ruled_out():
    found = explained(evidence_of(affine, wrong_sign, (X, W, B)))
    assert [each.mistake for each in found.explanations] == ["A1"]
    assert found.ruled_out == ("constant factor",)


def test_where_every_family_was_asked_what_algebra_alone_would_have_found_is_ruled_out():
    found = explained(evidence_of(net, without_the_derivative_of_tanh, (X, W, B, V, C)))
    assert found.ruled_out == (
        "wrong sign",
        "constant factor",
        "transpose",
        "gradients in the wrong slots",
        "regulariser",
    )


def test_a_family_that_raises_rules_nothing_out_and_is_named():
    def raises(evidence):
        raise KeyError("mine")
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explain.scale, "suspects", raises)
        patch.setattr(explain, "edits", lambda *args, **settings: iter(()))
        found = explained(evidence_of(affine, wrong_sign, (X, W, B)))
    assert found.explanations == ()
    assert found.silence == f"{SILENT}; scale raised KeyError: 'mine'"
    assert "wrong sign" not in found.ruled_out
    assert "constant factor" not in found.ruled_out


def test_a_family_that_raises_does_not_silence_the_others(with_families):
    def raises(evidence):
        raise KeyError("mine")
        yield

    with_families(family(raises), explain.scale)
    found = explained(evidence_of(affine, wrong_sign, (X, W, B)))
    assert [each.mistake for each in found.explanations] == ["A1"]
    assert found.silence is None


def test_where_nothing_is_found_it_is_said(with_families):
    with_families(family(nothing))
    assert explained(evidence_of(affine, wrong_sign, (X, W, B))) == ((), SILENT, ())


def test_a_budget_that_is_used_up_is_said_once():
    found = explained(evidence_of(affine, wrong_sign, (X, W, B), budget=3))
    assert found == ((), f"{SILENT}; 3 slopes were measured, and no more are allowed for an explanation", ())


# -- edits


def an_edit(backward, mistake="C1"):
    return Edit(mistake, 3, "pass.py", "back", "before", "after", 0, backward)


def right(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)


def test_an_edit_that_gives_the_true_gradients_is_an_explanation(with_families):
    with_families(family(nothing), edits=lambda *args, **settings: iter([an_edit(right)]))
    (only,) = explained(evidence_of(affine, wrong_sign, (X, W, B))).explanations
    assert (only.mistake, only.arguments, only.verified) == ("C1", ("W",), True)
    assert only.sentence == "The derivative of the activation is not multiplied in. Edit line 3 of back, as shown."
    assert only.edit == "line 3 of back: before  →  after"


def raising(dout, cache):
    raise IndexError("edited")


def not_finite(dout, cache):
    return tuple(np.full_like(gradient, np.nan) for gradient in right(dout, cache))


def nearly_right(dout, cache):
    dx, dW, db = right(dout, cache)
    return dx, dW * (1 + 1e-5), db


def wrong_elsewhere(dout, cache):
    dx, dW, db = right(dout, cache)
    return dx, dW, 2 * db


def too_few(dout, cache):
    return right(dout, cache)[:2]


@pytest.mark.parametrize("backward", [raising, not_finite, nearly_right, wrong_elsewhere, too_few])
def test_an_edit_that_does_not_give_every_true_gradient_is_none(with_families, backward):
    with_families(family(nothing), edits=lambda *args, **settings: iter([an_edit(backward)]))
    assert explained(evidence_of(affine, wrong_sign, (X, W, B))) == ((), SILENT, ())


def test_an_edit_that_fails_at_another_point_is_none(with_families):
    with_families(family(nothing), edits=lambda *args, **settings: iter([an_edit(right)]))
    asked = []

    def recheck(forward, backward):
        asked.append((forward, backward))
        return False

    assert explained(evidence_of(affine, wrong_sign, (X, W, B)), recheck).explanations == ()
    assert asked == [(affine, right)]


def test_edits_that_cannot_be_made_are_told(with_families):
    def broken(*args, **settings):
        yield an_edit(raising)
        raise RecursionError("too deep")

    with_families(family(nothing), edits=broken)
    found = explained(evidence_of(affine, wrong_sign, (X, W, B)))
    assert found == ((), f"{SILENT}; trying edits of the source raised RecursionError: too deep", ())


def test_no_more_edits_are_tried_than_are_allowed(with_families):
    evidence = evidence_of(affine, wrong_sign, (X, W, B))
    tried = []

    def many(*args, **settings):
        for number in range(10 * explain.TRIED):
            tried.append(number)
            yield an_edit(raising)

    with_families(family(nothing), edits=many)
    explained(evidence)
    assert len(tried) == explain.TRIED + 1


def test_an_edit_that_writes_into_its_cache_gets_one_of_its_own(with_families):
    def in_place(dout, cache):
        x, W = cache
        W *= 1.0
        return right(dout, (x, W))

    def careless(dout, cache):
        cache[1][...] = 0.0
        return right(dout, cache)

    with_families(family(nothing), edits=lambda *args, **settings: iter([an_edit(careless), an_edit(in_place)]))
    found = explained(evidence_of(affine, wrong_sign, (X, W, B)))
    assert len(found.explanations) == 1


def test_patterns_come_first_where_a_function_on_the_way_has_no_source(with_families, monkeypatch):
    asked = []

    def told(evidence):
        asked.append("patterns")
        return iter(())

    def editing(*args, **settings):
        asked.append("source")
        return iter(())

    with_families(family(nothing), edits=editing)
    monkeypatch.setattr(explain, "PATTERNS", (family(told),))
    explained(evidence_of(affine, wrong_sign, (X, W, B)))
    made = {}
    text = "def sourceless(dout, cache):\n    x, W = cache\n    return dout @ W.T, -x.T @ dout, dout.sum(axis=0)"
    exec(text, made)  # noqa: S102  (what exec makes has no source)
    explained(evidence_of(affine, made["sourceless"], (X, W, B)))
    assert asked == ["source", "patterns", "patterns", "source"]


def test_after_an_edit_that_passes_only_a_few_more_are_tried(with_families):
    evidence, tried = evidence_of(affine, wrong_sign, (X, W, B)), []

    def many(*args, **settings):
        for number in range(10 * explain.TRIED):
            tried.append(number)
            yield an_edit(right if number == 7 else raising)

    with_families(family(nothing), edits=many)
    found = explained(evidence)
    assert len(found.explanations) == 1
    assert len(tried) == 7 + 1 + explain.FURTHER + 1


# -- the order


def suspicion(mistake, doubt, arguments=("W",), **settings):
    return Suspicion(mistake, arguments, CATALOGUE[mistake].sentence, doubt=doubt, **settings)


def test_the_one_with_the_least_doubt_comes_first_and_a_rival_says_what_tells_them_apart(with_families):
    with_families(family(lambda evidence: iter([suspicion("A4", 1.2), suspicion("A2", 1.0), suspicion("B1", 3.0)])))
    found = explained(evidence_of(affine, wrong_sign, (X, W, B))).explanations
    assert [(each.mistake, each.otherwise) for each in found] == [
        ("A2", ""),
        ("A4", "It would show on other inputs: always, if no size equals the factor."),
    ]


def test_what_explains_more_arguments_comes_first(with_families):
    wrong = lambda dout, cache: [2 * gradient for gradient in right(dout, cache)]  # noqa: E731
    all_of_them = suspicion("A4", 0.9, ("x", "W", "b"))
    with_families(family(lambda evidence: iter([suspicion("A1", 0.6), all_of_them])))
    found = explained(evidence_of(affine, wrong, (X, W, B))).explanations
    assert found[0].mistake == "A4"
    assert found[0].arguments == ("x", "W", "b")


def test_no_more_than_three_are_told(with_families):
    rivals = [suspicion(mistake, 1.0) for mistake in ("A1", "A2", "A3", "A4")]
    with_families(family(lambda evidence: iter(rivals)))
    found = explained(evidence_of(affine, wrong_sign, (X, W, B))).explanations
    assert [each.mistake for each in found] == ["A1", "A2", "A3"]


def test_two_kinds_of_evidence_for_one_mistake_are_told_as_one(with_families):
    with_families(
        family(lambda evidence: iter([suspicion("C1", 1.0)])), edits=lambda *args, **settings: iter([an_edit(right)])
    )
    (only,) = explained(evidence_of(affine, wrong_sign, (X, W, B))).explanations
    assert only.sentence == CATALOGUE["C1"].sentence
    assert only.edit == "line 3 of back: before  →  after"


def test_a_right_backward_is_explained_by_nothing():
    assert examine_backward(affine, right, (X, W, B)).verdict is Verdict.PASS
    assert examine_backward(affine, right, (X, W, B)).explanations == ()
