import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture
def kinks(monkeypatch):
    """The campaign and its nets, imported as a script imports its neighbours."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import kinks

    yield kinks
    for name in ("kinks", "kink_functions", "kink_nets"):
        del sys.modules[name]


def test_nets_at_kinks_are_judged_as_a_person_would(kinks, capsys):
    assert kinks.main(["--seeds", "1", "--only", "hinge at the margin"]) == 0
    assert capsys.readouterr().out.endswith("wrong: 0 of 1 judged wrongly, 1 nets\n\n")


def test_a_net_that_is_judged_wrongly_is_told_and_fails_the_campaign(kinks, capsys, monkeypatch):
    relu, unmasked = lambda x: (np.maximum(x, 0), x), lambda dy, _x: dy
    monkeypatch.setattr(
        kinks, "RIGHT", [kinks.Net("a relu without a mask", lambda n: (relu, unmasked, (n(9),)), ("pass",))]
    )
    assert kinks.main(["--seeds", "1", "--only", "a relu without a mask"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("NOT a relu without a mask")
    assert "dx  fail" in printed
