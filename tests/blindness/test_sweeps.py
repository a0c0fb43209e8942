import numpy as np
import pytest

from derivations.affine import AFFINE
from derivations.mlp_one_hidden import MLP_ONE_HIDDEN
from derivations.rnn import RNN
from gradcheck import Verdict, examine_backward, point
from gradcheck.arguments import Arguments
from gradcheck.blindness.sweeps import Swept
from gradcheck.steps.slips import slips
from gradcheck.verdict.laws import match_gradients


def swept(derivation):
    args = point(derivation.spec, seed=3)
    return Swept.of(derivation.forward, Arguments.of(derivation.forward, args, derivation.wrt)), args


@pytest.mark.parametrize("derivation", [AFFINE, MLP_ONE_HIDDEN, RNN], ids=lambda d: d.name)
def test_the_sweep_is_a_backward_that_passes_the_check(derivation):
    sweep, args = swept(derivation)
    assert examine_backward(derivation.forward, sweep.backward(), args, wrt=derivation.wrt, seed=0)


def test_the_sweep_with_a_slip_is_a_backward_that_fails_where_the_gradients_differ():
    sweep, args = swept(AFFINE)
    (slip,) = (each for each in slips(sweep.run) if each.mistake == "A2")
    report = examine_backward(AFFINE.forward, sweep.backward(slip), args, seed=0)
    assert {path: f.verdict for path, f in report.arguments.items()} == {
        "x": Verdict.PASS,
        "W": Verdict.PASS,
        "b": Verdict.FAIL,
    }


def test_a_slip_takes_part_where_something_comes_back_through_its_operand():
    sweep, _ = swept(AFFINE)
    assert all(sweep.takes_part(slip) for slip in slips(sweep.run))
    silent = sweep._replace(bars=sweep.bars._replace(edges={key: 0 * part for key, part in sweep.bars.edges.items()}))
    assert not any(silent.takes_part(slip) for slip in slips(sweep.run))


def test_what_a_parameter_loses_of_itself_is_the_regulariser():
    sweep, _ = swept(MLP_ONE_HIDDEN)
    found = {sweep.regulariser(slip) for slip in slips(sweep.run)}
    assert "D1" in found
    assert None in found


def test_a_slip_whose_parts_have_no_place_gives_no_gradients():
    sweep, _ = swept(AFFINE)
    slip = next(slips(sweep.run))._replace(change=lambda use: np.zeros((7, 7, 7)))
    assert sweep.gradients(slip) is None
    with pytest.raises(ValueError, match="must have the shape of what went in"):
        sweep.backward(slip)(np.ones(sweep.run.cotangent[0].shape), None)


def test_the_gradients_are_read_as_a_check_reads_them():
    sweep, _ = swept(RNN)
    returned = sweep.backward()(sweep.run.cotangent[0], None)
    claims = match_gradients("backward", returned, sweep.run.arguments)
    assert not claims.breach
    assert all(np.array_equal(claims.gradients[path], g) for path, g in sweep.gradients().items())
