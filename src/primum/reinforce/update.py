"""One update of the policy from the rollouts of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from primum.policy import Policy, forward_flops, logprobs
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.losses import clipped_loss, divergence
from primum.run import Ledger
from primum.types import BadInput, Rollout


@dataclass
class Batch:
    """The rollouts to learn from, with what the loss needs of each; T is the longest completion."""

    rollouts: list[Rollout]
    advantages_N: Tensor
    weights_NT: Tensor
    old_NT: Tensor
    reference_NT: Tensor | None

    def take(self, rows: list[int]) -> Batch:
        """These rows, cut to their own longest completion."""
        rollouts = [self.rollouts[i] for i in rows]
        longest = max(len(r.completion_ids) for r in rollouts)
        reference_NT = None if self.reference_NT is None else self.reference_NT[rows, :longest]
        return Batch(
            rollouts, self.advantages_N[rows], self.weights_NT[rows, :longest], self.old_NT[rows, :longest], reference_NT
        )


class Learner:
    """A policy with its optimiser. Half-precision weights are rounded from full-precision masters,
    which small steps would otherwise never move."""

    def __init__(self, policy: Policy, config: ReinforceConfig) -> None:
        self.policy, self.config = policy, config
        self.weights = [p for p in policy.model.parameters() if p.requires_grad]
        self.masters = [w if w.dtype == torch.float32 else w.detach().float().clone() for w in self.weights]
        self.optimiser = torch.optim.AdamW(self.masters, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step, `progress` in [0, 1] being how much of the training is over."""
        fall = 1.0 - 0.9 * min(1.0, progress) if self.config.schedule == "linear" else 1.0
        return self.config.learning_rate * min(1.0, step / max(1, self.config.warmup_steps)) * fall

    def descend(self, step: int, progress: float) -> float:
        """Move against the gathered gradient, clipped; the gradient's norm before clipping."""
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight and weight.grad is not None:
                master.grad, weight.grad = weight.grad.float(), None
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters, self.config.max_grad_norm))
        if not math.isfinite(norm):
            raise BadInput("the gradient is not a number", f"reinforce, step {step}", "lower reinforce.learning_rate")
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(step, progress)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for weight, master in zip(self.weights, self.masters, strict=True):
                if master is not weight:
                    weight.copy_(master)
        return norm

    def state(self) -> dict[str, Any]:
        return {"weights": self.policy.model.state_dict(), "masters": self.masters, "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.policy.model.load_state_dict(state["weights"])
        with torch.no_grad():
            for master, saved in zip(self.masters, state["masters"], strict=True):
                master.copy_(saved)
        self.optimiser.load_state_dict(state["optimiser"])


def update(learner: Learner, batch: Batch, ledger: Ledger, *, seed: int, step: int, progress: float = 0.0) -> dict[str, float]:
    """Descend the loss over the batch's tokens; loss, gradient norm and share of clipped tokens (means over the updates).

    Nothing to learn from is no update: zeros. `seed` orders the minibatches.
    """
    config = learner.config
    if not batch.rollouts:
        return {"loss": 0.0, "grad_norm": 0.0, "clipped": 0.0}
    losses, norms, clipped = [], [], 0.0
    for epoch in range(config.inner_epochs):
        for rows in minibatches(len(batch.rollouts), config.minibatches, [seed, step, epoch]):
            loss, cut = _backward(learner, batch, rows)
            if not math.isfinite(loss):
                raise BadInput("the loss is not a number", f"reinforce, step {step}", "lower reinforce.learning_rate")
            losses.append(loss)
            norms.append(learner.descend(step, progress))
            clipped += cut
    tokens = sum(len(r.completion_ids) for r in batch.rollouts) * config.inner_epochs
    ledger.trained_tokens += tokens
    ledger.flops += 3 * config.inner_epochs * scoring_flops(learner.policy.model, batch.rollouts)
    return {"loss": sum(losses) / len(losses), "grad_norm": sum(norms) / len(norms), "clipped": clipped / tokens}


def minibatches(count: int, parts: int, seed: Sequence[int]) -> list[list[int]]:
    """The numbers below `count` in at most `parts` equal heaps, shuffled unless there is one heap."""
    if parts == 1 or count == 1:
        return [list(range(count))]
    order = np.random.default_rng(list(seed)).permutation(count)
    return [heap.tolist() for heap in np.array_split(order, min(parts, count))]


def scoring_flops(model: Any, rollouts: Sequence[Rollout]) -> float:
    """Floating-point operations of reading prompts and completions once."""
    lengths = [len(r.prompt_ids) + len(r.completion_ids) for r in rollouts]
    tokens = sum(lengths)
    return forward_flops(model, tokens, sum(n * n / 2 for n in lengths) / max(1, tokens))


def _backward(learner: Learner, batch: Batch, rows: list[int]) -> tuple[float, float]:
    """Gather the gradient of a minibatch, few rows at a time; its loss, and how many tokens the clip cut off."""
    config, model = learner.config, learner.policy.model
    share = len(batch.rollouts) / len(rows)
    # Rows of one length together waste no padding.
    rows = sorted(rows, key=lambda i: len(batch.rollouts[i].prompt_ids) + len(batch.rollouts[i].completion_ids))
    loss, cut = 0.0, 0.0
    for first in range(0, len(rows), config.micro_batch):
        part = batch.take(rows[first : first + config.micro_batch])
        scored_NT, mask_NT = logprobs(
            model, part.rollouts, pad=learner.policy.pad, temperature=config.temperature, batch=config.micro_batch
        )
        losses_NT, clipped_NT = clipped_loss(
            scored_NT, part.old_NT, part.advantages_N, low=config.clip_low, high=config.clip_high
        )
        if part.reference_NT is not None:
            losses_NT = losses_NT + config.kl * divergence(scored_NT, part.reference_NT)
        piece = (losses_NT * part.weights_NT).sum() * share
        piece.backward()
        loss += float(piece.detach())
        cut += float((clipped_NT & mask_NT).sum())
    return loss, cut
