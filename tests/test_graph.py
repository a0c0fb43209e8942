"""Sum over paths, forward mode and reverse mode: one derivative, three costs."""

import math
from collections import Counter
from typing import NamedTuple

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import assume, given

from derivations.graph import (
    GRAPH,
    GRAPHS,
    OPERATIONS,
    count_paths,
    forward_mode,
    graph_backward,
    graph_forward,
    graph_reference,
    ladder,
    local_derivatives,
    paths,
    reverse_mode,
    sum_over_paths,
)
from gradcheck import GradientError, autodiff, central_difference, check_backward, complex_step
from tests.mutants import MISTAKES, with_mistake

SEEDS = st.integers(0, 2**32 - 1)

# -- random graphs


class Size(NamedTuple):
    """Between which bounds the modulus of a node lies, whatever the inputs."""

    low: float
    high: float


# No operation is drawn where its result could leave these bounds: what overflows, or divides by next to nothing, is no
# test of a derivative.
LEAF, LARGEST, SMALLEST_DIVISOR = Size(0.5, 1.5), 20.0, 0.1
SIZE = {
    "+": lambda a, b: Size(0, a.high + b.high),
    "-": lambda a, b: Size(0, a.high + b.high),
    "*": lambda a, b: Size(a.low * b.low, a.high * b.high),
    "/": lambda a, b: Size(a.low / b.high, a.high / b.low if b.low > SMALLEST_DIVISOR else math.inf),
    "square": lambda a: Size(a.low**2, a.high**2),
    "sin": lambda a: Size(0, 1),
    "exp": lambda a: Size(math.exp(-a.high), math.exp(min(a.high, 99))),
    "tanh": lambda a: Size(math.tanh(a.low), 1),
    "sigmoid": lambda a: Size(1 / (1 + math.exp(a.high)), 1),
}
UNARY = ("square", "sin", "exp", "tanh", "sigmoid")


@st.composite
def points(draw):
    """Draw a graph of up to twelve operations and a seed; the inputs and constants come from the seed."""
    I, C = draw(st.integers(1, 3), label="inputs"), draw(st.integers(0, 2), label="constants")
    sizes, operations = [LEAF] * (I + C), []
    for _ in range(draw(st.integers(1, 12), label="operations")):
        nodes = st.integers(0, len(sizes) - 1)
        a, b = draw(st.just(len(sizes) - 1) | nodes), draw(nodes)
        sources = {name: (a,) if name in UNARY else (a, b) for name in OPERATIONS}
        size = {name: SIZE[name](*(sizes[i] for i in sources[name])) for name in OPERATIONS}
        name = draw(st.sampled_from([name for name in OPERATIONS if size[name].high <= LARGEST]))
        sizes.append(size[name])
        operations.append((name, sources[name]))
    rng = np.random.default_rng(draw(SEEDS, label="seed"))
    x, c = rng.uniform(0.5, 1.5, I) * rng.choice([-1.0, 1.0], I), rng.uniform(0.5, 1.5, C)
    return x, c, tuple(operations)


def cache_of(args):
    _, cache = graph_forward(*args)
    return cache


def nodes_of(cache):
    v, *_ = cache
    return range(len(v))


def products(i, cache):
    """Return the product of the local derivatives along every path from node i to the last one."""
    d = local_derivatives(cache)
    return {path: math.prod(d[edge] for edge in path) for path in paths(i, len(nodes_of(cache)) - 1, d)}


def size_of(i, cache):
    """Return the sum of the moduli of what all paths bring: what a rounding of their sum is relative to."""
    return sum(map(abs, products(i, cache).values()))


# -- one derivative


@given(args=points())
def test_the_three_modes_agree_at_every_node(args):
    cache = cache_of(args)
    by_reverse, _ = reverse_mode(cache)
    for i in nodes_of(cache):
        by_paths, _ = sum_over_paths(i, cache)
        by_forward, _ = forward_mode(i, cache)
        allowed = 1e-13 * size_of(i, cache)
        assert abs(by_forward - by_paths) <= allowed
        assert abs(by_reverse[i] - by_paths) <= allowed


@given(args=points())
def test_the_three_modes_agree_with_jax(args):
    x, c, operations = args
    with jax.enable_x64(True):
        out, expected = jax.value_and_grad(graph_reference)(x, c, operations)
    primal, cache = graph_forward(*args)
    assert abs(primal - float(out)) <= 1e-12 * (1 + abs(primal))
    for i, derivative in enumerate(np.asarray(expected)):
        allowed = 1e-9 * size_of(i, cache)
        for claimed in (sum_over_paths(i, cache)[0], forward_mode(i, cache)[0], reverse_mode(cache)[0][i]):
            assert abs(claimed - derivative) <= allowed


@given(args=points(), seed=SEEDS)
def test_reverse_mode_passes_the_check_on_random_graphs(args, seed):
    cache = cache_of(args)
    assume(any(size_of(i, cache) > 1e-6 for i in range(len(args[0]))))  # else there is no gradient to check
    assume(np.abs(graph_backward(1.0, cache)).max() > 1e-6)
    oracle = (central_difference, complex_step)
    check_backward(graph_forward, graph_backward, args, oracle=oracle, wrt=("x",), seed=seed)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_local_derivatives_are_those_of_the_operation(name):
    rng = np.random.default_rng(0)
    operands = 1 if name in UNARY else 2
    x, c, operations = rng.uniform(0.5, 1.5, operands), np.zeros(0), ((name, tuple(range(operands))),)
    with jax.enable_x64(True):
        expected = jax.grad(graph_reference)(x, c, operations)
    d = local_derivatives(cache_of((x, c, operations)))
    np.testing.assert_allclose([d[i, operands, i] for i in range(operands)], expected, rtol=1e-14)


def test_a_node_that_leads_nowhere_has_derivative_zero_and_no_path():
    cache = cache_of((np.array([0.7, 1.1]), np.zeros(0), (("sin", (0,)), ("square", (1,)))))
    assert sum_over_paths(0, cache) == (0.0, Counter())
    assert forward_mode(0, cache)[0] == reverse_mode(cache)[0][0] == 0
    assert count_paths(cache) == [0, 1, 0, 1]


def test_the_last_node_has_one_path_to_itself_and_derivative_one():
    cache = cache_of((np.array([0.7]), np.zeros(0), (("sin", (0,)),)))
    assert list(paths(1, 1, local_derivatives(cache))) == [()]
    assert sum_over_paths(1, cache)[0] == forward_mode(1, cache)[0] == reverse_mode(cache)[0][1] == 1


def test_a_neuron_with_two_successors_adds_what_comes_back_from_both():
    """Document 002: z = w1 x1 + w2 x2 + b, a = σ(z), z' = w3 a, z'' = w4 a; ∂C/∂z = σ'(z) [w3 ∂C/∂z' + w4 ∂C/∂z'']."""
    w1, w2, w3, w4, x1, x2, b = range(7)
    operations = (
        ("*", (w1, x1)),  # 7
        ("*", (w2, x2)),  # 8
        ("+", (7, 8)),  # 9
        ("+", (9, b)),  # 10: z
        ("sigmoid", (10,)),  # 11: a
        ("*", (w3, 11)),  # 12: z'
        ("*", (w4, 11)),  # 13: z''
        ("tanh", (12,)),
        ("sin", (13,)),
        ("*", (14, 15)),  # C
    )
    x = np.random.default_rng(0).standard_normal(7)
    cache = cache_of((x, np.zeros(0), operations))
    dC, _ = reverse_mode(cache)
    a = cache[0][11]
    assert dC[10] == pytest.approx(a * (1 - a) * (x[w3] * dC[12] + x[w4] * dC[13]), rel=1e-13)
    assert dC[w1] == pytest.approx(x[x1] * dC[10], rel=1e-13)


# -- three costs


def edges_of(args):
    """Return every use of a node by an operation, counted from the graph alone."""
    x, c, operations = args
    first = len(x) + len(c)
    return [(i, j, k) for j, (_, sources) in enumerate(operations, first) for k, i in enumerate(sources)]


@given(args=points())
def test_reverse_mode_visits_every_edge_once_for_all_nodes_together(args):
    _, visits = reverse_mode(cache_of(args))
    assert visits == Counter(edges_of(args))


@given(args=points())
def test_forward_mode_visits_every_edge_once_for_each_node(args):
    cache = cache_of(args)
    for i in nodes_of(cache):
        _, visits = forward_mode(i, cache)
        assert visits == Counter(edges_of(args))


@given(args=points())
def test_paths_are_as_many_as_dynamic_programming_counts(args):
    cache = cache_of(args)
    for i, count in enumerate(count_paths(cache)):
        walked = list(paths(i, len(nodes_of(cache)) - 1, edges_of(args)))
        assert len(walked) == len(set(walked)) == count


@given(args=points())
def test_the_sum_over_paths_visits_an_edge_once_for_each_path_through_it(args):
    cache = cache_of(args)
    onward = count_paths(cache)
    for start in nodes_of(cache):
        reached = [0] * len(onward)
        reached[start] = 1
        for i, j, _ in edges_of(args):
            reached[j] += reached[i]
        _, visits = sum_over_paths(start, cache)
        for edge in edges_of(args):
            assert visits[edge] == reached[edge[0]] * onward[edge[1]]


@pytest.mark.parametrize("depth", range(1, 9))
def test_on_a_ladder_paths_double_with_each_rung_and_reverse_mode_takes_five_visits_more(depth):
    I, C, operations = ladder(depth)
    cache = cache_of((np.ones(I), np.ones(C), operations))
    inputs = range(I)
    assert sum(count_paths(cache)[i] for i in inputs) == 2 ** (depth + 1) - 1
    assert sum(sum_over_paths(i, cache)[1].total() for i in inputs) == (2 * depth - 1) * 2 ** (depth + 1) + 2
    assert reverse_mode(cache)[1].total() == 5 * depth
    assert sum(forward_mode(i, cache)[1].total() for i in inputs) == 5 * depth * (depth + 1)


def test_paths_too_many_to_walk_are_counted_exactly():
    I, C, operations = ladder(100)
    assert count_paths(cache_of((np.full(I, 0.5), np.ones(C), operations)))[0] == 2**100


def test_the_graphs_of_the_record_hold_every_operation_and_a_node_used_twice_at_once():
    used = {name for _, _, operations in GRAPHS.values() for name, _ in operations}
    assert used == set(OPERATIONS)
    assert any(len(set(sources)) < len(sources) for _, _, operations in GRAPHS.values() for _, sources in operations)


# -- mistakes


def without_one_path(path):
    """Return the sum over all paths but one as a backward."""

    def backward(dout, cache):
        *_, I = cache
        return dout * np.array([sum(p for way, p in products(i, cache).items() if way != path) for i in range(I)])

    return backward


@given(args=points(), data=st.data())
def test_one_path_left_out_is_found(args, data):
    cache = cache_of(args)
    largest = max(size_of(i, cache) for i in range(len(args[0])))
    ways = [way for i in range(len(args[0])) for way, p in products(i, cache).items() if abs(p) > 1e-3 * largest]
    assume(ways and np.abs(graph_backward(1.0, cache)).max() > 1e-3 * largest)
    wrong = without_one_path(data.draw(st.sampled_from(ways), label="path"))
    check_backward(graph_forward, without_one_path(None), args, wrt=("x",), seed=0)
    with pytest.raises(GradientError):
        check_backward(graph_forward, wrong, args, wrt=("x",), seed=0)


@given(args=points())
def test_a_cotangent_overwritten_at_a_node_with_two_successors_is_found(args):
    overwritten = with_mistake(graph_backward, next(m for m in MISTAKES["graph"] if m.name.startswith("overwritten")))
    cache = cache_of(args)
    right, wrong = graph_backward(1.0, cache), overwritten(1.0, cache)
    assume(np.linalg.norm(right - wrong) > 1e-3 * np.linalg.norm(right))
    with pytest.raises(GradientError):
        check_backward(graph_forward, overwritten, args, wrt=("x",), seed=0)


def test_a_cotangent_overwritten_on_a_chain_is_no_mistake():
    """What makes the test above more than a formality: without a second successor nothing is lost."""
    overwritten = with_mistake(graph_backward, next(m for m in MISTAKES["graph"] if m.name.startswith("overwritten")))
    args = np.array([0.7]), np.zeros(0), (("sin", (0,)), ("exp", (1,)), ("tanh", (2,)))
    check_backward(graph_forward, overwritten, args, oracle=autodiff(GRAPH.reference), wrt=("x",), seed=0)
