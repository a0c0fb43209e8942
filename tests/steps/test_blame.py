"""The line that holds the mistake is among those that are blamed, and few others are."""

import inspect

import numpy as np
import pytest

from gradcheck.steps.pins import Pins
from tests.steps.pairs import ARGS, STEPS, blame_of, layers, layers_backward, node_of, recurrent


def tanh_backward(dh, h):
    return dh * (1 - h**2)


def no_derivative(dout, cache):
    x, w, v, h = cache
    dh = dout @ v.T
    dz = dh  # here
    return dz @ w.T, x.T @ dz, dz.sum(axis=0), h.T @ dout


def copied(dout, cache):
    x, w, v, h = cache
    dh = dout @ v.T
    dz = dh.copy()  # here
    return dz @ w.T, x.T @ dz, dz.sum(axis=0), h.T @ dout


def no_derivative_at_once(dout, cache):
    x, w, v, h = cache
    dz = dout @ v.T  # here
    return dz @ w.T, x.T @ dz, dz.sum(axis=0), h.T @ dout


def wrong_derivative(dout, cache):
    x, w, v, h = cache
    dh = dout @ v.T
    dz = dh * (1 - h)  # here
    return dz @ w.T, x.T @ dz, dz.sum(axis=0), h.T @ dout


def wrong_local_derivative(dout, cache):
    x, w, v, h = cache
    dh = dout @ v.T
    slope = 1 + h**2  # here
    dz = dh * slope
    return dz @ w.T, x.T @ dz, dz.sum(axis=0), h.T @ dout


def wrong_operand(dout, cache):
    x, w, v, h = cache
    dz = (dout @ v.T) * (1 - h**2)
    dw = (2 * x).T @ dz  # here
    return dz @ w.T, dw, dz.sum(axis=0), h.T @ dout


def not_summed(dout, cache):
    x, w, v, h = cache
    dz = (dout @ v.T) * (1 - h**2)
    db = dz  # here
    return dz @ w.T, x.T @ dz, db, h.T @ dout


def averaged(dout, cache):
    x, w, v, h = cache
    dz = (dout @ v.T) * (1 - h**2)
    db = dz.mean(axis=0)  # here
    return dz @ w.T, x.T @ dz, db, h.T @ dout


def exchanged(dout, cache):
    x, w, v, h = cache
    dz = (dout @ v.T) * (1 - h**2)
    db, dx = dz.sum(axis=0), dz @ w.T
    return db, x.T @ dz, dx, h.T @ dout  # here


def coarse(dout, cache):
    x, w, v, h = cache
    dz = (dout @ v.T) * (1 - h**2)
    dx = np.zeros(x.shape, dtype=np.int64)  # here
    for n in range(len(x)):
        dx[n] = w @ dz[n]
    return dx, x.T @ dz, dz.sum(axis=0), h.T @ dout


def helper_misused(dout, cache):
    x, w, v, h = cache
    dz = tanh_backward(dout @ v.T, x @ w + ARGS[2])  # here
    return dz @ w.T, x.T @ dz, dz.sum(axis=0), h.T @ dout


def two_mistakes(dout, cache):
    x, w, v, h = cache
    dz = (dout @ v.T) * (1 - h**2)
    dw = x.T @ dz * 2  # here
    db = dz.max(axis=0)  # here
    return dz @ w.T, dw, db, h.T @ dout


def test_what_is_to_blame_for_a_pin_is_found_once(monkeypatch):
    blame, asked = blame_of(layers, wrong_derivative, ARGS), []
    segment = blame.segment
    monkeypatch.setattr(blame, "segment", lambda pin: asked.append(pin) or segment(pin))
    (pin,) = blame.pins
    assert blame.blamed(pin) == blame.blamed(pin)
    assert len(asked) == 1


LAYERS = (
    no_derivative,
    copied,
    no_derivative_at_once,
    wrong_derivative,
    wrong_local_derivative,
    wrong_operand,
    not_summed,
    averaged,
    exchanged,
    coarse,
    helper_misused,
    two_mistakes,
)


def through_time(dout, cache):
    w, states, h = cache
    dx, dw = np.zeros((4, 4)), np.zeros((4, 4))
    after = [*states[1:], h]
    for t in reversed(range(4)):
        dz = dout * (1 - after[t] ** 2)
        dx[t] = dz
        dw += np.outer(states[t], dz)
        dout = w @ dz
    return dx, dw


def overwritten(dout, cache):
    w, states, h = cache
    dx = np.zeros((4, 4))
    after = [*states[1:], h]
    for t in reversed(range(4)):
        dz = dout * (1 - after[t] ** 2)
        dx[t] = dz
        dw = np.outer(states[t], dz)  # here
        dout = w @ dz
    return dx, dw


def transposed(dout, cache):
    w, states, h = cache
    dx, dw = np.zeros((4, 4)), np.zeros((4, 4))
    after = [*states[1:], h]
    for t in reversed(range(4)):
        dz = dout * (1 - after[t] ** 2)
        dx[t] = dz
        dw += np.outer(states[t], dz)
        dout = w.T @ dz  # here
    return dx, dw


def ends_early(dout, cache):
    w, states, h = cache
    dx, dw = np.zeros((4, 4)), np.zeros((4, 4))
    after = [*states[1:], h]
    for t in range(3, 0, -1):  # here
        dz = dout * (1 - after[t] ** 2)
        dx[t] = dz
        dw += np.outer(states[t], dz)
        dout = w @ dz
    return dx, dw


def numbers(function):
    """Return the lines of a function that are marked."""
    lines, first = inspect.getsourcelines(function)
    return {first + k for k, line in enumerate(lines) if line.rstrip().endswith("# here")}


CASES = [*((layers, f, ARGS) for f in LAYERS), *((recurrent, f, STEPS) for f in (overwritten, transposed, ends_early))]


@pytest.mark.parametrize(("forward", "backward", "args"), CASES, ids=[case[1].__name__ for case in CASES])
def test_the_mistake_is_on_a_blamed_line(forward, backward, args):
    blame = blame_of(forward, backward, args)
    blamed = {line.number for pin in blame.pins for line in blame.blamed(pin)[0]}
    assert numbers(backward) <= blamed
    assert len(blamed) <= 2


@pytest.mark.parametrize(
    ("forward", "backward", "args"), [(layers, layers_backward, ARGS), (recurrent, through_time, STEPS)]
)
def test_a_right_backward_has_no_pins(forward, backward, args):
    blame = blame_of(forward, backward, args)
    assert not blame.wrong
    assert not blame.pins


def test_a_pin_says_what_the_value_ought_to_be():
    blame = blame_of(layers, wrong_derivative, ARGS)
    (pin,) = blame.pins
    assert pin.nodes == (node_of(blame.run, "dz", backward=True).id,)
    assert pin.of == (node_of(blame.run, "z").id,)
    assert np.allclose(pin.truth, blame.sight.bars.nodes[pin.goal])
    assert pin.paths == ("b", "w", "x")


def test_a_missing_step_is_an_early_pin():
    (pin,) = blame_of(layers, no_derivative, ARGS).pins
    assert pin.early is None
    assert pin.truth is not None


def test_two_mistakes_are_two_pins():
    assert {pin.paths for pin in blame_of(layers, two_mistakes, ARGS).pins} == {("w",), ("b",)}


def test_all_turns_of_a_loop_are_pinned_together():
    (pin,) = blame_of(recurrent, transposed, STEPS).pins
    assert len(pin.nodes) > 1


def test_a_missing_path_to_some_of_the_uses_is_found():
    def forward(x, a):
        return a * x.mean(axis=1), (x, a)

    def backward(dout, cache):
        x, _ = cache
        dmean = dout  # here
        return np.repeat(dmean[:, None], 3, axis=1) / 3, (dout * x.mean(axis=1)).sum()

    x = np.random.default_rng(1).standard_normal((4, 3))
    blame = blame_of(forward, backward, (x, np.array(1.7)))
    blamed = {line.number for pin in blame.pins for line in blame.blamed(pin)[0]}
    assert numbers(backward) <= blamed


def test_the_search_ends_when_the_time_is_over():
    blame = blame_of(layers, no_derivative, ARGS)
    pins = Pins(blame.replay, blame.wrong, until=0.0).found()
    assert {path for pin in pins for path in pin.paths} == set(blame.wrong)  # the gradients themselves


def tied(x, w):
    h = np.tanh(x @ w)
    return h @ w.T, (x, w, h)


def lost_by_name(dout, cache):
    x, w, h = cache
    dw = dout.T @ h
    dz = (dout @ w) * (1 - h**2)
    dw = x.T @ dz  # here
    return dz @ w.T, dw


def dropped(dout, cache):
    x, w, h = cache
    dz = dout @ w
    np.multiply(dz, 1 - h**2)  # here
    return dz @ w.T, x.T @ dz + dout.T @ h


def decayed(dout, cache):
    x, w, h = cache
    dz = (dout @ w) * (1 - h**2)
    dw = 0.1 * w  # here
    dw += x.T @ dz
    dw += dout.T @ h
    return dz @ w.T, dw


def sums(x):
    total = np.zeros(2)
    for t in range(4):
        total = np.tanh(total + x[t])
    return total, x


def sums_backward(dout, x):
    states, dx = [np.zeros(2)], np.zeros((4, 2))
    for t in range(4):
        states.append(np.tanh(states[-1] + x[t]))
    for t in range(3, 0, -1):  # here
        dout = dout * (1 - states[t + 1] ** 2)
        dx[t] = dout
    return dx


def windows(x):
    return np.stack([x[2 * i : 2 * i + 3].sum() for i in range(3)]), x


def windows_backward(dout, x):
    dx = np.zeros(len(x))
    for i in range(3):
        start = i  # here
        dx[start : start + 3] += dout[i]
    return dx


DRAWN = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("forward", "backward", "args"),
    [
        (tied, lost_by_name, (DRAWN.standard_normal((4, 3)), DRAWN.standard_normal((3, 2)))),
        (tied, dropped, (DRAWN.standard_normal((4, 3)), DRAWN.standard_normal((3, 2)))),
        (tied, decayed, (DRAWN.standard_normal((4, 3)), DRAWN.standard_normal((3, 2)))),
        (sums, sums_backward, (DRAWN.standard_normal((4, 2)),)),
        (windows, windows_backward, (DRAWN.standard_normal(7),)),
    ],
    ids=lambda thing: getattr(thing, "__name__", ""),
)
def test_what_a_right_value_is_lost_by_is_blamed(forward, backward, args):
    blame = blame_of(forward, backward, args)
    blamed = {line.number for pin in blame.pins for line in blame.blamed(pin)[0]}
    assert numbers(backward) & blamed
    assert len(blamed) <= 3


def test_what_ought_to_be_zero_everywhere_is_no_multiple_of_anything():
    blame = blame_of(lambda x, y: (x + 0.0 * y, x), lambda g, x: (g * 1.0, g * np.sin(x)), (ARGS[0], ARGS[0] + 1))
    assert [blame.scaled(pin) for pin in blame.pins] == [set()]
