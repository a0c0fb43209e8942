"""What holds for the source as a whole: layers, imports, global state, the tests themselves."""

import ast
import collections
import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import gradcheck
from derivations.affine import AFFINE
from gradcheck import autodiff, central_difference, complex_step, examine_backward

ROOT = Path(__file__).resolve().parent.parent
GRADCHECK = ROOT / "gradcheck"

LEVELS = {
    0: (
        "containers",
        "trees",
        "arguments",
        "report",
        "annotation",
        "render",
        "entrance",
        "errors",
        "hints",
        "mistakes",
        "settings",
        *(f"shapes.{part}" for part in ("text", "values", "expressions", "parts", "grammar", "specification", "sizes")),
    ),
    1: (
        *("shapes.described", "shapes.point"),
        *("oracles", "adapters", "pairing", "calls", "witness", "kinds"),
        *("verdict.regions", "verdict.axes", "blindness.facts", "blindness.spots"),
    ),
    2: (
        *(f"verdict.{part}" for part in ("laws", "probes", "case", "rounding", "outlines", "sketch", "trial")),
        *("verdict.cotangents", "verdict.memory", "verdict.returned"),
    ),
    3: (
        *(
            f"verdict.{part}"
            for part in (
                "judge",
                "search",
                "locate",
                "kinks",
                "crossexamine",
                "behaviour",
                "repeatable",
                "exactness",
                "jumps",
                "line",
                "hair",
                "folds",
            )
        ),
        "steps",
        *(f"blindness.{part}" for part in ("variations", "roles")),
    ),
    4: (
        "verdict.subject",
        "inquiry",
        "examination",
        "complexes",
        "check",
        "jacobians",
        "pushforward",
        "blindness.sweeps",
    ),
    5: (
        "derivation",
        "rules",
        "strategies",
        "equations.statement",
        "equations.equation",
        "blindness.blind_spots",
        "blindness.suite",
        *(f"survey.{part}" for part in ("bar", "examples", "smallest", "needs", "report", "check")),
    ),
    6: ("commands.job", "commands.cli", "commands.usage", "equations.errata", "pytest_plugin", "__main__"),
}
LEVEL = {part: level for level, parts in LEVELS.items() for part in parts}
PACKAGES = {"gradcheck", *(f"gradcheck.{part.partition('.')[0]}" for part in LEVEL if "." in part)}
HEAVY = {"jax", "hypothesis", "pytest", "rich", "matplotlib", "torch", "sklearn", "autograd", "mygrad"}

# -- layers


def part_of(module):
    """Return the part of gradcheck that a dotted module name belongs to; None for gradcheck itself and for others."""
    package, *names = module.split(".")
    parts = (".".join(names[:depth]) for depth in range(len(names), 0, -1)) if package == "gradcheck" else ()
    return next((part for part in parts if part in LEVEL), None)


def part_at(path):
    """Return the part of gradcheck that a file belongs to."""
    return part_of(".".join(("gradcheck", *path.relative_to(GRADCHECK).with_suffix("").parts)))


def imports(source):
    """Return the dotted names of all modules that ``source`` imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module in PACKAGES}
    return found


def upward(part, source):
    """Return the imports of a module of ``part`` that do not go down; within its part it may import anything."""
    return sorted(module for module in imports(source) if goes_up(part, module))


def goes_up(part, module):
    if module == "gradcheck":
        return part not in LEVELS[6]
    other = part_of(module)
    return module.startswith(".") or (other in LEVEL and other != part and LEVEL[other] > LEVEL[part])


def modules_of_gradcheck():
    """Return the files of all modules; a package that only holds modules has no level of its own."""
    bare = {GRADCHECK / package.replace(".", "/").removeprefix("gradcheck").strip("/") for package in PACKAGES}
    return sorted(path for path in GRADCHECK.rglob("*.py") if path not in {each / "__init__.py" for each in bare})


def test_every_module_has_a_level():
    assert None not in map(part_at, modules_of_gradcheck())
    assert set(map(part_at, modules_of_gradcheck())) == set(LEVEL)


@pytest.mark.parametrize("path", modules_of_gradcheck(), ids=lambda path: path.relative_to(GRADCHECK).as_posix())
def test_a_module_says_its_level_in_its_docstring(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert f"Level {LEVEL[part_at(path)]}." in docstring


@pytest.mark.parametrize("path", modules_of_gradcheck(), ids=lambda path: path.relative_to(GRADCHECK).as_posix())
def test_an_import_goes_down_the_layers_only(path):
    assert upward(part_at(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "from gradcheck.check import check_backward",
        "from gradcheck import check",
        "import gradcheck.check",
        "from ..check import check_backward",
        "def lazily():\n    from gradcheck.check import check_backward",
    ],
)
def test_an_import_that_goes_up_is_noticed(line):
    assert upward("verdict.laws", line)
    assert not upward(
        "verdict.laws", "import numpy\nfrom gradcheck.trees import leaves\nfrom gradcheck.oracles.estimate import E"
    )


@pytest.mark.parametrize("folder", ["derivations", "gradcheck"])
def test_the_library_imports_nothing_of_the_tests(folder):
    for path in (ROOT / folder).rglob("*.py"):
        imported = {module.partition(".")[0] for module in imports(path.read_text(encoding="utf-8"))}
        allowed = {"pytest"} if path.name == "pytest_plugin.py" else set()
        assert not imported & {"tests", "pytest", "conftest"} - allowed, path


# -- what `import gradcheck` costs

CHECK = """
import gradcheck, numpy as np
gradcheck.check_backward(lambda x: (x * x, x), lambda dy, x: 2 * x * dy, (np.ones(3),))
"""


def imported_by(code):
    """Return which heavy packages a fresh Python has imported after ``code``."""
    program = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return HEAVY & set(result.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import gradcheck",
        "from gradcheck import *",
        CHECK,
    ],
    ids=["import", "star", "check"],
)
def test_importing_gradcheck_imports_nothing_heavy(code):
    assert imported_by(code) == set()


def test_a_heavy_import_is_noticed():
    assert imported_by("import gradcheck, hypothesis.strategies") == {"hypothesis"}


def test_every_public_name_resolves():
    assert len(set(gradcheck.__all__)) == len(gradcheck.__all__)
    for name in gradcheck.__all__:
        assert getattr(gradcheck, name) is not None
    assert set(dir(gradcheck)) == set(gradcheck.__all__)


def test_an_unknown_public_name_is_refused():
    with pytest.raises(AttributeError) as caught:
        gradcheck.check_forward  # noqa: B018
    assert str(caught.value) == "module 'gradcheck' has no attribute 'check_forward'"


# -- global state


def global_state():
    """Return what a check must leave as it was."""
    import jax

    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002
    return {
        "errors": np.geterr(),
        "print options": str(np.get_printoptions()),
        "random": (keys.tolist(), position),
        "warnings": list(warnings.filters),
        "x64": jax.config.jax_enable_x64,
        "jit": jax.config.jax_disable_jit,
    }


def disturbed(function):
    """Return the parts of the global state that ``function`` changed."""
    before = global_state()
    function()
    after = global_state()
    return {name for name in before if before[name] != after[name]}


def test_a_check_leaves_the_global_state_alone():
    args = AFFINE.spec.point({"N": 2, "D": 3, "M": 4}, seed=0)
    oracles = (central_difference, complex_step, autodiff(AFFINE.reference))
    wrong = (AFFINE.backward, lambda dy, cache: tuple(2 * gradient for gradient in AFFINE.backward(dy, cache)))
    for backward in wrong:
        assert disturbed(lambda b=backward: bool(examine_backward(AFFINE.forward, b, args, oracle=oracles))) == set()


@pytest.mark.parametrize(
    ("name", "disturb"),
    [
        ("errors", lambda: np.seterr(all="raise")),
        ("print options", lambda: np.set_printoptions(precision=3)),
        ("random", np.random.random),
        ("warnings", lambda: warnings.simplefilter("ignore")),
    ],
)
def test_a_disturbed_global_state_is_noticed(name, disturb):
    with warnings.catch_warnings(), np.errstate(), np.printoptions():
        assert disturbed(disturb) == {name}


def test_a_changed_jax_flag_is_noticed():
    import jax

    def disturb():
        jax.config.update("jax_enable_x64", True)

    try:
        assert disturbed(disturb) == {"x64"}
    finally:
        jax.config.update("jax_enable_x64", False)


# -- the tests themselves


def written_tests(source):
    """Return the names of all functions in ``source`` that are meant as tests, as often as they are defined."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    ]


def lost(source):
    """Return the tests in ``source`` that pytest would not run: defined twice, or inside something else."""
    top = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    counts = collections.Counter(written_tests(source))
    return sorted(name for name, count in counts.items() if count > 1 or name not in top or name[4:5] != "_")


def files_of_tests():
    return sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("path", files_of_tests(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_test_is_lost(path):
    source = path.read_text(encoding="utf-8")
    assert lost(source) == []
    assert path.name.startswith("test_") or not written_tests(source)


def test_a_lost_test_is_noticed():
    source = "def test_a(): ...\ndef test_a(): ...\ndef helper():\n    def test_b(): ...\ndef testc(): ..."
    assert lost(source) == ["test_a", "test_b", "testc"]


def test_pytest_collects_every_test():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S603
    collected = {tuple(line.partition("[")[0].split("::")) for line in result.stdout.splitlines() if "::" in line}
    written = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in files_of_tests()
        if path.relative_to(ROOT).as_posix() not in absent_files()
        for name in written_tests(path.read_text(encoding="utf-8"))
    }
    assert collected == written


def absent_files():
    """Return the test files of packages that are not installed: absent by a rule, so that no skip looks like a pass."""
    needs = {
        "tests/adapters/test_autograd.py": {"autograd"},
        "tests/adapters/test_autograd_function.py": {"torch"},
        "tests/adapters/test_function_jvp.py": {"torch"},
        "tests/adapters/test_misgiven.py": {"autograd", "mygrad", "torch"},
        "tests/adapters/test_mygrad.py": {"mygrad"},
        "tests/adapters/test_tensors.py": {"torch"},
        "tests/adapters/test_torch_functions.py": {"torch"},
    }
    absent = [file for file, packages in needs.items() if not all(map(importlib.util.find_spec, packages))]
    one_of = {
        "tests/benchmarks/test_natives.py": ("autograd", "torch"),
        "tests/test_coming_from_frameworks.py": (
            *("autograd", "mygrad", "numdifftools", "openmdao"),
            *("pytensor", "statsmodels", "tensorflow", "torch"),
        ),
    }
    return absent + [file for file, packages in one_of.items() if not any(map(importlib.util.find_spec, packages))]


def test_only_the_tests_of_an_optional_package_may_be_absent():
    conftest = (ROOT / "conftest.py").read_text(encoding="utf-8")
    assert re.findall(r'"(tests/\S+\.py)"', conftest) == [
        "tests/adapters/test_autograd.py",
        "tests/adapters/test_autograd_function.py",
        "tests/adapters/test_function_jvp.py",
        "tests/adapters/test_misgiven.py",
        "tests/adapters/test_mygrad.py",
        "tests/adapters/test_tensors.py",
        "tests/adapters/test_torch_functions.py",
        "tests/benchmarks/test_natives.py",
        "tests/test_coming_from_frameworks.py",
    ]
