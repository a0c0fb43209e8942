"""Small pairs of a forward and a backward for the tests of the steps, and their recordings."""

import numpy as np

from gradcheck.arguments import Arguments
from gradcheck.steps.blame import Blame
from gradcheck.steps.match import Sight
from gradcheck.steps.run import traced

RNG = np.random.default_rng(11)
X, W, V, B = (RNG.standard_normal(s) for s in ((5, 4), (4, 3), (3, 2), (3,)))


def layers(x, w, b, v):
    z = x @ w + b
    h = np.tanh(z)
    return h @ v, (x, w, v, h)


def layers_backward(dout, cache):
    x, w, v, h = cache
    dv = h.T @ dout
    dh = dout @ v.T
    dz = dh * (1 - h**2)
    db = dz.sum(axis=0)
    return dz @ w.T, x.T @ dz, db, dv


def recurrent(x, w):
    h, states = np.full(4, 0.5), []
    for t in range(len(x)):
        states.append(h)
        h = np.tanh(h @ w + x[t])
    return h, (w, states, h)


ARGS = (X, W, B, V)
STEPS = (RNG.standard_normal((4, 4)), 0.5 * RNG.standard_normal((4, 4)))


def sight_of(forward, backward, args):
    return Sight(traced(forward, backward, Arguments.of(forward, args), seed=3))


def blame_of(forward, backward, args):
    return Blame(sight_of(forward, backward, args))


def node_of(run, variable, turn=0, *, backward=False):
    """Return the node that is stored in a variable."""
    nodes = run.nodes[run.start :] if backward else run.nodes[: run.start]
    return next(n for n in nodes if n.kind == "op" and n.site.variable == variable and n.turn == turn)
