"""What the blamed value is made of: the parts of the true cotangent, one for each use, each so many times.

No rewrite is needed for this: a path that is missing, or is there with another factor, is read off the value itself.
"""

from __future__ import annotations

import numpy as np

from gradcheck.steps.lapses import Cause
from gradcheck.steps.match import same

STATISTICS = {"sum", "mean", "var", "std", "norm"}
PARTS = 8  # uses of one value that are told apart


class Composition:
    """The blamed value of a pin in terms of the true parts of what it ought to be."""

    def __init__(self, blame, names, evidence, search):
        self.blame, self.sight, self.run = blame, blame.sight, blame.run
        self.named, self.e, self.loops, self.line, self.reach = names, evidence, search.loops, search.line, search.reach

    def causes(self, pin):
        """Yield what is missing from a value, or there with another factor."""
        run, wanted = self.run, {}
        wrong = [j for j, i in enumerate(pin.nodes) if not same(run.value(i), pin.truths[j])]
        if not wrong or len(wrong) > 60:
            return
        seen = set()
        for j in wrong:
            parts = self.parts(pin.of[j])
            value = run.value(pin.nodes[j])
            if not 2 <= len(parts) <= PARTS or value.size != parts[0][1].size:
                return
            shares = self.shares(np.ravel(value), [np.ravel(p) for _, p in parts])
            if shares is None:
                return
            for (use, part), share in zip(parts, shares):
                if abs(share - 1) > 1e-6:
                    key = run.nodes[use[0]].site, use[1]
                    wanted.setdefault(key, []).append((share, use, part, value))
            seen.update(round(float(s), 6) for s in shares)
        kinds = {tuple(round(float(s), 6) for s, *_ in found) for found in wanted.values()}
        for found in wanted.values():
            if len({round(float(s), 6) for s, *_ in found}) == 1 and len(kinds) == 1:
                yield self.told(pin, *found[0], len(wanted))
                return

    def parts(self, of):
        """Return the uses of a value, those that come back in one array together, and the part of each."""
        found = []
        for use in self.sight.uses.get(of, ()):
            part = np.asarray(self.sight.bars.edges[use])
            if np.any(part):
                for j, (other, sum_) in enumerate(found):
                    size = float((sum_ * sum_).sum())
                    if part.size > 1 and size and same(float((sum_ * part).sum()) / size * sum_, part):
                        found[j] = other, sum_ + part
                        break
                else:
                    found.append((use, part))
        return found

    def shares(self, value, parts):
        """Return how many times each part is in a value, None if it is made of something else."""
        matrix = np.stack(parts, axis=1).astype(float)
        if matrix.shape[0] < matrix.shape[1] + 1 and not all(len(p) > 2 for p in parts):
            return None
        found, _, rank, _ = np.linalg.lstsq(matrix, value.astype(float), rcond=1e-9)
        if rank < matrix.shape[1] or not same(matrix @ found, value, 1e-6) or matrix.shape[0] <= matrix.shape[1]:
            return None
        return np.where(np.abs(found) < 1e-7, 0.0, found)

    def told(self, pin, share, use, part, value, count):
        run = self.run
        node, line = run.nodes[use[0]], self.line(pin.first)
        through = self.sight.name(use[0])
        regular = self.regular(part, run.nodes[pin.of[pin.nodes.index(pin.first)]])
        if share == 0:
            of = run.nodes[pin.of[pin.nodes.index(pin.first)]]
            many = node.turn or run.tape.turns[node.site] and self.loops
            said, id_ = f"the path through {through} is missing", ("E1" if of.kind == "leaf" else "G1") if many else "C8"
            if node.name in STATISTICS:
                id_ = "C7"
            elif not np.any(part * value.reshape(part.shape)) and np.any(value):
                id_ = "C3"
            elif id_ != "G1" and any(same(n.value, part) for n in run.nodes[run.start :] if n.is_float and not self.reach[n.id] and n.value.size == part.size):
                id_, said = "E1", said + ", although it has been computed: it is overwritten or not added"
        else:
            name, id_ = self.named(share)
            said = f"the path through {through} is there {name} times"
            if abs(share + 1) < 1e-6:
                id_ = "A1"
        if regular:
            id_ = regular
        where = f"line {line.number} of {line.code.co_name}: " if line else ""
        return Cause(0.3 if share in (0, -1) or regular else 0.45, id_, where + said, line, pin.paths)

    def regular(self, part, node):
        """Return the class of a part that is so many times the parameter itself."""
        if node.kind != "leaf" or part.size < 2:
            return ""
        value = node.value.reshape(part.shape)
        size = float((value * value).sum())
        rate = float((value * part).sum()) / size if size else 0.0
        if not rate or not same(rate * value, part, 1e-7):
            return ""
        line = max(value.shape, default=1) == value.size
        return "D2" if line and any(p.ndim >= 2 and max(p.shape) < p.size for p in self.e.point.values()) else "D1"
