"""A bet against "the reward pays no more often for nothing than it did": what it has won is the evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

BOLD = 0.75  # of the largest bet that cannot ruin
PRIOR = 2.0  # imagined draws at the bound, so that the first ones do not decide alone


@dataclass
class Wealth:
    """Capital of a gambler who bets, draw by draw, that values in [0, 1] exceed `bound` on average; 1 at the start.

    A bet of size b multiplies the capital by 1 + b·(x − bound), which is never negative for b ≤ 1 / bound. While
    E[x | the past] ≤ bound the capital is a non-negative supermartingale, so the chance that it *ever* reaches 1/α is at
    most α (Ville's inequality), whenever one looks and whatever earlier draws decided. The size is that of "approximate
    GRAPA" (Waudby-Smith & Ramdas 2024, arXiv:2010.09686), b = (μ − bound) / (σ² + (μ − bound)²) cut to [0, 0.75 / bound],
    with mean and variance of the past draws, an old draw's weight halving every `memory` draws: while values stay under
    the bound next to nothing is bet, so a change that comes late finds the money still there.
    A bound of 1 or more cannot be exceeded: nothing is bet.
    """

    bound: float
    memory: float = 12.0
    value: float = 1.0
    weight: float = 0.0  # of the past draws, and their sums
    total: float = 0.0
    squares: float = 0.0

    def look(self, values: Sequence[float]) -> float:
        """The wealth after these draws, of which nan ones are skipped.

        >>> wealth = Wealth(0.5)
        >>> wealth.look([1.0]), round(wealth.look([1.0, math.nan]), 4)  # the first bet is nothing: μ is at the bound
        (1.0, 1.3333)
        """
        fade = 0.5 ** (1 / self.memory)
        for x in values:
            if math.isnan(x) or self.bound >= 1:
                continue
            self.value *= 1 + self.bet() * (x - self.bound)
            self.weight, self.total, self.squares = (
                old * fade + new for old, new in ((self.weight, 1.0), (self.total, x), (self.squares, x * x))
            )
        return self.value

    def bet(self) -> float:
        """The size of the next bet."""
        count = self.weight + PRIOR
        mean = (self.total + PRIOR * self.bound) / count
        second = (self.squares + PRIOR * self.bound) / count  # the imagined draws are 0 or 1
        edge = mean - self.bound
        spread = max(0.0, second - mean * mean) + edge * edge
        return min(BOLD / self.bound, edge / spread) if edge > 0 else 0.0

    def state(self) -> dict[str, Any]:
        return asdict(self)


def mean_bound(values: Sequence[float], alpha: float) -> float:
    """An upper bound of the mean of independent values in [0, 1], too low with a chance of at most `alpha`; 1 for none.

    The Clopper–Pearson bound where all are 0 or 1; else the least mean that a bet against it, capital spread over four
    sizes, refutes (the hedged capital of Waudby-Smith & Ramdas 2024), which is narrow where values hardly differ. As the
    values choose which, each gets half of `alpha`.

    >>> mean_bound([0.5] * 100, 0.05) < 0.55 < share_bound(50, 100, 0.05)
    True
    """
    if not len(values):
        return 1.0
    if all(x in (0.0, 1.0) for x in values):
        return share_bound(sum(values), len(values), alpha / 2)
    low, high = sum(values) / len(values), 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _against(values, middle) >= 2 / alpha else (middle, high)
    return high


def _against(values: Sequence[float], mean: float) -> float:
    """Capital of one who bets that the mean is below `mean`: its parts multiply by 1 − size·(x − mean)/(1 − mean)."""
    sizes = (0.1, 0.3, 0.6, 0.9)
    room = max(1.0 - mean, 1e-12)
    logs = [sum(math.log1p(-size * min(1.0, (x - mean) / room)) for x in values) for size in sizes]
    top = max(logs)
    return math.exp(min(700.0, top)) * sum(math.exp(v - top) for v in logs) / len(sizes)


def share_bound(hits: float, n: int, alpha: float) -> float:
    """The upper Clopper–Pearson bound of a share, wrong with a chance of at most `alpha`; 1 where n is 0.

    Hits that are no whole number are rounded up: the bound may only grow.

    >>> round(share_bound(0, 60, 0.05), 4), share_bound(5, 5, 0.05)
    (0.0487, 1.0)
    """
    k = math.ceil(hits - 1e-9)
    if n == 0 or k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(k, n, middle) > alpha else (low, middle)
    return high


def _at_most(k: int, n: int, p: float) -> float:
    """The chance of at most k hits in n draws at rate p in (0, 1)."""
    log_p, log_q = math.log(p), math.log1p(-p) if p < 1 else -math.inf
    whole = math.lgamma(n + 1)
    terms = (whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q for i in range(k + 1))
    return math.fsum(math.exp(t) for t in terms)
