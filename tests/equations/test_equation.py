"""How a statement is judged, on statements of which the verdict is known."""

import json
import re
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import pytest

import gradcheck
from gradcheck.equations.equation import (
    UNTYPABLE,
    Claim,
    Definition,
    Equation,
    Given,
    Gradient,
    Update,
    judge_equation,
    judge_statement,
)
from gradcheck.report import Answers, Explanation, Finding, Report, Verdict


def affine_forward(x, W, b):
    return W @ x + b, (x, W)


def affine_right(dy, cache):
    x, W = cache
    return {"x": W.T @ dy, "W": np.outer(dy, x), "b": dy}


def affine_reference(x, W, b):
    return jnp.einsum("ij,j->i", W, x) + b


SHAPES = "x: N, W: M N, b: M; N in 1 5, M in 1 3"


def gradient(of, formula, **settings):
    return Gradient(affine_forward, formula, of, SHAPES, **settings)


def definition(formula):
    return Definition(
        formula,
        affine_reference,
        lambda dy, args: tuple(affine_right(dy, args[:2]).values()),
        SHAPES,
        analytic=True,
    )


def loss(w, y, lam):
    return ((w - y) ** 2).sum() / 2 + lam / 2 * (w * w).sum(), (w, y, lam)


def update(step, rate=0.1):
    return Update(loss, step, rate, "w", "w: N, y: N, lam = 0.5; N in 1 4")


def descent(cache):
    w, y, lam = cache
    return -0.1 * (w - y + lam * w)


def equation(printed, **settings):
    return Equation("9-1", "9", "here", "Something.", "x", printed, **settings)


def test_a_right_gradient_passes_alone_and_among_the_others():
    def right(dy, cache):
        return np.outer(dy, cache[0])

    assert judge_statement(gradient("W", right), 0).verdict == "pass"
    among = gradient("W", right, backward=affine_right, reference=affine_reference, analytic=True)
    ruling = judge_statement(among, 0)
    assert ruling.verdict == "pass"
    assert set(ruling.report.arguments) == {"x", "W", "b"}
    assert ruling.report.oracles == ("central_difference", "complex_step", "autodiff")


def test_without_compilation_autodiff_is_not_asked():
    statement = gradient("W", lambda dy, cache: np.outer(dy, cache[0]), reference=affine_reference)
    assert judge_statement(statement, 0, compiled=False).report.oracles == ("central_difference",)


def test_a_wrong_gradient_fails_in_its_own_argument_alone():
    ruling = judge_statement(gradient("W", lambda dy, cache: 2 * np.outer(dy, cache[0]), backward=affine_right), 0)
    assert ruling.verdict == "fail"
    findings = ruling.report.arguments
    assert {name: str(finding.verdict) for name, finding in findings.items()} == {"x": "pass", "W": "fail", "b": "pass"}


def test_a_formula_gives_the_gradients_of_several_arguments():
    both = gradient(("b", "x"), lambda dy, cache: (dy, cache[1].T @ dy), backward=affine_right)
    assert judge_statement(both, 0).verdict == "pass"
    ruling = judge_statement(gradient(("b", "x"), lambda dy, cache: (dy, 2 * cache[1].T @ dy)), 0)
    assert ruling.verdict == "fail"
    assert str(ruling.report.arguments["b"].verdict) == "pass"


def test_a_formula_of_another_shape_has_no_type():
    ruling = judge_statement(gradient("W", lambda dy, cache: np.outer(cache[0], dy)), 0)
    assert (ruling.verdict, ruling.found) == (
        UNTYPABLE,
        "the formula has shape (5, 3), and W has shape (3, 5), where N = 5, M = 3",
    )


def test_a_formula_whose_shapes_clash_has_no_type():
    ruling = judge_statement(gradient("W", lambda dy, cache: cache[0] * dy), 0)
    said = "ValueError: operands could not be broadcast together with shapes (5,) (3,), where N = 5, M = 3"
    assert (ruling.verdict, ruling.found) == (UNTYPABLE, said)


def test_an_index_out_of_its_range_has_no_type():
    ruling = judge_statement(gradient("b", lambda dy, cache: np.array([dy[j] for j in range(len(cache[0]))])), 0)
    said = "IndexError: index 3 is out of bounds for axis 0 with size 3, where N = 5, M = 3"
    assert (ruling.verdict, ruling.found) == (UNTYPABLE, said)


def test_an_error_of_the_transcription_is_no_verdict():
    with pytest.raises(NameError):
        judge_statement(gradient("b", lambda dy, cache: undefined), 0)


def test_nothing_is_decided_where_the_derivation_around_the_formula_is_wrong():
    def wrong(dy, cache):
        return affine_right(dy, cache) | {"x": dy @ cache[1] * 2}

    ruling = judge_statement(gradient("b", lambda dy, cache: dy, backward=wrong), 0)
    assert ruling.verdict == "inconclusive"
    assert ruling.found == "the derivation around the formula is not right in dx"


def test_an_explanation_is_told_if_it_was_verified_and_only_then(monkeypatch):
    def examine(*_, verified, **__):
        finding = Finding(Verdict.FAIL, (3,), 2.0, np.inf)
        explanation = Explanation("A1", ("b",), "db has the opposite sign", verified)
        return Report("f", {"b": finding}, ("central_difference",), 0, inquiry=lambda: Answers((explanation,)))

    statement = gradient("b", lambda dy, cache: -dy)
    for verified, expected in (
        (True, ("fail", "db has the opposite sign", "A1")),
        (False, ("fail", "db has a relative error of 2", None)),
    ):
        monkeypatch.setattr(
            "gradcheck.equations.equation.examine_backward", lambda *a, v=verified, **k: examine(*a, verified=v, **k)
        )
        ruling = judge_statement(statement, 0)
        assert (ruling.verdict, ruling.found, ruling.mistake) == expected


def test_a_wrong_sign_is_explained_unless_hints_are_off():
    statement = gradient("b", lambda dy, cache: -dy, backward=affine_right)
    assert judge_statement(statement, 0).mistake == "A1"
    assert judge_statement(statement, 0, hints=False).mistake is None


def test_a_definition_has_the_values_and_the_derivative_of_its_reference():
    assert judge_statement(definition(lambda x, W, b: W @ x + b), 0).verdict == "pass"
    ruling = judge_statement(definition(lambda x, W, b: W @ x - b), 0)
    assert ruling.verdict == "fail"
    assert ruling.found.startswith("its value differs by ")
    ruling = judge_statement(definition(lambda x, W, b: (W @ x)[:, None] + b), 0)
    said = "the formula has shape (3, 3), and what it defines has shape (3,), where N = 5, M = 3"
    assert (ruling.verdict, ruling.found) == (UNTYPABLE, said)
    assert judge_statement(definition(lambda x, W, b: W.T @ x + b), 0).verdict == UNTYPABLE


def test_without_compilation_a_definition_is_judged_by_its_shape_and_its_derivative():
    shifted, scaled = definition(lambda x, W, b: W @ x + b + 1), definition(lambda x, W, b: W @ x + 2 * b)
    assert [judge_statement(each, 0, compiled=False).verdict for each in (shifted, scaled)] == ["pass", "fail"]
    assert judge_statement(definition(lambda x, W, b: (W @ x)[:, None] + b), 0, compiled=False).verdict == UNTYPABLE


def test_what_is_given_is_not_recorded():

    class Heard(np.ndarray):
        pass

    def derivation(dy, cache):
        return type(dy), type(cache["x"][0])

    given = Given(derivation)
    heard = np.zeros(2).view(Heard)
    assert given(heard, {"x": (heard,)}) == (np.ndarray, np.ndarray)
    assert derivation(heard, {"x": (heard,)}) == (Heard, Heard)


def test_a_definition_with_a_wrong_derivation_fails():
    statement = Definition(np.sin, jnp.sin, lambda dy, args: (dy,), "x: 3")
    assert judge_statement(statement, 0).verdict == "fail"


def test_an_update_along_minus_the_gradient_passes():
    assert judge_statement(update(descent), 0).verdict == "pass"


def test_an_update_may_have_a_rate_for_every_entry():
    def rates(cache):
        return np.linspace(0.1, 0.3, len(cache[0]))

    def step(cache):
        return rates(cache) * descent(cache) / 0.1

    assert judge_statement(update(step, rates), 0).verdict == "pass"


def test_an_update_uphill_fails():
    ruling = judge_statement(update(lambda cache: -descent(cache)), 0)
    assert ruling.verdict == "fail"
    rise, fall = map(float, re.findall(r"\d\.\d+|\d+", ruling.found)[:2])
    assert ruling.found.startswith("along the step the loss rises by ")
    assert rise == fall


def test_an_update_that_falls_but_not_as_steeply_as_it_should_fails():
    ruling = judge_statement(update(lambda cache: descent(cache) / 2), 0)
    assert ruling.verdict == "fail"
    assert ruling.found.startswith("along the step the loss falls by ")


def test_an_update_that_falls_as_steeply_but_elsewhere_fails():
    """A step s with ⟨∇, s⟩ = −‖s‖²/η that is not −η ∇: Thales' circle has many of them."""

    def aside(cache):
        half = descent(cache) / 2
        turned = np.roll(half, 1)
        turned -= turned @ half / (half @ half) * half
        return half + turned * np.linalg.norm(half) / np.linalg.norm(turned)

    assert judge_statement(update(aside), 0).verdict == "fail"


def test_an_update_of_another_shape_has_no_type():
    ruling = judge_statement(update(lambda cache: np.zeros(2)), 0)
    assert (ruling.verdict, ruling.found) == (
        UNTYPABLE,
        "the formula has shape (2,), and w has shape (4,), where N = 4",
    )


def test_a_claim_says_what_was_seen_where_it_did_not_hold():
    assert judge_statement(Claim(lambda rng: (True, "unseen")), 0).found == ""
    ruling = judge_statement(Claim(lambda rng: (False, "seen")), 0)
    assert (ruling.verdict, ruling.found) == ("fail", "seen")


def test_the_generic_sizes_are_never_1():
    seen = set()

    def holds(dy, cache):
        seen.add(cache[1].shape)
        return dy

    for seed in range(10):
        judge_statement(gradient("b", holds), seed, compiled=False)
    assert seen == {(3, 5)}


def test_sizes_that_are_given_are_taken_and_the_others_are_drawn():
    seen = set()

    def holds(dy, cache):
        seen.add(cache[1].shape)
        return dy

    for sizes in ({"N": 1, "M": 1}, {"N": 1}):
        judge_statement(gradient("b", holds), 0, sizes=sizes, compiled=False)
    assert seen == {(1, 1), (3, 1)}


def test_a_function_makes_the_arguments_where_a_text_does_not_say_enough():
    seen = []

    def draw(rng, N):
        seen.append(N)
        return (np.arange(N) + rng.uniform(0.1, 0.9),)

    statement = Gradient(lambda x: (x**2, x), lambda dy, x: 2 * x * dy, "x", "N in 1 4", draw)
    assert judge_statement(statement, 0, compiled=False).verdict == "pass"
    assert seen == [4]


def test_the_shapes_of_the_forward_are_read_from_its_annotations():

    def forward(x: Annotated[np.ndarray, "N M"]):
        return x**2, x

    assert judge_statement(Gradient(forward, lambda dy, x: 2 * x * dy, "x"), 0).verdict == "pass"
    ruling = judge_statement(Gradient(forward, lambda dy, x: dy[0], "x"), 0)
    assert re.fullmatch(
        r"the formula has shape \(\d,\), and x has shape \(\d, \d\), where N = \d, M = \d", ruling.found
    )


def test_the_same_seed_gives_the_same_judgement():
    wrong = equation(gradient("b", lambda dy, cache: 2 * dy), corrected=gradient("b", lambda dy, cache: dy))
    first, again = (judge_equation(wrong, 7).to_dict() for _ in range(2))
    assert first == again
    assert (first["printed"]["verdict"], first["corrected"]["verdict"]) == ("fail", "pass")
    assert json.loads(json.dumps(first)) == first


def test_a_form_that_is_not_corrected_is_judged_once():
    judgement = judge_equation(equation(Claim(lambda rng: (True, ""))), 0)
    assert judgement.corrected is judgement.printed


def test_only_an_equation_is_judged():
    with pytest.raises(TypeError) as caught:
        judge_equation(3, 0)
    assert str(caught.value) == (
        "equation must be an Equation, but it is the int 3. Put its statement into a record first."
    )


def test_the_names_are_public():
    assert gradcheck.Equation is Equation
    assert gradcheck.judge_equation is judge_equation


# -- records that are none

BROKEN = {
    "no statement": (
        3,
        "a statement must be a Definition, a Gradient, an Update or a Claim, but it is the int 3. "
        "Put its functions into one of these records.",
    ),
    "no function": (
        Gradient(forward=lambda x: (x, x), formula="x", of="x", shapes="x: 3"),
        "Gradient.formula must be a function, but it is a str. Pass the function itself.",
    ),
    "no argument": (
        Gradient(forward=lambda x: (x, x), formula=lambda d, _: d, of="y", shapes="x: 3"),
        "Gradient.of must name arguments of <lambda> (x), but it holds 'y'. Choose among these.",
    ),
    "no shapes": (
        Gradient(lambda x: (x, x), lambda d, _: d, "x"),
        "shapes must say what x of <lambda> is, but neither it nor an annotation does. "
        'Write "x: N D" for an array, or "x in a b" for a setting.',
    ),
    "no text": (
        Gradient(lambda x: (x, x), lambda d, _: d, "x", {"n": (1, 2)}),
        "Gradient.shapes must be a text, but it is a dict with the keys 'n'. "
        'Write "x: N D, W: D M", or name the sizes that args= takes.',
    ),
    "a size that no function takes": (
        Gradient(lambda x: (x, x), lambda d, _: d, "x", "x: N", lambda rng, N: (rng.standard_normal(N),)),
        "shapes must name sizes alone where a function makes the arguments, but x is an argument.\n    x: N\n    ^",
    ),
    "no sizes that obey": (
        Gradient(lambda x: (x, x), lambda d, _: d, "x", "x: N; N < 1"),
        "shapes must obey N < 1, but no choice of N did so in 400 tries, in 'x: N; N < 1'. "
        "Name values, as in ; N in 2 3 5.",
    ),
    "no tuple": (
        Gradient(lambda x: (x, x), lambda d, _: d, "x", args=lambda rng: rng.standard_normal(3)),
        "args must return a tuple of arguments, but returned a float64 array of shape (3,). Return (x,) for one.",
    ),
    "no verdict": (
        Claim(lambda rng: rng.random()),
        "Claim.holds must return whether it held and what was seen, but returned the float 0.8444218515250481. "
        'Return a pair such as (True, "the largest gap was 1e-9").',
    ),
    "no loss": (
        Update(lambda x: (x, x), lambda x: -x, 1.0, "x", "x: 3"),
        "<lambda> must return a loss for an Update, but it returned a float64 array of shape (3,). "
        "Return a single number.",
    ),
}


@pytest.mark.parametrize(("statement", "message"), BROKEN.values(), ids=BROKEN)
def test_a_record_that_is_none_is_refused_in_words(statement, message):
    with pytest.raises((TypeError, ValueError)) as raised:
        judge_statement(statement, 0)
    told = str(raised.value)
    assert told.partition("returned the float")[0] == message.partition("returned the float")[0]


def test_a_formula_without_a_shape_has_no_type():
    statement = Gradient(lambda x: (x.sum(), x), lambda _dy, _x: [np.ones(2), np.ones(3)], "x", "x: 3")
    ruling = judge_statement(statement, 0)
    assert (ruling.verdict, ruling.found) == (UNTYPABLE, "the formula has no shape, and x has shape (3,)")


def test_a_forward_that_writes_into_its_arguments_does_not_reach_the_drawn_point():
    point = np.array([1.0, 2.0])

    def forward(x):
        x += 1
        return x.sum(), None

    judge_statement(Gradient(forward, lambda dy, _: dy * np.ones(2), "x", args=lambda _rng: (point,)), 0)
    assert point.tolist() == [1.0, 2.0]
