import sys

import numpy as np
import pytest

from benchmarks import graph_modes

TABLE = """\
depth  edges         paths   edge visits: sum over paths  forward mode  reverse mode
    1      5             3                             6            10             5
    2     10             7                            26            30            10
    3     15            15                            82            60            15
    4     20            31                    not walked           100            20
"""


def test_the_table_holds_the_paths_and_the_visits_of_each_way(capsys):
    assert graph_modes.main(["--depth", "4", "--walk", "3"]) == 0
    assert capsys.readouterr().out == TABLE


def test_the_deepest_ladder_is_the_one_asked_for(capsys):
    assert graph_modes.main(["--depth", "13", "--walk", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:3] == ["13", "65", str(2**14 - 1)]


def test_the_picture_is_written_without_the_state_of_pyplot(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    assert graph_modes.main(["--depth", "3", "--picture", str(tmp_path / "modes.png")]) == 0
    assert (tmp_path / "modes.png").read_bytes().startswith(b"\x89PNG")


def test_ways_that_disagree_are_reported(monkeypatch, capsys):
    def biased(i, cache):
        derivative, visits = graph_modes.sum_over_paths(i, cache)
        return derivative * (1 + 1e-9), visits

    monkeypatch.setattr(graph_modes, "forward_mode", biased)
    assert graph_modes.main(["--depth", "2"]) == 1
    assert capsys.readouterr().out.endswith("the three ways disagree at depth 1, 2\n")


def test_a_depth_below_one_is_refused(capsys):
    with pytest.raises(SystemExit):
        graph_modes.main(["--depth", "0"])
    assert capsys.readouterr().err.endswith("error: --depth must be at least 1, but it is 0.\n")


def test_the_global_random_state_is_left_alone():
    np.random.seed(0)  # noqa: NPY002  (the global state is what this test is about)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002  (likewise)
    graph_modes.measure(3, walk=True)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002  (likewise)
