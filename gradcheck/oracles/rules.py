"""A reference that has a derivative rule of its own judges that rule by itself: it is refused. Level 1.

JAX differentiates a function under ``jax.custom_vjp`` by calling its rule, which is what is under test. Rules that
installed packages bring (``jax.nn.relu`` has one) are theirs to answer for.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gradcheck.arguments import name_of
from gradcheck.oracles.estimate import OracleError

__all__ = ["must_have_no_rule"]

INSTALLED = tuple(Path(sysconfig.get_path(each)) for each in ("stdlib", "purelib", "platlib"))


def must_have_no_rule(jax: Any, reference: Callable[..., Any], function: Callable[[Any], Any], moving: Any) -> None:
    """Raise an OracleError if ``reference`` is, or calls, a function with a rule that its author wrote.

    ``function(moving)`` calls the reference with the arrays that move. Inside it only ``custom_vjp`` is looked for.
    """
    if isinstance(reference, jax.custom_vjp | jax.custom_jvp):
        code = getattr(reference.__wrapped__, "__code__", None)
        if code and not _is_installed(code.co_filename):
            raise OracleError(_message(name_of(reference), name_of(reference)))
    try:
        jaxpr = jax.make_jaxpr(function)(moving).jaxpr
    except jax.errors.JAXTypeError:  # it wants to see a number: there is nothing to be read
        return
    for equation in _equations(jaxpr):
        if equation.primitive.name.startswith("custom_vjp_call"):
            inner = equation.params.get("call_jaxpr")
            info = getattr(getattr(inner, "jaxpr", None), "debug_info", None)
            name, _, file = getattr(info, "func_src_info", "").partition(" at ")
            if file and not _is_installed(file.rpartition(":")[0]):
                raise OracleError(_message(name_of(reference), name))


def _message(reference: str, rule: str) -> str:
    inside = "it has" if rule == reference else f"it calls {rule}, which has"
    return (
        f"{reference} must be differentiated by JAX to be a reference, but {inside} a derivative rule of its own, "
        f"which would judge itself. Pass the function without it: {rule}.__wrapped__."
    )


def _is_installed(file: str) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in INSTALLED)


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Yield the equations of a jaxpr and of those inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)
