"""Which mistake of the catalogue a fix undoes."""
from __future__ import annotations

import re
import numpy as np
from gradcheck.steps.rewrites.base import Ref, look, subsets, value_of
from gradcheck.steps.rewrites.factors import SLOPES
from gradcheck.explanation.suspects.factors import masks, readings


def label(search, fix, group, chosen):
    """Return the id of the mistake that a fix undoes, and how much more that is to be doubted."""
    rule, op, e = fix.rule, group[0], search.e
    kind = rule.kind
    time = search.loops
    looped = len(group) > 1
    values = search.recorded
    paths = sorted(set().union(*(f.repaired for f, _ in chosen)))
    if e.outputs == 1 and kind in ("four", "sign of one", "operand", "term", "drop", "itself", "form of") and len(paths) == 1:
        (path,) = paths
        place, point = fix.place, e.point[paths[0]]
        came = np.concatenate([np.ravel(search.sight.run.value(g)) for g in place.goals])
        if came.size == point.size == place.truth.size and point.size > 1 and R_multiple(place.truth - came, np.ravel(point)):
            return bias_or_weight(e, point), -0.1
    if kind in ("index sum",):
        return "E1", 0
    if kind == "slice whole":
        return ("G2" if time else "C8" if op.probe0 is not None and np.size(op.result) > np.size(op.probe0) / 2 else "E1"), 0
    if kind == "itself":
        for path, point in e.point.items():
            if search.reach[op.number] == {path} and e.outputs == 1 and op.name != "return" and point.size > 1 and op.result.shape == point.shape and R_multiple(op.result, point):
                return bias_or_weight(e, point), 0
        return of_scale(search, fix.factor, paths)
    if kind in ("drop", "deep", "operand") and op.result.ndim and op.result.size > 1:
        with np.errstate(all="ignore"):
            new = np.asarray(rule.make(op, search.recorded))
        if new.shape == op.result.shape:
            for axes in subsets(new.ndim):
                if np.array_equal(np.flip(new, axes), op.result):
                    return ("G3" if search.loops and looped else "F1"), 0
            if new.ndim == 2 and np.array_equal(new.T, op.result):
                return "B1", 0
    if kind == "scaled":
        return of_scale(search, float(rule.name), paths)
    if kind in ("four", "sign of one") and any(np.ndim(p) == 0 and not isinstance(a, Ref) for p, a in zip(op.probes[:2], op.args[:2])) and op.name in ("add", "subtract"):
        return "C3", 0
    if kind == "sign of one":
        return "A1", 0
    if kind == "four":
        if {rule.name, op.name} == {"add", "subtract"}:
            return "A1", 0
        other = op.probes[1]
        if {rule.name, op.name} == {"multiply", "divide"} and np.ndim(other) == 0:
            return of_scale(search, float(other) ** (2 if rule.name == "multiply" else -2), paths)
        return "B6", 0
    if kind == "order":
        return ("A1" if op.name == "subtract" else "B1" if op.name == "outer" else "B6"), 0
    if kind == "form of":
        return "C3", 0
    if kind in ("compare", "where"):
        return "C3", 0
    if kind in ("where number", "power", "function"):
        return "C3", 0
    if kind == "mean":
        return ("A3" if search.batch and search.batch.over == "mean" and op.name == "mean" else "A2"), 0
    if kind == "axis":
        return ("B3" if "nothing" not in rule.what and np.size(op.probe0) == op.result.size else "B4"), 0
    if kind in ("transpose", "subscripts"):
        return "B1", 0
    if kind == "reshape":
        return "B2", 0
    if kind == "broadcast":
        return "B3", 0
    if kind == "crop":
        return "F3", 0
    if kind == "axes":
        return ("F4" if op.result.ndim == 4 and re.search(r"\(0, 1, 3, 2\)|\(0, 2, 1, 3\)", rule.what) and op.name != "reshape" else "B1"), 0
    if kind == "by entry":
        return "B6", 0
    if kind == "flip":
        return ("F1" if not (time and looped) else "G3"), 0
    if kind == "roll":
        return ("F3" if op.result.ndim >= 3 else "G3" if time else "B6"), 0
    if kind == "tile":
        return "B1", 0
    if kind == "stride":
        return "F2", 0
    if kind in ("slice", "index"):
        image = op.probe0 is not None and np.ndim(op.probe0) >= 3 and not time
        return ("G3" if time else "F3" if image or kind == "slice" and np.ndim(op.probe0) > 1 else "B6"), 0
    if kind == "accumulate":
        return ("G1" if search.carried(group) and time and op.name != "set" and "turn" in rule.what else "E1"), 0
    if kind == "carry":
        return "G1", 0
    if kind == "precision":
        return "H3", 0
    if kind == "softmax":
        return "C6", 0
    if kind == "statistics":
        return "C7", 0
    if kind == "drop":
        return dropped(search, fix, group, paths)
    if kind == "deep":
        target = search.ops[int(rule.name)].result
        with np.errstate(all="ignore"):
            ratio = op.result / target
        for seen in [o.result for o in search.ops if o.result.shape == ratio.shape and o.result.dtype.kind == "f"]:
            if seen.min() > 0 and seen.max() < 1 and np.isfinite(ratio).all() and R_multiple(ratio, seen * (1 - seen)) and e.outputs == 1:
                return "C6", 0
        return ("C3" if np.isfinite(ratio).all() and slope_like(search, ratio) else "B6"), 0.1
    if kind == "operand factor":
        return "B6", 0
    if kind == "operand":
        return operand(search, fix, group)
    if kind == "slope" and rule.name.startswith("the derivative that"):
        with np.errstate(all="ignore"):
            ratio = np.asarray(rule.make(op, search.recorded)) / op.result
        some = ratio[np.isfinite(ratio)]
        if some.size and len(np.unique(np.round(some, 9))) == 2 and some.min() == 0 and search.multiplied(rule.name):
            return "E5", 0
        if some.size and len(np.unique(np.round(some, 9))) == 2 and some.min() == 0 and search.linked(rule.name):
            return "F5", 0
        return "C1", 0
    if kind in ("slope", "form"):
        return ("C1" if kind == "slope" else "C3"), 0
    if kind in ("slope for", "form for"):
        return derivative(search, fix, group)
    if kind == "factor":
        return factor(search, fix, group, paths)
    if kind == "term":
        return term(search, fix, group, paths)
    return "B6", 0.5


def of_scale(search, factor, paths):
    if abs(factor + 1) < 1e-6:
        return "A1", 0
    if factor < 0:
        return "A1", 0.3
    e = search.e
    if e.outputs == 1 and abs(factor - float(e.flat_cotangent[0])) < 1e-6 * abs(factor):
        return "C5", 0
    found = readings(e, factor, 1e-6, paths)
    if not found:
        return "A4", 0.6
    return found[0].mistake, found[0].doubt - 0.3


def dropped(search, fix, group, paths):
    e = search.e
    op, place = group[0], fix.rule.place
    gone = [p for i, p in enumerate(op.probes[:2]) if i != place]
    other = gone[0] if gone else None
    if op.name == "negative":
        return "A1", -0.1
    if op.name in ("greater", "not_equal") and any(np.shape(m) == np.shape(op.probes[0]) and np.allclose(m, op.probes[0]) for m in masks(e).values()):
        return "E5", 0
    if op.name in ("greater", "less", "greater_equal", "less_equal", "equal", "not_equal"):
        return "C3", 0
    if op.name in ("clip", "minimum", "maximum"):
        return "G4", 0
    if op.name in ("flip", "rot90", "fliplr", "flipud"):
        return "F1", 0
    if op.name == "roll":
        return ("G3" if search.loops else "F3" if op.result.ndim >= 3 else "B6"), 0
    if op.name in ("add", "subtract"):
        kept = op.probes[place]
        lost = op.args[1 - place] if place in (0, 1) else None
        if isinstance(lost, Ref) and any(o.name in ("add", "set", "add.at") and lost in o.parents and o.number != op.number for o in search.ops):
            return "E2", 0
        for path, point in search.e.point.items():
            g = search.e.claimed.get(path)
            for p, gg in ((point, g), (point.T, None if g is None else g.T)):
                if gg is not None and np.shape(kept) == p.shape and np.allclose(kept, p) and R_multiple(np.asarray(other, float), np.asarray(gg, float)):
                    return "E4", 0
        if op.name == "add" and np.shape(kept) == np.shape(other) and np.ndim(kept) and np.allclose(kept, other):
            return "E2", 0
        for path, point in search.e.point.items():
            o = np.asarray(other)
            if o.shape == point.shape and o.size > 1 and R_multiple(o, point):
                return bias_or_weight(e, point), 0
        return "C8", 0.1
    if op.name in ("multiply", "divide"):
        if np.ndim(other) == 0 or np.size(other) == 1:
            value = float(np.ravel(other)[0])
            if value == 0:
                return "C8", 0
            return of_scale(search, 1 / value if op.name == "multiply" else value, paths)
        o = np.asarray(other, dtype=float)
        if set(np.unique(o)) <= {0.0, 1.0}:
            small = [n for n in o.shape if n > 1]
            tables = [a for a in e.at_hand.values() if a.ndim == 2 and np.isin(a, (0, 1)).all() and not a.all()]
            return ("F5" if any(sorted(small) == sorted(n for n in t.shape if n > 1) for t in tables) else "C8"), 0
        if slope_like(search, o):
            return "C3", 0
        return "B6", 0.1
    if op.name in ("tanh", "exp", "square", "absolute", "sign", "sqrt", "power", "sin", "cos", "log"):
        return ("C2" if op.name in ("tanh", "exp") else "C3"), 0
    if op.name in ("round", "rint", "trunc", "floor", "astype"):
        return "H3", 0
    if op.name in ("sum", "mean"):
        return "B4", 0
    return "B6", 0.2


def bias_or_weight(e, point):
    line = max(point.shape, default=1) == point.size
    return "D2" if line and any(p.ndim >= 2 and max(p.shape) < p.size for p in e.point.values()) else "D1"


def R_multiple(one, two):
    rate = float((one * two).sum()) / max(float((two**2).sum()), 1e-300)
    return bool(rate) and float(np.linalg.norm(one - rate * two)) <= 1e-6 * float(np.linalg.norm(one))


def slope_like(search, array):
    """Whether an array is a derivative of some value in sight."""
    for seen in [op.result for op in search.ops[: search.given]]:
        if seen.shape == array.shape and seen.dtype.kind == "f":
            for _, f in SLOPES:
                with np.errstate(all="ignore"):
                    made = f(seen)
                if np.isfinite(made).all() and np.allclose(made, array, rtol=1e-9, atol=1e-12):
                    return True
    return False


def operand(search, fix, group):
    op, rule, e = group[0], fix.rule, search.e
    old = np.asarray(op.probes[rule.place])
    try:
        name = rule.name.removesuffix(".T")
        new = np.asarray(look(op, name, search.recorded))
        new = new.T if rule.name.endswith(".T") else new
    except Exception:
        return "B6", 0
    if old.ndim and not old.any():
        return "C8", 0
    if old.shape == new.shape and old.ndim:
        for lower in (np.float16, np.float32):
            if np.array_equal(new.astype(lower), old):
                return "H3", 0
        for axis in range(old.ndim):
            if np.allclose(np.flip(new, axis), old):
                return "F1", 0
        if old.ndim == 2 and old.shape[0] == old.shape[1] and np.allclose(old.T, new):
            return "B1", 0
        if name.startswith("d") and any(np.shape(l) == new.shape and np.allclose(l, new) for l in [search.cotangent] if isinstance(l, np.ndarray)) and np.ptp(old) == 0:
            return "C5", 0
        for _, f in SLOPES:
            with np.errstate(all="ignore"):
                for seen in [o.result for o in search.ops[: search.given]]:
                    if seen.shape == new.shape and seen.dtype.kind == "f" and np.allclose(f(seen) * old, new):
                        return "C1", 0
        for path, point in e.point.items():
            g = e.claimed.get(path)
            for p, gg in ((point, g), (point.T, None if g is None else g.T)):
                if p.shape == new.shape and gg is not None and np.allclose(p, new) and R_multiple(old - new, gg):
                    return "E4", 0
        if len(group) > 1 and old.ndim:
            for other in group[1:2]:
                try:
                    there = np.asarray(look(other, name, search.recorded))
                    was = np.asarray(value_of(other.args[rule.place], search.recorded))
                    if (there.shape == old.shape and np.allclose(there, old)) or (was.shape == new.shape and np.allclose(was, new)):
                        return ("G3" if search.loops else "C4"), 0
                except Exception:
                    pass
        if re.search(r"prev|next", rule.name) and re.sub(r"_?(prev|next)_?", "", rule.name) == re.sub(r"_?(prev|next)_?", "", op.names[rule.place] if rule.place < len(op.names) else ""):
            return "G3", 0
        if search.loops and re.search(r"\[.*[-+] 1\]|prev|_next|last", rule.name + (op.names[rule.place] if rule.place < len(op.names) else "")):
            return "G3", 0
        if set(np.unique(old)) <= {0.0, 1.0} and new.min() == 0 and np.allclose(new != 0, old):
            return "E5", 0
    if np.ndim(old) == 0:
        return ("C3" if op.name in ("where", "set") or np.ndim(new) else "A4"), 0.1
    if op.name in ("greater", "less", "greater_equal", "less_equal", "tanh", "exp", "square", "power", "sin", "cos") or (op.name == "subtract" and rule.place == 1 and np.ndim(op.probes[0]) == 0):
        return "C2", 0
    return "B6", 0


def derivative(search, fix, group):
    op, rule = group[0], fix.rule
    old = np.asarray(op.probes[rule.place], dtype=float)
    form = re.sub(r"\w+\[?[^ ()*]*", "#", rule.name)
    for seen in [o.result for o in search.ops if o.result.shape == old.shape and o.result.dtype.kind == "f"]:
        for said, f in SLOPES:
            with np.errstate(all="ignore"):
                made = f(seen)
            if np.isfinite(made).all() and np.allclose(made, old, rtol=1e-9, atol=1e-12):
                pattern = re.escape(said).replace(re.escape("{v}"), ".*")
                if re.fullmatch(pattern, rule.name):
                    return "C2", 0
    return "C3", 0


def factor(search, fix, group, paths):
    op, rule, e = group[0], fix.rule, search.e
    name = rule.name.removeprefix("1 / ")
    inverse = rule.name.startswith("1 / ")
    try:
        value = np.asarray(look(op, name, search.recorded), dtype=float)
    except Exception:
        return "A5", 0
    for _, leaf in [("dout", search.cotangent)] if isinstance(search.cotangent, np.ndarray) else []:
        if value.shape == leaf.shape and np.allclose(value, leaf):
            return "C5", 0
    if value.ndim == 0 or value.size == 1:
        v = float(np.ravel(value)[0])
        if e.outputs == 1 and abs(v - float(e.flat_cotangent[0])) < 1e-9 * abs(v):
            return "C5", 0
        return of_scale(search, 1 / v if inverse else v, paths)
    if set(np.unique(value)) <= {0.0, 1.0} or len(np.unique(value)) == 2 and value.min() == 0:
        if any(np.shape(m) == value.shape and np.allclose(m, value) for m in masks(e).values()):
            return ("F5" if re.search("table|link", name) else "E5"), 0
        return "C1", 0
    if slope_like(search, value):
        return "C1", 0
    if value.min() >= 0 and value.max() <= 1 and not any(np.shape(p) == value.shape and np.allclose(p, value) for p in e.point.values()):
        return "C1", 0.1
    if value.ndim == 1 or value.size < op.result.size:
        return ("C7" if re.search("gamma|std|sig|inv", name) else "A5"), 0
    return "B6", 0


def term(search, fix, group, paths):
    op, rule, e = group[0], fix.rule, search.e
    try:
        value = np.asarray(rule.make(op, search.recorded), dtype=float)
    except Exception:
        value = None
    if value is not None and " " not in rule.name:
        for path, point in e.point.items():
            if value.shape == point.shape and value.size > 1 and np.allclose(value, point):
                return bias_or_weight(e, point), 0
    if e.outputs == 1 and fix.alpha and not fix.alpha.startswith("-") and value is not None:
        pass
    if len(group) > 1 and search.loops:
        return "G1", 0
    if search.loops and re.search(r"\[[a-z]", rule.name):
        return "G2", 0
    if fix.alpha in ("-2", "2"):
        return "A1", 0.1
    return "C8", 0
