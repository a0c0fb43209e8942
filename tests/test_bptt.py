"""Backpropagation through time: the double sum, the Jacobian product and the recursion are one gradient."""

import re
from operator import attrgetter
from pathlib import Path

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given

from derivations import bptt
from derivations.bptt import BPTT, jacobian_products, step_jacobians
from derivations.rnn_columns import RNN_COLUMNS
from gradcheck import Verdict, autodiff, central_difference, check_backward, complex_step, examine_backward, point
from gradcheck.strategies import points
from gradcheck.verdict import locate
from tests.mutants import with_mistake
from tests.mutants.through_time import THROUGH_TIME

every_form = pytest.mark.parametrize("form", BPTT, ids=attrgetter("name"))
GENERIC = {"T": 4, "B": 2, "N": 5, "M": 3, "f": "tanh", "g": "sigmoid"}


@given(args=points(RNN_COLUMNS))
def test_double_sum_and_jacobian_product_equal_the_recursion(args):
    out, cache = RNN_COLUMNS.forward(*args)
    cotangent = np.random.default_rng(args.seed).standard_normal(out.shape)
    expected = RNN_COLUMNS.backward(cotangent, cache)
    for form in BPTT:
        for gradient, wanted in zip(form.backward(cotangent, cache), expected, strict=True):
            # The sums are ordered differently, and a lone bias may cancel to a small part of its terms.
            np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max(), err_msg=form.name)


@every_form
@pytest.mark.parametrize("oracle", [central_difference, complex_step], ids=attrgetter("__name__"))
@given(data=st.data())
def test_each_form_passes_at_random_sizes(form, oracle, data):
    args = data.draw(points(form), label="args")
    check_backward(form.forward, form.backward, args, oracle=oracle, seed=args.seed)


@every_form
def test_each_form_passes_against_autodiff(form):
    for seed in range(10):
        args = point(form.spec, seed, **GENERIC)
        check_backward(form.forward, form.backward, args, oracle=autodiff(form.reference), seed=seed)


def test_the_product_of_step_jacobians_is_the_jacobian_between_distant_states():
    x, h0, U, W, b, *_ = point(RNN_COLUMNS.spec, T=5, B=1, N=3, M=4, f="tanh", g="identity")
    states, _ = RNN_COLUMNS.forward(x, h0, U, W, b, "tanh", "identity")
    J = step_jacobians(U, 1 - states[:, :, 0] ** 2)
    for product, k in zip(jacobian_products(J), range(5, -1, -1), strict=True):
        h_k = states[k - 1] if k else h0

        def last_state(h_k, k=k):
            if k == 5:
                return h_k[:, 0]
            return RNN_COLUMNS.reference(x[k:], h_k, U, W, b, "tanh", "identity")[-1, :, 0]

        with jax.enable_x64(True):
            expected = np.asarray(jax.jacobian(last_state)(h_k))[:, :, 0]
        np.testing.assert_allclose(product, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("form", "mistake"),
    [
        pytest.param(form, mistake, id=f"{form.name}-{mistake.name.replace(' ', '-')}")
        for form in BPTT
        for mistake in THROUGH_TIME[form.name]
    ],
)
def test_a_mistake_in_a_derived_form_is_found_where_it_is(form, mistake, monkeypatch):
    monkeypatch.setattr(locate, "BUDGET", 1)
    args = point(form.spec, **GENERIC)
    wrong = with_mistake(form.backward, mistake)
    for oracle in (central_difference, complex_step, autodiff(form.reference)):
        report = examine_backward(form.forward, wrong, args, oracle=oracle, seed=0)
        failed = {path for path, finding in report.arguments.items() if finding.verdict is Verdict.FAIL}
        assert failed == {path for path in report.arguments if mistake.infects(path)}, str(report)


def test_every_equation_is_one_line_of_code_and_back():
    _, docstring, code = Path(bptt.__file__).read_text(encoding="utf-8").split('"""', 2)
    numbers = [f"B{n}" for n in range(1, 13)]
    assert re.findall(r"^ +\((B\d+)\)", docstring, re.MULTILINE) == numbers
    assert sorted(re.findall(r"# \((B\d+)\)", code)) == sorted(numbers)
