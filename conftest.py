"""Hypothesis profiles: HYPOTHESIS_PROFILE chooses one, or --hypothesis-profile; without them CI gets ci, others dev.

dev      25 random examples a test
ci       25 examples a test, the same in every run
nightly  1000 random examples a test

No profile has a deadline, because a new shape costs the autodiff oracle a compilation. Each names its parent: under CI,
Hypothesis would otherwise hand its own derandomised one down to nightly.
"""

import importlib.util
import os

from hypothesis import settings

DEFAULT = settings.get_profile("default")
settings.register_profile("dev", DEFAULT, max_examples=25, deadline=None)
settings.register_profile("ci", DEFAULT, max_examples=25, deadline=None, derandomize=True, database=None)
settings.register_profile("nightly", DEFAULT, max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

# Other frameworks are optional, and some are large: without them the tests of their adapters are absent, not skipped.
# `run.py test --with frameworks` installs them, and so does a CI job.
NEEDS = {
    "tests/adapters/test_autograd.py": {"autograd"},
    "tests/adapters/test_autograd_function.py": {"torch"},
    "tests/adapters/test_function_jvp.py": {"torch"},
    "tests/adapters/test_misgiven.py": {"autograd", "mygrad", "torch"},
    "tests/adapters/test_mygrad.py": {"mygrad"},
    "tests/adapters/test_tensors.py": {"torch"},
    "tests/adapters/test_torch_functions.py": {"torch"},
}
collect_ignore = [file for file, needs in NEEDS.items() if not all(map(importlib.util.find_spec, needs))]
if not any(map(importlib.util.find_spec, ("autograd", "torch"))):
    collect_ignore.append("tests/benchmarks/test_natives.py")
PEERS = ("autograd", "mygrad", "numdifftools", "openmdao", "pytensor", "statsmodels", "tensorflow", "torch")
if not any(map(importlib.util.find_spec, PEERS)):
    collect_ignore.append("tests/test_coming_from_frameworks.py")
