import contextlib
import contextvars
import io
import linecache
import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", README, flags=re.DOTALL)
BOUND = re.compile(r"\d\.\de-\d\d\b")


def test_the_examples_print_what_the_readme_says():
    """Every example runs after the ones above it. A bound is a measurement: it may differ by a factor of 30."""
    assert len(BLOCKS) == 6
    namespace = {}
    for number, (code, said) in enumerate(BLOCKS, 1):
        printed, file = io.StringIO(), f"example_{number}.py"
        linecache.cache[file] = len(code), None, code.splitlines(keepends=True), file  # as in a notebook
        with contextlib.redirect_stdout(printed):
            # what is printed is compared: in a context of its own, where nobody takes down that no test looked at it;
            # the code is ours, and to run it is the point
            contextvars.Context().run(exec, compile(code, file, "exec"), namespace)
        assert BOUND.sub("…", printed.getvalue()) == BOUND.sub("…", said)
        bounds = zip(BOUND.findall(printed.getvalue()), BOUND.findall(said), strict=True)
        assert all(1 / 30 < float(ours) / float(theirs) < 30 for ours, theirs in bounds)


def test_the_readme_names_only_files_that_exist():
    named = re.findall(r"`((?:gradcheck|derivations|benchmarks)/[\w/.]*|[\w]+\.(?:md|py))`", README)
    assert named
    assert [name for name in named if not (Path(__file__).parent.parent / name).exists()] == []
