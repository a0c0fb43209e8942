import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
MODULES = ("shapes", "shape_mistakes", "shape_sequences", "shape_images", "shape_layers")


@pytest.fixture
def shapes(monkeypatch):
    """The benchmark and its cases, imported as a script imports its neighbours."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import shapes

    yield shapes
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture
def truth(shapes):
    """Where the mean of the bias of an affine layer is not its sum."""
    (mistake,) = (each for each in shapes.MISTAKES if each.layer == "affine" and each.wrong == "dy.mean(0)")
    return shapes.Truth(mistake)


def test_every_point_that_is_drawn_of_a_layer_is_as_its_specification_says(shapes, monkeypatch):
    monkeypatch.setattr(shapes, "DRAWS", 20)
    for name, layer in list(shapes.LAYERS.items())[::4]:
        line, invalid = shapes.draws(name, layer, 0)
        assert not invalid, line


def test_a_point_that_is_not_as_a_specification_says_is_told(shapes):
    layer = shapes.LAYERS["cross_entropy"]
    scores, labels = shapes.specified(layer.text).point({"N": 3, "K": 4}, 0)
    assert shapes.breach(layer, {"N": 3, "K": 4}, (scores, labels)) is None
    assert shapes.breach(layer, {"N": 3, "K": 5}, (scores, labels)) == "scores has shape (3, 4)"
    assert shapes.breach(layer, {"N": 3, "K": 4}, (scores, labels + 4)) == "labels does not obey N int < K"


def test_mistakes_show_where_their_conditions_say_and_nowhere_else(shapes):
    for mistake in shapes.MISTAKES[::12]:
        truth = shapes.Truth(mistake)
        drawn = shapes.islice(truth.anywhere(shapes.np.random.default_rng(0), (1, 2, 3, 4)), 12)
        for sizes in drawn:
            assert mistake.holds(sizes) or not truth.differs(sizes, 0), (mistake.name, sizes)


def test_a_mistake_of_which_the_right_line_is_gone_is_refused(shapes):
    message = "'dy.sum(7)' must stand once in affine_backward, but stands 0 times."
    with pytest.raises(ValueError, match="must stand once") as refused:
        shapes.Mistake("affine", "dy.sum(7)", "dy", "True").backward()
    assert str(refused.value) == message


def test_a_point_of_a_survey_shows_every_mistake(shapes, capsys):
    assert shapes.main(["reach", "--seeds", "1", "--only", "affine"]) == 0
    assert capsys.readouterr().out == "\na point shows 12 of 12 (100.00 %)\n"


def test_a_survey_finds_a_mistake_and_what_it_says_of_the_sizes_holds(shapes, capsys, monkeypatch):
    mistake = shapes.Mistake("dropout", "dy * mask / (1 - p)", "(dy * mask / (1 - p)).squeeze()", "N == 1 or D == 1")
    monkeypatch.setattr(shapes, "MISTAKES", (mistake,))
    assert shapes.main(["mistakes", "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "found 1 of 1 (100.00 %)" in printed
    assert "smallest: 0 do not fail, 0 can be smaller, of 1" in printed


def test_a_rule_that_a_failure_breaks_is_refuted(shapes, truth):
    told = SimpleNamespace(place={"N": 2, "D": 1, "M": 1})
    rng = shapes.np.random.default_rng(0)
    assert list(shapes.refutation(truth, "N ≥ 2", told, rng)) == []
    (refuted,) = shapes.refutation(truth, "D = 1", told, rng)
    assert refuted.startswith("D = 1 is broken by {'N': ")


def test_a_place_that_passes_and_one_that_is_not_the_smallest_are_told(shapes, truth):
    assert list(shapes.smallness(truth, {"N": 2, "D": 1, "M": 1})) == []
    assert list(shapes.smallness(truth, {"N": 1, "D": 1, "M": 1})) == ["{'N': 1, 'D': 1, 'M': 1} does not fail"]
    assert list(shapes.smallness(truth, {"N": 3, "D": 1, "M": 1})) == ["{'N': 3, 'D': 1, 'M': 1} fails with N = 2 too"]


def test_a_right_layer_is_not_refused(shapes, capsys):
    assert shapes.main(["right", "--seeds", "1", "--only", "weighted_mean"]) == 0
    assert capsys.readouterr().out.startswith("weighted_mean           0 of 1 refused")
