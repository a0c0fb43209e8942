import numpy as np
import pytest

from gradcheck import examine_backward
from gradcheck.steps.journey import Line
from gradcheck.steps.paths import Composition
from tests.steps.rewrites.rows import arrays, composed, searched

X, W, S = arrays((5, 4), (4, 3), (4, 4))


def centred(x):
    return x - x.mean(axis=0), None


def normalised(x):
    xc = x - x.mean(axis=0)
    var = (xc**2).mean(axis=0)
    return xc / np.sqrt(var + 0.1), (xc, var)


def normalised_backward(g, c, mean=1, var=1):
    xc, v = c
    dxc = g / np.sqrt(v + 0.1) + var * (g * xc).sum(0) * -((v + 0.1) ** -1.5) * xc / len(xc)
    return (dxc - mean * dxc.mean(axis=0),)


def leaky(x):
    return np.where(x > 0, x, 0.1 * x), x


def decayed(w):
    return (w @ np.ones((3, 2))).sum() + 0.3 * (w**2).sum(), w


def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True), (e, e.sum(axis=1, keepdims=True))


def recurrent(x, s):
    states = [np.ones(4)]
    for each in x:
        states.append(np.tanh(states[-1] @ s + each))
    return np.array(states[1:]), (s, states)


def recurrent_backward(g, c, carried=1, turns=5):
    s, states = c
    dx, ds, dh = np.zeros((5, 4)), np.zeros((4, 4)), np.zeros(4)
    for t in reversed(range(5)):
        dz = (g[t] + carried * dh) * (1 - states[t + 1] ** 2)
        dx[t] = dz
        ds = np.outer(states[t], dz) + (ds if turns > 1 else 0)
        dh = s @ dz
    return dx, ds


def variances(r, h):
    """Return r / h of a variance h that each shock r moves on."""
    found = [h]
    for each in r[:-1]:
        found.append(0.1 + 0.3 * each**2 + 0.5 * found[-1])
    return r / np.stack(found), (r, np.stack(found))


def variances_backward(g, c):
    r, h = c
    dh = 0.0
    for t in reversed(range(len(r))):
        dh = 0.5 * dh - g[t] * r[t] / h[t] ** 2
    return g / h, dh


def filtered(q):
    """Return the gains of a filter whose covariance is corrected by them from step to step."""
    p, gains = np.full(4, 0.7), []
    for _ in range(4):
        k = (p + q) / (p + q + 1.0)
        gains.append(k)
        p = (1 - k) * (p + q)
    return np.stack(gains), (q, np.stack(gains))


def filtered_backward(g, c):
    _, gains = c
    s = [1 / (1 - k) for k in gains]
    dq, dp = np.zeros(4), np.zeros(4)
    for t in reversed(range(4)):
        dk = g[t] * 1.0
        dpp = dk / s[t] ** 2 + dp * (1 - gains[t])
        dq += dpp
        dp = dpp
    return (dq,)


def chained(x, w):
    p = x @ w
    return p * np.sin(p) + np.exp(0.3 * p), (x, w, p)


def chained_backward(g, c, times=2):
    x, w, p = c
    dp = g * np.sin(p) + g * p * np.cos(p)
    for _ in range(times):
        dp = dp + 0.3 * g * np.exp(0.3 * p)
    return dp @ w.T, x.T @ dp


# fmt: off
ROWS = [  # mistake, words, forward, wrong backward, arguments
    ("C8", "lacks the path", lambda x: (x * np.sin(x), x), lambda g, x: (g * np.sin(x),), (X,)),
    ("C8", "is zero", lambda x, s: (x + s, None), lambda g, _: (g * 1.0, np.zeros((4, 4))), (S, S + 1)),
    ("A1", "with the wrong sign", lambda x: (x * np.sin(x), x), lambda g, x: (g * (np.sin(x) - x * np.cos(x)),), (X,)),
    ("C7", "lacks the path", centred, lambda g, _: (g * 1.0,), (X,)),
    ("C7", "lacks the path", normalised, lambda g, c: normalised_backward(g, c, var=0), (X,)),
    ("C7", "lacks the path", normalised, lambda g, c: normalised_backward(g, c, mean=0), (X,)),
    ("C3", "lacks the path", leaky, lambda g, x: (g * (x > 0),), (X,)),
    ("C6", "lacks the path", softmax, lambda g, c: (g * c[0] / c[1],), (X,)),
    ("D1", "", decayed, lambda g, _: (g * 2.0 * np.ones((4, 3)),), (W,)),
    ("G1", "", recurrent, lambda g, c: recurrent_backward(g, c, carried=0), (X, 0.4 * S)),
    ("E1", "lacks the path", recurrent, lambda g, c: recurrent_backward(g, c, turns=1), (X, 0.4 * S)),
    ("C8", "lacks the path", variances, variances_backward, (X[:, 0] + 0.2, 1.3)),
    ("G1", "lacks the path", filtered, filtered_backward, (np.abs(X[0]),)),
    ("E2", "twice", chained, chained_backward, (X, W)),
]
# fmt: on


@pytest.mark.parametrize(("mistake", "words", "forward", "backward", "args"), ROWS)
def test_a_part_that_is_missing_or_there_otherwise_is_told_by_its_path(mistake, words, forward, backward, args):
    found = composed(forward, backward, args)
    assert mistake in {cause.mistake for cause in found}, [(c.mistake, c.should) for c in found]
    assert any(words in cause.should for cause in found), [c.should for c in found]


def test_nothing_is_told_of_what_is_right():
    assert composed(normalised, normalised_backward, (X,)) == []


def test_nothing_is_told_of_a_value_that_is_made_of_something_else():
    assert composed(lambda x: (x * np.sin(x), x), lambda g, x: (g * np.exp(x),), (X,)) == []


def test_the_parts_of_a_cotangent_sum_up_to_it_however_far_the_paths_are_split():
    search, blame, second = searched(normalised, lambda g, c: normalised_backward(g, c, var=0), (X,))
    parts, sight = Composition(blame, search.facts, second), blame.sight
    for split in range(4):
        if found := parts.parts(sight, sight.run.leaf["x"], split):
            assert np.allclose(sum(part.value for part in found), sight.truth("x"))


def test_a_step_of_the_forward_that_is_not_gone_back_through_is_told():
    def mixed(h, w):
        return np.tanh(S @ h @ w), (h, w, np.tanh(S @ h @ w))

    def backward(g, c):
        h, w, y = c
        dz = g * (1 - y**2)
        return dz @ w.T, (S @ h).T @ dz

    (cause,) = composed(mixed, backward, (X[:4], W))
    assert (cause.mistake, cause.paths) == ("B6", ("h",))
    assert "does not go back through the matmul" in cause.should


def test_what_is_given_for_a_state_that_is_returned_as_well_is_a_part_of_its_cotangent():
    def cell(x, c):
        state = x * c
        return np.tanh(state), state, (x, c, state)

    def forward(x, c):
        *outs, cache = cell(x, c)
        return tuple(outs), cache

    def backward(g, cache):
        x, c, state = cache
        d = g[0] * (1 - np.tanh(state) ** 2)
        return d * c, d * x

    (cause,) = composed(forward, backward, (S, S + 1))
    assert cause.mistake == "C8"
    assert "lacks what is given for" in cause.should


def test_the_number_that_a_power_has_in_its_derivative_is_a_factor_and_no_path_twice():
    (cause, *_) = composed(lambda x: (x + np.square(x), x), lambda g, x: (g * (1 + 4 * x),), (X,))
    assert cause.mistake != "E2"
    assert cause.should.endswith("divided by 2")


def test_what_stays_zero_is_said_of_the_only_line_to_blame():
    search, blame, second = searched(lambda x, s: (x + s, None), lambda g, _: (g * 1.0, np.zeros((4, 4))), (S, S + 1))
    (pin,), line = blame.pins, Line(searched.__code__, 1)
    blame.blamed = lambda _: ([line], [])
    (cause,) = Composition(blame, search.facts, second).causes(pin)
    assert cause.line == line


def scaled_states(x):
    """Return the states of a loop whose first turn is not gone back to below."""
    y = np.zeros(4)
    for t in range(4):
        y[t] = x[t] + (0.7 * y[t - 1] if t else 0.0)
    return y, None


def scaled_states_backward(g, c):
    g, dx = g.copy(), np.zeros(4)
    for t in range(3, 0, -1):
        dx[t] = g[t]
        g[t - 1] += 0.7 * g[t]
    return (dx,)


def test_a_path_that_one_line_alone_leaves_out_is_told_on_that_line():
    (cause, *_) = composed(scaled_states, scaled_states_backward, (X[:, 0][:4].copy(),))
    assert cause.line.number == scaled_states_backward.__code__.co_firstlineno + 2


def weighed(x, k):
    return np.array([0.2 * x[i] for i in k]), (x, k)


def weighed_backward(g, c):
    x, k = c
    dx = np.zeros(len(x), dtype=int)
    for i in range(len(k)):
        dx[k[i]] += 0.2 * g[i]
    return (dx,)


def test_zeros_that_an_array_of_whole_numbers_keeps_are_told_where_it_is_made():
    report = examine_backward(weighed, weighed_backward, (X[:, 0].copy(), np.array([0, 2, 1, 2])), seed=0)
    (why, *_) = report.explanations
    assert (why.mistake, why.line) == ("H3", weighed_backward.__code__.co_firstlineno + 2)


def test_the_size_of_one_array_for_that_of_another_is_said_as_a_quotient():
    facts = searched(lambda a, b: (a.mean() + b.mean(), None), lambda g, c: (0, 0), (X[:3, 0], X[:, 1]))[0].facts
    assert facts.number(5 / 3).said.count("over") == 1
    assert facts.number(1 / 15).said.startswith("1/")
