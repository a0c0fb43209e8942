"""Reading a failing report draws no random number of the user's, and touches no file that his code would not touch."""

import enum
import random

import numpy as np
import pytest

from tests.steps.dangers import (
    SHAPES,
    B,
    Diary,
    W,
    X,
    affine,
    also,
    averaged,
    examined,
    layer,
    read,
    state_of,
    surroundings,
    unsquared,
)

# -- random numbers


@pytest.mark.parametrize(
    "draw",
    [
        lambda: np.random.standard_normal(2),  # noqa: NPY002  (the state that all share)
        lambda: random.random(),  # noqa: PLW0108, S311
    ],
    ids=["numpy", "python"],
)
def test_reading_a_failing_report_leaves_the_random_numbers_that_all_share_as_they_are(draw):
    drawn = []
    backward = also(lambda dout, cache, gradients: drawn.append(draw()))
    before = surroundings()
    report = examined(layer, backward)
    assert surroundings() != before
    assert drawn
    assert "dW" in read(report, backward)


@pytest.mark.parametrize(
    "rng",
    [np.random.default_rng(1), random.Random(1)],  # noqa: S311  (no secret)
    ids=["numpy", "python"],
)
def test_reading_a_failing_report_leaves_a_generator_that_the_backward_draws_from_as_it_is(rng):
    before = state_of(rng)
    backward = also(lambda dout, cache, gradients: rng.random())
    report = examined(layer, backward)
    assert state_of(rng) != before
    assert "dW" in read(report, rng, backward)


def test_reading_a_failing_report_of_a_dropout_leaves_its_generator_as_it_is():
    rng = np.random.default_rng(3)

    def forward(x, W, b):
        kept = np.random.default_rng(7).random(b.shape) < 0.9
        out, cache = layer(x, W, b)
        return out * kept, (cache, kept)

    def backward(dout, cache):
        cache, kept = cache
        noise = rng.standard_normal(kept.shape)
        return unsquared(dout * kept + 0 * noise, cache)

    before = state_of(rng)
    report = examined(forward, backward)
    assert state_of(rng) != before
    assert "dW" in read(report, rng, forward, backward)


# -- files: the backward is dangerous on anything but what its forward returned


def test_a_file_that_other_shapes_than_the_given_ones_delete_is_there_after_reading(precious, diary):
    def forward(x, W, b):
        diary((x.shape, W.shape, b.shape))
        if (x.shape, W.shape, b.shape) != SHAPES:
            precious.unlink(missing_ok=True)
        return affine(x, W, b)

    report = examined(forward, averaged)
    assert diary.lines
    assert "db" in read(report, forward)
    assert set(diary.lines) == {str(SHAPES)}


def test_a_file_that_a_cache_of_other_shapes_deletes_is_there_after_reading(precious, diary):
    def backward(dout, cache):
        x, W = cache
        diary((x.shape, W.shape, dout.shape))
        if (x.shape, W.shape, dout.shape) != (X.shape, W.shape, (4, 2)) or x.ndim != 2:
            precious.unlink(missing_ok=True)
        return dout @ W.T, x.T @ dout, dout.mean(axis=0)

    report = examined(affine, backward)
    assert diary.lines
    assert "db" in read(report, backward)
    assert set(diary.lines) == {str((X.shape, W.shape, (4, 2)))}


def test_a_file_that_values_which_no_forward_gave_overwrite_is_as_it_was_after_reading(precious, diary):
    def backward(dout, cache):
        x, W, b, h = cache
        diary("consistent" if np.allclose(h, np.tanh(x @ W + b), rtol=1e-9) else "inconsistent")
        if not np.allclose(h, np.tanh(x @ W + b), rtol=1e-9):
            precious.write_bytes(b"")
        return unsquared(dout, (x, W, h))

    def forward(x, W, b):
        h = np.tanh(x @ W + b)
        return h, (x, W, b, h)

    report = examined(forward, backward)
    assert diary.lines
    assert "dW" in read(report, backward)
    assert set(diary.lines) == {"consistent"}


def test_a_file_that_an_unlikely_branch_deletes_is_there_after_reading(precious, diary):
    debug, least = False, 0.0

    def backward(dout, cache):
        x, W, h = cache
        diary("called")
        if debug or not np.isfinite(h).all() or np.abs(h).max() > 1 or (h * h).sum() < least:
            precious.unlink(missing_ok=True)
        return unsquared(dout, (x, W, h))

    report = examined(layer, backward)
    assert diary.lines
    assert "dW" in read(report, backward)


@pytest.mark.parametrize("pair", [(layer, unsquared), (affine, averaged)], ids=["layer", "affine"])
def test_no_function_of_the_user_is_called_on_another_kind_of_number_while_a_report_is_read(pair, precious, diary):
    forward, backward = pair

    def typed(x, W, b):
        kinds = {str(each.dtype) for each in (x, W, b)}
        diary(kinds)
        if not kinds <= {"float64", str(np.dtype(np.longdouble))}:
            precious.unlink(missing_ok=True)
        return forward(x, W, b)

    report = examined(typed, backward)
    checked = set(diary.lines)
    assert "{'float64'}" in checked
    assert "db" in read(report, typed)
    assert set(diary.lines) == checked


def test_a_count_of_calls_in_a_file_stays_a_count_of_calls(tmp_path, diary):
    count = tmp_path / "count"
    count.write_text("0")

    def backward(dout, cache):
        count.write_text(str(int(count.read_text()) + 1))
        diary((dout.shape, [each.shape for each in cache]))
        return averaged(dout, cache)

    report = examined(affine, backward)
    before = diary.lines
    assert int(count.read_text()) == len(before) > 0
    assert "db" in read(report, backward)
    assert int(count.read_text()) == len(diary.lines)
    assert diary.lines[: len(before)] == before
    assert set(diary.lines) == set(before)


def test_a_statement_is_not_run_more_often_than_the_function_that_it_stands_in(tmp_path, diary):
    charged = Diary(tmp_path / "charged")

    def backward(dout, cache):
        diary("entered")
        x, W, h = cache
        dz = dout * (1 - h)
        charged(dz.shape)
        return dz @ W.T, x.T @ dz, dz.sum(axis=0)

    report = examined(layer, backward)
    assert len(charged.lines) == len(diary.lines) > 0
    assert "dW" in read(report, backward)
    assert len(charged.lines) == len(diary.lines)
    assert set(charged.lines) == {"(4, 2)"}


def test_a_cache_that_must_not_be_copied_is_what_the_backward_is_handed(diary, precious):
    class Only:
        """Deletes a file if there are two of it."""

        __slots__ = ("held",)

        def __init__(self, *held):
            self.held = held

        def _no(self, *args):
            diary("copied")
            precious.unlink(missing_ok=True)
            raise TypeError("there is one of it")

        __copy__ = __deepcopy__ = __reduce_ex__ = __getstate__ = _no

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        return out, Only(cache)

    def backward(dout, cache):
        diary(type(cache) is Only)
        return unsquared(dout, *cache.held)

    report = examined(forward, backward)
    assert diary.lines
    assert "dW" in read(report, forward, backward)
    assert set(diary.lines) == {"True"}


def test_arrays_of_the_cache_that_lie_in_one_another_do_so_while_a_report_is_read(diary, precious):
    def forward(x, W, b):
        out, cache = layer(x, W, b)
        return out, (cache, cache.h[0], cache.h.T)

    def backward(dout, cache):
        cache, first, turned = cache
        aliased = np.shares_memory(cache.h, first) and np.shares_memory(cache.h, turned)
        diary(aliased)
        if not aliased:
            precious.unlink(missing_ok=True)
        return unsquared(dout, cache)

    report = examined(forward, backward)
    assert diary.lines
    assert "dW" in read(report, forward, backward)
    assert set(diary.lines) == {"True"}


class Mode(enum.Enum):
    """A setting in a cache."""

    TRAIN = 1


def test_what_a_cache_holds_is_itself_while_a_report_is_read(diary, precious):
    missing, held = object(), W.copy()

    def forward(x, b):
        out, cache = layer(x, held, b)
        return out, {"cache": cache, "mode": Mode.TRAIN, "missing": missing, "W": held}

    def backward(dout, cache):
        same = cache["mode"] is Mode.TRAIN and cache["missing"] is missing and cache["W"] is held
        diary(same)
        if not same:
            precious.unlink(missing_ok=True)
        dx, _, db = unsquared(dout, cache["cache"])
        return dx, db

    report = examined(forward, backward, (X, B))
    assert diary.lines
    assert "db" in read(report, forward, backward)
    assert set(diary.lines) == {"True"}
