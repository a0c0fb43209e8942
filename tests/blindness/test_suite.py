import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.blindness.suite import Checks, merged, remarks, sentences
from gradcheck.report import Finding, Report, Verdict
from gradcheck.witness import WITNESS, tell


def square(x, k=1):
    return x * x, x


def square_backward(dy, x):
    return 2 * x * dy


def note(checks, size, verdict=Verdict.PASS, value=None, k=2, remark=None, remarks=()):
    x = np.linspace(-1, 1.5, size) if value is None else np.full(size, value)
    report = Report("square", {"x": Finding(verdict, x.shape, 0.0, 0.0, remark=remark)}, (), 0, remarks=remarks)
    checks(square, square_backward, Arguments.of(square, (x, k)), report)


def checks_of(*rows):
    checks = Checks()
    for size, fails in rows:
        note(checks, size, Verdict.FAIL if fails else Verdict.PASS)
    return checks


def test_a_size_below_which_all_passed_is_called_needed():
    assert checks_of((3, True), (1, False), (2, False), (1, False), (4, True)).evidence() == [
        "2 of 5 examples failed, all with x.shape[0] ≥ 3; all 3 with others passed"
    ]


def test_a_size_above_which_all_passed_is_called_needed():
    assert checks_of((1, True), (2, False), (3, False), (4, False)).evidence() == [
        "1 of 4 examples failed, all with x.shape[0] ≤ 1; all 3 with others passed"
    ]


def test_two_checks_that_passed_are_no_evidence():
    assert checks_of((3, True), (1, False), (2, False)).evidence() == []


def test_without_a_failure_there_is_no_evidence():
    assert checks_of((1, False), (2, False), (3, False), (4, False)).evidence() == []


def test_one_example_that_is_different_is_enough():
    checks = Checks()
    for value in (0.0, 0.0, 0.5):
        note(checks, 3, value=value)
    assert list(sentences(checks.summary())) == []


def test_a_zero_in_every_example_is_told():
    checks = Checks()
    for _ in range(2):
        note(checks, 3, value=0.0, k=0)
    assert list(sentences(checks.summary())) == [
        "square, 2 checks: x is zero in every example, so what it multiplies could not be seen. Draw x other than 0.",
        "square, 2 checks: k is 0 in every example, so what it multiplies could not be seen. Try others.",
    ]


def test_what_an_axis_of_one_hides_is_told_unless_another_test_drew_more():
    one, more = checks_of((1, False)).summary(), checks_of((4, False)).summary()
    assert list(sentences(one)) == [
        "square, 1 check: no example had x.shape[0] ≥ 2, so sum for mean over the batch (A2) could not be seen. "
        "Draw x.shape[0] of at least 2."
    ]
    assert list(sentences(merged(one, more))) == list(sentences(merged(more, one))) == []
    assert merged(one, more)["square"]["checks"] == 2


def test_remarks_are_counted_by_what_they_are_about_and_the_first_of_each_is_told():
    checks, others = Checks(), Checks()
    for exact in (None, "exact to 2e-07", "exact to 3e-07"):
        note(checks, 3, remark=exact, remarks=("square_backward shares memory.",) if exact else ())
    note(others, 3, remark="exact to 4e-07")
    assert list(remarks(checks.summary())) == [
        "square, 2 of 3 checks: square_backward shares memory.",
        "square, 2 of 3 checks: dx: exact to 2e-07",
    ]
    assert list(remarks(merged(checks.summary(), others.summary()))) == [
        "square, 2 of 4 checks: square_backward shares memory.",
        "square, 3 of 4 checks: dx: exact to 2e-07",
    ]
    assert list(remarks(merged(others.summary(), others.summary()))) == ["square, 2 of 2 checks: dx: exact to 4e-07"]


def test_the_witness_of_a_context_is_told_of_a_check():
    told = []
    report = Report("square", {}, (), 0)
    arguments = Arguments.of(square, (np.ones(2),))
    before = WITNESS.set(lambda *check: told.append(check))
    try:
        assert tell(square, square_backward, arguments, report) is report
    finally:
        WITNESS.reset(before)
    tell(square, square_backward, arguments, report)
    assert told == [(square, square_backward, arguments, report)]
