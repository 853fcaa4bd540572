"""How much was not seen: Good–Turing mass and Chao's count over failure niches, from an i.i.d. audit."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from primum.evaluate.redteam.attack import Space
from primum.evaluate.redteam.target import Target, Tried
from primum.stats import Z95, Estimate, wilson


@dataclass(frozen=True, slots=True)
class Unseen:
    """What an audit of `draws` independent attacks says of the failures it did not see."""

    mass: Estimate  # chance that the next draw fails in a niche in which none failed yet
    ceiling: float  # what that chance exceeds with probability 0.05 at most, whatever the distribution
    niches: float  # least number of failure niches not seen
    seen: int  # failure niches seen
    failures: int
    draws: int

    def to_json(self) -> dict[str, Any]:
        rest = {name: getattr(self, name) for name in ("ceiling", "niches", "seen", "failures", "draws")}
        return {"mass": self.mass.to_json(), **rest}


def unseen(niches: Sequence[Hashable | None]) -> Unseen:
    """From each draw's niche, or None where it did not fail.

    mass = f1 / n, f1 being niches seen once (Good 1953); its interval is Esty's (1983):
    f1/n ± z·√(f1·(1 − f1/n) + 2·f2) / n, its upper end at least Wilson's of f1 in n.
    ceiling = f1/n + (2√2 + √3)·√(ln(3/0.05) / n)      McAllester & Schapire 2000
    niches = f1·(f1 − 1) / (2·(f2 + 1))                Chao 1984, bias-corrected: a lower bound
    Without draws everything is nan.

    >>> found = unseen(["a", "a", "b", "c", None, None, None, None])
    >>> found.mass.mean, found.niches
    (0.25, 0.5)
    """
    n = len(niches)
    if n == 0:
        return Unseen(Estimate(math.nan, math.nan, math.nan, 0), math.nan, math.nan, 0, 0, 0)
    counts = Counter(niche for niche in niches if niche is not None)
    often = Counter(counts.values())
    once, twice = often[1], often[2]
    mass = once / n
    half = Z95 * math.sqrt(once * (1 - mass) + 2 * twice) / n
    ends = Estimate(mass, max(0.0, mass - half), min(1.0, max(mass + half, wilson(once, n)[1])), n)
    ceiling = min(1.0, mass + (2 * math.sqrt(2) + math.sqrt(3)) * math.sqrt(math.log(3 / 0.05) / n))
    return Unseen(ends, ceiling, once * (once - 1) / (2 * (twice + 1)), len(counts), sum(counts.values()), n)


def audit(space: Space, target: Target, draws: int, seed: int) -> list[Tried]:
    """`draws` attacks from the space's fixed distribution, each asked once; one drawn twice is asked twice, afresh."""
    draw = random.Random(f"audit {seed}")
    return target.asked([space.audit(draw) for _ in range(draws)], 1, seed)


def audited(tried: Sequence[Tried]) -> Unseen:
    """What such an audit says, a niche being a cell."""
    return unseen([t.attack.cell if t.harmful else None for t in tried])
