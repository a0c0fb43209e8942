import numpy as np
import pytest

from benchmarks import failing


@pytest.mark.parametrize("name", failing.SIZES)
def test_every_derivation_has_its_mistakes_with_and_without_a_source_and_one_that_is_unknown(name):
    made = [(pair.mistake, pair.source) for pair in failing.pairs(name)]
    planted = [(mistake, source) for mistake in failing.PLANTED[name] for source in (True, False)]
    assert made == [*planted, (failing.UNKNOWN, True)]


def test_a_cost_counts_the_calls_and_names_what_is_found_only_with_hints():
    pair = next(failing.pairs("affine"))
    hinted, plain = (failing.cost(pair, pair.wrong, 1, hints=hints) for hints in (True, False))
    assert (hinted.named, plain.named) == ("B1", "–")
    assert hinted.evaluations == plain.evaluations > 10
    assert np.isfinite(hinted.seconds)


def test_a_pair_that_costs_too_much_ends_the_run_with_1(monkeypatch, capsys):
    monkeypatch.setitem(failing.PLANTED, "affine", failing.PLANTED["affine"][:1])
    monkeypatch.setattr(failing, "RATIO", 0.0)
    assert failing.main(["--only", "affine", "--repeats", "1"]) == 1
    monkeypatch.setattr(failing, "RATIO", np.inf)
    assert failing.main(["--only", "affine", "--repeats", "1"]) == 0
    assert "affine: dW transposed, source" in capsys.readouterr().out
