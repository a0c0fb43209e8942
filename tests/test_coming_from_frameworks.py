"""The pages whose tables hold calls: those of packages that the tests do without, of those that are installed."""

import importlib.util

import pytest

from tests.test_coming_from import EVERY, HERE, slips_of

CALLS = [call for call in EVERY if not call.packages <= HERE and all(map(importlib.util.find_spec, call.packages))]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Run in a folder of its own: OpenMDAO writes reports where it is run."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_right_rule_passes_there_and_here(call):
    assert call.passes()


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_wrong_rule_passes_neither_there_nor_here(call):
    assert not call.passes(*slips_of(call))
