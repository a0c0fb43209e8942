"""Pairs of a forward and a wrong backward, as a person would write them, and the evidence about one."""

import numpy as np

from gradcheck import Verdict, examine_backward
from gradcheck.arguments import Arguments
from gradcheck.explanation.evidence import Evidence
from gradcheck.explanation.suspects import numbers, regulariser, scale, shapes
from gradcheck.oracles import central_difference
from gradcheck.pairing import Pairing
from gradcheck.trees import leaves, rebuild
from gradcheck.verdict.laws import match_gradients, split_forward

FAMILIES = (scale, regulariser, shapes, numbers)


def evidence_of(forward, backward, args, wrt=None, seed=0, budget=2000):
    """Return the evidence about a wrong pair, with a random cotangent."""
    report = examine_backward(forward, backward, args, seed=seed, wrt=wrt)
    rng = np.random.default_rng(seed)
    arguments = Arguments.of(forward, args, wrt)
    out, cache = split_forward("forward", forward(*arguments.fresh()))
    cotangent = rebuild(out, (like(rng, leaf) for _, leaf in leaves(out, "out")))
    returned = backward(cotangent, cache)
    found = match_gradients("backward", returned, arguments).gradients
    claimed = {path: g.astype(np.float64) for path, g in found.items() if g is not None}
    misshapen = {}
    each = returned if isinstance(returned, tuple) else (returned,)
    if len(each) == len(arguments.layout.paths):
        named = zip(arguments.layout.paths, each, strict=True)
        misshapen = {path: np.asarray(g) for path, g in named if path not in claimed and g is not None}
    wrong = tuple(path for path, finding in report.arguments.items() if finding.verdict is Verdict.FAIL)
    pairing = Pairing.at_point(forward, arguments, cotangent)
    measure = central_difference(pairing, arguments.point)
    return Evidence(
        forward, backward, arguments, out, cotangent, returned, claimed, misshapen, wrong, pairing, measure, rng, budget
    )


def like(rng, leaf):
    """Return random numbers like a leaf of the output."""
    drawn = np.asarray(rng.standard_normal(np.shape(leaf))).astype(np.asarray(leaf).dtype)
    return drawn if isinstance(leaf, np.ndarray) else drawn[()]


def suspicions(evidence):
    """Return what all families of this tier suspect: what explains most with the least doubt first."""
    with np.errstate(all="ignore"):
        found = [each for family in FAMILIES for each in family.suspects(evidence)]
    return sorted(found, key=lambda each: (-len(each.arguments), each.doubt))


def normal(seed, *shapes):
    """Return random arrays of the given shapes."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape) for shape in shapes)
