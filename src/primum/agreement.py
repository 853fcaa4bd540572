"""How far answers agree with labels: accuracy, F1, AUROC, kappa and calibration, each with a 95 % interval.

Answers and labels are numbers; a class is a number (0 and 1; 0, 0.5 and 1). A row whose answer or label is nan is
counted as unscored and never as a class. Intervals are percentile bootstraps over clusters, 2,000 draws, where not
said otherwise; where a single cluster leaves nothing to draw from, or every draw tells the same, there is none (nan).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from primum.stats import Estimate, estimate

Array = NDArray[np.float64]
DRAWS, AT_ONCE = 2000, 200
BINS = 10  # of equal width, for calibration


def accuracy(found: Sequence[float], truth: Sequence[float], clusters: Sequence[str] | None = None, *, seed: int = 0) -> Estimate:
    """Share of scored rows where `found` is the class in `truth`, in [0, 1]; Wilson's interval with one row a cluster.

    >>> accuracy([1.0, 0.0, 0.5, math.nan], [1.0, 1.0, 0.5, 1.0]).n
    3
    """
    right = [math.nan if math.isnan(a) or math.isnan(b) else float(a == b) for a, b in zip(found, truth, strict=True)]
    return estimate(right, clusters, seed=seed)


def f1(found: Sequence[float], truth: Sequence[float], clusters: Sequence[str] | None = None, *, seed: int = 0) -> Estimate:
    """F1 of class 1 where no class but 0 and 1 occurs, else the plain mean of the classes' F1, in [0, 1].

    F1 = 2·hits / (2·hits + false alarms + misses); a class neither found nor true has none and enters no mean.

    >>> round(f1([1, 1, 0, 0], [1, 0, 0, 1]).mean, 3), round(f1([0, 0.5, 1, 1], [0, 0.5, 0.5, 1]).mean, 3)
    (0.5, 0.778)
    """
    classes, tables = _tables(found, truth)
    alone = classes.index(1.0) if set(classes) <= {0.0, 1.0} and 1.0 in classes else None
    return _resampled(found, truth, clusters, tables, lambda sums: _f1(_square(sums), alone), seed)


def kappa(found: Sequence[float], truth: Sequence[float], clusters: Sequence[str] | None = None, *, seed: int = 0) -> Estimate:
    """Cohen's kappa (1960), in [-1, 1]: agreement beyond that of two who answer at random with the same shares.

    (p_o − p_e) / (1 − p_e); nan where both always give one and the same class.

    >>> round(kappa([1, 1, 0, 0], [1, 0, 0, 0]).mean, 3)
    0.5
    """
    _, tables = _tables(found, truth)
    return _resampled(found, truth, clusters, tables, lambda sums: _kappa(_square(sums)), seed)


def auroc(score: Sequence[float], positive: Sequence[float], clusters: Sequence[str] | None = None, *, seed: int = 0) -> Estimate:
    """Chance that a positive row scores higher than another, ties counting half, in [0, 1].

    The Mann–Whitney U over its greatest value. `positive` is 1 or 0. Without both kinds: nan.

    >>> auroc([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1]).mean
    0.875
    """
    values, truth = _floats(score), _floats(positive)
    kept = ~np.isnan(values) & ~np.isnan(truth)
    levels, place = np.unique(values[kept], return_inverse=True)
    order = np.argsort(place, kind="stable")
    edges = np.searchsorted(place[order], np.arange(len(levels)))
    sign = truth[kept][order]

    def of(weights_DN: Array) -> Array:
        heavy = weights_DN[:, order]
        ups = np.add.reduceat(heavy * sign, edges, axis=1)
        downs = np.add.reduceat(heavy * (1 - sign), edges, axis=1)
        below = np.cumsum(downs, axis=1) - downs
        return _ratio((ups * (below + downs / 2)).sum(1), ups.sum(1) * downs.sum(1))

    return _with_interval(kept, clusters, of if len(levels) else None, seed)


def calibration_error(
    score: Sequence[float], positive: Sequence[float], clusters: Sequence[str] | None = None, *, seed: int = 0
) -> Estimate:
    """How far probabilities are from the shares they promise, in [0, 1]: Σ_b n_b/n · |mean score − share positive| over ten bins.

    Small samples look worse than they are: each bin's luck counts against it, in every draw once more, so the interval
    lies high. Guo et al. 2017, arXiv:1706.04599.

    >>> round(calibration_error([0.85, 0.85, 0.15], [1, 0, 0]).mean, 3)
    0.283
    """
    values, truth = _floats(score), _floats(positive)
    kept = ~np.isnan(values) & ~np.isnan(truth)
    place = np.minimum((np.nan_to_num(values) * BINS).astype(int), BINS - 1)
    cells = np.zeros((len(values), BINS))
    cells[np.arange(len(values)), place] = values - truth
    return _with_interval(kept, clusters, lambda w: _ratio(np.abs(w @ cells[kept]).sum(1), w.sum(1)), seed)


def confusion(found: Sequence[float], truth: Sequence[float]) -> tuple[list[float], list[list[int]]]:
    """The classes, and how often each true class (row) was found as each class (column); unscored rows are in no cell.

    >>> confusion([0, 1, 1, math.nan], [0, 0, 1, 1])
    ([0.0, 1.0], [[1, 1], [0, 1]])
    """
    classes, tables = _tables(found, truth)
    return classes, _square(tables.sum(0)[None])[0].astype(int).tolist()


def _tables(found: Sequence[float], truth: Sequence[float]) -> tuple[list[float], Array]:
    """The classes, and each scored row's one-cell table of true × found class, flat."""
    a, b = _floats(found), _floats(truth)
    kept = ~np.isnan(a) & ~np.isnan(b)
    classes = np.unique(np.concatenate([a[kept], b[kept]]))
    cell = np.searchsorted(classes, b[kept]) * len(classes) + np.searchsorted(classes, a[kept])
    tables = np.zeros((int(kept.sum()), len(classes) ** 2))
    tables[np.arange(len(tables)), cell] = 1.0
    return classes.tolist(), tables


def _square(sums: Array) -> Array:
    side = math.isqrt(sums.shape[1])
    return sums.reshape(-1, side, side)


def _f1(tables: Array, alone: int | None) -> Array:
    hits = np.diagonal(tables, axis1=1, axis2=2)
    of_each = _ratio(2 * hits, tables.sum(1) + tables.sum(2))
    if alone is not None:
        return of_each[:, alone]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a draw without any class has no mean
        return np.asarray(np.nanmean(of_each, axis=1))


def _kappa(tables: Array) -> Array:
    n = tables.sum((1, 2))
    seen = np.trace(tables, axis1=1, axis2=2) / n
    chance = (tables.sum(1) * tables.sum(2)).sum(1) / n**2
    return _ratio(seen - chance, 1 - chance)


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, math.nan), where=below > 1e-12)


def _resampled(
    found: Sequence[float],
    truth: Sequence[float],
    clusters: Sequence[str] | None,
    tables: Array,
    of: Callable[[Array], Array],
    seed: int,
) -> Estimate:
    kept = ~np.isnan(_floats(found)) & ~np.isnan(_floats(truth))
    return _with_interval(kept, clusters, (lambda w: of(w @ tables)) if len(tables) else None, seed)


def _with_interval(
    kept: NDArray[np.bool_], clusters: Sequence[str] | None, of: Callable[[Array], Array] | None, seed: int
) -> Estimate:
    """`of` weights of rows: once with every row counted once, then with the rows of clusters drawn anew."""
    n, unscored = int(kept.sum()), int((~kept).sum())
    if of is None or n == 0:
        return Estimate(math.nan, math.nan, math.nan, n, unscored)
    mean = float(of(np.ones((1, n)))[0])
    names = np.arange(len(kept))[kept] if clusters is None else np.asarray(clusters)[kept]
    draws = np.concatenate([of(weights) for weights in _weights(names, seed)])
    told = draws[~np.isnan(draws)]
    if math.isnan(mean) or len(told) == 0 or np.ptp(told) < 1e-12:
        return Estimate(mean, math.nan, math.nan, n, unscored)
    low, high = np.percentile(told, [2.5, 97.5])
    return Estimate(mean, float(low), float(high), n, unscored)


def _weights(names: NDArray[np.generic], seed: int) -> Iterator[Array]:
    """How often each row is drawn when its clusters are drawn with replacement, some draws at a time."""
    _, cluster = np.unique(names, return_inverse=True)
    groups = int(cluster.max()) + 1
    if groups == 1:
        yield np.ones((1, len(names)))  # one draw tells nothing of the next
        return
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS // AT_ONCE):
        picks = rng.integers(0, groups, size=(AT_ONCE, groups)) + np.arange(AT_ONCE)[:, None] * groups
        often = np.bincount(picks.ravel(), minlength=AT_ONCE * groups).reshape(AT_ONCE, groups)
        yield often[:, cluster].astype(np.float64)


def _floats(values: Sequence[float]) -> Array:
    return np.asarray(values, dtype=np.float64)
