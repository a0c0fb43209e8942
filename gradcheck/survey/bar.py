"""A progress bar of one line, on the standard error. Level 5."""

from __future__ import annotations

import sys

from gradcheck.render import spelled

__all__ = ["bar"]

WIDTH = 30


def bar(done: int, total: int) -> None:
    """Draw how many points there were of how many, over what was drawn before; the last one ends the line."""
    full = WIDTH * done // total
    line = f"\r{'█' * full}{'·' * (WIDTH - full)} {done} of {total} points"
    sys.stderr.write(spelled(line, sys.stderr) + "\n" * (done == total))
    sys.stderr.flush()
