from xml.etree import ElementTree as ET

from gradcheck.annotation import annotated, around, table
from gradcheck.report import Step, Steps


def step(line, verdict, function="back", **settings):
    given = {"source": f"a{line} = b", "operation": "add", "cotangent_of": None} | settings
    return Step("/home/ada/net.py", line, function, verdict=verdict, **given)


STEPS = Steps(
    (
        step(3, "right", cotangent_of="z"),
        step(4, "auxiliary"),
        step(5, "wrong", cotangent_of="h"),
        step(6, "unreached"),
        step(9, "right", "helper", cotangent_of="W"),
        step(10, "wrong", "helper", source=None, operation="matmul, add"),
    )
)


def test_every_step_is_a_line_with_its_mark_below_the_title_of_its_function():
    assert list(annotated(STEPS)) == [
        "  back (net.py)",
        "      3 ✓ a3 = b         ∂L/∂z",
        "      4   a4 = b",
        "      5 ✗ a5 = b         should be ∂L/∂h",
        "      6 · a6 = b",
        "  helper (net.py)",
        "      9 ✓ a9 = b         ∂L/∂W",
        "     10 ✗ [matmul, add]",
    ]


def test_steps_are_printed_as_they_are_annotated():
    assert str(STEPS) == "\n".join(annotated(STEPS))
    assert str(Steps()) == ""


def test_around_the_wrong_lines_are_their_neighbours_in_the_same_function():
    assert [each.line for each in around(STEPS, 10)] == [4, 5, 6, 9, 10]


def test_where_there_is_little_room_the_wrong_lines_come_first():
    assert [each.line for each in around(STEPS, 2)] == [5, 10]
    assert around(STEPS, 0) == ()
    assert around(STEPS[:2], 5) == ()


def test_a_long_line_is_cut():
    (_, line) = annotated((step(3, "right", source="x + " * 60, cotangent_of="a" * 80),))
    assert len(line) <= 118
    assert "…" in line


def test_the_table_of_a_notebook_has_a_row_for_each_step_and_its_text_escaped():
    page = ET.fromstring(table((step(3, "wrong", source="a < b", cotangent_of="<z>"),)))  # noqa: S314  (our own text)
    title, row = page.findall("tr")
    assert title.find("th").text == "back (net.py)"
    assert [cell.text or cell.find("code").text for cell in row.findall("td")] == [
        "3",
        "✗",
        "a < b",
        "should be ∂L/∂<z>",
    ]
    assert STEPS._repr_html_() == table(STEPS)
