"""Reports on consoles that cannot show every sign: the whole program is run as such a console would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAIR = """
import numpy as np
from gradcheck import check_backward
def double(x):
    return 2 * x, None
def back(dy, _):
    return {factor} * dy
print(check_backward(double, back, (np.array([1.0, -2.0]),), seed=0))
"""


def run(*command, encoding):
    """Run Python on a console of that encoding; return the exit code, what was printed, and what went to stderr."""
    settings = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = subprocess.run(  # noqa: S603  (our own Python and options)
        [sys.executable, *command], cwd=ROOT, env=os.environ | settings, capture_output=True, timeout=120, check=False
    )
    return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "utf-8"])
def test_a_report_is_printed_in_the_signs_that_the_console_has(encoding):
    code, printed, told = run("-c", PAIR.format(factor=2), encoding=encoding)
    minus = "−" if encoding == "utf-8" else "-"
    assert (code, told) == (0, "")
    assert f"  A larger error would have been seen with probability 1 {minus} 1e-06." in printed.splitlines()


@pytest.mark.parametrize(("encoding", "sign"), [("cp1252", "±"), ("cp437", "±"), ("ascii", "+/-"), ("utf-8", "±")])
def test_a_traceback_shows_the_report_in_the_signs_that_the_console_has(encoding, sign):
    code, printed, told = run("-c", PAIR.format(factor=3), encoding=encoding)
    assert (code, printed) == (1, "")
    assert f"{sign} bound" in told
    assert "\\u" not in told
    assert "\\x" not in told


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_the_command_line_shows_a_failure_and_its_table_on_such_a_console(encoding, tmp_path):
    (tmp_path / "wrong.py").write_text(
        "from gradcheck.derivation import Derivation\n"
        "def forward(x): return 2 * x, None\n"
        "def backward(dy, cache): return 3 * dy\n"
        "WRONG = Derivation('wrong', forward, backward, None, 'x: N')\n",
        encoding="utf-8",
    )
    command = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from gradcheck.__main__ import main; sys.exit(main())"
    )
    options = ("check", "wrong", "--seed", "0", "--examples", "2", "--oracle", "central_difference")
    code, printed, told = run("-c", command, *options, encoding=encoding)
    assert (code, told) == (1, "")
    assert "2 of 2 examples did not pass" in printed
    assert printed.splitlines()[-2].startswith("FAIL: 0 of 1 rows passed")
