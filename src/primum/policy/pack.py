"""Rows for scoring: siblings stand in one row behind the prompt they share, and see it and themselves only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from primum.policy.model import attention_width, context_limit
from primum.types import Rollout

ROOM = 48 << 20  # bytes that the activations of a pass on a CPU may take in any case
TIMES_WEIGHTS = 4  # or so many times what the weights take: every pass reads and writes a gradient of their size
GPU_SHARE = 0.25  # of what is free, on a GPU
LEAST = 512  # positions of a pass

Row = list[int]  # rollouts of one prompt, read behind it one after the other


@dataclass(frozen=True)
class Packed:
    """One forward pass over B rows of L positions, and its M completion tokens.

    Token m is predicted at position `place_M` of row `row_M`, and is number `step_M` of rollout `rollout_M`.
    """

    ids_BL: Tensor
    positions_BL: Tensor | None
    mask_B1LL: Tensor | None
    row_M: Tensor
    place_M: Tensor
    token_M: Tensor
    rollout_M: Tensor
    step_M: Tensor


def plan(model: Any, rollouts: Sequence[Rollout], *, tokens: int, shared: bool) -> list[list[Row]]:
    """The rows of each forward pass: rows of similar length together, `tokens` positions with padding at most.

    A rollout longer than that has a pass of its own. Siblings share a row while it is no longer
    than that, nor than the model's context, and while that is less arithmetic than reading the
    prompt again: a shared row attends over all of itself.
    """
    apart, together = (
        _rows(model, rollouts, min(tokens, context_limit(model))) if shared else ([[i] for i in range(len(rollouts))], [])
    )
    passes: list[list[Row]] = []
    for rows in (apart, together):
        current: list[Row] = []
        for row in sorted(rows, key=lambda row: row_length(rollouts, row)):
            if not current or (len(current) + 1) * row_length(rollouts, row) > tokens:
                passes.append(current := [])
            current.append(row)
    return passes


def pass_tokens(model: Any, *, fast: bool = True) -> int:
    """How many positions one forward and backward pass should take on this model's device.

    A layer keeps for its backward pass about 12 widths of the residual stream, 6 of the attention
    and 5 of the feed-forward part for each position; the plain way of scoring also all logits.
    """
    config = model.config.get_text_config()
    layer = (
        12 * config.hidden_size
        + 6 * attention_width(config)
        + 5 * (getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    )
    size = (layer * config.num_hidden_layers + (0 if fast else 3 * config.vocab_size)) * model.dtype.itemsize
    if model.device.type == "cuda":
        kept = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
        room = GPU_SHARE * (torch.cuda.mem_get_info(model.device)[0] + kept)
    else:
        room = max(ROOM, TIMES_WEIGHTS * sum(p.numel() * p.element_size() for p in model.parameters()))
    return max(LEAST, int(room / size))


def row_length(rollouts: Sequence[Rollout], row: Row) -> int:
    """Positions of a row: nothing follows a last token, so that one is not read."""
    return len(rollouts[row[0]].prompt_ids) + sum(len(rollouts[i].completion_ids) - 1 for i in row)


def _rows(model: Any, rollouts: Sequence[Rollout], longest: int) -> tuple[list[Row], list[Row]]:
    """Rows of one rollout that a sliding layer must see with its own mask, and rows that siblings may share."""
    quadratic, window = _attention_cost(model), _window(model)
    siblings: dict[tuple[int, ...], Row] = {}
    for i, rollout in enumerate(rollouts):
        siblings.setdefault(rollout.prompt_ids, []).append(i)
    apart: list[Row] = []
    together: list[Row] = []
    for prompt, members in siblings.items():
        row: Row = []
        length = 0
        for i in members:
            more = len(rollouts[i].completion_ids) - 1
            if len(prompt) + more > window:
                apart.append([i])
                continue
            alone = (len(prompt) + more) * (1 + quadratic * (len(prompt) + more))
            behind = more * (1 + quadratic * (2 * length + more))
            if not row or behind > alone or length + more > longest:
                row, length = [], len(prompt)
                together.append(row)
            row.append(i)
            length += more
    return apart, together


def pack(rollouts: Sequence[Rollout], rows: list[Row], pad: int, device: torch.device, *, additive: bool) -> Packed:
    """The tensors of one forward pass; the mask is additive for attention that adds it, else true where a query may look.

    Rows of one rollout each need neither mask nor positions: padding stands on the right and
    attention looks left.
    """
    width = max(row_length(rollouts, row) for row in rows)
    ids, positions, segments = [], [], []
    places: list[tuple[int, int, int, int, int]] = []
    for b, row in enumerate(rows):
        prompt = rollouts[row[0]].prompt_ids
        line, where, segment = list(prompt), list(range(len(prompt))), [0] * len(prompt)
        for number, i in enumerate(row, 1):
            said = rollouts[i].completion_ids
            first = len(line) - 1
            places += [(b, len(prompt) - 1 if t == 0 else first + t, token, i, t) for t, token in enumerate(said)]
            line += said[:-1]
            where += range(len(prompt), len(prompt) + len(said) - 1)
            segment += [number] * (len(said) - 1)
        gap = width - len(line)
        ids.append(line + [pad] * gap)
        positions.append(where + [0] * gap)
        segments.append(segment + [-1] * gap)
    row_M, place_M, token_M, rollout_M, step_M = torch.tensor(places, device=device).T.contiguous()
    ids_BL = torch.tensor(ids, device=device)
    if all(len(row) == 1 for row in rows):
        return Packed(ids_BL, None, None, row_M, place_M, token_M, rollout_M, step_M)
    mask_B1LL = _mask(torch.tensor(segments, device=device), additive)
    return Packed(ids_BL, torch.tensor(positions, device=device), mask_B1LL, row_M, place_M, token_M, rollout_M, step_M)


def _mask(segment_BL: Tensor, additive: bool) -> Tensor:
    """Where a query may look: back, and there at the prompt (segment 0) or at its own completion."""
    query_BL1, key_B1L = segment_BL[:, :, None], segment_BL[:, None, :]
    seen_BLL = ((key_B1L == 0) | (key_B1L == query_BL1)).tril_()
    if not additive:
        return seen_BLL[:, None]
    return torch.zeros(seen_BLL.shape, device=seen_BLL.device).masked_fill_(~seen_BLL, torch.finfo(torch.float32).min)[:, None]


def _attention_cost(model: Any) -> float:
    """Arithmetic of one query looking at one key, over that of one token's weights."""
    config = model.config.get_text_config()
    body = sum(p.numel() for p in model.parameters()) - model.get_input_embeddings().weight.numel()
    return 2.0 * config.num_hidden_layers * attention_width(config) / max(1, body)


def _window(model: Any) -> int:
    """How far a sliding or chunked layer looks: beyond it a shared row would look too far."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    some = bool(getattr(config, "use_sliding_window", True)) if kinds is None else any(kind != "full_attention" for kind in kinds)
    widths = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min([int(width) for width in widths if some and width], default=1 << 30)
