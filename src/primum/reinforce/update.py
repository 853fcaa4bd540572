"""One update of the policy from the rollouts of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from primum.policy.learner import Diverged, Learner, scoring_flops
from primum.policy.pack import pass_tokens, plan
from primum.policy.score import read
from primum.reinforce.batch import Batch
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.objective import objective
from primum.run import Ledger
from primum.types import Rollout


def update(
    learner: Learner[ReinforceConfig], batch: Batch, ledger: Ledger, *, seed: int, step: int, progress: float = 0.0
) -> dict[str, float]:
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


def _backward(learner: Learner[ReinforceConfig], batch: Batch, rows: list[int], ledger: Ledger) -> tuple[float, int]:
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
