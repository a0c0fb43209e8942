"""What a forward says of its own arguments, in its annotations and its docstring, as text of a specification. Level 1.

Read are array annotations with the sizes in a string (jaxtyping's ``Float[ndarray, "N D"]``, nptyping's
``NDArray[Shape["N, D"], Float]``, ``Annotated[ndarray, "N D"]``) and ``Literal["sum", "mean"]``; and of a docstring,
its own or that of its module, a paragraph that begins with *Shapes*, ``x (N, D)    W (D, M)``, and lines such as
``x: input data of shape (N, D)``.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gradcheck.arguments import name_of
from gradcheck.shapes.grammar import read
from gradcheck.shapes.parts import Axes, arrays
from gradcheck.shapes.specification import Specification, specified, specified_by

__all__ = ["described", "specification_of"]

_SEVERAL = re.compile(r"(\w+(?:, *\w+)*) *\(([^()]*)\)")  # x, y (N, D)
_LINE = re.compile(r"^\s*[-*]?\s*(\w+)\s*:.*?\bshape\s*(?:of\s*|=\s*)?\(([^()]*)\)", re.MULTILINE)
_SIZES = re.compile(r"[\w\s,*+/().-]*")  # what may stand between the brackets of a shape
_EMPTY = inspect.Parameter.empty


def specification_of(
    forward: Callable[..., Any], text: str | None, args: Callable[..., tuple[Any, ...]] | None = None
) -> Specification:
    """Return the specification of the arguments of a forward.

    ``args(rng, **sizes)`` makes them where a text does not say enough: then the text names sizes and settings alone.

    Raises:
        TypeError, ValueError: as :func:`described`.
    """
    return described(forward, text) if args is None else specified_by(text or "", args)


def described(forward: Callable[..., Any], text: str | None) -> Specification:
    """Return the specification of the arguments of a forward: what ``text`` says, and for the rest what it says itself.

    Raises:
        TypeError: an argument is specified nowhere, or the forward takes none of that name.
        ValueError: the specification cannot be read, or contradicts itself.
    """
    given = read(text or "").written
    conditions = (text or "").partition(";")[2]
    parameters = _parameters(forward)
    if parameters is None:
        return specified(text or "")
    who = name_of(forward)
    if unknown := [name for name in given if name not in parameters]:
        raise TypeError(
            f"shapes must name arguments of {who} ({', '.join(parameters)}), but {unknown[0]} is none. "
            "Name them as its signature does."
        )
    found = {**_of_docstring(forward, parameters), **_of_annotations(forward, parameters), **given}
    sizes = {name for each in found.values() for name in _sizes(each)}
    for name, default in parameters.items():
        if name not in found and name in sizes:
            found[name] = name
        elif name not in found and default is _EMPTY:
            raise TypeError(
                f"shapes must say what {name} of {who} is, but neither it nor an annotation does. "
                f'Write "{name}: N D" for an array, or "{name} in a b" for a setting.'
            )
    last = max((i for i, name in enumerate(parameters) if name in found), default=-1)
    for name in list(parameters)[: last + 1]:
        if name not in found:
            found[name] = f"{name} = {parameters[name]!r}"
    whole = ", ".join(found[name] for name in parameters if name in found)
    return specified(f"{whole};{conditions}" if conditions.strip() else whole)


def _parameters(forward: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the positional parameters and their defaults; None where there may be any."""
    try:
        found = inspect.signature(forward).parameters.values()
    except (ValueError, TypeError):
        return None
    if any(each.kind is each.VAR_POSITIONAL for each in found):
        return None
    return {each.name: each.default for each in found if each.kind not in (each.KEYWORD_ONLY, each.VAR_KEYWORD)}


def _sizes(text: str) -> Iterator[str]:
    for part in read(text).parts.values():
        for array in arrays(part):
            for each in array.axes():
                yield from () if isinstance(each, Axes) else each.names


def _of_annotations(forward: Callable[..., Any], parameters: Iterable[str]) -> dict[str, str]:
    try:
        hints = typing.get_type_hints(forward, include_extras=True)
    except Exception:  # noqa: BLE001  (an annotation is the user's, and may be a string of anything)
        hints = getattr(forward, "__annotations__", {})
    found: dict[str, str] = {}
    for name in parameters:
        hint = hints.get(name)
        values = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        if values and all(isinstance(value, str | int | None) for value in values):
            found[name] = f"{name} in {' '.join(map(repr, values))}"
        elif (said := _annotated(hint)) is not None:
            found[name] = f"{name}: {said}"
    return found


def _annotated(hint: Any) -> str | None:
    """Return what the annotation of an array says, None where it says no shape."""
    if hasattr(hint, "dim_str") and hasattr(hint, "dtypes"):
        return _dims(hint.dim_str.split(), _kind(hint.dtypes))
    if hasattr(hint, "__metadata__"):
        texts = [each for each in hint.__metadata__ if isinstance(each, str) and _SIZES.fullmatch(each)]
        return _dims(texts[0].split(), "") if texts else None
    inner = typing.get_args(hint) or getattr(hint, "__args__", None) or ()
    for each in inner:
        if type(each).__name__ == "ShapeMeta":
            return _dims([dim.split()[0] for dim in each.__args__[0].split(",")], _kind([inner[-1].__name__]))
        if said := _annotated(each):
            return said
    return None


def _dims(dims: Iterable[str], kind: str) -> str:
    """Return sizes as a specification writes them: those that are only annotated otherwise lose their marks."""
    written = [dim.lstrip("#?").partition("=")[2] or dim.lstrip("#?") for dim in dims]
    return f"{' '.join(written) or '()'}{kind}"


def _kind(dtypes: Iterable[Any]) -> str:
    names = [str(dtype) for dtype in dtypes]
    for kind in ("float", "complex", "bool", "int"):
        if any(name.startswith((kind, f"u{kind}")) for name in names):
            return f" {kind}" if kind != "float" else " float32" if names == ["float32"] else ""
    return ""


def _of_docstring(forward: Callable[..., Any], parameters: Iterable[str]) -> dict[str, str]:
    wanted = set(parameters)
    found: dict[str, str] = {}
    module = sys.modules.get(getattr(forward, "__module__", ""))
    for text in (getattr(module, "__doc__", None) or "", getattr(forward, "__doc__", None) or ""):
        shapes = [each for each in re.split(r"\n\s*\n", text) if each.lstrip().startswith("Shapes")]
        lines = [pair for each in shapes for pair in _SEVERAL.findall(each)] + _LINE.findall(text)
        for names, dims in lines:
            if _SIZES.fullmatch(dims) and "..." not in dims:
                said = " ".join(dim.strip().replace(" ", "") for dim in dims.split(",") if dim.strip()) or "()"
                found.update({name: f"{name}: {said}" for name in re.findall(r"\w+", names) if name in wanted})
    return found
