"""Complex arrays, and arrays of other libraries ↔ the real ones of NumPy that a check moves and measures. Level 1.

A complex array z is two real ones to a check, and its gradient too: with g = ∂L/∂Re z + i ∂L/∂Im z a loss changes by
Re Σ conj(g) dz = ⟨Re g, Re dz⟩ + ⟨Im g, Im dz⟩, whether or not anything is holomorphic. NumPy code and PyTorch call
this g the gradient (twice the conjugate Wirtinger derivative), and hand it down as the cotangent; JAX, its conjugate.

What a function writes into the arrays that it is handed is written into those of the check, so that a law sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gradcheck.adapters.gradients import pass_on
from gradcheck.adapters.libraries import Kind, in_precision_of, kind_of, made_like, to_numpy
from gradcheck.adapters.signatures import Pair, names_of, pair, signature_of
from gradcheck.arguments import Completing, name_of
from gradcheck.trees import Structure, flatten, leaves, mapped

__all__ = ["CONVENTIONS", "ComplexArray", "Home", "at_home", "is_foreign", "taken"]

CONVENTIONS = {"pytorch": "∂L/∂Re z + i ∂L/∂Im z", "jax": "∂L/∂Re z − i ∂L/∂Im z"}
"""What is called the gradient of a complex z, by who calls it so."""


@dataclass(frozen=True)
class ComplexArray:
    """A complex array as a check moves it."""

    real: Any
    imag: Any


class Form(NamedTuple):
    """What a tree of arrays was, so that one like it is made of the arrays of a check."""

    structure: Structure
    kinds: tuple[Kind | None, ...]

    @classmethod
    def of(cls, tree: Any) -> Form:
        """Return the form of ``tree``."""
        found, structure = flatten(tree)
        return cls(structure, tuple(map(kind_of, found)))

    @property
    def known(self) -> list[Kind]:
        """The kinds of the leaves that are no real arrays of NumPy."""
        return [kind for kind in self.kinds if kind is not None]

    def made(self, tree: Any, *, conjugated: bool = False) -> Any:
        """Return what ``tree`` holds, arrays of a check, in this form; complex ones ``conjugated``.

        Raises:
            TypeError: an array is complex where it stands for the real numbers of another.
        """
        given = (leaf for _, leaf in leaves(tree, ""))
        return self.structure.unflatten(_made(kind, given, conjugated=conjugated) for kind in self.kinds)


class Kept(NamedTuple):
    """The cache of a forward, and what its output was."""

    cache: Any
    out: Form


def is_foreign(tree: Any) -> bool:
    """Whether ``tree`` holds complex numbers, or an array of another library than NumPy."""
    return any(kind_of(leaf) is not None for _, leaf in leaves(tree, ""))


def taken(tree: Any, *, conjugated: bool = False) -> Any:
    """Return ``tree`` with every array as a check takes it: a real one of NumPy, or a ComplexArray of two."""

    def one(leaf: Any) -> Any:
        leaf = to_numpy(leaf)
        if not (isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind == "c"):
            return leaf
        return ComplexArray(np.array(leaf.real), np.array(-leaf.imag if conjugated else leaf.imag))

    return mapped(one, tree)


@dataclass(frozen=True)
class Home:
    """A pair as functions of real arrays of NumPy, and its arguments as these.

    Attributes:
        forward, backward: what is called with the arrays that they know.
        args: the arguments as a check takes them.
        form: what they were.
        paths: of the complex ones among their leaves.
        conjugated: whether complex cotangents and gradients are conjugates of the house's, as in JAX.
        reference: the function in ``jax.numpy`` that takes the same, if there is one.
        seen: the kinds of complex outputs that were met.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    args: tuple[Any, ...]
    form: Form
    paths: tuple[str, ...]
    conjugated: bool
    reference: Callable[..., Any] | None
    seen: set[Kind] = field(default_factory=set)

    @property
    def has_complex(self) -> bool:
        """Whether an argument is complex, or the output was when it was last seen."""
        return bool(self.paths or self.seen)

    def given(self, out: Any, cache: Any) -> tuple[Any, Kept]:
        """Return an output of the forward and its cache as those of the pair."""
        return taken(out), Kept(cache, self.met(out))

    def met(self, out: Any) -> Form:
        """Return the form of an output, and remember the complex kinds in it."""
        form = Form.of(out)
        self.seen.update(kind for kind in form.known if kind.is_complex)
        return form

    def pair(self, turned: tuple[bool, bool] = (False, False)) -> Pair:
        """Return the pair; with complex cotangents, or gradients, ``turned`` into their conjugates."""
        incoming, outgoing = (self.conjugated != each for each in turned)

        def ahead(*values: Any) -> Any:
            with in_precision_of(self.form.known):
                made = self.form.made(values)
                before = taken(made)
                returned = self.forward(*made)
            pass_on(before, taken(made), values)
            if not isinstance(returned, tuple) or len(returned) != 2:
                return returned
            return self.given(*returned)

        def back(dout: Any, kept: Kept) -> Any:
            with in_precision_of((*self.form.known, *kept.out.known)):
                made = kept.out.made(dout, conjugated=incoming)
                before = taken(made, conjugated=incoming)
                returned = self.backward(made, kept.cache)
            pass_on(before, taken(made, conjugated=incoming), dout)
            return taken(returned, conjugated=outgoing)

        parameters = list(signature_of(self.forward).parameters.values())
        return pair(ahead, back, names=(name_of(self.forward), name_of(self.backward)), parameters=parameters)

    def of_arguments(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return another function of the same arguments, which takes them as a check does and returns what it does."""

        def home(*values: Any) -> Any:
            with in_precision_of(self.form.known):
                made = self.form.made(values)
                before = taken(made)
                returned = function(*made)
            pass_on(before, taken(made), values)
            return returned

        home.__name__ = name_of(function)
        return home

    def rule(self, turned: tuple[bool, bool] = (False, False)) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return ``forward`` and ``backward`` as a function and its pushforward, of real arrays of NumPy.

        With complex tangents, or those of the output, ``turned`` into their conjugates.
        """
        incoming, outgoing = turned

        of_made = self.of_arguments(self.forward)

        def function(*values: Any) -> Any:
            out = of_made(*values)
            self.met(out)
            return taken(out)

        def pushforward(primals: Any, tangents: Any) -> Any:
            with in_precision_of(self.form.known):
                made = self.form.made(primals), self.form.made(tangents, conjugated=incoming)
                before = taken(made)
                returned = self.backward(*made)
            if turned == (False, False):
                pass_on(before, taken(made), (primals, tangents))
                return taken(returned)
            if not isinstance(returned, tuple):
                return taken(returned, conjugated=outgoing)
            *out, tangent = returned
            return (*taken(tuple(out)), taken(tangent, conjugated=outgoing))

        function.__signature__ = signature_of(self.forward)  # type: ignore[attr-defined]
        function.__name__, pushforward.__name__ = name_of(self.forward), name_of(self.backward)
        return function, pushforward


def at_home(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    args: Sequence[Any],
    reference: Callable[..., Any] | None = None,
    *,
    conjugated: bool = False,
) -> Home:
    """Return a pair of functions of whatever arrays, and its arguments, as a check takes them."""
    if isinstance(forward, Completing):
        args = forward.as_arguments(args)
    args = tuple(args)
    form, names = Form.of(args), names_of(signature_of(forward), len(args))
    named = [leaf for name, value in zip(names, args, strict=False) for leaf in leaves(value, name)]
    paths = tuple(path for (path, _), kind in zip(named, form.kinds, strict=False) if kind and kind.is_complex)
    return Home(forward, backward, taken(args), form, paths, conjugated, reference and _of_parts(reference, form))


def _of_parts(reference: Callable[..., Any], form: Form) -> Callable[..., Any]:
    """Return a function of ``jax.numpy`` as one of real arrays, traced by JAX or not."""
    whole = tuple(kind is not None and kind.is_complex for kind in form.kinds)

    def parted(leaf: Any) -> Any:
        return ComplexArray(leaf.real, leaf.imag) if "complex" in str(getattr(leaf, "dtype", "")) else leaf

    def real(*values: Any) -> Any:
        given = (leaf for _, leaf in leaves(values, ""))
        args = form.structure.unflatten(next(given) + 1j * next(given) if each else next(given) for each in whole)
        return mapped(parted, reference(*args))

    real.__name__ = name_of(reference)
    return real


def _made(kind: Kind | None, given: Iterator[Any], *, conjugated: bool) -> Any:
    if kind is None:
        return next(given)
    array = np.asarray(next(given))
    if array.dtype.kind == "c":
        raise TypeError(f"an array of {kind.dtype} must be moved by real numbers, but they are {array.dtype}")
    if kind.is_complex:
        imag = np.asarray(next(given))
        whole = np.empty(array.shape, np.result_type(array, imag, np.complex64))
        whole.real, whole.imag = array, -imag if conjugated else imag
        array = whole
    return made_like(kind, array)
