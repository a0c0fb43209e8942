"""Real data for the recurrent nets: The Zen of Python, which every Python carries, character by character."""

import codecs
import sysconfig
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray


def zen() -> str:
    """Return The Zen of Python by Tim Peters (PEP 20), 856 characters of 45 kinds.

    Raises:
        FileNotFoundError: this Python's standard library is not kept as source files.
    """
    # Importing the module would print the text; its source holds it, rotated by 13 letters, between triple quotes.
    source = Path(sysconfig.get_path("stdlib"), "this.py").read_text(encoding="utf-8")
    return codecs.decode(source, "rot13").split('"""')[1]


def next_characters(T: int, n: int) -> tuple[Float64[ndarray, "{T} {n} V"], Int[ndarray, "{T} {n}"]]:
    """Return n stretches of T characters, one-hot (T, n, V), and the character that follows each, as number (T, n).

    The n stretches lie one after the other in the text. V is the number of different characters of the whole text.

    Raises:
        ValueError: n stretches of T characters are more than the text holds.
    """
    text = zen()
    if T * n >= len(text):
        raise ValueError(
            f"next_characters must be asked for less than {len(text)} characters, but T * n is {T * n}. Lower T or n."
        )
    alphabet, codes = np.unique(list(text), return_inverse=True)
    x = codes[: T * n].reshape(n, T).T
    labels = codes[1 : T * n + 1].reshape(n, T).T
    return np.eye(len(alphabet))[x], labels
