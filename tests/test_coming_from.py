"""The pages whose tables hold calls: these pass right rules and no wrong ones, ours and those of peers."""

import re

import pytest

import gradcheck
from tests.pages import DOCS, calls_of

PAGES = ("coming-from-somewhere-else.md", "rules.md")
HERE = {"dataclasses", "jax", "scipy"}  # what the tests have anyway

# one slip for each rule in the code under a heading, and others for the calls that need them
SLIPS = {
    "SciPy, numdifftools, statsmodels, NLopt": (
        ("np.sin(x) + x * np.cos(x)", "np.sin(x) + 1.5 * x * np.cos(x)"),
        ("2 * np.cos(x) - x", "2 * np.cos(x) + x"),
        ("np.diag(2 * x)", "np.diag(x)"),
    ),
    "PyTorch": (("2 * x.conj() * dy", "3 * x.conj() * dy"), ("2 * x * dx", "3 * x * dx")),
    "JAX": (("jnp.cos(x) * dx", "2 * jnp.cos(x) * dx"),),
    "HIPS autograd": (("3 * g", "4 * g"),),
    "MyGrad": (("3 * grad", "4 * grad"),),
    "TensorFlow": (("3 * dy", "4 * dy"),),
    "PyTensor": (("3 * cotangents", "4 * cotangents"),),
    "OpenMDAO": (("np.diag(2 *", "np.diag(3 *"),),
    "Losses of courses and of boosted trees": (
        ("X.T @ active", "-X.T @ active"),
        ("p - labels", "p + labels"),
        ("p * (1 - p)", "p * (1 + p)"),
    ),
    "Chainer, Julia, Ceres": (
        ("lambda dy: dy", "lambda dy: 2 * dy"),
        ("return dy *", "return 2 * dy *"),
        ("ddx * np.cos(x)\n", "ddx * np.sin(x)\n"),
        ("np.cos(x) * dx", "np.sin(x) * dx"),
        ("a / c, 0, 0", "b / c, 0, 0"),
    ),
    "Of arrays": (
        ("return dout * np.sin(w), dout *", "return dout * np.sin(w), -dout *"),
        ("x * np.cos(w) * dw", "w * np.cos(w) * dw"),
        ("ddx * np.sin(w) +", "ddx * np.cos(w) +"),
        ("np.diag(x * np.cos(w))", "np.diag(w * np.cos(w))"),
        ("return np.exp(x)\n", "return 1.1 * np.exp(x)\n"),
        ("np.diag(np.exp(x))", "np.diag(np.exp(-x))"),
        ("np.exp(x) * v", "np.exp(-x) * v"),
        ("np.sum(np.exp(x)), np.exp(x)", "np.sum(np.exp(x)), np.exp(-x)"),
        ("grad[:] = np.exp(x)", "grad[1:] = np.exp(x)[1:]"),
        ("dout * np.exp(x)", "dout * np.exp(-x)"),
        ("dy * y", "dy / y"),
        ("dout * self.y", "dout / self.y"),
    ),
    "Of complex numbers": (
        ("dout * 2 * z\n", "dout * 2 * np.conj(z)\n"),
        ("dout * np.conj(2 * z)", "dout * 2 * z"),
        ("2 * z * dz", "2 * np.conj(z) * dz"),
        ("2 * dout * z", "2 * dout * np.conj(z)"),
    ),
    "Of arguments that are not only arrays": (
        ("scale * x.T @ dout", "x.T @ dout / len(x)"),
        ("Affine(x.T @ dout,", "Affine(x.T @ dout / len(x),"),
        ("np.add.at(dtable, labels, dout)", "dtable[labels] = dout"),
    ),
    "Meant to be something else": (
        ("return dout\n", "return dout * (np.abs(x) < 1)\n"),
        ("S.T @ ones @ S.T +", "S.T @ ones @ S.T -"),
        ("-dout / p", "-dout / p**1.01"),
    ),
    "Of PyTorch": (("dy * torch.cos(x)", "2 * dy * torch.cos(x)"), ("torch.cos(x) * dx", "torch.sin(x) * dx")),
    "Of JAX": (("dy * jnp.cos(x)", "dy * jnp.sin(x)"), ("-jnp.sin(x)", "jnp.sin(x)")),
}
OTHERS = {  # a slip that shows in the second order alone
    "gradgradcheck": ("2 * x.conj() * dy", "2 * x.detach().conj() * dy"),
    "from_torch(Sine, order=2)": ("dy * torch.cos(x)", "dy * torch.cos(x.detach())"),
    "from_jax(cosine, order=2)": ("-jnp.sin(x)", "-jnp.sin(jax.lax.stop_gradient(x))"),
    "from_torch(Square, order=2)": ("2 * x.conj() * dy", "2 * x.detach().conj() * dy"),
    "order=2, modes": ("jnp.cos(x) * dx", "jnp.cos(jax.lax.stop_gradient(x)) * dx"),
    "from_jax(sine, order=2)": ("jnp.cos(x) * dx", "jnp.cos(jax.lax.stop_gradient(x)) * dx"),
    'modes=["rev"], order=2': ("lambda g: 3 * g * x**2", "lambda g: 3 * g * autograd.tracer.getval(x) ** 2"),
    "elementwise_grad": ("lambda g: 3 * g * x**2", "lambda g: 3 * g * autograd.tracer.getval(x) ** 2"),
}


def slips_of(call):
    """The slips that make the rule of a call wrong, of those that its code has room for."""
    other = [slip for part, slip in OTHERS.items() if part in call.text]
    return other or [slip for slip in SLIPS[call.title] if slip[0] in call.code]


EVERY = tuple(dict.fromkeys(call for page in PAGES for call in calls_of(page)))
CALLS = [call for call in EVERY if call.packages <= HERE]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_right_rule_passes_there_and_here(call):
    assert call.passes()


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_wrong_rule_passes_neither_there_nor_here(call):
    assert not call.passes(*slips_of(call))


@pytest.mark.parametrize("page", PAGES)
def test_every_row_has_a_call_of_ours(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    rows = [
        line for line in text.splitlines() if line.startswith("| ") and not line.endswith((" different |", " call |"))
    ]
    assert len([call for call in calls_of(page) if call.is_ours]) == len(rows) > 20


def test_each_slip_has_room_under_its_heading():
    for title, slips in SLIPS.items():
        code = "".join(call.code for call in EVERY if call.title == title)
        assert [right for right, _ in slips if right not in code] == []


def test_every_call_of_ours_is_public():
    named = {name for call in EVERY if call.is_ours for name in re.findall(r"\b(?:check|from)_\w+", call.text)}
    assert named <= set(gradcheck.__all__)
    adapters = {name for name in gradcheck.__all__ if name.startswith(("check_", "from_"))}
    assert adapters - named == {"from_autograd_function"}  # from_torch takes what it takes
