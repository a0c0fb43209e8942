"""The pytest plugin: failures nobody looked at, remarks, what no check could show, which sizes failed. Level 6.

Loaded by its entry point wherever gradcheck is installed; ``-p no:gradcheck`` turns it off. It imports what costs when
a test makes its first check. What is found travels with the report of the test, as plain data, so that it arrives from
the workers of pytest-xdist too.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from gradcheck.witness import WITNESS

__all__ = ["pytest_runtest_call", "pytest_runtest_makereport", "pytest_terminal_summary"]

_CHECKS = pytest.StashKey[Any]()  # holds the Checks of a test
_SUMMARY = "gradcheck_summary"  # the attribute of a report
LINES = 40  # of a section at most


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Take down every check that the test makes; fail a test that did not look at one that did not pass.

    A doctest compares what is printed, and needs no other look.
    """
    overlooked: list[tuple[str, Any]] = []  # what a check said, and its findings, which know whether somebody asked

    def note(*check: Any) -> None:
        _, backward, _, report = check
        if backward is not None:
            if _CHECKS not in item.stash:
                from gradcheck.blindness.suite import Checks

                item.stash[_CHECKS] = Checks()
            item.stash[_CHECKS](*check)
        said = f"{report.name}: {report.verdict.upper()}"
        overlooked[:] = [(other, findings) for other, findings in overlooked if not findings.asked]
        if not report and isinstance(item, pytest.Function):
            overlooked.append((said, report.arguments))
        report.arguments.asked = False

    before = WITNESS.set(note)
    try:
        result = yield
    except (pytest.skip.Exception, pytest.xfail.Exception):
        _must_be_looked_at(overlooked)
        raise
    finally:
        WITNESS.reset(before)
    _must_be_looked_at(overlooked)
    return result


def _must_be_looked_at(checks: list[tuple[str, Any]]) -> None:
    """Fail the test for checks that did not pass and of which nobody asked the verdict or a finding."""
    left = dict.fromkeys(said for said, findings in checks if not findings.asked)
    if left:
        pytest.fail(
            f"gradcheck: {', '.join(left)}, and nobody asserted on it. "
            "Write assert examine_backward(...), or check_backward(...).",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hang what was found at the report of the test."""
    report = yield
    if call.when == "call" and _CHECKS in item.stash:
        checks = item.stash[_CHECKS]
        setattr(report, _SUMMARY, checks.summary())
        if report.failed and (evidence := checks.evidence()):
            report.sections.append(("gradcheck evidence", "\n".join(evidence)))
        del item.stash[_CHECKS]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say of every test with checks what was remarked, and what none of its examples could have shown."""
    summaries: dict[str, Any] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            summary = getattr(report, _SUMMARY, None)
            if summary is not None:
                from gradcheck.blindness.suite import merged

                test = report.nodeid.partition("[")[0]  # the examples of all its parameters count
                summaries[test] = merged(summaries[test], summary) if test in summaries else summary
    if not summaries:
        return
    from gradcheck.blindness.suite import remarks, sentences

    for title, told in (("remarks", remarks), ("what no example could have shown", sentences)):
        lines = [f"{test}: {line}" for test, summary in sorted(summaries.items()) for line in told(summary)]
        if not lines:
            continue
        terminalreporter.section(f"gradcheck: {title}")
        for line in lines[:LINES]:
            terminalreporter.write_line(line)
        if len(lines) > LINES:
            terminalreporter.write_line(f"and {len(lines) - LINES} more; run fewer tests to see them")
