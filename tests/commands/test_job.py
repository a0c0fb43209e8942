import itertools
import math

import numpy as np
import pytest

import derivations
from gradcheck.commands.job import ORACLES, plan, run, sizes_of, tabulate, worst
from gradcheck.derivation import Derivation


def cube_forward(x):
    return x**3, x


def cube_backward(dy, x):
    return 3 * x**2 * dy


def half_backward(dy, x):
    return 1.5 * x**2 * dy


def raising_backward(_dy, _x):
    raise RuntimeError("no such file")


def leaving_backward(_dy, _x):
    raise SystemExit(0)


def nan_backward(_dy, x):
    return np.full_like(x, np.nan)


def cube_reference(x):
    return x * x * x


def cube(name="cube", backward=cube_backward, **settings):
    settings = {"shapes": "x: N D; N in 1 2 5, D in 1 3"} | settings
    return Derivation(name, cube_forward, backward, cube_reference, **settings)


def rows_of(derivation, oracles=("complex_step",), examples=6, seed=0, **settings):
    return tabulate(run(plan({"here": derivation}, oracles, examples), seed, **settings))


def seeds_of(outcomes):
    return [(o.trial.number, o.sizes, o.report.seed, o.report.error) for o in outcomes]


def test_a_row_is_one_derivation_one_kind_of_input_and_one_oracle():
    real = cube(real=lambda: (np.ones((2, 3)),))
    rows = tabulate(run(plan({"a": real, "b": cube()}, ("central_difference", "complex_step"), 2), 0))
    assert [(row.trial.target, row.trial.source, row.trial.oracle, len(row.outcomes)) for row in rows] == [
        ("a", "random", "central_difference", 2),
        ("a", "random", "complex_step", 2),
        ("a", "real", "central_difference", 1),
        ("a", "real", "complex_step", 1),
        ("b", "random", "central_difference", 2),
        ("b", "random", "complex_step", 2),
    ]
    assert {row.verdict for row in rows} == {"pass"}


def test_a_right_backward_passes_by_every_oracle():
    for row in rows_of(cube(), ORACLES):
        assert row.verdict == "pass"
        assert row.failures == ()
        assert row.error <= row.bound <= 1e-6
        assert row.seconds > 0


def test_a_wrong_backward_fails_with_its_relative_error():
    (row,) = rows_of(cube(backward=half_backward))
    assert row.verdict == "fail"
    assert len(row.failures) == 6
    assert row.error == pytest.approx(0.5)
    assert row.bound == math.inf


def test_an_exception_becomes_an_outcome_and_the_others_still_run():
    trials = plan({"bad": cube("bad", raising_backward), "good": cube()}, ("complex_step",), 2)
    bad, good = tabulate(run(trials, 0))
    assert (bad.verdict, good.verdict) == ("error", "pass")
    first, where = bad.failures[0].exception.split("\n")[0], bad.failures[0].exception.split("\n")[-1]
    assert first == "RuntimeError: no such file"
    assert where.startswith("raised at test_job.py:")
    assert where.endswith(", in raising_backward")
    assert math.isnan(bad.error)
    assert math.isnan(bad.bound)


def test_a_derivation_that_calls_exit_does_not_end_the_run():
    (row,) = rows_of(cube(backward=leaving_backward))
    assert row.verdict == "error"
    said = "gradcheck.errors.NoReturnError: leaving_backward must return, but it raised SystemExit: 0."
    assert row.failures[0].exception.startswith(said)


def test_a_gradient_that_cannot_be_compared_fails_without_an_error_to_show():
    (row,) = rows_of(cube(backward=nan_backward))
    assert row.verdict == "fail"
    assert math.isnan(row.error)


def test_sizes_that_cannot_be_drawn_are_an_error_of_their_example():
    (row,) = rows_of(cube(shapes="x: N D; N in 2, D > 2*N, D in 3"))
    assert row.verdict == "error"
    assert row.failures[0].sizes is None
    assert row.failures[0].exception.startswith("ValueError: shapes must obey D > 2*N, but no choice of N, D did so")


def test_a_derivation_that_does_not_say_what_its_arguments_are_is_an_error():
    (row,) = rows_of(cube(shapes=""))
    assert row.verdict == "error"
    assert row.failures[0].exception.startswith("TypeError: shapes must say what x of cube_forward is")


def test_an_oracle_that_cannot_run_the_forward_is_an_error():
    angle = Derivation(
        "angle",
        lambda x: (np.arctan2(x, 2.0), x),
        lambda dy, x: dy * 2 / (4 + x**2),
        lambda x: x,
        "x: 2 3",
    )
    (row,) = rows_of(angle)
    assert row.verdict == "error"
    assert row.failures[0].exception.startswith("gradcheck.oracles.estimate.OracleError: complex_step must be able")


def test_a_tolerance_beyond_reach_is_inconclusive():
    (row,) = rows_of(cube(), ("central_difference",), tol=1e-18)
    assert row.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "inconclusive"], "inconclusive"),
        (["error", "inconclusive"], "error"),
        (["fail", "error", "pass"], "fail"),
    ],
)
def test_the_worst_verdict_decides(verdicts, expected):
    assert worst(verdicts) == expected


def test_an_example_does_not_depend_on_what_else_is_run():
    alone = seeds_of(run(plan({"a": cube()}, ("complex_step",), 3), 7))
    among = seeds_of(run(plan({"b": cube("other"), "a": cube()}, ORACLES, 30), 7))
    assert all(one in among for one in alone)
    (only,) = seeds_of(run(plan({"a": cube()}, ("complex_step",), 99, only=2), 7))
    assert only == alone[2]


def test_two_seeds_two_names_and_two_numbers_give_different_examples():
    runs = [(cube(), 0), (cube(), 1), (cube("other"), 0)]
    checks = [o.report.seed for record, seed in runs for o in run(plan({"a": record}, ("complex_step",), 3), seed)]
    assert len(set(checks)) == 9


def test_random_values_and_the_check_have_seeds_of_their_own():
    drawn = []
    record = Derivation(
        "s", cube_forward, cube_backward, cube_reference, "", lambda rng: (drawn.append(rng), np.ones(2))[1:]
    )
    (outcome,) = run(plan({"a": record}, ("complex_step",), 1), 0)
    assert drawn[0].bit_generator.seed_seq.generate_state(1)[0] != outcome.report.seed


def test_the_first_sizes_are_generic_the_second_smallest_and_few_are_shared_by_many():
    found = [sizes_of(cube(), number, 0) for number in range(120)]
    assert 1 not in found[0].values()
    assert found[1] == {"N": 1, "D": 1}
    assert all(found[i] == found[i % 3] for i in range(12))
    assert all(1 not in found[i].values() for i in range(0, 120, 3))
    assert {tuple(one.values()) for one in found} == set(itertools.product((1, 2, 5), (1, 3)))


def test_only_the_real_input_can_be_planned():
    real = cube(real=lambda: (np.ones((2, 3)),))
    assert [(t.target, t.number) for t in plan({"a": real, "b": cube()}, ("autodiff",), 5, only="real")] == [
        ("a", None)
    ]


def test_all_holds_every_record_of_the_derivations_once_parts_before_compositions():
    names = [derivation.name for derivation in derivations.ALL]
    modules = [value for value in vars(derivations).values() if type(value).__name__ == "module"]
    modules = [module for module in modules if module.__name__ != "derivations.bptt"]  # other roads to rnn_columns' own
    records = {each.name for module in modules for each in vars(module).values() if isinstance(each, Derivation)}
    assert len(set(names)) == len(names)
    assert set(names) == records
    assert names.index("affine") < names.index("mlp") < names.index("rnn")


def test_every_module_of_derivations_is_imported_by_the_package():
    from pathlib import Path

    for path in Path(derivations.__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "= Derivation(" in source:
            assert hasattr(derivations, path.stem), f"derivations/{path.name} has a record that ALL lacks"
