import io
import math
import string
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gradcheck.mistakes import CATALOGUE
from gradcheck.render import LINES, WIDTH, shows_colour, text
from gradcheck.report import Answers, Entry, Explanation, Finding, Report, Step, Steps, Verdict

ESCAPE = "\033"
LAW = (
    "affine_backward must be linear in the cotangent, but doubling it multiplies dW by 1.5. Do not clip or normalise "
    "inside the backward; clip the gradients when they are used, after the whole backward pass has run."
)
STEPS = Steps(
    (
        Step("/home/ada/net.py", 11, "back", "db2 = dy.sum(axis=0)", "sum", "b2", "right"),
        Step("/home/ada/net.py", 12, "back", "mask = h > 0", "greater", None, "auxiliary"),
        Step("/home/ada/net.py", 13, "back", "dz1 = dy @ W2.T", "matmul", "z1", "wrong"),
        Step("/home/ada/net.py", 14, "back", "dW1 = x.T @ dz1", "matmul", None, "unreached"),
        Step("/home/ada/net.py", 15, "back", "db1 = dz1.sum(axis=0)", "sum", None, "unreached"),
    )
)


def right(shape=(2, 3)):
    return Finding(Verdict.PASS, shape, 1e-12, 3e-10)


def wrong(name, shape=(5,), *, count=5, **settings):
    entries = tuple(Entry(f"d{name}[{i}]", i + 2.0, 1.0, 1e-12, i) for i in reversed(range(count)))
    where = (f"every entry of d{name}",)
    return Finding(
        Verdict.FAIL, shape, 0.5, math.inf, entries[0] if entries else None, entries, where=where, **settings
    )


def undecided(reason="the forward is not finite nearby"):
    return Finding(Verdict.INCONCLUSIVE, (3,), math.nan, math.inf, reason=reason)


def explained(mistake="A1", **settings):
    return Explanation(mistake, ("W",), CATALOGUE[mistake].sentence, verified=True, **settings)


def full(**arguments):
    """A report that has something in every place."""
    return Report(
        "net",
        arguments,
        ("central_difference",),
        7,
        (),
        300,
        lambda: Answers(
            (explained("C1", file="/home/ada/net.py", line=13),),
            None,
            STEPS,
        ),
        "examine_backward(net, back, args, seed=7)",
    )


# -- the order of a person


def test_a_failing_report_tells_in_this_order_what_is_wrong_why_and_on_which_line():
    report = full(x=right(), W1=wrong("W1", count=2), b1=wrong("b1", count=1), W2=right())
    assert str(report) == (
        "net: FAIL (2 of 4 gradients wrong; oracle central_difference, seed 7)\n"
        "  dx   pass  error below 3.0e-10 of its norm\n"
        "  dW1  fail  relative error 0.5; every entry of dW1\n"
        "  db1  fail  relative error 0.5; every entry of db1\n"
        "  dW2  pass  error below 3.0e-10 of its norm\n"
        "  A larger error would have been seen with probability 1 − 1e-06.\n"
        "  entry         claimed       measured  ± bound\n"
        "  dW1[1]              3              1  1.0e-12\n"
        "  dW1[0]              2              1  1.0e-12\n"
        "  db1[0]              2              1  1.0e-12\n"
        "  Why (C1): The derivative of the activation is not multiplied in.\n"
        "  back (net.py)\n"
        "     12   mask = h > 0\n"
        "     13 ✗ dz1 = dy @ W2.T  should be ∂L/∂z1\n"
        "     14 · dW1 = x.T @ dz1\n"
        "  Enters: dW2 is right, dW1 and db1 are wrong: the error enters between them.\n"
        "  Replay: examine_backward(net, back, args, seed=7)"
    )


def test_several_explanations_say_how_to_tell_them_apart():
    two = (explained("B1"), explained("B6", otherwise="It would show on other inputs: sizes that differ."))
    assert str(Report("f", {"W": wrong("W", count=1)}, ("o",), 1, inquiry=lambda: Answers(two))) == (
        "f: FAIL (1 of 1 gradients wrong; oracle o, seed 1)\n"
        "  dW  fail  relative error 0.5; every entry of dW\n"
        "  entry        claimed       measured  ± bound\n"
        "  dW[0]              2              1  1.0e-12\n"
        "  Why (B1): A matrix is transposed where it must not be, or is not where it must be.\n"
        "  Or (B6): A product is taken with the wrong operand, or by element for a matrix product.\n"
        "      To tell: It would show on other inputs: sizes that differ."
    )


def test_a_report_without_an_explanation_says_why_there_is_none():
    silent = Report(
        "f",
        {"W": wrong("W", count=0)},
        ("o",),
        1,
        inquiry=lambda: Answers(silence="no mistake, undone, makes the check pass"),
    )
    assert str(silent) == (
        "f: FAIL (1 of 1 gradients wrong; oracle o, seed 1)\n"
        "  dW  fail  relative error 0.5; every entry of dW\n"
        "  No explanation: no mistake, undone, makes the check pass."
    )


def test_a_wrong_line_is_marked_also_where_nobody_can_say_why():
    silent = Report(
        "f", {"W": wrong("W", count=0)}, ("o",), 1, inquiry=lambda: Answers(silence="too many operations", steps=STEPS)
    )
    assert str(silent).splitlines()[2:] == [
        "  No explanation: too many operations.",
        "  back (net.py)",
        "     12   mask = h > 0",
        "     13 ✗ dz1 = dy @ W2.T  should be ∂L/∂z1",
        "     14 · dW1 = x.T @ dz1",
    ]


def test_a_pass_shows_no_line_until_it_is_asked_for_them():
    passed = Report("f", {"W": right()}, ("o",), 1, inquiry=lambda: Answers(steps=STEPS))
    assert "net.py" not in str(passed) + passed._repr_html_()
    assert passed.steps == STEPS


def test_a_long_reason_is_cut_on_its_line_and_told_in_full_above():
    lines = str(Report("f", {"b": wrong("b", reason=LAW), "x": right()}, ("o",), 1)).splitlines()
    assert lines[1:4] == [
        "  db: affine_backward must be linear in the cotangent, but doubling it multiplies dW by 1.5. Do not clip or "
        "normalise",
        "      inside the backward; clip the gradients when they are used, after the whole backward pass has run.",
        "  db  fail  relative error 0.5; affine_backward must be linear in the cotangent, but doubling it mult…",
    ]


def test_a_broken_law_beside_an_undecided_gradient_does_not_call_every_gradient_right():
    law = ("back must not write into the cotangent, but it changed dout.",)
    headline = str(Report("f", {"x": right(), "b": undecided()}, ("o",), 7, law)).splitlines()[0]
    assert headline == "f: FAIL (no gradient is found wrong, but a law is broken; oracle o, seed 7)"


def test_nothing_enters_between_layers_where_one_is_undecided():
    lines = str(full(W1=wrong("W1"), W2=undecided())).splitlines()
    assert not [line for line in lines if line.startswith("  Enters:")]


# -- numbers


def table(*entries):
    finding = Finding(Verdict.FAIL, (3,), 0.5, math.inf, entries[0], entries)
    lines = str(Report("f", {"x": finding}, ("o",), 1)).splitlines()
    return lines[[line.split()[0] for line in lines].index("entry") :]


def test_claimed_and_measured_are_told_apart_by_the_first_digit_in_which_they_differ_and_one_more():
    assert table(Entry("dx[0]", -0.5404170001, -0.540417, 3e-13), Entry("dx[1]", 3.0, 1.5, 1e-9)) == [
        "  entry         claimed        measured  ± bound",
        "  dx[1]               3             1.5  1.0e-09",
        "  dx[0]  -0.54041700010  -0.54041700000  3.0e-13",
    ]


def test_numbers_of_many_digits_keep_the_columns_aligned():
    assert table(Entry("dx[0]", 1 / 3 + 1e-15, 1 / 3, 1e-17), Entry("dx[12]", 2.0, 1.0, 1e-12)) == [
        "  entry               claimed             measured  ± bound",
        "  dx[12]                    2                    1  1.0e-12",
        "  dx[0]   0.33333333333333431  0.33333333333333331  1.0e-17",
    ]


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.floats(1e-300, 1e300))
@example(1.0, 1.0 + 2**-52, 1e-300)
@example(9.9999999, 10.0, 1e-12)
@example(-1e-310, 1e-310, 1e-320)
def test_two_numbers_that_differ_are_never_printed_alike(claimed, measured, bound):
    row = table(Entry("dx[0]", claimed, measured, bound))[1].split()
    assert (row[1] == row[2]) == (claimed == measured)


def test_no_more_digits_are_printed_than_the_bound_leaves_known():
    assert table(Entry("dx[0]", 1.23456789, 3.456789, 0.02))[1] == "  dx[0]           1.23           3.46  2.0e-02"


# -- remarks

EXACT = "exact to 2.1e-07: the rounding of a long sum, or a guard against zero"


def test_a_remark_stands_on_the_line_of_its_gradient_and_one_on_the_whole_above():
    remarked = replace(right(), remark="exact to 2.1e-07, not to the rounding")
    shared = "add_backward must return memory of its own, but da shares it with db. Return a copy."
    report = Report("net", {"x": right(), "W": remarked}, ("o",), 7, remarks=(shared,))
    assert str(report) == (
        "net: PASS (2 of 2 gradients right; oracle o, seed 7)\n"
        f"  Remark: {shared}\n"
        "  dx  pass  error below 3.0e-10 of its norm\n"
        "  dW  pass  error below 3.0e-10 of its norm; exact to 2.1e-07, not to the rounding\n"
        "  A larger error would have been seen with probability 1 − 1e-06."
    )
    assert f"Remark: {shared}" in report._repr_html_()


def test_a_remark_that_is_too_long_for_its_line_is_told_in_full_above():
    remarked = replace(right(), remark=EXACT)
    assert str(Report("f", {"b": remarked, "x": right()}, ("o",), 1)).splitlines()[1:4] == [
        f"  db: {EXACT}",
        f"  db  pass  error below 3.0e-10 of its norm; {EXACT[:-13]}…",
        "  dx  pass  error below 3.0e-10 of its norm",
    ]


# -- how long it is


def lenet():
    """LeNet-5 with all of its fifteen arguments wrong, and three explanations."""
    names = ["x", *(f"params['{layer}'][{i}]" for layer in ("C1", "S2", "C3", "S4", "C5", "F6", "F7") for i in (0, 1))]
    report = full(**{name: wrong(name) for name in names})
    explanations = (explained("C1"), explained("C3", otherwise=LAW), explained("B1"))
    answers = replace(report.answers, explanations=explanations)
    return replace(report, inquiry=lambda: answers)


def test_the_report_of_a_network_with_fifteen_wrong_arguments_fits():
    lines = str(lenet()).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    assert "  and 7 more: 7 wrong" in lines
    assert [line for line in lines if line.startswith(("  Why (C1)", "  Or (C3)", "  Or (B1)"))]
    assert lines[-1] == "  Replay: examine_backward(net, back, args, seed=7)"


NAMES = st.text(string.ascii_letters + string.digits + "_[']", min_size=1, max_size=150) | st.builds(
    "W{}".format, st.integers(0, 99)
)
SENTENCES = st.lists(st.text(string.ascii_letters, min_size=1, max_size=130), min_size=1, max_size=60).map(" ".join)
MAYBE = st.none() | SENTENCES


@st.composite
def findings(draw, name):
    verdict = draw(st.sampled_from(Verdict))
    reason = draw(MAYBE)
    if verdict is Verdict.PASS:
        bound, remark = draw(st.sampled_from([3e-10, 0.0])), draw(MAYBE)
        return Finding(verdict, (2,), 1e-12, bound, reason=reason or "vacuous", remark=remark)
    if verdict is Verdict.INCONCLUSIVE:
        return undecided(reason or "noise")
    error = draw(st.sampled_from([0.5, math.nan, math.inf]))
    where = tuple(draw(st.lists(SENTENCES, max_size=4)))
    entries = wrong(name, count=draw(st.integers(0, 7))).wrong_entries
    return Finding(verdict, (7,), error, math.inf, None, entries, reason or "not compared", where=where)


def steps():
    verdicts = st.sampled_from(["right", "wrong", "unreached", "auxiliary"])
    return st.builds(Step, NAMES, st.integers(1, 10**6), NAMES, MAYBE, SENTENCES, MAYBE, verdicts)


@st.composite
def reports(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=40, unique=True))
    ids = draw(st.lists(st.sampled_from(sorted(CATALOGUE)), max_size=4))
    answers = Answers(
        tuple(Explanation(i, ("W",), draw(SENTENCES), True, otherwise=draw(MAYBE) or "") for i in ids),
        draw(MAYBE),
        Steps(draw(st.lists(steps(), max_size=30))),
    )
    return Report(
        draw(NAMES),
        {name: draw(findings(name)) for name in names},
        tuple(draw(st.lists(NAMES, min_size=1, max_size=3))),
        draw(st.integers(0, 2**32)),
        tuple(draw(st.lists(SENTENCES, max_size=3))),
        1,
        lambda: answers,
        draw(MAYBE),
        tuple(draw(st.lists(SENTENCES, max_size=3))),
        draw(MAYBE),
    )


@given(reports())
@example(lenet())
@example(full(**{f"argument_{'x' * 150}_{i}": wrong(f"argument_{'x' * 150}_{i}") for i in range(40)}))
@example(full(**{f"W{i}": undecided(LAW) for i in range(40)}))
def test_no_report_is_longer_or_wider_than_a_person_reads(report):
    lines = text(report).split("\n")
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    coloured = text(report, colour=True)
    for code in ("\033[31m", "\033[32m", "\033[33m", "\033[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == text(report)


def test_of_many_arguments_the_wrong_ones_are_shown_and_the_others_counted():
    arguments = {f"W{i}": wrong(f"W{i}") if i == 31 else undecided() if i == 7 else right() for i in range(40)}
    lines = text(full(**arguments)).splitlines()
    assert lines[0] == "net: FAIL (1 of 40 gradients wrong; oracle central_difference, seed 7)"
    assert "  dW31  fail  relative error 0.5; every entry of dW31" in lines
    assert "  dW7   inconclusive  the forward is not finite nearby" in lines
    assert "  and 32 more: 32 right" in lines


def test_a_long_name_loses_its_middle_and_keeps_its_index():
    name = f"params['{'encoder' * 10}'][3]"
    lines = text(full(**{name: wrong(name, count=1)})).splitlines()
    assert lines[1] == (
        "  dparams['encoderenco…rencoderencoder'][3]  fail  relative error 0.5; every entry of "
        "dparams['encoderencoderencodere…"
    )
    assert lines[3] == "  dparams['encoderenc…coderencoder'][3][0]              2              1  1.0e-12"


# -- colour


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def plain_environment(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


def test_colour_is_for_a_terminal_only(plain_environment):
    assert shows_colour(Terminal())
    assert not shows_colour(io.StringIO())


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_can_ask_for_plain_text(plain_environment, name, value):
    plain_environment.setenv(name, value)
    assert not shows_colour(Terminal())


def test_an_empty_no_color_asks_for_nothing(plain_environment):
    plain_environment.setenv("NO_COLOR", "")
    assert shows_colour(Terminal())


def test_in_colour_the_verdicts_are_green_red_and_yellow():
    lines = text(full(x=right(), W=wrong("W"), b=undecided()), colour=True).splitlines()
    assert lines[0] == "net: \033[31mFAIL\033[0m (1 of 3 gradients wrong; oracle central_difference, seed 7)"
    assert lines[1] == "  dx  \033[32mpass\033[0m  error below 3.0e-10 of its norm"
    assert lines[2] == "  dW  \033[31mfail\033[0m  relative error 0.5; every entry of dW"
    assert lines[3] == "  db  \033[33minconclusive\033[0m  the forward is not finite nearby"
    assert all(ESCAPE not in line for line in lines[4:])


# -- the notebook


def picture(report):
    page = ET.fromstring(report._repr_html_())  # noqa: S314  (our own text)
    return page, page.findall(".//rect[@fill='#cf222e']")


def test_the_notebook_has_a_picture_with_one_cell_for_each_wrong_entry():
    page, cells = picture(full(x=right(), W=wrong("W", (3, 4), count=5)))
    assert page.find("pre").text == str(full(x=right(), W=wrong("W", (3, 4), count=5)))
    assert [(cell.get("x"), cell.get("y")) for cell in cells] == [
        ("0", "6"),
        ("18", "0"),
        ("12", "0"),
        ("6", "0"),
        ("0", "0"),
    ]
    assert [cell.find("title").text for cell in cells] == ["dW[4]", "dW[3]", "dW[2]", "dW[1]", "dW[0]"]
    assert [cell.get("fill-opacity") for cell in cells] == ["1.00", "0.83", "0.66", "0.49", "0.32"]
    assert page.find("figure/figcaption/code").text == "dW"
    assert (page.find("figure/svg").get("width"), page.find("figure/svg").get("height")) == ("24", "18")


def test_a_long_vector_is_folded():
    page, cells = picture(full(b=wrong("b", (200,), count=70)))
    assert (page.find("figure/svg").get("width"), page.find("figure/svg").get("height")) == ("384", "24")
    assert (cells[0].get("x"), cells[0].get("y")) == ("30", "6")


def test_names_are_escaped():
    name = "p['<b>&\"']"
    page, cells = picture(full(**{name: wrong(name)}))
    assert page.find("figure/figcaption/code").text == f"d{name}"
    assert page.find("figure/svg").get("aria-label") == f"wrong entries of d{name}"
    assert len(cells) == 5


@pytest.mark.parametrize("shape", [(), (1,), (64, 65)], ids=["number", "one entry", "many entries"])
def test_there_is_no_picture_of_a_single_number_nor_of_many(shape):
    assert picture(full(b=wrong("b", shape)))[0].find("figure") is None


def test_entries_without_a_place_or_with_an_infinite_gap_break_no_picture():
    entries = (Entry("?", 2.0, 1.0, 0.0), Entry("?", 3.0, 1.0, 0.0), Entry("db[0]", math.inf, 1.0, 0.0, 0))
    finding = Finding(Verdict.FAIL, (3,), 0.5, math.inf, wrong_entries=(*entries, Entry("db[1]", 1.0, 1.0, 0.0, 1)))
    _, cells = picture(full(b=finding))
    assert [cell.get("fill-opacity") for cell in cells] == ["1.00", "0.15"]
