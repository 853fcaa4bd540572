"""Several seeds together, and what was claimed of them: verdicts are computed here, from intervals, never written."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

from primum.stats import Z95, mean, student

Sense = Literal["above", "below"]
POWER = 0.8


@dataclass(frozen=True)
class Pooled:
    """A mean over seeds with its 95 % interval, and how many seeds and prompts it rests on."""

    mean: float
    low: float
    high: float
    seeds: int
    n: int

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": _known(self.mean), "low": _known(self.low), "high": _known(self.high), "seeds": self.seeds, "n": self.n
        }  # fmt: skip


def pooled(by_seed: Mapping[str, Mapping[str, Any]]) -> Pooled:
    """The mean over seeds of their means; a seed's parts (0/H1, 0/H2 are seed 0's) count as one draw.

    The interval is Student's over the seeds' means, or the one that the prompts alone would leave (the root of the summed
    squares of the seeds' half widths, over their number), whichever is wider: seeds that agree by chance do not make it
    narrower than the prompts allow. One seed has the prompts' interval, which tells nothing of other seeds, or none where no
    prompts are behind its number. Of shares, and of their differences, it does not leave what is possible.

    >>> found = pooled({"0": {"mean": 2.1, "low": 2.1, "high": 2.1, "n": 9}, "1": {"mean": 2.3, "low": 2.3, "high": 2.3, "n": 9}})
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3), found.seeds, found.n
    (2.2, 0.929, 3.471, 2, 18)
    """
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for name, told in by_seed.items():
        if told.get("mean") is not None:
            groups[name.partition("/")[0]].append(told)
    if not groups:
        return Pooled(math.nan, math.nan, math.nan, 0, 0)
    means = [mean(t["mean"] for t in parts) for parts in groups.values()]
    n, k = sum(int(t.get("n", 0)) for parts in groups.values() for t in parts), len(groups)
    centre = sum(means) / k
    by_prompts = math.sqrt(sum(_half(parts) ** 2 for parts in groups.values())) / k
    low, high = _possible([t for parts in groups.values() for t in parts])
    if k == 1:
        only = next(iter(groups.values()))
        if n <= len(only):  # no prompts behind it: one seed alone has no interval
            return Pooled(centre, math.nan, math.nan, 1, n)
        if len(only) == 1 and not math.isnan(by_prompts):
            return Pooled(centre, only[0]["low"], only[0]["high"], 1, n)
        return Pooled(centre, max(low, centre - by_prompts), min(high, centre + by_prompts), 1, n)
    deviation = math.sqrt(sum((m - centre) ** 2 for m in means) / (k - 1))
    half = max(student(k - 1) * deviation / math.sqrt(k), 0.0 if math.isnan(by_prompts) else by_prompts)
    return Pooled(centre, max(low, centre - half), min(high, centre + half), k, n)


@dataclass
class Found:
    """What an experiment's arms came to, seed by seed: arm → seed → metric → estimate, and paired differences on demand."""

    arms: Mapping[str, Mapping[str, Mapping[str, Any]]]
    differ: Callable[[str, str, str], Mapping[str, Mapping[str, Any]]]
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # arm → seed → whatever the experiment noted
    asked: dict[tuple[str, str, str], Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def value(self, arm: str, metric: str) -> Pooled:
        """A metric of an arm over its seeds."""
        return pooled({seed: told[metric] for seed, told in self.arms.get(arm, {}).items() if metric in told})

    def gap(self, a: str, b: str, metric: str) -> Pooled:
        """b − a on the same prompts, over the seeds that have both; kept for the page."""
        key = (a, b, metric)
        if key not in self.asked:
            self.asked[key] = self.differ(a, b, metric)
        return pooled(self.asked[key])

    def of(self, number: Callable[[str], float | None], seeds: Iterable[str] | None = None) -> Pooled:
        """A number that is computed of each seed, over seeds; None and nan are left out."""
        names = list(seeds) if seeds is not None else list(dict.fromkeys(s for told in self.arms.values() for s in told))
        found = {seed: value for seed in names if (value := number(seed)) is not None and math.isfinite(value)}
        return pooled({s: {"mean": v, "low": v, "high": v, "n": 1} for s, v in found.items()})

    def mean(self, arm: str, seed: str, metric: str) -> float:
        """One seed's mean; nan where there is none."""
        told = self.arms.get(arm, {}).get(seed, {}).get(metric) or {}
        return math.nan if told.get("mean") is None else float(told["mean"])


@dataclass(frozen=True)
class Claim:
    """A prediction about one number: that it lies above or below a limit."""

    claim: str
    measure: str
    value: Pooled
    sense: Sense
    limit: float

    @property
    def verdict(self) -> str:
        """held or failed where the whole interval lies on one side of the limit, else undecided."""
        low, high = self.value.low, self.value.high
        if math.isnan(low) or math.isnan(high):
            return "undecided"
        if self.sense == "below":
            return "held" if high <= self.limit else "failed" if low > self.limit else "undecided"
        return "held" if low >= self.limit else "failed" if high < self.limit else "undecided"

    @property
    def detectable(self) -> float:
        """The least distance from the limit that so many seeds and prompts show four times in five."""
        half = (self.value.high - self.value.low) / 2
        return half * (1 + NormalDist().inv_cdf(POWER) / Z95)

    def to_json(self) -> dict[str, Any]:
        return {
            "claim": self.claim, "measure": self.measure, "value": self.value.to_json(), "sense": self.sense,
            "limit": self.limit, "verdict": self.verdict, "detectable": _known(self.detectable),
        }  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A figure that the project set itself: met where the mean over seeds reaches it."""

    target: str
    value: Pooled
    sense: Sense
    limit: float

    def to_json(self) -> dict[str, Any]:
        at = self.value.mean
        met = None if math.isnan(at) else at <= self.limit if self.sense == "below" else at >= self.limit
        return {"target": self.target, "value": self.value.to_json(), "sense": self.sense, "limit": self.limit, "met": met}


def verdict(claims: Sequence[Claim]) -> str:
    """held where all claims held, failed where none did and some failed, undecided where none is settled, else held in part."""
    said = [claim.verdict for claim in claims]
    if said and all(v == "held" for v in said):
        return "held"
    if "held" not in said:
        return "failed" if "failed" in said else "undecided"
    return "held in part"


def _half(parts: Sequence[Mapping[str, Any]]) -> float:
    """Half the width of the mean of a seed's parts, taken as independent prompts; nan where one is not known."""
    widths = [math.nan if t.get("low") is None or t.get("high") is None else (t["high"] - t["low"]) / 2 for t in parts]
    return math.sqrt(sum(w * w for w in widths)) / len(widths)


def _possible(parts: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The range that a number of prompts cannot leave: [0, 1] of shares, [−1, 1] of differences; numbers of n 1 are neither."""
    ends = [t[end] for t in parts for end in ("low", "high") if t.get(end) is not None]
    if not ends or max(int(t.get("n", 0)) for t in parts) <= 1 or min(ends) < -1 or max(ends) > 1:
        return -math.inf, math.inf
    return (0.0, 1.0) if min(ends) >= 0 else (-1.0, 1.0)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
