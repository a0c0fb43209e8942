import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest

from gradcheck import central_difference

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # a script imports its neighbours
import calibration


@pytest.fixture
def in_this_process(monkeypatch):
    """Have the pool of the benchmark run here, where a test can plant something."""

    class Here:
        def __init__(self, *_args, **_settings): ...

        def __enter__(self):
            return self

        def __exit__(self, *_error): ...

        map = staticmethod(map)

    monkeypatch.setattr(calibration, "ProcessPoolExecutor", Here)


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["calibration.py", *map(str, arguments)])
    return calibration.main()


def test_the_same_seed_measures_the_same():
    assert calibration.measure(3) == calibration.measure(3)
    assert calibration.measure(3) != calibration.measure(4)


@pytest.mark.parametrize("family", calibration.TABLES["plain"])
def test_a_plain_family_states_the_derivative_of_its_function(family):
    """A plain difference at one step comes near it in most cases."""
    apart = []
    for seed in range(9):
        rng = np.random.default_rng(seed)
        case = calibration.TABLES["plain"][family](rng)
        v = rng.standard_normal(case.x.shape)
        h = 1e-5 * (np.linalg.norm(case.x) or 1.0) / np.linalg.norm(v)
        slope, exact = (case.f(case.x + h * v) - case.f(case.x - h * v)) / (2 * h), case.derivative(v)
        change = abs(case.f(case.x + h * v)) + abs(case.f(case.x - h * v))
        apart.append(abs(slope - exact) / (abs(exact) + 1e-7 * change / h + 1e-300))
    assert np.median(apart) < 0.2


@pytest.mark.parametrize("family", calibration.TABLES["edges"])
def test_a_family_at_an_edge_states_the_derivative_of_its_function(family):
    """Of differences at steps of all sizes, to one side, one comes near it wherever float64 resolves it."""
    apart = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        case = calibration.TABLES["edges"][family](rng)
        v = rng.standard_normal(case.x.shape)
        length, exact = (np.linalg.norm(case.x) or 1.0) / np.linalg.norm(v), case.derivative(v)
        for h in length * 10.0 ** np.arange(-14, 0):
            for t in (h, -h):
                with contextlib.suppress(ValueError):  # outside the domain
                    apart.append((abs((case.f(case.x + t * v) - case.f(case.x)) / t / exact - 1), seed))
    assert len({seed for error, seed in apart if error < 0.2}) >= 3


def test_the_bounds_hold_on_a_sample(monkeypatch, in_this_process, capsys, tmp_path):
    assert run(monkeypatch, "--cases", 400, "--json", tmp_path / "found.json") == 0
    assert "1200 estimates: the bound holds in 100.0000 %" in capsys.readouterr().out
    assert (tmp_path / "found.json").exists()


def test_a_bound_that_lies_is_reported_with_its_seed(monkeypatch, in_this_process, capsys):
    def liar(f, x):
        measure = central_difference(f, x)
        return lambda v: measure(v)._replace(error=0.0, kink=0.0)

    monkeypatch.setattr(calibration, "central_difference", liar)
    assert run(monkeypatch, "--cases", 60) == 1
    assert "violated: " in capsys.readouterr().out
