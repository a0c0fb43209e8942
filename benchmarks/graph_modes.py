"""What a derivative costs on a computational graph: as a sum over paths, by forward mode, by reverse mode.

    python benchmarks/graph_modes.py
    python benchmarks/graph_modes.py --picture graph_modes.png

The graph is a ladder (derivations/graph.py): each rung s ← sin(s) + s · x_k splits and joins again, and brings an input
of its own. All derivatives by the inputs are computed in three ways, and every use of an edge is counted as it happens.
For the deeper ladders the paths are counted and not walked; their edge visits are then unknown and left out.

Exits 1 if the three ways disagree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from derivations.graph import count_paths, forward_mode, graph_forward, ladder, reverse_mode, sum_over_paths

WALKED = 12  # the deepest ladder whose paths are walked by default: 8191 of them
APART = 1e-12  # how far the three may be apart, relative to the largest derivative


class Row(NamedTuple):
    """One ladder: how many paths it has, and the edge visits of each way; None where the paths were not walked."""

    depth: int
    edges: int
    paths: int
    by_paths: int | None
    by_forward: int
    by_reverse: int
    agree: bool


def measure(depth: int, *, walk: bool) -> Row:
    """Differentiate a ladder of so many rungs by all its inputs, with the paths walked or not."""
    I, C, operations = ladder(depth)
    x = np.random.default_rng(depth).uniform(0.5, 1.0, I)
    _, cache = graph_forward(x, np.zeros(C), operations)
    derivatives, reverse_visits = reverse_mode(cache)
    forward = [forward_mode(i, cache) for i in range(I)]
    walked = [sum_over_paths(i, cache) for i in range(I)] if walk else []
    others = [[derivative for derivative, _ in way] for way in (forward, walked) if way]
    apart = max(float(np.abs(np.subtract(way, derivatives[:I])).max()) for way in others)
    return Row(
        depth,
        sum(len(sources) for _, sources in operations),
        sum(count_paths(cache)[:I]),
        sum(visits.total() for _, visits in walked) if walk else None,
        sum(visits.total() for _, visits in forward),
        reverse_visits.total(),
        bool(apart <= APART * np.abs(derivatives).max()),
    )


def table(rows: list[Row]) -> str:
    """Return the rows as text."""
    lines = ["depth  edges         paths   edge visits: sum over paths  forward mode  reverse mode"]
    for row in rows:
        by_paths = "not walked" if row.by_paths is None else row.by_paths
        lines.append(
            f"{row.depth:5}  {row.edges:5}  {row.paths:12}  {by_paths:>28}  {row.by_forward:12}  {row.by_reverse:12}"
        )
    return "\n".join(lines)


def draw(rows: list[Row], file: Path) -> None:
    """Write a picture of the edge visits against the depth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    walked = [row for row in rows if row.by_paths is not None]
    axes.semilogy([row.depth for row in walked], [row.by_paths for row in walked], "o-", label="sum over paths")
    axes.semilogy([row.depth for row in rows], [row.by_forward for row in rows], "s-", label="forward mode")
    axes.semilogy([row.depth for row in rows], [row.by_reverse for row in rows], "^-", label="reverse mode")
    axes.semilogy([row.depth for row in rows], [row.paths for row in rows], ":", color="grey", label="number of paths")
    axes.set(xlabel="rungs, each with an input of its own", ylabel="edge visits for all derivatives")
    axes.legend()
    figure.savefig(file)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=24, help="rungs of the deepest ladder (default 24)")
    parser.add_argument("--walk", type=int, default=WALKED, help=f"rungs up to which paths are walked ({WALKED})")
    parser.add_argument("--picture", type=Path, help="file for a picture, such as graph_modes.png")
    options = parser.parse_args(arguments)
    if options.depth < 1:
        parser.error(f"--depth must be at least 1, but it is {options.depth}.")
    depths = sorted({*range(1, min(options.depth, 12) + 1), *range(12, options.depth + 1, 4), options.depth})
    rows = [measure(depth, walk=depth <= options.walk) for depth in depths]
    print(table(rows))
    if options.picture:
        draw(rows, options.picture)
    wrong = [row.depth for row in rows if not row.agree]
    if wrong:
        print(f"the three ways disagree at depth {', '.join(map(str, wrong))}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
