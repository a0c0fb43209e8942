"""The derivations step by step: the right backward is right on every line, and a planted mistake is on a blamed one."""

import statistics
import zlib
from operator import attrgetter

import numpy as np
import pytest

import derivations
from gradcheck.arguments import Arguments
from gradcheck.steps.blame import Blame
from gradcheck.steps.listing import listing
from gradcheck.steps.match import Sight
from gradcheck.steps.run import traced
from tests.mutants import CHOICES, MISTAKES, with_mistake
from tests.mutants.mistake import PLANTED

EVERY = 5  # of the mistakes is planted,
NAMED = 0.85  # of which so many are on a line that is blamed,
FED = 0.92  # and so many on one that is, or that feeds it without computing anything
LINES = 1.5  # are blamed for one, in the median


def drawn(record):
    """Return arguments whose sizes are all at least 2."""
    rng = np.random.default_rng(zlib.crc32(record.name.encode()))
    return record.args(rng, **record.draw(rng, generic=True) | CHOICES.get(record.name, {}))


@np.errstate(all="ignore")
def steps_of(record, backward, args):
    """Return the annotated backward, and which gradients are wrong."""
    blame = Blame(Sight(traced(record.forward, backward, Arguments.of(record.forward, args, record.wrt))))
    return listing(blame, blame.pins), blame.wrong


@pytest.mark.parametrize("record", derivations.ALL, ids=attrgetter("name"))
def test_the_right_backward_is_right_on_every_line_that_carries_a_cotangent(record):
    steps, wrong = steps_of(record, record.backward, drawn(record))
    assert not wrong
    assert {step.verdict for step in steps} <= {"right", "auxiliary"}
    assert any(step.verdict == "right" for step in steps)


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
