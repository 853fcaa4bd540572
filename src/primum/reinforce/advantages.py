"""How much better a rollout did than its siblings."""

from __future__ import annotations

import torch
from torch import Tensor

SAME = 1e-6  # rewards closer than this are one reward


def group_advantages(rewards_N: Tensor, group: int, *, scale: bool = False) -> Tensor:
    """Centre each reward on the mean of its siblings.

    A_i = r_i - mean(r)           Liu et al. 2025 (Dr. GRPO), arXiv:2503.20783
    A_i = A_i / (std(r) + 1e-6)   when scale: Shao et al. 2024 (GRPO), arXiv:2402.03300

    Siblings are adjacent; std divides by n - 1, as TRL's does. An unscored rollout (nan)
    neither moves the mean nor learns, so a group with one scored member teaches nothing, and
    equal rewards give exactly 0: rounding is not blown up by a small deviation.

    >>> group_advantages(torch.tensor([1.0, 0.0, torch.nan, 1.0]), group=4)
    tensor([ 0.3333, -0.6667,  0.0000,  0.3333])
    """
    rewards_PG = rewards_N.view(-1, group)
    scored_PG = ~rewards_PG.isnan()
    count_P1 = scored_PG.sum(1, keepdim=True)
    centred_PG = torch.where(scored_PG, rewards_PG - rewards_PG.nanmean(1, keepdim=True), 0.0)
    if scale:
        variance_P1 = centred_PG.square().sum(1, keepdim=True) / (count_P1 - 1).clamp(min=1)
        centred_PG = centred_PG / (variance_P1.sqrt() + 1e-6)
    return (centred_PG * informative(rewards_N, group)[:, None]).reshape(-1)


def informative(rewards_N: Tensor, group: int) -> Tensor:
    """Whether each group's scored rewards differ at all; one that does not teaches nothing.

    >>> informative(torch.tensor([1.0, 1.0, 0.0, 1.0, torch.nan, 1.0]), group=2)
    tensor([False,  True, False])
    """
    rewards_PG = rewards_N.view(-1, group)
    unscored_PG = rewards_PG.isnan()
    highest_P = rewards_PG.masked_fill(unscored_PG, -torch.inf).amax(1)
    lowest_P = rewards_PG.masked_fill(unscored_PG, torch.inf).amin(1)
    return highest_P - lowest_P > SAME
