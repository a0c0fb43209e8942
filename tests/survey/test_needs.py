"""What is said of the sizes that a failure needs: no rule that is refuted, and none that says nothing."""

import numpy as np

from gradcheck import examine_shapes


def flatten(x, W):
    return x.reshape(len(x), -1) @ W, (x, W)


def test_sizes_of_which_a_failure_needs_the_product_alone_are_not_said_to_need_more():
    def backward(dy, cache):
        x, W = cache
        dx = dy @ (W if W.shape[0] == W.shape[1] else W.T)
        return dx.reshape(x.shape), x.reshape(len(x), -1).T @ dy

    for seed in range(2):
        report = examine_shapes(flatten, backward, "x: N C H V, W: C*H*V M", seed=seed)
        assert not report
        assert set(report.needs.rules) == {"M ≥ 2"}


def test_a_size_that_is_twice_another_is_not_said_to_be_small():
    def backward(dy, cache):
        x, W = cache
        return 2 * dy @ W.T if W.shape[0] == 2 * W.shape[1] else dy @ W.T, x.T @ dy

    for seed in range(2):
        report = examine_shapes(lambda x, W: (x @ W, (x, W)), backward, "x: N D, W: D M", seed=seed)
        assert not report
        assert not {"D ≤ 2", "M = 1"}.intersection(report.needs.rules)


def test_two_sizes_are_not_called_apart_where_the_other_rules_say_so():
    def backward(dy, cache):
        x, pad = cache
        dx = dy[pad : pad + len(x)].copy()
        return (dx[::-1].copy() if len(x) > 1 else dx,)

    def padded(x, pad):
        return np.pad(x, pad), (x, pad)

    report = examine_shapes(padded, backward, "x: N, pad in 1", seed=0)
    assert not report
    assert report.place == {"N": 2, "pad": 1}
    assert report.needs.rules == ("N ≥ 2",)


def test_the_points_that_passed_elsewhere_are_each_counted_once():
    def backward(dy, cache):
        x, W = cache
        return dy @ (W if W.shape[0] == W.shape[1] else W.T), x.T @ dy

    calls = []

    def forward(x, W):
        return x @ W, (x, W)

    def counted(dy, cache):
        calls.append(cache[1].shape)
        return backward(dy, cache)

    report = examine_shapes(forward, counted, "x: N D, W: D M", seed=0)
    assert not report
    assert report.needs.rules == ("D = M", "D ≥ 2", "M ≥ 2")
    assert 30 <= report.needs.passed <= sum(D != M or D == 1 for D, M in calls)
