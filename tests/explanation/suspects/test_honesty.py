"""Where a class was named that a teacher would not have named, and what is said now."""

import numpy as np

from gradcheck import examine_backward
from gradcheck.explanation.suspects import chain, counterfactual, numbers, scale, shapes
from gradcheck.explanation.suspects.sight import Shelf
from tests.explanation.suspects.pair import evidence_of, normal, suspicions


def first_of(family, evidence):
    with np.errstate(all="ignore"):
        return next(iter(sorted(family.suspects(evidence), key=lambda each: each.doubt)), None)


def named(forward, backward, args):
    report = examine_backward(forward, backward, args, seed=0)
    return [each.mistake for each in report.explanations]


def test_a_bias_alone_that_is_averaged_is_a_mean_before_it_is_a_second_division():
    def forward(x, W, b):
        return np.sin(x @ W + b).sum() / len(x), (x, W, b)

    def backward(dout, cache):
        x, W, b = cache
        dz = dout * np.cos(x @ W + b) / len(x)
        return dz @ W.T, x.T @ dz, dz.mean(axis=0)

    found = list(scale.suspects(evidence_of(forward, backward, normal(1, (5, 3), (3, 4), (4,)))))
    assert [each.mistake for each in found] == ["A2", "A3"]


def test_a_constant_that_is_a_size_by_chance_comes_before_the_size():
    def forward(x, W, b):
        return np.sin(x @ W + b).sum(), (x, W, b)

    def backward(dout, cache):
        x, W, b = cache
        dz = dout * np.cos(x @ W + b)
        return dz @ W.T, x.T @ dz, 4 * dz.sum(axis=0)

    found = list(scale.suspects(evidence_of(forward, backward, normal(1, (7, 4), (4, 5), (5,)))))
    assert [each.mistake for each in found] == ["A4", "A2"]


def test_a_factor_that_is_the_root_of_a_size_is_read_as_that():
    def forward(Q, K):
        return Q @ K.T / np.sqrt(Q.shape[1]), (Q, K)

    def backward(dout, cache):
        Q, K = cache
        return dout @ K / np.sqrt(3), dout.T @ Q

    first = first_of(scale, evidence_of(forward, backward, normal(1, (4, 3), (5, 3))))
    assert first.mistake == "A4"
    assert first.sentence == (
        "dK is 1.732 times the true gradient, and 1.732 is the root of Q.shape[1]. Divide by the root of Q.shape[1]."
    )


def test_several_gradients_that_are_sums_over_an_axis_are_no_sums_where_another_is_wrong_too():
    def forward(x, W, b):
        z = np.einsum("nd,kdh->nkh", x, W) + b
        return z.max(axis=1), (x, W, b)

    def backward(dout, cache):
        x, W, b = cache
        dz = np.zeros((len(x), *b.shape)) + dout[:, None]
        return np.einsum("nkh,kdh->nd", dz, W), np.einsum("nd,nkh->kdh", x, dz), dz.sum(0)

    evidence = evidence_of(forward, backward, normal(1, (5, 4), (2, 4, 3), (2, 3)))
    assert evidence.wrong == ("x", "W", "b")
    assert [each for each in shapes.suspects(evidence) if each.mistake == "B4"] == []


def cosine(a, b):
    length = np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / length, (a, b, length)


def test_a_length_taken_for_a_constant_is_named_but_no_wrong_power_of_it():
    def constant(dout, cache):
        a, b, length = cache
        return dout[:, None] * b / length[:, None], dout[:, None] * a / length[:, None]

    def wrong_power(dout, cache):
        a, b, length = cache
        along = (a * b).sum(1) / length**2
        return dout[:, None] * b / length[:, None], dout[:, None] * (a - b * along[:, None]) / length[:, None]

    args = normal(1, (4, 5), (4, 5))
    first = first_of(chain, evidence_of(cosine, constant, args))
    assert (first.mistake, first.arguments) == ("C7", ("b",))

    def off(dout, cache):
        a, b, length = cache
        along = (a * b).sum(1) / length
        return dout[:, None] * b / length[:, None], dout[:, None] * (a - b * along[:, None]) / length[:, None]

    assert evidence_of(cosine, wrong_power, args).wrong == ()
    assert first_of(chain, evidence_of(cosine, off, args)) is None


def correlation(x, kernel):
    n = len(x) - len(kernel) + 1
    return np.array([(x[t : t + len(kernel)] * kernel).sum() for t in range(n)]), (x, kernel)


def test_a_kernel_that_is_reversed_in_a_product_is_a_kernel_and_no_wrong_operand():
    def backward(dout, cache):
        x, kernel = cache
        dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
        for t in range(len(dout)):
            dx[t : t + len(kernel)] += dout[t] * kernel[::-1]
            dkernel += dout[t] * x[t : t + len(kernel)]
        return dx, dkernel

    first = first_of(counterfactual, evidence_of(correlation, backward, normal(1, (7,), (3,))))
    assert first is None or first.mistake == "F1"


def test_a_softmax_without_the_sum_of_its_jacobian_is_named_inside_a_backward():
    def forward(q, V):
        p = np.exp(q - q.max(1, keepdims=True))
        p = p / p.sum(1, keepdims=True)
        return p @ V, (p, V)

    def backward(dout, cache):
        p, V = cache
        return 2 * (0.5 * p * (dout @ V.T)), p.T @ dout

    assert named(forward, backward, normal(1, (4, 5), (5, 2)))[:1] == ["C6"]


def test_the_height_of_an_elu_that_is_written_into_the_forward_is_found():
    def forward(x, W):
        z = x @ W
        return np.where(z > 0, z, 0.7 * (np.exp(z) - 1)), (x, W, z)

    def backward(dout, cache):
        x, W, z = cache
        dz = dout * np.where(z > 0, 1.0, 0.7 * (np.exp(z) - 1))
        return dz @ W.T, x.T @ dz

    first = first_of(counterfactual, evidence_of(forward, backward, normal(1, (5, 3), (3, 4))))
    assert (first.mistake, first.arguments) == ("C3", ("x", "W"))


def test_a_gradient_of_whole_numbers_in_a_dict_of_another_order_is_named():
    def forward(x, params):
        return x @ params["W"] + params["b"], (x, params)

    def backward(dout, cache):
        x, params = cache
        return dout @ params["W"].T, {"b": dout.sum(0), "W": (x.T @ dout).astype(int)}

    x, W, b = normal(1, (5, 3), (3, 4), (4,))
    assert named(forward, backward, (3 * x, {"W": W, "b": b})) == ["H3"]


def lasso(x, w):
    return ((x @ w) ** 2).sum() / 2 + 0.3 * np.abs(w).sum(), (x, w)


def test_a_regulariser_of_absolute_values_is_named_where_it_is_missing_or_that_of_squares():
    def missing(dout, cache):
        x, w = cache
        return dout * np.outer(x @ w, w), dout * x.T @ (x @ w)

    def squares(dout, cache):
        x, w = cache
        return dout * np.outer(x @ w, w), dout * (x.T @ (x @ w) + 0.3 * w)

    args = normal(1, (5, 4), (4,))
    first = suspicions(evidence_of(lasso, missing, args))[0]
    assert (first.mistake, first.arguments) == ("D1", ("w",))
    assert first.sentence == "dw lacks 0.3 * np.sign(w). Add it: the regulariser is the sum of |w|."
    first = suspicions(evidence_of(lasso, squares, args))[0]
    assert first.sentence == (
        "dw lacks 0.3 * np.sign(w), and has 0.3 * w in its place. Add it instead: the regulariser is the sum of |w|."
    )


def test_a_scalar_argument_is_turned_in_no_way_and_breaks_nothing():
    def backward(dout, cache):
        x, b = cache
        return dout * np.cos(x + b), (dout * np.sin(x)).sum()

    evidence = evidence_of(lambda x, b: (np.sin(x + b), (x, b)), backward, (*normal(1, (4,)), np.array(0.3)))
    assert list(shapes.suspects(evidence)) == []
    assert list(numbers.suspects(evidence)) == []


def test_a_shelf_finds_arrays_but_for_rounding_and_nothing_where_it_is_empty():
    one, two = normal(1, (3, 2), (3, 2))
    assert Shelf([one, two]).of(two * (1 + 1e-12)) == [1]
    assert Shelf([one, two]).of(two * (1 + 1e-6)) == []
    assert Shelf([]).of(one) == []
