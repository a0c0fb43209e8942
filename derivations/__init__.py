"""Derivations: hand-written backward passes, each a page of mathematics that runs.

``ALL`` holds every record.
"""

from derivations.activations import IDENTITY, RELU, SIGMOID, TANH
from derivations.affine import AFFINE
from derivations.conv import CONV
from derivations.conv_strided import CONV_STRIDED
from derivations.cross_entropy import CROSS_ENTROPY
from derivations.graph import GRAPH
from derivations.lenet5 import LENET5
from derivations.mlp import MLP
from derivations.mlp_one_hidden import MLP_ONE_HIDDEN
from derivations.pooling_max import POOLING_MAX
from derivations.pooling_mean import POOLING_MEAN
from derivations.pooling_trainable import POOLING_TRAINABLE
from derivations.rnn import RNN
from derivations.rnn_columns import RNN_COLUMNS
from derivations.softmax import SOFTMAX
from derivations.softmax_cross_entropy import SOFTMAX_CROSS_ENTROPY
from derivations.squared_loss import SQUARED_LOSS
from derivations.units import UNITS
from derivations.weight_decay import WEIGHT_DECAY

# Parts first, compositions of them last.
ALL = (
    AFFINE,
    IDENTITY,
    SIGMOID,
    TANH,
    RELU,
    SOFTMAX,
    CROSS_ENTROPY,
    SOFTMAX_CROSS_ENTROPY,
    SQUARED_LOSS,
    WEIGHT_DECAY,
    CONV,
    CONV_STRIDED,
    POOLING_MAX,
    POOLING_MEAN,
    POOLING_TRAINABLE,
    GRAPH,
    UNITS,
    MLP_ONE_HIDDEN,
    MLP,
    LENET5,
    RNN_COLUMNS,
    RNN,
)
