import numpy as np

from gradcheck.verdict.outlines import Every, Shell, Triangle, Where, outlines, tables


def mask(outline, shape):
    return outline.has(np.arange(np.prod(shape))).reshape(shape)


def test_a_shell_holds_the_ends_of_any_of_its_axes():
    shape = (3, 4, 5)
    border = mask(Shell({1: np.array([0, 3]), 2: np.array([0, 4])}, shape), shape)
    expected = np.ones(shape, dtype=bool)
    expected[:, 1:-1, 1:-1] = False
    assert np.array_equal(border, expected)


def test_a_triangle_is_one_of_two_axes_at_every_index_of_the_others():
    shape = (4, 2, 4)
    off = mask(Triangle(0, 2, 7, shape), shape)
    assert np.array_equal(off, np.broadcast_to(~np.eye(4, dtype=bool)[:, None], shape))


def test_every_nth_entry_is_counted_in_memory_order():
    assert np.flatnonzero(mask(Every(1, 3), (2, 4))).tolist() == [1, 4, 7]


def test_of_two_outlines_of_which_one_holds_the_other_the_smaller_comes_first():
    shape = (4, 5, 5)
    masks = [mask(each, shape) for each in outlines([np.arange(n) for n in shape], shape)]
    shells = [m for m, each in zip(masks, outlines([np.arange(n) for n in shape], shape), strict=True)
              if isinstance(each, Shell)]  # fmt: skip
    triangles = masks[: len(masks) - len(shells) - 9]
    for family in (shells, triangles):
        for later, larger in enumerate(family):
            assert not any(np.all(m <= larger) and np.any(m < larger) for m in family[later + 1 :])


def test_outlines_lie_in_the_box():
    box = [np.array([2, 4, 5]), np.array([1]), np.array([0, 3, 6, 9])]
    shells = [each for each in outlines(box, (7, 2, 10)) if isinstance(each, Shell)]
    assert [{axis: ends.tolist() for axis, ends in each.ends.items()} for each in shells] == [
        {0: [2], 2: [0]},
        {0: [5], 2: [9]},
        {0: [2, 5], 2: [0, 9]},
    ]


def test_the_entries_of_a_mask_are_those_where_it_is_true():
    given = np.random.default_rng(0).random((3, 4)) < 0.5
    assert np.array_equal(mask(Where(given), (3, 4)), given)


def test_tables_come_with_few_cells_first_and_last_that_of_every_entry():
    shape = (6, 5, 1, 4)
    every = tables([np.arange(n) for n in shape], shape)
    assert [table.axes for table in every] == [(1, 3), (0, 3), (0, 1), (0, 1, 2, 3)]
    cells = every[0].cells(np.arange(np.prod(shape)))
    assert np.array_equal(np.unique(cells), np.arange(20))
    assert np.array_equal(cells.reshape(shape)[2], cells.reshape(shape)[5])
