"""When training counts as collapsed: the numbers of a step that no healthy policy has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from primum.reinforce.config import GuardConfig
from primum.types import Rollout


def collapse(row: Mapping[str, float], rollouts: Sequence[Rollout], guard: GuardConfig) -> str:
    """Why training collapsed in the step with these metrics, or "".

    A bound of 0 asks nothing, and neither does a number that was not measured (nan).

    >>> collapse({"entropy": 0.01, "tokens": 40.0, "kl": math.nan}, [], GuardConfig(min_entropy=0.05, max_kl=9))
    'entropy 0.01 is below guard.min_entropy'
    """
    if not all(math.isfinite(x) for r in rollouts for x in r.logprobs):
        return "a sampled token's probability is not a number"
    bands = {
        "entropy": (guard.min_entropy, guard.max_entropy),
        "tokens": (guard.min_tokens, guard.max_tokens),
        "kl": (0.0, guard.max_kl),
    }
    for name, (low, high) in bands.items():
        if low and row[name] < low:
            return f"{name} {row[name]:.3g} is below guard.min_{name}"
        if high and row[name] > high:
            return f"{name} {row[name]:.3g} is above guard.max_{name}"
    return ""
