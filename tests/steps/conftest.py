"""What a dangerous function writes into, or would delete."""

import pytest

from tests.steps.dangers import Diary


@pytest.fixture
def diary(tmp_path):
    return Diary(tmp_path / "diary")


@pytest.fixture
def precious(tmp_path):
    """A file that a dangerous function deletes or overwrites."""
    path = tmp_path / "precious"
    path.write_bytes(b"results of a week")
    yield path
    assert path.read_bytes() == b"results of a week"
    assert {each.name for each in tmp_path.iterdir()} <= {"precious", "diary"}
