"""What nothing reads, and what is read in part or elsewhere: repairs that the idle parts of a pass tell of."""

import copy

import numpy as np
import pytest

from gradcheck.explanation.edits import edits
from tests.explanation.edits import idle
from tests.explanation.edits.planted import alike
from tests.mutants.mistake import Mistake, with_mistake

pytestmark = pytest.mark.filterwarnings("ignore")


def point(case, seed):
    rng = np.random.default_rng(seed)
    return idle.POINTS[case](lambda *shape: rng.standard_normal(shape), rng)


def planted(case, right, wrong):
    backward = getattr(idle, f"{case}_backward")
    return backward, with_mistake(backward, Mistake("", right, wrong, ()), source=True)


def repairs(case, right, wrong):
    """Yield the edits of the wrong pass that give the gradients of the right one at two points."""
    backward, mistaken = planted(case, right, wrong)
    points = [point(case, seed) for seed in (0, 1)]
    truths = [backward(*copy.deepcopy(each)) for each in points]

    def repairs_all(edit):
        try:
            with np.errstate(all="ignore"):
                return all(
                    alike(edit.backward(*copy.deepcopy(p)), truth) for p, truth in zip(points, truths, strict=True)
                )
        except Exception:  # noqa: BLE001  (an edit may raise anything, and then it is no repair)
            return False

    assert not all(alike(mistaken(*copy.deepcopy(p)), truth) for p, truth in zip(points, truths, strict=True))
    return filter(repairs_all, edits(mistaken, copy.deepcopy(points[0])))


@pytest.mark.parametrize(
    ("case", "mistake", "right", "wrong"),
    [
        ("deep", "C1", "delta = delta * primes[l](zs[l])", "pass"),
        ("deep", "C1", "delta * primes[l](zs[l])", "delta"),
        ("deep", "B5", "grads[::-1]", "grads"),
        ("named", "C1", "dout * PRIMES[kind](z)", "dout"),
        ("tower", "C1", "act_grad(dout, z2)", "dout"),
        ("tower", "C1", "dz1 = act_grad(da1, z1)", "dz1 = da1"),
        ("tower", "C3", "dz1 @ w1.T", "act_grad(dz1, z1) @ w1.T"),
        ("classes", "C8", "dx[np.arange(len(y)), y] -= 1", "pass"),
        ("classes", "B6", "len(y)), y]", "len(y)), y - 1]"),
        ("picked", "B6", "dprobs[rows, y] = ", "dprobs[rows, y - 1] = "),
        ("picked", "C3", "-dout / probs", "-dout * probs"),
        ("picked", "B6", "dprobs[rows, y] = -dout / probs[rows, y]", "dprobs[:] = -dout / probs"),
        ("picked", "E2", "np.zeros_like(probs)", "np.ones_like(probs)"),
        ("onehot", "C8", "(probs - target)", "probs"),
        ("onehot", "C8", "(probs - target)", "-target"),
        ("pages", "C8", ', "w2": dw2', ""),
        ("pages", "E4", "dout @ w2.T", "dout @ (w2 - 0.1 * dw2).T"),
        ("pages", "D1", '"w1": dw1', '"w1": dw1 + 0.01 * w1'),
        ("pages", "B6", '"w1": dw1', '"w1": dx.T @ dh'),
        ("pages", "B4", "dh.sum(axis=0)", "dh.sum()"),
        ("decay", "C8", "in weights", "in weights[:-1]"),
        ("decay", "B6", "strength * w", "strength * weights[0]"),
        ("decay", "C3", "strength * w", "strength * abs(w)"),
        ("chained", "C1", "slope * total[j]", "total[j]"),
        ("chained", "C8", "slope * total[j]", "(i > 0) * slope * total[j]"),
        ("chained", "C8", "reversed(slopes.items())", "list(slopes.items())[:0:-1]"),
        ("linked", "B1", "w[j, after]", "w[after, j]"),
        ("linked", "F5", "np.where(prev, z.T @ g, 0)", "z.T @ g"),
        ("linked", "C8", "after = nexts[j]", "after = nexts[j][1:]"),
        ("linked", "C8", "range(len(w) - 1)", "range(1, len(w) - 1)"),
        ("squares", "C3", "2 * r", "2 * np.abs(r)"),
        ("slope", "C3", "z > 0, dout, 0", "z > 0, dout, 0.2 * dout"),
        ("exponential", "C2", "-2 * np.abs(z)", "-np.abs(z)"),
        ("bernoulli", "C8", " - (1 - y) / (1 - a)", ""),
        ("closed", "C3", "dz[z <= 0] = 0", "dz[z <= 0] = 0.01"),
        ("closed", "C3", "dz[z <= 0] = 0", "dz[z <= 0] *= 0.01"),
        ("closed", "D1", "reg * w", "reg"),
        ("closed", "C3", "reg * w", "reg * np.sign(w)"),
        ("marked", "B6", "target[np.arange(len(probs)), y]", "target[:, y]"),
        ("marked", "C8", "(probs - target)", "probs"),
        ("layered", "C8", "range(3, 0, -1)", "range(3, 1, -1)"),
        ("layered", "E4", '@ weights[f"w{l}"].T', '@ (weights[f"w{l}"] - 0.1 * grads[f"w{l}"]).T'),
        ("steps", "G2", "range(len(xs) - 1, -1, -1)", "range(len(xs) - 1, 0, -1)"),
        ("told", "G1", '"h": dh', '"h": dout'),
        ("told", "G1", '"h0": r', '"h0": np.zeros_like(r)'),
        ("wide", "B4", "(dout * p).sum(axis=1, keepdims=True)", "(dout * p).sum()"),
    ],
)
def test_the_first_repair_is_of_the_class_that_a_teacher_names(case, mistake, right, wrong):
    first = next(repairs(case, right, wrong), None)
    assert first is not None
    assert first.mistake == mistake, first


@pytest.mark.parametrize(
    ("case", "right", "wrong"),
    [
        ("deep", "delta * primes[l](zs[l])", "delta * np.arctan(zs[l])"),
        ("tower", "act_grad(dout, z2)", "np.cbrt(dout)"),
        ("onehot", "(probs - target)", "np.cbrt(probs)"),
        ("chained", "slope * total[j]", "np.cbrt(total[j])"),
    ],
)
def test_what_nothing_reads_is_no_repair_of_something_else(case, right, wrong):
    assert next(repairs(case, right, wrong), None) is None


def test_a_method_that_is_a_derivative_is_called_where_no_derivative_is():
    kind = with_mistake(idle.Layer, Mistake("", "dout * self.act_prime(self.z)", "dout", ()), source=True)
    rng = np.random.default_rng(0)
    x, w, z, dout = (rng.standard_normal(shape) for shape in ((6, 4), (4, 3), (6, 3), (6, 3)))
    right = idle.Layer(x, w, z).backward(dout)
    found = [edit.mistake for edit in edits(kind(x, w, z).backward, (dout,)) if runs_like(edit.backward, dout, right)]
    assert found[:1] == ["C1"]


def runs_like(backward, dout, right):
    try:
        return alike(backward(dout.copy()), right)
    except Exception:  # noqa: BLE001  (an edit may raise anything, and then it is no repair)
        return False


def test_what_is_idle_is_not_blamed_for_a_sign():
    first = next(repairs("tower", "x.T @ dz1, da1", "-x.T @ dz1, da1"))
    assert first.mistake == "A1"
