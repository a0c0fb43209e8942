"""The peers of the power benchmark: each judges the same NumPy forward and backward by its own machinery.

Every peer runs at its defaults, with what they leave open settled as follows. JAX's ``check_grads`` and autograd's are
asked for first order and reverse mode, since a backward gives no more. ``scipy.optimize.check_grad`` returns a number
and no verdict: more than ``RELATIVE`` of the claimed gradient's norm counts as wrong. numdifftools measures with an
error estimate and compares nothing; it stands in for MyGrad, whose test factory cannot be imported: wrong is an entry
that differs by more than the estimate and by more than MyGrad's tolerances (1e-8 absolute and relative).

Peers of SciPy and numdifftools' kind differentiate numbers: they see ⟨ȳ, f⟩ for a random cotangent ȳ, over the vector
of all arguments. A peer that raises what it raises for a wrong gradient says "fail"; anything else that it raises is
an "error" and stands in the JSON.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from gradcheck import examine_backward

RELATIVE = 1e-6
MYGRAD = 1e-8

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[[Any, Any], tuple[np.ndarray, ...]]
Check = Callable[[Forward, Backward, tuple[np.ndarray, ...], int], str]


class Peer(NamedTuple):
    """A checker: what has to be installed, the largest size at which it is asked, and ``check`` → its verdict."""

    name: str
    package: str
    largest: float
    check: Check

    @property
    def installed(self) -> bool:
        """Whether it can be asked at all."""
        return importlib.util.find_spec(self.package) is not None


def check_with_gradcheck(forward: Forward, backward: Backward, args: tuple[np.ndarray, ...], seed: int) -> str:
    return str(examine_backward(forward, backward, args, seed=seed, hints=False).verdict)


@functools.cache
def _torch_function() -> Any:
    import torch

    torch.set_num_threads(1)

    class Pair(torch.autograd.Function):
        """The NumPy pair as an operation of torch."""

        @staticmethod
        def forward(ctx, forward, backward, *args):
            out, ctx.cache = forward(*(arg.detach().numpy().copy() for arg in args))
            ctx.backward = backward
            return torch.from_numpy(np.array(out))

        @staticmethod
        def backward(ctx, dout):
            gradients = ctx.backward(dout.numpy()[()], ctx.cache)
            return None, None, *(torch.from_numpy(np.array(gradient)) for gradient in gradients)

    return Pair.apply


def _unexplained(*_: Any) -> str:
    """Stand in for what the fast mode does after it failed: the slow mode, hours at 1e6 entries, for its message."""
    return "failed"


def check_with_torch(
    forward: Forward, backward: Backward, args: tuple[np.ndarray, ...], seed: int, *, fast_mode: bool = False
) -> str:
    import torch

    module = importlib.import_module("torch.autograd.gradcheck")
    inputs = tuple(torch.from_numpy(arg.copy()).requires_grad_() for arg in args)
    torch.manual_seed(seed)
    try:
        with warnings.catch_warnings(), mock.patch.object(module, "_run_slow_mode_and_get_error", _unexplained):
            warnings.simplefilter("ignore")  # that the inputs are not in double precision
            torch.autograd.gradcheck(lambda *xs: _torch_function()(forward, backward, *xs), inputs, fast_mode=fast_mode)
    except module.GradcheckError:
        return "fail"
    return "pass"


def check_with_jax(forward: Forward, backward: Backward, args: tuple[np.ndarray, ...], seed: int) -> str:  # noqa: ARG001
    """JAX draws from a seed of its own, always the same."""
    import jax
    from jax.test_util import check_grads

    caches = []

    def run(*xs):
        out, cache = forward(*(np.array(x) for x in xs))
        caches.append(cache)
        return jax.numpy.asarray(out)

    def pull(at, dout):
        return tuple(jax.numpy.asarray(gradient) for gradient in backward(np.array(dout)[()], caches[int(at)]))

    function = jax.custom_vjp(run)
    function.defvjp(lambda *xs: (run(*xs), len(caches) - 1), pull)
    try:
        with jax.enable_x64(True):
            check_grads(function, args, order=1, modes=("rev",))
    except AssertionError:
        return "fail"
    return "pass"


@functools.cache
def _autograd_primitive() -> Any:
    from autograd.extend import defvjp_argnums, primitive

    @primitive
    def run(caches, forward, backward, *args):  # noqa: ARG001  (the pullback takes the backward)
        out, cache = forward(*args)
        caches[:] = [cache]
        return out

    def pullback(argnums, ans, args, kwargs):  # noqa: ARG001  (autograd's signature)
        caches, _, backward = args[:3]
        cache = caches[0]
        return lambda dout: _picked(backward(dout, cache), argnums)

    defvjp_argnums(run, pullback)
    return run


def _picked(gradients: tuple[np.ndarray, ...], argnums: tuple[int, ...]) -> list[np.ndarray]:
    return [gradients[argnum - 3] for argnum in argnums]


def check_with_autograd(forward: Forward, backward: Backward, args: tuple[np.ndarray, ...], seed: int) -> str:
    from autograd.test_util import check_grads

    run, caches = _autograd_primitive(), []
    with _seeded(seed):
        try:
            check_grads(
                lambda *xs: run(caches, forward, backward, *xs), tuple(range(len(args))), modes=["rev"], order=1
            )(*args)
        except AssertionError:
            return "fail"
    return "pass"


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, from which autograd draws, and restore it."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _as_scalar(
    forward: Forward, backward: Backward, args: tuple[np.ndarray, ...], seed: int
) -> tuple[Callable[[np.ndarray], float], Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Return ⟨ȳ, f⟩ and its claimed gradient as functions of the vector of all arguments, and that vector."""
    ends = np.cumsum([arg.size for arg in args])[:-1]
    dtype = args[0].dtype
    caches = []

    def run(vector):
        parts = np.split(np.asarray(vector), ends)
        out, cache = forward(*(part.reshape(arg.shape).astype(dtype) for part, arg in zip(parts, args, strict=True)))
        caches[:] = [cache]
        return out

    x0 = np.concatenate([arg.ravel() for arg in args])
    y_bar = np.random.default_rng(seed).standard_normal(np.shape(run(x0)))

    def gradient(vector):
        run(vector)
        gradients = backward(y_bar.astype(dtype)[()], caches[0])
        return np.concatenate([np.ravel(one).astype(np.float64) for one in gradients])

    return lambda vector: float(np.sum(y_bar * run(vector))), gradient, x0


def check_with_scipy(forward: Forward, backward: Backward, args: tuple[np.ndarray, ...], seed: int) -> str:
    from scipy.optimize import check_grad

    function, gradient, x0 = _as_scalar(forward, backward, args, seed)
    norm = float(np.linalg.norm(gradient(x0)))
    return "pass" if check_grad(function, gradient, x0) <= RELATIVE * norm else "fail"


def check_with_numdifftools(forward: Forward, backward: Backward, args: tuple[np.ndarray, ...], seed: int) -> str:
    import numdifftools

    function, gradient, x0 = _as_scalar(forward, backward, args, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measured = numdifftools.Gradient(function, full_output=True)(x0)
    apart = np.abs(gradient(x0) - measured.estimate)
    allowed = np.maximum(np.ravel(measured.error_estimate), MYGRAD + MYGRAD * np.abs(measured.estimate))
    return "pass" if np.all(apart <= allowed) else "fail"


OURS = "gradcheck"
PEERS = (
    Peer(OURS, "gradcheck", np.inf, check_with_gradcheck),
    Peer("torch gradcheck, slow", "torch", 1000, check_with_torch),
    Peer("torch gradcheck, fast", "torch", np.inf, functools.partial(check_with_torch, fast_mode=True)),
    Peer("jax check_grads", "jax", np.inf, check_with_jax),
    Peer("autograd check_grads", "autograd", np.inf, check_with_autograd),
    Peer("scipy check_grad", "scipy", 1000, check_with_scipy),
    Peer("numdifftools", "numdifftools", 100, check_with_numdifftools),
)
