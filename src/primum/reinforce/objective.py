"""The algorithm that the settings ask for: from rewards to each token's advantage, and from log-probabilities to the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from primum.reinforce.advantages import Baseline, credit, group_advantages, kl_cost, overlong_cost
from primum.reinforce.batch import Batch
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.losses import cispo_loss, clipped_loss, divergence, mirror_loss, sequence_log_ratio
from primum.reward.types import Rewards
from primum.types import Rollout


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss of some of a batch's rollouts, and the tokens whose gradient a clip cut off or bounded."""

    loss: Tensor
    clipped_NT: Tensor


def costs(config: ReinforceConfig, old_NT: Tensor, reference_NT: Tensor | None, mask_NT: Tensor) -> Tensor:
    """What is taken off each rollout's rewards before they are compared: for length, and for KL if that is in the reward.

    `mask_NT` marks all of a rollout's tokens, also those that learn nothing.
    """
    costs_N = overlong_cost(mask_NT.sum(1), config.limit_tokens, config.overlong_tokens)
    if config.kl and config.kl_in == "reward":
        assert reference_NT is not None
        costs_N = costs_N + config.kl * kl_cost(old_NT, reference_NT, mask_NT)
    return costs_N


def rollout_advantages(config: ReinforceConfig, rewards_N: Tensor) -> Tensor:
    """How much better each rollout did than its siblings, as the settings compare and scale; nan is unscored."""
    baseline: Baseline = config.baseline
    if config.loss == "mirror" and config.mirror.partition == "log_z":
        baseline = "log_z"
    return group_advantages(
        rewards_N, config.group, baseline=baseline, scale=config.scale, floor=config.scale_floor, tau=config.mirror.tau
    )


def token_advantages(
    config: ReinforceConfig, whole_N: Tensor, costs_N: Tensor, rewards: Rewards, rollouts: Sequence[Rollout]
) -> Tensor:
    """The advantage of every token, N × the longest completion: the rollout's, or that of its half where credit is split.

    A half with no reward of its own (nan, or none given) takes the whole's; those of an unscored
    rollout are unscored. Costs come off both halves.
    """
    thought_N, reply_N = whole_N, whole_N
    if config.credit == "split":
        unscored_N = torch.tensor(rewards.total, device=whole_N.device).isnan()
        halves = (_earned(half, unscored_N) - costs_N for half in (rewards.thought, rewards.reply))
        thought_N, reply_N = (torch.where(h.isnan(), whole_N, rollout_advantages(config, h)) for h in halves)
    thought_tokens_N = torch.tensor([r.thought_tokens for r in rollouts], device=whole_N.device)
    return credit(thought_N, reply_N, thought_tokens_N, max((len(r.completion_ids) for r in rollouts), default=0))


def _earned(rewards: Sequence[float], unscored_N: Tensor) -> Tensor:
    """One half's rewards; nan where none are given, and of an unscored rollout."""
    rewards_N = torch.tensor(rewards or [math.nan] * len(unscored_N), dtype=torch.float32, device=unscored_N.device)
    return rewards_N.masked_fill(unscored_N, math.nan)


def objective(config: ReinforceConfig, logprobs_NT: Tensor, entropy_NT: Tensor | None, part: Batch) -> Objective:
    """The loss of these rollouts' tokens, to be summed over the parts of a batch.

    L = Σ_it w_it·(policy loss_it + kl·KL_it - entropy·H_it)

    A masked token counts as unchanged, in its sequence's ratio too. For mirror, `part.old_NT` is
    the policy that the iteration began with.
    """
    logprobs_NT = torch.where(part.mask_NT, logprobs_NT, part.old_NT)
    losses_NT, clipped_NT = _policy_loss(config, logprobs_NT, part)
    if config.kl and config.kl_in == "loss":
        assert part.reference_NT is not None
        losses_NT = losses_NT + config.kl * divergence(logprobs_NT, part.reference_NT, config.kl_estimator)
    if config.entropy:
        assert entropy_NT is not None
        losses_NT = losses_NT - config.entropy * entropy_NT
    return Objective((losses_NT * part.weights_NT).sum(), clipped_NT & part.mask_NT)


def _policy_loss(config: ReinforceConfig, logprobs_NT: Tensor, part: Batch) -> tuple[Tensor, Tensor]:
    """What improves the reward, and where a clip acted."""
    log_ratio_NT = logprobs_NT - part.old_NT
    if config.loss == "cispo":
        return cispo_loss(logprobs_NT, log_ratio_NT, part.advantages_NT, high=config.clip_high)
    if config.loss in ("gspo", "rloo", "mirror"):
        log_ratio_NT = sequence_log_ratio(log_ratio_NT, part.mask_NT, mean=config.loss == "gspo")
    if config.loss == "mirror":
        return mirror_loss(log_ratio_NT, part.advantages_NT, tau=config.mirror.tau), torch.zeros_like(part.mask_NT)
    bounds = {"low": config.clip_low, "high": config.clip_high, "worst": config.clip_worst}
    return clipped_loss(log_ratio_NT, part.advantages_NT, **bounds)
