"""A low-rank adapter (LoRA) on a policy: train it alone, switch it off to have the policy it began from, merge it to save."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from primum.policy.model import Policy, copy
from primum.types import BadInput


def lora_config(rank: int) -> Any:
    """LoRA of `rank` on every linear layer but the output head."""
    try:
        from peft import LoraConfig
    except ImportError:
        raise BadInput("lora_rank needs peft", "lora_rank", "pip install primum[peft], or set it to 0") from None
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def adapted(policy: Policy, rank: int, seed: int = 0) -> Policy:
    """A copy of the policy with an adapter that does nothing yet, the only part to be trained; `seed` draws its random half."""
    config = lora_config(rank)
    from peft import get_peft_model

    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name
        model = get_peft_model(copy(policy).model, config)
    torch.random.set_rng_state(state)
    return Policy(model.eval(), policy.tokenizer, policy.name)


@contextmanager
def switched_off(policy: Policy) -> Iterator[Policy]:
    """The policy without its adapter, as long as the block lasts; one that has none is itself."""
    if not hasattr(policy.model, "disable_adapter"):
        yield policy
        return
    with policy.model.disable_adapter():
        yield policy


def merged(policy: Policy) -> Policy:
    """A policy of whole weights: a copy with the adapter merged, or the policy itself where it has none."""
    if not hasattr(policy.model, "merge_and_unload"):
        return policy
    model = copy(policy).model.merge_and_unload().requires_grad_(True)
    return Policy(model.eval(), policy.tokenizer, policy.name)
