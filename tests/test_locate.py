import numpy as np
import pytest

from gradcheck import examine_backward, locate


def sine(x):
    return np.sin(x), x


def cosine_but(change):
    """Return the backward of a sine with ``change`` made to its gradient."""

    def backward(dy, x):
        dx = dy * np.cos(x)
        change(dx)
        return dx

    return backward


def examined(x, change, seed=0):
    return examine_backward(sine, cosine_but(change), (x,), seed=seed).arguments["x"]


def scaled(index, factor):
    def change(dx):
        dx[index] *= factor

    return change


def test_one_wrong_entry_among_a_hundred_thousand_is_the_only_one_named():
    def wrong(dy, x):
        dx = 2 * dy * x
        dx[54_321] *= 3
        return dx

    x = np.random.default_rng(1).uniform(0.5, 1, 100_000)
    finding = examine_backward(lambda x: (x * x, x), wrong, (x,), seed=0).arguments["x"]
    assert [entry.name for entry in finding.wrong_entries] == ["dx[54321]"]
    assert finding.worst.claimed == pytest.approx(3 * finding.worst.measured, rel=1e-6)


@pytest.mark.parametrize("index", [0, 1, 499, 998])
def test_one_wrong_entry_is_found_wherever_it_is(index):
    x = np.random.default_rng(1).uniform(-1, 1, 999)
    finding = examined(x, scaled(index, 3.0))
    assert [entry.name for entry in finding.wrong_entries] == [f"dx[{index}]"]
    assert finding.worst.error < 1e-6 * abs(finding.worst.measured)


def test_a_wrong_row_is_named_entry_by_entry():
    x = np.random.default_rng(1).standard_normal((20, 6))
    finding = examined(x, scaled(13, 2.0))
    assert {entry.name for entry in finding.wrong_entries} == {f"dx[13, {column}]" for column in range(6)}
    assert finding.error == pytest.approx(np.linalg.norm(np.cos(x[13])) / np.linalg.norm(np.cos(x)), rel=2)


def test_a_wrong_column_is_named_entry_by_entry():
    x = np.random.default_rng(1).standard_normal((9, 6))
    finding = examined(x, scaled((slice(None), 4), 2.0))
    assert {entry.name for entry in finding.wrong_entries} == {f"dx[{row}, 4]" for row in range(9)}


def test_where_all_entries_are_wrong_all_are_named_worst_first():
    x = np.random.default_rng(1).standard_normal((4, 5))
    finding = examined(x, scaled(..., 1.5))
    apart = [abs(entry.claimed - entry.measured) for entry in finding.wrong_entries]
    assert len(apart) == 20
    assert apart == sorted(apart, reverse=True)
    assert finding.error == pytest.approx(0.5, rel=1e-6)


def test_a_budget_that_ends_leaves_the_worst_entries_named_and_the_size_of_the_error_estimated():
    x = np.random.default_rng(1).uniform(-1, 1, 5000)

    def change(dx):
        dx *= 1.01
        dx[777] += 50.0

    finding = examined(x, change)
    assert 0 < len(finding.wrong_entries) < 5000
    assert finding.worst.name == "dx[777]"
    assert finding.error == pytest.approx(50 / np.linalg.norm(np.cos(x)), rel=1.0)


def test_no_more_probes_are_spent_than_the_budget_allows(monkeypatch):
    monkeypatch.setattr(locate, "BUDGET", 1)
    x = np.random.default_rng(1).standard_normal(8)
    finding = examined(x, scaled(..., 2.0))
    assert finding.wrong_entries == ()
    assert finding.error == pytest.approx(1.0, rel=0.5)


def test_the_only_entry_of_a_leaf_is_named_without_an_index():
    x = np.array(0.7)
    report = examine_backward(sine, lambda dy, x: np.asarray(2 * dy * np.cos(x)), (x,), seed=0)
    assert [entry.name for entry in report.arguments["x"].wrong_entries] == ["dx"]
