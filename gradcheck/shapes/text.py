"""The text of a specification as tokens, and what is said where it cannot be read. Level 0."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

__all__ = ["Token", "Tokens", "pointed"]

_TOKEN = re.compile(
    r"""(?P<number>\d+(\.\d+)?([eE][+-]?\d+)?|\.\d+)
      | (?P<name>[^\W\d]\w*)
      | (?P<string>'[^']*'|"[^"]*")
      | (?P<sign>\.\.\.|\*\*|//|<=|>=|==|!=|[-+*/%<>=:,;()\[\]{}])
      | (?P<blank>\s+)
      | (?P<other>.)""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A word, a number, a string or a sign: its kind, its text, and where it begins. The last one is the end."""

    kind: str
    text: str
    start: int


class Tokens:
    """The tokens of a text, one after the other."""

    def __init__(self, text: str) -> None:
        found = [Token(str(m.lastgroup), m.group(), m.start()) for m in _TOKEN.finditer(text)]
        self.text = text
        self._tokens = [token for token in found if token.kind != "blank"] + [Token("end", "", len(text.rstrip()))]
        self._at = 0

    @property
    def rest(self) -> list[Token]:
        """The tokens from the next one on."""
        return self._tokens[self._at :]

    @property
    def next(self) -> Token:
        """The token that is read next."""
        return self._tokens[self._at]

    @property
    def after(self) -> Token:
        """The one after it; the end again at the end."""
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Read a token."""
        token = self.next
        self._at += token.kind != "end"
        return token

    def takes(self, *texts: str) -> bool:
        """Read a token if it is one of ``texts``; return whether it was."""
        if self.next.text in texts and self.next.kind != "string":
            self.take()
            return True
        return False

    def must_take(self, text: str, what: str) -> None:
        """Read ``text``, or refuse what stands there: ``what`` is said to be expected."""
        if not self.takes(text):
            self.refuse(what)

    def refuse(self, rule: str, token: Token | None = None, *, hint: str = "") -> NoReturn:
        """Raise a ValueError that points at a token, by default the next one: ``shapes must`` obey a ``rule``."""
        token = token or self.next
        came = "the text ends there" if token.kind == "end" else f"there is {token.text!r}"
        raise ValueError(pointed(f"shapes must {rule}, but {came}.{' ' * bool(hint)}{hint}", self.text, token.start))


def pointed(sentence: str, text: str, start: int) -> str:
    """Return a sentence about a text, with the line that it speaks of and a mark under its place."""
    line = text.count("\n", 0, start)
    column = start - (text.rfind("\n", 0, start) + 1)
    return f"{sentence}\n    {text.splitlines()[line] if text else ''}\n    {' ' * column}^"
