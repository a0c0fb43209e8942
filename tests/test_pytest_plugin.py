"""What the plugin says at the end of a run, with one process and with two, inside ``@given`` and without."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TITLE = "gradcheck: what no example could have shown"
INSTALLED = bool(importlib.metadata.entry_points(group="pytest11", name="gradcheck"))

USERS = """
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from dataclasses import replace
from gradcheck import check_backward
from gradcheck.arguments import Arguments
from gradcheck.witness import tell

few = settings(max_examples=30, derandomize=True, database=None, deadline=None)

def affine(x, W, b):
    return x @ W + b, (x, W)

def right(dy, cache):
    x, W = cache
    return dy @ W.T, x.T @ dy, dy.sum(axis=0)

def averaged(dy, cache):
    x, W = cache
    return dy @ W.T, x.T @ dy, dy.mean(axis=0)

def doubled(dy, cache):
    return tuple(2 * gradient for gradient in right(dy, cache))

def args(N, D=3, M=4):
    rng = np.random.default_rng(N)
    return rng.standard_normal((N, D)), rng.standard_normal((D, M)), rng.standard_normal(M)

def test_one_sample():
    for _ in range(4):
        check_backward(affine, right, args(1))

@settings(few, max_examples=4)
@given(st.integers(0, 99))
def test_one_sample_of_any_length(M):
    check_backward(affine, right, args(1, M=2 + M))

@pytest.mark.parametrize("N", [1, 1, 1, 1])
def test_one_sample_in_every_parameter(N):
    check_backward(affine, right, args(N))

@pytest.mark.parametrize("N", [1, 1, 1, 2])
def test_two_samples_in_one_parameter(N):
    check_backward(affine, right, args(N))

def test_three_samples():
    check_backward(affine, right, args(3))

def test_something_to_remark():
    report = replace(check_backward(affine, right, args(3)), remarks=("right shares memory.",))
    tell(affine, right, Arguments.of(affine, args(3)), report)

def test_without_a_check():
    assert True

def test_symmetric():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((3, 3))
    check_backward(affine, right, (rng.standard_normal((2, 3)), W + W.T, np.zeros(3)))

def test_fails_in_a_loop():
    failures = 0
    for N in (1, 2, 1, 3, 1, 5, 1):
        try:
            check_backward(affine, averaged, args(N), hints=False)
        except AssertionError:
            failures += 1
    assert failures == 0

@few
@given(st.integers(1, 4), st.integers(1, 4))
def test_fails_as_a_property(N, M):
    check_backward(affine, averaged, args(N, M=M), hints=False)

def test_fails_always():
    for N in (1, 2, 1, 3, 1, 5, 1):
        with pytest.raises(AssertionError):
            check_backward(affine, doubled, args(N), hints=False)
    raise AssertionError
"""
OVERLOOKED = """
import unittest
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from gradcheck import Verdict, check_backward, examine_backward, examine_shapes

few = settings(max_examples=9, derandomize=True, database=None, deadline=None)
X = np.arange(3.0)

def sine(x):
    return np.sin(x), x

def cosine(dy, x):
    return dy * np.cos(x)

def examine(factor=2.0):
    return examine_backward(sine, lambda dy, x: factor * cosine(dy, x), (X,), hints=False)

def test_bad_drops_it():
    examine()

def test_bad_prints_it():
    report = examine()
    print(report, repr(report))
    report.show()
    report._repr_html_()

def test_bad_drops_one_over_many_shapes():
    examine_shapes(sine, lambda dy, x: 2 * cosine(dy, x), "x: N", examples=2, hints=False)

def test_good_asserts_on_one_over_many_shapes():
    assert not examine_shapes(sine, lambda dy, x: 2 * cosine(dy, x), "x: N", examples=2, hints=False)

def test_bad_looks_at_another_one():
    assert not examine()
    examine()

@few
@given(st.integers(2, 9))
def test_bad_drops_a_property(factor):
    examine(factor)

@few
@given(st.integers(1, 9))
def test_bad_drops_one_of_many(factor):
    report = examine(factor)
    assert factor == 1 or factor == 5 or not report

def test_bad_skips_afterwards():
    examine()
    pytest.skip("no time")

def test_bad_expects_to_fail_afterwards():
    examine()
    pytest.xfail("some day")

def test_bad_has_an_undecided_one():
    examine_backward(lambda x: (np.sin(x) + np.random.default_rng().normal(), x), cosine, (X,), hints=False)

class BadCase(unittest.TestCase):
    def test_drops_it(self):
        examine()

def test_good_asserts_on_the_verdict():
    assert examine().verdict is Verdict.FAIL

def test_good_asserts_on_a_finding():
    assert examine().arguments["x"].error > 0.1

def test_good_compares_reports():
    assert examine() != examine(1.0)

def test_good_asserts_on_plain_data():
    assert examine().to_dict()["verdict"] == "fail"

def test_good_expects_an_error():
    with pytest.raises(AssertionError):
        check_backward(sine, lambda dy, x: 2 * dy, (X,), hints=False)

def test_good_drops_one_that_passes():
    examine(1.0)

@few
@given(st.integers(2, 9))
def test_good_property(factor):
    assert not examine(factor)

class GoodCase(unittest.TestCase):
    def test_looks_at_it(self):
        self.assertFalse(examine())

def test_good_prints_in_a_doctest():
    '''
    >>> import numpy as np, gradcheck
    >>> report = gradcheck.examine_backward(lambda x: (2 * x, None), lambda dy, _: dy, (np.ones(3),), hints=False)
    >>> print(str(report).partition(" (")[0])
    <lambda>: FAIL
    '''

def test_right_that_fails_fails_by_itself():
    assert examine()
"""
A2 = (
    "affine, 4 checks: no example had x.shape[0] ≥ 2, so sum for mean over the batch (A2) and overwritten instead of "
    "accumulated (E1) could not be seen. Draw x.shape[0] of at least 2."
)


def pytest_lines(folder, *options, tests=USERS):
    """Return the lines that a user's pytest prints, a process of its own, run on ``tests`` with this plugin."""
    (folder / "test_users.py").write_text(tests, encoding="utf-8")
    plugin = [] if INSTALLED else ["-p", "gradcheck.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib"]
    result = subprocess.run(  # noqa: S603  (our own Python and options)
        [*command, *plugin, *options, "test_users.py"],
        capture_output=True, text=True, encoding="utf-8", check=False, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    return result.stdout.splitlines()


@pytest.fixture(scope="module", params=[(), ("-n", "2")], ids=["one process", "two processes"])
def lines(request, tmp_path_factory):
    return pytest_lines(tmp_path_factory.mktemp("users"), *request.param)


def told(lines, test, title=TITLE):
    """Return what a section at the end says of one test."""
    start = next(i for i, line in enumerate(lines) if title in line)
    head = f"test_users.py::{test}: "
    return [line.removeprefix(head) for line in lines[start + 1 :] if line.startswith(head)]


def evidence(lines, test):
    """Return what is printed with the failure of one test."""
    start = next(i for i, line in enumerate(lines) if line.startswith("____") and f" {test} " in line)
    rest = lines[start + 1 :]
    end = next((i for i, line in enumerate(rest) if line.startswith(("____", "===="))), len(rest))
    return [line for line in rest[:end] if "examples failed, all with" in line]


def test_the_users_tests_end_as_they_would_without_the_plugin(lines):
    assert lines[-1].strip("= ").startswith("3 failed, 14 passed in ")


def test_a_batch_that_is_always_one_is_told_at_the_end(lines):
    assert told(lines, "test_one_sample") == [A2]


def test_remarks_have_a_section_of_their_own(lines):
    assert told(lines, "test_something_to_remark", "gradcheck: remarks") == [
        "affine, 1 of 2 checks: right shares memory."
    ]


def test_all_examples_of_a_property_count_together(lines):
    assert told(lines, "test_one_sample_of_any_length") == [A2]


def test_all_parameters_of_a_test_count_together(lines):
    assert told(lines, "test_one_sample_in_every_parameter") == [A2]
    assert told(lines, "test_two_samples_in_one_parameter") == []


def test_nothing_is_told_where_nothing_hides(lines):
    assert told(lines, "test_three_samples") == []
    assert told(lines, "test_without_a_check") == []


def test_symmetric_matrices_and_zeros_are_told(lines):
    assert told(lines, "test_symmetric") == [
        "affine, 1 check: W is symmetric in every example, so a transpose (B1) could not be seen. "
        "Draw a W that is not symmetric.",
        "affine, 1 check: b is zero in every example, so what it multiplies could not be seen. Draw b other than 0.",
    ]


def test_a_failure_says_which_size_it_needs(lines):
    assert evidence(lines, "test_fails_in_a_loop") == [
        "3 of 7 examples failed, all with x.shape[0] ≥ 2; all 4 with others passed"
    ]


def test_a_property_that_fails_says_which_size_it_needs(lines):
    (needed,) = evidence(lines, "test_fails_as_a_property")
    assert "examples failed, all with x.shape[0] ≥ 2;" in needed


def test_no_size_is_named_where_every_size_fails(lines):
    assert evidence(lines, "test_fails_always") == []


# -- failures that nobody looked at


@pytest.fixture(scope="module", params=[(), ("-n", "2")], ids=["one process", "two processes"])
def overlooked(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("overlooked")
    return pytest_lines(folder, "-rA", "--doctest-modules", *request.param, tests=OVERLOOKED)


def test_a_check_that_did_not_pass_and_that_nobody_asserted_on_fails_its_test(overlooked):
    ended = [line for line in overlooked if "test_users.py::" in line and line.split(" ")[0].isupper()]
    ends = {line.split(" - ")[0].split("::", 1)[1]: line.split(" ")[0] for line in ended}
    bad = {test for test in ends if "bad" in test.lower()}
    assert len(ends) == 22
    assert {ends[test] for test in bad} == {"FAILED"}
    assert {test for test, end in ends.items() if end == "FAILED"} - bad == {"test_right_that_fails_fails_by_itself"}


def test_the_check_is_named(overlooked):
    sentence = (
        "gradcheck: sine: FAIL, and nobody asserted on it. Write assert examine_backward(...), or check_backward(...)."
    )
    undecided = sentence.replace("sine: FAIL", "<lambda>: INCONCLUSIVE")
    said = [line for line in overlooked if line.startswith("gradcheck: ") and "nobody" in line]
    assert sorted(said) == sorted([sentence] * 9 + [undecided])


def test_the_plugin_can_be_turned_off(tmp_path):
    lines = pytest_lines(tmp_path, "-p", "no:gradcheck" if INSTALLED else "no:gradcheck.pytest_plugin")
    assert lines[-1].strip("= ").startswith("3 failed, 14 passed in ")
    assert not any(TITLE in line or "examples failed, all with" in line for line in lines)


def test_loading_the_plugin_imports_nothing_heavy():
    program = "import sys, gradcheck.pytest_plugin\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    result = subprocess.run(  # noqa: S603  (our own Python and program)
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not {"numpy", "jax", "hypothesis", "torch", "rich", "matplotlib"} & set(result.stdout.split())


def test_the_entry_point_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"gradcheck": "gradcheck.pytest_plugin"}
