"""Terms that a gradient lacks: made by the backward and left out, or one product away. Level 3."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects.runs import tape_of
from gradcheck.explanation.suspects.sight import alike, is_sharp, sight
from gradcheck.explanation.suspects.tape import Tape
from gradcheck.explanation.suspicion import Suspicion
from gradcheck.trees import Array, leaves

__all__ = ["missing"]

UNIT = 1e-6  # how far a coefficient may be from 1
MOST = 4000  # products that are tried


def missing(evidence: Evidence, path: str) -> Iterator[Suspicion]:
    """Yield a term that, added to the claimed gradient, makes it true: C8; E1 where it was overwritten."""
    claimed = evidence.claimed[path]
    if claimed.size <= 3 or not np.isfinite(claimed).all() or not is_sharp(evidence, path):
        return
    made = tape_of(evidence)
    steps = made.steps if made else []
    born = max((step.number for step in steps if alike(step.result, claimed)), default=-1)
    lost: list[tuple[int, str, Array]] = []
    for step in steps:
        term = step.result
        if term.shape != claimed.shape or term.dtype.kind != "f" or not _is_new(evidence, path, term):
            continue
        dead = made is not None and step.number not in made.used
        if dead:
            lost.append((step.number, step.place, term))
        if _completes(evidence, path, term):
            yield _suspicion(evidence, path, [(step.number, step.place, term)], born, dead=dead)
            return
    if 2 <= len(lost) <= 4 and not alike(lost[0][2], lost[1][2]):
        total = np.sum([term for _, _, term in lost if not alike(term, claimed)], axis=0)
        if evidence.is_true(path, claimed + total):
            others = [each for each in lost if not alike(each[2], claimed)]
            yield _suspicion(evidence, path, others, born, dead=True)
            return
    for number, (said, term) in enumerate(_products(evidence, path, made)):
        if number >= MOST:
            return
        if _is_new(evidence, path, term) and _completes(evidence, path, term):
            sentence = f"d{path} lacks a term: {said}. Add it, as there is one for every path to {path}."
            yield Suspicion("C8", (path,), sentence, {path: claimed + term}, 0.5, _apart(path))
            return


def _apart(path: str) -> str:
    return f"If {path} is used more than once, an overwritten contribution looks the same."


def _is_new(evidence: Evidence, path: str, term: Array) -> bool:
    """Whether a term is no multiple of the claimed gradient, and none of the argument, as a regulariser's is."""
    for old in (evidence.claimed[path], evidence.point[path]):
        rate = float((old * term).sum()) / max(float((old**2).sum()), 1e-300)
        if np.linalg.norm(term - rate * old) <= UNIT * np.linalg.norm(term):
            return False
    return bool(np.isfinite(term).all() and term.any())


def _completes(evidence: Evidence, path: str, term: Array) -> bool:
    return evidence.is_true(path, evidence.claimed[path] + term)


def _suspicion(
    evidence: Evidence, path: str, parts: list[tuple[int, str, Array]], born: int, *, dead: bool
) -> Suspicion:
    repaired = {path: evidence.claimed[path] + np.sum([term for _, _, term in parts], axis=0)}
    where = " and ".join(dict.fromkeys(place for _, place, _ in parts))
    if dead and all(number < born for number, _, _ in parts):
        sentence = f"d{path} overwrites the contribution computed in {where}. Add to it: write += for =."
        return Suspicion("E1", (path,), sentence, repaired, 0.3)
    how = "computes, but never uses" if dead else "computes"
    sentence = f"d{path} lacks a term that {where} {how}. Add it to d{path}."
    return Suspicion("C8", (path,), sentence, repaired, 0.35, _apart(path))


def _products(evidence: Evidence, path: str, tape: Tape | None) -> Iterator[tuple[str, Array]]:
    """Yield products of a cotangent that the backward has seen with an array in sight, in the argument's shape."""
    shape = evidence.claimed[path].shape
    vectors = [("dout", np.asarray(leaf, dtype=float)) for _, leaf in leaves(evidence.cotangent, "dout")]
    names = {
        source: name
        for step in (tape.steps if tape else [])
        for source, name in zip(step.sources, step.names, strict=False)
        if source is not None and name and not name.endswith(".T")
    }
    vectors += [
        (names.get(step.number, f"the {step.name} in {step.place}"), step.result)
        for step in (tape.steps if tape else [])
        if step.result.dtype.kind == "f" and step.result.ndim
    ]
    known = [(each.name, each.arrays[0]) for each in sight(evidence) if len(each.arrays) == 1]
    for said, u in vectors:
        if u.shape == shape:
            yield said, u
        for name, a in known:
            if u.shape == shape == a.shape:
                yield f"{said} * {name}", u * a
            if u.ndim == len(shape) > 2 == a.ndim and u.shape[:-1] == shape[:-1]:
                for right, r_said in ((a, name), (a.T, f"{name}.T")):
                    if right.shape == (u.shape[-1], shape[-1]):
                        yield f"{said} @ {r_said}", u @ right
            if u.ndim == a.ndim == 2 == len(shape):
                for (left, l_said), (right, r_said) in (
                    ((u, said), (a, name)),
                    ((u, said), (a.T, f"{name}.T")),
                    ((a.T, f"{name}.T"), (u, said)),
                    ((a, name), (u, said)),
                    ((u.T, f"({said}).T"), (a, name)),
                ):
                    if left.shape[1] == right.shape[0] and (left.shape[0], right.shape[1]) == shape:
                        yield f"{l_said} @ {r_said}", left @ right
