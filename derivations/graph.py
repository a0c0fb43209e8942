"""Computational graph of scalar operations: its derivatives as a sum over paths, by forward and by reverse mode.

Shapes     x (I,) inputs    c (C,) constants    v (K,) all nodes, in an order in which sources come first    out ()
           operations: a pair (name, sources) for each node after the inputs and constants; sources are node numbers
           An edge i → j is one use of v_i by node j: v_i · v_i has two edges. E of them end at the operations.

Forward    (F1)  v_i = x_i, then the constants
           (F2)  v_j = φ_j(v_i for each source i of j)
           (F3)  out = v_{K−1}                   the last node

Backward   Let δ stand for a differential. From (F2) δv_j = Σ_{i→j} d_{i→j} δv_i with the local derivatives

           (B1)  d_{i→j} = ∂φ_j/∂v_i             one number for each edge; a constant's edges have theirs too

Substituting this into itself until only δv_i is left multiplies the edges of a path and adds the paths, so that

           (B2)  ∂out/∂v_i = Σ_{paths i → … → out} Π_{edges of the path} d

The paths are many: where each of n nodes splits in two and joins again there are 2ⁿ. What follows shares their parts.

Forward    the derivative v̇_j = ∂v_j/∂v_i of every node by one chosen v_i. A node sums over the edges that reach it:
mode       (F4)  v̇_i = 1, all others 0
           (F5)  v̇_j += d_{i→j} v̇_i              edges in order; each is visited once, for each variable: E per variable

Reverse    the derivative dv_j = ∂L/∂v_j of one L = out · dout by every node. A node sums over the edges that leave it:
mode       (B3)  dv_{K−1} = dout
           (B4)  dv_i += d_{i→j} dv_j            edges in reverse order: dv_j is complete when its first edge comes up;
                                                 each is visited once, for all variables together: E
           (B5)  dx_i = dv_i                     the first nodes are the inputs; the constants stay

With every d = 1 and dout = 1, (B4) counts the paths. ``visits``, where given, counts how often each edge is used.

Source     document 003, "sum over paths", forward-mode and reverse-mode differentiation, whose forward mode is (B2):
           it enumerates paths and is exponential, which (F5) is not; document 002's neuron with two successors, (B4).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact
from numpy import generic, ndarray

from gradcheck.derivation import Derivation

Operations = tuple[tuple[str, tuple[int, ...]], ...]
Edge = tuple[int, int, int]  # (i, j, k): v_i is operand k of node j

# φ, and its derivative by each operand.
OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., tuple[Any, ...]]]] = {
    "+": (lambda a, b: a + b, lambda _a, _b: (1, 1)),
    "-": (lambda a, b: a - b, lambda _a, _b: (1, -1)),
    "*": (lambda a, b: a * b, lambda a, b: (b, a)),
    "/": (lambda a, b: a / b, lambda a, b: (1 / b, -a / b**2)),
    "square": (lambda a: a * a, lambda a: (2 * a,)),
    "sin": (np.sin, lambda a: (np.cos(a),)),
    "exp": (np.exp, lambda a: (np.exp(a),)),
    "tanh": (np.tanh, lambda a: (1 / np.cosh(a) ** 2,)),
    "sigmoid": (lambda a: 1 / (1 + np.exp(-a)), lambda a: (1 / (4 * np.cosh(a / 2) ** 2),)),
}


def graph_forward(
    x: Inexact[ndarray, "I"], c: Inexact[ndarray, "C"], operations: Operations
) -> tuple[Inexact[ndarray | generic, ""], Any]:
    v = [*x, *c]  # (F1)
    for name, sources in operations:
        phi, _ = OPERATIONS[name]
        v.append(phi(*(v[i] for i in sources)))  # (F2)
    out = v[-1]  # (F3)
    return out, (np.array(v), operations, len(x))


def graph_backward(
    dout: Inexact[ndarray | generic, ""], cache: Any, *, visits: Counter[Edge] | None = None
) -> Inexact[ndarray, "I"]:
    v, _, I = cache
    d = local_derivatives(cache)
    dv = np.zeros_like(v)
    dv[-1] = dout  # (B3)
    for edge in reversed(d):
        i, j, _ = edge
        dv[i] += d[edge] * dv[j]  # (B4)
        if visits is not None:
            visits[edge] += 1
    dx: ndarray = dv[:I].copy()  # (B5)
    return dx


def local_derivatives(cache: Any) -> dict[Edge, Any]:
    """Return the derivative of each edge's end by its start, the edges in the order of their ends."""
    v, operations, _ = cache
    d = {}
    for j, (name, sources) in enumerate(operations, start=len(v) - len(operations)):
        _, derivatives = OPERATIONS[name]
        for k, (i, slope) in enumerate(zip(sources, derivatives(*(v[i] for i in sources)), strict=True)):
            d[i, j, k] = slope  # (B1)
    return d


def sum_over_paths(i: int, cache: Any) -> tuple[float, Counter[Edge]]:
    """Return ∂out/∂v_i from every path by itself, and how often each edge was visited."""
    v, *_ = cache
    d = local_derivatives(cache)
    derivative, visits = 0.0, Counter[Edge]()
    for path in paths(i, len(v) - 1, d):
        derivative += math.prod(d[edge] for edge in path)  # (B2)
        visits.update(path)
    return derivative, visits


def forward_mode(i: int, cache: Any) -> tuple[float, Counter[Edge]]:
    """Return ∂out/∂v_i from one sweep over the edges, and how often each edge was visited."""
    v, *_ = cache
    d = local_derivatives(cache)
    v_dot, visits = np.zeros_like(v), Counter[Edge]()
    v_dot[i] = 1  # (F4)
    for edge in d:
        source, j, _ = edge
        v_dot[j] += d[edge] * v_dot[source]  # (F5)
        visits[edge] += 1
    return v_dot[-1], visits


def reverse_mode(cache: Any) -> tuple[Inexact[ndarray, "K"], Counter[Edge]]:
    """Return ∂out/∂v_i for every node i from one sweep over the edges, and how often each edge was visited."""
    v, operations, _ = cache
    visits = Counter[Edge]()
    dv = graph_backward(v.dtype.type(1), (v, operations, len(v)), visits=visits)  # as if every node were an input
    return dv, visits


def paths(i: int, last: int, edges: Any) -> Iterator[tuple[Edge, ...]]:
    """Yield every path from node i to node ``last``, each as the tuple of its edges; at ``last`` itself the empty one.

    Their number can be exponential in the number of nodes: see :func:`count_paths` before.
    """
    outs = defaultdict(list)
    for edge in edges:
        outs[edge[0]].append(edge)

    def onward(node: int) -> Iterator[tuple[Edge, ...]]:
        if node == last:
            yield ()
        for edge in outs[node]:
            for rest in onward(edge[1]):
                yield (edge, *rest)

    return onward(i)


def count_paths(cache: Any) -> list[int]:
    """Return the number of paths from each node to the last one, walking none: reverse mode with every d = 1."""
    v, *_ = cache
    count = [0] * (len(v) - 1) + [1]  # Python's integers, which do not overflow
    for i, j, _ in reversed(local_derivatives(cache)):
        count[i] += count[j]
    return count


def graph_reference(x: jax.Array, c: jax.Array, operations: Operations) -> jax.Array:
    """The expression that the last node stands for, from the outside in, its operations by other formulas."""
    formulas: dict[str, Callable[..., Any]] = {
        "+": lambda a, b: jnp.sum(jnp.stack([a, b])),
        "-": lambda a, b: -(b - a),
        "*": lambda a, b: jnp.prod(jnp.stack([a, b])),
        "/": lambda a, b: a * b**-1,
        "square": jnp.square,
        "sin": lambda a: jnp.imag(jnp.exp(1j * a)),
        "exp": lambda a: jnp.exp2(a / math.log(2)),
        "tanh": lambda a: 2 * jax.nn.sigmoid(2 * a) - 1,
        "sigmoid": lambda a: jnp.exp(-jax.nn.softplus(-a)),
    }
    leaves = (*x, *c)
    known: dict[int, Any] = {}

    def value(j: int) -> Any:
        if j < len(leaves):
            return leaves[j]
        if j not in known:
            name, sources = operations[j - len(leaves)]
            known[j] = formulas[name](*map(value, sources))
        return known[j]

    out: jax.Array = value(len(leaves) + len(operations) - 1)
    return out


def ladder(depth: int) -> tuple[int, int, Operations]:
    """Return a graph of ``depth`` rungs s ← sin(s) + s · x_k: 5 · depth edges, and 2^(depth + 1) − 1 paths from inputs.

    As every graph here it is (I, C, operations): how many inputs and constants it has, and its operations.
    """
    operations: list[tuple[str, tuple[int, ...]]] = []
    s, I = 0, depth + 1
    for k in range(1, I):
        next_node = I + len(operations)
        operations += [("sin", (s,)), ("*", (s, k)), ("+", (next_node, next_node + 1))]
        s = next_node + 2
    return I, 0, tuple(operations)


GRAPHS: dict[str, tuple[int, int, Operations]] = {
    # (x0 + x1)(x1 + c0): both inputs of the sum, one of them on two paths
    "product of sums": (2, 1, (("+", (0, 1)), ("+", (1, 2)), ("*", (3, 4)))),
    "every operation": (
        3,
        1,
        (
            ("square", (0,)),  # 4
            ("+", (4, 3)),  # 5, positive: x0² + c0
            ("sin", (1,)),  # 6
            ("exp", (6,)),  # 7
            ("*", (5, 7)),  # 8
            ("/", (2, 5)),  # 9
            ("tanh", (8,)),  # 10
            ("sigmoid", (9,)),  # 11
            ("-", (10, 11)),  # 12
            ("*", (12, 12)),  # 13: one node in both places
            ("+", (13, 7)),  # 14
        ),
    ),
    "ladder of 1": ladder(1),
    "ladder of 4": ladder(4),
}


def graph_args(rng: np.random.Generator, graph: str) -> tuple[ndarray | Operations, ...]:
    I, C, operations = GRAPHS[graph]
    # Away from zero, and positive where a denominator relies on it.
    return rng.uniform(0.5, 1.5, I) * rng.choice([-1.0, 1.0], I), rng.uniform(0.5, 1.5, C), operations


GRAPH = Derivation(
    "graph",
    graph_forward,
    graph_backward,
    graph_reference,
    f"graph in {' '.join(map(repr, GRAPHS))}",
    graph_args,
    wrt=("x",),
)
