"""Two arms on the same prompts: the difference, whether it is luck, what could have been seen, and what may be said."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from primum.comparison.arms import Arm, Evaluated
from primum.comparison.metrics import KEPT, better, claimed, size, unit
from primum.evaluate import Measured
from primum.evaluate.suites import SUITES, Value
from primum.report.metrics import bare
from primum.run import plain
from primum.significance import MarginTest, equivalent, holm, mcnemar, not_inferior, sign_flip
from primum.sizes import detectable_paired
from primum.stats import Estimate, mean, paired_difference, worth
from primum.types import BadInput

ALPHA = 0.05
POWER = NormalDist().inv_cdf(1 - ALPHA / 2) + NormalDist().inv_cdf(0.8)  # standard errors that are found four times in five
FEWEST = 6  # meanings, or seeds, below which no exact test reaches 0.05: 2 / 2^5 is more
Pair = tuple[Measured, Measured]


@dataclass(frozen=True)
class Shared:
    """The rollouts of two arms on the same prompts, and how many of each side have no counterpart."""

    pairs: list[Pair]
    left_a: int
    left_b: int


@dataclass(frozen=True)
class Difference:
    """b − a in one metric of one suite. `holm` and `verdict` are told of the family that is claimed about only."""

    suite: str
    metric: str
    a: str
    b: str
    better: str
    before: float
    after: float
    difference: Estimate
    test: str
    p: float
    gained: int
    lost: int
    meanings: int
    detectable: float
    claimed: bool
    left_out: tuple[int, int]
    kept: dict[str, Any] | None = None
    holm: float = math.nan
    verdict: str = ""

    def to_json(self) -> dict[str, Any]:
        return dict(plain(asdict(self)))


def shared(a: Arm, b: Arm, suite: str) -> Shared:
    """What both were asked, sibling by sibling: seed by seed where both have as many, else every seed with every seed."""
    found, left_a, left_b = [], 0, 0
    for before, after in seed_pairs(a, b):
        left, right = _by_key(before.rows.get(suite, ())), _by_key(after.rows.get(suite, ()))
        both = [key for key in left if key in right]
        found += [(left[key], right[key]) for key in both]
        left_a, left_b = left_a + len(left) - len(both), left_b + len(right) - len(both)
    return Shared(found, left_a, left_b)


def seed_pairs(a: Arm, b: Arm) -> list[tuple[Evaluated, Evaluated]]:
    if len(a.seeds) == len(b.seeds):
        return list(zip(a.seeds, b.seeds, strict=True))
    return list(itertools.product(a.seeds, b.seeds))


def key_of(measured: Measured) -> tuple[str, str]:
    """What makes two prompts the same: id and words; in a later turn, which quotes the model, the id alone."""
    example = measured.rollout.example
    return example.id, "" if example.turns else example.prompt


def _by_key(rows: Sequence[Measured]) -> dict[tuple[str, str, int], Measured]:
    seen: Counter[tuple[str, str]] = Counter()
    found = {}
    for m in rows:
        key = key_of(m)
        found[(*key, seen[key])] = m
        seen[key] += 1
    return found


def differences(a: Arm, b: Arm, *, margin: float) -> list[Difference]:
    """Every metric of every suite that both arms were asked."""
    suites = [name for name in a.seeds[0].rows if any(name in seed.rows for seed in b.seeds)]
    told = {name: shared(a, b, name) for name in suites}
    if not any(found.pairs for found in told.values()):
        remedy = "evaluate both with the same suites, sets, limit and seed"
        raise BadInput(f"'{a.name}' and '{b.name}' share no prompt", f"{a.seeds[0].path}, {b.seeds[0].path}", remedy)
    return [
        _difference(SUITES[name].name, metric, value, a.name, b.name, found, margin)
        for name, found in told.items()
        if found.pairs
        for metric, value in SUITES[name].metrics.items()
    ]


def _difference(suite: str, metric: str, value: Value, a: str, b: str, found: Shared, margin: float) -> Difference:
    asked = [
        (x, y, m.rollout.example.cluster) for m, n in found.pairs if (x := value(m)) is not None and (y := value(n)) is not None
    ]
    before, after, clusters = [x for x, _, _ in asked], [y for _, y, _ in asked], [c for _, _, c in asked]
    scored = [(x, y, c) for x, y, c in asked if not math.isnan(y - x)]
    binary = {x for x, y, _ in scored} | {y for _, y, _ in scored} <= {0.0, 1.0}
    meanings = len({c for _, _, c in scored})
    alone = binary and meanings == len(scored)
    test = mcnemar(before, after) if alone else sign_flip(before, after, clusters)
    return Difference(
        suite, metric, a, b, better(suite, metric), mean(x for x, _, _ in scored), mean(y for _, y, _ in scored),
        paired_difference(before, after, clusters), "McNemar" if alone else "sign flips", test.p, test.gained, test.lost,
        meanings, detectable(before, after, clusters), claimed(suite, metric), (found.left_a, found.left_b),
        _kept(before, after, clusters, margin) if (suite, metric) in KEPT else None,
    )  # fmt: skip


def detectable(before: Sequence[float], after: Sequence[float], clusters: Sequence[str]) -> float:
    """The least difference that pairs like these show four times in five, tested alone at 5 %.

    0/1: `detectable_paired` of the pairs that these are worth, K·√ψ at the share ψ that was seen to disagree, and K² at
    least: what so many pairs can show where all that disagree do so in one way. Others: 2.8 standard errors over
    meanings. nan where no difference can be shown, as of fewer than six meanings.

    >>> same = [0.0] * 300
    >>> round(detectable(same, [1.0] * 30 + same[30:], [str(i) for i in range(300)]), 3)  # 10 % disagree
    0.051
    >>> round(detectable(same, same, [str(i) for i in range(300)]), 3)
    0.026
    """
    x, y = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    kept = ~np.isnan(y - x)
    gap, names = (y - x)[kept], np.asarray(clusters)[kept]
    groups = len(set(names.tolist()))
    if groups < FEWEST:
        return math.nan
    if np.isin((x[kept], y[kept]), (0.0, 1.0)).all():
        least = detectable_paired(max(1, int(worth(gap, names, doubt=0.25))), 1.0)
        return max(least * math.sqrt(float((gap != 0).mean())), least**2)
    _, index = np.unique(names, return_inverse=True)
    sums = np.bincount(index, weights=gap - gap.mean())
    error = math.sqrt(float((sums**2).sum()) * groups / (groups - 1)) / len(gap)
    return POWER * error if error else math.nan


def _kept(before: Sequence[float], after: Sequence[float], clusters: Sequence[str], margin: float) -> dict[str, Any]:
    """Whether a number that should be high was kept, of the 90 % interval."""
    both, one = (ask(before, after, clusters, margin=margin) for ask in (equivalent, not_inferior))
    return {"verdict": kept_words(both, one), "low": both.low, "high": both.high, "margin": margin}


def kept_words(both: MarginTest, one: MarginTest) -> str:
    """Equivalence in words; a rise beyond the margin has kept it too."""
    points = f"{bare('share', both.margin).removesuffix('.0')} points"
    if both.verdict == "equivalent":
        return f"kept within {points}"
    return {"not inferior": f"kept: at most {points} lower", "inferior": "not kept"}.get(one.verdict, "undecided")


def judged(rows: Sequence[Difference]) -> list[Difference]:
    """The rows with Holm's p over those that are claimed about, and what may be said of these."""
    family = [row for row in rows if row.claimed]
    adjusted = iter(holm([row.p for row in family]))
    return [_judge(replace(row, holm=next(adjusted))) if row.claimed else row for row in rows]


def _judge(row: Difference) -> Difference:
    kind = unit(row.metric, [{"mean": row.before}, {"mean": row.after}])
    seen = size(kind, row.detectable)
    return replace(row, verdict=verdict(row.difference.mean, row.holm, row.detectable, row.better, seen))


def verdict(difference: float, p: float, least: float, better: str, seen: str) -> str:
    """What may be said of a difference: nothing is claimed below the least that the design can see.

    >>> verdict(-0.2, 0.01, 0.1, "lower", "10 points"), verdict(-0.05, 0.01, 0.1, "lower", "10 points")
    ('better', 'not claimed: smaller than this design can see (10 points)')
    >>> verdict(-0.2, 0.06, 0.1, "lower", "10 points")
    'no difference shown (could have seen 10 points or more)'
    """
    if math.isnan(difference) or math.isnan(p):
        return "not measured"
    if p >= ALPHA:
        return "no difference shown " + ("(too few to see any)" if math.isnan(least) else f"(could have seen {seen} or more)")
    if not abs(difference) >= least:
        return "not claimed: " + ("too few to see any" if math.isnan(least) else f"smaller than this design can see ({seen})")
    return "better" if (difference < 0) == (better == "lower") else "worse"
