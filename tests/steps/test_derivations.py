"""The derivations step by step: the right backward is right on every line, and a planted mistake is on a blamed one."""

import re
import statistics
import zlib
from operator import attrgetter

import numpy as np
import pytest

import derivations
from gradcheck import point
from gradcheck.arguments import Arguments
from gradcheck.steps.blame import Blame
from gradcheck.steps.letters import Letters
from gradcheck.steps.listing import listing
from gradcheck.steps.match import Index, Sight
from gradcheck.steps.run import traced
from tests.mutants import CHOICES, MISTAKES, with_mistake
from tests.mutants.mistake import PLANTED

EVERY = 5  # of the mistakes is planted,
NAMED = 0.85  # of which so many are on a line that is blamed,
FED = 0.92  # and so many on one that is, or that feeds it without computing anything
LINES = 1.5  # are blamed for one, in the median
BACK_THROUGH_LENET = ("Z", "Y6", "F6", "Y5", "C5", "X4", "S4", "Y3", "C3", "X2", "S2", "Y1", "C1")

# The cotangents that the networks meet on their way back, in the letters of their equations, by the number of the line:
# each is what an η added to that letter has for a gradient.
LETTERS = {
    "mlp": {"B1": "A", "B2": "Z", "B3": "A"},
    "mlp_one_hidden": {"B1": "y", "B2": "a", "B3": "z", "B4": "h"},
    "lenet5": {f"B{k}": letter for k, letter in enumerate(BACK_THROUGH_LENET, 1)},
    "rnn": {"B1": "s", "B3": "h_t", "B4": "z_t"},
    "rnn_columns": {"B1": "h_t", "B2": "z_t"},
    "units": {"B3": "s_j"},
}
every_network = pytest.mark.parametrize(
    "record", [record for record in derivations.ALL if record.name in LETTERS], ids=attrgetter("name")
)


def drawn(record):
    """Return arguments whose sizes are all at least 2."""
    return point(record.spec, zlib.crc32(record.name.encode()), **CHOICES.get(record.name, {}))


@np.errstate(all="ignore")
def steps_of(record, backward, args):
    """Return the annotated backward, and which gradients are wrong."""
    blame = Blame(Sight(traced(record.forward, backward, Arguments.of(record.forward, args, record.wrt))))
    return listing(blame, blame.pins), blame.wrong


def letter_of(name):
    """Return a name without the line that is told where several values are called so."""
    return re.sub(r" \(line \d+\)$", "", name)


@pytest.mark.parametrize("record", derivations.ALL, ids=attrgetter("name"))
def test_the_right_backward_is_right_on_every_line_that_carries_a_cotangent(record):
    steps, wrong = steps_of(record, record.backward, drawn(record))
    assert not wrong
    assert {step.verdict for step in steps} <= {"right", "auxiliary"}
    assert any(step.verdict == "right" for step in steps)


@every_network
def test_the_cotangents_of_the_equations_are_those_that_their_lines_hold(record):
    steps, _ = steps_of(record, record.backward, drawn(record))
    own = [step for step in steps if step.function == record.backward.__name__ and step.source]
    for number, letter in LETTERS[record.name].items():
        (step,) = [step for step in own if step.source.endswith(f"({number})")]
        assert step.verdict == "right"
        assert letter in map(letter_of, step.cotangent_of.split(", ")), step


@every_network
@np.errstate(all="ignore")
def test_the_backward_meets_the_cotangent_of_each_letter_in_every_layer_and_at_every_step(record):
    sight = Sight(traced(record.forward, record.backward, Arguments.of(record.forward, drawn(record), record.wrt)))
    letters, met = Letters(sight), Index()
    for node in sight.run.nodes[sight.run.start :]:
        if node.is_float and node.kind != "const":
            met.add(node.value, node.id)
    of = {i: letter_of(letters.of(i, depth=0)) for i in sight.moving & sight.bars.nodes.keys()}
    for letter in LETTERS[record.name].values():
        values = [i for i, name in of.items() if name == letter]
        assert values
        for i in values:  # where the mean over the samples is taken last, a cotangent is so many times as large
            assert any(True for factor in sight.factors for _ in met.find(factor * sight.bars.nodes[i])), letter


def test_planted_mistakes_are_on_the_lines_that_are_blamed():
    records = {record.name: record for record in derivations.ALL}
    found = []
    for name, mistakes in MISTAKES.items():
        for mistake in mistakes[::EVERY]:
            backward = with_mistake(records[name].backward, mistake)
            steps, wrong = steps_of(records[name], backward, drawn(records[name]))
            if not wrong:  # the cotangent of the recording is 1: what ignores it is right
                continue
            file = backward.__code__.co_filename
            marked = {v: {s.line for s in steps if s.verdict == v and s.file == file} for v in ("wrong", "auxiliary")}
            count = sum(step.verdict == "wrong" for step in steps)
            found.append((PLANTED[file] & marked["wrong"], PLANTED[file] & marked["auxiliary"], count))
    assert len(found) > 40
    assert statistics.mean(bool(on) for on, *_ in found) >= NAMED
    assert statistics.mean(bool(on or near) for on, near, _ in found) >= FED
    assert statistics.median(count for *_, count in found) <= LINES
