"""Planted mistakes: for every derivation, right fragments of its backward and what somebody might have written instead.

A replacement that gives another shape, or no gradient at all, breaks the contract; that is a wrong gradient too.
"""

from tests.mutants.graphs import GRAPHS
from tests.mutants.images import IMAGES
from tests.mutants.mistake import Mistake as Mistake
from tests.mutants.mistake import with_mistake as with_mistake
from tests.mutants.networks import NETWORKS
from tests.mutants.pointwise import POINTWISE

# By the name of the derivation.
MISTAKES = POINTWISE | IMAGES | NETWORKS | GRAPHS

# Choices that a generic draw is overruled in, because it would hide some of these mistakes.
CHOICES = {
    "graph": {"graph": "every operation"},
    "mlp": {"depth": 3, "activation": "tanh", "loss": "squared"},
    "mlp_one_hidden": {"f1": "tanh", "f2": "softmax", "loss": "cross_entropy"},
    "rnn": {"activation": "tanh"},
    "rnn_columns": {"f": "tanh", "g": "sigmoid"},
    "squared_loss": {"N": 5, "K": 7},
    "units": {"I": 3, "H": 4, "O": 2, "network": "chained"},
    "weight_decay": {"count": 3},
}
