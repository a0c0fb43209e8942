"""What a check of a function of many entries costs: time in runs of the function, memory in arrays of its size.

    OMP_NUM_THREADS=1 python benchmarks/memory.py                 # 1e7 entries
    OMP_NUM_THREADS=1 python benchmarks/memory.py --entries 1e6

The time is the processor time of one check over that of one forward and backward. The memory is the peak of what
Python and NumPy allocate while the check runs, in arrays of float64 of as many entries as all arguments have together:
in total, what the library holds of it when it calls the function or works on its own (with what the function has just
returned to it), and what the function allocates by itself in a single call. The last two need not come together.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from speed import median_seconds

from gradcheck import check_backward


class Pair(NamedTuple):
    """A forward, its backward and how many arguments they share the entries among."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]
    count: int


class Peak(NamedTuple):
    """Peaks in arrays: of everything, of the library, and of one call of the function."""

    total: float
    library: float
    function: float


def tanh_backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = np.tanh(x)
    return dy * (1 - y * y)


def gate_backward(dy: np.ndarray, cache: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    x, w = cache
    y = np.tanh(w)
    return dy * y, dy * x * (1 - y * y)


PAIRS = {
    "tanh(x)": Pair(lambda x: (np.tanh(x), x), tanh_backward, 1),
    "x tanh(w)": Pair(lambda x, w: (x * np.tanh(w), (x, w)), gate_backward, 2),
}


def arguments(pair: Pair, entries: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(entries // pair.count) for _ in range(pair.count))


def peak_of(pair: Pair, entries: int) -> Peak:
    """Return the peaks of one check."""
    args, seen = arguments(pair, entries), {"total": 0, "library": 0, "function": 0}

    def note(*names: str, base: int = 0) -> int:
        now, highest = tracemalloc.get_traced_memory()
        for name in names:
            seen[name] = max(seen[name], highest - base * (name == "function"))
        tracemalloc.reset_peak()
        return now

    def metered(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            base = note("total", "library")
            returned = function(*given)
            note("total", "function", base=base)
            return returned

        return call

    check_backward(pair.forward, pair.backward, arguments(pair, 100), seed=0)  # imports what the first check imports
    tracemalloc.start()
    try:
        check_backward(metered(pair.forward), metered(pair.backward), args, seed=0)
        note("total", "library")
    finally:
        tracemalloc.stop()
    return Peak(*(seen[name] / (8 * entries) for name in Peak._fields))


def relative_time(pair: Pair, entries: int) -> float:
    """Return the time of a check in runs of the forward and the backward."""
    args = arguments(pair, entries)

    def once() -> None:
        out, cache = pair.forward(*args)
        pair.backward(np.ones_like(out), cache)

    def check() -> None:
        check_backward(pair.forward, pair.backward, args, seed=0)

    return median_seconds(check, 3, time.process_time) / median_seconds(once, 5, time.process_time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=float, default=1e7)
    entries = int(parser.parse_args().entries)
    print(f"{entries:.0e} entries  {'time':>8} {'total':>8} {'library':>8} {'function':>9}")
    for name, pair in PAIRS.items():
        peak = peak_of(pair, entries)
        time_ = f"{relative_time(pair, entries):.1f} ×"
        print(f"{name:13}  {time_:>8} {peak.total:8.2f} {peak.library:8.2f} {peak.function:9.2f}")


if __name__ == "__main__":
    main()
