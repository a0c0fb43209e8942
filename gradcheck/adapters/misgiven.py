"""Which adapter takes a rule that was given to another one. Level 1."""

from __future__ import annotations

import sys
from typing import Any

from gradcheck.adapters.signatures import name_of
from gradcheck.trees import describe

__all__ = ["must_be_for", "must_be_function_for"]

CLASSES = {
    ("torch", "autograd.Function"): "from_torch",
    ("torch", "nn.Module"): "from_torch",
    ("jax", "custom_vjp"): "from_jax",
    ("jax", "custom_jvp"): "from_jax",
}
"""The adapter of the subclasses and the objects of some classes; no library is imported for that."""


def must_be_function_for(adapter: str, rule: Any) -> None:
    """Raise a TypeError unless ``rule`` can be called and is none that another adapter takes."""
    must_be_for(adapter, rule)
    if not callable(rule):
        raise TypeError(f"{adapter} must be given a function, but was given {describe(rule)}.")


def must_be_for(adapter: str, rule: Any) -> None:
    """Raise a TypeError if ``rule`` is one that another adapter takes; the message names it."""
    what, other = _kind(rule)
    if other not in (None, adapter):
        raise TypeError(
            f"{adapter} must be given a rule of another kind, but {name_of(rule)} is {what}. Pass it to {other}."
        )


def _kind(rule: Any) -> tuple[str, str | None]:
    """Return what a rule is, and which adapter takes it; None where that is not known."""
    owner = getattr(rule, "__self__", rule)  # apply is a method of its class
    for (library, name), adapter in CLASSES.items():
        known: Any = sys.modules.get(library)
        for part in name.split("."):
            known = getattr(known, part, None)
        if known and (isinstance(rule, known) or (isinstance(owner, type) and issubclass(owner, known))):
            return f"a {library}.{name}", adapter
    if getattr(rule, "_is_autograd_primitive", False):
        return "a primitive of autograd", "from_autograd"
    methods = (getattr(rule, method, None) for method in ("forward", "backward"))
    if not isinstance(rule, type) and all(map(callable, methods)):
        return "an object with forward and backward", "from_layer"
    return "", None
