import sys
from pathlib import Path

import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import bptt

    yield bptt
    del sys.modules["bptt"]


def test_the_recursion_needs_t_products_and_the_double_sum_t_times_t_plus_one_half(bench):
    one_product = bench.M * bench.M
    for T in (1, 4, 9):
        assert bench.cost("recursion", T, 1).multiplications == T * one_product
        assert bench.cost("double sum", T, 1).multiplications == T * (T + 1) // 2 * one_product
        assert bench.cost("Jacobian product", T, 1).multiplications == T * (T + 1) // 2 * one_product * bench.M


def test_the_table_shows_the_powers_of_t_and_the_picture_is_made(bench, tmp_path, capsys):
    picture = tmp_path / "bptt.png"
    bench.main(["--lengths", "32", "64", "--repeats", "1", "--picture", str(picture)])
    *_, last = capsys.readouterr().out.splitlines()
    name, *powers = last.split()
    assert name == "power"
    assert [powers[i] for i in (0, 2, 4)] == ["1.00", "1.98", "1.98"]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("lengths", [["8"], ["8", "8"]])
def test_one_length_alone_is_refused(bench, lengths, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--lengths", *lengths])
    assert "--lengths must be two or more, but is one. Add another: the powers need two." in capsys.readouterr().err
