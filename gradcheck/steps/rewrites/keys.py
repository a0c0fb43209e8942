"""Another part than the one that is taken."""

from __future__ import annotations

import itertools

import numpy as np

from gradcheck.steps.rewrites.base import Ref, Refused, Rule, _first, _same, operand, value_of

def _keys(op, shape):
    """Other parts of what a part is taken of."""
    array, key = np.asarray(_first(op)), op.args[1]
    parts = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in [p for p in parts if not isinstance(p, (np.ndarray, Ref))]:
        at = next(i for i, p in enumerate(parts) if p is Ellipsis)
        parts = parts[:at] + [slice(None)] * (array.ndim - len(parts) + 1) + parts[at + 1:]
    if not all(isinstance(p, (slice, int, np.integer)) for p in parts):
        return
    def put(i, new):
        return tuple([*parts[:i], new, *parts[i + 1:]])
    for i, part in enumerate(parts):
        size = array.shape[i]
        if isinstance(part, (int, np.integer)):
            if size > 1:
                yield Rule("index sum", f"the sum over axis {i}", lambda o, v, i=i: _summed(o, v, i), 0.5)
            for by in (1, -1):
                yield Rule("index", f"the {'next' if by > 0 else 'previous'} one along axis {i}", lambda o, v, i=i, b=by: _taken(o, v, i, lambda p, n, b=b: (int(p) + b) % n), 0.55)
            yield Rule("index", f"counted from the other end along axis {i}", lambda o, v, i=i: _taken(o, v, i, lambda p, n: n - 1 - int(p) if p >= 0 else -p - 1), 0.5)
        elif isinstance(part, slice):
            start, stop, step = part.indices(size)
            if step == -1 and part.start is None:
                yield Rule("flip", f"not reversed along axis {i}", lambda o, v, i=i: _taken(o, v, i, lambda p, n: slice(None)), 0.3)
            if step == 1 and stop - start < size and stop > start:
                yield Rule("slice whole", f"all of axis {i}", lambda o, v, i=i: operand(o, 0, v)[tuple(slice(None) if j == i else p for j, p in enumerate(_parts(o, v)))], 0.5)
                length = stop - start
                for first in range(0, min(size - length, 12) + 1):
                    if first != start:
                        yield Rule("slice", f"[{first}:{first + length}] along axis {i}", lambda o, v, i=i, f=first - start: _taken(o, v, i, lambda p, n, f=f: _moved(p, n, f)), 0.45)
                for s in (2, 3):
                    if start * s + length <= size and start:
                        yield Rule("stride", f"begin at {s} times the place along axis {i}", lambda o, v, i=i, s=s: _taken(o, v, i, lambda p, n, s=s: _strided(p, n, s)), 0.5)
    whole = [i for i, p in enumerate(parts) if isinstance(p, (int, np.integer))]
    if len(whole) >= 2:
        def from_end(o, v, whole=tuple(whole[-2:])):
            x, key = operand(o, 0, v), _parts(o, v)
            return _same(x[tuple(x.shape[i] - 1 - int(p) if i in whole and p >= 0 else p for i, p in enumerate(key))], o)
        yield Rule("flip", "counted from the other end along both axes", from_end, 0.35)
    both = [i for i, p in enumerate(parts) if isinstance(p, slice) and p.indices(array.shape[i])[2] == 1 and p.indices(array.shape[i])[:2] != (0, array.shape[i])]
    if len(both) >= 2:
        for s in (2, 3):
            def all_strided(o, v, s=s, both=tuple(both)):
                key = _parts(o, v)
                x = operand(o, 0, v)
                return _same(x[tuple(_strided(p, x.shape[i], s) if i in both else p for i, p in enumerate(key))], o)
            yield Rule("stride", f"begin at {s} times the places", all_strided, 0.4)
            def all_spread(o, v, s=s, both=tuple(both)):
                key = _parts(o, v)
                x = operand(o, 0, v)
                def wide(p, n):
                    a, b, _ = p.indices(n)
                    return slice(a, a + s * (b - a - 1) + 1, s)
                return _same(x[tuple(wide(p, x.shape[i]) if i in both else p for i, p in enumerate(key))], o)
            yield Rule("stride", f"every {s}. place", all_spread, 0.45)


def _parts(op, values):
    key = value_of(op.args[1], values)
    x = operand(op, 0, values)
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(p is Ellipsis for p in parts):
        at = next(i for i, p in enumerate(parts) if p is Ellipsis)
        parts = parts[:at] + [slice(None)] * (x.ndim - len(parts) + 1) + parts[at + 1:]
    return parts


def _taken(op, values, axis, other):
    x = operand(op, 0, values)
    parts = _parts(op, values)
    parts[axis] = other(parts[axis], x.shape[axis])
    return _same(x[tuple(parts)], op)


def _summed(op, values, axis):
    x = operand(op, 0, values)
    parts = _parts(op, values)
    before = sum(isinstance(p, slice) for p in parts[:axis])
    parts[axis] = slice(None)
    return _same(x[tuple(parts)].sum(before), op)


def _moved(part, size, by):
    start, stop, _ = part.indices(size)
    if start + by < 0 or stop + by > size:
        raise Refused
    return slice(start + by, stop + by)


def _strided(part, size, by):
    start, stop, _ = part.indices(size)
    if start * by + stop - start > size:
        raise Refused
    return slice(start * by, start * by + stop - start)

