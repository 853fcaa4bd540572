"""A look at a policy in the middle of its training: rates on held-out prompts, for curves that no arm pays for."""

from __future__ import annotations

import random
from collections.abc import Sequence

from primum.evaluate import EvaluateConfig, Judge, Measured, measure
from primum.ledger import Ledger
from primum.policy import Policy
from primum.study.measures import METRICS
from primum.types import Corpus, Example

PROBED = ("harm_seen", "harm_novel", "harm_contextual", "over_refusal", "useful", "accuracy", "off_language")


def probed(policy: Policy, corpus: Corpus, judge: Judge, config: EvaluateConfig, size: int) -> dict[str, float]:
    """The mean of each probed metric, and of shares the end of its 95 % interval that promises less, named probe_….

    `size` prompts of each of: harm of trained categories, harm of held-out ones, look-alikes, benign, tasks.
    """
    rows = measure(policy, probe_prompts(corpus, size), judge, config, Ledger())
    found: dict[str, float] = {}
    for name in PROBED:
        if name == "harm_contextual" and "contextual" not in corpus.roles:
            continue
        value = METRICS[name].of(rows, corpus)
        found[f"probe_{name}"] = value.mean
        found[f"probe_{name}_high"] = value.high
    return found


def probe_prompts(corpus: Corpus, size: int) -> list[Example]:
    """The same prompts whenever it is asked: drawn from the test split by a fixed seed."""
    harmful = [e for e in corpus.test if e.kind == "harmful"]
    harms = [[e for e in harmful if corpus.role(e.category) == role] for role in ("train", "test", "contextual")]
    others = [[e for e in corpus.test if e.kind == kind] for kind in ("borderline", "benign", "task")]
    return [e for pile in (*harms, *others) for e in _drawn(pile, size)]


def _drawn(pile: Sequence[Example], size: int) -> list[Example]:
    return random.Random("probe").sample(list(pile), min(size, len(pile)))


__all__ = ["Measured", "probe_prompts", "probed"]
