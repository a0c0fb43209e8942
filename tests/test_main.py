import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gradcheck import __version__
from gradcheck.__main__ import main
from gradcheck.commands import cli, job
from gradcheck.commands.job import ORACLES

ROOT = Path(__file__).parent.parent
OWN = """
import numpy as np
from gradcheck.derivation import Derivation

def scale_forward(x): return 3 * x, None
def scale_backward(dy, _): return 3 * dy
def wrong_backward(dy, _): return 2 * dy
def raising_backward(dy, _): raise RuntimeError("no such file \u2212")
def interrupted_backward(dy, _): raise KeyboardInterrupt
def scale_reference(x): return 3 * x
def flat_forward(x): return 0 * x, None
def flat_backward(dy, _): return 0 * dy
def record(name, backward, **settings):
    return Derivation(name, scale_forward, backward, scale_reference, "x: N; N in 1 4", **settings)

RIGHT = record("right", scale_backward)
REAL = record("with_real", scale_backward, real=lambda: (np.arange(1.0, 4.0),))
WRONG = record("wrong", wrong_backward)
RAISING = record("raising", raising_backward)
INTERRUPTED = record("interrupted", interrupted_backward)
FLAT = Derivation("flat", flat_forward, flat_backward, lambda x: 0 * x, "x: 2")
PAIR = (RIGHT, REAL)
TWINS = (record("twin", scale_backward), record("twin", wrong_backward))
ALL = (RIGHT, REAL)
NUMBER = 3
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A folder of one's own to work in, with a module of derivations; what was imported from it is forgotten."""
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import own\n1 / 0\n", encoding="utf-8")
    (tmp_path / "empty.py").write_text("ALL = ()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own", "broken", "empty"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in ("own", "broken", "empty"):
        sys.modules.pop(name, None)


def check(*words):
    return main(["check", *words])


def told(capsys, *words):
    code = check(*words)
    return code, capsys.readouterr().out


def refusal(capsys, *words):
    """The message of bad usage, after the check that the exit code is 2 and nothing was run."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.split("error: ", 1)[1].rstrip("\n")


def results(*words, path="results.json"):
    check(*words, "--json", path)
    return json.loads(Path(path).read_text(encoding="utf-8"))


def without_times(document):
    return re.sub(r'"seconds": [^,}]*', "", json.dumps(document))


def test_the_exit_code_is_0_and_the_table_has_a_row_per_oracle_when_everything_passes(capsys):
    code, out = told(capsys, "own:RIGHT", "--seed", "5", "--examples", "3")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "python -m gradcheck check own:RIGHT --seed 5 --examples 3"
    assert " ".join(lines[2].split()) == "derivation input oracle examples worst error bound time verdict"
    rows = [line.split() for line in lines if line.strip().startswith("right")]
    assert [row[:4] for row in rows] == [
        ["right", "random", "central_difference", "3"],
        ["right", "random", "complex_step", "3"],
        ["right", "random", "autodiff", "3"],
    ]
    assert all(row[-1] == "pass" for row in rows)
    assert re.fullmatch(r"PASS: 3 of 3 rows passed, 9 checks, \d+\.\d s", lines[-2])
    assert lines[-1] == "replay: python -m gradcheck check own:RIGHT --seed 5 --examples 3"


def test_the_exit_code_is_1_and_the_failure_is_told_with_its_replay_when_one_fails(capsys):
    code, out = told(capsys, "own:WRONG", "--seed", "5", "--examples", "2", "--oracle", "complex_step")
    assert code == 1
    assert "wrong, random input, complex_step: 2 of 2 examples did not pass. The first:\n  example 0: N=4\n" in out
    assert "scale_forward: FAIL (1 of 1 gradients wrong; oracle complex_step, seed " in out
    replay = "  replay: python -m gradcheck check own:WRONG --seed 5 --only 0 --oracle complex_step\n"
    assert replay in out
    assert "FAIL: 0 of 1 rows passed, 2 checks" in out


def test_the_replay_of_a_failure_prints_the_same_report(capsys):
    _, out = told(capsys, "own:WRONG", "--seed", "5", "--examples", "2", "--oracle", "complex_step", "--tol", "0.001")
    report = out[out.index("  example 0") : out.index("  replay:")]
    (words,) = re.findall(r"  replay: python -m gradcheck (.*)", out)
    assert main(words.split()) == 1
    assert report in capsys.readouterr().out


def test_an_example_alone_is_told_in_full_also_when_it_passes(capsys):
    code, out = told(capsys, "own:RIGHT", "--seed", "5", "--only", "1", "--oracle", "complex_step")
    assert code == 0
    assert "  example 1: N=1\n  scale_forward: PASS" in out


def test_the_exit_code_is_1_when_something_is_inconclusive(capsys):
    code, out = told(capsys, "own:FLAT", "--examples", "1", "--oracle", "central_difference")
    assert code == 1
    assert "INCONCLUSIVE: 0 of 1 rows passed" in out


def test_an_exception_is_told_and_the_other_rows_still_run(capsys):
    code, out = told(capsys, "own:RAISING", "own:RIGHT", "--examples", "1", "--oracle", "complex_step")
    assert code == 1
    assert "  RuntimeError: no such file −\n" in out
    assert "ERROR: 1 of 2 rows passed, 2 checks" in out


def test_an_interrupted_run_shows_what_it_has_and_ends_with_130(capsys):
    words = ("own:RIGHT", "own:INTERRUPTED", "--examples", "2", "--oracle", "complex_step", "--json", "results.json")
    code, out = told(capsys, *words)
    assert code == 130
    assert "INTERRUPTED after 2 of 4 checks" in out
    document = json.loads(Path("results.json").read_text(encoding="utf-8"))
    assert (document["complete"], document["verdict"], len(document["rows"])) == (False, "inconclusive", 1)


def test_a_run_interrupted_at_once_has_no_table(capsys):
    code, out = told(capsys, "own:INTERRUPTED", "--examples", "1", "--oracle", "complex_step")
    assert code == 130
    assert "verdict" not in out


def test_real_input_has_a_row_of_its_own_and_can_be_asked_for_alone(capsys):
    _, out = told(capsys, "own:REAL", "--examples", "1", "--oracle", "complex_step")
    assert [line.split()[1] for line in out.splitlines() if line.strip().startswith("with_real")] == ["random", "real"]
    code, out = told(capsys, "own:REAL", "--only", "real", "--oracle", "complex_step")
    assert code == 0
    assert "  real input\n  scale_forward: PASS" in out


def test_oracles_can_be_repeated_and_all_means_all():
    one = results("own:RIGHT", "--examples", "1", "--oracle", "autodiff", "--oracle", "complex_step")
    assert [row["oracle"] for row in one["rows"]] == ["autodiff", "complex_step"]
    everything = results("own:RIGHT", "--examples", "1", "--oracle", "autodiff", "--oracle", "all")
    assert everything["oracles"] == ["central_difference", "complex_step", "autodiff"]


def test_the_same_seed_gives_the_same_results_but_for_the_times():
    words = ("own:REAL", "own:WRONG", "--examples", "4", "--seed", "11")
    assert without_times(results(*words)) == without_times(results(*words))
    assert without_times(results(*words)) != without_times(results(*words[:-1], "12"))


def test_a_seed_that_was_drawn_replays_the_run():
    first = results("own:WRONG", "--examples", "2", "--oracle", "complex_step")
    again = results(*first["command"].split()[4:])
    assert first["command"] == (
        f"python -m gradcheck check own:WRONG --seed {first['seed']} --examples 2 --oracle complex_step"
    )
    assert without_times(first) == without_times(again)


@pytest.mark.parametrize(("given", "tol"), [("1e-3", 0.001), ("0", 0.0)])
def test_a_tolerance_is_part_of_the_replay_also_where_it_is_zero(given, tol):
    document = results("own:RIGHT", "--examples", "1", "--seed", "1", "--tol", given, "--oracle", "complex_step")
    assert document["tol"] == tol
    assert document["command"].endswith(f"--seed 1 --examples 1 --oracle complex_step --tol {tol}")


def test_the_json_holds_what_the_table_shows_and_the_failures():
    document = results("own:WRONG", "--examples", "1", "--seed", "5", "--oracle", "complex_step")
    assert {key: document[key] for key in ("schema_version", "complete", "verdict", "seed", "examples", "tol")} == {
        "schema_version": 1,
        "complete": True,
        "verdict": "fail",
        "seed": 5,
        "examples": 1,
        "tol": None,
    }
    assert document["versions"]["python"].count(".") == 2
    (row,) = document["rows"]
    assert row["error"] == pytest.approx(1 / 3)
    assert row["bound"] == "inf"
    (failure,) = row["failures"]
    assert failure["report"]["verdict"] == "fail"
    assert failure["exception"] is None
    assert failure["sizes"] == {"N": 4}
    assert failure["replay"] == "python -m gradcheck check own:WRONG --seed 5 --only 0 --oracle complex_step"
    assert list(Path.cwd().glob("*partial*")) == []


@pytest.fixture
def remarked(monkeypatch):
    """Every check finds something to remark: of the whole, and of the gradient if it is larger than one entry."""
    examine = job.examine_backward

    def examined(*args, **settings):
        report = examine(*args, **settings)
        (finding,) = report.arguments.values()
        remark = "exact to 2.1e-07" if finding.shape != (1,) else None
        shared = ("scale_backward shares memory.",) if remark else ()
        return replace(report, arguments={"x": replace(finding, remark=remark)}, remarks=shared)

    monkeypatch.setattr(job, "examine_backward", examined)


def test_remarks_are_told_before_the_table_counted_in_it_and_kept_in_the_json(capsys, remarked):
    words = ("own:RIGHT", "--seed", "7", "--examples", "12", "--oracle", "complex_step", "--json", "results.json")
    code, printed = told(capsys, *words)
    (row,) = json.loads(Path("results.json").read_text(encoding="utf-8"))["rows"]
    assert code == 0
    count = len(row["remarks"])
    assert 0 < count < 12
    assert (
        f"right, random input, complex_step: {count} of 12 examples pass with a remark. The first:\n"
        "  example 0: N=4\n  scale_backward shares memory.\n  dx: exact to 2.1e-07\n"
    ) in printed
    assert f"pass, {count} with a remark" in printed
    assert row["remarks"][0] == {
        "example": 0,
        "replay": "python -m gradcheck check own:RIGHT --seed 7 --only 0 --oracle complex_step",
        "remarks": ["scale_backward shares memory.", "dx: exact to 2.1e-07"],
    }


def test_numbers_that_are_not_finite_are_strings_in_the_json():
    document = results("own:RAISING", "--examples", "1", "--oracle", "complex_step")
    (row,) = document["rows"]
    assert (row["error"], row["bound"], row["verdict"]) == ("nan", "nan", "error")
    assert row["failures"][0]["report"] is None
    assert row["failures"][0]["exception"].startswith("RuntimeError: no such file −\n")


def test_an_old_result_survives_a_write_that_fails(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        cli.write_json(path, {"number": float("nan")})
    assert path.read_text(encoding="utf-8") == "old"
    assert sorted(each.name for each in tmp_path.glob("*result*")) == ["results.json"]


def test_results_that_cannot_be_written_after_the_run_end_it_with_2(capsys, monkeypatch):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(cli, "write_json", fail)
    assert check("own:RIGHT", "--examples", "1", "--oracle", "complex_step", "--json", "results.json") == 2
    assert capsys.readouterr().err == "gradcheck: --json must be written, but the disk is full.\n"


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("own", ["right", "with_real"]),
        ("own:PAIR", ["right", "with_real"]),
        ("own:RIGHT", ["right"]),
        ("own:wrong", ["wrong"]),
        ("derivations:AFFINE", ["affine"]),
        ("derivations:affine", ["affine"]),
        ("derivations.activations", ["identity", "sigmoid", "tanh", "relu"]),
        ("affine", ["affine"]),
    ],
)
def test_a_target_is_a_module_a_record_a_tuple_or_a_name(target, names):
    words = ("--examples", "1", "--oracle", "complex_step", "--only", "0")
    assert [row["derivation"] for row in results(target, *words)["rows"]] == names


def test_a_derivation_that_two_targets_mean_is_checked_once():
    document = results("affine", "derivations:AFFINE", "own", "own:RIGHT", "--only", "0", "--oracle", "complex_step")
    assert [row["target"] for row in document["rows"]] == ["derivations:affine", "own:right", "own:with_real"]


NONE = "it holds none. Add one, or name another module."
DOTS = "Write the module's name with dots, without .py."
NO_REAL = "has none. Give the number of an example."
TARGET_RULE = "TARGET must be a module, one record in it as module:NAME, or the name of a derivation"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("check", "the following arguments are required: TARGET"),
        ("check lenet", f"{TARGET_RULE}, but 'lenet' is none of these. Try lenet5."),
        ("check no.such", f"{TARGET_RULE}, but 'no.such' is none of these."),
        ("check own.inner", f"{TARGET_RULE}, but 'own.inner' is none of these."),
        ("check ./own.py", f"{TARGET_RULE}, but './own.py' is none of these. {DOTS}"),
        ("check own:rihgt", "own:rihgt must be a Derivation or a tuple of them, but there is no 'rihgt'. Try right."),
        ("check own:NUMBER", "own:NUMBER must be a Derivation or a tuple of them, but NUMBER is of type int."),
        ("check empty", f"empty must hold a Derivation or a tuple ALL of them, but {NONE}"),
        ("check own:TWINS", "own must hold derivations of different names, but two are called 'twin'. Rename one."),
        ("check own --examples 0", "argument --examples: it must be a whole number of at least 1, but it is '0'."),
        ("check own --seed -1", "argument --seed: it must be a whole number of at least 0, but it is '-1'."),
        ("check own --only x", "argument --only: it must be a whole number of at least 0, but it is 'x'."),
        ("check own --tol 1", "argument --tol: it must lie between 0 and 1, but it is '1'."),
        ("check own --tol x", "argument --tol: it must lie between 0 and 1, but it is 'x'."),
        (
            "check own --oracle complex",
            f"argument --oracle: it must be one of {', '.join(ORACLES)}, all, but it is 'complex'. Try complex_step.",
        ),
        (
            "check own:RIGHT --only real",
            f"--only real must meet a derivation with real input, but own:RIGHT {NO_REAL}",
        ),
        (
            "check own --json no/such.json",
            f"--json must name a file in a folder that can be written to, but it is {str(Path('no/such.json'))!r}.",
        ),
        ("check own --exam 3", "unrecognized arguments: --exam 3"),
    ],
)  # fmt: skip
def test_bad_usage_ends_with_2_and_says_what_it_must_be(capsys, words, message):
    assert refusal(capsys, *words.split()) == message


def test_no_job_at_all_is_bad_usage(capsys):
    assert refusal(capsys).startswith("the following arguments are required: ")


def test_a_module_that_raises_is_told_with_the_line_that_raised(capsys):
    message = refusal(capsys, "check", "broken").splitlines()
    assert message[0] == "broken must be importable, but importing it raised:"
    assert message[1] == "Traceback (most recent call last):"
    assert message[2].endswith('broken.py", line 2, in <module>')
    assert message[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(("missing", "hint"), [("jax", "\nInstall gradcheck[derivations]."), ("other", "")])
def test_a_package_that_a_module_lacks_is_named(capsys, monkeypatch, missing, hint):
    Path("broken.py").write_text(f"import {missing}\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "other", None)
    monkeypatch.setitem(sys.modules, "jax", None)
    error = f"ModuleNotFoundError: import of {missing} halted; None in sys.modules"
    assert refusal(capsys, "check", "broken").endswith(error + hint)


def test_without_rich_the_extra_to_install_is_named(capsys, monkeypatch):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda _: None)
    assert refusal(capsys, "check", "own") == (
        "gradcheck check must have Rich, but it is not installed. Install gradcheck[derivations]."
    )


def test_version_and_help_end_with_0(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"gradcheck {__version__}\n"
    with pytest.raises(SystemExit) as ended:
        main(["check", "--help"])
    assert ended.value.code == 0
    assert "python -m gradcheck check derivations " in capsys.readouterr().out


def test_the_bar_is_drawn_on_a_terminal_and_only_there(capsys, monkeypatch):
    words = ("own:RIGHT", "--examples", "2", "--oracle", "complex_step")
    check(*words)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    check(*words)
    assert "2/2" in capsys.readouterr().err


def test_a_module_with_a_long_name_is_not_cut_off_in_a_pipe(capsys):
    name = "long" * 60
    Path("own.py").write_text(OWN + f'LONG = record("{name}", scale_backward)\n', encoding="utf-8")
    _, out = told(capsys, "own:LONG", "--only", "0", "--oracle", "complex_step")
    assert f"  {name}   random   complex_step " in out


def run_python(*words, **environment):
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(  # noqa: S603  (the words are the tests' own)
        [sys.executable, "-m", "gradcheck", *words], capture_output=True, env=settings, check=False, timeout=120
    )


def test_the_module_runs_as_a_program_also_where_the_output_knows_only_ascii():
    words = ("check", "own:RAISING", "--examples", "1", "--oracle", "complex_step", "--seed", "1")
    ended = run_python(*words, PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert b"RuntimeError: no such file -\n" in ended.stdout.replace(b"\r\n", b"\n")
    assert b"\x1b" not in ended.stdout
    assert b"| raising" in ended.stdout
