import dataclasses

import pytest

from benchmarks import ledger
from derivations.ledger import EQUATIONS
from gradcheck.equations.equation import Claim
from gradcheck.equations.statement import specification

SIZED = [each for each in EQUATIONS if not isinstance(each.corrected or each.printed, Claim)]


@pytest.mark.parametrize("equation", SIZED, ids=lambda each: each.id)
def test_every_record_with_sizes_has_several_shapes_and_no_two_are_alike(equation):
    statement = equation.corrected or equation.printed
    held = list(ledger.at_distinct_shapes(statement, 10))
    shapes = {ledger.shape_of(specification(statement), sizes) for sizes in held}
    assert len(shapes) == len(held) == 10


def test_a_record_with_two_sizes_or_more_has_fifty_shapes_and_one_with_a_single_size_all_that_there_are():
    two, one = (next(each for each in EQUATIONS if each.id == name).printed for name in ("002-6", "002-2a"))
    assert len(list(ledger.at_distinct_shapes(two, ledger.SHAPES))) == ledger.SHAPES
    assert len(list(ledger.at_distinct_shapes(one, ledger.SHAPES))) == 17


def test_a_record_is_judged_at_each_shape_by_every_oracle():
    row = ledger.judge("002-6", 2)
    assert (row.judged, row.shapes, row.failures) == (2, 2, ())
    assert row.oracles == ("central_difference", "complex_step", "autodiff")


def test_a_form_that_does_not_pass_is_told_with_its_seed_and_sizes(monkeypatch):
    wrong = next(each for each in EQUATIONS if each.corrected and each.id == "001-3.4f")
    row = ledger.judge(wrong.id, 1)
    assert not row.failures
    monkeypatch.setattr(ledger, "EQUATIONS", (dataclasses.replace(wrong, corrected=None),))
    row = ledger.judge(wrong.id, 1)
    assert len(row.failures) == 1
    assert row.failures[0].startswith("001-3.4f, seed 0, ")
    assert " 0/1 " in ledger.told(row)
