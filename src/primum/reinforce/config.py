"""The settings of reinforcement learning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from primum.config import Config


class Mix(Config):
    """The share of each kind among a step's prompts; 0 leaves a kind out."""

    harmful: float = Field(default=1.0, ge=0)
    borderline: float = Field(default=1.0, ge=0)
    benign: float = Field(default=1.0, ge=0)
    task: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _some_share(self) -> Mix:
        if not sum(self.model_dump().values()) > 0:
            raise ValueError("one share must be more than 0")
        return self


class ReinforceConfig(Config):
    """How to reinforce; the defaults suit a model of a million parameters."""

    reward: str = "oracle"  # where the harm signal of the reward comes from
    steps: int = Field(150, ge=0)  # at most: patience or the budget may end it sooner
    prompts: int = Field(24, ge=1)  # prompts of one step
    group: int = Field(8, ge=2)  # siblings: rollouts of one prompt
    mix: Mix = Mix()
    learning_rate: float = Field(3e-4, gt=0)
    warmup_steps: int = Field(5, ge=0)
    schedule: Literal["linear", "constant"] = "linear"  # linear falls to a tenth at the last step, or where the budget ends
    temperature: float = Field(1.0, gt=0)
    limit_tokens: int = Field(64, ge=1)
    loss: Literal["grpo", "dr_grpo", "dapo"] = "dapo"  # what a token weighs: see losses.token_weights
    scale: Literal["none", "std"] = "none"  # std also divides by the group's deviation, so tiny differences become large
    clip_low: float = Field(0.2, ge=0, le=1)
    clip_high: float = Field(0.28, ge=0)
    kl: float = Field(0.02, ge=0)  # pull towards the starting policy; 0 is off, and then KL is not measured
    inner_epochs: int = Field(1, ge=1)
    minibatches: int = Field(1, ge=1)  # updates of one inner epoch
    batch: int = Field(256, ge=1)  # rollouts sampled together
    micro_batch: int = Field(64, ge=1)  # rollouts scored together; smaller saves memory and changes nothing else
    max_grad_norm: float = Field(1.0, gt=0)
    evaluate_every: int = Field(20, ge=1)  # steps
    patience: int = Field(3, ge=0)  # evaluations without a better selection before stopping; 0 never stops
    checkpoint_every: int = Field(10, ge=1)  # steps
    max_unscored: float = Field(0.5, ge=0, le=1)  # of the last steps' rollouts, before giving up
