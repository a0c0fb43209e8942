"""The peers' own LeNet-5s. conftest.py leaves this file out where neither peer is installed."""

import importlib.util
import sys
from pathlib import Path

import pytest

from derivations.lenet5 import LENET5
from gradcheck import point

FOLDER = Path(__file__).resolve().parent.parent.parent / "benchmarks"


@pytest.fixture
def benches(monkeypatch):
    """Return a function that imports one of the scripts of the folder by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield __import__
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(sys.modules[name].__file__).parent == FOLDER:
            del sys.modules[name]


def native_in_autograd(natives, args):
    return natives.in_autograd(args[2]), lambda array: array


def native_in_torch(natives, args):
    import torch

    return natives.in_torch(args[2]), torch.from_numpy


NATIVES = {"autograd": native_in_autograd, "torch": native_in_torch}  # peers that are not installed have no test


@pytest.mark.parametrize("native_of", [NATIVES[peer] for peer in NATIVES if importlib.util.find_spec(peer)])
def test_a_network_written_for_a_peer_computes_what_ours_does(native_of, benches):
    args = point(LENET5.spec, N=2)
    lenet = benches("peers_lenet")
    network = lenet.flat(args)
    native, convert = native_of(benches("natives"), args)
    loss, arrays = float(network.forward(*network.args)[0]), [convert(array) for array in network.args]
    lenet.must_compute(loss, native, arrays)
    with pytest.raises(RuntimeError, match="must return the loss"):
        lenet.must_compute(loss * (1 + 1e-9), native, arrays)
