"""Run gradcheck from a fresh checkout: make .venv, install what the job needs, run the job in it.

    python3 run.py check [args]    check every derivation            (python -m gradcheck check derivations)
    python3 run.py test [args]     run the tests                     (python -m pytest)
    python3 run.py test --with torch [args]    the same, with another framework in an environment of its own
    python3 run.py lint            formatter, linter, type checker   (ruff format --check, ruff check, mypy)

On Windows write `py` for `python3`. Needed: Python 3.11 or newer and a pip, which may come with Python, with its
venv package, or from elsewhere on PATH. Nothing is installed outside .venv. pip reads its usual configuration
(PIP_INDEX_URL, pip.conf, ...). Exit code: the job's own; 2 for a wrong call; 1 if .venv could not be made.

`--with` takes an extra of pyproject.toml, torch or frameworks (PyTorch, autograd and MyGrad), and makes .venv-torch or
.venv-frameworks. On Linux pip may choose a PyTorch of several gigabytes for CUDA, unless PIP_EXTRA_INDEX_URL names the
index of PyTorch's builds for the CPU.

A stamp inside .venv is written last, so an interrupted install is seen and made anew the next time.
This file must stay readable to Python 3.6, which has to be able to say that it is too old.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
STAMP = VENV / "run.stamp"
WITH = ("torch", "frameworks")  # extras that the tests can be run with, each in an environment of its own
UNFINISHED = "unfinished"

# job -> the extras of pyproject.toml that it needs, and the modules it runs
JOBS = {
    "check": ({"derivations"}, [["gradcheck", "check", "derivations"]]),
    "test": ({"test"}, [["pytest"]]),
    # mypy reads the annotations of what the tests install
    "lint": ({"lint", "test"}, [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"]]),
}

# Exit code 0 if this is the Python it should be and .venv is its prefix: without pyvenv.cfg it would be the system's.
IS_OURS = "import os, sys; sys.exit(sys.version != sys.argv[1] or not os.path.samefile(sys.prefix, sys.argv[2]))"
HAS_GRADCHECK = "import importlib.metadata; importlib.metadata.version('gradcheck')"


def main(arguments: "list[str]") -> int:
    """Run the job that the arguments name and return its exit code."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise SystemExit(
            f"run.py must be started with Python 3.11 or newer, but this is Python {found}.\n"
            "Install a newer Python, or start run.py with one you have: python3.11 run.py check"
        )
    job, rest = (arguments or [""])[0], arguments[1:]
    if job in ("-h", "--help"):
        print(__doc__)
        return 0
    extra, rest = (rest[1:2], rest[2:]) if job == "test" and rest[:1] == ["--with"] else (None, rest)
    broken = None
    if job not in JOBS:
        broken = f"be given a job ({', '.join(JOBS)})"
    elif job == "lint" and rest:
        broken = "be given no arguments for lint"
    elif extra is not None and not set(extra) & set(WITH):
        broken = f"be given an extra ({', '.join(WITH)}) after --with"
    if broken:
        came = " ".join(arguments) or "nothing"
        print(f"run.py must {broken}, but was given {came}.\nTry: python3 run.py --help", file=sys.stderr)
        return 2
    extras, commands = JOBS[job]
    if extra:
        move_to(f".venv-{extra[0]}")
    prepare(extras | set(extra or ()))
    codes = [execute([PYTHON, "-m", *command, *rest]) for command in commands]
    return next((code for code in codes if code != 0), 0)


def move_to(name: "str") -> None:
    """Let all that follows happen in another environment of the checkout than .venv."""
    global VENV, PYTHON, STAMP  # noqa: PLW0603  (a run has one environment, and everything in this file speaks of it)
    PYTHON = PYTHON.replace(str(VENV), str(ROOT / name))
    VENV = ROOT / name
    STAMP = VENV / "run.stamp"


def prepare(extras: "set[str]") -> None:
    """Bring .venv to the state in which gradcheck is installed with at least these extras."""
    digest = requirements_digest()
    stamp = STAMP.read_text(encoding="utf-8", errors="replace").split() if STAMP.is_file() else []
    if stamp[:1] == [digest]:
        # Asked for together, so that installing the extras of one job never breaks those of another.
        extras = extras | set(stamp[1:])
    wanted = [digest, *sorted(extras)]
    works = holds(IS_OURS, sys.version, str(VENV))
    if works and stamp == wanted and holds(HAS_GRADCHECK):
        return
    if not works or stamp == [UNFINISHED]:
        make_venv()
    STAMP.write_text(UNFINISHED, encoding="utf-8")
    pip, target = pip_for_venv(), f".[{','.join(sorted(extras))}]"
    say(f"installing gradcheck{target[1:]} into {VENV.name} (the first time takes some minutes)")
    if execute([*pip, "install", "--quiet", "--no-input", "--editable", target]) != 0:
        raise SystemExit(
            f"run.py must install gradcheck into {VENV.name}, but pip failed (see above).\nRun it again to retry."
        )
    STAMP.write_text("\n".join(wanted), encoding="utf-8")


def holds(code: str, *arguments: str) -> bool:
    """Return whether the Python of .venv starts and runs the code without an error."""
    # -I keeps the checkout off sys.path: what lies there must not pass for something that was installed.
    return execute([PYTHON, "-I", "-c", code, *arguments], quiet=True) == 0


def requirements_digest() -> str:
    """Return a hash of all that an install depends on: pyproject.toml, this Python, and where the checkout is."""
    parts = [(ROOT / "pyproject.toml").read_bytes(), sys.version.encode(), os.fsencode(str(ROOT))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def make_venv() -> None:
    """Make .venv anew, still without pip: the step for which every Python that has venv is complete."""
    say(f"making {VENV.name}")
    # The Python beneath, because run.py may have been started by the very .venv that is to be cleared.
    base = getattr(sys, "_base_executable", sys.executable)
    if execute([base, "-m", "venv", "--clear", "--without-pip", str(VENV)]) != 0:
        raise SystemExit(
            f"run.py must be able to make {VENV.name}, but `python -m venv` failed (see above).\n"
            "Install Python's venv module (Debian, Ubuntu: apt install python3-venv), or close what still uses it."
        )


def pip_for_venv() -> "list[str]":
    """Return the command of a pip that installs into .venv: its own, ensurepip's, or one from outside."""
    own = [PYTHON, "-m", "pip"]
    for command in ([*own, "--version"], [PYTHON, "-m", "ensurepip"]):
        if execute(command, quiet=True) == 0:
            return own
    base = getattr(sys, "_base_executable", sys.executable)
    outside = [[base, "-m", "pip"], *([pip] for pip in map(shutil.which, ("pip3", "pip")) if pip)]
    for pip in outside:
        # A pip older than 22.3 does not know --python and is passed over here.
        if execute([*pip, "--python", PYTHON, "--version"], quiet=True) == 0:
            return [*pip, "--python", PYTHON]
    raise SystemExit(
        "run.py must find a pip (22.3 or newer) to install into .venv, but found neither ensurepip nor pip.\n"
        "Install one (Debian, Ubuntu: apt install python3-venv; Fedora: dnf install python3-pip) and run it again."
    )


def execute(command: "list[str]", quiet: bool = False) -> int:
    """Run a command in the checkout and return its exit code, as a shell counts it (127: it could not be started)."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    environment.update(PYTHONUTF8="1", PIP_USER="0")
    output = subprocess.DEVNULL if quiet else None
    try:
        with subprocess.Popen(command, cwd=str(ROOT), env=environment, stdout=output, stderr=output) as child:
            code = wait_for(child)
    except OSError as error:
        if not quiet:
            print(error, file=sys.stderr)
        return 127
    return code if code >= 0 else 128 - code


def wait_for(child: "subprocess.Popen[bytes]") -> int:
    """Wait until the child has ended: Ctrl-C reaches it too, and it shall write its summary."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


def say(what: str) -> None:
    """Tell the user what takes time, on the stream that no report goes to."""
    print(f"run.py: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
