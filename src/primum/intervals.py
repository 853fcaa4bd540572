"""More numbers with 95 % intervals: the rate behind an imperfect judge's, and the mean score of several seeds.

Which to use: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from primum.stats import DRAWS, Z95, Estimate, stretched
from primum.types import BadInput

Array = NDArray[np.float64]


def rogan_gladen(positive: float, n: float, *, sensitivity: tuple[float, float], specificity: tuple[float, float]) -> Estimate:
    """The true rate behind a judge's: (p + sp − 1) / (se + sp − 1), clipped to [0, 1], with a 95 % interval.

    p: `positive` of n judged harmful. se: how many of how many truly harmful the judge found; sp: how many of how many
    truly harmless it let pass, both on calibration rows apart from the n. Rogan and Gladen 1978. The interval carries the
    uncertainty of all three: Lang and Reiczigel 2014, doi:10.1016/j.prevetmed.2013.09.015. nan where se + sp ≤ 1 (such a
    judge tells nothing) or a count is missing. Counts are of independent prompts.

    >>> found = rogan_gladen(30, 200, sensitivity=(90, 100), specificity=(190, 200))
    >>> round(found.mean, 4), round(found.low, 4), round(found.high, 4)
    (0.1176, 0.0525, 0.1896)
    """
    counts = [(positive, n), sensitivity, specificity]
    for k, of in counts:
        if not 0 <= k <= of < math.inf:
            raise BadInput(f"{k:g} of {of:g}", "", "give counts: how many, of how many")
    if not all(of for _, of in counts):
        return Estimate(math.nan, math.nan, math.nan, int(n))
    p, se, sp = (k / of for k, of in counts)
    if se + sp <= 1 + 1e-12:
        return Estimate(math.nan, math.nan, math.nan, int(n))
    mean = min(1.0, max(0.0, (p + sp - 1) / (se + sp - 1)))
    low, high = _lang_reiczigel((positive, n), sensitivity, specificity)
    return Estimate(mean, min(low, mean), max(high, mean), int(n))


def iqm(scores: Sequence[Sequence[float]], *, together: bool = False, seed: int = 0) -> Estimate:
    """Interquartile mean of scores (task × seed): the mean of the middle half of all, with a 95 % interval.

    The lowest and highest ⌊n/4⌋ of the n scored are dropped. The bootstrap (2,000 draws) draws seeds anew within each
    task; Agarwal et al. 2021, arXiv:2108.13264. `together`: a column is one run asked every task, so runs are drawn.
    The paper's percentile interval is too narrow with few seeds; ours is stretched about the IQM by √(m/ν)·t_ν/z: m scores
    in k tasks that reach into the middle half, ν = m − k (together: m runs, ν = m − 1); nan where ν < 3. A task without
    any score leaves nan.

    >>> iqm([[0.0, 0.4, 0.5, 0.9], [0.25, 0.5, math.nan, 1.0]]).mean
    0.51
    """
    if len({len(row) for row in scores}) > 1:
        raise BadInput("tasks with unequal numbers of seeds", "", "write nan where a seed has no score")
    x = np.asarray(scores, dtype=float).reshape(len(scores), len(scores[0]) if scores else 0)
    told = ~np.isnan(x)
    n, unscored = int(told.sum()), int((~told).sum())
    if n == 0 or not told.any(1).all():
        return Estimate(math.nan, math.nan, math.nan, n, unscored)
    mean = float(_middle(x.reshape(1, -1))[0])
    reach = _reaching(x)
    units = int(told.any(0).sum()) if together else int(told[reach].sum())
    spare = units - (1 if together else int(reach.sum()))
    if spare < 3:
        return Estimate(mean, math.nan, math.nan, n, unscored)
    low, high = (float(v) for v in np.percentile(_redrawn(x[:, told.any(0)], together, seed), [2.5, 97.5]))
    return Estimate(mean, *stretched(mean, low, high, units, spare), n, unscored)


def _lang_reiczigel(*counts: tuple[float, float]) -> tuple[float, float]:
    """Rogan and Gladen's rate with Agresti and Coull's counts added, shifted: the paper's equations 6, 7, 16 and 17."""
    z2 = Z95**2
    (p, n), (se, n_se), (sp, n_sp) = (
        ((k + extra / 2) / (of + extra), of + extra) for (k, of), extra in zip(counts, (z2, 2.0, 2.0), strict=True)
    )
    better = se + sp - 1  # than a coin
    if better <= 0:
        return 0.0, 1.0
    rate = (p + sp - 1) / better
    missed, alarmed = se * (1 - se) / n_se, sp * (1 - sp) / n_sp
    half = Z95 * math.sqrt(p * (1 - p) / n + rate**2 * missed + (1 - rate) ** 2 * alarmed) / better
    centre = rate + 2 * z2 * (rate * missed - (1 - rate) * alarmed)
    return min(1.0, max(0.0, centre - half)), min(1.0, max(0.0, centre + half))


def _middle(rows: Array) -> Array:
    """Mean of the middle half of each row's scored values."""
    ordered = np.sort(rows, axis=1)  # nan last
    n = (~np.isnan(rows)).sum(1)
    below = np.concatenate([np.zeros((len(rows), 1)), np.nan_to_num(ordered).cumsum(1)], axis=1)
    cut, row = n // 4, np.arange(len(rows))
    return (below[row, n - cut] - below[row, cut]) / np.where(n, n - 2 * cut, math.nan)


def _reaching(x: Array) -> NDArray[np.bool_]:
    """Which tasks have a score in the middle half of all: only their luck moves the IQM."""
    ordered = np.sort(x[~np.isnan(x)])
    cut = len(ordered) // 4
    return np.asarray(((x >= ordered[cut]) & (x <= ordered[len(ordered) - cut - 1])).any(1))


def _redrawn(x: Array, together: bool, seed: int) -> Array:
    """The IQM of every draw."""
    rng = np.random.default_rng(seed)
    if together:
        seeds = x.shape[1]
        return _middle(x[:, rng.integers(0, seeds, size=(DRAWS, seeds))].transpose(1, 0, 2).reshape(DRAWS, -1))
    drawn = []
    for row in x:
        scored = row[~np.isnan(row)]
        drawn.append(scored[rng.integers(0, len(scored), size=(DRAWS, len(scored)))])
    return _middle(np.concatenate(drawn, axis=1))
