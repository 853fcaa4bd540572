"""Is a difference more than luck? Paired tests, Holm's adjustment, equivalence.

nan is "unscored": a pair with an unscored side is left out and counted. Differences are b − a, as in
`stats.paired_difference`. How many prompts to ask before a run: `primum.sizes`. Which to use: docs/statistics.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from primum.stats import bonett_price, bootstrap, rare
from primum.types import BadInput

Array = NDArray[np.float64]
Z90 = 1.6448536269514722
FLIPS, AT_ONCE = 10_000, 500
ALL_FLIPS = 14  # up to so many clusters every flip is tried
FEW = 5  # resampling fewer clusters tells too little


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A two-sided p-value for "a and b do the same", and what it rests on.

    `difference`: mean of b − a over the n scored pairs. `gained` and `lost`: the clusters (McNemar: the pairs)
    that rose and fell; the rest tell nothing. `unscored`: pairs left out.
    """

    p: float
    difference: float
    n: int
    gained: int
    lost: int
    unscored: int = 0

    def to_json(self) -> dict[str, Any]:
        return _json(self)


@dataclass(frozen=True, slots=True)
class MarginTest:
    """A verdict on a mean difference and a margin, with the 90 % interval it was read from."""

    verdict: str
    mean: float
    low: float
    high: float
    margin: float
    n: int
    unscored: int = 0

    def to_json(self) -> dict[str, Any]:
        return _json(self)


def mcnemar(a: Sequence[float], b: Sequence[float]) -> PairedTest:
    """McNemar's exact test of paired outcomes that are 0 or 1, one pair a prompt.

    Of m pairs that differ, k the rarer way: p = min(1, 2·Σ_{i≤k} C(m, i) / 2^m); 1 where none differs. McNemar 1947,
    doi:10.1007/BF02295996. Several pairs of one prompt are not independent: `sign_flip` is for those.

    >>> round(mcnemar([1, 1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, math.nan]).p, 5)
    0.03125
    """
    gap, before, after, _ = _pairs(a, b, None)
    odd = [float(v) for v in np.concatenate([before, after]) if v not in (0.0, 1.0)]
    if odd:
        raise BadInput(f"McNemar's test takes outcomes of 0 and 1, not {odd[0]:g}", "", "compare other numbers with sign_flip")
    gained, lost = int((gap > 0).sum()), int((gap < 0).sum())
    p = _binomial(min(gained, lost), gained + lost) if len(gap) else math.nan
    return PairedTest(p, _mean(gap), len(gap), gained, lost, len(a) - len(gap))


def sign_flip(a: Sequence[float], b: Sequence[float], clusters: Sequence[str], *, seed: int = 0) -> PairedTest:
    """Permutation test of the mean of b − a: how often is it as far from 0 when a and b are exchanged at random?

    All rows of a cluster are exchanged together. With up to 14 clusters that differ all 2^m flips are tried, else
    10,000 random ones, p = (as far + 1) / (flips + 1). Fisher 1935; Phipson and Smyth 2010, doi:10.2202/1544-6115.1585.
    The least p of m clusters is 2 / 2^m, so five seeds cannot reach 0.05.

    >>> sign_flip([0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.6, 0.6, 0.6, 0.6], list("vwxyz")).p
    0.0625
    """
    gap, _, _, names = _pairs(a, b, clusters)
    if len(gap) == 0:
        return PairedTest(math.nan, math.nan, 0, 0, 0, len(a))
    sums = _sums(gap, names)
    slack = 1e-9 * float(np.abs(gap).sum())
    sums[np.abs(sums) <= slack] = 0.0  # 0.1 + 0.2 − 0.3 is no difference
    odd = sums[sums != 0]
    return PairedTest(
        _flipped(odd, slack, seed), _mean(gap), len(gap), int((odd > 0).sum()), int((odd < 0).sum()), len(a) - len(gap)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: claim those below 0.05 and one false claim in the family is rarer than 5 %.

    With m values sorted upwards: p̃_i = min(1, max_{j≤i} (m − j + 1)·p_j). Holm 1979, doi:10.2307/4615733. nan stays
    nan and does not count among the m.

    >>> holm([0.01, 0.04, math.nan, 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    wrong = p[(p < 0) | (p > 1)]
    if len(wrong):
        raise BadInput(f"a p-value of {wrong[0]:g}", "", "p-values lie between 0 and 1; nan is unscored")
    order = [i for i in np.argsort(p, kind="stable") if not math.isnan(p[i])]
    adjusted, worst = np.full(len(p), math.nan), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * float(p[i])))
        adjusted[i] = worst
    return [float(v) for v in adjusted]


def equivalent(a: Sequence[float], b: Sequence[float], clusters: Sequence[str], *, margin: float, seed: int = 0) -> MarginTest:
    """Is the mean of b − a within ± margin? "equivalent", "not equivalent" or "undecided".

    Two one-sided tests at 5 %: equivalent where the 90 % interval lies inside (−margin, margin), not equivalent where it
    lies outside; a difference that is merely not significant is undecided. Schuirmann 1987, doi:10.1007/BF01068419.
    Outcomes of 0 and 1 get Bonett and Price's (2012) interval, of the number of independent pairs that the clustered ones
    are worth. Others get the bootstrap over five clusters or more, joined with Bonett and Price's where no pair differs by
    more than 1: of the gaps where they are `stats.rare`, of the clusters' signs where fewer than five differ.

    >>> kept = [1.0] * 300
    >>> equivalent(kept, kept, [str(i) for i in range(300)], margin=0.02).verdict
    'equivalent'
    >>> equivalent(kept[:30], kept[:30], [str(i) for i in range(30)], margin=0.02).verdict
    'undecided'
    """
    return _judged(a, b, clusters, margin, seed, _two_sided)


def not_inferior(a: Sequence[float], b: Sequence[float], clusters: Sequence[str], *, margin: float, seed: int = 0) -> MarginTest:
    """Is b at most `margin` worse than a, higher being better? "not inferior", "inferior" or "undecided".

    One-sided at 5 %: not inferior where the lower end of `equivalent`'s 90 % interval is above −margin, inferior where
    its upper end is below. Where lower is better (harm), exchange a and b.

    >>> not_inferior([0.0] * 90, [1.0] * 90, [str(i) for i in range(90)], margin=0.02).verdict
    'not inferior'
    """
    return _judged(a, b, clusters, margin, seed, _one_sided)


def _pairs(a: Sequence[float], b: Sequence[float], clusters: Sequence[str] | None) -> tuple[Array, Array, Array, NDArray[Any]]:
    """Of the scored pairs: b − a, a, b and the cluster."""
    names = range(len(a)) if clusters is None else clusters
    if not len(a) == len(b) == len(names):
        raise BadInput(f"{len(a)} outcomes of a, {len(b)} of b, {len(names)} clusters", "", "give one of each for every pair")
    before, after = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    kept = ~np.isnan(after - before)
    return (after - before)[kept], before[kept], after[kept], np.asarray(names)[kept]


def _binomial(k: int, m: int) -> float:
    """Two-sided tail of a fair coin's m throws, in whole numbers."""
    term = total = 1
    for i in range(k):
        term = term * (m - i) // (i + 1)
        total += term
    return min(1.0, 2 * total / 2**m)


def _flipped(sums: Array, slack: float, seed: int) -> float:
    far = abs(float(sums.sum())) - slack
    if len(sums) <= ALL_FLIPS:
        signs = np.asarray(list(itertools.product((-1.0, 1.0), repeat=len(sums)))).reshape(2 ** len(sums), len(sums))
        return float((np.abs(signs @ sums) >= far).mean())
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(FLIPS // AT_ONCE):
        signs = rng.integers(0, 2, size=(AT_ONCE, len(sums)), dtype=np.int8) * 2.0 - 1.0
        hits += int((np.abs(signs @ sums) >= far).sum())
    return (hits + 1) / (FLIPS + 1)


Verdict = Callable[[float, float, float], str]


def _two_sided(low: float, high: float, margin: float) -> str:
    if -margin < low and high < margin:
        return "equivalent"
    return "not equivalent" if low > margin or high < -margin else "undecided"


def _one_sided(low: float, high: float, margin: float) -> str:
    return "not inferior" if low > -margin else "inferior" if high < -margin else "undecided"


def _judged(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[str], margin: float, seed: int, verdict: Verdict
) -> MarginTest:
    if not margin > 0:
        raise BadInput(f"a margin of {margin:g}", "", "give the largest difference that would not matter, above 0")
    gap, before, after, names = _pairs(a, b, clusters)
    if len(gap) == 0:
        return MarginTest("undecided", math.nan, math.nan, math.nan, margin, 0, len(a))
    binary = bool(np.isin((before, after), (0.0, 1.0)).all())
    low, high = _interval90(gap, names, binary, seed)
    return MarginTest(verdict(low, high, margin), _mean(gap), low, high, margin, len(gap), len(a) - len(gap))


def _interval90(gap: Array, names: NDArray[Any], binary: bool, seed: int) -> tuple[float, float]:
    if binary:
        return bonett_price(gap, names, Z90)
    low, high = math.nan, math.nan
    sums = _sums(gap, names)
    if len(sums) >= FEW:
        low, high = bootstrap(gap, names, seed, Z90)
    signs = np.where(np.abs(sums) > 1e-9, np.sign(sums), 0.0)
    joined = []  # nan gives way to these: it is smaller and larger than nothing
    if np.abs(gap).max() <= 1 and rare(gap, names):
        joined.append(bonett_price(gap, names, Z90, least=0.0))
    if np.abs(gap).max() <= 1 and np.count_nonzero(signs) < FEW:
        joined.append(bonett_price(signs, np.arange(len(signs)), Z90))
    for least, most in joined:
        low, high = min(least, low), max(most, high)
    return low, high


def _sums(values: Array, names: NDArray[Any]) -> Array:
    """The sum of each cluster's values."""
    _, index = np.unique(names, return_inverse=True)
    return np.asarray(np.bincount(index, weights=values), dtype=np.float64)


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else math.nan


def _json(record: Any) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(record).items()}
