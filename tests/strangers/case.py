"""One wrong backward of a stranger, and how one mistake is put into a right one."""

import functools
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from gradcheck import from_layer, from_value_and_gradient
from tests.mutants.mistake import compiled, edited

__all__ = ["Case", "RightAlthough", "from_cost", "from_layers", "normal", "planted", "planted_case"]


class Case(NamedTuple):
    """A backward with one mistake in it.

    Attributes:
        name: whose backward it is, and what its author did.
        forward: the forward, in the house's convention or by an adapter.
        backward: the wrong backward.
        right_backward: the same without the mistake.
        args: from a generator to the arguments of ``forward``.
        mistake: the id that a careful teacher would give it, reading the code.
        wrong: the paths of the arguments whose gradient is wrong.
        also: ids that are the same thing on these inputs, and could honestly be named as well.
        source: whether ``inspect.getsource`` finds the code that holds the mistake.
    """

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    right_backward: Callable[..., Any]
    args: Callable[..., tuple[Any, ...]]
    mistake: str
    wrong: tuple[str, ...]
    also: tuple[str, ...] = ()
    source: bool = True


class RightAlthough(NamedTuple):
    """A right backward, and what people hold against it."""

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    args: Callable[..., tuple[Any, ...]]
    sentence: str


def normal(*shapes, then=()):
    """Return a function from a generator to standard normal arrays of ``shapes``, and ``then``."""
    return lambda rng: (*(rng.standard_normal(shape) for shape in map(_shape, shapes)), *then)


def planted(right, *edits, helpers=(), source=True):
    """Return the function or class ``right`` with fragments of its source, or of its helpers', replaced.

    Each edit is a pair (right fragment, wrong fragment); the right one must occur exactly once. ``source`` is that
    of :func:`tests.mutants.mistake.compiled`.
    """
    text = "\n\n".join(textwrap.dedent(inspect.getsource(each)) for each in (*helpers, right))
    for fragment, _ in edits:
        if text.count(fragment) != 1:
            raise ValueError(
                f"{right.__name__} must hold {fragment!r} once, but holds it {text.count(fragment)} times. "
                "Adapt the edit to the source."
            )
    text, lines = edited(text, *edits)
    return compiled(text, right, source=source, lines=lines)


def planted_case(name, forward, right, args, mistake, wrong, *edits, helpers=(), **rest):
    """Return the case of ``right`` with these edits; ``wrong`` is the paths in one string, ``rest`` other fields."""
    backward = planted(right, *edits, helpers=helpers, source=rest.get("source", True))
    return Case(name, forward, backward, right, args, mistake, tuple(wrong.split()), **rest)


def from_cost(right, wrong):
    """Return the forward of ``right``, the backward of ``wrong`` and that of ``right``.

    Both return the loss and its gradients in one call: ``(loss, {"dW1": gradient})`` or ``(loss, gradient, ...)``.
    """

    @functools.wraps(right)
    def loss(*args):
        return right(*args)[0]

    def gradients_of(function):
        def gradients(*args):
            _, *found = function(*args)
            if isinstance(found[0], dict):
                return {name.removeprefix("d"): gradient for name, gradient in found[0].items()}
            return tuple(found)

        return gradients

    forward, backward = from_value_and_gradient(loss, gradients_of(wrong))
    return forward, backward, from_value_and_gradient(loss, gradients_of(right))[1]


def from_layers(right, wrong, parameters=None):
    """Return the forward of both layers at once, the backward of ``wrong`` and that of ``right``."""
    (right_forward, right_backward), (wrong_forward, wrong_backward) = (
        from_layer(layer, parameters=parameters) for layer in (right, wrong)
    )

    @functools.wraps(wrong_forward)
    def forward(*args):
        out, cache = wrong_forward(*args)
        return out, (cache, right_forward(*args)[1])

    return (
        forward,
        lambda dout, cache: wrong_backward(dout, cache[0]),
        lambda dout, cache: right_backward(dout, cache[1]),
    )


def _shape(shape):
    return shape if isinstance(shape, tuple) else (shape,)
