"""Which prompts a step trains on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from primum.reinforce.config import Mix
from primum.types import KINDS, BadInput, Example, Kind


def draw(examples: Sequence[Example], mix: Mix, prompts: int, *, seed: int, step: int) -> list[Example]:
    """The prompts of one step, `prompts` of them, kinds in the shares of `mix`.

    Each kind is gone through in a fresh order every time round, so none of its prompts comes
    twice before all came once. The draw depends on seed and step alone, never on the steps
    before, so a resumed run draws the same. A kind without examples gives its share to the others.
    """
    chosen: list[Example] = []
    for kind, count in counts(examples, mix, prompts).items():
        pool = sorted((e for e in examples if e.kind == kind), key=lambda e: e.id)
        for place in range(step * count, (step + 1) * count):
            around, within = divmod(place, len(pool))
            order = np.random.default_rng([seed, KINDS.index(kind), around]).permutation(len(pool))
            chosen.append(pool[order[within]])
    return chosen


def counts(examples: Sequence[Example], mix: Mix, prompts: int) -> dict[Kind, int]:
    """How many prompts of each kind a step takes: shares rounded down, the rest to the largest remainders."""
    there = {e.kind for e in examples}
    wanted: dict[Kind, float] = {kind: getattr(mix, kind) for kind in KINDS if getattr(mix, kind) > 0}
    shares = {kind: share for kind, share in wanted.items() if kind in there}
    if not shares:
        raise BadInput("no training prompt of a kind in the mix", ", ".join(wanted), "add such examples, or change reinforce.mix")
    exact = {kind: prompts * share / sum(shares.values()) for kind, share in shares.items()}
    out = {kind: int(x) for kind, x in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: exact[kind] - out[kind], reverse=True)
    for kind in by_remainder[: prompts - sum(out.values())]:
        out[kind] += 1
    return out
