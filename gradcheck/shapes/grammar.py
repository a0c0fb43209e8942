"""The grammar of a specification, read from left to right. Level 0.

    specification = argument {"," argument} [";" condition {"," condition}]
    argument      = NAME ":" part  |  NAME "in" value {value}  |  NAME "=" value  |  NAME
    part          = ["tuple"] "[" part {"," part} "]"  |  "{" NAME ":" part {"," NAME ":" part} "}"
                  | sizes [kind] {rule}
    sizes         = {size}  |  "(" size "," {size ","} ")"  |  "(" ")"
    size          = NAME  |  INTEGER  |  expression  |  "*" NAME
    kind          = "float" | "float32" | "complex" | "int" | "bool"
    rule          = (">" | ">=" | "<" | "<=") size  |  "in" size size  |  "away" "from" size  |  "scale" size  |  family
    condition     = NAME "in" value {value}  |  size (comparison) size

docs/shapes.md has what each of them means.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from keyword import iskeyword
from typing import Any

from gradcheck.shapes.expressions import KEYWORDS, Expression, begins, expression
from gradcheck.shapes.parts import Array, Axes, Group, Part, Setting, Size
from gradcheck.shapes.text import Tokens
from gradcheck.shapes.values import FAMILIES

__all__ = ["Condition", "Grammar", "read"]

KINDS = ("float", "float32", "complex", "int", "bool")
OF_KIND = {  # families besides those of floats
    "int": frozenset({"distinct"}),
    "bool": frozenset({"lower", "upper"}),
    "complex": frozenset[str](),
}
UNORDERED = ("bool", "complex")
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Condition:
    """What sizes have to obey: two expressions and how they compare."""

    left: Expression
    sign: str
    right: Expression

    @property
    def text(self) -> str:
        """The condition as it is written."""
        return f"{self.left.text} {self.sign} {self.right.text}"

    def holds(self, sizes: Mapping[str, Any]) -> bool:
        """Whether it holds for some sizes."""
        return COMPARISONS[self.sign](self.left(sizes), self.right(sizes))


@dataclass(frozen=True)
class Grammar:
    """What a text says: the arguments in its order, the values to choose from, the conditions, and each as written."""

    parts: dict[str, Part]
    choices: dict[str, tuple[Any, ...]]
    conditions: tuple[Condition, ...]
    written: dict[str, str]


def read(text: str) -> Grammar:
    """Return what a text says.

    Raises:
        ValueError: it is not of the grammar; the message points at the first character that is not.
    """
    tokens = Tokens(text)
    parts: dict[str, Part] = {}
    choices: dict[str, tuple[Any, ...]] = {}
    conditions: list[Condition] = []
    written: dict[str, str] = {}
    while tokens.next.kind != "end" and tokens.next.text != ";":
        name, start = tokens.next.text, tokens.next.start
        _argument(tokens, parts, choices)
        written[name] = text[start : tokens.next.start].strip()
        if not tokens.takes(","):
            break
    if tokens.takes(";"):
        while tokens.next.kind != "end":
            _condition(tokens, choices, conditions)
            if not tokens.takes(","):
                break
    if tokens.next.kind != "end":
        tokens.refuse("separate arguments by commas, and conditions from them by a semicolon")
    return Grammar(parts, choices, tuple(conditions), written)


def _argument(tokens: Tokens, parts: dict[str, Part], choices: dict[str, tuple[Any, ...]]) -> None:
    start = tokens.next
    clear = (":", "=") if start.text in KINDS else (":", "=", "in")  # an argument may be called scale, or lower
    is_named = start.kind == "name" and not iskeyword(start.text) and tokens.after.text in clear
    name = tokens.take().text if is_named else _name(tokens, "name an argument here")
    if name in parts:
        tokens.refuse(f"name each argument once, and {name} is one already", start)
    if tokens.takes(":"):
        parts[name] = _part(tokens)
    elif tokens.takes("="):
        parts[name] = Setting(_value(tokens, "give a setting a value"))
    else:
        parts[name] = Size(name)
        if tokens.takes("in"):
            choices[name] = _values(tokens)


def _name(tokens: Tokens, what: str) -> str:
    if tokens.next.kind != "name":
        tokens.refuse(what)
    if tokens.next.text in KEYWORDS or iskeyword(tokens.next.text):
        tokens.refuse(f"{what}, and {tokens.next.text!r} has a meaning of its own", hint="Choose another name.")
    return tokens.take().text


def _values(tokens: Tokens) -> tuple[Any, ...]:
    values = [_value(tokens, "have values to choose from after 'in'")]
    while tokens.next.kind in ("name", "number", "string") or tokens.next.text == "-":
        values.append(_value(tokens, "have a value here"))
    return tuple(values)


def _value(tokens: Tokens, what: str) -> Any:
    """Read a number, a word or a string; True, False and None are what they are in Python."""
    sign = "-" if tokens.takes("-") else ""
    token = tokens.next
    if token.kind not in (("number",) if sign else ("number", "string", "name")):
        tokens.refuse(what)
    tokens.take()
    is_word = token.kind == "name" and token.text not in ("True", "False", "None")
    return token.text if is_word else ast.literal_eval(sign + token.text)


def _condition(tokens: Tokens, choices: dict[str, tuple[Any, ...]], conditions: list[Condition]) -> None:
    if tokens.next.kind == "name" and tokens.after.text == "in":
        start = tokens.next
        name = _name(tokens, "name a size here")
        if name in choices:
            tokens.refuse(f"say once what {name} is chosen from", start)
        tokens.take()
        choices[name] = _values(tokens)
        return
    left = expression(tokens)
    if tokens.next.text not in COMPARISONS:
        tokens.refuse("compare two sizes here, as in kh <= H, or name the values of one, as in N in 1 2 5")
    sign = tokens.take().text
    conditions.append(Condition(left, sign, expression(tokens)))


# -- one argument


def _part(tokens: Tokens) -> Part:
    kind = tuple if tokens.takes("tuple") else list
    if tokens.takes("["):
        return Group(kind, _several(tokens))
    if kind is tuple:
        tokens.refuse("have the parts of a tuple in square brackets, as in tuple[n h, n h]")
    return _dict(tokens) if tokens.takes("{") else _array(tokens)


def _several(tokens: Tokens) -> tuple[Part, ...]:
    parts = []
    while tokens.next.text != "]":
        parts.append(_part(tokens))
        if not tokens.takes(","):
            break
    tokens.must_take("]", "close what a container holds with ]")
    return tuple(parts)


def _dict(tokens: Tokens) -> Group:
    found: dict[str, Part] = {}
    while tokens.next.text != "}":
        start = tokens.next
        key = ast.literal_eval(tokens.take().text) if start.kind == "string" else _name(tokens, "name a key here")
        if key in found:
            tokens.refuse(f"name each key once, and {key} is one already", start)
        tokens.must_take(":", "have a colon after a key")
        found[key] = _part(tokens)
        if not tokens.takes(","):
            break
    tokens.must_take("}", "close what a dict holds with }")
    return Group(dict, tuple(found.values()), tuple(found))


def _array(tokens: Tokens) -> Array:
    start = tokens.next
    dims = _dims(tokens)
    kind = tokens.take().text if tokens.next.text in KINDS else None
    array = ruled = Array(dims, kind or "float")
    while tokens.next.text in RULES or tokens.next.text in FAMILIES:
        ruled = _rule(tokens, ruled)
    if dims is None and kind is None and ruled == array:
        tokens.refuse("have sizes after a colon, or say which number it is (float, int)", start)
    if ruled.kind == "int" and ruled.high is None:
        tokens.refuse("bound integers from above, as in int < M or int in 0 9")
    return ruled


def _dims(tokens: Tokens) -> tuple[Expression | Axes, ...] | None:
    """Read the sizes of an array, in the form of an annotation or in that of NumPy; None where there are none."""
    dims: list[Expression | Axes] = []
    if tokens.next.text == "(" and _is_shape(tokens):
        tokens.take()
        while tokens.next.text != ")":
            dims.append(_dim(tokens))
            if not tokens.takes(","):
                break
        tokens.must_take(")", "close a shape with )")
        return tuple(dims)
    while begins(tokens) or tokens.next.text in ("*", "..."):
        dims.append(_dim(tokens))
    return tuple(dims) or None


def _is_shape(tokens: Tokens) -> bool:
    """Whether the bracket that is next is a shape, which holds a comma or nothing, and not part of a size."""
    depth = 0
    for each in tokens.rest:
        depth += (each.text == "(") - (each.text == ")")
        if (depth == 1 and each.text == ",") or (depth == 0 and tokens.after.text == ")"):
            return True
        if depth == 0:
            return False
    return False


def _dim(tokens: Tokens) -> Expression | Axes:
    start = tokens.next
    if tokens.takes("..."):
        return Axes("...", start.start)
    if tokens.takes("*"):
        return Axes(_name(tokens, "name several axes after a star, as in *batch"), start.start)
    return expression(tokens)


RULES = frozenset({"<", "<=", ">", ">=", "in", "away", "scale"})


def _rule(tokens: Tokens, array: Array) -> Array:
    """Read one rule; it may not say again, or otherwise, what another one says."""
    token = tokens.take()
    rule = token.text
    floats = array.kind.startswith("float")
    if rule in FAMILIES and (floats or rule in OF_KIND[array.kind]) and not (array.family or array.away):
        if not (floats and (array.low or array.high)):
            return replace(array, family=rule)
    elif rule == "scale" and (floats or array.kind == "complex") and array.scale is None:
        return replace(array, scale=expression(tokens))
    elif rule == "away" and floats and not (array.family or array.low or array.high or array.away):
        tokens.must_take("from", "say what values are away from, as in away from 0")
        return replace(array, away=expression(tokens))
    elif rule in ("<", "<=", ">", ">=", "in") and array.kind not in UNORDERED and not array.away:
        wanted = ("low", "high") if rule == "in" else ("low",) if rule[0] == ">" else ("high",)
        if all(getattr(array, name) is None for name in wanted) and not (floats and array.family):
            bounds = {name: expression(tokens) for name in wanted}
            bounds = bounds if floats else _of_integers(rule, bounds)
            return replace(array, low=bounds.get("low", array.low), high=bounds.get("high", array.high))
    return tokens.refuse(f"say of {array.kind} values only what agrees with the rest", token)


def _of_integers(rule: str, bounds: dict[str, Expression]) -> dict[str, Expression]:
    """Return the bounds of integers: the first, and the one after the last."""
    after = {">": "low", "<=": "high", "in": "high"}.get(rule)
    return {name: replace(each, tree=("+", each.tree, 1)) if name == after else each for name, each in bounds.items()}
