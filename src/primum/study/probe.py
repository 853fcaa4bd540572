"""A look at a policy in the middle of its training: rates on held-out prompts, for curves that no arm pays for."""

from __future__ import annotations

import random

from primum.evaluate import EvaluateConfig, Judge, measure
from primum.ledger import Ledger
from primum.policy import Policy
from primum.study.measures import METRICS
from primum.types import Corpus, Example

PROBED = (
    "harm_seen",
    "harm_novel",
    "harm_seen_known",
    "harm_novel_known",
    "harm_contextual",
    "over_refusal",
    "over_refusal_seen",
    "useful",
    "accuracy",
    "off_language",
)


def probed(policy: Policy, corpus: Corpus, judge: Judge, config: EvaluateConfig, size: int) -> dict[str, float]:
    """The mean of each probed metric, the upper end of its 95 % interval, and how many answers were scored, named probe_…,
    probe_…_high and probe_…_n."""
    rows = measure(policy, probe_prompts(corpus, size), judge, config, Ledger())
    found: dict[str, float] = {}
    for name in PROBED:
        value = METRICS[name].of(rows, corpus)
        found[f"probe_{name}"] = value.mean
        found[f"probe_{name}_high"] = value.high
        found[f"probe_{name}_n"] = value.n
    return found


def probe_prompts(corpus: Corpus, size: int) -> list[Example]:
    """The same prompts whenever asked, drawn from the test split: `size` harmful ones of trained categories, half as many of
    held-out and of contextual ones, of each sort of look-alikes and of tasks, and a quarter of benign ones."""

    def pile(kind: str, *roles: str) -> list[Example]:
        return [e for e in corpus.test if e.kind == kind and (not roles or corpus.role(e.category) in roles)]

    half = max(1, size // 2)
    parts = [
        (pile("harmful", "train"), size), (pile("harmful", "test"), half), (pile("borderline", "train"), half),
        (pile("borderline", "test", "validation"), half), (pile("benign"), max(1, size // 4)), (pile("task"), half),
        (pile("harmful", "contextual"), half), (pile("borderline", "contextual"), half),
    ]  # fmt: skip
    return [e for found, count in parts for e in random.Random("probe").sample(found, min(count, len(found)))]
