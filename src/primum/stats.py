"""Numbers with intervals: rates, means and paired differences, of clustered values too. nan is "unscored"."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Z95 = 1.959963984540054
DRAWS, AT_ONCE, FEW_TELL = 2000, 100, 20
Score = Callable[[float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval, the scored count and the unscored count."""

    mean: float
    low: float
    high: float
    n: int
    unscored: int = 0

    def to_json(self) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


def mean(values: Iterable[float]) -> float:
    """The mean of what is scored; nan where nothing is.

    >>> mean([1.0, math.nan, 0.0])
    0.5
    """
    kept = [v for v in values if not math.isnan(v)]
    return sum(kept) / len(kept) if kept else math.nan


def wilson(successes: float, n: float) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927). (nan, nan) when n is 0.

    >>> tuple(round(x, 4) for x in wilson(0, 10))
    (0.0, 0.2775)
    """
    if n == 0:
        return math.nan, math.nan
    p, z2 = successes / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))  # the ends are exact, rounding or not


def estimate(values: Sequence[float], clusters: Sequence[str] | None = None, *, seed: int = 0) -> Estimate:
    """Mean of `values` with a 95 % interval; nan values are counted as unscored and skipped.

    0/1 values get Wilson's interval, of as many values as the clustered ones are `worth`: all of them where each is
    its own cluster, as many as there are clusters where all are 0 or all are 1. Anything else gets the `bootstrap`
    over clusters; shares (in [0, 1]) that are `rare`, as wide a one as covers both, and none leaves [0, 1]. A single
    cluster has no interval, unless it is all 0 or all 1.

    >>> estimate([1.0, 0.0, math.nan, 1.0]).n
    3
    """
    x = np.asarray(values, dtype=float)
    kept = ~np.isnan(x)
    n, unscored = int(kept.sum()), int((~kept).sum())
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, unscored)
    scored = x[kept]
    names = np.arange(n) if clusters is None else np.asarray(clusters)[kept]
    mean = float(np.sort(scored).mean())

    def score(least: float) -> tuple[float, float]:
        size = worth(scored, names, doubt=1.0, least=least)
        return wilson(mean * size, size)

    low, high = _either(scored, names, seed, scored, score)
    if scored.min() >= 0 and scored.max() <= 1:
        low, high = (float(end) for end in np.clip([low, high], 0, 1))
    return Estimate(mean, low, high, n, unscored)


def exactly(value: float) -> Estimate:
    """A counted quantity (FLOPs, seconds): its interval is the number itself."""
    return Estimate(value, value, value, 1, 0)


def paired_difference(a: Sequence[float], b: Sequence[float], clusters: Sequence[str], *, seed: int = 0) -> Estimate:
    """Mean of b − a over the same rollouts' prompts, with a 95 % interval over prompts.

    A pair with an unscored side is left out and counted. 0/1 values get the interval of `bonett_price`; anything else
    the `bootstrap`, joined with the former where shares are `rare`. One prompt alone has no interval, unless its
    0/1 pairs all tell the same.

    >>> paired_difference([0.0] * 48, [0.0] * 48, [str(i) for i in range(48)]).high > 0.05
    True
    """
    before, after = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    gap = after - before
    kept = ~np.isnan(gap)
    n, unscored = int(kept.sum()), int((~kept).sum())
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, unscored)
    scored, names, sides = gap[kept], np.asarray(clusters)[kept], np.concatenate([before[kept], after[kept]])
    low, high = _either(scored, names, seed, sides, lambda least: bonett_price(scored, names, least=least))
    if sides.min() >= 0 and sides.max() <= 1:
        low, high = (float(end) for end in np.clip([low, high], -1, 1))
    return Estimate(float(np.sort(scored).mean()), low, high, n, unscored)


def worth(values: Array, clusters: NDArray[Any], *, doubt: float, least: float = 1.0) -> float:
    """How many independent values of 0 and 1 (or −1, 0 and 1) the clustered ones are worth: from about their clusters to n.

    n / D, D the design effect: the mean's variance, judged between clusters, over that of n independent values. It is
    held between `least` and m = Σ size² / n, its value where every cluster repeats one answer, and drawn towards m by
    the weight of `doubt` clusters: D = (w·D + doubt·m) / (w + doubt), w the clusters that `_tell` something. A few
    prompts with an event cannot tell how alike one prompt's answers are, and the plain D is too low there (Franco,
    Little, Louis and Slud 2019, PMC6690503). Intervals at an effective size: Korn and Graubard 1998; Saha, Miller and
    Wang 2016, doi:10.1515/ijb-2015-0024. All values the same are worth one a cluster; a share may be worth more than
    one (`least` 0).

    >>> worth(np.array([0.0, 1.0, 0.0, 1.0]), np.array(["a", "b", "c", "d"]), doubt=1.0)
    4.0
    >>> worth(np.array([0.0, 0.0, 1.0, 1.0]), np.array(["a", "a", "b", "b"]), doubt=1.0)
    2.0
    """
    values, index = _grouped(values, clusters)
    counts, sums = np.bincount(index), np.bincount(index, weights=values)
    n, groups, mean = len(values), len(counts), float(values.mean())
    spread = float(np.abs(values).mean()) - mean**2  # of independent values
    if groups == 1 or spread <= 0:
        return float(groups)
    copies, told = float((counts**2).sum()) / n, _tell(values, index)
    between = float(((sums - counts * mean) ** 2).sum()) * groups / (groups - 1) / n
    return n * (told + doubt) / (told * min(copies, max(least, between / spread)) + doubt * copies)


def rare(values: Array, clusters: NDArray[Any]) -> bool:
    """Whether fewer than 20 clusters, and at most half of all, `_tell` something: too few for the bootstrap alone."""
    values, index = _grouped(values, clusters)
    told, groups = _tell(values, index), int(index.max()) + 1
    return told < FEW_TELL and 2 * told <= groups


def bonett_price(gaps: Array, clusters: NDArray[Any], z: float = Z95, least: float = 1.0) -> tuple[float, float]:
    """Interval of a difference of paired proportions, from gaps of −1, 0 and 1: one made-up pair of each discordance added.

    Bonett and Price 2012, doi:10.3102/1076998611411915, of as many pairs as the clustered ones are `worth`. It has
    width even where no pair disagrees. A gap between shares counts for as much of a pair as it is wide.
    """
    n = worth(gaps, clusters, doubt=0.25, least=least)  # 1, as for a rate, is needlessly wide: made-up pairs weigh too
    up, down = ((n * float(np.maximum(side, 0).mean()) + 1) / (n + 2) for side in (gaps, -gaps))
    half = z * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def bootstrap(values: Array, clusters: NDArray[Any], seed: int, z: float = Z95) -> tuple[float, float]:
    """Percentile interval of the mean from 2,000 draws of m clusters, `stretched` for m − 1 degrees of freedom.

    Neither the rows' order nor the clusters' names change it. (nan, nan) of one cluster: one draw tells nothing of the next.
    """
    values, index = _grouped(values, clusters)
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    if len(sums) == 1:
        return math.nan, math.nan
    order = np.lexsort((counts, sums))
    sums, counts = sums[order], counts[order]
    rng, means = np.random.default_rng(seed), []
    for _ in range(DRAWS // AT_ONCE):  # all at once would take a gigabyte of 20,000 clusters
        picks = rng.integers(0, len(sums), size=(AT_ONCE, len(sums)))
        means.append(sums[picks].sum(1) / counts[picks].sum(1))
    tail = 100 * NormalDist().cdf(-z)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return stretched(float(values.mean()), float(low), float(high), len(sums), len(sums) - 1, z)


def stretched(mean: float, low: float, high: float, units: int, freedom: int, z: float = Z95) -> tuple[float, float]:
    """A percentile interval widened about its mean by √(units/freedom)·t/z, which resampling few units leaves out."""
    stretch = math.sqrt(units / freedom) * student(freedom, z) / z
    return mean - max(0.0, mean - low) * stretch, mean + max(0.0, high - mean) * stretch


def student(freedom: int, z: float = Z95) -> float:
    """Student's quantile where the normal's is z: exact with 1 or 2 degrees of freedom, from 3 good to 0.5 %.

    Abramowitz and Stegun 26.7.5.

    >>> round(student(1), 3), round(student(2), 3), round(student(30), 3)
    (12.706, 4.303, 2.042)
    """
    p = NormalDist().cdf(z)
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) * math.sqrt(1 / (2 * p * (1 - p)))
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (i + 1) for i, term in enumerate(terms))


def _either(values: Array, clusters: NDArray[Any], seed: int, sides: Array, score: Score) -> tuple[float, float]:
    """`score`'s interval where all `sides` are 0 or 1, else the bootstrap's; both joined where they are shares and rare."""
    binary, shares = bool(((sides == 0) | (sides == 1)).all()), bool(sides.min() >= 0 and sides.max() <= 1)
    low, high = (math.nan, math.nan) if binary else bootstrap(values, clusters, seed)
    if (binary and (clusters != clusters[0]).any()) or (shares and rare(values, clusters)):
        least, most = score(1.0 if binary else 0.0)
        low, high = min(least, low), max(most, high)  # nan gives way: it is smaller and larger than nothing
    return low, high


def _grouped(values: Array, clusters: NDArray[Any]) -> tuple[Array, NDArray[Any]]:
    """The values, upwards, so that sums do not hang on the rows' order, and the number of each one's cluster."""
    order = np.argsort(values, kind="stable")
    return values[order], np.unique(np.asarray(clusters)[order], return_inverse=True)[1]


def _tell(values: Array, index: NDArray[Any]) -> int:
    """How many clusters are not of the commonest uniform kind: all 0, all 1 or all −1."""
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    still = np.bincount(index, weights=np.abs(values)) == 0
    return len(counts) - max(int(kind.sum()) for kind in (still, sums == counts, sums == -counts))
