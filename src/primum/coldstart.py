"""The cold start: supervised fine-tuning on demonstrations, before any reinforcement."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pydantic import Field

from primum.policy import Policy
from primum.policy.finetune import FinetuneConfig, Validate, describe, finetune
from primum.run import Run
from primum.types import KINDS, BadInput, Example


class ColdstartConfig(FinetuneConfig):
    """The settings of fine-tuning, and how many demonstrations it gets."""

    demonstrations: int = Field(0, ge=0)  # drawn evenly over the kinds of prompt; 0 takes all


def coldstart(
    policy: Policy, demonstrations: Sequence[Example], validate: Validate | None, config: ColdstartConfig, run: Run, *,
    seed: int, budget_flops: float,
) -> Policy:  # fmt: skip
    """A new policy that imitates the demonstrations, the best epoch of them on validation."""
    finished = run.done() is not None
    drawn = draw(demonstrations, config.demonstrations, seed)
    if not drawn and not finished:
        raise BadInput("no demonstrations for the cold start", "train split", "give examples that have a reply")
    tuned = finetune(policy, drawn, config, run, validate=validate, seed=seed, budget_flops=budget_flops, label="cold start")
    if not finished:
        run.say(describe("cold start", run))
    return tuned


def draw(demonstrations: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` examples that have a reply, as evenly over the kinds as they allow; all where count is 0.

    A kind with too few gives its places to the others.

    >>> tasks = [Example(str(i), "1 + 1 ?", "task", reply="2") for i in range(9)]
    >>> asked = [Example("a", "Is tea safe?", "benign", reply="yes"), Example("b", "tea", "benign")]
    >>> [e.kind for e in draw(tasks + asked, 4, seed=0)]
    ['benign', 'task', 'task', 'task']
    """
    shown = [e for e in demonstrations if e.reply]
    if not count or count >= len(shown):
        return shown
    piles = [[e for e in shown if e.kind == kind] for kind in KINDS]
    for i, pile in enumerate(piles):
        random.Random(f"{seed} {i}").shuffle(pile)
    rounds = [(turn, i, e) for i, pile in enumerate(piles) for turn, e in enumerate(pile)]
    taken = sorted(rounds, key=lambda place: place[:2])[:count]
    return [e for _, _, e in sorted(taken, key=lambda place: (place[1], place[0]))]
