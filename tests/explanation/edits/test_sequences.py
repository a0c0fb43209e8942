"""Mistakes in sums over samples and steps are repaired in the source, and have the class of what was left out."""

import inspect

import numpy as np
import pytest

from gradcheck import examine_backward
from tests.explanation.edits import steps
from tests.explanation.edits.planted import module_of


def explained(case, right, wrong):
    text = inspect.getsource(steps)
    assert text.count(right) == 1, "the right fragment must occur once"
    module = module_of(text.replace(right, wrong), f"<steps {case}: {wrong}>")
    forward, backward = (getattr(module, f"{case}_{way}") for way in ("forward", "backward"))
    args = steps.points(case, np.random.default_rng(1))
    return examine_backward(forward, backward, args, seed=0).explanations


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("case", "mistake", "right", "wrong"),
    [
        ("layer", "E1", "X.T @ dY", "X[-1:].T @ dY[-1:]"),
        ("layer", "E1", "X.T @ dY", "np.dot(X[:1].T, dY[:1])"),
        ("layer", "C8", "X.T @ dY", "X[:-1].T @ dY[:-1]"),
        ("layer", "C8", "X.T @ dY", "np.einsum('nd,nk->dk', X[1:], dY[1:])"),
        ("layer", "C8", "X.T @ dY", "X[1:-1].T @ dY[1:-1]"),
        ("layer", "B6", "X.T @ dY", "X[1:].T @ dY[:-1]"),
        ("layer", "E1", "dY.sum(axis=0)", "dY[0]"),
        ("layer", "E1", "dY.sum(axis=0)", "dY[-1]"),
        ("layer", "C8", "dY.sum(axis=0)", "dY[1:].sum(axis=0)"),
        ("layer", "C8", "dX = dY @ W.T", "dX = np.concatenate([(dY @ W.T)[:-1], np.zeros((1, 4))])"),
        ("layer", "C8", "dX = dY @ W.T", "dX = (np.arange(len(X)) > 0)[:, None] * (dY @ W.T)"),
        ("layer", "C8", "dX = dY @ W.T", "dX = np.where((np.arange(len(X)) > 0)[:, None], dY @ W.T, 0)"),
        ("layer", "E1", "dX = dY @ W.T", "dX = (dY @ W.T)[:1].repeat(len(X), axis=0)"),
        ("shut", "C3", "np.where(Z > 0, dA, 0)", "np.where(np.roll(Z > 0, 1, axis=0), dA, 0)"),
        ("layer", "A4", "dY @ W.T", "1.00001 * dY @ W.T"),
        ("unrolled", "G3", "hs[:, :-1], dz", "hs[:, 1:], dz"),
        ("unrolled", "G2", "hs[:, :-1], dz", "hs[:, 1:-1], dz[:, 1:]"),
        ("unrolled", "G2", "xs, dz)", "xs[:, :-1], dz[:, :-1])"),
        ("unrolled", "G3", "xs, dz)", "xs[:, 1:], dz[:, :-1])"),
        ("unrolled", "G3", "xs, dz)", "xs, np.roll(dz, 1, axis=1))"),
        ("unrolled", "E1", "xs, dz)", "xs[:, -1:], dz[:, -1:])"),
        ("unrolled", "G2", "carry = dz", "carry = (t > 1) * dz"),
        ("unrolled", "A4", "carry = dz", "carry = 1.0001 * dz"),
        ("unrolled", "A4", "carry = dz", "carry = (1 + 1e-4 * (t == 2)) * dz"),
        ("unrolled", "E2", "+ carry)", "+ carry + carry)"),
        ("unrolled", "G1", "dxs, carry,", "dxs, np.zeros_like(carry),"),
        ("unrolled", "B6", "dxs, carry,", "dxs, dz[:, 0],"),
        ("stepwise", "G3", "before[t]", "states[t]"),
        ("stepwise", "G3", "np.concatenate([h0[None], states[:-1]])", "states"),
        ("stepwise", "E2", "dV += np.outer(dz, xs[t])", "dV += np.outer(dz, xs[t])\n        dV += np.outer(dz, xs[t])"),
        ("stepwise", "G2", "reversed(range(len(xs)))", "range(len(xs) - 1, 0, -1)"),
        ("stepwise", "E1", "dU += np.outer(dz, before[t])", "dU = np.outer(dz, before[t])"),
        ("double", "G2", "range(t, -1, -1)", "range(t, 0, -1)"),
        ("double", "G2", "for t in range(len(dhs))", "for t in [len(dhs) - 1]"),
        ("double", "G2", "for t in range(len(dhs))", "for t in range(len(dhs) - 1, len(dhs))"),
        ("double", "G2", "range(t, -1, -1)", "range(t, max(t - 2, -1), -1)"),
        ("double", "G2", "range(t, -1, -1)", "np.arange(max(0, t - 1), t + 1)[::-1]"),
        ("double", "G2", "range(t, -1, -1)", "range(t, t // 2, -1)"),
        ("stepwise", "G2", "later = U.T @ dz", "later = U.T @ dz if t > 2 else np.zeros_like(h0)"),
        ("stepwise", "C8", "dh = dhs[t] + later", "dh = (dhs[t] if t > 2 else 0) + later"),
        ("stepwise", "C8", "dh = dhs[t] + later", "dh = (t > 2) * dhs[t] + later"),
        ("stepwise", "G2", "dh = dhs[t] + later", "dh = dhs[t] + (t > 2) * later"),
        ("double", "G3", "before[k]", "before[t]"),
        ("double", "G3", "dxs[k] +=", "dxs[t] +="),
    ],
)
def test_a_sum_that_lacks_samples_or_steps_is_named_for_what_it_lacks(case, mistake, right, wrong):
    first, *_ = explained(case, right, wrong)
    assert first.mistake == mistake, first
    assert first.edit, "the line must be shown"


def test_a_statement_that_slid_out_of_its_loop_is_put_back():
    line = "        dV += np.outer(dz, xs[t])\n"
    end = "        later = U.T @ dz\n"
    text = "        dxs[t] = V.T @ dz\n"
    first, *_ = explained("stepwise", f"{line}{text}{end}", f"{text}{end}    dV += np.outer(dz, xs[t])\n")
    assert first.mistake == "E1"


def test_a_slice_that_belongs_there_is_not_blamed_for_another_mistake():
    told = explained("unrolled", "hs[:, :-1], dz", "hs[:, :-1] ** 3, dz")
    assert not {each.mistake for each in told} & {"C8", "E1", "E2", "G1", "G2", "G3"}


def test_a_sample_that_weighs_less_is_not_called_left_out():
    told = explained("layer", "X.T @ dY", "X.T @ (dY * np.linspace(0.5, 1, len(dY))[:, None])")
    assert not {each.mistake for each in told} & {"C8", "E1", "E2", "G1", "G2", "G3"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("case", "mistake", "right", "wrong"),
    [
        ("kept", "C1", "dz = slope_of(dh, zs[t])", "dz = dh"),
        ("kept", "B6", "    dh0 = Wh @ dz\n", "    dh0 = dz\n"),
        ("kept", "B1", "reshape(T, n, -1)", "reshape(n, T, -1).swapaxes(0, 1)"),
        ("gated", "C1", "later = gates[t] * (dhs[t] + later)", "later = dhs[t] + later"),
    ],
)
def test_what_stands_nearby_is_used_where_it_is_missing(case, mistake, right, wrong):
    first, *_ = explained(case, right, wrong)
    assert first.mistake == mistake, first
    assert first.edit, "the line must be shown"


def test_a_factor_that_no_array_nearby_is_does_not_become_a_slope():
    told = explained("gated", "later = gates[t] * (dhs[t] + later)", "later = gates[t] ** 1.5 * (dhs[t] + later)")
    assert "C1" not in {each.mistake for each in told}
