"""The pages of documentation: what they show is what the code does."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

from gradcheck.__main__ import main
from gradcheck.shapes.grammar import read
from gradcheck.shapes.values import FAMILIES

ROOT = Path(__file__).parent.parent
SHAPES = (ROOT / "docs" / "shapes.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "verify-your-own-paper.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SHOWN = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def my_paper(tmp_path, monkeypatch):
    """A folder with all of the page's code in a module."""
    (tmp_path / "my_paper.py").write_text("\n\n".join(CODE), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_paper", None)


def test_the_examples_print_what_the_page_says():
    namespace, printed = {}, []
    for code in CODE:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, namespace)  # noqa: S102  (it is ours, and to run it is the point)
        printed.append(out.getvalue())
    assert [text for text in printed if text] == SHOWN[:2]


def verdicts(table):
    """The id and both verdicts of every row, and the last line but for its time."""
    rows = [line.split() for line in table.splitlines() if line.strip().startswith("draft-")]
    return [(row[0], row[1], row[-1]) for row in rows], re.sub(r"\d+\.\d s", "", table.splitlines()[-1])


def test_the_command_prints_the_table_and_makes_the_page(my_paper, capsys):
    (command,) = re.findall(r"```sh\ngradcheck (.*)\n```", PAGE)
    assert main(command.split()) == 0
    assert verdicts(capsys.readouterr().out) == verdicts(SHOWN[2])
    page = (my_paper / "errata.md").read_text(encoding="utf-8")
    assert "$$\n\\frac{\\partial L}{\\partial g} = \\frac{\\partial L}{\\partial y} \\odot \\frac{x}{r}\n$$" in page


def test_the_records_that_the_page_names_are_public():
    import gradcheck

    named = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert named == ["Gradient", "Definition", "Update", "Claim"]
    assert set(named) <= set(gradcheck.__all__)


def test_every_formula_of_the_page_stands_between_dollar_signs_of_its_own():
    page = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
    formulas = re.findall(r"^\$\$\n(.+)\n\$\$$", page, flags=re.MULTILINE)
    assert page.count("$$") == 2 * len(formulas)
    for formula in formulas:
        assert formula.count("{") == formula.count("}"), formula
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula)), formula
        assert len(re.findall(r"\\left[(\[.\\]", formula)) == len(re.findall(r"\\right[)\].\\]", formula)), formula


def test_the_links_between_the_pages_lead_somewhere():
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        anchors = {
            re.sub(r"[^\w-]", "", head.lower().replace(" ", "-"))
            for head in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("#"):
                assert target[1:] in anchors, target
            elif "://" not in target:
                assert (path.parent / target).exists(), target


def rows(title):
    """The codes in the first cell of each row of the table under a title of the page about shapes."""
    section = SHAPES.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in section.splitlines() if line.startswith("| `")]


def test_every_form_that_the_page_about_shapes_shows_is_read():
    forms = [form for row in rows("Arguments") for form in row]
    assert len(forms) > 15
    for form in forms:
        read(form)


def test_every_rule_of_values_is_on_the_page_about_shapes():
    rules = [rule for row in rows("Values") for rule in row]
    for rule in rules:
        read(f"x: D D {rule}")
    assert set(FAMILIES) <= set(rules)


def test_the_test_on_the_page_about_shapes_passes():
    (code,) = (each for each in re.findall(r"```python\n(.*?)```", SHAPES, flags=re.DOTALL) if "@given" in each)
    namespace = {
        "affine_forward": lambda x, W, b: (x @ W + b, (x, W)),
        "affine_backward": lambda dout, cache: (dout @ cache[1].T, cache[0].T @ dout, dout.sum(axis=0)),
    }
    exec(code, namespace)  # noqa: S102  (it is ours, and to run it is the point)
    namespace["test_affine"]()
