"""What reaches what is wrong is tried, and nothing else; and the ends and terms that have no name are found."""

import numpy as np
import pytest

from gradcheck import examine_backward
from gradcheck.explanation.edits import Aim, edits
from tests.explanation.edits import aimed

RNG = np.random.default_rng(11)


def normal(*shape):
    return RNG.standard_normal(shape)


POINTS = {
    "kernel": (normal(5, 6), normal(3, 2)),
    "delayed": (normal(2, 3, 7), normal(3), 2),
    "penalised": (normal(6, 4), normal(4, 2), 0.7),
    "centred": (normal(4, 5),),
    "residue": (normal(6, 4), normal(4, 3)),
    "likelihood": (normal(7), 0.3 * normal(7)),
    "gate": (normal(4, 3, 2), normal(3, 5), normal(2, 5), normal(5, 5)),
    "scored": (normal(6, 3), normal(6, 4), normal(3, 4)),
    "elu": (normal(6, 4),),
}
MISTAKES = (
    ("kernel", "read_backwards", "F1"),
    ("delayed", "cropped_late", "F3"),
    ("penalised", "bias_decays", "D2"),
    ("centred", "mean_forgotten", "C7"),
    ("residue", "without_minus", "C8"),
    ("likelihood", "without_the_one", "C8"),
    ("gate", "gate_shut", "G1"),
    ("scored", "undifferentiated", "C1"),
    ("elu", "branch_of_elu", "C3"),
)


@pytest.mark.parametrize(("case", "wrong", "mistake"), MISTAKES)
def test_what_was_left_out_or_exchanged_is_named(case, wrong, mistake):
    forward, backward = getattr(aimed, f"{case}_forward"), getattr(aimed, wrong)
    assert examine_backward(forward, backward, POINTS[case], seed=0).explanations[0].mistake == mistake


def test_a_change_that_cannot_reach_what_is_wrong_is_not_yielded():
    out, cache = aimed.scored_forward(*POINTS["scored"])
    known = aimed.undifferentiated(np.ones_like(out), cache)

    def touched(backward):
        pairs = zip("xyw", backward(np.ones_like(out), cache), known, strict=True)
        return frozenset(name for name, new, old in pairs if not np.array_equal(new, old))

    aim = Aim(frozenset("y"), touched)
    known_edits = [edit.after for edit in edits(aimed.undifferentiated, (np.ones_like(out), cache))]
    tried = [edit.after for edit in edits(aimed.undifferentiated, (np.ones_like(out), cache), aim=aim)]
    assert any(after.startswith("dx = -") for after in known_edits)
    assert not any(after.startswith("dx = -") for after in tried)
    assert any(after.startswith("dy = -") for after in tried)


def clipped_otherwise(dout, cache):
    image, k = cache
    dimage, dk = np.zeros_like(image), np.zeros_like(k)
    height, width = k.shape
    for i in range(dout.shape[0]):
        for j in range(dout.shape[1]):
            dk += dout[i, j] * image[i : i + height, j : j + width]
            dimage[i : i + height, j : j + width] += dout[i, j] * (k + 0.3 * np.roll(k, 1, axis=0) ** 2)
    return dimage, dk


def test_of_a_kernel_that_is_wrong_otherwise_no_rotation_is_told():
    report = examine_backward(aimed.kernel_forward, clipped_otherwise, POINTS["kernel"], seed=0)
    assert "F1" not in [each.mistake for each in report.explanations]
