"""What a factor or a term means in a run: which mistake leaves it out, or has one too many. Level 3.

A factor means something if it is a measured derivative, or given; a term if it is a part of the true cotangent, or a
parameter. No name of a variable is read but to say it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradcheck.steps.match import Sight, same
from gradcheck.steps.pulls import is_by_element
from gradcheck.steps.quotes import quoted
from gradcheck.steps.rewrites.numbers import Numbers
from gradcheck.steps.rewrites.table import PRODUCTS, Array, proportional

NEAR = 12  # steps of the forward within which a statistic is used
STATISTICS = {"sum", "mean", "var", "std", "norm"}
COMPARED = {"greater", "less", "greater_equal", "less_equal", "equal", "not_equal"}
LINEAR = {"add", "subtract", "negative", "multiply", "divide"}


class Meanings(Numbers):
    """The facts of a run that say which mistake a rewrite undoes."""

    def called(self, i: int) -> str:
        """Return what to call the value of a node."""
        node = self.run.nodes[i]
        if node.kind == "leaf":
            return str(node.name)
        if not node.site.frames and len(node.parents) == 1 and node.parents[0] >= 0:  # no line of the user's made it
            return self.called(node.parents[0])
        after = self.run.nodes[i + 1 : i + 4]
        if (
            node.kind == "gather"
            and len(node.parents) == 1
            and any(n.kind == "op" and n.site.frames == node.site.frames for n in after)
        ):
            turned = node.value.ndim == 2 and node.value.shape == self.run.value(node.parents[0]).shape[::-1]
            return self.called(node.parents[0]) + (".T" if turned else "")  # read on the way into an operation
        where = "" if i >= self.run.start else f" (line {node.site.line} of the forward)"
        written = node.site.variable or quoted(node.site).text
        if written:
            return f"{written}{where}"
        return f"the {node.name} of line {node.site.line}{' of the forward' if where else ''}"

    @functools.cached_property
    def at_hand(self) -> frozenset[int]:
        """The nodes that an output is made of, or that the backward reads: what else there is nobody means."""
        nodes, found = self.run.nodes, set[int]()
        waiting = [*self.run.outs, *(p for node in nodes[self.start :] for p in node.parents)]
        while waiting:
            i = waiting.pop()
            if i >= 0 and i not in found:
                found.add(i)
                waiting.extend(nodes[i].parents)
        return frozenset(found)

    def origin(self, i: int) -> int:
        """Return the node that a value is a view of, itself where it is none."""
        while i >= 0 and self.run.nodes[i].kind == "gather" and len(self.run.nodes[i].parents) == 1:
            i = self.run.nodes[i].parents[0]
        return i

    def another_turn(self, i: int, value: Array) -> bool:
        """Whether a value, or its transpose, is what the place of a node made at another turn."""
        site, tape = self.run.nodes[i].site, self.run.tape
        made = (self.run.nodes[tape.at[site, t]].value for t in range(tape.turns[site] + 1))
        return any(np.array_equal(value, other) or np.array_equal(value.T, other) for other in made)

    def states(self, i: int) -> Iterator[int]:
        """Yield what the place of a node takes from other turns, such as the state that a step begins with."""
        site, tape = self.run.nodes[i].site, self.run.tape
        for t in range(1, tape.turns[site] + 1):
            parents = (self.run.nodes[p] for p in self.run.nodes[tape.at[site, t]].parents if p >= 0)
            yield from (p.id for p in parents if p.kind == "op" and p.is_float and p.turn < t)

    def is_masked(self, node: Any) -> bool:
        """Whether an operation multiplies by a mask."""
        masks = (self.run.value(p) for p in node.parents if p >= 0 and not self.run.nodes[p].is_float)
        return node.name == "multiply" and any(mask.dtype.kind == "b" for mask in masks)

    def parameter(self, part: Array) -> str:
        """Return the class of a term too many that is so many times an argument itself; "" for another."""
        for i in self.run.leaf.values():
            value = self.run.value(i)
            if part.size > 1 and value.size == part.size and (same(part, value) or proportional(part, value, 1e-7)):
                return "D2" if self.bias(value) else "D1"
        return ""

    def bias(self, value: Array) -> bool:
        """Whether an argument is a line beside arguments that are tables."""
        tables = any(
            self.run.value(i).ndim >= 2 and max(self.run.value(i).shape) < self.run.value(i).size
            for i in self.run.leaf.values()
        )
        return tables and max(value.shape, default=1) == value.size

    def updated(self, old: Array, value: Array) -> bool:
        """Whether an array is a parameter less so many times its gradient."""
        for path in self.run.results:
            point, gradient = self.run.value(self.run.leaf[path]), self.run.claimed.get(path)
            if gradient is None:
                continue
            for p, g in ((point, np.asarray(gradient)), (point.T, np.asarray(gradient).T)):
                if p.shape == value.shape == old.shape and np.allclose(p, value) and proportional(old - value, g):
                    return True
        return False

    def derivative(self, array: Array) -> bool:
        """Whether an array is a measured derivative of the forward."""
        return next(self.sight.slopes.find(np.asarray(array, dtype=float)), None) is not None

    def missing(self, a: int, b: int, slope: Array) -> str:
        """Return the mistake that leaves out the derivative of node b with respect to node a."""
        node = self.run.nodes[b]
        given = slope.size and slope.min() == 0 and len(np.unique(slope)) == 2
        if given and node.name in ("multiply", "divide"):
            return "E5"  # a mask
        if given and node.name == "where" and self.run.nodes[node.parents[0]].name not in COMPARED:
            return "F5"  # a table of links
        if node.name not in LINEAR:
            return "C1"
        waiting, seen = list(node.parents), set[int]()
        while waiting:  # what is done between the two
            i = waiting.pop()
            if i > a and i not in seen:
                seen.add(i)
                waiting.extend(self.run.nodes[i].parents)
        ops = [self.run.nodes[i] for i in seen if self.run.nodes[i].kind == "op"]
        return "C1" if any(each.name not in LINEAR for each in ops) else "A5"

    def after(self, sight: Sight, i: int) -> list[tuple[int, int, Array]]:
        """Return what is done with a value by element and nothing else: the derivative up to there, and of each step.

        What is left out of a chain may be any of its factors.
        """
        found, shape = list[tuple[int, int, Array]](), np.shape(sight.run.value(i))
        first, slope = i, np.ones(shape)
        while len(uses := list(sight.uses.get(i, []))) == 1:
            before, (i, k) = i, uses[0]
            if not is_by_element(sight.run.nodes[i]) or sight.run.nodes[i].value.shape != shape:
                break
            slope = np.asarray(sight.pulls[i, k](slope))
            step = np.asarray(sight.pulls[i, k](np.ones(shape)))
            found += [(a, i, d) for a, d in {before: step, first: slope}.items() if np.ptp(d)]
        return found

    def statistic(self, node: Any, of: Any) -> bool:
        """Whether as many entries as a value has are summed up, by way of a node, and the sum meets each of them."""

        def sums(n: Any) -> bool:
            return bool(n.name in STATISTICS and n.parents and self.run.value(n.parents[0]).size == of.value.size)

        summed = sums(node)
        for after in self.chain(node):
            if after.name in PRODUCTS[:-1]:
                return False
            if summed and is_by_element(after) and after.value.size > node.value.size:
                return True
            summed = summed or sums(after)
            node = after
        return False

    def along(self, i: int) -> Iterator[Any]:
        """Yield a node and what uses it, as long as nothing else does."""
        yield self.run.nodes[i]
        yield from self.chain(self.run.nodes[i])

    def chain(self, node: Any) -> Iterator[Any]:
        """Yield what uses a node, as long as nothing else does, and the first of what uses its end."""
        for _ in range(NEAR):
            uses = self.sight.uses.get(node.id, ())
            if not uses:
                return
            node = self.run.nodes[uses[0][0]]
            yield node
            if len(uses) > 1:
                return

    @functools.cached_property
    def over_time(self) -> bool:
        """Whether a turn of a loop of the forward takes what an earlier turn made, with the same parameters or none."""
        leaves = [node for node in self.forward if node.kind == "leaf" and node.is_float]
        bits: dict[Any, int] = {}
        above: dict[int, int] = {}
        used: dict[Any, set[int]] = {}
        for node in self.forward:
            seen = 0
            for p in node.parents:
                seen |= above.get(p, 0)
            if node.kind == "op" and node.name in (*PRODUCTS, "getitem"):
                bit = bits.setdefault(node.site, 1 << len(bits))
                if node.turn and seen & bit and (len(leaves) == 1 or used[node.site].intersection(node.parents)):
                    return True
                used.setdefault(node.site, set()).update(node.parents)
                seen |= bit
            above[node.id] = seen
        return False

    @functools.cached_property
    def repeated(self) -> bool:
        """Whether a turn of a loop of the forward takes what moves from outside, as another turn does."""
        tape, moving = self.run.tape, self.sight.moving
        later = (node for node in self.forward if node.turn and node.kind == "op")
        return any(
            moving.intersection(node.parents).intersection(self.run.nodes[tape.at[node.site, 0]].parents)
            for node in later
        )

    def softmax(self, node: Any, of: Any) -> bool:
        """Whether a value has as many exponentials, of which a node, or what is made of it, is the sum."""
        powers = {"exp", "exp2", "power"}
        sums = (each for each in (node, *self.chain(node)) if each.name in ("sum", "add.reduce"))
        parents = (self.run.nodes[p] for each in sums for p in each.parents)
        return any(p.name in powers and p.value.shape == of.value.shape for p in parents)

    def penalty(self, i: int) -> bool:
        """Whether a node is made of one argument alone, and summed up and added to the loss."""
        small = (*LINEAR, "array", "sum")
        return all(len(self._made_of[n.id]) < 2 or (n.value.size == 1 and n.name in small) for n in self.along(i))

    @property
    def joint(self) -> bool:
        """Whether an output is made of several arguments."""
        return any(len(self._made_of[i]) > 1 for i in self.run.outs if i >= 0)

    @functools.cached_property
    def _made_of(self) -> list[frozenset[int]]:
        """The arguments of more than one entry that each node of the forward is made of."""
        found: list[frozenset[int]] = []
        for node in self.forward:
            own = {node.id} if node.kind == "leaf" and node.value.size > 1 and node.is_float else set()
            found.append(frozenset(own).union(*(found[p] for p in node.parents if p >= 0)))
        return found
