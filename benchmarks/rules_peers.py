"""The peers of the bench of rules: each judges the same NumPy rules by its own machinery, at its defaults.

JAX's ``check_grads`` sees a pushforward as a ``custom_jvp`` in forward mode, the rest as a ``custom_vjp`` in reverse
mode, to second order where the rule is the backward of a backward. PyTorch's ``gradcheck`` sees an
``autograd.Function``, and ``gradgradcheck`` one whose backward is another. SciPy's ``approx_derivative`` returns a
matrix and no verdict: more than ``RELATIVE`` of the claimed one's norm counts as wrong. A peer that is not installed is
named and not counted; what it raises for a wrong rule is "fail", anything else that it raises is counted as an error.
Nobody but gradcheck takes a rule that is meant as something else.
"""

from __future__ import annotations

import collections
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.rules_case import Case, Made, leaves, mapped, moves
from gradcheck import from_double_backward, from_hessian_vector_product, from_jacobian

RELATIVE = 1e-6
MATRICES = ("hessian", "jacobian")
Pair = tuple[Callable[..., Any], Callable[..., Any]]


class Peer(NamedTuple):
    """A checker: what has to be installed, which kinds it takes, and ``check`` → whether it accepts a rule."""

    name: str
    package: str
    takes: Callable[[Case, Made], bool]
    check: Callable[[Case, Made, int], bool]


def moving(made: Made) -> list[int]:
    """Return the positions of the arguments that move."""
    chosen = made.settings.get("wrt")
    args = list(made.args.values()) if isinstance(made.args, dict) else made.args
    if chosen == 0:
        return [0]
    return [i for i, arg in enumerate(args) if chosen or all(map(moves, leaves(arg)))]


def settled(made: Made) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[Any, ...], list[int]]:
    """Return a function that puts the moving arguments among the others, the moving ones, and their positions."""
    args = tuple(made.args.values()) if isinstance(made.args, dict) else tuple(made.args)
    where = moving(made)

    def full(moved: Any) -> tuple[Any, ...]:
        by_position = dict(zip(where, moved, strict=True))
        return tuple(by_position.get(i, arg) for i, arg in enumerate(args))

    return full, tuple(args[i] for i in where), where


def pair(case: Case, made: Made) -> Pair:
    """Return forward and backward of a rule that is no pushforward."""
    if case.kind in MATRICES:
        return from_jacobian(made.function, made.rule)
    if case.kind == "product":
        return from_hessian_vector_product(made.function, made.rule)
    return from_double_backward(*made.function, made.rule) if case.kind == "double" else (made.function, made.rule)


def numbers(tree: Any) -> Any:
    """Return a tree with arrays of NumPy for leaves."""
    return mapped(lambda leaf: None if leaf is None else np.asarray(leaf), tree)


def each(gradients: Any, count: int) -> tuple[Any, ...]:
    """Return the gradients of the moving arguments as a tuple."""
    if isinstance(gradients, dict):
        gradients = tuple(gradients.values())
    return tuple(gradients)[:count] if isinstance(gradients, tuple) else (gradients,)


def with_jax(case: Case, made: Made, seed: int) -> bool:
    """Ask JAX."""
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads

    full, args, where = settled(made)
    arrays = lambda tree: mapped(jnp.asarray, tree)  # noqa: E731

    def pushforward() -> Any:
        @jax.custom_jvp
        def f(*moved: Any) -> Any:
            return arrays(made.function(*full(numbers(moved))))

        @f.defjvp
        def rule(primals: Any, tangents: Any) -> Any:
            zeros = mapped(lambda leaf: np.zeros(np.shape(leaf)), full(numbers(primals)))
            spread = list(zeros)
            for i, tangent in zip(where, numbers(tangents), strict=True):
                spread[i] = tangent
            out, tangent = made.rule(full(numbers(primals)), tuple(spread))
            like = mapped(lambda leaf: jnp.asarray(leaf).dtype, out)
            kinds = iter(leaves(like))
            return arrays(out), mapped(lambda leaf: jnp.asarray(leaf, next(kinds)), tangent)

        return f

    def reverse(forward: Any, backward: Any) -> Any:
        @jax.custom_vjp
        def f(*moved: Any) -> Any:
            return arrays(forward(*full(numbers(moved)))[0])

        def back(moved: Any, dout: Any) -> Any:
            _, cache = forward(*full(numbers(moved)))
            return tuple(arrays(each(backward(mapped(lambda leaf: leaf[()], numbers(dout)), cache), len(moved))))

        f.defvjp(lambda *moved: (f(*moved), moved), back)
        return f

    def twice() -> Any:
        forward, backward = made.function
        inner = reverse(*pair(case, made))

        @jax.custom_vjp
        def f(*moved: Any) -> Any:
            return arrays(forward(*numbers(moved))[0])

        def back(moved: Any, dout: Any) -> Any:
            gradients = inner(*moved, dout)
            return gradients if isinstance(gradients, tuple) else (gradients,)

        f.defvjp(lambda *moved: (f(*moved), moved), back)
        return f, args[:-1], backward

    np.random.seed(seed)  # noqa: NPY002  (check_grads draws from it)
    with jax.enable_x64(True):
        if case.kind == "pushforward":
            check_grads(pushforward(), tuple(arrays(args)), order=1, modes=("fwd",))
        elif case.kind == "double":
            f, args, _ = twice()
            check_grads(f, tuple(arrays(args)), order=2, modes=("rev",))
        else:
            check_grads(reverse(*pair(case, made)), tuple(arrays(args)), order=1, modes=("rev",))
    return True


def with_torch(case: Case, made: Made, seed: int) -> bool:
    """Ask PyTorch."""
    import torch

    full, args, _ = settled(made)
    shape = iter(())

    def tree(tensors: Any) -> Any:
        nonlocal shape
        shape = iter(tensors)
        return full(mapped(lambda _: next(shape).detach().numpy(), args))

    def tensors(nest: Any) -> tuple[Any, ...]:
        return tuple(torch.from_numpy(np.array(leaf)) for leaf in leaves(nest))

    def function(forward: Any, backward: Any, count: int) -> Any:
        class Rule(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *moved: Any) -> Any:
                ctx.save_for_backward(*moved)
                out = tensors(forward(*tree(moved))[0])
                return out if len(out) > 1 else out[0]

            @staticmethod
            def backward(ctx: Any, *douts: Any) -> Any:
                out, cache = forward(*tree(ctx.saved_tensors))
                cotangents = iter(douts)
                dout = mapped(lambda _: next(cotangents).numpy()[()], out)
                return tensors(each(backward(dout, cache), count))

        return Rule.apply

    def twice() -> Any:
        forward, _ = made.function
        inner = function(*pair(case, made), len(args))

        class Rule(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *moved: Any) -> Any:
                ctx.save_for_backward(*moved)
                return tensors(forward(*(each.detach().numpy() for each in moved))[0])[0]

            @staticmethod
            def backward(ctx: Any, dout: Any) -> Any:
                return inner(*ctx.saved_tensors, dout)

        return Rule.apply

    torch.manual_seed(seed)
    leaf_tensors = [each.requires_grad_() for each in tensors(args)]
    if case.kind == "double":
        return torch.autograd.gradgradcheck(twice(), leaf_tensors[:-1])
    return torch.autograd.gradcheck(function(*pair(case, made), len(args)), leaf_tensors)


def with_scipy(case: Case, made: Made, _seed: int) -> bool:
    """Ask SciPy for the matrix."""
    from scipy.optimize._numdiff import approx_derivative

    full, args, _ = settled(made)
    forward, backward = pair(case, made)
    start = np.concatenate([np.ravel(arg) for arg in args])

    def spread(x: np.ndarray) -> tuple[Any, ...]:
        parts = np.split(x, np.cumsum([np.size(arg) for arg in args])[:-1])
        return full([part.reshape(np.shape(arg)) for part, arg in zip(parts, args, strict=True)])

    def vector(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ravel(leaf) for leaf in leaves(forward(*spread(x))[0])])

    measured = np.atleast_2d(approx_derivative(vector, start))
    out, cache = forward(*spread(start))
    rows = []
    for unit in np.eye(len(measured)):
        parts = iter(np.split(unit, np.cumsum([np.size(leaf) for leaf in leaves(out)])[:-1]))
        dout = mapped(lambda leaf, parts=parts: next(parts).reshape(np.shape(leaf))[()], out)
        rows.append(np.concatenate([np.ravel(leaf) for leaf in each(backward(dout, cache), len(args))]))
    claimed = np.stack(rows)
    return bool(np.linalg.norm(claimed - measured) <= RELATIVE * np.linalg.norm(claimed))


def plain(made: Made) -> bool:
    """Whether all moving arguments are single arrays of doubles."""
    return all(isinstance(arg, np.ndarray) and arg.dtype == float for arg in settled(made)[1])


PEERS = (
    Peer("jax check_grads", "jax", lambda case, made: case.kind != "meant" and jax_takes(case, made), with_jax),
    Peer(
        "torch gradcheck",
        "torch",
        lambda case, made: case.kind not in {"meant", "pushforward"} and made.settings.get("convention") != "jax",
        with_torch,
    ),
    Peer("scipy approx_derivative", "scipy", lambda case, made: case.kind in MATRICES and plain(made), with_scipy),
)


def jax_takes(case: Case, made: Made) -> bool:
    """Whether a case can be said in JAX: complex ones in its own convention, none that is meant as something else."""
    return "surrogate" not in made.settings and (case.kind != "complex" or made.settings.get("convention") == "jax")


def asked(peer: Peer, case: Case, seed: int, bug: str) -> tuple[str, str]:
    """Return what a peer says of a rule, and what it raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "pass" if peer.check(case, case.made(seed, bug), seed) else "fail", ""
    except AssertionError as error:
        return "fail", str(error)
    except Exception as error:  # noqa: BLE001  (a peer raises what it likes)
        refused = type(error).__name__ == "GradcheckError"
        return ("fail" if refused else "error"), f"{type(error).__name__}: {error}"


def survey(
    chosen: list[Case], seeds: int, shows: Callable[[Case, int, str], bool], group: Callable[[Case], str], verbose: bool
) -> int:
    """Ask the peers that are installed; print the counts of every kind, and with ``verbose`` every wrong verdict."""
    for peer in PEERS:
        if importlib.util.find_spec(peer.package) is None:
            print(f"{peer.name} is absent")
            continue
        counts: Any = collections.defaultdict(collections.Counter)
        for case in chosen:
            for seed in range(seeds):
                if not peer.takes(case, case.made(seed)):
                    continue
                for bug in ("", *(bug for bug in case.mistakes if shows(case, seed, bug))):
                    said, why = asked(peer, case, seed, bug)
                    counts[group(case), bool(bug)][said] += 1
                    if verbose and said != ("fail" if bug else "pass") and (said != "error" or not bug):
                        print(f"{peer.name}: {said.upper()} {case.kind}: {case.name} [{bug or 'right'}] {why[:300]}")
        for kind in dict.fromkeys(kind for kind, _ in counts):
            right, wrong = counts[kind, False], counts[kind, True]
            print(
                f"{peer.name:24} {kind:12} right: {right['fail']} failed, {right['error']} errors of {right.total()};"
                f" wrong: {wrong['pass']} passed, {wrong['error']} errors of {wrong.total()}",
                flush=True,
            )
    return 0
