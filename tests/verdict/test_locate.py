from dataclasses import replace

import numpy as np
import pytest

from gradcheck import examine_backward
from gradcheck.oracles import Estimate
from gradcheck.trees import Layout
from gradcheck.verdict import locate
from gradcheck.verdict.case import Case


def case_of(mask, seed=0, *, factor=None, measure=None):
    """Return the case of a linear function whose gradient is wrong in the entries of ``mask``, and nowhere else."""
    rng = np.random.default_rng((seed, 1))
    true = rng.standard_normal(mask.size)
    wrong = true + rng.uniform(0.01, 2, mask.size) * rng.choice((-1, 1), mask.size) if factor is None else factor * true

    def exact(v):
        return Estimate(float(true @ v), 1e-10 * float(np.linalg.norm(true * v)))

    return Case(
        gradient=np.where(mask.ravel(), wrong, true),
        point=np.ones(mask.size),
        layout=Layout(("x",), (mask.shape,), (np.dtype(float),)),
        judged=(0,),
        pushforward=measure(exact) if measure else exact,
        rounding=lambda: (np.zeros(mask.size), np.zeros(mask.size)),
        pairing=None,
        tol=None,
        rng=np.random.default_rng((seed, 2)),
    )


def planted(shape, *indices):
    mask = np.zeros(shape, dtype=bool)
    for index in indices:
        mask[index] = True
    return mask


def border(shape):
    return ~planted(shape, (..., slice(1, -1), slice(1, -1)))


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
    assert [entry.name for entry in finding.wrong_entries] == ["dx[0]"]
    assert finding.error == pytest.approx(1.0, rel=0.5)


def test_the_only_entry_of_a_leaf_is_named_without_an_index():
    x = np.array(0.7)
    report = examine_backward(sine, lambda dy, x: np.asarray(2 * dy * np.cos(x)), (x,), seed=0)
    assert [entry.name for entry in report.arguments["x"].wrong_entries] == ["dx"]


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (planted((3, 4), np.s_[:, 0]), "dx[:, 0]: only the first step of axis 1; 3 of 12 entries"),
        (planted((20, 30), np.s_[3, :]), "dx[3, :]; 30 of 600 entries"),
        (planted((20, 300), np.s_[3, :]), "dx[3, :]; all 9 entries looked at are wrong"),
        (planted((40, 50), np.s_[:, 1:]), "dx[:, 1:]; all 18 entries looked at are wrong"),
        (planted((40, 50), np.s_[:, :-1]), "all but dx[:, -1]; all 18 entries looked at are wrong"),
        (
            planted((40, 50), np.s_[:, ::2]),
            "dx[:, ::2]: every second step of axis 1; all 14 entries looked at are wrong",
        ),
        (planted((40, 50), np.s_[10:20, 7:]), "dx[10:20, 7:]; all 9 entries looked at are wrong"),
        (planted((6, 5, 12, 12), np.s_[:, 2]), "dx[:, 2, :, :]; all 11 entries looked at are wrong"),
        (border((6, 5, 12, 13)), "the border of dx (axes 2 and 3); all 10 entries looked at are wrong"),
        (~planted((6, 9, 9), np.s_[:, :-1, :-1]), "all but dx[:, :-1, :-1]; all 9 entries looked at are wrong"),
        (np.eye(30, dtype=bool), "the diagonal of dx; all 10 entries looked at are wrong"),
        (~np.eye(30, dtype=bool), "dx off the diagonal; all 24 entries looked at are wrong"),
        (np.tril(np.ones((30, 30), dtype=bool), -1), "dx below the diagonal; all 15 entries looked at are wrong"),
        (planted((40, 50), (3, 4), (17, 30)), "dx[3, 4], dx[17, 30]; 2 of 2000 entries"),
        (planted((40, 50), ...), "every entry of dx that was looked at (12 of 2000)"),
        (planted((5, 6), ...), "every entry of dx; 30 of 30 entries"),
    ],
)
def test_a_region_is_named_as_a_person_would(mask, said):
    found = locate.locate(case_of(mask, factor=1.5), 0)
    assert str(found) == said
    assert found.complete
    assert np.array_equal(found.mask, mask)
    assert all(mask.flat[entry.index] for entry in found.entries)


def linked(*shape, share=0.5, seed=0):
    """Return a table of links among the first two axes, the same for every entry of the others."""
    table = np.random.default_rng(seed).random(shape[:2]) < share
    return np.broadcast_to(table.reshape(*shape[:2], *[1] * (len(shape) - 2)), shape).copy()


def test_a_table_over_two_axes_is_found_cell_by_cell():
    mask = linked(6, 5, 8, 9)
    found = locate.locate(case_of(mask), 0)
    assert np.array_equal(found.mask, mask)
    assert found.complete
    assert found.probes < locate.BUDGET


def test_what_is_wrong_wherever_the_gradient_is_not_zero_is_called_so():
    active = np.random.default_rng(1).random((40, 50)) < 0.3
    case = case_of(active, 1)
    case.gradient[~active.ravel()] = 0.0
    true = case.gradient / 3 * active.ravel()
    found = locate.locate(replace(case, pushforward=lambda v: Estimate(float(true @ v), 1e-12)), 0)
    assert found.regions == ("dx where it is not zero",)
    assert found.complete
    assert np.array_equal(found.mask, active)
    assert found.probes <= 40


def test_an_entry_that_is_zero_and_right_is_no_part_of_everything():
    case = case_of(planted((40, 50), ...))
    wrong = ~planted((40, 50), (3, 4), (17, 30))
    true = np.where(wrong.ravel(), 2 * case.gradient, 0.0)
    case.gradient[~wrong.ravel()] = 0.0
    found = locate.locate(replace(case, pushforward=lambda v: Estimate(float(true @ v), 1e-12)), 0)
    assert np.array_equal(found.mask, wrong)


def test_a_table_that_is_not_the_same_everywhere_is_not_called_complete():
    mask = linked(6, 5, 8, 9)
    mask[np.random.default_rng(1).random(mask.shape) < 0.3] ^= True
    found = locate.locate(case_of(mask), 0)
    assert not found.complete
    assert found.regions[0].startswith("some entries of dx")


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (np.s_[:, :, [[0], [-1]], [0, -1]], "all but dx[:, :, [0, -1], [0, -1]]"),
        (np.s_[:, :, 0, 0], "all but dx[:, :, 0, 0]"),
    ],
)
def test_corners_that_are_right_are_left_out(right, said):
    found = locate.locate(case_of(~planted((3, 5, 12, 14), right)), 0)
    assert found.regions == (said,)
    assert found.complete


def test_a_small_box_of_scattered_entries_is_looked_at_whole():
    mask = np.zeros((9, 9), dtype=bool)
    mask[:-1, 3:] = np.random.default_rng(0).random((8, 6)) < 0.4
    found = locate.locate(case_of(mask), 0)
    assert np.array_equal(found.mask, mask)
    assert found.count == mask.sum()


KINDS = {
    "entry": lambda rng, shape: planted(shape, tuple(rng.integers(shape))),
    "slab": lambda rng, shape: slab(rng, shape, rng.integers),
    "first": lambda rng, shape: slab(rng, shape, lambda n: 0),
    "last": lambda rng, shape: slab(rng, shape, lambda n: -1),
    "all but the first": lambda rng, shape: slab(rng, shape, lambda n: np.s_[1:]),
    "all but the last": lambda rng, shape: slab(rng, shape, lambda n: np.s_[:-1]),
    "every second": lambda rng, shape: slab(rng, shape, lambda n: np.s_[rng.integers(2) :: 2]),
    "two": lambda rng, shape: slab(rng, shape, lambda n: rng.choice(n, 2, replace=False)),
    "block": lambda rng, shape: planted(
        shape, tuple(np.s_[min(ab) : max(ab) + 1] for ab in rng.integers(shape, size=(2, len(shape))).T)
    ),
    "border": lambda rng, shape: ~planted(shape, (*[np.s_[:]] * (len(shape) - 2), *[np.s_[1:-1]] * min(2, len(shape)))),
    "remainder": lambda rng, shape: (
        ~planted(shape, (*[np.s_[:]] * (len(shape) - 2), *[np.s_[:-1]] * min(2, len(shape))))
    ),
    "sparse": lambda rng, shape: planted(shape, np.unravel_index(rng.choice(np.prod(shape), 3, replace=False), shape)),
    "everything": lambda _rng, shape: planted(shape, ...),
}
EXACT = 0.95
CASES = 12


def slab(rng, shape, index):
    mask = np.zeros(shape, dtype=bool)
    axis = rng.integers(len(shape))
    np.moveaxis(mask, axis, 0)[index(shape[axis])] = True
    return mask


def draw_shape(rng):
    axes = rng.integers(1, 5)
    return tuple(int(n) for n in np.exp(rng.uniform(np.log(3), np.log({1: 20_000, 2: 150, 3: 30, 4: 14}[axes]), axes)))


def test_of_regions_of_every_kind_nearly_all_are_found_exactly_and_none_is_claimed_wrongly():
    exact = 0
    for number, (kind, plant) in enumerate(KINDS.items()):
        for seed in range(CASES):
            rng = np.random.default_rng((seed, number))
            mask = plant(rng, draw_shape(rng))
            found = locate.locate(case_of(mask, seed), 0)
            same = np.array_equal(found.mask, mask)
            exact += same
            assert found.probes <= locate.BUDGET
            assert same or not found.complete, (kind, seed, str(found))
            assert all(mask.flat[entry.index] for entry in found.entries)
    assert exact >= EXACT * CASES * len(KINDS)


@pytest.mark.parametrize("shape", [(1_000_000,), (1000, 1000), (50, 16, 25, 50)])
def test_one_wrong_entry_among_a_million_takes_no_more_than_ten_probes(shape):
    place = tuple(np.random.default_rng(3).integers(shape))
    found = locate.locate(case_of(planted(shape, place)), 0)
    assert str(found) == f"dx[{', '.join(map(str, place))}]; 1 of 1000000 entries"
    assert found.complete
    assert found.probes <= 10


def test_where_everything_is_wrong_a_few_probes_say_so():
    found = locate.locate(case_of(planted((200, 300), ...), factor=-1.0), 0)
    assert found.regions == ("every entry of dx that was looked at (12 of 60000)",)
    assert (found.count, found.complete, found.looked) == (None, True, 12)
    assert found.probes <= 20


def test_the_worst_entry_of_a_region_is_looked_for():
    case = case_of(planted((100, 50), np.s_[:, 7:]), factor=1.01)
    case.gradient[50 * 31 + 20] += 40.0
    found = locate.locate(case, 0)
    assert found.regions == ("dx[:, 7:]",)
    assert found.entries[0].name == "dx[31, 20]"


@pytest.mark.parametrize("shape", [(3000,), (60, 70), (9, 8, 7, 6)])
def test_the_worst_entry_is_looked_for_where_the_wrong_ones_have_no_shape(shape):
    scattered = np.random.default_rng(0).random(shape) < 0.4
    worst = int(np.flatnonzero(scattered)[777])
    case = case_of(scattered)
    case.gradient[worst] += 1000.0
    found = locate.locate(case, 0)
    assert found.regions[0].startswith("some entries of dx")
    assert (found.count, found.complete) == (None, False)
    assert found.entries[0].index == worst


def test_an_entry_that_is_off_by_less_than_its_bound_is_not_wrong():
    case = case_of(planted((5, 6), (2, 3)), factor=1 + 1e-11)
    found = locate.locate(case, 0)
    assert (str(found), found.count, found.entries) == ("no entry on its own", 0, ())


def test_nothing_is_found_where_the_probe_of_everything_agrees():
    found = locate.locate(case_of(planted((50, 60))), 0)
    assert (str(found), found.count, found.probes) == ("no entry on its own", 0, 3)


def kinked_at(number):
    def measure(exact):
        return lambda v: exact(v)._replace(kink=100.0 if v[number] else 0.0)

    return measure


def lost_at(number):
    def measure(exact):
        return lambda v: Estimate(np.nan, np.inf) if v[number] else exact(v)

    return measure


@pytest.mark.parametrize("measure", [kinked_at, lost_at])
@pytest.mark.parametrize("shape", [(5, 6), (20, 30)])
def test_an_entry_at_a_kink_or_without_a_value_is_not_called_wrong(shape, measure):
    found = locate.locate(case_of(planted(shape, (2, 3), (4, 5)), measure=measure(2 * shape[1] + 3)), 0)
    assert [entry.name for entry in found.entries] == ["dx[4, 5]"]
    assert not found.complete
    assert found.count is None


def test_what_was_found_before_the_budget_ends_is_told(monkeypatch):
    monkeypatch.setattr(locate, "BUDGET", 40)
    found = locate.locate(case_of(np.random.default_rng(0).random((60, 70)) < 0.01), 0)
    assert str(found) == "some entries of dx[:, 1:-1]; 1 of the 19 entries looked at are wrong"
    assert (found.probes, found.complete, found.count) == (40, False, None)


def test_where_nothing_has_a_value_nothing_is_called_wrong():
    found = locate.locate(case_of(planted((40, 50), 3), measure=lambda _exact: lambda _v: Estimate(np.nan, np.inf)), 0)
    assert (found.entries, found.complete, found.count) == ((), False, None)
    assert found.probes <= locate.BUDGET


def test_the_seed_decides_every_draw():
    first, again = (str(locate.locate(case_of(border((30, 40)), 5), 0)) for _ in range(2))
    assert first == again


def test_wrong_entries_are_all_of_them_only_where_each_was_looked_at():
    entries, all_of_them = locate.wrong_entries(case_of(planted((20, 6), np.s_[13])), 0)
    assert {entry.name for entry in entries} == {f"dx[13, {column}]" for column in range(6)}
    assert all_of_them
    assert not locate.wrong_entries(case_of(planted((20, 600), np.s_[13])), 0)[1]
