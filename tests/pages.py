"""Pages of documentation whose tables hold calls: what is read off them, and run."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from gradcheck import GradientError

DOCS = Path(__file__).parent.parent / "docs"

# where the calls of a package lie, which its name alone does not import
PEERS = {
    "autograd": "autograd.test_util",
    "jax": "jax.test_util",
    "numdifftools": "numdifftools",
    "openmdao": "openmdao.utils.assert_utils",
    "pytensor": "pytensor.gradient",
    "scipy": "scipy.optimize",
    "statsmodels": "statsmodels.tools.numdiff",
    "tensorflow": "tensorflow",
    "torch": "torch.autograd",
}


@dataclass(frozen=True)
class Call:
    """A call that a table shows, and the code that stands above its table.

    Attributes:
        title: the heading that both stand under.
        code: the functions and the point of the call.
        text: the call.
        is_ours: whether it is one of gradcheck's.
    """

    title: str
    code: str
    text: str
    is_ours: bool

    def __str__(self) -> str:
        """Return what a test of it is called."""
        return f"{self.title.partition(',')[0]}: {self.text}"

    @property
    def packages(self) -> set[str]:
        """What has to be installed for it, NumPy and gradcheck apart."""
        imported = set(re.findall(r"^(?:import|from) (\w+)", self.code, re.MULTILINE))
        named = {package for package in PEERS if re.search(rf"\b{package}\.", self.text)}
        return (imported | named) - {"numpy", "gradcheck"}

    def passes(self, *slips: tuple[str, str]) -> bool:
        """Whether the call lets the rules pass, with each slip (what stands in the code, and what instead) made.

        Of a peer the answer False counts as well as an exception: some return what they compared.
        """
        code = self.code
        for right, wrong in slips:
            assert right in code, f"{right!r} is not in the code under {self.title!r}"
            code = code.replace(right, wrong)
        namespace: dict[str, object] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of other people's packages
            exec(code, namespace)  # noqa: S102  (it is ours, and to run it is the point)
            for package in self.packages & set(PEERS) if not self.is_ours else ():
                import_module(PEERS[package])
                namespace.setdefault(package, import_module(package))
            failure = GradientError if self.is_ours else Exception
            try:
                answer = eval(self.text, namespace)  # noqa: S307  (likewise)
            except failure:
                return False
        return answer is None or bool(answer)


def calls_of(page: str) -> list[Call]:
    """Return the calls in the tables of a page: whatever fills a cell as code. Ours begin with ``check_``."""
    found, title, code = [], "", ""
    text = (DOCS / page).read_text(encoding="utf-8")
    for heading, block, row in re.findall(r"^## (.*)$|^```python\n([\s\S]*?)^```|^\| (.*) \|$", text, re.MULTILINE):
        title, code = heading or title, block or code
        shown = (re.fullmatch(r"`([^`]+)`", cell) for cell in row.split(" | "))
        found += [Call(title, code, each[1], each[1].startswith("check_")) for each in shown if each]
    return found
