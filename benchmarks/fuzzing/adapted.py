"""Functions in other people's conventions for the fuzzer: losses, layers, rules of JAX, autograd and PyTorch.

A maker takes a random generator and a plain pair with its arguments, and returns (adapt, args, what): ``adapt()``
gives the pair by way of gradcheck's adapter. The functions and classes here are the user's.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import gradcheck
from benchmarks.fuzzing.case import pick
from benchmarks.fuzzing.oddities import VALUES, there
from benchmarks.fuzzing.returns import GRADIENTS


def from_vjp(rng, forward, backward, args):
    count = len(args)

    def f(*given):
        return forward(*given)[0]

    def one(i):
        def vjp(ans, *given):
            def pull(g):
                gradients = backward(g, forward(*given)[1])
                return gradients[i] if count > 1 else gradients

            return pull

        return vjp

    vjps = [one(i) for i in range(count)]
    odd = {
        "plain": lambda: gradcheck.from_vjp(f, *vjps),
        "argnums": lambda: gradcheck.from_vjp(f, *vjps, argnums=tuple(range(count))),
        "not curried": lambda: gradcheck.from_vjp(f, lambda g, ans, *a: one(0)(ans, *a)(g), curried=False),
        "not a function of g": lambda: gradcheck.from_vjp(f, lambda ans, *a: 3.0),
        "argnums of wrong type": lambda: gradcheck.from_vjp(f, *vjps, argnums="0"),
        "argnums is an int": lambda: gradcheck.from_vjp(f, *vjps, argnums=0),
        "argnums of none": lambda: gradcheck.from_vjp(f, *vjps, argnums=(None,) * count),
        "argnums beyond": lambda: gradcheck.from_vjp(f, *vjps, argnums=range(5, 5 + count)),
        "none": lambda: gradcheck.from_vjp(f, None, *vjps[1:]),
        "no vjps": lambda: gradcheck.from_vjp(f),
        "no functions": lambda: gradcheck.from_vjp(f, 3),
    }
    name = "plain" if rng.random() < 0.4 else pick(rng, odd)
    return odd[name], args, name


class Net:
    """A model with a loss, whose parameters lie in a dict, and in a layer as well."""

    def __init__(self, rng):
        self.params = {"W": rng.standard_normal((3, 2)), "b": rng.standard_normal(2)}
        self.layer = SimpleNamespace(W=self.params["W"])

    def loss(self, x, y=None):
        z = x @ self.params["W"] + self.params["b"]
        return 0.5 * (z**2).sum(), {"W": x.T @ z, "b": z.sum(0)}

    def loss_by_layers(self, x):
        z = x @ self.layer.W + self.params["b"]
        return 0.5 * (z**2).sum(), {"W": x.T @ z, "b": z.sum(0)}


def from_loss_and_grad(rng, _forward, _backward, _args):
    x, W = rng.standard_normal((4, 3)), rng.standard_normal((3, 2))
    net, returns = Net(rng), GRADIENTS[pick(rng, GRADIENTS)]
    value = VALUES[pick(rng, VALUES)](rng)

    def loss(W, x):
        z = x @ W
        return 0.5 * (z**2).sum(), x.T @ z

    def by_name(W, x):
        value, grad = loss(W, x)
        return value, {"W": grad, "x": x @ W @ W.T}

    odd: dict[str, Any] = {
        "plain": lambda: (loss, {}, (W, x)),
        "by name": lambda: (by_name, {}, (W, x)),
        "three": lambda: (lambda W, x: (*loss(W, x), x @ W @ W.T), {}, (W, x)),
        "params": lambda: (net.loss, {"params": net.params}, (net.params, x)),
        "params of layers": lambda: (net.loss_by_layers, {"params": net.params}, (net.params, x)),
        "params of another type": lambda: (net.loss, {"params": value}, (net.params, x)),
        "other keys": lambda: (net.loss, {"params": net.params}, ({"V": W}, x)),
        "int loss": lambda: (lambda W, x: (0, W * 0), {}, (W, x)),
        "odd gradients": lambda: (lambda W, x: (loss(W, x)[0], returns(loss(W, x)[1])), {}, (W, x)),
        "odd loss": lambda: (lambda W, x: (value, loss(W, x)[1]), {}, (W, x)),
        "odd argument": lambda: (loss, {}, (W, value)),
        "alone": lambda: (lambda W, x: loss(W, x)[0], {}, (W, x)),
        "a generator": lambda: (lambda W, x: (part for part in loss(W, x)), {}, (W, x)),
        "array of both": lambda: (lambda W, x: np.array([loss(W, x)[0], 1.0]), {}, (W, x)),
        "no function": lambda: (value, {}, (W, x)),
    }
    name = pick(rng, odd)
    f, settings, args = odd[name]()
    return lambda: gradcheck.from_loss_and_grad(f, **settings), args, name


def from_value_and_gradient(rng, _forward, _backward, _args):
    x, value = rng.standard_normal(3), VALUES[pick(rng, VALUES)](rng)

    def f(x, a=1.0, b=0.5):
        return a * (np.asarray(x) ** 2).sum() + b

    def df(x, a=1.0, b=0.5):
        return 2 * a * np.asarray(x)

    def extra(x, a, t=0.5, b=1.0):
        return a * np.sin(np.asarray(x)).sum() * b + t

    def d_extra(x, a, t=0.5, b=1.0):
        return a * np.cos(np.asarray(x)) * b

    odd: dict[str, Any] = {
        "plain": lambda: (f, df, (), (x,)),
        "extra": lambda: (f, df, (2.0,), (x,)),
        "two extras": lambda: (f, df, (2.0, 1.0), (x,)),
        "a default after the extras": lambda: (extra, d_extra, (2.0,), (x,)),
        "a list": lambda: (f, df, (), (x.tolist(),)),
        "a tuple": lambda: (f, df, (), (tuple(x),)),
        "a float": lambda: (f, df, (), (0.5,)),
        "a 0-d array": lambda: (f, df, (), (np.array(0.5),)),
        "extras of another type": lambda: (f, df, value, (x,)),
        "an odd extra": lambda: (f, df, (value,), (x,)),
        "an odd point": lambda: (f, df, (), (value,)),
        "an odd value": lambda: (lambda x: value, df, (), (x,)),
        "an odd gradient": lambda: (f, lambda x: value, (), (x,)),
        "an array": lambda: (lambda x: np.array([f(x)]), df, (), (x,)),
        "a vector": lambda: (lambda x: np.array([f(x), 1.0]), df, (), (x,)),
        "an int": lambda: (lambda x: 0, lambda x: 0 * x, (), (x,)),
        "a builtin": lambda: (np.linalg.norm, lambda x: x / np.linalg.norm(x), (), (x,)),
        "no functions": lambda: (value, df, (), (x,)),
    }
    name = pick(rng, odd)
    f_, df_, extras, args = odd[name]()
    return lambda: gradcheck.from_value_and_gradient(f_, df_, args=extras), args, name


class Dense:
    """A layer with the habits of CS231n."""

    def __init__(self, rng, i=3, o=2):
        self.W, self.b = rng.standard_normal((i, o)), rng.standard_normal(o)
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(0)
        return dout @ self.W.T


class Relu:
    """A layer without parameters."""

    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dout):
        return dout * self.mask


class Stack:
    """Layers in a list."""

    def __init__(self, rng):
        self.layers = [Dense(rng, 3, 4), Relu(), Dense(rng, 4, 2)]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout):
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


class ByDicts:
    """A layer with params and grads."""

    def __init__(self, rng):
        self.params, self.grads = {"W": rng.standard_normal((3, 2))}, {}

    def forward(self, x):
        self.x = x
        return x @ self.params["W"]

    def backward(self, dout):
        self.grads["W"] = self.x.T @ dout
        return dout @ self.params["W"].T


class SlottedLayer:
    """A layer with slots."""

    __slots__ = ("W", "dW", "x")

    def __init__(self, rng):
        self.W, self.dW = rng.standard_normal((3, 2)), np.zeros((3, 2))

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T


class OnTheClass:
    """A layer whose weight belongs to the class."""

    W = np.ones((3, 2))
    dW = np.zeros((3, 2))

    def __init__(self, _rng):
        pass

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T


def from_layer(rng, _forward, _backward, _args):
    x, value = rng.standard_normal((4, 3)), VALUES[pick(rng, VALUES)](rng)
    layer = {"dense": Dense, "stack": Stack, "dicts": ByDicts, "slots": SlottedLayer, "class": OnTheClass}
    name = pick(
        rng, [*layer, "relu", "odd attribute", "odd parameters", "odd layer", "odd input", "no parameters given"]
    )
    if name in layer:
        one = layer[name](rng)
        params = {"W": one.W, "b": one.b} if name == "dense" else getattr(one, "params", None)
        params = {"W": one.W} if name in ("slots", "class") else params
        return lambda: gradcheck.from_layer(one), (x,) if params is None else (x, params), name
    one = Relu() if name == "relu" else Dense(rng)
    if name == "odd attribute":
        one.extra = value
    settings = {"parameters": value} if name == "odd parameters" else {}
    args = (x,) if name in ("relu", "no parameters given") else (x, {"W": one.W, "b": one.b})
    args = (x, value) if name == "odd input" else args
    return lambda: gradcheck.from_layer(value if name == "odd layer" else one, **settings), args, name


def from_custom_vjp(rng, _forward, _backward, _args):
    import jax
    import jax.numpy as jnp

    x, value = rng.standard_normal(3), VALUES[pick(rng, VALUES)](rng)
    returns = GRADIENTS[pick(rng, GRADIENTS)]

    def fwd(x, y):
        return jnp.sin(x) * y, (x, y)

    def bwd(res, g):
        x, y = res
        return g * jnp.cos(x) * y, g * jnp.sin(x)

    @jax.custom_vjp
    def decorated(x, y):
        return jnp.sin(x) * y

    decorated.defvjp(fwd, bwd)

    @jax.custom_vjp
    def without(x, y):
        return x * y

    odd: dict[str, Any] = {
        "rules": lambda: ((fwd, bwd), (x, x + 1)),
        "decorated": lambda: ((decorated,), (x, x + 1)),
        "decorated and a rule": lambda: ((decorated, bwd), (x, x + 1)),
        "without rules": lambda: ((without,), (x, x + 1)),
        "a key as an argument": lambda: ((lambda x, k: (*fwd(x, x)[:1], (x, x)), bwd), (x, jax.random.key(0))),
        "an odd argument": lambda: (
            (lambda x, v: (jnp.sin(x), (x, v)), lambda r, g: (g * jnp.cos(r[0]), None)),
            (x, value),
        ),
        "an odd residual": lambda: ((lambda x: (jnp.sin(x), (x, value)), lambda r, g: (g * jnp.cos(r[0]),)), (x,)),
        "an odd output": lambda: ((lambda x: (value, x), lambda r, g: (r,)), (x,)),
        "odd gradients": lambda: ((fwd, lambda r, g: returns(bwd(r, g))), (x, x + 1)),
        "a list as gradients": lambda: ((fwd, lambda r, g: list(bwd(r, g))), (x, x + 1)),
        "none": lambda: ((fwd, lambda r, g: (bwd(r, g)[0], None)), (x, x + 1)),
        "no pair": lambda: ((jnp.sin, lambda r, g: (g,)), (x,)),
        "no functions": lambda: ((value, bwd), (x, x)),
        "int argument": lambda: (
            (lambda x, n: (x**n, (x, n)), lambda r, g: (g * r[1] * r[0] ** (r[1] - 1), None)),
            (x, 2),
        ),
    }
    name = pick(rng, odd)
    functions, args = odd[name]()
    return lambda: gradcheck.from_custom_vjp(*functions), args, name


def from_autograd_function(rng, forward, backward, args):
    if not there("torch"):
        return from_vjp(rng, forward, backward, args)
    import torch

    x, value = rng.standard_normal((3, 2)), VALUES[pick(rng, VALUES)](rng)

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return torch.sin(x) * y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * torch.cos(x) * y, g * torch.sin(x)

    def variant(**methods):
        return type("Variant", (Sine,), {name: staticmethod(method) for name, method in methods.items()})

    def in_place(ctx, g):
        x, y = ctx.saved_tensors
        g.mul_(torch.cos(x) * y)
        return g, g * 0

    def viewing(ctx, g):
        g.view(-1)
        return Sine.backward(ctx, g)

    odd: dict[str, Any] = {
        "plain": lambda: (Sine, (x, x + 1)),
        "float32": lambda: (Sine, (np.float32(x), np.float32(x + 1))),
        "in place": lambda: (variant(backward=in_place), (x, x + 1)),
        "view": lambda: (variant(backward=viewing), (x, x + 1)),
        "none": lambda: (variant(backward=lambda ctx, g: (g, None)), (x, x + 1)),
        "one gradient": lambda: (variant(backward=lambda ctx, g: g), (x, x + 1)),
        "wrong shape": lambda: (variant(backward=lambda ctx, g: (g.T, g)), (x, x + 1)),
        "not a tensor": lambda: (variant(backward=lambda ctx, g: (3.0, "x")), (x, x + 1)),
        "numpy": lambda: (variant(backward=lambda ctx, g: (g.numpy(), g.numpy())), (x, x + 1)),
        "nan": lambda: (variant(backward=lambda ctx, g: (g * torch.nan, g)), (x, x + 1)),
        "writes into its input": lambda: (
            variant(forward=lambda ctx, x, y: (ctx.save_for_backward(x, y), x.mul_(2))[1]),
            (x, x),
        ),
        "no output": lambda: (variant(forward=lambda ctx, x, y: None), (x, x + 1)),
        "an integer beside": lambda: (
            variant(
                forward=lambda ctx, x, y: (Sine.forward(ctx, x, y), torch.arange(3)),
                backward=lambda ctx, g, _: Sine.backward(ctx, g),
            ),
            (x, x + 1),
        ),
        "an odd argument": lambda: (
            variant(
                forward=lambda ctx, x, v: (ctx.save_for_backward(x), torch.sin(x))[1],
                backward=lambda ctx, g: (g * torch.cos(ctx.saved_tensors[0]), None),
            ),
            (x, value),
        ),
        "an odd class": lambda: (value, (x, x)),
        "its apply": lambda: (Sine.apply, (x, x)),
        "an instance": lambda: (Sine(), (x, x)),
        "raises": lambda: (variant(backward=lambda ctx, g: 1 / 0), (x, x + 1)),
        "one of the arguments is complex": lambda: (Sine, (x, x + 1j)),
    }
    name = pick(rng, odd)
    function, args = odd[name]()
    return lambda: gradcheck.from_autograd_function(function), args, name


ADAPTERS = {
    function.__name__: function
    for function in (
        from_vjp,
        from_loss_and_grad,
        from_value_and_gradient,
        from_layer,
        from_custom_vjp,
        from_autograd_function,
    )
}
