"""A factor that is missing: a value by its name, or a derivative of one."""

from __future__ import annotations

import itertools

import numpy as np

from gradcheck.steps.rewrites.base import Rule, laid, look, redone, spread

def _sig(x):
    return 1 / (1 + np.exp(-x))


SLOPES = (
    ("({v} > 0)", lambda v: 1.0 * (v > 0)),
    ("(1 - {v}**2)", lambda v: 1 - v**2),
    ("{v} * (1 - {v})", lambda v: v * (1 - v)),
    ("(1 - tanh({v})**2)", lambda v: 1 - np.tanh(v) ** 2),
    ("sigmoid({v}) * (1 - sigmoid({v}))", lambda v: _sig(v) * (1 - _sig(v))),
    ("sigmoid({v})", _sig),
    ("exp({v})", np.exp),
    ("exp(-{v})", lambda v: np.exp(-v)),
    ("1 / {v}", lambda v: 1 / v),
    ("0.5 / sqrt({v})", lambda v: 0.5 / np.sqrt(v)),
    ("0.5 / {v}", lambda v: 0.5 / v),
    ("2 * {v}", lambda v: 2 * v),
    ("3 * {v}**2", lambda v: 3 * v**2),
    ("cos({v})", np.cos),
    ("-sin({v})", lambda v: -np.sin(v)),
    ("sign({v})", np.sign),
    ("1 / (1 + {v}**2)", lambda v: 1 / (1 + v**2)),
    ("1 / (1 + |{v}|)**2", lambda v: (1 + abs(v)) ** -2.0),
    ("swish'({v})", lambda v: _sig(v) * (1 + v * (1 - _sig(v)))),
)


FORMS = (
    ("(1 - {v})", lambda v: 1 - v),
    ("({v} <= 0)", lambda v: 1.0 * (v <= 0)),
    ("{v}**2", lambda v: v**2),
    ("1 / {v}**2", lambda v: 1 / v**2),
    ("tanh({v})", np.tanh),
    ("relu({v})", lambda v: np.maximum(v, 0)),
    ("min({v}, 0)", lambda v: np.minimum(v, 0)),
    ("log({v})", np.log),
    ("sqrt({v})", np.sqrt),
    ("({v} == max)", lambda v: 1.0 * (v == v.max(-1, keepdims=True))),
)


def slopes_with(numbers):
    """Return also those with a slope or a height that is a setting."""
    found = list(SLOPES)
    for a in numbers:
        found.append((f"(1 where {{v}} > 0, else {a:g})", lambda v, a=a: np.where(v > 0, 1.0, a)))
        found.append((f"elu'({{v}}, {a:g})", lambda v, a=a: np.where(v > 0, 1.0, a * np.exp(np.minimum(v, 0)))))
        found.append((f"elu'({{v}}, {a:g}) by output", lambda v, a=a: np.where(v > 0, 1.0, v + a)))
    return found


def factors(op, named, slopes, forms, derived):
    """A factor that is missing: a value by its name, or a derivative of one."""
    shape = op.result.shape
    for name, seen in named.items():
        for axes in itertools.islice(spread(np.shape(seen), shape), 3):
            get = lambda o, v, n=name, a=axes: laid(look(o, n, v), a, o.result.ndim)
            varies = np.ndim(seen) and np.size(seen) > 1
            if not derived:
                yield Rule("factor", f"times {name}", lambda o, v, g=get: redone(o, v) * g(o, v), 0.5 if varies else 0.45, name=name)
                yield Rule("factor", f"divided by {name}", lambda o, v, g=get: redone(o, v) / g(o, v), 0.6, name=f"1 / {name}")
            elif varies and np.asarray(seen).dtype.kind == "f":
                for said, f in slopes:
                    yield Rule("slope", f"times {said.format(v=name)}", lambda o, v, g=get, f=f: redone(o, v) * f(g(o, v)), 0.5, name=said.format(v=name))
                for said, f in forms:
                    yield Rule("form", f"times {said.format(v=name)}", lambda o, v, g=get, f=f: redone(o, v) * f(g(o, v)), 0.65, name=said.format(v=name))
            elif np.ndim(seen) == 0 and isinstance(seen, (float, np.ndarray)):
                yield Rule("form", f"times (1 - {name})", lambda o, v, g=get: redone(o, v) * (1 - g(o, v)), 0.65, name=f"1 - {name}")

