"""What a rule says of values holds of all that are drawn, and with room for a step of a difference."""

import numpy as np
import pytest

from gradcheck.shapes.point import point


def drawn(text, **sizes):
    """The argument x of several points."""
    return [point(text, seed=seed, **sizes)[0] for seed in range(20)]


LAWS = {
    "x: N D": lambda x: abs(x.mean()) < 1,
    "x: N D > 2": lambda x: (x > 2.1).all(),
    "x: N D < -1": lambda x: (x < -1.1).all(),
    "x: N D in 0 1": lambda x: (x > 0.04).all() and (x < 0.96).all(),
    "x: N D > 0 < D": lambda x: (x > 0).all() and (x < 7).all(),
    "x: N D away from 0": lambda x: (abs(x) >= 0.1).all() and (x < 0).any(),
    "x: N D away from 3": lambda x: (abs(x - 3) >= 0.1).all(),
    "x: N D simplex": lambda x: np.allclose(x.sum(axis=-1), 1) and (x > 0).all(),
    "x: N D unit": lambda x: np.allclose((x**2).sum(axis=-1), 1),
    "x: N D distinct": lambda x: np.diff(np.sort(x.ravel())).min() >= 0.25,
    "x: N D increasing": lambda x: (np.diff(x, axis=-1) >= 0.1).all(),
    "x: N D D symmetric": lambda x: np.array_equal(x, x.swapaxes(1, 2)),
    "x: N D D psd": lambda x: np.linalg.eigvalsh(x).min() >= 0.49,
    "x: D D lower": lambda x: np.array_equal(x, np.tril(x)) and (np.diag(x) >= 0.5).all(),
    "x: D D upper": lambda x: np.array_equal(x, np.triu(x)) and (np.diag(x) >= 0.5).all(),
    "x: D N orthogonal": lambda x: np.allclose(x.T @ x, np.eye(x.shape[1])),
    "x: N D orthogonal": lambda x: np.allclose(x @ x.T, np.eye(x.shape[0])),
    "x: N D int < D": lambda x: x.dtype.kind == "i" and x.min() >= 0 and x.max() < 7,
    "x: N D int in 2 3": lambda x: set(x.ravel()) == {2, 3},
    "x: N D int > 2 <= 4": lambda x: set(x.ravel()) == {3, 4},
    "x: D int < D distinct": lambda x: sorted(x) == list(range(7)),
    "x: N D bool": lambda x: x.dtype == bool and x.any(axis=-1).all(),
    "x: D D bool lower": lambda x: np.array_equal(x, np.tri(7, dtype=bool)),
    "x: D D bool upper": lambda x: np.array_equal(x, np.tri(7, dtype=bool).T),
    "x: N D float32": lambda x: x.dtype == np.float32,
    "x: N D scale 1000": lambda x: abs(x).max() > 300,
    "x: ()": lambda x: isinstance(x, np.ndarray) and x.shape == (),
}


@pytest.mark.parametrize("text", LAWS)
def test_values_obey_their_rule(text):
    sizes = {"N": 5, "D": 7}
    for x in drawn(text, **{name: size for name, size in sizes.items() if name in text}):
        assert LAWS[text](x)


def test_numbers_are_pythons_own():
    lam, count, flag = point("lam: float in 0 1, count: int in 1 5, flag in True False, x: N", seed=2, N=2)[:3]
    assert type(lam) is float
    assert 0 < lam < 1
    assert type(count) is int
    assert 1 <= count <= 5
    assert type(flag) is bool


def test_containers_hold_their_parts():
    params, state, layers = point("p: {W: D M, b: M}, s: tuple[D, M], l: [D, 3]", D=2, M=4)
    assert {key: value.shape for key, value in params.items()} == {"W": (2, 4), "b": (4,)}
    assert (type(state), [each.shape for each in state]) == (tuple, [(2,), (4,)])
    assert (type(layers), [each.shape for each in layers]) == (list, [(2,), (3,)])
