import itertools
import re

import numpy as np
import pytest

from gradcheck.verdict.regions import mask_of, name_entries, name_span

TRIANGLES = {
    "{} above the diagonal": lambda m: np.triu(m, 1),
    "{} below the diagonal": lambda m: np.tril(m, -1),
    "{} on and above the diagonal": np.triu,
    "{} on and below the diagonal": np.tril,
    "{} off the diagonal": lambda m: m & ~np.eye(*m.shape, dtype=bool),
    "the diagonal of {}": lambda m: m & np.eye(*m.shape, dtype=bool),
    "the diagonal just above that of {}": lambda m: m & np.eye(*m.shape, 1, dtype=bool),
    "the diagonal just below that of {}": lambda m: m & np.eye(*m.shape, -1, dtype=bool),
}


def planted(shape, *indices):
    mask = np.zeros(shape, dtype=bool)
    for index in indices:
        mask[index] = True
    return mask


def but(mask):
    return ~mask


def border(shape, axes, width=1):
    middle = tuple(slice(width, -width) if axis in axes else slice(None) for axis in range(len(shape)))
    return ~planted(shape, middle)


def read(name, shape):
    """Return the mask of an array or matrix that a name means, by the rules of Python and of English."""
    name = re.sub(r": (only the|the first|every) .*$", "", name)
    everything = np.ones(shape, dtype=bool)
    for words, triangle in TRIANGLES.items():
        if name == words.format("dx"):
            return triangle(everything)
    if name == "every entry of dx":
        return everything
    if name.startswith("all but "):
        return ~read(name.removeprefix("all but "), shape)
    if " but not " in name:
        outer, inner = name.split(" but not ")
        return read(outer, shape) & ~read(inner, shape)
    if name == "the border of dx":
        return border(shape, range(len(shape)))
    if name.startswith("the border of dx["):
        outer = read(name.removeprefix("the border of "), shape)
        rows, columns = (np.flatnonzero(outer.any(axis=axis)) for axis in (1, 0))
        outer[np.ix_(rows[1:-1], columns[1:-1])] = False
        return outer
    mask = np.zeros(shape, dtype=bool)
    if name.startswith("dx.flat["):
        mask.flat[eval(name.removeprefix("dx.flat").replace("[", "np.s_[", 1))] = True  # noqa: S307  (our own words)
        return mask
    index = eval(f"np.s_{name.removeprefix('dx')}")  # noqa: S307  (likewise)
    index = index if isinstance(index, tuple) else (index,)
    lists = [np.atleast_1d(np.arange(n)[each]) for each, n in zip(index, shape, strict=True)]
    mask[np.ix_(*lists)] = True
    return mask


@pytest.mark.parametrize("shape", [(7,), (2, 3), (3, 3), (2, 4), (5, 2), (1, 4)])
def test_the_names_of_every_set_of_entries_of_a_small_array_mean_that_set(shape):
    for bits in itertools.product((False, True), repeat=int(np.prod(shape))):
        mask = np.array(bits).reshape(shape)
        meant = np.zeros(shape, dtype=bool)
        for name in name_entries("dx", mask):
            meant |= read(name, shape)
        assert np.array_equal(meant, mask), name_entries("dx", mask)


@pytest.mark.parametrize(
    ("mask", "name"),
    [
        (planted((4, 5), ...), "every entry of dx"),
        (planted((), ()), "dx"),
        (planted((1,), 0), "dx[0]"),
        (planted((9,), 8), "dx[8]"),
        (planted((4, 5), (2, 4)), "dx[2, 4]"),
        (planted((4, 5), np.s_[2, :]), "dx[2, :]"),
        (planted((4, 5), np.s_[:, 0]), "dx[:, 0]: only the first step of axis 1"),
        (planted((4, 5), np.s_[-1, :]), "dx[-1, :]: only the last step of axis 0"),
        (planted((4, 5), np.s_[:, 1:]), "dx[:, 1:]"),
        (planted((4, 5), np.s_[:, :-1]), "all but dx[:, -1]"),
        (but(planted((4, 5), np.s_[:, 2])), "all but dx[:, 2]"),
        (but(planted((4, 5), (1, 2))), "all but dx[1, 2]"),
        (planted((6, 5), np.s_[1:3, 2:]), "dx[1:3, 2:]"),
        (planted((4, 6), np.s_[:, ::2]), "dx[:, ::2]: every second step of axis 1"),
        (planted((4, 9), np.s_[:, 1::3]), "dx[:, 1::3]: every third step of axis 1"),
        (planted((30,), np.s_[4::7]), "dx[4::7]: every 7th entry"),
        (planted((30,), np.s_[:6]), "dx[:6]"),
        (planted((9, 4), np.s_[[0, -1]]), "dx[[0, -1], :]: the first and the last step of axis 0"),
        (planted((9, 4), np.s_[[1, 4, 6]]), "dx[[1, 4, 6], :]"),
        (planted((3, 6, 4, 4), np.s_[:, 2]), "dx[:, 2, :, :]"),
        (border((3, 2, 6, 5), (2, 3)), "the border of dx (axes 2 and 3)"),
        (border((8, 9), (0, 1), 2), "the border of dx (2 wide)"),
        (border((3, 8, 9), (1, 2), 2), "the border of dx (axes 1 and 2, 2 wide)"),
        (border((6, 5), (0, 1)), "the border of dx"),
        (border((3, 2, 6, 5), (2, 3)) & planted((3, 2, 6, 5), np.s_[1]), "the border of dx[1, :, :, :] (axes 2 and 3)"),
        (but(planted((3, 5, 5), np.s_[:, :-1, :-1])), "all but dx[:, :-1, :-1]"),
        (planted((3, 5, 5), np.s_[0, :, -1], np.s_[0, -1]), "dx[0, :, :] but not dx[0, :-1, :-1]"),
        (np.eye(5, dtype=bool), "the diagonal of dx"),
        (np.eye(5, k=1, dtype=bool), "the diagonal just above that of dx"),
        (~np.eye(5, dtype=bool), "dx off the diagonal"),
        (np.triu(np.ones((5, 5), dtype=bool)), "dx on and above the diagonal"),
        (np.tril(np.ones((5, 5), dtype=bool), -1), "dx below the diagonal"),
        (np.eye(4, dtype=bool) & np.ones((3, 1, 1), dtype=bool), "the diagonal of dx (axes 1 and 2)"),
        (np.eye(4, dtype=bool) & mask_of((3, 1, 1), [(2, 0, 0)]), "the diagonal of dx[-1, :, :] (axes 1 and 2)"),
        (np.arange(15).reshape(3, 5) % 2 == 0, "dx.flat[::2]"),
        (np.arange(15).reshape(3, 5) > 6, "dx.flat[7:]"),
    ],
)
def test_a_set_is_named_as_a_person_would(mask, name):
    assert name_entries("dx", mask) == (name,)


def test_a_set_of_no_shape_is_named_by_the_fewest_boxes():
    cross = planted((6, 7), np.s_[3, :], np.s_[:, 5])
    assert name_entries("dW", cross) == ("dW[:, 5]", "dW[3, :]")
    assert name_entries("dW", mask_of((6, 7), [(0, 3), (4, 1), (5, 6)])) == ("dW[0, 3]", "dW[4, 1]", "dW[5, 6]")


def test_a_set_of_too_many_boxes_is_counted():
    scattered = mask_of((50, 40), [(k, (7 * k * k) % 31) for k in range(3, 40)])
    assert name_entries("dW", scattered) == ("37 of the 1073 entries of dW[3:40, :29]",)


def test_no_entries_have_no_name():
    assert name_entries("dx", np.zeros((3, 4), dtype=bool)) == ()
    assert name_entries("dx", np.zeros((0, 4), dtype=bool)) == ()


def test_a_span_is_the_smallest_slice_around_a_set():
    assert name_span("dx", planted((9, 5), (2, 1), (6, 1))) == "dx[2:7, 1]"
    assert name_span("dx", planted((9, 5), (0, 0), (8, 4))) == "dx"
    assert name_span("dx", planted((9, 5))) == "dx"
