"""What a survey found, and how a person reads it. Level 5."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradcheck.errors import told
from gradcheck.render import Setting, html, spelled, text
from gradcheck.report import Explanation, Finding, Report, Steps, Verdict
from gradcheck.shapes.specification import Sizes
from gradcheck.survey.examples import REFUSED, Example
from gradcheck.survey.needs import Needs

__all__ = ["ShapesReport", "written"]

UNSEEN = 3  # sentences about what no point could have shown


@dataclass(frozen=True)
class ShapesReport:
    """What the checks at many points found together.

    Attributes:
        name: the forward that was checked.
        examples: every point in the order in which they were drawn; not those at which a failure was made smaller.
        report: of a failure that of the smallest sizes; else of the first point that could not be decided; of a pass
            the widest bound and the largest error of every gradient.
        place: the sizes that it speaks of; None where it speaks of all points.
        needs: which sizes a failure needs.
        unseen: what no point could have shown, a sentence each.
        seed: of the whole.
        replay: a line that does it again.
    """

    name: str
    examples: tuple[Example, ...]
    report: Report
    place: Sizes | None
    needs: Needs
    unseen: tuple[str, ...]
    seed: int
    replay: str

    @property
    def verdict(self) -> Verdict:
        """FAIL if a point failed, else INCONCLUSIVE if one was, or the forward refused one, else PASS."""
        return self.report.verdict

    def __bool__(self) -> bool:
        """Whether the verdict is a pass."""
        return bool(self.report)

    @property
    def arguments(self) -> Mapping[str, Finding]:
        """A finding for every gradient."""
        return self.report.arguments

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """Why a failure is wrong, at the smallest sizes."""
        return self.report.explanations

    @property
    def steps(self) -> Steps:
        """The lines of the backward, at the smallest sizes of a failure."""
        return self.report.steps

    @property
    def breached(self) -> bool:
        """Whether the backward returned something that could not be compared at all."""
        return self.report.breached

    @property
    def refusals(self) -> tuple[Example, ...]:
        """The points at which the forward raised, but for empty arrays, which no forward has to take."""
        return tuple(each for each in self.examples if each.verdict == REFUSED and each.why != "empty")

    @property
    def checked(self) -> tuple[Example, ...]:
        """The points at which there was something to check."""
        return tuple(each for each in self.examples if each.report is not None)

    @property
    def shapes(self) -> int:
        """How many different choices of sizes were checked."""
        return len({tuple(each.sizes.items()) for each in self.checked})

    def __str__(self) -> str:
        """Return the report as plain text, in letters that the standard output can show."""
        with self.report.unnoticed():
            return spelled(text(self.report, setting=self._setting), sys.stdout)

    def _repr_html_(self) -> str:
        """Return the report for a notebook."""
        with self.report.unnoticed():
            return html(self.report, self._setting)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data that JSON can hold."""
        return {
            "name": self.name,
            "verdict": str(self.verdict),
            "seed": self.seed,
            "shapes": self.shapes,
            "place": None if self.place is None else dict(self.place),
            "needs": list(self.needs.rules),
            "unseen": list(self.unseen),
            "refusals": [{"sizes": dict(each.sizes), "raised": repr(each.refusal)} for each in self.refusals],
            "examples": [
                {"why": each.why, "sizes": dict(each.sizes), "seed": each.seed, "verdict": each.verdict}
                for each in self.examples
            ],
            "report": self.report.to_dict(),
            "replay": self.replay,
        }

    @functools.cached_property
    def _setting(self) -> Setting:
        points, shapes = len(self.checked), self.shapes
        many = f"at {points} point{'s' * (points != 1)} of {shapes} shape{'s' * (shapes != 1)}"
        if self.place is not None:
            return Setting(f"at {written(self.place)}", [*self._how(), *self._refused()])
        return Setting(many, [], [*self._refused(), *self._blank(), *self._tried(), *self.unseen[:UNSEEN]])

    def _how(self) -> list[str]:
        """Return how the place was found, and what the failure needs."""
        if self.verdict is not Verdict.FAIL:
            number = 1 + next(i for i, each in enumerate(self.examples) if each.sizes == self.place)
            return [f"Found at point {number} of {len(self.examples)}."]
        found = self.examples[-1]
        smaller = "" if found.sizes == self.place else f" at {written(found.sizes)}, and made smaller"
        return [f"Found at point {len(self.examples)}{smaller}.", *([str(self.needs)] if self.needs.rules else [])]

    def _blank(self) -> list[str]:
        """Return at how many points some gradient is too small to be seen: the verdict rests on the others."""
        blank = [each for each in self.examples if each.verdict == Verdict.INCONCLUSIVE]
        if not blank:
            return []
        points = f"{len(blank)} points say" if len(blank) > 1 else "1 point says"
        return [f"{points} nothing of a gradient, which has no effect there, as at {written(blank[0].sizes)}."]

    def _refused(self) -> list[str]:
        return [
            f"{self.name} raised {told(each.refusal)} at {written(each.sizes)}. If such sizes are not meant, say so "
            f"after a semicolon, as in {self._condition()}; else mend the forward."
            for each in self.refusals[:1]
            if each.refusal is not None
        ]

    def _condition(self) -> str:
        """Return the condition that leaves out what the forward refused, and nothing else; an example if none does."""
        for name, size in self.refusals[0].sizes.items():
            refused, taken = ([each.sizes[name] for each in some] for some in (self.refusals, self.checked))
            if type(size) is int and max(refused) < min((value for value in taken if value), default=0):
                return f"; {name} >= {max(refused) + 1}"
        return "; N >= 2"

    def _tried(self) -> list[str]:
        tried = [each.sizes for each in self.checked]
        names = dict.fromkeys(itertools.chain.from_iterable(tried))
        sizes = ", ".join(f"{name} {_spread([each[name] for each in tried])}" for name in names)
        return [f"Tried: {sizes}."] if names else []


def written(sizes: Sizes) -> str:
    """Return sizes as a person reads them."""
    return ", ".join(f"{name}={value!r}" for name, value in sizes.items())


def _spread(values: list[Any]) -> str:
    """Return which values a size had: from the least to the largest, or each setting."""
    different = sorted(set(values), key=repr)
    if all(type(value) is int for value in different):
        return f"{min(different)} to {max(different)}" if len(different) > 1 else str(different[0])
    return ", ".join(map(str, different))
