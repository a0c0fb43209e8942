"""Mistakes in styles that no repair was written for: how general the repairs are."""

import copy
import inspect

import numpy as np
import pytest

from gradcheck import from_layer
from gradcheck.explanation.edits import edits
from tests.explanation.edits import foreign
from tests.explanation.edits.planted import alike, module_of

TRIED = 600
REPAIRED = (
    ("highway", "C8", "g * (h - x)", "g * h"),
    ("highway", "C8", "g * (1 - t) + g_t", "g_t"),
    ("highway", "C1", "g * t * (1 - h * h)", "g * t"),
    ("huber", "C3", "threshold * np.sign(residual))", "threshold)"),
    ("bilinear", "B1", "np.outer(left, right)", "np.outer(right, left)"),
    ("bilinear", "B1", "A.T @ left", "A @ left"),
    ("global_pool", "A5", " / (height * width)", ""),
    ("dilated", "F2", "dx[out + tap * dilation]", "dx[out + tap]"),
    ("rms_norm", "C7", "(dnormed - normed * projection) / rms", "dnormed / rms"),
    ("rms_norm", "A2", "np.mean(dnormed * normed", "np.sum(dnormed * normed"),
    ("softplus", "C3", "g * np.exp(z) / (1 + np.exp(z))", "g * np.exp(z)"),
    ("softplus", "C3", "g * np.exp(z) / (1 + np.exp(z))", "g * np.log(1 + np.exp(z))"),
    ("hinge_squared", "A1", "-2 * short", "2 * short"),
    ("hinge_squared", "C1", "-2 * short / distance", "-2 / distance"),
    ("two_heads", "C8", " + d_value @ W_value.T", ""),
    ("minimal_gate", "C8", " + dmixed * h_old", ""),
    ("minimal_gate", "B6", "(f * h_old).T", "h_old.T"),
    ("bag", "A2", "dout[row] / len(words)", "dout[row]"),
    ("bag", "E1", "d_table[word] +=", "d_table[word] ="),
    ("upsample", "A5", "blocks.sum(", "blocks.mean("),
    ("reparametrised", "A4", "noise * 0.5 * np.exp", "noise * np.exp"),
    ("both_ways", "G2", "for k in range(T):\n        dz", "for k in reversed(range(T)):\n        dz"),
    ("both_ways", "G1", "(dstates[k] + carry) * (1 - gs[k] ** 2)", "dstates[k] * (1 - gs[k] ** 2)"),
    ("both_ways", "G3", "du += dz * hs[k]", "du += dz * hs[k + 1]"),
    ("perceptron", "C1", "erreur * sortie * (1 - sortie)", "erreur"),
    ("perceptron", "C3", "(1 - couche**2)", "couche * (1 - couche)"),
    ("perceptron", "B6", "delta2.dot(poids2.T)", "erreur.dot(poids2.T)"),
    ("stack", "C1", "g * (outgoing > 0)", "g"),
    ("stack", "C2", "(outgoing > 0)", "(g > 0)"),
    ("prelu", "C1", "upstream * self.inputs * negative", "upstream * self.inputs"),
)
NOT_REPAIRED = (
    ("scalar_graph", "self.grad += other.data * out.grad", "self.grad = other.data * out.grad"),
    ("scalar_graph", "other.grad += self.data * out.grad", "other.grad += other.data * out.grad"),
    ("minimal_gate", "(candidate - h_old)", "candidate"),
)


def first_repair(case, right, wrong):
    """Return the first edit that gives the right gradients at two points, among those that gradcheck tries."""
    text = inspect.getsource(foreign)
    assert text.count(right) == 1
    module = module_of(text.replace(right, wrong), f"<foreign {case}: {wrong}>")
    backward, true = (getattr(m, f"{case}_backward") for m in (module, foreign))

    def points(of):
        return [getattr(of, f"{case}_point")(np.random.default_rng(seed)) for seed in (0, 1)]

    truths = [true(*point) for point in points(foreign)]
    for _, edit in zip(range(TRIED), edits(backward, points(module)[0]), strict=False):
        try:
            with np.errstate(all="ignore"):
                found = [edit.backward(*copy.deepcopy(point)) for point in points(module)]
        except Exception:  # noqa: BLE001, S112 (an edit may raise anything, and then it is no repair)
            continue
        if all(alike(one, truth) for one, truth in zip(found, truths, strict=True)):
            return edit
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("case", "mistake", "right", "wrong"), REPAIRED)
def test_the_first_repair_of_a_foreign_mistake_is_of_its_class(case, mistake, right, wrong):
    edit = first_repair(case, right, wrong)
    assert edit is not None
    assert edit.mistake == mistake, edit


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("case", "right", "wrong"), NOT_REPAIRED)
def test_what_no_single_edit_repairs_is_left_alone(case, right, wrong):
    assert first_repair(case, right, wrong) is None


# -- mistakes made twice, and functions behind wrappers


TWICE = """
def backward(dout, cache):
    x, m = cache
    dW1 = dout * x
    dW2 = dout * x ** 3
    return dW1, dW2
"""


def test_a_mistake_made_alike_in_two_statements_is_one_edit():
    wrong = module_of(TWICE, "<a mistake made twice>").backward
    point = np.array([1.0, 2.0, 5.0]), (np.array([0.3, -0.8, 0.7]), 3)

    def right(dout, cache):
        return tuple(gradient / 3 for gradient in wrong(dout, cache))

    edit = next(e for e in edits(wrong, point) if is_twin(e) and alike(e.backward(*point), right(*point)))
    assert (edit.mistake, edit.line) == ("A2", 4)
    assert (edit.before, edit.after) == ("dW1 = dout * x", "dW1 = dout * x / m (likewise line 5)")


def is_twin(edit):
    return edit.after.endswith("(likewise line 5)")


class Doubling:
    def forward(self, x):
        return 2 * x

    def backward(self, dout):
        return dout * 2


def test_a_layer_in_the_cache_is_edited_through_a_wrapper_around_the_adapter():
    forward, backward = from_layer(Doubling())
    dout = np.ones(3)
    _, cache = forward(dout)
    found = list(edits(lambda dout, caches: backward(dout, caches[0]), (dout, (cache,))))
    negated = [edit for edit in found if edit.function == "Doubling.backward" and edit.mistake == "A1"]
    assert np.array_equal(negated[0].backward(dout, (cache,))[0], [-2.0, -2.0, -2.0])
