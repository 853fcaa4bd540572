"""How likely a model finds given completions, differentiably."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from primum.types import Rollout


def logprobs(
    model: Any, rollouts: Sequence[Rollout], *, pad: int, temperature: float = 1.0, batch: int = 64
) -> tuple[Tensor, Tensor]:
    """Log-probability (nats) of every completion token under `model`, and the mask of real tokens.

    Both are N × the longest completion; padding is 0. Rows are read `batch` at a time, of
    similar length together. Temperature 0 counts as 1, as in `sample`.
    """
    longest = max((len(r.completion_ids) for r in rollouts), default=0)
    order = sorted(range(len(rollouts)), key=lambda i: len(rollouts[i].prompt_ids) + len(rollouts[i].completion_ids))
    back = torch.empty(len(order), dtype=torch.long)
    back[order] = torch.arange(len(order))
    parts = [
        _padded_logprobs(model, [rollouts[i] for i in order[first : first + batch]], longest, pad, temperature or 1.0)
        for first in range(0, len(order), batch)
    ]
    lengths_N1 = torch.tensor([len(r.completion_ids) for r in rollouts], dtype=torch.long)[:, None]
    mask_NT = (torch.arange(longest) < lengths_N1).to(model.device)
    return (torch.cat(parts)[back.to(model.device)] if parts else mask_NT.float()), mask_NT


def completion_logprobs(rollouts: Sequence[Rollout], device: torch.device | str = "cpu") -> Tensor:
    """The log-probabilities the completions were sampled with, padded with 0."""
    longest = max((len(r.completion_ids) for r in rollouts), default=0)
    return torch.tensor([[*r.logprobs, *[0.0] * (longest - len(r.logprobs))] for r in rollouts], device=device)


def _padded_logprobs(model: Any, rollouts: list[Rollout], longest: int, pad: int, temperature: float) -> Tensor:
    rows = [[*r.prompt_ids, *r.completion_ids] for r in rollouts]
    width = max(map(len, rows))
    # Padding stands on the right and attention looks left, so no mask is needed.
    ids_NL = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=model.device)
    start = min(len(r.prompt_ids) for r in rollouts) - 1
    where = [(n, len(r.prompt_ids) - 1 + t, t) for n, r in enumerate(rollouts) for t in range(len(r.completion_ids))]
    row_M, place_M, step_M = torch.tensor(where, device=model.device).T
    # The head runs on completion positions only; the model slices, since some scale or cap their logits after it.
    logits_NLV = model(input_ids=ids_NL, use_cache=False, logits_to_keep=width - start).logits
    logits_MV = logits_NLV[row_M, place_M - start].float() / temperature
    token_M1 = ids_NL[row_M, place_M + 1][:, None]
    logprob_M = logits_MV.gather(1, token_M1)[:, 0] - logits_MV.logsumexp(-1)
    return logprob_M.new_zeros(len(rows), longest).index_put((row_M, step_M), logprob_M)
