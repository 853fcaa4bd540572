"""Our engine on the bench: a step of the loop of reinforcement learning, from its own parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from primum.bench.config import BenchConfig
from primum.bench.work import make_policy, make_prompts, now, parameters, reward
from primum.ledger import Ledger, peak_mib
from primum.policy import Policy, logprobs
from primum.policy.selftest import arithmetic, fast_is_exact, precision_holds
from primum.reinforce.batch import Batch
from primum.reinforce.config import Mix, ReinforceConfig
from primum.reinforce.draw import Prompts
from primum.reinforce.gather import Sampler
from primum.reinforce.group import Group, rollouts_of
from primum.reinforce.prepare import prepare
from primum.reinforce.reference import Reference
from primum.reinforce.update import Learner, update
from primum.reward.types import Rewards
from primum.types import Example, Rollout

# Added in turn to the log-probabilities of sampling where the two engines' losses are compared: with them ratios are
# not all 1, and the clip at ±20 % cuts some tokens off, none of them near its edge.
SHIFTS = (0.0, 0.1, -0.1, 0.4, -0.4)


def serve(
    config: BenchConfig, size: str, repeat: int, scratch: Path, commands: Iterator[dict[str, Any]], answer: Callable[..., None]
) -> None:
    """Make everything ready, then do as told, step by step."""
    policy = make_policy(config, size)
    engine = Ours(config, make_prompts(config, size, policy, repeat), Learner(policy, settings(config)))
    answer(params=parameters(policy), device=str(policy.device), threads=torch.get_num_threads(), notes=engine.settle())
    for command in commands:
        if command["do"] == "step":
            answer(**engine.step(command["step"]))
        else:
            weigher = Weigher(make_policy(config, size), engine.learner)
            torch.save(replace(engine, learner=weigher).weigh(weigher), scratch / "parity")
            answer()


def settings(config: BenchConfig) -> ReinforceConfig:
    """TRL's defaults, as the yardstick has them: scaled by the group's deviation, clipped alike at both sides, without KL."""
    return ReinforceConfig(
        prompts=config.prompts, group=config.group, limit_tokens=config.cap, temperature=1.0, learning_rate=1e-5,
        warmup_steps=0, schedule="constant", loss="dapo", scale="std", scale_floor=0.0, clip_low=0.2, clip_high=0.2, kl=0.0,
        precision="bfloat16" if config.precision == "bfloat16" else "auto", mix=Mix(harmful=0, borderline=0, benign=1, task=0),
    )  # fmt: skip


def pay(rollouts: Sequence[Rollout]) -> Rewards:
    return Rewards([reward(r.completion_ids) for r in rollouts], {})


@dataclass
class Ours:
    """A learner with the prompts of all steps."""

    config: BenchConfig
    prompts: list[Example]
    learner: Learner
    precision: str = "auto"

    def settle(self) -> list[str]:
        """Choose the way of computing as a run does at its start; what had to be given up, in words."""
        policy, wanted, notes = self.learner.policy, self.learner.config.precision, []
        why = precision_holds(policy, wanted)
        self.precision = "auto" if why else wanted
        if why:
            notes.append(f"computing in the weights' own precision, since with {wanted} {why}")
        if why := fast_is_exact(policy, precision=self.precision):
            self.learner.fast = False
            notes.append(f"scoring every rollout in a row of its own, since in shared rows {why}")
        return notes

    def step(self, number: int) -> dict[str, float]:
        """One step, and how long its parts took; what is not sampling counts as update."""
        policy, ledger, begun = self.learner.policy, Ledger(), now(self.learner.policy)
        groups = self.gather(number, ledger)
        batch = self.batch(groups)
        with arithmetic(policy, self.precision):
            update(self.learner, batch, ledger, seed=self.config.seed, step=number + 1)
        seconds, sampled, rollouts = now(policy) - begun, ledger.parts["sample"], rollouts_of(groups)
        return {
            "seconds_step": seconds, "seconds_sample": sampled.seconds, "seconds_update": seconds - sampled.seconds,
            "completion_tokens": sampled.tokens, "rollouts": len(rollouts), "learnt_from": len(batch.rollouts),
            "prompt_tokens": sum(len(r.prompt_ids) for r in rollouts), "peak_mib": peak_mib(),
            "flops_sample": sampled.flops, "flops_update": ledger.flops - sampled.flops,
        }  # fmt: skip

    def gather(self, number: int, ledger: Ledger) -> list[Group]:
        """The step's groups, sampled and rewarded."""
        config, count, seed = self.learner.config, self.config.prompts, self.config.seed
        mine = self.prompts[number * count : (number + 1) * count]
        prompts = Prompts(mine, config.mix, config.data, seed, number, {})
        sampler = Sampler(self.learner.policy, pay, config, ledger, seed, number + 1, self.precision)
        return sampler.gather(prompts, []).groups

    def batch(self, groups: list[Group]) -> Batch:
        """What an update learns from: the groups whose rewards differ."""
        policy, config = self.learner.policy, self.learner.config
        with arithmetic(policy, self.precision):
            return prepare(groups, [], self.learner, Reference(policy, policy, config), Ledger())[0]

    def weigh(self, weigher: Weigher) -> dict[str, Any]:
        """Rollouts of the untrained model with what this engine makes of them, for the other one to compare."""
        policy, groups = weigher.policy, self.gather(0, Ledger())
        for group in groups:
            group.rollouts = [replace(r, logprobs=shifted(r.logprobs)) for r in group.rollouts]
        rollouts, batch = rollouts_of(groups), self.batch(groups)
        with arithmetic(policy, self.precision):
            with torch.no_grad():
                scored = logprobs(policy.model, rollouts, pad=policy.pad, fast=weigher.fast)
            loss = update(weigher, batch, Ledger(), seed=0, step=1)["loss"]
        return {
            "prompts": [list(r.prompt_ids) for r in rollouts],
            "completions": [list(r.completion_ids) for r in rollouts],
            "old": [list(r.logprobs) for r in rollouts],
            "advantages": [advantage for group in groups for advantage in group.advantages["advantage"]],
            "logprobs_NT": scored.logprobs_NT.cpu().float(),
            "loss": loss,
            "gradient": weigher.gradient,
        }


def shifted(logprobs: Sequence[float]) -> tuple[float, ...]:
    return tuple(x + SHIFTS[t % len(SHIFTS)] for t, x in enumerate(logprobs))


class Weigher(Learner):
    """A learner that keeps the gradient in place of following it."""

    def __init__(self, policy: Policy, like: Learner) -> None:
        super().__init__(policy, like.config)
        self.fast = like.fast
        self.gradient: dict[str, Tensor] = {}

    def descend(self, step: int, progress: float) -> float:
        self.gradient = {n: p.grad.cpu() for n, p in self.policy.model.named_parameters() if p.grad is not None}
        return 0.0
