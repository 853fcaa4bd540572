"""How likely a model finds given completions, differentiably."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from primum.policy.head import chosen_logprobs, find_head
from primum.policy.pack import Packed, Row, pack, pass_tokens, plan
from primum.policy.products import quick_products
from primum.types import Rollout


@dataclass(frozen=True)
class Scored:
    """Log-probability (nats) of every completion token, the mask of real tokens, and the entropy there if asked.

    All are N × the longest completion; padding is 0.
    """

    logprobs_NT: Tensor
    mask_NT: Tensor
    entropy_NT: Tensor | None = None


def logprobs(
    model: Any, rollouts: Sequence[Rollout], *, pad: int, temperature: float = 1.0, tokens: int = 0, fast: bool = True,
    entropy: bool = False,
) -> Scored:  # fmt: skip
    """The completions' log-probabilities under `model`, read `tokens` positions at a time; 0 suits the device.

    `fast` reads a prompt once for all its siblings and runs the head in chunks; else every
    rollout is a padded row of its own. Temperature 0 counts as 1, as in `sample`.
    """
    mask_NT = completion_mask(rollouts, model.device)
    logprobs_NT, entropy_NT = mask_NT.float() * 0, mask_NT.float() * 0 if entropy else None
    for rows in plan(model, rollouts, tokens=tokens or pass_tokens(model, fast=fast), shared=fast):
        part = read(model, rollouts, rows, pad=pad, temperature=temperature, fast=fast, entropy=entropy)
        logprobs_NT = logprobs_NT + part.logprobs_NT
        entropy_NT = None if entropy_NT is None or part.entropy_NT is None else entropy_NT + part.entropy_NT
    return Scored(logprobs_NT, mask_NT, entropy_NT)


def read(
    model: Any, rollouts: Sequence[Rollout], rows: list[Row], *, pad: int, temperature: float = 1.0, fast: bool = True,
    entropy: bool = False,
) -> Scored:  # fmt: skip
    """One forward pass over `rows` of a plan; rollouts that stand in none of them have zeros."""
    additive = _attention(model) != "sdpa"
    packed = pack(rollouts, rows, pad, model.device, additive=additive)
    score = _fast if fast else _plain
    logprob_M, entropy_M = score(model, packed, temperature or 1.0, entropy)
    mask_NT = completion_mask(rollouts, model.device)
    place = (packed.rollout_M, packed.step_M)
    logprobs_NT = logprob_M.new_zeros(mask_NT.shape).index_put(place, logprob_M)
    entropy_NT = None if entropy_M is None else entropy_M.new_zeros(mask_NT.shape).index_put(place, entropy_M)
    return Scored(logprobs_NT, mask_NT, entropy_NT)


def completion_mask(rollouts: Sequence[Rollout], device: torch.device | str = "cpu") -> Tensor:
    """True at the real tokens of each completion, N × the longest."""
    longest = max((len(r.completion_ids) for r in rollouts), default=0)
    lengths_N1 = torch.tensor([len(r.completion_ids) for r in rollouts], dtype=torch.long)[:, None]
    return (torch.arange(longest) < lengths_N1).to(device)


def completion_logprobs(rollouts: Sequence[Rollout], device: torch.device | str = "cpu") -> Tensor:
    """The log-probabilities the completions were sampled with, padded with 0."""
    longest = max((len(r.completion_ids) for r in rollouts), default=0)
    return torch.tensor([[*r.logprobs, *[0.0] * (longest - len(r.logprobs))] for r in rollouts], device=device)


def _fast(model: Any, packed: Packed, temperature: float, entropy: bool) -> tuple[Tensor, Tensor | None]:
    """Hidden states of the chosen positions only, then the head in chunks."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = find_head(inner)
    if head is None:
        raise ValueError("the output head is no plain matrix")
    extra = {} if packed.mask_B1LL is None else {"attention_mask": packed.mask_B1LL, "position_ids": packed.positions_BL}
    with quick_products(inner, packed.ids_BL.numel()):
        hidden_BLD = inner.get_decoder()(input_ids=packed.ids_BL, use_cache=False, **extra).last_hidden_state
    hidden_MD = hidden_BLD[packed.row_M, packed.place_M]
    return chosen_logprobs(hidden_MD, head, packed.token_M, temperature=temperature, entropy=entropy)


def _plain(model: Any, packed: Packed, temperature: float, entropy: bool) -> tuple[Tensor, Tensor | None]:
    """The model's own logits at every position from the first completion token on."""
    width, start = packed.ids_BL.shape[1], int(packed.place_M.min())
    # The model slices: some scale or cap their logits after the head.
    logits_BLV = model(input_ids=packed.ids_BL, use_cache=False, logits_to_keep=width - start).logits
    logprobs_MV = torch.log_softmax(logits_BLV[packed.row_M, packed.place_M - start].float() / temperature, -1)
    entropy_M = -(logprobs_MV.exp() * logprobs_MV).sum(-1) if entropy else None
    return logprobs_MV.gather(1, packed.token_M[:, None])[:, 0], entropy_M


def _attention(model: Any) -> str:
    return str(getattr(model.config, "_attn_implementation", "") or "")
