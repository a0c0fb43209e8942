"""Reads, writes and views otherwise: what moves cells cannot be replayed value by value, so the backward runs again."""

from __future__ import annotations

import functools
import itertools
import time
from typing import NamedTuple

import numpy as np

from gradcheck.steps.blame import Blame, Line, Pin, Replay
from gradcheck.steps.match import Sight, same
from gradcheck.steps.run import traced
from gradcheck.steps.truth import adjoint, by_element, slope_by_element, unbroadcast
from gradcheck.steps.lapses import Cause, claimed_of
from gradcheck.steps.match import turns_of

PATIENCE = 3.0


class Elsewhere:
    """The backward again, on what the forward made, with one index or view changed."""

    def __init__(self, blame: Blame, second: Replay | None, forward, backward):
        self.blame, self.sight, self.run = blame, blame.sight, blame.run
        self.second, self.forward, self.backward = second, forward, backward
        self.right = set(self.run.results) - set(blame.wrong)
        self.reruns, self.until = 0, None

    def elsewhere(self, pin: Pin):
        """Yield reads and writes at other places, other views, and sums in place of overwriting, that are right."""
        main, near = self.blame.blamed(pin)
        self.until = self.until or time.perf_counter() + PATIENCE
        tape, tries = self.run.tape, []
        for frames, kind in tape.indexed.items():
            line = Line.of(frames)
            if line in main or line in near:
                theirs = [(Line.of(f).number, k) for f, k in tape.keys.items() if f != frames and f in self.forwards]
                for each in views() if kind == "view" else keys(kind, tape.keys[frames], theirs):
                    tries.append((each[0] not in ("E1", "F2", "F3"), line not in main, frames, line, each))
        for *_, frames, line, (id_, text, rewrite) in sorted(tries, key=lambda t: t[:2]):
            if time.perf_counter() > self.until:
                return
            if all(self.reads_right(sight, frames, rewrite, pin) for sight in (self.sight, self.second and self.second.sight) if sight):
                yield Cause(0.3, id_, f"line {line.number} of {line.code.co_name}: {text}", line, pin.paths)

    @functools.cached_property
    def forwards(self):
        """The places of the forward."""
        return {n.site.frames for n in self.run.nodes[: self.run.start]}

    def reads_right(self, sight, frames, rewrite, pin):
        self.reruns += 1
        own = self.run.tape.keys.get(frames)  # of x[key] += term both the read and the write
        both = {frames, *(f for f, k in self.run.tape.keys.items() if own and Line.of(f) == Line.of(frames) and alike(k, own))}
        try:
            run = traced(self.forward, self.backward, sight.run.arguments, sight.run.cotangent, rewrites=dict.fromkeys(both, rewrite))
        except Exception:  # noqa: BLE001  (an index out of bounds)
            return False
        return all(sight.is_right(p, claimed_of(run).get(p)) for p in self.right | set(pin.paths))



# ------------------------------------------------------------------ indices and views, which need the user's code again


def keys(kind, own=(), others=()):
    """Yield how the index of a read or a write can be changed: (class, text, function of kind, array, key and value).

    ``own`` are its indices, in order; ``others`` those of places of the forward, by their line.
    """
    if kind == "setitem":
        yield "E1", "it must add to what is there, not overwrite it", lambda kind, raw, key, value: (
            (key, raw[key] + value) if kind == "setitem" else (key, value))
        yield "E1", "what is there more than once must be added up, as np.add.at does", _added_up
    for line, theirs in others:
        for order, what in ((theirs, ""), (theirs[::-1], ", from the last on")):
            if len(own) == len(theirs) and [_form(k) for k in own] == [_form(k) for k in order] and not alike(own, order):
                yield "F1" if what else "F2", f"it must be at the indices of line {line} of the forward{what}", _in_turn(own, order)

    def changed(change):
        def rewrite(kind, raw, key, value):
            new = change(key if isinstance(key, tuple) else (key,))
            return (new if isinstance(key, tuple) else new[0]), value

        return rewrite

    for j in range(4):
        for by in (-1, 1):
            yield "G3", f"index {j + 1} must be {by:+d}", changed(
                lambda key, j=j, by=by: tuple(_shifted(k, by) if i == j else k for i, k in enumerate(key)))
    yield "F3", "its slices must be mirrored", changed(lambda key: tuple(map(_mirrored, key)))
    for i, j in itertools.combinations(range(4), 2):
        yield "F4", f"indices {i + 1} and {j + 1} must be exchanged", changed(lambda key, i=i, j=j: _exchanged(key, i, j))


def _added_up(kind, raw, key, value):
    if kind != "setitem":
        return key, value
    whole = np.array(raw)
    np.add.at(whole, key, np.asarray(value) - whole[key])
    return ..., whole


def _form(key):
    return tuple(type(k).__name__ for k in (key if isinstance(key, tuple) else (key,)))


def alike(own, order):
    """Whether two places have the same indices, in order."""
    return len(own) == len(order) and all(repr(a) == repr(b) for a, b in zip(own, order))


def _in_turn(own, order):
    done = {"getitem": 0, "setitem": 0}

    def rewrite(kind, raw, key, value):
        done[kind] += 1
        return order[(done[kind] - 1) % len(order)], value

    return rewrite


def _shifted(key, by):
    if isinstance(key, slice):
        return slice(None if key.start is None else key.start + by, None if key.stop is None else key.stop + by, key.step)
    return key + by if isinstance(key, int | np.integer) else key


def _mirrored(key):
    """Return [:-2p] and [2p:] as [p:-p], [p:-p] as it is, and any other slice from the other end."""
    if not isinstance(key, slice) or key.step is not None or (key.start is None) == (key.stop is None):
        return key
    by = abs(key.start or key.stop) // 2
    return slice(by, -by) if by else key


def _exchanged(key, i, j):
    key = list(key)
    if j < len(key):
        key[i], key[j] = key[j], key[i]
    return tuple(key)


def views():
    """Yield how a view can be taken otherwise: with the axes exchanged before or after."""
    for ndim in (2, 3, 4):
        for axes in list(itertools.permutations(range(ndim)))[1:]:
            yield "B1", f"the axes must be {axes} first", lambda kind, node, v, _, axes=axes: node.compute([v[0].transpose(axes), *v[1:]])
            yield "B1", f"the axes must be {axes} afterwards", lambda kind, node, v, _, axes=axes: (
                np.reshape(node.compute(v).transpose(axes), np.shape(node.compute(v))))
