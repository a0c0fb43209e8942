import math
from dataclasses import replace

import numpy as np
import pytest

from gradcheck import Verdict
from gradcheck.arguments import Arguments
from gradcheck.oracles import Estimate
from gradcheck.pairing import Pairing
from gradcheck.report import Finding
from gradcheck.verdict.case import Case
from gradcheck.verdict.crossexamine import cross_examine

RIGHT = Finding(Verdict.PASS, (3,), 1e-12, 1e-9)
WRONG = Finding(Verdict.FAIL, (3,), 1.0, math.inf)
UNDECIDED = Finding(Verdict.INCONCLUSIVE, (3,), 0.1, 0.5, reason="too noisy")


def case_whose_oracle_says(slope, error=1e-9, claimed=1.0):
    """Return a case of one leaf: the gradient is ``claimed`` everywhere, and the oracle measures ``slope``."""
    forward = lambda x: (x.sum(), None)  # noqa: E731
    arguments = Arguments.of(forward, (np.ones(3),))
    return Case(
        gradient=np.full(3, claimed),
        point=arguments.point,
        layout=arguments.layout,
        judged=(0,),
        pushforward=lambda v: Estimate(slope * v.sum(), error),
        rounding=lambda: (np.zeros(3), np.zeros(3)),
        pairing=Pairing.at_point(forward, arguments, 1.0),
        tol=None,
        rng=np.random.default_rng(0),
    )


def examined(findings, slopes=None):
    slopes = slopes or dict.fromkeys(findings, 1.0)
    return cross_examine(0, findings, {name: case_whose_oracle_says(slope) for name, slope in slopes.items()})


def test_where_all_oracles_agree_the_sharpest_bound_counts():
    sharp = replace(RIGHT, bound=1e-13)
    assert examined({"one": RIGHT, "other": sharp}) is sharp


@pytest.mark.parametrize("finding", [RIGHT, WRONG, UNDECIDED])
def test_a_single_oracle_has_the_last_word(finding):
    assert examined({"one": finding}) is finding


def test_a_kink_that_one_oracle_saw_is_kept_for_all():
    kinked = replace(UNDECIDED, conventions=1)
    assert examined({"one": WRONG, "other": kinked}) is kinked


def test_a_breach_of_contract_needs_no_majority():
    breach = replace(WRONG, error=math.nan)
    assert examined({"one": breach, "other": breach}) is breach


def test_an_oracle_too_blunt_to_see_the_error_does_not_defend_the_claim():
    slight, blunt = replace(WRONG, error=1e-5), replace(RIGHT, bound=1e-3)
    assert examined({"sharp": slight, "blunt": blunt}) is slight


def test_a_claim_that_stands_alone_is_wrong():
    assert examined({"one": WRONG, "other": WRONG}, {"one": 2.0, "other": 2.0}) is WRONG


def test_an_oracle_that_stands_alone_decides_nothing_and_is_named():
    finding = examined({"liar": WRONG, "other": RIGHT}, {"liar": 2.0, "other": 1.0})
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == (
        "the oracles contradict each other: liar stands alone against the claimed gradient and other"
    )


def test_where_all_sides_differ_nothing_is_decided():
    finding = examined({"one": WRONG, "other": WRONG}, {"one": 2.0, "other": 3.0})
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "the oracles contradict each other: the claimed gradient, one, other all differ"


def test_one_of_three_oracles_that_lies_is_named():
    findings = {"one": RIGHT, "liar": WRONG, "other": RIGHT}
    finding = examined(findings, {"one": 1.0, "liar": 5.0, "other": 1.0})
    assert finding.reason == (
        "the oracles contradict each other: liar stands alone against the claimed gradient and one and other"
    )


def test_an_oracle_that_could_not_decide_is_the_finding_where_nothing_contradicts():
    assert examined({"one": UNDECIDED, "other": RIGHT}) is UNDECIDED
