"""An experiment's result.json as typed records. None is unknown, never 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Point = tuple[float | None, float | None]
COSTS = ("flops", "sampled_tokens", "trained_tokens", "oracle_queries", "seconds")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval; `n` answers were scored, over `seeds` seeds."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unscored: int = 0
    seeds: int = 0
    bound: str = ""  # "at least" or "at most" where some parts are known on one side alone, "unclear" where on either


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric's label, the side that is better ("lower", "higher" or ""), and its unit."""

    key: str
    label: str
    better: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Seed:
    metrics: dict[str, Estimate]
    cost: dict[str, float | None]
    extra: dict[str, float | None]
    unseen: dict[str, float] = field(default_factory=dict)  # harm of the categories that were held out for the test


@dataclass(frozen=True, slots=True)
class Arm:
    key: str
    label: str
    about: str
    seeds: dict[str, Seed]


@dataclass(frozen=True, slots=True)
class Pair:
    """b − a in one metric: of each seed, and over the seeds."""

    metric: str
    a: str
    b: str
    seeds: dict[str, Estimate]
    pooled: Estimate


@dataclass(frozen=True, slots=True)
class Curve:
    """Lines of one plot, arm → seed → points; `unit` is y's, `n` the prompts behind a point, 0 where not told."""

    title: str
    x: str
    y: str
    unit: str
    n: int
    arms: dict[str, dict[str, list[Point]]]


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim or a target: `verdict` is held, failed or undecided of a claim; met, not met or not known of a target."""

    text: str
    measure: str
    value: Estimate
    sense: str
    limit: float | None
    verdict: str
    detectable: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    thought: str
    reply: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Sample:
    seed: str
    kind: str
    category: str
    prompt: str
    answers: dict[str, Answer]


@dataclass(frozen=True)
class Result:
    """One experiment as its page and Markdown show it; `arms` keep the order of the file."""

    name: str
    question: str
    prediction: str
    verdict: str
    model: str
    seeds: list[str]
    arms: dict[str, Arm]
    measures: dict[str, Measure]
    shown: list[str]
    pairs: list[Pair]
    curves: list[Curve]
    pareto: tuple[str, str] | None
    claims: list[Claim]
    targets: list[Claim]
    samples: list[Sample]
    notes: list[str]
    failures: list[tuple[str, str, str]]
    command: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    table: dict[str, dict[str, Estimate]] = field(repr=False)

    def measure(self, key: str) -> Measure:
        return self.measures.get(key) or Measure(key, key.replace("_", " "))

    def value(self, arm: str, key: str) -> Estimate:
        """The arm's number over its seeds: from the table, or the mean of its seeds, without an interval."""
        found = self.table.get(arm, {}).get(key, Estimate())
        if found.mean is not None or arm not in self.arms:
            return found
        return over({name: s.metrics[key] for name, s in self.arms[arm].seeds.items() if key in s.metrics})

    def unscored(self, arm: str, key: str) -> int:
        """Answers of all seeds that no judge could tell about."""
        return sum(s.metrics[key].unscored for s in self.arms[arm].seeds.values() if key in s.metrics)

    def label(self, arm: str) -> str:
        return self.arms[arm].label if arm in self.arms else arm


def over(by_seed: Mapping[str, Estimate]) -> Estimate:
    """The mean of several seeds' means, without an interval; a seed's parts (0/H1, 0/H2) are one seed.

    >>> over({"0": Estimate(mean=0.25, n=40), "1": Estimate(mean=0.75, n=40), "2": Estimate()})
    Estimate(mean=0.5, low=None, high=None, n=80, unscored=0, seeds=2, bound='')
    """
    known = {name: v.mean for name, v in by_seed.items() if v.mean is not None}
    mean = sum(known.values()) / len(known) if known else None
    return Estimate(mean, n=sum(by_seed[name].n for name in known), seeds=distinct(known))


def distinct(names: Iterable[str]) -> int:
    """How many seeds the names are of.

    >>> distinct(["0/H1", "0/H2", "1/H1"])
    2
    """
    return len({name.partition("/")[0] for name in names})
