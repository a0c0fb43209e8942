"""A term that is missing."""

from __future__ import annotations

import itertools

import numpy as np

from gradcheck.steps.rewrites.base import Rule, _same, laid, look, spread

def triples(op, named, slopes):
    """A missing term of two values and a derivative or a third value."""
    shape = op.result.shape
    arrays = {n: s for n, s in named.items() if np.shape(s) == shape and shape and np.asarray(s).dtype.kind == "f"}
    if not 1 <= len(arrays) <= 14 or int(np.prod(shape)) > 200:
        return
    for one, two in itertools.combinations_with_replacement(arrays, 2):
        for three in arrays:
            for said, f in slopes:
                yield Rule("term", f"{one} * {two} * {said.format(v=three)}", lambda o, v, x=one, y=two, z=three, f=f: look(o, x, v) * look(o, y, v) * f(look(o, z, v)), 1.0, name=f"{one} * {two} * {said.format(v=three)}")
        for three in arrays:
            if three >= two:
                yield Rule("term", f"{one} * {two} * {three}", lambda o, v, x=one, y=two, z=three: look(o, x, v) * look(o, y, v) * look(o, z, v), 1.0, name=f"{one} * {two} * {three}")


def terms(op, named, dead):
    """A term that is missing: a value, or a product of two."""
    shape = op.result.shape
    for name, seen in named.items():
        if np.ndim(seen) or not shape:
            for axes in itertools.islice(spread(np.shape(seen), shape), 2):
                yield Rule("term", f"{name}", lambda o, v, n=name, a=axes: np.broadcast_to(laid(look(o, n, v), a, o.result.ndim), o.result.shape), 0.5 if name in dead else 0.6, name=name)
    if shape:
        yield Rule("term", "one", lambda o, v: np.ones(o.result.shape), 0.8, name="1")


def products(op, named, dead):
    shape = op.result.shape
    arrays = {n: s for n, s in named.items() if np.ndim(s) and np.asarray(s).dtype.kind == "f"}
    for one, two in itertools.combinations_with_replacement(arrays, 2):
        a, b = arrays[one], arrays[two]
        more = 0.0 if {one, two} & dead else 0.15
        if np.shape(a) == shape or np.shape(b) == shape:
            if (None in spread(np.shape(a), shape)) and (None in spread(np.shape(b), shape)):
                yield Rule("term", f"{one} * {two}", lambda o, v, x=one, y=two: _same(look(o, x, v) * look(o, y, v), o), 0.7 + more, name=f"{one} * {two}")
        if np.ndim(a) >= 2 and np.ndim(b) == 2 or np.ndim(a) == 2 and np.ndim(b) >= 2 or (np.ndim(a) == np.ndim(b) == 2):
            for (left, lx), (right, rx) in (((one, a), (two, b)), ((two, b), (one, a))):
                for tl, tr in itertools.product((False, True), repeat=2):
                    sl = np.shape(lx)[:-2] + np.shape(lx)[-2:][::-1] if tl else np.shape(lx)
                    sr = np.shape(rx)[:-2] + np.shape(rx)[-2:][::-1] if tr else np.shape(rx)
                    if sl[-1] != sr[-2] or (*(sl[:-1] if len(sl) >= len(sr) else (*sr[:-2], sl[-2])), sr[-1]) != shape:
                        continue
                    def product(o, v, l=left, r=right, tl=tl, tr=tr):
                        x, y = look(o, l, v), look(o, r, v)
                        return _same((np.swapaxes(x, -1, -2) if tl else x) @ (np.swapaxes(y, -1, -2) if tr else y), o)
                    said = f"{left}{'.T' * tl} @ {right}{'.T' * tr}"
                    yield Rule("term", said, product, 0.7 + more, name=said)

