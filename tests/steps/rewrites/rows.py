"""The first cause that a search finds for a small pair with a mistake, at two points."""

import time

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.steps.blame import Blame, Replay
from gradcheck.steps.match import Sight
from gradcheck.steps.paths import Composition
from gradcheck.steps.run import traced
from gradcheck.steps.search import Search

SECONDS = 5.0


def arrays(*shapes, seed=3):
    """Return standard normal arrays."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape) for shape in shapes)


def searched(forward, backward, args):
    """Return a search for a pair, and its blame."""
    arguments = Arguments.of(forward, args)
    beside = arguments.point + 0.5 * np.random.default_rng(7).standard_normal(arguments.point.size)
    sights = [Sight(traced(forward, backward, at, seed=k)) for k, at in enumerate((arguments, arguments.moved(beside)))]
    blame, second = Blame(sights[0]), Replay(sights[1])
    return Search(blame, second, time.perf_counter() + SECONDS), blame, second


def rewritten(forward, backward, args):
    """Return the causes that rewrites give, the simplest first."""
    search, blame, _ = searched(forward, backward, args)
    return [cause for pin in blame.pins for cause in search.causes(pin)]


def composed(forward, backward, args):
    """Return the causes that are read off what the blamed values are made of."""
    search, blame, second = searched(forward, backward, args)
    parts = Composition(blame, search.facts, second)
    return [cause for pin in blame.pins for cause in parts.causes(pin)]
