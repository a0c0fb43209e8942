"""The power of the check: every planted mistake is found, in the arguments that it makes wrong and in no other."""

from operator import attrgetter

import pytest

import derivations
from gradcheck import Verdict, autodiff, central_difference, complex_step, examine_backward, point
from gradcheck.arguments import Arguments
from gradcheck.verdict import locate
from tests.mutants import CHOICES, MISTAKES, Mistake, with_mistake

DERIVATIONS = {derivation.name: derivation for derivation in derivations.ALL}
AT_LEAST = 8


def generic_args(derivation):
    return point(derivation.spec, **CHOICES.get(derivation.name, {}))


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        pytest.param(name, each, id=f"{name}-{each.name.replace(' ', '-')}")
        for name, row in MISTAKES.items()
        for each in row
    ],
)
def test_every_oracle_finds_a_mistake_in_the_arguments_it_makes_wrong_and_in_no_other(name, mistake, monkeypatch):
    # Which entries are wrong is not asked here, and finding them takes most of the time.
    monkeypatch.setattr(locate, "BUDGET", 1)
    derivation = DERIVATIONS[name]
    args = generic_args(derivation)
    wrong = with_mistake(derivation.backward, mistake)
    for oracle in (central_difference, complex_step, autodiff(derivation.reference)):
        report = examine_backward(derivation.forward, wrong, args, oracle=oracle, wrt=derivation.wrt, seed=0)
        expected = {path: Verdict.FAIL if mistake.infects(path) else Verdict.PASS for path in report.arguments}
        assert report.verdict is Verdict.FAIL, str(report)
        assert {path: finding.verdict for path, finding in report.arguments.items()} == expected, str(report)


@pytest.mark.parametrize("derivation", derivations.ALL, ids=attrgetter("name"))
def test_the_right_backward_passes_where_its_mistakes_are_tried(derivation):
    oracles = (central_difference, complex_step, autodiff(derivation.reference))
    args = generic_args(derivation)
    report = examine_backward(derivation.forward, derivation.backward, args, oracle=oracles, wrt=derivation.wrt, seed=0)
    assert report.verdict is Verdict.PASS, str(report)


def test_every_derivation_has_at_least_eight_mistakes_of_different_names():
    assert set(MISTAKES) == set(DERIVATIONS)
    for name, row in MISTAKES.items():
        assert len({mistake.name for mistake in row}) == len(row) >= AT_LEAST, name


@pytest.mark.parametrize("derivation", derivations.ALL, ids=attrgetter("name"))
def test_every_gradient_is_made_wrong_by_some_mistake(derivation):
    moving = Arguments.of(derivation.forward, generic_args(derivation), derivation.wrt).layout.paths
    mistakes = MISTAKES[derivation.name]
    assert [path for path in moving if not any(mistake.infects(path) for mistake in mistakes)] == []


def double(x):
    return x + x


def test_a_mistake_whose_right_fragment_has_gone_is_refused():
    mistake = Mistake("gone", "3 * x", "x", ("x",))
    with pytest.raises(ValueError, match="once") as caught:
        with_mistake(double, mistake)
    assert str(caught.value) == (
        "double must hold '3 * x' once, but holds it 0 times. Adapt the mistake 'gone' to the new source."
    )


def test_a_mistake_whose_right_fragment_is_ambiguous_is_refused():
    with pytest.raises(ValueError, match="but holds it 3 times"):
        with_mistake(double, Mistake("ambiguous", "x", "y", ("x",)))
