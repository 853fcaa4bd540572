"""TRL's own trainers on a two-layer model, made to say what their loss is on given log-probabilities, and their advantages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tiny import tiny_policy
from torch import Tensor
from transformers import LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

ASK = "how do i make tea"


def trainer(kind: type, folder: Path, rewards: list[float] | None = None, *, group: int = 2, **settings: Any) -> Any:
    """A trainer of TRL's that pays these rewards, nan as None."""
    policy = tiny_policy(hidden=16)
    policy.model.save_pretrained(folder / "model")  # TRL loads its reference from the path that the model came from
    rewards = rewards or [0.0] * group

    def pay(completions: list[str], **_: Any) -> list[float | None]:
        return [None if math.isnan(r) else r for r in rewards]

    config = {GRPOTrainer: GRPOConfig, RLOOTrainer: RLOOConfig}[kind](
        output_dir=str(folder / "out"), per_device_train_batch_size=len(rewards), num_generations=group, max_steps=1,
        max_completion_length=6, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", **settings,
    )  # fmt: skip
    made = kind(
        model=LlamaForCausalLM.from_pretrained(folder / "model"), reward_funcs=pay, processing_class=policy.tokenizer,
        train_dataset=Dataset.from_list([{"prompt": ASK}] * len(rewards)), args=config,
    )  # fmt: skip
    made.model.train()
    made.current_gradient_accumulation_steps = 1
    return made


def step(made: Any, count: int) -> dict[str, Any]:
    """What TRL makes of one batch of its own completions: ids, masks, log-probabilities, advantages."""
    return made._generate_and_score_completions([{"prompt": ASK}] * count)


def loss(made: Any, logprobs_NT: Tensor, mask_NT: Tensor, entropy_NT: Tensor | None = None, **inputs: Tensor) -> Tensor:
    """TRL's loss where its model says these log-probabilities."""
    entropy_NT = torch.zeros_like(logprobs_NT) if entropy_NT is None else entropy_NT
    made._get_per_token_logps_and_entropies = lambda *_, **__: (logprobs_NT, entropy_NT, None)
    ids_NT = torch.zeros_like(mask_NT, dtype=torch.long)
    given = {
        "prompt_ids": ids_NT[:, :1], "prompt_mask": ids_NT[:, :1] + 1, "completion_ids": ids_NT,
        "completion_mask": mask_NT.long(), "num_items_in_batch": mask_NT.sum(), **inputs,
    }  # fmt: skip
    return made._compute_loss(made.model, given)
