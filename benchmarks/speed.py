"""What LeNet-5 costs: its forward and backward, and one check of the whole network by each oracle.

    OMP_NUM_THREADS=1 python benchmarks/speed.py

Prints the median of repeated calls in one process; the first call of each is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from derivations.lenet5 import LENET5
from gradcheck import autodiff, central_difference, check_backward, complex_step, point


def median_seconds(
    function: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the median time of ``function()``; a first call is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return statistics.median(times)


def main() -> None:
    args = point(LENET5.spec, N=4)
    loss, cache = LENET5.forward(*args)
    forward = median_seconds(lambda: LENET5.forward(*args), 100)
    backward = median_seconds(lambda: LENET5.backward(np.ones_like(loss), cache), 100)
    print(f"forward   {1e3 * forward:8.2f} ms   batch 4, 61k parameters")
    print(f"backward  {1e3 * backward:8.2f} ms")
    for oracle in (central_difference, complex_step, autodiff(LENET5.reference)):
        check = lambda oracle=oracle: check_backward(LENET5.forward, LENET5.backward, args, oracle=oracle)  # noqa: E731
        print(f"check     {1e3 * median_seconds(check, 10):8.2f} ms   {oracle.__name__}, bound {check().bound:.1e}")


if __name__ == "__main__":
    main()
