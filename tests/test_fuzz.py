"""A slice of the fuzzer (benchmarks/fuzz.py); its own tests are in tests/benchmarks/test_fuzz.py."""

from benchmarks import fuzz
from benchmarks.fuzzing import outcome

SLICE = range(200)


def test_no_case_of_a_slice_leaves_the_library_other_than_as_a_verdict_a_clear_error_or_the_users_own():
    outcome.warm()
    faults = [result for result in map(fuzz.play, SLICE) if result.fault]
    told = [f"--only {r.seed}: {r.entry}, {r.did}: {r.fault}, {r.detail}" for r in faults]
    assert told == []
