import dataclasses

import numpy as np
import pytest

from benchmarks import ledger
from derivations.ledger import EQUATIONS
from gradcheck.equations.equation import Claim

SIZED = [each for each in EQUATIONS if not isinstance(each.corrected or each.printed, Claim)]


@pytest.mark.parametrize("equation", SIZED, ids=lambda each: each.id)
def test_every_record_with_sizes_has_fifty_shapes_and_no_two_are_alike(equation):
    held = list(ledger.at_distinct_shapes(equation.corrected or equation.printed, ledger.SHAPES))
    shapes = {ledger.shape_of(each, {name: value for name, (value,) in each.structure.items()}) for each in held}
    assert len(shapes) == len(held) == ledger.SHAPES


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


def test_whole_numbers_are_filled_in_and_words_are_not():
    assert list(ledger.between((1, 4))) == [1, 2, 3, 4]
    assert ledger.between(("each", "mean")) == ("each", "mean")
    assert np.size(ledger.between((True, False))) == 2
