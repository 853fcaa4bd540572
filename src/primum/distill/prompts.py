"""Which prompts a step of on-policy distillation takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from primum.types import KINDS, BadInput, Example, Kind


def draw(examples: Sequence[Example], kinds: Mapping[Kind, float], prompts: int, *, seed: int, step: int) -> list[Example]:
    """The `prompts` prompts of a step: from all evenly, or each kind's share where `kinds` has shares.

    Each pool is gone through in a fresh order every time round, so none comes twice before all came
    once. What is drawn depends on the arguments alone, so a resumed run draws the same. A kind
    without examples gives its share to the others.
    """
    if not kinds:
        return _in_turn(examples, prompts, [seed, len(KINDS)], step)
    chosen: list[Example] = []
    for kind, count in counts(examples, kinds, prompts).items():
        chosen += _in_turn([e for e in examples if e.kind == kind], count, [seed, KINDS.index(kind)], step)
    return chosen


def counts(examples: Sequence[Example], kinds: Mapping[Kind, float], prompts: int) -> dict[Kind, int]:
    """How many prompts of each kind: shares rounded down, the rest to the largest remainders.

    >>> asked = [Example(str(i), "", kind) for i, kind in enumerate(("harmful", "task"))]
    >>> counts(asked, {"harmful": 1.0, "benign": 5.0, "task": 2.0}, 4)
    {'harmful': 1, 'task': 3}
    """
    there = {e.kind for e in examples}
    shares = {kind: kinds[kind] for kind in KINDS if kinds.get(kind, 0) > 0 and kind in there}
    if not shares:
        raise BadInput("no training prompt of a kind with a share", ", ".join(kinds), "add such examples, or change kinds")
    exact = {kind: prompts * share / sum(shares.values()) for kind, share in shares.items()}
    out = {kind: int(x) for kind, x in exact.items()}
    for kind in sorted(exact, key=lambda kind: exact[kind] - out[kind], reverse=True)[: prompts - sum(out.values())]:
        out[kind] += 1
    return out


def _in_turn(examples: Sequence[Example], count: int, seed: list[int], step: int) -> list[Example]:
    """The examples of the places that step number `step`, from 1 on, takes in an endless sequence of shuffled pools."""
    pool = sorted(examples, key=lambda e: e.id)
    chosen = []
    for place in range((step - 1) * count, step * count):
        around, within = divmod(place, len(pool))
        chosen.append(pool[np.random.default_rng([*seed, around]).permutation(len(pool))[within]])
    return chosen
