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

# PyTorch is optional and large: without it the tests of its adapter are absent, not skipped. A CI job installs it.
collect_ignore = [] if importlib.util.find_spec("torch") else ["tests/adapters/test_autograd_function.py"]
if not any(map(importlib.util.find_spec, ("autograd", "torch"))):
    collect_ignore.append("tests/benchmarks/test_natives.py")
