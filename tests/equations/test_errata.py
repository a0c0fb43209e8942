"""The ledger on the command line: the table, the JSON, the page, and bad usage."""

import json
import re
import sys
from pathlib import Path

import pytest

from gradcheck.__main__ import main
from gradcheck.commands import cli
from gradcheck.equations import errata
from gradcheck.equations.equation import Claim, Equation, Judgement, Ruling

PAPER = """
from gradcheck import Claim, Equation, Gradient, Update

def forward(x): return 3 * x, None
def of(formula): return Gradient(forward, formula, "x", "x: 4")
def equation(id, document, printed, corrected=None):
    latex = r"dx = 3\\,dy" if corrected else ""
    return Equation(id, document, "1", "The gradient.", "dx = dy | 2", printed, "", latex, corrected)
def raising(rng): raise KeyboardInterrupt

RIGHT = of(lambda dy, _: 3 * dy)
WRONG = of(lambda dy, _: 2 * dy)
EQUATIONS = (
    equation("A-1", "A", RIGHT),
    equation("A-2", "A", WRONG, RIGHT),
    equation("B-1", "B", of(lambda dy, _: dy[:2]), WRONG),
)
"""
MODULES = ("paper", "halted", "twice", "empty")


@pytest.fixture(autouse=True)
def papers(tmp_path, monkeypatch):
    """A folder of one's own to work in, with ledgers; what was imported from it is forgotten."""
    (tmp_path / "paper.py").write_text(PAPER, encoding="utf-8")
    (tmp_path / "halted.py").write_text(
        PAPER + 'EQUATIONS = (EQUATIONS[0], equation("A-3", "A", Claim(raising)))\n', encoding="utf-8"
    )
    (tmp_path / "twice.py").write_text(PAPER + "EQUATIONS = (EQUATIONS[0], EQUATIONS[0])\n", encoding="utf-8")
    (tmp_path / "empty.py").write_text("EQUATIONS = ()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


def refusal(capsys, *words):
    """The message of bad usage, after the check that the exit code is 2 and nothing was judged."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.split("error: ", 1)[1].rstrip("\n")


def without_times(document):
    return re.sub(r'"seconds": [^,}]*', "", json.dumps(document))


def ledger_rows(out):
    return [line.split() for line in out.splitlines() if re.match(r"\s+[AB]-\d", line)]


def test_the_ledger_is_a_table_of_the_printed_and_the_corrected_verdicts(capsys):
    assert main(["equations", "paper", "--document", "A"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "python -m gradcheck equations paper --document A --seed 0"
    assert lines[2].split() == ["equation", "printed", "found", "mistake", "corrected"]
    assert [(row[0], row[1], row[-1]) for row in ledger_rows(out)] == [("A-1", "pass", "pass"), ("A-2", "FAIL", "pass")]
    said = r"2 equations as printed: 1 pass, 1 fail, 0 untypable; 2 of 2 pass corrected, \d+\.\d s"
    assert re.fullmatch(said, lines[-1])


def test_the_exit_code_is_1_when_a_corrected_form_does_not_pass(capsys):
    assert main(["equations", "paper"]) == 1
    out = capsys.readouterr().out
    assert ledger_rows(out)[-1][:2] == ["B-1", "UNTYPABLE"]
    assert ledger_rows(out)[-1][-1] == "FAIL"
    assert "the formula has shape (2,), and x has shape (4,)" in out
    assert "1 pass, 1 fail, 1 untypable; 2 of 3 pass corrected" in out


def test_the_ledger_as_json_is_the_same_in_a_file_and_on_the_standard_output(capsys):
    assert main(["equations", "paper", "--seed", "3", "--json", "-"]) == 1
    printed = json.loads(capsys.readouterr().out)
    main(["equations", "paper", "--seed", "3", "--json", "ledger.json"])
    written = json.loads(Path("ledger.json").read_text(encoding="utf-8"))
    assert without_times(printed) == without_times(written)
    assert {key: written[key] for key in ("schema_version", "complete", "command", "seed", "verdict")} == {
        "schema_version": 1,
        "complete": True,
        "command": "python -m gradcheck equations paper --seed 3",
        "seed": 3,
        "verdict": "fail",
    }
    assert [each["id"] for each in written["equations"]] == ["A-1", "A-2", "B-1"]
    assert [each["printed"]["verdict"] for each in written["equations"]] == ["pass", "fail", "untypable"]
    assert written["equations"][1]["corrected"]["report"]["verdict"] == "pass"
    assert written["versions"]["python"].count(".") == 2


def test_the_ledger_as_a_page_has_its_formulas_between_dollar_signs():
    main(["equations", "paper", "--markdown", "page.md"])
    page = Path("page.md").read_text(encoding="utf-8")
    assert "Made by `python -m gradcheck equations paper --seed 0`" in page
    assert "### A-1\n\nThe gradient. *1.*\n\n$$\ndx = dy | 2\n$$\n\nAs printed: **pass**.\n\n### A-2\n" in page
    assert "$$\ndx = 3\\,dy\n$$\n\nCorrected: **pass**.\n\n## Document B\n" in page
    assert "| [B-1](#b-1) | untypable | the formula has shape (2,), and x has shape (4,) | fail |" in page


def test_what_was_found_in_a_lambda_is_no_tag_and_no_link_of_the_page():
    told = Ruling("fail", "line 3 of <lambda> | line 4 is F[3](z).")
    record = Equation("A-1", "A", "1", "The gradient.", "x", Claim(lambda rng: (True, "")))
    page = errata.markdown([Judgement(record, told, told)], "gradcheck equations")
    assert r"| fail | line 3 of \<lambda> \| line 4 is F[3]\(z). | fail |" in page
    assert r"As printed: **fail**: line 3 of \<lambda> | line 4 is F[3]\(z)." in page


def test_a_ledger_that_was_interrupted_says_so(capsys):
    assert main(["equations", "halted", "--json", "ledger.json", "--markdown", "page.md"]) == 130
    assert "INTERRUPTED after 1 of 2 equations" in capsys.readouterr().out
    written = json.loads(Path("ledger.json").read_text(encoding="utf-8"))
    assert (written["complete"], written["verdict"]) == (False, "inconclusive")
    assert not Path("page.md").exists()


def test_a_page_that_cannot_be_written_after_the_run_ends_it_with_2(capsys, monkeypatch):
    def fail(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_text", fail)
    assert main(["equations", "paper", "--document", "A", "--markdown", "page.md"]) == 2
    assert capsys.readouterr().err == "gradcheck: the results must be written, but the disk is full.\n"


NO_LEDGER = "must hold a tuple EQUATIONS of Equation records of different ids, but it holds none. Add one."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("paper --document C", "--document must be one of A, B, but it is 'C'."),
        ("empty", f"empty {NO_LEDGER}"),
        ("twice", f"twice {NO_LEDGER}"),
        ("papre", "MODULE must be a module, but there is no 'papre'. Write its name with dots, without .py."),
        ("paper.py", "MODULE must be a module, but there is no 'paper.py'. Write its name with dots, without .py."),
        (
            "paper --markdown no/such.md",
            f"--markdown must name a file in a folder that can be written to, but it is {str(Path('no/such.md'))!r}.",
        ),
        ("paper --seed x", "argument --seed: it must be a whole number of at least 0, but it is 'x'."),
    ],
)
def test_bad_usage_of_a_ledger_ends_with_2_and_says_what_it_must_be(capsys, words, message):
    assert refusal(capsys, "equations", *words.split()) == message


def test_without_rich_a_ledger_names_the_extra_to_install(capsys, monkeypatch):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda _: None)
    assert refusal(capsys, "equations", "paper") == (
        "gradcheck equations must have Rich, but it is not installed. Install gradcheck[derivations]."
    )
