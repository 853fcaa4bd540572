"""A prompt's siblings on their way through a step: sampled, continued, rewarded, learnt from, kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from primum.reinforce.advantages import informative, overlong_cost
from primum.reinforce.config import ReinforceConfig
from primum.reward.types import Rewards
from primum.types import Example, Rollout

# Numbers by the thousand, which a checkpoint reads quicker as tensors.
TENSORS = {"prompt_ids": torch.int64, "completion_ids": torch.int64, "logprobs": torch.float64}


@dataclass(eq=False)
class Group:
    """One prompt's rollouts, the step and round that drew it, and what they earned: nothing before all are finished.

    `advantages` holds the rollouts' advantages in the step that learns from them, by name.
    """

    rollouts: list[Rollout]
    step: int
    round: int = 0
    rewards: Rewards = field(default_factory=lambda: Rewards([], {}))
    advantages: dict[str, list[float]] = field(default_factory=dict)

    @property
    def example(self) -> Example:
        return self.rollouts[0].example

    def teaches(self, config: ReinforceConfig) -> bool:
        """Whether the siblings' rewards differ, less what length costs; with split credit those of one half suffice.

        KL in the reward is left out: it is known only to those who are scored.
        """
        lengths_N = torch.tensor([len(r.completion_ids) for r in self.rollouts])
        costs_N = overlong_cost(lengths_N, config.limit_tokens, config.overlong_tokens)
        halves = (self.rewards.thought, self.rewards.reply) if config.credit == "split" else ()
        unscored_N = torch.tensor(self.rewards.total, dtype=torch.float32).isnan()
        earned = [torch.tensor(x, dtype=torch.float32) for x in (self.rewards.total, *halves) if x]
        return any(bool(informative(x_N.masked_fill(unscored_N, math.nan) - costs_N, len(self.rollouts))) for x_N in earned)

    def to_state(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values and tensors."""
        content = asdict(self)
        for rollout in content["rollouts"]:
            rollout |= {name: torch.tensor(rollout[name], dtype=number) for name, number in TENSORS.items()}
        return content

    @classmethod
    def from_state(cls, content: dict[str, Any]) -> Group:
        rollouts = []
        for row in content["rollouts"]:
            numbers = {name: tuple(row[name].tolist()) for name in TENSORS}
            rollouts.append(Rollout(**{**row, **numbers, "example": Example.from_json(row["example"])}))
        return cls(**{**content, "rollouts": rollouts, "rewards": Rewards(**content["rewards"])})


def rollouts_of(groups: Iterable[Group]) -> list[Rollout]:
    """The rollouts of groups one after the other, siblings adjacent."""
    return [rollout for group in groups for rollout in group.rollouts]


def rewards_of(groups: Sequence[Group]) -> Rewards:
    """What those rollouts earned, in one; nan for the halves and parts of a group whose reward does not tell them."""
    out = Rewards([], {name: [] for group in groups for name in group.rewards.parts})
    for group in groups:
        nothing = [math.nan] * len(group.rollouts)
        out.total.extend(group.rewards.total)
        out.thought.extend(group.rewards.thought or nothing)
        out.reply.extend(group.rewards.reply or nothing)
        for name, values in out.parts.items():
            values.extend(group.rewards.parts.get(name) or nothing)
    return out
