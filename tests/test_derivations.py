"""Every derivation against every oracle, and what else holds for each of them."""

import copy
import inspect
import io
import itertools
import re
import sys
import tokenize
from operator import attrgetter

import beartype
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from jaxtyping import TypeCheckError, jaxtyped

import derivations
from derivations import (
    affine,
    conv,
    conv_strided,
    cross_entropy,
    lenet5,
    mlp,
    mlp_one_hidden,
    pooling_max,
    pooling_mean,
    pooling_trainable,
    rnn,
    rnn_columns,
    softmax,
    softmax_cross_entropy,
)
from derivations.activations import relu_backward, relu_forward
from gradcheck import Verdict, autodiff, central_difference, complex_step, examine_backward, point
from gradcheck.arguments import Arguments
from gradcheck.shapes.sizes import generic, is_size, least, values_of
from gradcheck.strategies import points
from gradcheck.trees import is_float, leaves, rebuild
from gradcheck.verdict.behaviour import leaks
from gradcheck.verdict.laws import match_gradients
from gradcheck.verdict.trial import Trial

NAME = attrgetter("name")
every_derivation = pytest.mark.parametrize("derivation", derivations.ALL, ids=NAME)
typed = jaxtyped(typechecker=beartype.beartype)


def examine(derivation, args, oracle, seed):
    return examine_backward(derivation.forward, derivation.backward, args, oracle=oracle, wrt=derivation.wrt, seed=seed)


def assert_passes(derivation, args, oracle, seed):
    report = examine(derivation, args, oracle, seed)
    assert report.verdict is Verdict.PASS, str(report)


def generic_case(derivation, seed=0):
    """Return args, a cotangent of the output, and the cache, at a point where no size is 1."""
    rng = np.random.default_rng(seed)
    args = point(derivation.spec, seed)
    out, cache = derivation.forward(*args)
    return args, rng.standard_normal(np.shape(out))[()], cache


def with_leaves(function, tree):
    """Return ``tree`` with ``function`` applied to each float array and float scalar in it."""
    moves = (is_float, lambda leaf: isinstance(leaf, np.floating))
    return rebuild(tree, (function(leaf) if any(m(leaf) for m in moves) else leaf for _, leaf in leaves(tree, "")))


def arrays(tree):
    return [leaf for _, leaf in leaves(tree, "") if isinstance(leaf, np.ndarray)]


def assert_close(tree, expected):
    """Assert that two trees are equal up to a rounding in every sum."""
    for (path, leaf), (_, wanted) in zip(leaves(tree, ""), leaves(expected, ""), strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max() + 1e-15, err_msg=path)


# -- against the oracles


@every_derivation
@pytest.mark.parametrize("oracle", [central_difference, complex_step], ids=attrgetter("__name__"))
@given(data=st.data())
def test_backward_passes_at_random_sizes(derivation, oracle, data):
    args = data.draw(points(derivation), label="args")
    assert_passes(derivation, args, oracle, args.seed)


def few_sizes(derivation):
    """Return the smallest sizes, and generic ones with every value of every setting: few, as each is compiled."""
    spec = derivation.spec
    settings = {name: values_of(spec, name) for name in spec.sizes if not is_size(spec, name)}
    yield least(spec)
    for i in range(max(map(len, settings.values()), default=1)):
        yield generic(spec, np.random.default_rng(i), {name: each[i % len(each)] for name, each in settings.items()})


@every_derivation
@given(data=st.data())
def test_backward_passes_against_autodiff_at_few_sizes_and_many_values(derivation, data):
    sizes = data.draw(st.sampled_from(list(few_sizes(derivation))), label="sizes")
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    assert_passes(derivation, derivation.spec.point(sizes, seed), autodiff(derivation.reference), seed)


@pytest.mark.parametrize("derivation", [d for d in derivations.ALL if d.real], ids=NAME)
def test_backward_passes_on_real_input(derivation):
    for oracle in (central_difference, complex_step, autodiff(derivation.reference)):
        assert_passes(derivation, derivation.real(), oracle, seed=0)


def test_a_derivation_with_real_input_exists():
    assert {derivation.name for derivation in derivations.ALL if derivation.real} >= {"lenet5", "mlp", "rnn"}


@every_derivation
def test_float32_gives_float32_gradients_that_pass(derivation):
    for seed in range(3):
        args, *_ = generic_case(derivation, seed)
        args = with_leaves(np.float32, args)
        out, cache = derivation.forward(*args)
        assert np.asarray(out).dtype == np.float32
        gradients = arrays(derivation.backward(np.ones_like(out)[()], cache))
        assert {gradient.dtype for gradient in gradients} == {np.dtype(np.float32)}
        assert_passes(derivation, args, central_difference, seed)


# -- the page of mathematics


def equation_numbers(source):
    """Return the equation numbers in the docstring of a module, and those in the comments of its code."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    docstring = next(token.string for token in tokens if token.type == tokenize.STRING)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    pattern = re.compile(r"\(([FB]\d+)\)")
    return set(pattern.findall(docstring)), list(itertools.chain.from_iterable(map(pattern.findall, comments)))


@every_derivation
def test_every_equation_of_the_docstring_is_one_line_of_code_and_back(derivation):
    written, realised = equation_numbers(inspect.getsource(sys.modules[derivation.forward.__module__]))
    assert written
    assert sorted(written) == sorted(realised)


def test_an_equation_without_its_line_of_code_is_noticed():
    written, realised = equation_numbers('"""(F1) y = x\n(B1) dx = dy\n"""\ny = x  # (F1)\ny = x  # (F1)\n')
    assert (written, realised) == ({"F1", "B1"}, ["F1", "F1"])


# -- no surprises


@every_derivation
def test_backward_called_twice_with_one_cache_gives_the_same_arrays(derivation):
    _, cotangent, cache = generic_case(derivation)
    first, second = (arrays(derivation.backward(cotangent, cache)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@every_derivation
def test_args_cotangent_and_cache_are_not_modified(derivation):
    args, cotangent, cache = generic_case(derivation)
    given = (args, cotangent, cache)
    before = copy.deepcopy(given)
    derivation.backward(cotangent, cache)
    derivation.forward(*args)
    for (path, leaf), (_, old) in zip(leaves(given, "given"), leaves(before, "given"), strict=True):
        np.testing.assert_array_equal(leaf, old, err_msg=path)


@every_derivation
def test_gradients_share_no_memory_with_anything(derivation):
    args, cotangent, cache = generic_case(derivation)
    gradients = arrays(derivation.backward(cotangent, cache))
    for i, gradient in enumerate(gradients):
        for other in (*arrays(args), *arrays(cotangent), *arrays(cache), *gradients[:i]):
            assert not np.shares_memory(gradient, other)


def reversed_twice(array):
    """Return an equal array whose strides are negative."""
    return np.flip(np.flip(array).copy()) if array.ndim else array


def every_other(array):
    """Return an equal array that skips every other place of its memory."""
    return np.stack([array, array], axis=-1)[..., 0] if array.ndim else array


@pytest.mark.parametrize("layout", [np.asfortranarray, reversed_twice, every_other])
@every_derivation
def test_the_layout_of_args_and_cotangent_in_memory_changes_nothing(derivation, layout):
    args, cotangent, cache = generic_case(derivation)
    expected = derivation.backward(cotangent, cache)

    def laid_out(leaf):
        return layout(leaf) if isinstance(leaf, np.ndarray) else leaf

    _, cache = derivation.forward(*with_leaves(laid_out, args))
    assert_close(derivation.backward(laid_out(cotangent), cache), expected)


@every_derivation
@given(data=st.data())
def test_shapes_are_as_annotated(derivation, data):
    args = data.draw(points(derivation), label="args")
    out, cache = typed(derivation.forward)(*args)  # which raises at another shape
    assert typed(derivation.backward)(np.ones_like(out)[()], cache) is not None


def returning(function, change):
    """Return ``function`` with the annotations that it has, and ``change`` applied to what it returns."""

    def changed(*args):
        return change(function(*args))

    changed.__signature__ = inspect.signature(function)
    changed.__annotations__ = function.__annotations__
    changed.__module__ = function.__module__
    return changed


@every_derivation
def test_a_shape_that_is_not_as_annotated_is_refused(derivation):
    args, cotangent, cache = generic_case(derivation)
    typed(returning(derivation.forward, lambda pair: pair))(*args)
    typed(returning(derivation.backward, lambda gradients: gradients))(cotangent, cache)
    with pytest.raises(TypeCheckError):
        typed(returning(derivation.forward, lambda pair: (np.asarray(pair[0])[None], pair[1])))(*args)
    with pytest.raises(TypeCheckError):
        typed(returning(derivation.backward, lambda gradients: with_leaves(lambda leaf: leaf[None], gradients)))(
            cotangent, cache
        )


def test_arguments_whose_shapes_contradict_each_other_are_refused():
    with pytest.raises(TypeCheckError):
        typed(affine.affine_forward)(np.ones((2, 3)), np.ones((4, 5)), np.ones(5))


# -- conventions and edges


def test_at_a_tie_the_first_pixel_of_the_window_gets_everything():
    x = np.zeros((1, 1, 4, 6))
    _, cache = pooling_max.pooling_max_forward(x, 2, 3, 2)
    dx = pooling_max.pooling_max_backward(np.ones((1, 1, 2, 2)), cache)
    expected = np.zeros((4, 6))
    expected[[0, 0, 2, 2], [0, 2, 0, 2]] = 1
    np.testing.assert_array_equal(dx[0, 0], expected)


def test_a_right_gradient_at_a_tie_is_not_called_wrong():
    x = np.random.default_rng(0).standard_normal((1, 1, 4, 4))
    x[0, 0, 0, 0] = x[0, 0, 1, 1] = x.max() + 1
    for seed in range(5):
        report = examine(pooling_max.POOLING_MAX, (x, 2, 2, 2), central_difference, seed)
        assert report.verdict is not Verdict.FAIL, str(report)


def test_relu_sends_nothing_back_at_zero():
    _, cache = relu_forward(np.array([-1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(relu_backward(np.full(3, 2.0), cache), [0.0, 0.0, 2.0])


def test_lenet5_has_the_sixty_links_of_the_paper():
    table = """012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"""
    assert lenet5.LINKS_C3.sum() == 60
    assert ["".join(map(str, np.flatnonzero(maps))) for maps in lenet5.LINKS_C3.T] == table.split()


def test_saturated_activations_keep_a_gradient_that_is_right():
    for derivation in (derivation for derivation in derivations.ALL if derivation.name in {"sigmoid", "tanh"}):
        assert_passes(derivation, (np.array([[-30.0, -9.0, 9.0, 30.0]]),), autodiff(derivation.reference), seed=0)


def test_softmax_and_cross_entropy_bear_scores_that_would_overflow():
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4 + 1]])
    p, cache = softmax.softmax_forward(z)
    assert np.isfinite(softmax.softmax_backward(np.ones_like(p), cache)).all()
    L, cache = softmax_cross_entropy.softmax_cross_entropy_forward(z, np.array([1, 0]), "mean")
    assert np.isfinite(L)
    assert np.isfinite(softmax_cross_entropy.softmax_cross_entropy_backward(np.float64(1), cache)).all()


def test_every_row_of_a_softmax_gradient_sums_to_zero():
    _, cotangent, cache = generic_case(softmax.SOFTMAX)
    np.testing.assert_allclose(softmax.softmax_backward(cotangent, cache).sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("steps", [1, 2])
def test_rnns_with_one_or_two_steps_pass(steps):
    many = point(rnn.RNN.spec, steps, T=steps, n=2, d=5, h=4, V=7, activation="tanh")
    columns = point(rnn_columns.RNN_COLUMNS.spec, steps, T=steps, B=2, N=5, M=4, f="tanh", g="sigmoid")
    for oracle in (central_difference, complex_step):
        assert_passes(rnn.RNN, many, oracle, seed=0)
        assert_passes(rnn_columns.RNN_COLUMNS, columns, oracle, seed=0)


# -- two derivations of one function agree


def test_softmax_then_cross_entropy_is_the_fused_loss():
    (z, labels, reduction), dL, cache = generic_case(softmax_cross_entropy.SOFTMAX_CROSS_ENTROPY)
    fused = softmax_cross_entropy.softmax_cross_entropy_backward(dL, cache)
    p, softmax_cache = softmax.softmax_forward(z)
    _, loss_cache = cross_entropy.cross_entropy_forward(p, labels, reduction)
    dp = cross_entropy.cross_entropy_backward(dL, loss_cache)
    assert_close(softmax.softmax_backward(dp, softmax_cache), fused)


def test_convolution_with_stride_one_and_no_border_is_the_convolution_with_all_links():
    (X, W, b, T), dY, _ = generic_case(conv.CONV)
    _, cache = conv.conv_forward(X, W, b, np.ones_like(T))
    _, strided_cache = conv_strided.conv_strided_forward(X, W, b, 1, 0)
    assert_close(conv_strided.conv_strided_backward(dY, strided_cache), conv.conv_backward(dY, cache))


def test_trainable_pooling_with_unit_coefficients_is_mean_pooling():
    (y, omega, a, kh, kw), dx, _ = generic_case(pooling_trainable.POOLING_TRAINABLE)
    _, cache = pooling_trainable.pooling_trainable_forward(y, np.ones_like(omega), a, kh, kw)
    _, mean_cache = pooling_mean.pooling_mean_forward(y, kh, kw)
    dy, *_ = pooling_trainable.pooling_trainable_backward(dx, cache)
    assert_close(dy, pooling_mean.pooling_mean_backward(dx, mean_cache))


def test_the_deep_perceptron_with_two_layers_is_the_one_with_one_hidden_layer():
    rng = np.random.default_rng(0)
    x, W1, b1, W2, b2, target, *_ = mlp_one_hidden.mlp_one_hidden_args(rng, 5, 7, 4, 3, 0.0, "tanh", "softmax", "")
    target = rng.integers(3, size=5)
    dL = np.float64(1.7)
    _, cache = mlp_one_hidden.mlp_one_hidden_forward(x, W1, b1, W2, b2, target, 0.0, "tanh", "softmax", "cross_entropy")
    dx, dW1, db1, dW2, db2 = mlp_one_hidden.mlp_one_hidden_backward(dL, cache)
    _, cache = mlp.mlp_forward(x, [(W1, b1), (W2, b2)], target, "tanh", "softmax_cross_entropy")
    got = mlp.mlp_backward(dL * len(x), cache)  # the one takes the mean over the batch, the other the sum
    assert_close(got, (dx, [(dW1, db1), (dW2, db2)]))


def test_the_two_recurrent_nets_are_one_in_rows_and_in_columns():
    X, h0, Wxh, Whh, bh, Whs, bs, labels, f = point(rnn.RNN.spec, T=4, n=3, d=5, h=6, V=7, activation="tanh")
    dL = np.float64(-0.6)
    _, cache = rnn.rnn_forward(X, h0, Wxh, Whh, bh, Whs, bs, labels, f)
    expected = rnn.rnn_backward(dL, cache)
    y, cache = rnn_columns.rnn_columns_forward(X.swapaxes(1, 2), h0.T, Whh.T, Wxh.T, bh, f, "identity")
    s, affine_cache = affine.affine_forward(y.swapaxes(1, 2).reshape(12, 6), Whs, bs)
    _, loss_cache = softmax_cross_entropy.softmax_cross_entropy_forward(s, labels.reshape(-1), "sum")
    ds = softmax_cross_entropy.softmax_cross_entropy_backward(dL, loss_cache)
    dy, dWhs, dbs = affine.affine_backward(ds, affine_cache)
    dx, dh0, dU, dW, db = rnn_columns.rnn_columns_backward(dy.reshape(4, 3, 6).swapaxes(1, 2), cache)
    assert_close((dx.swapaxes(1, 2), dh0.T, dW.T, dU.T, db, dWhs, dbs), expected)


INDEPENDENT = [derivation for derivation in derivations.ALL if derivation.samples]


def trial_of(derivation, args, rng):
    out, cache = derivation.forward(*args)
    cotangent = rng.standard_normal(np.shape(out))
    claims = match_gradients("backward", derivation.backward(cotangent, cache), Arguments.of(derivation.forward, args))
    return Trial(
        derivation.forward,
        derivation.backward,
        Arguments.of(derivation.forward, args),
        out,
        cotangent,
        claims.gradients,
    )


@pytest.mark.parametrize("derivation", INDEPENDENT, ids=attrgetter("name"))
def test_independent_samples_do_not_leak_into_each_other(derivation):
    rng = np.random.default_rng(0)
    assert leaks(trial_of(derivation, point(derivation.spec), rng), derivation.samples, rng) == []


@pytest.mark.parametrize("derivation", INDEPENDENT, ids=attrgetter("name"))
def test_an_empty_batch_gives_empty_and_zero_gradients(derivation):
    args = list(point(derivation.spec))
    names = list(inspect.signature(derivation.forward).parameters)
    for name, axis in derivation.samples.items():
        if name != "out":
            args[names.index(name)] = np.take(args[names.index(name)], [], axis=axis)
    out, cache = derivation.forward(*args)
    gradients = derivation.backward(np.zeros(np.shape(out)), cache)
    for gradient, arg in zip(gradients if isinstance(gradients, tuple) else (gradients,), args, strict=False):
        assert gradient.shape == arg.shape
        assert np.all(gradient == 0)
