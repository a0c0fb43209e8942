"""What a loop hands from turn to turn is told where its path past the turn, or the whole of it, is lost."""

import numpy as np
import pytest

from gradcheck.explanation.suspects import counterfactual
from tests.explanation.suspects.pair import evidence_of, normal


def walk(y, A, steps):
    states = [y]
    for _ in range(steps):
        states.append(states[-1] + 0.5 * np.tanh(states[-1] @ A))
    return np.stack(states[1:]), (states, A)


def lost_path(dys, cache):
    states, A = cache
    later, dA = np.zeros(states[0].shape), np.zeros(A.shape)
    for y, dy in zip(states[-2::-1], dys[::-1], strict=True):
        here = later + dy
        inner = 0.5 * here * (1 - np.tanh(y @ A) ** 2)
        dA += y.T @ inner
        later = inner @ A.T
    return later, dA


def wrong_slope(dys, cache):
    states, A = cache
    later, dA = np.zeros(states[0].shape), np.zeros(A.shape)
    for y, dy in zip(states[-2::-1], dys[::-1], strict=True):
        here = later + dy
        inner = 0.5 * here * (1 - np.tanh(y @ A))
        dA += y.T @ inner
        later = here + inner @ A.T
    return later, dA


def test_a_path_past_the_step_that_is_lost_is_told():
    evidence = evidence_of(walk, lost_path, (*normal(0, (3, 4), (4, 4)), 5))
    found = list(counterfactual.suspects(evidence))
    assert found
    assert found[0].mistake == "G1"
    assert "path past the step" in found[0].sentence


def test_another_mistake_in_such_a_loop_is_not_taken_for_it():
    evidence = evidence_of(walk, wrong_slope, (*normal(0, (3, 4), (4, 4)), 5))
    assert evidence.wrong
    assert not any("path past" in each.sentence for each in counterfactual.suspects(evidence))


def chain(x, A):
    hs, h = [], np.zeros((x.shape[1], len(A)))
    for each in x:
        hs.append(h)
        h = np.tanh(each + h @ A)
    return np.stack([*hs[1:], h]), (hs, h, A)


def twice(x, A, B):
    one, kept = chain(x, A)
    two, other = chain(x[::-1], B)
    return np.concatenate([one, two], axis=2), (kept, other)


def chain_back(dhs, cache):
    hs, last, A = cache
    dx, dA = np.zeros(dhs.shape), np.zeros(A.shape)
    handed = np.zeros(last.shape)
    for t in reversed(range(len(dhs))):
        h = hs[t + 1] if t + 1 < len(hs) else last
        dz = dhs[t] * (1 - h**2)
        dx[t] = dz
        dA += hs[t].T @ dz
        handed = dz @ A.T
    return dx, dA, handed


def twice_back(dout, cache):
    size = dout.shape[2] // 2
    one, dA, _ = chain_back(dout[:, :, :size], cache[0])
    two, dB, _ = chain_back(dout[:, :, size:], cache[1])
    return one + two[::-1], dA, dB


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_lost_in_a_loop_that_runs_in_two_calls_is_not_carried_from_one_into_the_other(seed):
    evidence = evidence_of(twice, twice_back, normal(seed, (5, 3, 4), (4, 4), (4, 4)))
    found = list(counterfactual.suspects(evidence))
    assert found
    assert found[0].mistake == "G1"
    assert set(found[0].repaired) == set(evidence.wrong)
