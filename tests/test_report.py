import io
import json
import math
import pickle

import numpy as np
import pytest

from gradcheck.report import Answers, Entry, Explanation, Finding, Report, Step, Steps, Verdict

GOOD = Finding(Verdict.PASS, (2, 3), 1e-12, 3e-10)
BAD = Finding(Verdict.FAIL, (3,), 0.5, math.inf, Entry("db[0]", 2.0, 1.0, 1e-12), (Entry("db[0]", 2.0, 1.0, 1e-12),))
OPEN = Finding(Verdict.INCONCLUSIVE, (3,), math.nan, math.inf, reason="the forward is not finite nearby")


def report(**arguments):
    return Report("affine", arguments, ("central_difference",), 7)


def test_one_wrong_gradient_fails_the_whole_and_one_undecided_is_never_green():
    assert report(x=GOOD).verdict is Verdict.PASS
    assert report(x=GOOD, b=OPEN).verdict is Verdict.INCONCLUSIVE
    assert report(x=GOOD, b=OPEN, W=BAD).verdict is Verdict.FAIL


def test_the_text_names_each_gradient_and_the_wrong_entries():
    assert str(report(x=GOOD, b=BAD)) == (
        "affine: FAIL (1 of 2 gradients wrong; oracle central_difference, seed 7)\n"
        "  dx  pass  error below 3.0e-10 of its norm\n"
        "  db  fail  relative error 0.5\n"
        "  A larger error would have been seen with probability 1 − 1e-06.\n"
        "  entry        claimed       measured  ± bound\n"
        "  db[0]              2              1  1.0e-12"
    )


A1 = (Explanation("A1", ("b",), "…", verified=True),)


def test_the_dictionary_survives_strict_json():
    explained = Report("f", {"b": BAD, "c": OPEN}, ("o",), 1, (), 0, lambda: Answers(A1))
    plain = explained.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["arguments"]["b"]["bound"] == "inf"
    assert plain["arguments"]["c"]["error"] == "nan"
    assert plain["explanations"][0]["mistake"] == "A1"


def test_numpy_numbers_become_plain_ones():
    finding = Finding(Verdict.PASS, (1,), np.float64(1e-12), np.float64(3e-10))
    assert type(report(x=finding).to_dict()["arguments"]["x"]["bound"]) is float


def test_the_notebook_representation_is_escaped():
    shown = Report("<script>", {"x": GOOD}, ("o",), 1)._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown


def test_the_report_is_as_wide_as_its_worst_argument():
    both = report(x=GOOD, y=Finding(Verdict.PASS, (1,), 2e-9, 5e-8))
    assert (both.error, both.bound) == (2e-9, 5e-8)


def test_a_broken_law_fails_even_where_every_gradient_is_right():
    broken = Report("f", {"x": GOOD}, ("o",), 7, ("back must not write into the cotangent, but it changed dout.",))
    assert broken.verdict is Verdict.FAIL
    assert str(broken).splitlines()[:2] == [
        "f: FAIL (every gradient is right here, but a law is broken; oracle o, seed 7)",
        "  Law: back must not write into the cotangent, but it changed dout.",
    ]


EXPLAINED = Report(
    "affine",
    {"W": BAD, "b": OPEN},
    ("central_difference",),
    7,
    (),
    300,
    lambda: Answers(
        (
            Explanation("A1", ("W",), "dW has the wrong sign.", verified=True, file="net.py", line=3),
            Explanation("A4", ("W",), "dW has a factor.", verified=True, otherwise="A batch of 3 tells them apart."),
        ),
        None,
        Steps((Step("net.py", 3, "back", "return -g", "negative", "W", "wrong"),)),
    ),
    "examine_backward(affine, back, args, seed=7)",
)


def test_an_explained_report_survives_strict_json():
    plain = EXPLAINED.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["explanations"] == [
        {
            "mistake": "A1",
            "arguments": ["W"],
            "sentence": "dW has the wrong sign.",
            "verified": True,
            "file": "net.py",
            "line": 3,
            "otherwise": "",
        },
        {
            "mistake": "A4",
            "arguments": ["W"],
            "sentence": "dW has a factor.",
            "verified": True,
            "file": "",
            "line": 0,
            "otherwise": "A batch of 3 tells them apart.",
        },
    ]
    assert {name: plain[name] for name in ("silence", "steps", "advice", "replay")} == {
        "silence": None,
        "steps": [
            {
                "file": "net.py",
                "line": 3,
                "function": "back",
                "source": "return -g",
                "operation": "negative",
                "cotangent_of": "W",
                "verdict": "wrong",
            }
        ],
        "advice": None,
        "replay": "examine_backward(affine, back, args, seed=7)",
    }


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def plain_environment(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


def test_a_report_is_shown_in_colour_on_a_terminal(plain_environment):
    terminal = Terminal()
    EXPLAINED.show(terminal)
    assert terminal.getvalue().startswith("affine: \033[31mFAIL\033[0m (1 of 2 gradients wrong;")
    plain_environment.setenv("NO_COLOR", "1")
    terminal = Terminal()
    EXPLAINED.show(terminal)
    assert terminal.getvalue() == f"{EXPLAINED}\n"


def test_a_report_is_shown_on_the_standard_output_without_colour_where_that_is_no_terminal(capsys):
    EXPLAINED.show()
    assert capsys.readouterr().out == f"{EXPLAINED}\n"


def test_a_report_as_a_string_has_no_colour_whatever_the_terminal(plain_environment):
    plain_environment.setattr("sys.stdout", Terminal())
    assert "\033" not in str(EXPLAINED) + EXPLAINED._repr_html_()


def test_a_report_is_shown_where_not_all_of_its_letters_can_be_written():
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    EXPLAINED.show(narrow)
    narrow.seek(0)
    assert narrow.read() == str(EXPLAINED).replace("±", "+/-").replace("✗", "X").replace("∂", "d") + "\n"


def test_answers_are_found_once_and_only_when_somebody_reads_them():
    asked = []

    def inquiry():
        asked.append(1)
        return Answers(A1)

    report = Report("f", {"b": BAD}, ("o",), 1, inquiry=inquiry)
    assert report.verdict is Verdict.FAIL
    assert asked == []
    assert report.explanations == A1
    assert "(A1)" in str(report)
    assert asked == [1]


def test_a_pickle_holds_the_answers_and_not_what_finds_them():
    report = pickle.loads(pickle.dumps(EXPLAINED))  # noqa: S301  (our own)
    assert str(report) == str(EXPLAINED)
    assert report.inquiry is Answers


def test_a_report_is_true_for_a_pass_alone():
    assert report(x=GOOD)
    assert not report(x=GOOD, b=OPEN)
    assert not report(x=GOOD, b=BAD)
