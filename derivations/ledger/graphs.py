"""Computational graphs and a fully connected network: document 003; its rules of differentiation are in rules.py.

Most of its displayed formulas are lost; they are reconstructed from the prose around them.

Shapes     a graph: x (n,) the inputs; V a list of levels, V[l] (n, n) the weights of the edges between two; out ()
           a network: columns.py

A node of a graph is u = tanh(Σ w v) over the nodes v of the level before, so that the derivative along the edge with
the weight w is w (1 − u²); the last level is a single node. Every node has an edge to every node of the next level:
there are n^L paths from an input to the output, and n² (L − 1) + n edges.
"""

import itertools
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from derivations.graph import forward_mode as carry_forward
from derivations.graph import graph_forward as scalar_forward
from derivations.graph import ladder
from derivations.graph import reverse_mode as carry_back
from derivations.ledger.columns import (
    COLUMNS,
    MEAN,
    PARAMETERS,
    SAMPLES,
    SLOPE,
    added,
    batch_backward,
    batch_forward,
    batch_reference,
    sample_gradients,
)
from derivations.ledger.system import LOST, System
from gradcheck.equations.equation import Claim, Definition, Equation, judge_statement

# A graph.


def graph_forward(x: Any, V: Any) -> tuple[Any, dict[str, Any]]:
    nodes = [x]
    for level in V:
        nodes.append(np.tanh(level @ nodes[-1]))
    return nodes[-1][0], {"x": x, "V": V, "nodes": nodes}


def edges(q: Any) -> list[Any]:
    """The derivative along every edge, level by level: entry (to, from)."""
    return [level * (1 - after**2)[:, None] for level, after in zip(q.V, q.nodes[1:], strict=True)]


def graph_backward(dout: Any, cache: dict[str, Any]) -> dict[str, Any]:
    row: Any = np.array([dout])
    for edge in reversed(edges(SimpleNamespace(**cache))):
        row = row @ edge
    return {"x": row}


def graph_reference(x: Any, V: Any) -> Any:
    for level in V:
        x = jnp.tanh(jnp.einsum("ij,j->i", jnp.asarray(level), x))
    return x[0]


def graph_draw(rng: np.random.Generator, n: int, L: int) -> tuple[Any, ...]:
    shapes = [(n, n)] * (L - 1) + [(1, n)]
    return rng.standard_normal(n), [rng.standard_normal(shape) for shape in shapes]


GRAPH = System(graph_forward, graph_backward, graph_reference, "n in 1 2 3 5 7, L in 1 2 3 4", graph_draw)


def forward_mode(derivatives: list[Any]) -> tuple[Any, int]:
    """From every input forward along every path; returns the derivatives and how many edges were walked."""
    n, L = derivatives[0].shape[1], len(derivatives)
    gradient, walked = np.zeros(n), 0
    for start in range(n):
        for middle in itertools.product(*(range(len(edge)) for edge in derivatives)):
            path, product = (start, *middle), 1.0
            for l in range(L):
                product *= derivatives[l][path[l + 1], path[l]]
                walked += 1
            gradient[start] += product
    return gradient, walked


def reverse_mode(derivatives: list[Any]) -> tuple[Any, int]:
    """From the output back, each node once: what a node has is given on along each edge that leads to it."""
    stored, walked = [1.0], 0
    for edge in reversed(derivatives):
        before = [0.0] * edge.shape[1]
        for to, at in np.ndindex(edge.shape):
            before[at] += stored[to] * edge[to, at]
            walked += 1
        stored = before
    return np.array(stored), walked


def counts(rng: np.random.Generator, mode: Any) -> tuple[list[int], list[int]]:
    """How many edges ``mode`` walks in graphs of 1 to 6 levels, and how many edges these have."""
    walked, there = [], []
    for L in range(1, 7):
        _, cache = graph_forward(*graph_draw(rng, 3, L))
        derivatives = edges(SimpleNamespace(**cache))
        walked.append(mode(derivatives)[1])
        there.append(sum(edge.size for edge in derivatives))
    return walked, there


def forward_grows(rng: np.random.Generator) -> tuple[bool, str]:
    """Another level multiplies the cost by the number of its nodes, at least."""
    walked, there = counts(rng, forward_mode)
    grows = all(after >= 3 * before for before, after in itertools.pairwise(walked))
    return grows, f"it walks {walked} edges in graphs of {there}"


def forward_mode_grows(rng: np.random.Generator) -> tuple[bool, str]:
    """Whether a derivative of each variable, carried forward, costs ever more times as much with another variable."""
    visited, variables = [], []
    for depth in range(1, 9):
        _, _, operations = ladder(depth)
        _, cache = scalar_forward(rng.standard_normal(depth + 1), np.zeros(0), operations)
        visited.append(sum(carry_forward(i, cache)[1].total() for i in range(depth + 1)))
        variables.append(depth + 1)
    exponential = all(after * 2 >= before * 3 for before, after in itertools.pairwise(visited))
    return exponential, f"it visits {visited} edges for {variables} variables"


def forward_mode_is_product(rng: np.random.Generator) -> tuple[bool, str]:
    """Whether it visits every edge once for each variable, and finds what reverse mode finds."""
    for depth in range(1, 9):
        _, _, operations = ladder(depth)
        _, cache = scalar_forward(rng.standard_normal(depth + 1), np.zeros(0), operations)
        found = [carry_forward(i, cache) for i in range(depth + 1)]
        every_edge_once = all(set(visits.values()) == {1} for _, visits in found)
        alike = np.allclose([slope for slope, _ in found], carry_back(cache)[0][: depth + 1], rtol=1e-9, atol=0)
        if not (every_edge_once and alike):
            return False, f"not in a graph of {depth + 1} variables"
    return True, ""


def directly(q: SimpleNamespace) -> tuple[Any, ...]:
    """One backward pass from J, all samples at once; each keeps its own activations, in a column."""
    cache = {name: getattr(q, name) for name in ("X", *PARAMETERS, "Y", "scale")}
    right = batch_backward(q.dout, cache)
    return tuple(right[name] for name in PARAMETERS)


def must_go_by_sample(rng: np.random.Generator) -> tuple[bool, str]:
    """Whether J itself is of no use: whether its backward pass is found wrong."""
    ruling = judge_statement(MEAN.gradient(PARAMETERS, directly), rng, compiled=False, hints=False)
    return ruling.verdict != "pass", "one backward pass from J, all examples at once, gives every gradient of J"


def reverse_is_linear(rng: np.random.Generator) -> tuple[bool, str]:
    walked, there = counts(rng, reverse_mode)
    return walked == there, f"it walks {walked} edges in graphs of {there}"


MEAN_COST = Definition(
    lambda X, W1, b1, W2, b2, W3, b3, Y: batch_forward(X, W1, b1, W2, b2, W3, b3, Y, "mean")[0],
    lambda X, W1, b1, W2, b2, W3, b3, Y: batch_reference(X, W1, b1, W2, b2, W3, b3, Y, "mean"),
    lambda dC, args: tuple(
        batch_backward(
            dC, {**dict(zip(("X", *PARAMETERS, "Y"), args, strict=True)), "scale": 1 / args[0].shape[1]}
        ).values()
    ),
    SAMPLES,
    wrt=("X", *PARAMETERS),
    analytic=True,
)

ROW = partial(Equation, document="003")
ERROR = r"\delta^{l}"

MODES = (
    ROW(
        id="003-2a",
        place="Derivatives on Simple Computational Graph",
        claims="Forward-mode differentiation: from every variable forward to the output, path by path.",
        latex=r"\frac{\partial e}{\partial x} = \sum_{\text{paths } x \to e} \; \prod_{u \to v \text{ on the path}} "
        r"\frac{\partial v}{\partial u}",
        printed=GRAPH.gradient("x", lambda q: q.dout * forward_mode(edges(q))[0]),
        reading=LOST,
    ),
    ROW(
        id="003-2b",
        place="Derivatives on Simple Computational Graph",
        claims="Its redundant computations grow exponentially.",
        latex=r"\#\text{computations} \ge \text{width}^{\text{levels}}",
        printed=Claim(forward_grows),
        reading="Said of the mode as the document walks it, every path by itself, and of more levels.",
    ),
    ROW(
        id="003-2c",
        place="Derivatives on Simple Computational Graph",
        claims="As the number of variables increases, the redundant computations of forward-mode differentiation would "
        "grow exponentially.",
        latex=r"\#\text{computations} \sim c^{\#\text{variables}}",
        printed=Claim(forward_mode_grows),
        reading="Said of forward mode as it is usually meant, on graphs that split in two and join again at every "
        "variable: 5 edges and twice as many paths for another one.",
        corrected_latex=r"\#\text{computations} = \#\text{variables} \cdot \#\text{edges}",
        corrected=Claim(forward_mode_is_product),
    ),
    ROW(
        id="003-3a",
        place="Derivatives on Simple Computational Graph",
        claims="Reverse-mode differentiation: from the output back, with what was found stored.",
        latex=r"\frac{\partial e}{\partial u} = \sum_{v:\, u \to v} \frac{\partial e}{\partial v} "
        r"\frac{\partial v}{\partial u}",
        printed=GRAPH.gradient("x", lambda q: q.dout * reverse_mode(edges(q))[0]),
        reading=LOST,
    ),
    ROW(
        id="003-3b",
        place="Derivatives on Simple Computational Graph",
        claims="It is dynamic programming: nothing is computed twice.",
        latex=r"\#\text{computations} = \#\text{edges}",
        printed=Claim(reverse_is_linear),
    ),
)

NETWORK = (
    ROW(
        id="003-4a",
        place="Backpropagation in Fully Connected Neural Network",
        claims="The cost is the average of the costs of the training examples.",
        latex=r"C = \frac{1}{n} \sum_x C_x",
        printed=MEAN_COST,
        reading=f"{LOST} C_x is half the squared distance.",
    ),
    ROW(
        id="003-4b",
        place="Backpropagation in Fully Connected Neural Network",
        claims="The error of a neuron: if z changes into z + Δz, C changes into C + δ Δz.",
        latex=r"\delta_j^l = \frac{\partial C}{\partial z_j^l}",
        printed=COLUMNS.gradient(("z1", "z2", "z3"), lambda q: (q.dz1, q.dz2, q.dz3)),
        reading=f"{LOST} δ is that of the right derivation, and Δz is added to z in the forward.",
    ),
    ROW(
        id="003-5a",
        place="Backpropagation in Fully Connected Neural Network",
        claims="The error of the output layer.",
        latex=r"\delta^L = \nabla_a C \odot \sigma'(z^L)",
        printed=COLUMNS.gradient("z3", lambda q: q.dx3 * SLOPE[3](q.z3)),
        reading=LOST,
    ),
    ROW(
        id="003-5b",
        place="Backpropagation in Fully Connected Neural Network",
        claims="The error of a layer from that of the next.",
        latex=rf"{ERROR} = \left((w^{{l+1}})^{{\top}} \delta^{{l+1}}\right) \odot \sigma'(z^l)",
        printed=COLUMNS.gradient(
            ("z1", "z2"), lambda q: (q.W2.T @ q.dz2 * SLOPE[1](q.z1), q.W3.T @ q.dz3 * SLOPE[2](q.z2))
        ),
        reading=LOST,
    ),
    ROW(
        id="003-5c",
        place="Backpropagation in Fully Connected Neural Network",
        claims="The gradient of a bias.",
        latex=r"\frac{\partial C}{\partial b_j^l} = \delta_j^l",
        printed=COLUMNS.gradient(("b1", "b2", "b3"), lambda q: (q.dz1, q.dz2, q.dz3)),
        reading=LOST,
    ),
    ROW(
        id="003-5d",
        place="Backpropagation in Fully Connected Neural Network",
        claims="The gradient of a weight.",
        latex=r"\frac{\partial C}{\partial w_{jk}^l} = a_k^{l-1} \delta_j^l",
        printed=COLUMNS.gradient(
            ("W1", "W2", "W3"),
            lambda q: tuple(
                np.einsum("k,j->jk", a, delta) for a, delta in ((q.x0, q.dz1), (q.x1, q.dz2), (q.x2, q.dz3))
            ),
        ),
        reading=LOST,
    ),
    ROW(
        id="003-6a",
        place="Backpropagation in Fully Connected Neural Network",
        claims="The gradients of a batch are the averages of those of its examples.",
        latex=r"\frac{\partial C}{\partial w} = \frac{1}{n} \sum_{i=1}^{n} \frac{\partial C_i}{\partial w}",
        printed=MEAN.gradient(PARAMETERS, lambda q: added(sample_gradients(q), 1 / len(q.samples))),
        reading=LOST,
    ),
    ROW(
        id="003-6b",
        place="Backpropagation in Fully Connected Neural Network",
        claims="J(θ) can not be used directly to compute all the gradients, since different examples have different "
        "activations.",
        latex=r"J(\theta) = \frac{1}{n} \sum_{i=1}^{n} C_i \not\Rightarrow \frac{\partial J}{\partial w}",
        printed=Claim(must_go_by_sample),
        reading="To use J directly is one backward pass from J with all examples side by side.",
        corrected_latex=r"\frac{\partial J}{\partial w^l} = \delta^l (A^{l-1})^{\top}, \quad \delta^L = \frac{1}{n} "
        r"\nabla_A C \odot \sigma'(Z^L), \text{ with a column for each example}",
        corrected=MEAN.gradient(PARAMETERS, directly),
    ),
)

EQUATIONS = (*MODES, *NETWORK)
