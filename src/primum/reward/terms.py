"""Terms of the reward that compare siblings: rollouts of one prompt, which stand beside one another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from primum.types import Rollout

FLOOR = 0.05  # least deviation that a difference is divided by, so that a tiny one stays small


def siblings(rollouts: Sequence[Rollout]) -> Iterator[range]:
    """The places of each run of rollouts of one prompt."""
    start = 0
    for _, same in groupby(rollouts, key=lambda r: (r.example.id, r.example.prompt, r.example.prefill)):
        size = sum(1 for _ in same)
        yield range(start, start + size)
        start += size


def relative(values: Sequence[float], rollouts: Sequence[Rollout]) -> list[float]:
    """Each value's z-score among its siblings, nan where it is nan; 0 where all are the same.

    z = (x - mean) / max(std, 0.05), over the siblings that have a value; std divides by n.
    """
    out = [math.nan] * len(values)
    for places in siblings(rollouts):
        kept = [values[i] for i in places if not math.isnan(values[i])]
        if not kept:
            continue
        mean = sum(kept) / len(kept)
        deviation = max(FLOOR, math.sqrt(sum((x - mean) ** 2 for x in kept) / len(kept)))
        for i in places:
            out[i] = (values[i] - mean) / deviation
    return out


def logistic(values: Sequence[float]) -> list[float]:
    """1 / (1 + exp(-x)) of each, so that what has no bounds is bounded (Fu et al. 2025, PAR, arXiv:2502.18770).

    >>> logistic([0.0, math.nan])
    [0.5, nan]
    """
    return [math.nan if math.isnan(x) else 1 / (1 + math.exp(-x)) for x in values]


def length_reward(correct: Sequence[float], rollouts: Sequence[Rollout]) -> list[float]:
    """Kimi's length reward, in [-0.5, 0.5]: brevity among siblings, which a wrong answer can only lose by.

    λ = 0.5 - (length - min) / (max - min); λ where correct, min(0, λ) where wrong, 0 where all are equally
    long    Kimi k1.5 2025, arXiv:2501.12599

    nan where correctness is nan.

    >>> from primum.types import Example
    >>> ask = Example(id="1", prompt="1 + 1?", kind="task")
    >>> group = [Rollout(ask, "", "2", reply_tokens=n) for n in (10, 20, 30, 10)]
    >>> length_reward([1.0, 1.0, 1.0, 0.0], group)
    [0.5, 0.0, -0.5, 0.0]
    """
    out = [math.nan] * len(rollouts)
    for places in siblings(rollouts):
        lengths = {i: _length(rollouts[i]) for i in places}
        least, most = min(lengths.values()), max(lengths.values())
        for i in places:
            share = 0.5 - (lengths[i] - least) / (most - least) if most > least else 0.0
            out[i] = math.nan if math.isnan(correct[i]) else share if correct[i] >= 0.5 else min(0.0, share)
    return out


def _length(rollout: Rollout) -> int:
    return len(rollout.completion_ids) or rollout.thought_tokens + rollout.reply_tokens
