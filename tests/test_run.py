"""The bootstrap, on a copy in a folder whose name has a space, with recorded commands instead of pip and network."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

RUN_PY = Path(__file__).resolve().parent.parent / "run.py"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run.py as a module, copied into a checkout of its own; `run.commands` lists what it would have executed.

    `run.failing` holds words: a command that contains one of them exits with 1.
    """
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    shutil.copy(RUN_PY, checkout)
    (checkout / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("run_under_test", checkout / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.commands, module.failing = [], set()

    def execute(command, **_):
        module.commands.append(command)
        failed = bool(module.failing & set(command)) or (module.IS_OURS in command and not Path(module.PYTHON).exists())
        if "venv" in command and not failed:
            shutil.rmtree(module.VENV, ignore_errors=True)
            Path(module.PYTHON).parent.mkdir(parents=True)
            Path(module.PYTHON).touch()
        return int(failed)

    module.really_execute = module.execute
    monkeypatch.setattr(module, "execute", execute)
    return module


def made(run):
    """Return how often .venv was made and how often something was installed, and forget the commands."""
    counts = tuple(sum(word in command for command in run.commands) for word in ("venv", "install"))
    run.commands.clear()
    return counts


def interrupted():
    """End as a function does when Ctrl-C comes."""
    raise KeyboardInterrupt


def installed(run):
    """Return what the last install command asked for."""
    return [command for command in run.commands if "install" in command][-1][-1]


# -- the call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run.py must be given a job (check, test, lint), but was given nothing."),
        (["chek"], "run.py must be given a job (check, test, lint), but was given chek."),
        (
            ["test", "--with"],
            "run.py must be given an extra (torch, frameworks) after --with, but was given test --with.",
        ),
        (
            ["test", "--with", "jax"],
            "run.py must be given an extra (torch, frameworks) after --with, but was given test --with jax.",
        ),
        (["lint", "derivations"], "run.py must be given no arguments for lint, but was given lint derivations."),
    ],
)
def test_a_wrong_call_exits_with_2_and_makes_nothing(run, arguments, message):
    call = [sys.executable, run.__file__, *arguments]
    result = subprocess.run(call, capture_output=True, text=True, check=False)  # noqa: S603
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"{message}\nTry: python3 run.py --help\n"
    assert not run.VENV.exists()


def test_help_names_every_job_and_exits_with_0(run, capsys):
    assert run.main(["--help"]) == 0
    named = re.findall(r"python3 run\.py (\w+)", capsys.readouterr().out)
    assert list(dict.fromkeys(named)) == list(run.JOBS)


def test_an_older_python_is_told_what_is_needed(run, monkeypatch):
    monkeypatch.setattr(run.sys, "version_info", (3, 8, 18, "final", 0))
    with pytest.raises(SystemExit) as refusal:
        run.main(["check"])
    assert refusal.value.code == (
        "run.py must be started with Python 3.11 or newer, but this is Python 3.8.18.\n"
        "Install a newer Python, or start run.py with one you have: python3.11 run.py check"
    )
    assert run.commands == []


def test_an_older_python_can_read_run_py_far_enough_to_say_so():
    assert ast.parse(RUN_PY.read_text(encoding="utf-8"), feature_version=(3, 6)).body


def test_newer_syntax_would_be_noticed():
    with pytest.raises(SyntaxError):
        ast.parse("if (n := 3):\n    pass\n", feature_version=(3, 6))


def test_the_docstring_agrees_with_pyproject_on_the_oldest_python(run):
    oldest = ".".join(map(str, run.OLDEST_PYTHON))
    assert f"Python {oldest} or newer" in run.__doc__
    assert f'requires-python = ">={oldest}"' in (RUN_PY.parent / "pyproject.toml").read_text(encoding="utf-8")


# -- the jobs


def test_check_runs_the_main_job_with_its_arguments(run):
    assert run.main(["check", "--examples", "2"]) == 0
    assert run.commands[-1] == [run.PYTHON, "-m", "gradcheck", "check", "derivations", "--examples", "2"]
    assert installed(run) == ".[derivations]"


def test_test_runs_pytest_with_its_arguments(run):
    assert run.main(["test", "-n", "2"]) == 0
    assert run.commands[-1] == [run.PYTHON, "-m", "pytest", "-n", "2"]
    assert installed(run) == ".[test]"


def test_test_with_a_framework_runs_in_an_environment_of_its_own(run):
    ours = run.VENV
    assert run.main(["test", "--with", "torch", "tests/adapters"]) == 0
    assert ours.with_name(".venv-torch") == run.VENV
    assert run.STAMP.is_file()
    assert not ours.exists()
    assert run.commands[-1] == [run.PYTHON, "-m", "pytest", "tests/adapters"]
    assert str(run.VENV) in run.PYTHON
    assert installed(run) == ".[test,torch]"


def test_lint_runs_all_three_tools_and_fails_if_the_first_does(run):
    run.failing = {"format"}
    assert run.main(["lint"]) == 1
    assert [command[2] for command in run.commands[-3:]] == ["ruff", "ruff", "mypy"]


def test_every_extra_of_a_job_is_declared_in_pyproject(run):
    project = tomllib.loads((RUN_PY.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(run.WITH).union(*(extras for extras, _ in run.JOBS.values())) <= set(project["optional-dependencies"])


# -- the stamp


def test_a_second_call_makes_and_installs_nothing(run):
    run.main(["test"])
    assert made(run) == (1, 1)
    run.main(["test"])
    assert made(run) == (0, 0)


def test_another_job_installs_its_extras_beside_those_there_are(run):
    run.main(["check"])
    run.main(["lint"])
    assert installed(run) == ".[derivations,lint,test]"
    assert made(run) == (1, 2)
    run.main(["check"])
    assert made(run) == (0, 0)


def test_a_changed_pyproject_is_installed_into_the_same_venv(run):
    run.main(["test"])
    made(run)
    (run.ROOT / "pyproject.toml").write_text("[project]\nname = 'gradcheck'\n", encoding="utf-8")
    run.main(["check"])
    assert installed(run) == ".[derivations]"
    assert made(run) == (0, 1)


def test_a_checkout_that_was_moved_is_installed_again(run, monkeypatch):
    before = run.requirements_digest()
    monkeypatch.setattr(run, "ROOT", shutil.copytree(run.ROOT, run.ROOT.with_name("moved here")))
    assert run.requirements_digest() != before


def test_an_install_that_is_killed_is_made_anew(run, monkeypatch):
    pip_for_venv = run.pip_for_venv
    monkeypatch.setattr(run, "pip_for_venv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.main(["test"])
    assert made(run) == (1, 0)
    monkeypatch.setattr(run, "pip_for_venv", pip_for_venv)
    run.main(["test"])
    assert made(run) == (1, 1)


def test_an_install_that_fails_is_reported_and_made_anew(run):
    run.failing = {"install"}
    with pytest.raises(SystemExit) as refusal:
        run.main(["test"])
    assert refusal.value.code == (
        "run.py must install gradcheck into .venv, but pip failed (see above).\nRun it again to retry."
    )
    run.failing = set()
    made(run)
    run.main(["test"])
    assert made(run) == (1, 1)


def test_a_venv_whose_python_is_gone_is_made_anew(run):
    run.main(["test"])
    made(run)
    Path(run.PYTHON).unlink()
    run.main(["test"])
    assert made(run) == (1, 1)


def test_a_venv_without_gradcheck_gets_it_again(run):
    run.main(["test"])
    made(run)
    run.failing = {run.HAS_GRADCHECK}
    run.main(["test"])
    assert made(run) == (0, 1)


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"someone else's"])
def test_a_stamp_that_is_not_ours_leads_to_an_install(run, content):
    run.main(["test"])
    made(run)
    run.STAMP.write_bytes(content)
    run.main(["test"])
    assert made(run) == (0, 1)


def test_a_venv_that_somebody_else_made_is_kept(run):
    Path(run.PYTHON).parent.mkdir(parents=True)
    Path(run.PYTHON).touch()
    run.main(["test"])
    assert made(run) == (0, 1)


def test_the_probe_tells_the_right_python_from_another(run, monkeypatch):
    monkeypatch.setattr(run, "execute", run.really_execute)
    monkeypatch.setattr(run, "PYTHON", sys.executable)
    assert run.holds(run.IS_OURS, sys.version, sys.prefix)
    assert not run.holds(run.IS_OURS, "3.9", sys.prefix)
    assert not run.holds(run.IS_OURS, sys.version, str(run.ROOT))


def test_gradcheck_in_the_checkout_does_not_pass_for_an_installed_one(run, monkeypatch):
    monkeypatch.setattr(run, "execute", run.really_execute)
    run.make_venv()
    (run.ROOT / "gradcheck").mkdir()
    (run.ROOT / "gradcheck-0.1.0.dist-info").mkdir()
    (run.ROOT / "gradcheck-0.1.0.dist-info" / "METADATA").write_text("Name: gradcheck\nVersion: 0.1.0\n")
    assert run.holds(run.IS_OURS, sys.version, str(run.VENV))
    assert not run.holds(run.HAS_GRADCHECK)
    assert run.execute([run.PYTHON, "-c", run.HAS_GRADCHECK]) == 0


# -- making .venv and finding a pip


def test_a_venv_is_made_without_pip_in_the_folder_with_a_space(run):
    run.make_venv()
    (command,) = run.commands
    assert command[1:] == ["-m", "venv", "--clear", "--without-pip", str(run.ROOT / ".venv")]
    assert " " in command[-1]


def test_a_python_without_venv_is_told_what_to_install(run):
    run.failing = {"venv"}
    with pytest.raises(SystemExit) as refusal:
        run.make_venv()
    assert refusal.value.code == (
        "run.py must be able to make .venv, but `python -m venv` failed (see above).\n"
        "Install Python's venv module (Debian, Ubuntu: apt install python3-venv), or close what still uses it."
    )


def test_the_pip_of_the_venv_comes_first(run):
    assert run.pip_for_venv() == [run.PYTHON, "-m", "pip"]
    assert len(run.commands) == 1


def test_ensurepip_brings_the_pip_of_the_venv(run, monkeypatch):
    recorded = run.execute
    monkeypatch.setattr(run, "execute", lambda command, **how: recorded(command, **how) or "ensurepip" not in command)
    assert run.pip_for_venv() == [run.PYTHON, "-m", "pip"]
    assert run.commands[-1] == [run.PYTHON, "-m", "ensurepip"]


def test_without_ensurepip_the_pip_beneath_installs_into_the_venv(run, monkeypatch):
    monkeypatch.setattr(run.sys, "_base_executable", "/usr/bin/python3", raising=False)
    recorded = run.execute
    monkeypatch.setattr(run, "execute", lambda command, **how: recorded(command, **how) or command[0] == run.PYTHON)
    assert run.pip_for_venv() == ["/usr/bin/python3", "-m", "pip", "--python", run.PYTHON]


def test_without_any_pip_module_a_pip_on_path_installs_into_the_venv(run, monkeypatch):
    monkeypatch.setattr(run.shutil, "which", lambda name: f"/opt/{name}" if name == "pip" else None)
    run.failing = {"-m"}
    assert run.pip_for_venv() == ["/opt/pip", "--python", run.PYTHON]


def test_without_any_pip_the_error_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(run.shutil, "which", lambda _: None)
    run.failing = {"-m"}
    with pytest.raises(SystemExit) as refusal:
        run.pip_for_venv()
    assert refusal.value.code == (
        "run.py must find a pip (22.3 or newer) to install into .venv, but found neither ensurepip nor pip.\n"
        "Install one (Debian, Ubuntu: apt install python3-venv; Fedora: dnf install python3-pip) and run it again."
    )


# -- executing a command


def test_the_exit_code_of_the_job_is_passed_on(run):
    assert run.really_execute([sys.executable, "-c", "raise SystemExit(5)"]) == 5


@pytest.mark.skipif(os.name == "nt", reason="a signal ends no process on Windows")
def test_a_job_ended_by_a_signal_counts_as_a_shell_counts_it(run):
    assert run.really_execute([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


def test_a_command_that_is_not_there_exits_with_127_and_says_so_unless_quiet(run, capfd):
    missing = str(run.ROOT / "no such python")
    assert run.really_execute([missing], quiet=True) == 127
    assert capfd.readouterr().err == ""
    assert run.really_execute([missing]) == 127
    assert "no such python" in capfd.readouterr().err


def test_a_job_runs_in_the_checkout_in_utf_8_and_without_foreign_packages(run, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "kept")
    seen = "[sys.flags.utf8_mode, os.environ.get('PYTHONPATH'), os.environ['PIP_USER'], os.environ['PIP_INDEX_URL']]"
    run.really_execute([sys.executable, "-c", f"import os, sys; open('seen', 'w').write(repr({seen}))"])
    assert ast.literal_eval((run.ROOT / "seen").read_text(encoding="utf-8")) == [1, None, "0", "kept"]
    assert os.environ["PYTHONPATH"] == "elsewhere"


def test_ctrl_c_waits_for_the_summary_of_the_job(run):
    answers = [interrupted, lambda: 2]

    def wait():
        return answers.pop(0)()

    assert run.wait_for(types.SimpleNamespace(wait=wait)) == 2
    assert answers == []
