"""How often each prompt was answered well, the latest visits counting most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Difficulty:
    """The success rate of each prompt that was visited, by its id, and how many visits it counts for.

    rate_n = Σ_i m^(n-i)·share_i / Σ_i m^(n-i), m being the memory, share_i the successes of visit i
    """

    rates: dict[str, float] = field(default_factory=dict)
    visits: dict[str, float] = field(default_factory=dict)

    def visit(self, prompt: str, succeeded: float, memory: float) -> None:
        """Count a visit in which this share of the scored rollouts succeeded; nan, where none was scored, is no visit.

        >>> difficulty = Difficulty()
        >>> for share in (1.0, 0.0): difficulty.visit("a", share, memory=0.5)
        >>> difficulty.rates, difficulty.visits
        ({'a': 0.3333333333333333}, {'a': 1.5})
        """
        if math.isnan(succeeded):
            return
        before = memory * self.visits.get(prompt, 0.0)
        self.visits[prompt] = before + 1
        self.rates[prompt] = (before * self.rates.get(prompt, 0.0) + succeeded) / (before + 1)


def success(total: Sequence[float], above: float) -> float:
    """The share of the scored rollouts that were paid more than `above`; nan of none.

    >>> success([1.0, 0.5, float("nan"), 0.2], above=0.5)
    0.3333333333333333
    """
    scored = [x for x in total if not math.isnan(x)]
    return sum(x > above for x in scored) / len(scored) if scored else math.nan
