"""How much better a rollout did than its siblings, and which of its tokens learn that."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Baseline = Literal["mean", "leave_one_out", "log_z"]
Scale = Literal["none", "std", "batch"]

SAME = 1e-6  # rewards closer than this are one reward


def group_advantages(
    rewards_N: Tensor, group: int, *, baseline: Baseline = "mean", scale: Scale = "none", floor: float = 0.0, tau: float = 1.0
) -> Tensor:
    """Each reward less what its siblings make one expect.

    none            x_i = r_i                                   Liu et al. 2025 (Dr. GRPO), arXiv:2503.20783
    std             x_i = r_i / max(std(siblings' r) + 1e-4, floor)    Shao et al. 2024 (GRPO), arXiv:2402.03300
    batch           x_i = r_i / max(std(all r) + 1e-4, floor)   Liu et al. 2025 (Lite PPO), arXiv:2508.08221
    mean            A_i = x_i - mean(siblings' x)
    leave_one_out   A_i = x_i - mean(the other siblings' x)     Ahmadian et al. 2024 (RLOO), arXiv:2402.14740
    log_z           A_i = x_i - tau·log mean exp(siblings' x / tau)    Kimi k1.5 2025, arXiv:2501.12599

    Siblings are adjacent; std divides by n - 1, and with a floor of 0 both scales are TRL's. An
    unscored rollout (nan) neither moves a mean or deviation nor learns, so a group with one scored
    member teaches nothing, and equal rewards give exactly 0: rounding is not blown up by a small deviation.

    >>> group_advantages(torch.tensor([1.0, 0.0, torch.nan, 1.0]), group=4)
    tensor([ 0.3333, -0.6667,  0.0000,  0.3333])
    >>> group_advantages(torch.tensor([1.0, 0.0, torch.nan, 1.0]), group=4, baseline="leave_one_out")
    tensor([ 0.5000, -1.0000,  0.0000,  0.5000])
    """
    rewards_PG = rewards_N.view(-1, group)
    scored_PG = ~rewards_PG.isnan()
    count_P1 = scored_PG.sum(1, keepdim=True)
    centred_PG = torch.where(scored_PG, rewards_PG - rewards_PG.nanmean(1, keepdim=True), 0.0)
    if scale == "std":
        centred_PG = centred_PG / _divisor(centred_PG.square().sum(1, keepdim=True), count_P1, floor)
    elif scale == "batch":
        spread_PG = torch.where(scored_PG, rewards_PG - rewards_N.nanmean(), 0.0)
        centred_PG = centred_PG / _divisor(spread_PG.square().sum(), count_P1.sum(), floor)
    if baseline == "leave_one_out":
        centred_PG = centred_PG * count_P1 / (count_P1 - 1).clamp(min=1)
    elif baseline == "log_z":
        powers_PG = (centred_PG / tau).masked_fill(~scored_PG, -torch.inf)
        centred_PG = centred_PG - tau * (powers_PG.logsumexp(1, keepdim=True) - count_P1.log())
    learns_PG = scored_PG & informative(rewards_N, group)[:, None]
    return torch.where(learns_PG, centred_PG, 0.0).reshape(-1)


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


def overlong_cost(lengths_N: Tensor, limit_tokens: int, buffer_tokens: int) -> Tensor:
    """What a rollout's length costs it, in [0, 1]: nothing up to the buffer before the limit, then linearly more.

    cost = (length - (limit - buffer)) / buffer, within 0 and 1     Yu et al. 2025 (DAPO), arXiv:2503.14476

    Their punishment is minus this. Without a buffer nothing costs.

    >>> overlong_cost(torch.tensor([80, 90, 100]), limit_tokens=100, buffer_tokens=20)
    tensor([0.0000, 0.5000, 1.0000])
    """
    return ((lengths_N - limit_tokens + buffer_tokens) / max(1, buffer_tokens)).clamp(0, 1) * (buffer_tokens > 0)


def kl_cost(old_NT: Tensor, reference_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """An estimate of each whole rollout's KL from the reference, in nats; single ones may be negative.

    k1 = Σ_t log π_old - log π_ref     Schulman 2020; Ouyang et al. 2022, arXiv:2203.02155

    In the reward only k1 has the gradient of the KL: k3's cancels to first order near the
    reference, since E_π[∇log π·k3] = ∇KL(π‖π_ref) - ∇KL(π_ref‖π).

    >>> kl_cost(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.5]]).log(), torch.ones(1, 2).bool())
    tensor([0.6931])
    """
    return torch.where(mask_NT, old_NT - reference_NT, 0.0).sum(1)


def credit(thought_N: Tensor, reply_N: Tensor, thought_tokens_N: Tensor, width: int) -> Tensor:
    """The advantage of each of `width` tokens: the thought's for the thought, the reply's from its closing tag on.

    >>> credit(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, -2.0]), torch.tensor([1, 3]), width=3)
    tensor([[ 1., -1., -1.],
            [ 2.,  2.,  2.]])
    """
    thinks_NT = torch.arange(width, device=thought_N.device) < thought_tokens_N[:, None]
    return torch.where(thinks_NT, thought_N[:, None], reply_N[:, None])


def _divisor(squares: Tensor, count: Tensor, floor: float) -> Tensor:
    """The standard deviation of so many numbers with this sum of squares, kept from being tiny."""
    return ((squares / (count - 1).clamp(min=1)).sqrt() + 1e-4).clamp(min=floor)
