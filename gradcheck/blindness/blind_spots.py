"""Which mistakes the inputs of a check could not have revealed, why, and which change of them would. Level 5.

The forward is recorded, and its true cotangents are found by one sweep back over the recording. The same sweep with one
operation pulled back wrongly gives what somebody gets who makes that mistake in his derivation. Where that is the same
gradient here, it cannot be seen here. It is called a blind spot of the *inputs* only if it is another gradient on other
inputs; what was special about the inputs is what those lack.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.arguments import Arguments, Chosen, name_of
from gradcheck.blindness.roles import BATCH, hidden_by, role_of
from gradcheck.blindness.spots import BlindSpot, BlindSpots
from gradcheck.blindness.sweeps import Swept
from gradcheck.blindness.variations import Args, Variation, variations
from gradcheck.calls import Calls, answering
from gradcheck.mistakes import CATALOGUE
from gradcheck.oracles import central_difference
from gradcheck.pairing import call
from gradcheck.report import Finding, Verdict
from gradcheck.settings import must_be_functions, must_be_seed
from gradcheck.steps.slips import Slip, slips
from gradcheck.trees import Array, leaves, rebuild
from gradcheck.verdict.judge import VACUOUS
from gradcheck.verdict.laws import match_gradients, split_forward
from gradcheck.verdict.subject import Backward, Claim, Forward, Subject

__all__ = ["blind_spots"]

STREAM = 0x626C696E  # our own: default_rng(seed) may have drawn the user's arguments, which no cotangent must equal
EQUAL = 1e-13  # relative: gradients that differ by no more are the same, to any check
OTHER = 1e-6  # and by no less are others
SHOWN = 2  # wrong backwards that are named for one blind spot
SLIPS = 400  # that are tried

Gradients = dict[str, Array]


def blind_spots(
    forward: Forward, backward: Backward, args: Sequence[Any], *, wrt: Chosen = None, seed: int | None = None
) -> BlindSpots:
    """Return which mistakes in a backward of ``forward`` a check on ``args`` could not reveal.

    Combine those of several inputs with ``&``. Each statement was tried: a backward with that mistake passes the check
    on ``args``, and has other gradients on inputs that differ in what is said; for an axis of size 1 a few follow from
    what the forward does along it (no sum over one sample differs from a mean). Of a forward that cannot be recorded,
    such as one in C, only these are told.

    Args:
        forward: ``forward(*args) -> (out, cache)``.
        backward: ``backward(dout, cache) -> gradients``, which has to be right.
        args: the arguments of one call of the forward.
        wrt: names or positions of the arguments that move; by default every float array does.
        seed: of the cotangents and the other inputs.

    Raises:
        ValueError: the pair does not pass the check on ``args``; then there is no right backward to start from.
        TypeError: as :func:`gradcheck.examine_backward`.
    """
    must_be_functions({"forward": forward, "backward": backward}, {})
    must_be_seed(seed)
    arguments = Arguments.of(forward, args, wrt)
    with answering("the pair", ()):
        return _Search(forward, backward, arguments, seed or 0, widen=wrt is None).run()


class _Search:
    """The search for blind spots at one point."""

    def __init__(self, forward: Forward, backward: Backward, arguments: Arguments, seed: int, *, widen: bool) -> None:
        self.forward, self.backward, self.seed = forward, backward, seed
        self.claim, self.findings, verdict = self._examined(forward, backward, arguments, widen=widen)
        if verdict is not Verdict.PASS and not _all_vacuous(self.findings):
            wrong = [f"d{path}" for path, finding in self.findings.items() if finding.verdict is verdict]
            word = "fails" if verdict is Verdict.FAIL else "is undecided"
            raise ValueError(
                f"blind_spots must be given a pair that passes the check, but {name_of(backward)} {word}"
                f"{' for ' if wrong else ''}{', '.join(wrong)}. Run check_backward, and mend what it finds first."
            )
        self.arguments = self.claim.arguments
        self.wrt = self.arguments.layout.paths
        self.batched = False  # whether it is known which axis is the batch

    def run(self) -> BlindSpots:
        here = self._swept(None)
        hidden = (
            [slip for slip in itertools.islice(slips(here.run), SLIPS) if self._is_hidden(slip, here)] if here else []
        )
        spots, alike = list(self._vacuous()), list[BlindSpot]()
        for variation in variations(self.arguments, self._usable, np.random.default_rng((self.seed, STREAM, 1))):
            if not (hidden or variation.longer):
                continue
            spots += self._told_by(variation, here, hidden)
            alike += self._alike(variation)
        return BlindSpots(name_of(self.forward), tuple(_merged(spots)), tuple(alike[:1]))

    def _told_by(self, variation: Variation, here: Swept | None, hidden: list[Slip]) -> Iterator[BlindSpot]:
        """Yield what a variation reveals, and take it off what is hidden."""
        there = self._swept(variation.args) if hidden else None
        shown = [slip for slip in hidden if there and self._shows(slip, there, variation)]
        roles = self._by_role(variation) if variation.longer else ()
        if not (shown or roles):
            return
        if self._verdict(self.backward, variation.args) is not Verdict.PASS:
            return
        named: dict[str, list[str]] = {mistake: [] for mistake in roles}
        for slip in shown:
            hidden.remove(slip)
            mistake = there.regulariser(slip) or slip.mistake if there else slip.mistake
            rest = named.get(mistake, [])
            if here and len(rest) < SHOWN and self._verdict(here.backward(slip), None) is Verdict.PASS:
                line = f"{slip.site.name} in line {slip.site.line} of {slip.site.function}"
                named.setdefault(mistake, []).append(f"{line} {slip.said}")
        for mistake, unseen in named.items():
            yield BlindSpot(mistake, variation.why, variation.change, tuple(unseen[:SHOWN]))

    # -- at the point

    def _swept(self, args: Args | None) -> Swept | None:
        """Return the sweep back at a point; None where it does not give the gradients of the backward."""
        try:
            swept = Swept.of(self.forward, self._at(args))
        except Exception:  # noqa: BLE001  (a forward that cannot be recorded tells nothing)
            return None
        theirs, ours = (self._gradients(backward, args) for backward in (self.backward, swept.backward()))
        agree = theirs and ours and all(_apart(ours.get(path), g) <= OTHER for path, g in theirs.items())
        return swept if agree else None

    def _is_hidden(self, slip: Slip, here: Swept) -> bool:
        """Whether a check here could not tell a slip from the truth."""
        bounds = {path: max(finding.bound, EQUAL) for path, finding in self.findings.items()}
        return here.takes_part(slip) and not _differs(here, slip, bounds)

    def _shows(self, slip: Slip, there: Swept, variation: Variation) -> bool:
        """Whether other inputs reveal a slip."""
        if not _differs(there, slip, dict.fromkeys(self.findings, OTHER)):
            return False
        return not variation.at_kinks or self._verdict(there.backward(slip), variation.args) is Verdict.FAIL

    def _vacuous(self) -> Iterator[BlindSpot]:
        for path, finding in self.findings.items():
            if finding.reason == VACUOUS:
                change = f"Draw inputs on which the output depends on {path}."
                yield BlindSpot("I2", f"d{path} is zero here", change, (f"d{path} multiplied by any number",))

    # -- elsewhere

    def _by_role(self, variation: Variation) -> tuple[str, ...]:
        """Return the mistakes that one sample, or one step, hides by what it is."""
        role = self._role(variation, variation.args) if variation.why.endswith(" is 1") else None
        if role is None or (role in BATCH and self.batched):
            return ()
        self.batched = self.batched or role in BATCH  # and no other axis is
        return hidden_by(role, dict(variation.longer), _shapes(self.arguments))

    def _alike(self, variation: Variation) -> Iterator[BlindSpot]:
        """Yield what shows here and cannot be told from something else."""
        name = variation.why.removesuffix(" is only 2")
        if name != variation.why and self._role(variation, self.arguments.fresh()) in BATCH:
            why = f"{name} is 2, so that a factor of the batch (A2) looks like any factor 2 (A4)"
            yield BlindSpot("A2", why, f"Draw {name} of at least 3.")

    def _role(self, variation: Variation, args: Args) -> str | None:
        """Return what the axes of a variation are for, by arguments in which they have size 2."""
        axes = dict(variation.longer)
        if len(axes) < len(variation.longer):
            return None
        try:
            return role_of(self.forward, self.arguments.names, args, axes)
        except Exception:  # noqa: BLE001  (a forward that refuses one of the slices tells nothing)
            return None

    def _usable(self, args: Args) -> bool:
        return self._gradients(self.backward, args) is not None

    # -- how a pair is run

    def _subject(self, forward: Forward, backward: Backward) -> Subject:
        """Return a pair under examination; its first cotangent is that of any other with outputs of the same shape."""
        called, rng = Calls().called, np.random.default_rng((self.seed, STREAM, 0))
        return Subject(called(forward), called(backward), (central_difference,), None, rng)

    def _at(self, args: Args | None) -> Arguments:
        return self.arguments if args is None else Arguments.of(self.forward, args, self.wrt)

    def _gradients(self, backward: Backward, args: Args | None) -> Gradients | None:
        """Return the gradients of a pair; None where it does not run, or breaks the contract."""
        try:
            arguments = self._at(args)
            with np.errstate(all="ignore"):
                out, cache = split_forward(name_of(self.forward), call(self.forward, arguments.fresh()))
                rng = np.random.default_rng((self.seed, STREAM, 0))
                cotangent = rebuild(out, (_normal_like(leaf, rng) for _, leaf in leaves(out, "out")))
                claims = match_gradients(name_of(backward), call(backward, (cotangent, cache)), arguments)
        except Exception:  # noqa: BLE001  (a wrong backward may raise anything, a forward refuse any inputs)
            return None
        if claims.breach or claims.breaches:
            return None
        return {path: _double(gradient) for path, gradient in claims.gradients.items() if gradient is not None}

    def _verdict(self, backward: Backward, args: Args | None) -> Verdict:
        """Return the verdict of a check; inconclusive where it cannot be run."""
        try:
            with np.errstate(all="ignore"):
                return self._examined(self.forward, backward, self._at(args), widen=False)[2]
        except Exception:  # noqa: BLE001  (as above)
            return Verdict.INCONCLUSIVE

    def _examined(
        self, forward: Forward, backward: Backward, arguments: Arguments, *, widen: bool
    ) -> tuple[Claim, dict[str, Finding], Verdict]:
        subject = self._subject(forward, backward)
        claim = subject.claim(arguments, widen=widen, watch=True)
        breach = claim.gradients.breach
        broken = bool(breach) or bool(subject.broken_laws(claim))
        findings = subject.measure(claim)
        if any(finding.conventions for finding in findings.values()):
            findings = subject.settle_kinks(claim.arguments, findings)
        verdicts = {finding.verdict for finding in findings.values()}
        if Verdict.FAIL in verdicts or broken:
            return claim, findings, Verdict.FAIL
        unanswered = set(claim.arguments.layout.paths) - set(findings)
        undecided = Verdict.INCONCLUSIVE in verdicts or bool(unanswered) or _all_vacuous(findings)
        return claim, findings, Verdict.INCONCLUSIVE if undecided else Verdict.PASS


def _differs(swept: Swept, slip: Slip, least: Mapping[str, float]) -> bool:
    """Whether a slip makes some gradient differ by more than ``least`` of its norm, or gives none at all."""
    right, wrong = swept.gradients(), swept.gradients(slip)
    if right is None or wrong is None:
        return True
    return any(_apart(wrong[path], right[path]) > least.get(path, OTHER) for path in right)


def _shapes(arguments: Arguments) -> dict[str, tuple[int, ...]]:
    return dict(zip(arguments.layout.paths, arguments.layout.shapes, strict=True))


def _all_vacuous(findings: dict[str, Finding]) -> bool:
    return all(finding.reason == VACUOUS for finding in findings.values())


def _apart(wrong: Array | None, right: Array) -> float:
    """Return by which part of the right gradient the wrong one differs; infinite where it is no such gradient."""
    if wrong is None or wrong.shape != right.shape:
        return math.inf
    apart, size = float(np.linalg.norm(wrong - right)), float(np.linalg.norm(right))
    if math.isnan(apart):
        return math.inf
    return apart / size if size else (math.inf if apart else 0.0)


def _merged(spots: Iterable[BlindSpot]) -> list[BlindSpot]:
    """Return the spots in the catalogue's order, one for each mistake and reason."""
    merged: dict[tuple[str, str], BlindSpot] = {}
    for spot in spots:
        key = (spot.mistake, spot.why)
        unseen = (*merged[key].unseen, *spot.unseen) if key in merged else spot.unseen
        merged[key] = replace(spot, unseen=tuple(dict.fromkeys(unseen))[:SHOWN])
    order = list(CATALOGUE)
    return sorted(merged.values(), key=lambda spot: order.index(spot.mistake))


def _double(gradient: Array) -> Array:
    return np.asarray(gradient, dtype=np.float64)


def _normal_like(leaf: Any, rng: np.random.Generator) -> Any:
    drawn = rng.standard_normal(np.shape(leaf))
    return drawn.astype(leaf.dtype, copy=False) if isinstance(leaf, np.ndarray) else type(leaf)(drawn)
