"""What heads say of labelled rows: encoded rows, the loss over them, and calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from primum.reward.labels import Judged, Scale
from primum.reward.losses import label_loss, pair_loss, rating_loss, tie_loss, whole
from primum.signals.heads import HALVES, WHOLE, Half, Heads, encode, logits, pooled, reads

NOTHING = -20.0  # the logit of an empty half: it holds nothing


@dataclass(frozen=True)
class Tied:
    """A row in token ids: for each response, and each half that is not empty, what the body reads."""

    values: Mapping[str, float]
    scale: Scale
    ids: tuple[Mapping[Half, list[int]], ...]
    length: int


def encoded(model: Heads, rows: Sequence[Judged]) -> list[Tied]:
    """Rows as the body reads them; of a long text its first window alone."""
    wanted = {reads(name) for name in model.names}
    out = []
    for row in rows:
        sides = []
        for response in row.responses:
            halves: dict[Half, str] = {"thought": response.thought, "reply": response.reply}
            said: dict[Half, list[int]] = {}
            for half, text in halves.items():
                if half in wanted and text.strip():
                    said[half] = encode(model.tokenizer, row.prompt, text.strip(), half, model.limit_tokens)[0]
            sides.append(said)
        longest = max((len(ids) for side in sides for ids in side.values()), default=0)
        out.append(Tied(row.values, row.scale, tuple(sides), longest))
    return out


def parts_of(model: Heads, name: str) -> list[int]:
    """The columns whose noisy or answers to `name`; none where the model has no such head."""
    if name in model.names:
        return [model.names.index(name)]
    return [model.names.index(half) for half in HALVES if half in model.names] if name == WHOLE else []


def head_logits(model: Heads, rows: Sequence[Tied], *, train: bool = False) -> Tensor:
    """Logits of shape (N, 2, K): row, first or second response, head. An empty half is `NOTHING`, without gradient."""
    where = [(i, s, half) for i, row in enumerate(rows) for s, side in enumerate(row.ids) for half in side]
    sequences = [rows[i].ids[s][half] for i, s, half in where]
    out = torch.full((len(rows), 2, len(model.names)), NOTHING, device=model.weight_KD.device)
    if not where:
        return out
    said_MK = pooled(model, sequences) @ model.weight_KD.T + model.bias_K if train else logits(model, sequences).to(out.device)
    mine = torch.tensor([[reads(name) == half for name in model.names] for _, _, half in where], device=out.device)
    rows_M, sides_M = (torch.tensor([w[j] for w in where], device=out.device) for j in (0, 1))
    for half in ("thought", "reply"):
        chosen = torch.tensor([w[2] == half for w in where], device=out.device)
        if not bool(chosen.any()):
            continue
        place = (rows_M[chosen], sides_M[chosen])
        out = out.index_put(place, torch.where(mine[chosen], said_MK[chosen], out[place]))
    return out


def losses(model: Heads, rows: Sequence[Tied], pairs: str, k: float) -> Tensor:
    """The sum over heads and scales of their mean losses; what a row lacks teaches nothing."""
    logits_N2K = head_logits(model, rows, train=True)
    total = logits_N2K.sum() * 0.0
    for name in sorted({name for row in rows for name in row.values}):
        columns = parts_of(model, name)
        if not columns:
            continue
        said_N2 = whole(logits_N2K[..., columns])
        gap = said_N2[:, 0] - said_N2[:, 1]
        total = total + label_loss(said_N2[:, 0], _values(rows, name, "label", said_N2))
        total = total + rating_loss(torch.sigmoid(said_N2[:, 0]), _values(rows, name, "rating", said_N2))
        outcome = _values(rows, name, "pair", said_N2)
        if pairs == "regression":
            total = total + rating_loss(said_N2[:, 0], outcome) + rating_loss(said_N2[:, 1], 1 - outcome)
        else:
            total = total + (tie_loss(gap, outcome, k) if pairs == "ties" else pair_loss(gap, outcome))
    return total


def fit_platt(model: Heads, rows: Sequence[Tied], k: float) -> dict[str, tuple[float, float]]:
    """For each head a and b of P = σ(a·z + b), from the rows that say something of it, a > 0.

    Labels decide both (Platt 1999, with a weak pull towards a = 1, b = 0 for few rows); from pairs alone only a can be
    found, and b puts the mean response at one half. A label of the whole moves both halves alike. Nothing said: 1, 0.
    """
    logits_N2K = head_logits(model, rows).double()
    found = {}
    for head in model.names:
        name = head if any(head in row.values for row in rows) or head not in HALVES else WHOLE
        columns = parts_of(model, name)
        said_N2K = logits_N2K[..., columns]
        labels = _values(rows, name, "label", said_N2K)
        labels = torch.where(torch.isnan(labels), _values(rows, name, "rating", said_N2K), labels)
        if not bool(torch.isnan(labels).all()):
            found[head] = _fitted(said_N2K[:, 0], labels)
            continue
        outcome = _values(rows, name, "pair", said_N2K)
        there = ~torch.isnan(outcome)
        if not bool(there.any()):
            found[head] = (1.0, 0.0)
            continue
        found[head] = (1.0, -float(said_N2K[there].mean()))
    return found


def _fitted(said_NK: Tensor, labels_N: Tensor) -> tuple[float, float]:
    log_a, b = torch.zeros((), dtype=torch.double, requires_grad=True), torch.zeros((), dtype=torch.double, requires_grad=True)
    n = int((~torch.isnan(labels_N)).sum())
    optimiser = torch.optim.LBFGS([log_a, b], max_iter=100, line_search_fn="strong_wolfe")
    real = said_NK > NOTHING / 2  # an empty half stays nothing

    def loss() -> Tensor:
        optimiser.zero_grad()
        moved = torch.where(real, log_a.exp() * said_NK + b, NOTHING)
        value = label_loss(whole(moved), labels_N) + (log_a**2 + b**2) / (2 * max(n, 1))
        value.backward()
        return value

    optimiser.step(loss)
    return math.exp(log_a.item()), b.item()


def _values(rows: Sequence[Tied], name: str, scale: Scale, like: Tensor) -> Tensor:
    values = [row.values.get(name, math.nan) if row.scale == scale else math.nan for row in rows]
    return torch.tensor(values, device=like.device, dtype=like.dtype)
