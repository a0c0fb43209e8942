"""Every equation of the source documents: there is a record of it, and its verdicts are what the machine finds."""

import dataclasses
import functools
import itertools
import re
from collections import Counter
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from derivations.ledger import EQUATIONS
from gradcheck.equations import errata
from gradcheck.equations.equation import Claim, Definition, Gradient, Update, judge_equation, judge_statement
from gradcheck.equations.statement import specification
from gradcheck.mistakes import CATALOGUE
from gradcheck.shapes.sizes import rounds

ID = attrgetter("id")
every_equation = pytest.mark.parametrize("equation", EQUATIONS, ids=ID)

# The rows of the list of equations that the documents state, by document.
ROWS = """
000-1 000-2 000-3 000-4 000-5 000-6 000-7 000-8 000-9 000-10 000-11 000-12 000-13 000-14 000-15 000-16 000-17 000-18
000-19 000-20
001-2.2a 001-2.2b 001-2.3 001-2.4u1 001-2.4u2 001-2.4u3 001-2.4u4 001-2.4g1 001-2.4g2 001-2.4g3 001-2.4g4 001-2.4g5
001-2.4g6 001-3.3a 001-3.3b 001-3.4a 001-3.4b 001-3.4c 001-3.4d 001-3.4e 001-3.4f 001-3.4g 001-4.3 001-4.4a 001-4.4b
001-4.4c 001-4.4d 001-4.4e 001-4.4f
002-1 002-2 002-3 002-4 002-5 002-6
003-1 003-2 003-3 003-4 003-5 003-6
004-1 004-2 004-3 004-4 004-5 004-6
""".split()  # noqa: SIM905  (a table of ids is read more easily than a list of strings)

# What is expected of the forms as printed; whatever is not here is expected to pass.
FAIL = """
000-16b 000-20a 000-20b
001-2.4u1 001-2.4u2 001-2.4u3 001-2.4g1 001-2.4g2a 001-2.4g2b 001-2.4g4 001-2.4g5a 001-2.4g5b 001-3.4eb 001-3.4f
002-5b 003-2c 003-6b 004-4d
""".split()  # noqa: SIM905  (a table of ids is read more easily than a list of strings)
UNTYPABLE = """
001-2.2a 001-2.2b 001-2.3y 001-2.3l 001-2.4u4 001-2.4g3 001-2.4g6 001-3.3b 001-3.4a 001-3.4d 001-3.4ea 001-3.4g 001-4.3
001-4.4f
002-5a
""".split()  # noqa: SIM905  (a table of ids is read more easily than a list of strings)
EXPECTED = dict.fromkeys(FAIL, "fail") | dict.fromkeys(UNTYPABLE, "untypable")

# The mistakes that explain a wrong gradient truly; the machine may find one of them, or none.
TRUE_MISTAKES = {
    "000-16b": {"E2"},
    "001-2.4u1": {"B6"},  # two mistakes, the sign and a decay without the rate: the whole is not the gradient at hand
    "001-2.4u2": {"B6"},
    "001-2.4u3": {"A1"},
    "001-2.4g1": {"A1"},
    "001-2.4g2a": set(),  # two mistakes: a sum, and the bias of another unit under it
    "001-2.4g2b": {"B4"},
    "001-2.4g4": {"C1"},
    "001-2.4g5a": set(),
    "001-2.4g5b": {"B4"},
    "001-3.4eb": {"F1"},
    "001-3.4f": {"B6"},
    "002-5b": {"C1"},
    "004-4d": {"C8", "E1", "G1"},  # units are gone through in a loop, as steps are
}
SHAPES = 50


COMMAND = "python -m gradcheck equations --seed 0"


@functools.cache
def judged(name):
    """The judgement with the seed of the page: the page and the verdicts are two looks at one run."""
    (equation,) = (each for each in EQUATIONS if each.id == name)
    return judge_equation(equation, 0)


def of(equation):
    statement = equation.printed
    return (statement.of,) if isinstance(statement.of, str) else statement.of


def many_sizes(statement):
    """Sizes to judge a statement at, the degenerate ones among them; ever again nothing for a claim, which has none."""
    if isinstance(statement, Claim):
        return itertools.repeat({}, SHAPES)
    drawn = itertools.islice(rounds(specification(statement), np.random.default_rng(0)), SHAPES)
    return (sizes for why, sizes in drawn if why != "empty")


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_record(row):
    assert [each.id for each in EQUATIONS if re.fullmatch(rf"{re.escape(row)}[a-z]?\d?", each.id)]


def test_every_record_belongs_to_a_row_or_was_missed_by_them():
    missed = [
        each.id for each in EQUATIONS if not any(re.fullmatch(rf"{re.escape(row)}[a-z]?\d?", each.id) for row in ROWS)
    ]
    assert missed == ["001-4.2", "004-7"]


def test_the_ids_differ_and_begin_with_the_document_and_the_documents_stand_in_order():
    assert max(Counter(map(ID, EQUATIONS)).values()) == 1
    assert all(each.id.startswith(f"{each.document}-") for each in EQUATIONS)
    assert [each.document for each in EQUATIONS] == sorted(each.document for each in EQUATIONS)
    assert {each.document for each in EQUATIONS} == {"000", "001", "002", "003", "004"}


def test_the_table_of_what_is_expected_names_records():
    assert set(EXPECTED) <= set(map(ID, EQUATIONS))
    assert set(TRUE_MISTAKES) == {
        each.id for each in EQUATIONS if each.id in FAIL and isinstance(each.printed, Gradient | Update)
    }
    assert set().union(*TRUE_MISTAKES.values()) <= set(CATALOGUE)


@every_equation
def test_a_form_is_corrected_where_and_only_where_it_is_wrong_as_printed(equation):
    assert (equation.corrected is not None) == (equation.id in EXPECTED)
    assert bool(equation.corrected_latex) == (equation.id in EXPECTED)


@every_equation
def test_the_verdicts_are_the_expected_ones(equation):
    judgement = judged(equation.id)
    assert judgement.printed.verdict == EXPECTED.get(equation.id, "pass"), judgement.printed
    assert judgement.corrected.verdict == "pass", judgement.corrected
    assert bool(judgement.printed.found) == (equation.id in EXPECTED)
    assert judgement.printed.mistake in {None, *TRUE_MISTAKES.get(equation.id, ())}
    if isinstance(equation.printed, Gradient | Update) and judgement.printed.verdict == "fail":
        failed = {name for name, finding in judgement.printed.report.arguments.items() if finding.verdict == "fail"}
        assert failed == set(of(equation))


@pytest.mark.parametrize("equation", [each for each in EQUATIONS if each.id in EXPECTED], ids=ID)
def test_what_is_wrong_as_printed_never_passes(equation):
    verdicts = {judge_statement(equation.printed, seed, compiled=False, hints=False).verdict for seed in range(10)}
    assert verdicts == {EXPECTED[equation.id]}


@every_equation
def test_the_corrected_form_passes_on_many_shapes(equation):
    statement = equation.corrected or equation.printed
    if isinstance(statement, Gradient):  # alone: the rest of the backward is judged above
        statement = dataclasses.replace(statement, backward=None)
    for seed, sizes in enumerate(many_sizes(statement)):
        ruling = judge_statement(statement, seed, sizes=sizes, compiled=False, hints=False)
        assert ruling.verdict == "pass", (sizes, ruling)


@pytest.mark.parametrize("equation", [each for each in EQUATIONS if isinstance(each.printed, Definition)], ids=ID)
def test_a_definition_has_the_values_of_its_reference_where_sizes_may_be_1(equation):
    statement = equation.corrected or equation.printed
    drawn = rounds(specification(statement), np.random.default_rng(1))
    sizes = next(sizes for why, sizes in drawn if why in ("smallest", "one alone"))
    assert judge_statement(statement, 1, sizes=sizes, hints=False).verdict == "pass"


@pytest.mark.parametrize("equation", [each for each in EQUATIONS if each.id in UNTYPABLE], ids=ID)
def test_what_has_no_type_is_told_with_the_shapes_or_the_index_that_clash(equation):
    clash = r".*(\(.*\).*\(.*\)|index \d+ is out of bounds for axis \d+ with size \d+).*, where \w+ = \d+.*"
    assert re.fullmatch(clash, judged(equation.id).printed.found)


def test_the_page_of_equations_is_what_the_records_give_now():
    """If it differs, run the command that it names with --markdown docs/equations.md."""
    page = (Path(__file__).parent.parent / "docs" / "equations.md").read_text(encoding="utf-8")
    assert errata.markdown([judged(equation.id) for equation in EQUATIONS], COMMAND) == page


def test_the_records_hold_no_mistake_class():
    told = " ".join(f"{each.claims} {each.reading} {each.latex} {each.corrected_latex}" for each in EQUATIONS)
    assert not [sentence for sentence in (mistake.sentence for mistake in CATALOGUE.values()) if sentence in told]
