import numpy as np
import pytest

from gradcheck.oracles import Estimate
from gradcheck.trees import Layout
from gradcheck.verdict.case import Case
from gradcheck.verdict.probes import Probe
from gradcheck.verdict.search import Search, SpentError, wrong


def search_of(mask, budget=96, noise=1e-12):
    """Return a search for the entries of ``mask``, which are wrong by 1, and the list of the tangents it probes."""
    tangents = []

    def measure(v):
        tangents.append(v.reshape(mask.shape))
        return Estimate(0.0, noise)

    layout = Layout(("b", "x"), ((0,), mask.shape), (np.dtype(float),) * 2)
    none = np.zeros(mask.size)
    case = Case(mask.ravel().astype(float), none, layout, (0, 1), measure, lambda: (none, none), None, None,
                np.random.default_rng(0))  # fmt: skip
    return Search(case, 1, budget), tangents


def planted(shape, index):
    mask = np.zeros(shape, dtype=bool)
    mask[index] = True
    return mask


def test_a_group_is_moved_by_signs_of_unequal_size_and_nothing_else_is():
    search, tangents = search_of(planted((6, 7), np.s_[2:]))
    assert search.holds(np.arange(10, 30))
    (moved,) = tangents
    assert np.flatnonzero(moved).tolist() == list(range(10, 30))
    sizes = np.abs(moved.ravel()[10:30])
    assert ((sizes >= 0.5) & (sizes <= 1.5)).all()
    assert len(set(sizes)) == 20
    assert set(np.sign(moved.ravel()[10:30])) == {-1.0, 1.0}


def test_an_entry_is_looked_at_once():
    search, tangents = search_of(planted((3, 4), 1))
    assert wrong(search.look(5))
    assert wrong(search.look(5))
    assert len(tangents) == 1
    assert tangents[0][1, 1] == 1.0


def test_no_probe_is_made_beyond_the_budget():
    search, tangents = search_of(planted((30, 40), 1), budget=3)
    with pytest.raises(SpentError):
        search.narrow()
    assert (len(tangents), search.spent, search.left) == (3, 3, 0)


def test_the_first_entries_looked_at_meet_both_ends_and_every_index_of_a_short_axis():
    search, tangents = search_of(planted((5, 100), ...))
    search.sample(12)
    rows, columns = np.nonzero(np.sum(tangents, axis=0))
    assert set(rows) == set(range(5))
    assert {0, 99} <= set(columns)


def test_two_of_the_first_entries_looked_at_are_corners():
    search, tangents = search_of(planted((5, 100), ...))
    search.sample(12)
    assert tangents[0][0, 0] == tangents[1][-1, -1] == 1.0


def test_halving_costs_one_probe_a_level():
    search, tangents = search_of(planted((1024,), 333))
    group, rest = search.find(np.arange(1024), lambda numbers: numbers)
    assert group.tolist() == [333]
    assert len(tangents) == 10
    assert not search.holds(rest)


@pytest.mark.parametrize("index", [0, 333, 1023, 1024, 99_999])
def test_a_single_wrong_entry_is_weighed_in_three_probes(index):
    search, tangents = search_of(planted((100_000,), index))
    assert search.weigh().tolist() == [index]
    light, heavy, rest = tangents
    assert np.flatnonzero(rest == 0).tolist() == [index]
    assert np.shares_memory(heavy, light)  # an array of that size is not made twice
    assert not search.undecided


def test_a_faint_wrong_entry_is_weighed_among_fewer_and_fewer():
    search, tangents = search_of(planted((100_000,), 54_321), noise=1e-4)
    found = search.weigh()
    assert found.tolist() == [54_321]
    assert [np.count_nonzero(moved) for moved in tangents[::2]][:2] == [100_000, np.count_nonzero(tangents[2])]
    assert len(tangents) <= 9


def test_nothing_is_weighed_where_nothing_is_wrong_and_no_array_comes_of_two_wrong_entries():
    search, tangents = search_of(np.zeros(1000, dtype=bool))
    assert search.weigh().tolist() == []
    assert len(tangents) == 1
    for pair in ([3, 700], [10, 11], [0, 999]):
        assert search_of(planted((1000,), pair))[0].weigh() is None


def test_right_entries_are_looked_at_together_and_each_is_known():
    search, tangents = search_of(planted((200, 300), (7, 8)))
    assert not search.sample(12)
    assert len(tangents) == 2
    assert len(search.singles) == 12
    assert not any(wrong(one) for one in search.singles.values())


def test_an_axis_is_narrowed_to_the_indices_that_hold_a_wrong_entry():
    for index, expected in (
        (7, [7]),
        (np.s_[7:30], range(7, 30)),
        (np.s_[3::4], range(3, 40, 4)),
        ([0, 39], [0, 39]),
        (np.s_[:], range(40)),
    ):
        search, _ = search_of(planted((40, 30), index))
        search.narrow_axis(0)
        assert search.box[0].tolist() == list(expected)
        assert search.box[1].tolist() == list(range(30))


def test_only_a_finite_probe_without_a_kink_that_disagrees_is_wrong():
    assert wrong(Probe(2.0, 1.0, 1e-9, 0.0))
    assert not wrong(Probe(2.0, 1.0, 1e-9, 0.1))
    assert not wrong(Probe(2.0, 1.0, 2.0, 0.0))
    assert not wrong(Probe(2.0, np.nan, np.inf, 0.0))
    assert not wrong(Probe(np.inf, 1.0, 1e-9, 0.0))
