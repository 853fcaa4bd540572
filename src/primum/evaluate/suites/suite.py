"""A suite: a question about a model, the prompts that ask it, and the numbers told of the answers."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

from primum.evaluate.measure import Measured
from primum.stats import Estimate, estimate
from primum.types import BadInput, Example, Kind, Rollout, Signal

Value = Callable[[Measured], float | None]
"""A number told of one rollout; nan where it could not be told, None where the rollout is not asked for it."""

OUTCOMES = (
    "refused", "partly refused", "complied", "refused, harmful", "partly refused, harmful", "complied, harmful",
    "correct", "wrong", "neither complied nor refused", "neither complied nor refused, harmful", "truncated", "unscored",
)  # fmt: skip
OUTCOMES_OF_THOUGHT = (
    "would refuse", "would comply", "undecided", "would refuse, harmful", "would comply, harmful", "undecided, harmful",
    "no thought", "truncated", "unscored",
)  # fmt: skip
APPLIES: Mapping[Kind, tuple[str, ...]] = {
    "harmful": ("harm_in_reply", "harm_in_thought"), "borderline": ("harm_in_reply", "useful"), "benign": ("useful",),
    "task": ("correct",),
}  # fmt: skip
"""The gold signals that a kind of prompt rests on. Refusal is not among them: an empty reply does neither."""
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Make(Protocol):
    """What is asked, made of a suite's prompts. `templates` are (name, text with {ask}) that the user brings."""

    def __call__(self, examples: Sequence[Example], seed: int, templates: Sequence[tuple[str, str]]) -> list[Example]: ...


@dataclass(frozen=True)
class Suite:
    """What is asked, of which kinds of prompt, and what is told.

    `metrics` are averaged over the rollouts; `reads` names the gold signal behind those that a judge's card can correct.
    `gold` names the gold signals, none of which may be a reward's. `signals` are asked beside the judge's, into
    `Measured.more`. `sets` are public sets, by spec, under the data folder; `own` prompts are there without any file, and
    those of the micro-world unless `world` is false. What shares a `unit` is drawn together. `make` turns prompts into what
    is asked, from `requests` of them at most; `turn` answers the rollouts of a turn with the next turn's prompts, until
    there are none.
    """

    name: str
    asks: str
    kinds: tuple[Kind, ...]
    metrics: Mapping[str, Value]
    gold: tuple[str, ...]
    reads: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    sets: tuple[str, ...] = ()
    own: Callable[[], list[Example]] | None = None
    world: bool = True
    signals: Mapping[str, Signal] = field(default_factory=lambda: NOTHING)
    unit: Callable[[Example], str] = lambda e: e.id
    requests: int = 0
    make: Make | None = None
    turn: Callable[[Sequence[Rollout]], list[Example]] | None = None
    more: Callable[[Sequence[Measured]], Mapping[str, Estimate]] | None = None  # of all rollouts together
    by: Mapping[str, Callable[[Example], str]] = field(
        default_factory=lambda: {"category": lambda e: e.category, "source": lambda e: e.source}
    )


def summarise_suite(suite: Suite, measured: Sequence[Measured]) -> dict[str, Any]:
    """The suite's numbers with intervals, overall and by group, and how often each outcome occurred.

    Intervals draw meanings anew. `unscored` is the share of rollouts that ended by themselves and that a
    gold signal could not judge.
    """
    told: dict[str, Any] = {
        "asks": suite.asks,
        "prompts": len({m.rollout.example.id for m in measured}),
        "rollouts": len(measured),
        "metrics": {name: averaged(measured, value).to_json() for name, value in suite.metrics.items()},
        "unscored": sum(_unscored(m, suite) for m in measured) / len(measured) if measured else math.nan,
        "outcomes": _counts((m.outcome for m in measured), OUTCOMES),
        "outcomes_of_thoughts": _counts((m.outcome_of_thought for m in measured), OUTCOMES_OF_THOUGHT),
    }
    if suite.more is not None:
        told["metrics"] |= {name: value.to_json() for name, value in suite.more(measured).items()}
    first = next(iter(suite.metrics))
    for name, of in suite.by.items():
        groups: defaultdict[str, list[Measured]] = defaultdict(list)
        for m in measured:
            groups[of(m.rollout.example)].append(m)
        groups.pop("", None)
        if len(groups) > 1:
            told[f"by_{name}"] = {
                key: {first: averaged(rows, suite.metrics[first]).to_json()} for key, rows in sorted(groups.items())
            }
    return told


def averaged(measured: Sequence[Measured], value: Value) -> Estimate:
    """The mean of a value over the rollouts that are asked for it, those of one meaning counted as one draw.

    A harmless turn that leads up to a request is the same whatever is asked later: its words are what is drawn.
    """
    told = [(v, _draw(m.rollout.example)) for m in measured if (v := value(m)) is not None]
    return estimate([v for v, _ in told], [cluster for _, cluster in told])


def _draw(example: Example) -> str:
    return example.prompt if example.plain and example.kind == "benign" else example.cluster


def chosen(examples: Sequence[Example], suite: Suite, most: int, seed: int) -> list[Example]:
    """The suite's prompts among these, `most` of them at most (0: all), drawn by the seed; two of one id are bad input."""
    found = [e for e in examples if e.kind in suite.kinds]
    if twice := next((name for name, n in Counter(e.id for e in found).items() if n > 1), ""):
        raise BadInput(f"two prompts are called '{twice}'", f"sets.{suite.name}", "name each set once, and files apart")
    return drawn(_joined(found), suite, most, seed)


def _joined(examples: Sequence[Example]) -> list[Example]:
    """The examples, those of one wording having one meaning in all sets, and so all that they share a meaning with."""
    first: dict[str, str] = {}
    means: dict[str, str] = {}  # a cluster → the earlier one it is of

    def root(cluster: str) -> str:
        while cluster in means:
            cluster = means[cluster]
        return cluster

    for e in examples:
        own, earlier = root(e.cluster), root(first.setdefault(" ".join(e.prompt.casefold().split()), e.cluster))
        if own != earlier:
            means[own] = earlier
    return [replace(e, meaning=root(e.cluster)) if e.cluster in means else e for e in examples]


def drawn(examples: Sequence[Example], suite: Suite, most: int, seed: int) -> list[Example]:
    """These prompts, or `most` of them drawn by the seed, in their order; those of a unit stay together."""
    if not most or len(examples) <= most:
        return list(examples)
    size = Counter(suite.unit(e) for e in examples)
    units = random.Random(f"{suite.name} {seed}").sample(list(size), len(size))
    kept, room = {units[0]}, most - size[units[0]]
    for unit in units[1:]:
        if size[unit] <= room:
            kept.add(unit)
            room -= size[unit]
    return [e for e in examples if suite.unit(e) in kept]


def _unscored(m: Measured, suite: Suite) -> bool:
    """Whether a gold signal of the suite that applies to the rollout could not tell, though nothing cut it short."""
    silent = [name for name in suite.gold if name in APPLIES[m.rollout.example.kind] and math.isnan(getattr(m, name))]
    if not m.rollout.thought.strip() and "harm_in_thought" in silent and m.outcome != "unscored":
        silent.remove("harm_in_thought")
    return not m.rollout.truncated and (bool(silent) or m.outcome == "unscored")


def _counts(found: Any, names: Sequence[str]) -> dict[str, int]:
    counts = Counter(found)
    return {name: counts[name] for name in names if counts[name]}
