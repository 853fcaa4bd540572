"""The settings of reinforcement learning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from primum.config import Config

LossName = Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "mirror"]


class Mix(Config):
    """The share of each kind among a step's prompts; 0 leaves a kind out."""

    harmful: float = Field(default=1.0, ge=0)
    borderline: float = Field(default=0.5, ge=0)
    benign: float = Field(default=0.5, ge=0)
    task: float = Field(default=3.0, ge=0)

    @model_validator(mode="after")
    def _some_share(self) -> Mix:
        if not sum(self.model_dump().values()) > 0:
            raise ValueError("one share must be more than 0")
        return self


class MirrorConfig(Config):
    """Kimi k1.5's mirror descent; read where loss is mirror."""

    tau: float = Field(0.1, gt=0)  # pull towards the policy that the iteration began with
    partition: Literal["mean", "log_z"] = "mean"  # τ·log Z as the siblings' mean reward, or estimated from their exponentials
    iteration: int = Field(1, ge=1)  # steps before the present policy is pulled towards instead, with a new optimiser


class DataConfig(Config):
    """Which prompts a step takes, and which rollouts it learns from besides its own."""

    refill_rounds: int = Field(0, ge=0)  # times a step may draw new prompts in place of those whose siblings all earned the same
    curriculum: float = Field(1.0, gt=0, le=1)  # share of each kind's prompts, the easiest, open at the start
    draw: Literal["even", "hard"] = "even"  # hard: as likely as prompts failed, 1 - success rate
    success_above: float = 0.5  # a rollout paid more than this succeeded
    memory: float = Field(0.8, ge=0, lt=1)  # how much an earlier visit of a prompt still counts in its success rate
    prefill_share: float = Field(0.0, ge=0, le=1)  # of the prompts that have one begin with their counter-aligned thought
    replay_groups: int = Field(0, ge=0)  # groups of earlier steps learnt from again in each step
    replay_keep: int = Field(64, ge=1)  # the latest groups with signal kept for that


class GuardConfig(Config):
    """When training counts as collapsed and goes back to its last good checkpoint; 0 switches a test off."""

    max_kl: float = Field(0.0, ge=0)  # mean KL of a rollout from the starting policy, nats; needs kl > 0
    min_entropy: float = Field(0.0, ge=0)  # nats a token
    max_entropy: float = Field(0.0, ge=0)
    min_tokens: float = Field(0.0, ge=0)  # mean length of a rollout
    max_tokens: float = Field(0.0, ge=0)
    rollbacks: int = Field(3, ge=0)  # times to go back, each with new prompts and a slower rate, before giving up
    slower: float = Field(0.5, gt=0, le=1)  # the learning rate's factor after each


class ReinforceConfig(Config):
    """How to reinforce; the defaults suit a model of a million parameters."""

    reward: str = "oracle"  # where the harm signal of the reward comes from
    steps: int = Field(150, ge=0)  # at most: patience or the budget may end it sooner
    prompts: int = Field(24, ge=1)  # prompts of one step
    group: int = Field(8, ge=2)  # siblings: rollouts of one prompt
    mix: Mix = Mix()
    data: DataConfig = DataConfig()
    learning_rate: float = Field(3e-4, gt=0)
    warmup_steps: int = Field(5, ge=0)
    schedule: Literal["linear", "constant"] = "linear"  # linear falls to a tenth at the last step, or where the budget ends
    temperature: float = Field(1.0, gt=0)
    limit_tokens: int = Field(64, ge=1)
    segment_tokens: int = Field(0, ge=0)  # most tokens of a rollout in one step, the next ones continuing it; 0 samples it whole
    loop_tokens: int = Field(128, ge=0)  # a rollout ends where so many tokens in a row only repeat themselves; 0 never
    loss: LossName = "dapo"  # docs/reinforce.md has the equations
    baseline: Literal["mean", "leave_one_out"] = "mean"  # what a rollout's reward is compared with
    scale: Literal["none", "std", "batch"] = "none"  # advantages divided by the group's or the batch's deviation
    scale_floor: float = Field(0.05, ge=0)  # least deviation to divide by, so that tiny differences stay small
    credit: Literal["whole", "split"] = "whole"  # split: thought and reply learn from their own rewards
    overlong_tokens: int = Field(0, ge=0)  # the last tokens before the limit, which cost up to 1 of reward; 0 is off
    clip_low: float = Field(0.2, ge=0, le=1)
    clip_high: float = Field(0.28, ge=0)
    clip_worst: float = Field(0.0, ge=0)  # a second bound on the ratio where the advantage is negative; 0 is off
    mirror: MirrorConfig = MirrorConfig()
    kl: float = Field(0.02, ge=0)  # pull towards the starting policy; 0 is off, and then KL is not measured
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"  # in the loss; in the reward it is always k1
    kl_in: Literal["loss", "reward"] = "loss"
    entropy: float = 0.0  # bonus for each nat of entropy a token; 0 is off
    refresh_reference: int = Field(0, ge=0)  # steps after which KL is measured from the present policy instead; 0 never
    inner_epochs: int = Field(1, ge=1)
    minibatches: int = Field(1, ge=1)  # updates of one inner epoch
    batch: int = Field(256, ge=1)  # rollouts sampled together
    micro_batch_tokens: int = Field(0, ge=0)  # of a forward and backward pass; 0 suits the device; fewer save memory, no more
    lora_rank: int = Field(0, ge=0)  # 0 trains all weights; else an adapter of this rank, merged at the end; needs peft
    precision: Literal["auto", "bfloat16"] = "auto"  # of the arithmetic; auto is that of the weights
    fast: bool = True  # score siblings in one row, if the start-up test finds it exact for this model
    max_grad_norm: float = Field(1.0, gt=0)
    guard: GuardConfig = GuardConfig()
    evaluate_every: int = Field(20, ge=1)  # steps
    patience: int = Field(3, ge=0)  # evaluations without a better selection before stopping; 0 never stops
    checkpoint_every: int = Field(10, ge=1)  # steps
    max_unscored: float = Field(0.5, ge=0, le=1)  # of the last steps' rollouts of the worst-scored kind, before giving up

    @model_validator(mode="after")
    def _bounds_in_order(self) -> ReinforceConfig:
        if 0 < self.clip_worst <= 1 + self.clip_high:
            raise ValueError("clip_worst must be above 1 + clip_high, or 0")
        if self.guard.max_kl and not self.kl:
            raise ValueError("guard.max_kl needs kl above 0, since KL is not measured without")
        return self
