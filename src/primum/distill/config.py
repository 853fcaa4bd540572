"""The settings of on-policy distillation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from primum.config import Config
from primum.distill.divergence import Divergence
from primum.types import Kind

Share = Annotated[float, Field(ge=0)]


class OnPolicyConfig(Config):
    """How a student learns from its teacher on its own rollouts; the defaults suit a model of a million parameters."""

    steps: int = Field(1000, ge=0)  # at most: patience or the budget may end it sooner
    prompts: int = Field(16, ge=1)  # prompts of one step
    group: int = Field(1, ge=1)  # rollouts of one prompt; their tokens are scored in one row, but more prompts tell more
    kinds: dict[Kind, Share] = Field(default_factory=dict)  # shares of a step's prompts; empty draws evenly from all there are
    divergence: Divergence = "forward_kl"
    beta: float = Field(0.5, gt=0, lt=1)  # of jsd: the teacher's share of the mixture
    temperature: float = Field(1.0, gt=0)  # of sampling, and of both distributions that are compared
    limit_tokens: int = Field(256, ge=1)
    loop_tokens: int = Field(128, ge=0)  # a rollout ends where so many tokens in a row only repeat themselves; 0 never
    learning_rate: float = Field(2e-3, gt=0)
    warmup_steps: int = Field(5, ge=0)
    schedule: Literal["linear", "constant"] = "linear"  # linear falls to a tenth at the last step, or where the budget ends
    max_grad_norm: float = Field(1.0, gt=0)
    batch: int = Field(256, ge=1)  # rollouts sampled together
    micro_batch_tokens: int = Field(0, ge=0)  # of a forward and backward pass; 0 suits the device; fewer save memory, no more
    lora_rank: int = Field(0, ge=0)  # 0 trains all weights; else an adapter of this rank, merged at the end; needs peft
    fast: bool = True  # read siblings in one row, if the start-up test finds it exact for the model
    evaluate_every: int = Field(50, ge=1)  # steps
    patience: int = Field(3, ge=0)  # evaluations without a better selection before stopping; 0 never stops
    checkpoint_every: int = Field(20, ge=1)  # steps

    @field_validator("kinds")
    @classmethod
    def _some_share(cls, kinds: dict[Kind, float]) -> dict[Kind, float]:
        if kinds and not sum(kinds.values()) > 0:
            raise ValueError("one share must be more than 0")
        return kinds
