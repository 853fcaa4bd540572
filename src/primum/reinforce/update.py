"""One update of the policy from the rollouts of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from primum.policy import Policy, forward_flops
from primum.policy.pack import pass_tokens, plan
from primum.policy.score import read
from primum.reinforce.batch import Batch
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.objective import objective
from primum.run import Ledger
from primum.types import BadInput, Rollout


class Diverged(BadInput):
    """A loss or gradient that is no number. The weights are those of the last minibatch before it."""


class Learner:
    """A policy with its optimiser. Half-precision weights are rounded from full-precision masters,
    which small steps would otherwise never move."""

    def __init__(self, policy: Policy, config: ReinforceConfig) -> None:
        if policy.model.dtype == torch.float16:
            raise BadInput("gradients vanish in float16 weights", policy.name, "set dtype to bfloat16 or float32")
        self.policy, self.config = policy, config
        self.weights = [p for p in policy.model.parameters() if p.requires_grad]
        self.masters = [w if w.dtype == torch.float32 else w.detach().float().clone() for w in self.weights]
        self.factor = 1.0
        self.fast = config.fast
        self.reset()

    def reset(self) -> None:
        """Begin with a fresh optimiser: its moments are forgotten."""
        self.optimiser = torch.optim.AdamW(
            self.masters, lr=self.config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )

    def slow(self, factor: float) -> None:
        """Lower the learning rate from now on."""
        self.factor *= factor

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step, `progress` in [0, 1] being how much of the training is over."""
        fall = 1.0 - 0.9 * min(1.0, progress) if self.config.schedule == "linear" else 1.0
        return self.factor * self.config.learning_rate * min(1.0, step / max(1, self.config.warmup_steps)) * fall

    def descend(self, step: int, progress: float) -> float:
        """Move against the gathered gradient, clipped; the gradient's norm before clipping."""
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight and weight.grad is not None:
                master.grad, weight.grad = weight.grad.float(), None
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters, self.config.max_grad_norm))
        if not math.isfinite(norm):
            self.forget_gradient()
            raise Diverged("the gradient is not a number", f"reinforce, step {step}", "lower reinforce.learning_rate")
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(step, progress)
        self.optimiser.step()
        self.forget_gradient()
        with torch.no_grad():
            for weight, master in zip(self.weights, self.masters, strict=True):
                if master is not weight:
                    weight.copy_(master)
        torch.clear_autocast_cache()  # it holds the old weights, rounded, as long as the block lasts
        return norm

    def forget_gradient(self) -> None:
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.grad = master.grad = None

    def state(self) -> dict[str, Any]:
        """Trained weights, masters and optimiser; what is frozen below an adapter never changes and is left out."""
        trained = [w.detach() for w in self.weights]
        masters = [] if all(m is w for m, w in zip(self.masters, self.weights, strict=True)) else self.masters
        return {"weights": trained, "masters": masters, "optimiser": self.optimiser.state_dict(), "factor": self.factor}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        for weight, saved in zip(self.weights, state["weights"], strict=True):
            weight.copy_(saved)
        for master, saved in zip(self.masters, state["masters"], strict=False):
            master.copy_(saved)
        self.factor = state["factor"]
        self.forget_gradient()
        torch.clear_autocast_cache()
        self.reset()
        self.optimiser.load_state_dict(state["optimiser"])


def update(learner: Learner, batch: Batch, ledger: Ledger, *, seed: int, step: int, progress: float = 0.0) -> dict[str, float]:
    """Descend the loss over the batch's tokens; loss, gradient norm and share of clipped tokens (means over the updates).

    Nothing to learn from is no update: zeros. `seed` orders the minibatches.
    """
    config = learner.config
    if not batch.rollouts:
        return {"loss": 0.0, "grad_norm": 0.0, "clipped": 0.0}
    losses, norms, clipped, tokens, epochs = [], [], 0, 0, range(config.inner_epochs)
    heaps = [rows for e in epochs for rows in minibatches(batch.rollouts, config.minibatches, [seed, step, e])]
    with ledger.clock("update"):
        for rows in heaps:
            loss, cut = _backward(learner, batch, rows, ledger)
            tokens += int(batch.mask_NT[rows].sum())
            if not math.isfinite(loss):
                learner.forget_gradient()
                raise Diverged("the loss is not a number", f"reinforce, step {step}", "lower reinforce.learning_rate")
            losses.append(loss)
            norms.append(learner.descend(step, progress))
            clipped += cut
    return {"loss": sum(losses) / len(losses), "grad_norm": sum(norms) / len(norms), "clipped": clipped / max(1, tokens)}


def minibatches(rollouts: Sequence[Rollout], parts: int, seed: Sequence[int]) -> list[list[int]]:
    """The rollouts' numbers in at most `parts` heaps, shuffled unless there is one; siblings stay together."""
    siblings: dict[tuple[int, ...], list[int]] = {}
    for i, rollout in enumerate(rollouts):
        siblings.setdefault(rollout.prompt_ids, []).append(i)
    groups = list(siblings.values())
    if parts == 1 or len(groups) == 1:
        return [list(range(len(rollouts)))]
    order = np.random.default_rng(list(seed)).permutation(len(groups))
    return [[i for g in heap for i in groups[g]] for heap in np.array_split(order, min(parts, len(groups)))]


def scoring_flops(model: Any, rollouts: Sequence[Rollout], *, shared: bool = True) -> float:
    """Floating-point operations of reading prompts and completions once; `shared` reads a prompt once for all its siblings."""
    said = [len(r.completion_ids) for r in rollouts]
    asked = [len(r.prompt_ids) for r in rollouts]
    prompts = [len(ids) for ids in {r.prompt_ids for r in rollouts}] if shared else asked
    tokens = sum(prompts) + sum(said)
    seen = sum(n * n / 2 for n in prompts) + sum(c * (p + c / 2) for p, c in zip(asked, said, strict=True))
    return forward_flops(model, tokens, seen / max(1, tokens))


def _backward(learner: Learner, batch: Batch, rows: list[int], ledger: Ledger) -> tuple[float, int]:
    """Gather the gradient of a minibatch, few tokens at a time; its loss, and how many tokens the clip cut off."""
    config, model = learner.config, learner.policy.model
    share = len(batch.rollouts) / len(rows)
    chosen = [batch.rollouts[i] for i in rows]
    loss, cut = 0.0, 0
    tokens = config.micro_batch_tokens or pass_tokens(model, fast=learner.fast)
    passes = 2 if config.lora_rank else 3  # frozen weights need no gradient of their own
    for found in plan(model, chosen, tokens=tokens, shared=learner.fast):
        part = batch.take([rows[i] for row in found for i in row])
        counted = iter(range(len(part.rollouts)))
        here = [[next(counted) for _ in row] for row in found]
        scored = read(
            model, part.rollouts, here, pad=learner.policy.pad, temperature=config.temperature, fast=learner.fast,
            entropy=config.entropy != 0,
        )  # fmt: skip
        goal = objective(config, scored.logprobs_NT, scored.entropy_NT, part)
        piece = goal.loss * share
        piece.backward()
        flops = sum(scoring_flops(model, [part.rollouts[i] for i in row]) for row in here)
        ledger.charge("update", flops=passes * flops, tokens=sum(len(r.completion_ids) for r in part.rollouts))
        loss += float(piece.detach())
        cut += int(goal.clipped_NT.sum())
    return loss, cut
