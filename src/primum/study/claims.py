"""Several seeds together, and what was claimed of them: verdicts are computed here, from intervals, never written."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, Literal

from primum.stats import Z95, mean, student

Sense = Literal["above", "below"]
Bound = Literal["", "at least", "at most", "unclear"]
POWER = 0.8


@dataclass(frozen=True)
class Pooled:
    """A mean over seeds with its 95 % interval, and how many seeds and scored answers it rests on.

    `bound` says what a number tells of which parts are known on one side alone: that the true one is at least, or at most, so
    much; or, where some parts are of one sort and some of the other, nothing (unclear).
    """

    mean: float
    low: float
    high: float
    seeds: int
    n: int
    unscored: int = 0
    possible: tuple[float, float] = (-math.inf, math.inf)  # what the number cannot leave
    bound: Bound = ""

    @property
    def missing(self) -> float:
        """The share of answers that nobody could score."""
        return self.unscored / (self.n + self.unscored) if self.unscored else 0.0

    def whole(self) -> Pooled:
        """The number with the interval that it would have if every unscored answer lay at either end of what is possible.

        >>> told = Pooled(0.5, 0.4, 0.6, 3, 90, unscored=10, possible=(0.0, 1.0)).whole()
        >>> round(told.low, 2), round(told.high, 2)
        (0.36, 0.64)
        """
        if not self.missing or math.isinf(self.possible[0]):
            return self
        low, high = (v + self.missing * (end - v) for v, end in zip((self.low, self.high), self.possible, strict=True))
        return replace(self, low=low, high=high)

    def to_json(self) -> dict[str, Any]:
        told = {"mean": _known(self.mean), "low": _known(self.low), "high": _known(self.high), "seeds": self.seeds, "n": self.n}
        return told | ({"unscored": self.unscored} if self.unscored else {}) | ({"bound": self.bound} if self.bound else {})


def pooled(by_seed: Mapping[str, Mapping[str, Any]], *, signed: bool = False) -> Pooled:
    """The mean over seeds of their means, `signed` where they are differences; a seed's parts (0/H1, 0/H2 are seed 0's) count as
    one draw.

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
    every = [t for parts in groups.values() for t in parts]
    low, high = possible = _possible(every, signed)
    unscored = sum(int(t.get("unscored") or 0) for t in every)
    if k == 1:
        only = next(iter(groups.values()))
        if n <= len(only):  # no prompts behind it: one seed alone has no interval
            return Pooled(centre, math.nan, math.nan, 1, n)
        if len(only) == 1 and not math.isnan(by_prompts):
            return Pooled(centre, only[0]["low"], only[0]["high"], 1, n, unscored, possible)
        return Pooled(centre, max(low, centre - by_prompts), min(high, centre + by_prompts), 1, n, unscored, possible)
    deviation = math.sqrt(sum((m - centre) ** 2 for m in means) / (k - 1))
    half = max(student(k - 1) * deviation / math.sqrt(k), 0.0 if math.isnan(by_prompts) else by_prompts)
    return Pooled(centre, max(low, centre - half), min(high, centre + half), k, n, unscored, possible)


@dataclass
class Found:
    """What an experiment's arms came to, seed by seed: arm → seed → metric → estimate, and paired differences on demand."""

    arms: Mapping[str, Mapping[str, Mapping[str, Any]]]
    differ: Callable[[str, str, str], Mapping[str, Mapping[str, Any]]]
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # arm → seed → whatever the experiment noted
    asked: dict[tuple[str, str, str], Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    signed: Collection[str] = ()  # metrics that are differences themselves
    used: set[str] = field(default_factory=set)  # metrics that were asked for

    def value(self, arm: str, metric: str) -> Pooled:
        """A metric of an arm over its seeds."""
        self.used.add(metric)
        by_seed = {seed: told[metric] for seed, told in self.arms.get(arm, {}).items() if metric in told}
        return pooled(by_seed, signed=metric in self.signed)

    def gap(self, a: str, b: str, metric: str) -> Pooled:
        """b − a on the same prompts, over the seeds that have both; kept for the page."""
        return pooled(self.each(a, b, metric), signed=True)

    def each(self, a: str, b: str, metric: str) -> Mapping[str, Mapping[str, Any]]:
        """The same, seed by seed."""
        key = (a, b, metric)
        if key not in self.asked:
            self.asked[key] = self.differ(a, b, metric)
        return self.asked[key]

    def of(self, number: Callable[[str], float | None], seeds: Iterable[str] | None = None) -> Pooled:
        """A number that is computed of each seed, over seeds; None and nan are left out."""
        names = list(seeds) if seeds is not None else list(dict.fromkeys(s for told in self.arms.values() for s in told))
        found = {seed: value for seed in names if (value := number(seed)) is not None and math.isfinite(value)}
        return pooled({s: {"mean": v, "low": v, "high": v, "n": 1} for s, v in found.items()})

    def bounded(self, number: Callable[[str], tuple[float | None, Bound]]) -> Pooled:
        """The same of a number that is known on one side alone of some seeds: told of each is what it bounds, too."""
        told = {seed: number(seed) for seed in dict.fromkeys(s for told in self.arms.values() for s in told)}
        known = [side for value, side in told.values() if value is not None and math.isfinite(value)]
        return replace(self.of(lambda seed: told[seed][0], told), bound=bound_of(known))

    def between(self, arm: str, a: str, b: str) -> Pooled:
        """b − a, two metrics of one arm that are told of different prompts: the seeds' differences, each with the interval that
        both leave it (the root of the summed squares of their half widths, Newcombe's where the two are Wilson's)."""
        self.used |= {a, b}
        both = {seed: told for seed, told in self.arms.get(arm, {}).items() if a in told and b in told}
        return pooled({seed: apart(told[a], told[b]) for seed, told in both.items()}, signed=True)

    def mean(self, arm: str, seed: str, metric: str) -> float:
        """One seed's mean; nan where there is none."""
        self.used.add(metric)
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
        """held or failed where the whole interval, unscored answers counted as either, lies on one side of the limit, and what
        is a bound is one on the right side; else undecided."""
        told = self.value.whole()
        if math.isnan(told.low) or math.isnan(told.high):
            return "undecided"
        below = self.sense == "below"
        under = told.high <= self.limit if below else told.high < self.limit
        over = told.low > self.limit if below else told.low >= self.limit
        if not (under or over) or not settles(told.bound, under):
            return "undecided"
        return "held" if under == below else "failed"

    @property
    def detectable(self) -> float:
        """The least distance from the limit that so many seeds and prompts show four times in five."""
        told = self.value.whole()
        return (told.high - told.low) / 2 * (1 + NormalDist().inv_cdf(POWER) / Z95)

    def to_json(self) -> dict[str, Any]:
        return {
            "claim": self.claim, "measure": self.measure, "value": self.value.whole().to_json(), "sense": self.sense,
            "limit": self.limit, "verdict": self.verdict, "detectable": _known(self.detectable),
        }  # fmt: skip


def settles(bound: str, under: bool) -> bool:
    """Whether a number that lies under (or over) a limit shows that the true one does: what is at least so much may be more."""
    return bound in (("", "at most") if under else ("", "at least"))


def bound_of(sides: Iterable[Bound]) -> Bound:
    """What a mean tells whose parts are such bounds.

    >>> bound_of(["", "at least"]), bound_of(["at most", "at least"]), bound_of([""])
    ('at least', 'unclear', '')
    """
    found = {side for side in sides if side}
    return found.pop() if len(found) == 1 else "unclear" if found else ""


@dataclass(frozen=True)
class Target:
    """A figure that the project set itself: met where the mean over seeds reaches it."""

    target: str
    value: Pooled
    sense: Sense
    limit: float

    def to_json(self) -> dict[str, Any]:
        told = {"target": self.target, "value": self.value.to_json(), "sense": self.sense, "limit": self.limit}
        return told | {"met": self.met}

    @property
    def met(self) -> bool | None:
        """Whether the mean reaches the limit, unscored answers counted against it; None where it is not known."""
        value, below = self.value, self.sense == "below"
        if math.isnan(value.mean):
            return None
        worst = value.possible[1 if below else 0]
        at = value.mean if math.isinf(worst) else value.mean + value.missing * (worst - value.mean)
        met = at <= self.limit if below else at >= self.limit
        return met if settles(value.bound, at <= self.limit) else None


def verdict(claims: Sequence[Claim]) -> str:
    """held where all claims held, failed where none did and some failed, undecided where none is settled, else held in part."""
    said = [claim.verdict for claim in claims]
    if said and all(v == "held" for v in said):
        return "held"
    if "held" not in said:
        return "failed" if "failed" in said else "undecided"
    return "held in part"


def apart(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """b − a of two numbers of different prompts, with an interval where both have one.

    Each end of the difference takes the ends of the two that lie on its side: Newcombe 1998, Statistics in Medicine 17(8), 873,
    method 10.

    >>> told = apart({"mean": 0.2, "low": 0.1, "high": 0.3, "n": 40}, {"mean": 0.5, "low": 0.4, "high": 0.7, "n": 30})
    >>> round(told["mean"], 3), round(told["low"], 3), round(told["high"], 3), told["n"]
    (0.3, 0.159, 0.524, 70)
    """
    if a.get("mean") is None or b.get("mean") is None:
        return {"mean": None, "low": None, "high": None, "n": 0}
    gap, ends = b["mean"] - a["mean"], [t.get(end) for t in (a, b) for end in ("low", "high")]
    if None in ends:
        return {"mean": gap, "low": None, "high": None, "n": 1}
    return {
        "mean": gap, "low": gap - math.hypot(b["mean"] - b["low"], a["high"] - a["mean"]),
        "high": gap + math.hypot(b["high"] - b["mean"], a["mean"] - a["low"]),
        "n": int(a.get("n", 0)) + int(b.get("n", 0)), "unscored": int(a.get("unscored") or 0) + int(b.get("unscored") or 0),
    }  # fmt: skip


def _half(parts: Sequence[Mapping[str, Any]]) -> float:
    """Half the width of the mean of a seed's parts, taken as independent prompts; nan where one is not known."""
    widths = [math.nan if t.get("low") is None or t.get("high") is None else (t["high"] - t["low"]) / 2 for t in parts]
    return math.sqrt(sum(w * w for w in widths)) / len(widths)


def _possible(parts: Sequence[Mapping[str, Any]], signed: bool) -> tuple[float, float]:
    """The range that a number of prompts cannot leave: [0, 1] of shares, [−1, 1] of differences; numbers of n 1 are neither."""
    ends = [t[end] for t in parts for end in ("low", "high") if t.get(end) is not None]
    if not ends or max(int(t.get("n", 0)) for t in parts) <= 1 or min(ends) < -1 or max(ends) > 1:
        return -math.inf, math.inf
    return (-1.0, 1.0) if signed or min(ends) < 0 else (0.0, 1.0)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
