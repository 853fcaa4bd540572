"""From groups with rewards to the batch that an update learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from primum.policy.score import completion_logprobs, completion_mask
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.group import Group, rewards_of, rollouts_of
from primum.reinforce.losses import divergence, token_weights
from primum.reinforce.objective import costs, rollout_advantages, token_advantages
from primum.reinforce.reference import Reference
from primum.reinforce.update import Batch, Learner
from primum.run import Ledger
from primum.types import Rollout


def prepare(
    groups: Sequence[Group], replayed: Sequence[Group], learner: Learner, reference: Reference, ledger: Ledger
) -> tuple[Batch, float]:
    """The scored rollouts of groups with signal, and the KL from the reference of those that are not replayed.

    Tokens weigh as if no group had been left out. The KL is the mean over rollouts, in nats, by
    k3; nan where it is not measured. Every group is told its advantages.
    """
    config, device = learner.config, learner.policy.device
    everything = [*groups, *replayed]
    rollouts, rewards = rollouts_of(everything), rewards_of(everything)
    real_NT, old_NT = completion_mask(rollouts, device), completion_logprobs(rollouts, device)
    if not rollouts:
        return Batch([], old_NT, old_NT, old_NT, real_NT), math.nan
    in_reward = bool(config.kl) and config.kl_in == "reward"
    reference_NT = reference.score(rollouts, ledger, fast=learner.fast) if in_reward else None
    costs_N = costs(config, old_NT, reference_NT, real_NT)
    total_N = torch.tensor(rewards.total, dtype=torch.float32, device=device)
    whole_N = rollout_advantages(config, total_N - costs_N)
    advantages_NT = token_advantages(config, whole_N, costs_N, rewards, rollouts)
    _tell(everything, whole_N, advantages_NT, config)

    learns_NT = _learning(rollouts, real_NT)
    rows = _rows(advantages_NT, total_N, config.group)
    if not rows:
        return Batch([], old_NT[:0], old_NT[:0], old_NT[:0], real_NT[:0]), math.nan
    weights_NT = _weights(learns_NT, total_N, config)
    batch = Batch(rollouts, advantages_NT, weights_NT, old_NT, learns_NT, reference_NT).take(rows)
    if config.kl and not in_reward:
        batch.reference_NT = reference.score(batch.rollouts, ledger, fast=learner.fast)
    present = sum(row < len(groups) * config.group for row in rows)
    return batch, _kl(batch, present)


def _tell(groups: Sequence[Group], whole_N: Tensor, advantages_NT: Tensor, config: ReinforceConfig) -> None:
    """Write the advantages on the groups, those of the halves too where credit is split; nan of an empty half."""
    for place, group in enumerate(groups):
        rows = range(place * config.group, (place + 1) * config.group)
        group.advantages = {"advantage": whole_N[rows.start : rows.stop].tolist()}
        if config.credit == "split":
            pairs = [(row, rollout, rollout.thought_tokens) for row, rollout in zip(rows, group.rollouts, strict=True)]
            group.advantages["advantage_thought"] = [float(advantages_NT[i, 0]) if n else math.nan for i, _, n in pairs]
            group.advantages["advantage_reply"] = [
                float(advantages_NT[i, n]) if n < len(r.completion_ids) else math.nan for i, r, n in pairs
            ]


def _learning(rollouts: list[Rollout], real_NT: Tensor) -> Tensor:
    """The real tokens of each rollout's last segment; those before were sampled by an earlier policy."""
    fresh_N1 = torch.tensor([r.fresh_from for r in rollouts], device=real_NT.device)[:, None]
    return real_NT & (torch.arange(real_NT.shape[1], device=real_NT.device) >= fresh_N1)


def _rows(advantages_NT: Tensor, total_N: Tensor, group: int) -> list[int]:
    """The scored rollouts of the groups in which any token has an advantage."""
    useful_P = advantages_NT.view(-1, group * advantages_NT.shape[1]).ne(0).any(1)
    return (useful_P.repeat_interleave(group) & ~total_N.isnan()).nonzero()[:, 0].tolist()


def _weights(learns_NT: Tensor, total_N: Tensor, config: ReinforceConfig) -> Tensor:
    """What each token counts among those of all scored rollouts."""
    weights_NT, scored_N = torch.zeros(learns_NT.shape, device=learns_NT.device), ~total_N.isnan()
    weights_NT[scored_N] = token_weights(learns_NT[scored_N], config.loss, limit_tokens=config.limit_tokens)
    return weights_NT


def _kl(batch: Batch, present: int) -> float:
    """Mean KL from the reference of the first rollouts, as they were sampled."""
    if batch.reference_NT is None or not present:
        return math.nan
    old_NT = batch.old_NT[:present]
    return float(divergence(old_NT, batch.reference_NT[:present]).sum(1).mean())
