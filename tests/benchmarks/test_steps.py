import pytest

from benchmarks import steps, steps_cost
from gradcheck import Verdict
from gradcheck.report import Answers, Explanation, Finding, Report, Step, Steps
from tests.mutants.mistake import PLANTED
from tests.strangers import CASES


def reported(*verdicts, said=()):
    rows = Steps(Step("<planted>", line, "back", None, "add", None, each) for line, each in enumerate(verdicts, 1))
    finding = Finding(Verdict.FAIL, (2,), 0.5, 1.0)
    return Report("f", {"x": finding}, ("o",), 0, inquiry=lambda: Answers(said, None, rows))


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setitem(PLANTED, "<planted>", frozenset({2}))


def explanation(mistake, line):
    return Explanation(mistake, ("x",), "…", verified=True, file="<planted>", line=line)


@pytest.mark.parametrize(
    ("verdicts", "where", "fed", "blamed"),
    [
        (("right", "wrong", "unreached"), True, True, 1),
        (("wrong", "auxiliary", "wrong"), False, True, 2),
        (("wrong", "right", "unreached"), False, False, 1),
    ],
)
def test_the_true_line_is_wrong_or_feeds_what_is_wrong(planted, verdicts, where, fed, blamed):
    outcome = steps.score(reported(*verdicts), ("A1",), 0.1, "case")
    assert (outcome.where, outcome.fed, outcome.blamed) == (where, fed, blamed)


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ((explanation("A1", 2),), "class and line"),
        ((explanation("A1", 3),), "class"),
        ((explanation("B1", 2),), "line"),
        ((explanation("B1", 3), explanation("A1", 2)), "misleading"),
        ((), "nothing"),
    ],
)
def test_the_first_explanation_is_scored_by_class_and_by_line(planted, said, score):
    assert steps.score(reported("right", "wrong", said=said), ("A1",), 0.1, "case").score == score


def test_the_cases_of_a_file_are_examined(tmp_path, capsys, monkeypatch):
    path = tmp_path / "some_cases.py"
    path.write_text(f"from tests.strangers import CASES\nCASES = [c for c in CASES if c.name == {CASES[0].name!r}]\n")
    monkeypatch.setattr("sys.argv", ["steps", "--set", str(path)])
    steps.main()
    assert capsys.readouterr().out.startswith("1 cases: where 100.0% of 1, median ")


def test_what_a_report_costs_is_measured_and_held_against_its_limit(monkeypatch):
    row = steps_cost.rows()["gru"]()
    monkeypatch.setattr(steps_cost, "rows", lambda: {"gru": lambda: row._replace(seconds=1e9, megabytes=1e9)})
    assert steps_cost.measure("gru").startswith("gru ")
    monkeypatch.setattr(steps_cost, "rows", lambda: {"gru": lambda: row._replace(megabytes=1e-9)})
    assert steps_cost.measure("gru").startswith("TOO MUCH gru ")
