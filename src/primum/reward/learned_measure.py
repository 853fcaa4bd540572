"""How good a learned reward is on labelled rows: accuracy of pairs and labels, AUROC, calibration error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from primum.agreement import auroc, calibration_error
from primum.reward.labels import Judged
from primum.reward.learned_fit import NOTHING, Tied, encoded, head_logits, parts_of
from primum.reward.losses import tie_probabilities, whole
from primum.signals.heads import Heads
from primum.stats import Estimate, estimate


def measure_heads(model: Heads, rows: Sequence[Judged], k: float) -> dict[str, dict[str, Any]]:
    """For each head or whole that the rows speak of: n, and what can be told from labels, ratings and pairs.

    `accuracy` of labels at one half, `auroc`, `calibration_error`, `error` (mean squared difference); of pairs
    `pair_accuracy` (the likeliest of a, b, tie) and `order_accuracy` (which has more, ties left out; an equal pair is
    half right). Intervals are over prompts.
    """
    said = answers(model, rows)
    tied = encoded(model, rows)
    gaps = _gaps(model, tied)
    out: dict[str, dict[str, Any]] = {}
    for name, values in said.items():
        found: dict[str, Any] = {}
        label = [i for i, row in enumerate(rows) if row.scale == "label" and name in row.values]
        if label:
            found |= _labels([values[i] for i in label], [rows[i].values[name] for i in label], [rows[i].prompt for i in label])
        pair = [i for i, row in enumerate(rows) if row.scale == "pair" and name in row.values]
        if pair:
            found |= _pairs(
                [gaps[name][i] for i in pair], [rows[i].values[name] for i in pair], [rows[i].prompt for i in pair], k
            )
        errors = squared_errors(rows, said)[name]
        found["error"] = estimate(errors, [row.prompt for row in rows]).to_json()
        out[name] = found
    return out


def answers(model: Heads, rows: Sequence[Judged]) -> dict[str, list[float]]:
    """For each name, and each row that speaks of it, the calibrated probability: of the label, or that the first of a
    pair has more (the sigmoid of the gap). nan where a row does not speak of it."""
    tied = encoded(model, rows)
    logits_N2K = head_logits(model, tied).cpu()
    a, b = (torch.tensor([model.platt[name][i] for name in model.names]) for i in (0, 1))
    moved = torch.where(logits_N2K > NOTHING / 2, logits_N2K * a + b, NOTHING)
    out: dict[str, list[float]] = {}
    for name in sorted({name for row in rows for name in row.values}):
        if columns := parts_of(model, name):
            said_N2 = whole(moved[..., columns])
            one, gap = torch.sigmoid(said_N2[:, 0]).tolist(), torch.sigmoid(said_N2[:, 0] - said_N2[:, 1]).tolist()
            out[name] = [
                math.nan if name not in row.values else gap[i] if row.scale == "pair" else one[i] for i, row in enumerate(rows)
            ]
    return out


def squared_errors(rows: Sequence[Judged], said: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """For each name and row the squared difference of answer and truth; nan where there is none. An outcome of 0.5 is a tie."""
    return {
        name: [math.nan if name not in row.values else (p - row.values[name]) ** 2 for row, p in zip(rows, values, strict=True)]
        for name, values in said.items()
    }


def _gaps(model: Heads, tied: Sequence[Tied]) -> dict[str, list[float]]:
    """Gaps before calibration, for which k was meant."""
    logits_N2K = head_logits(model, tied).cpu()
    names = sorted({name for row in tied for name in row.values})
    said = {name: whole(logits_N2K[..., columns]) for name in names if (columns := parts_of(model, name))}
    return {name: (s[:, 0] - s[:, 1]).tolist() for name, s in said.items()}


def _labels(said: list[float], truth: list[float], prompts: list[str]) -> dict[str, Any]:
    hits = [float((p >= 0.5) == (y >= 0.5)) for p, y in zip(said, truth, strict=True)]
    return {
        "labels": len(said),
        "accuracy": estimate(hits, prompts).to_json(),
        "auroc": auroc(said, [float(y >= 0.5) for y in truth], prompts).to_json(),
        "calibration_error": calibration_error(said, [float(y >= 0.5) for y in truth], prompts).to_json(),
    }


def _pairs(gaps: list[float], truth: list[float], prompts: list[str], k: float) -> dict[str, Any]:
    """Hits among a, b and tie, and among the pairs that have an order."""
    whole_, order = pair_hits(gaps, truth, k)
    shown: dict[str, Estimate] = {"pair_accuracy": estimate(whole_, prompts), "order_accuracy": estimate(order, prompts)}
    return {"pairs": len(gaps), **{name: value.to_json() for name, value in shown.items()}}


def pair_hits(gaps: Sequence[float], truth: Sequence[float], k: float) -> tuple[list[float], list[float]]:
    """1 where the likeliest of a, b and tie came out, else 0; and 1 where the sign of the gap is right, nan for ties.

    >>> pair_hits([3.0, 0.1, -3.0], [1.0, 0.5, 1.0], k=5.0)
    ([1.0, 1.0, 0.0], [1.0, nan, 0.0])
    """
    win, lose, tie = tie_probabilities(torch.tensor(list(gaps)), k)
    likeliest = torch.stack([lose, tie, win]).argmax(0).tolist()
    whole_ = [float(guess == round(2 * y)) for guess, y in zip(likeliest, truth, strict=True)]
    order = [
        math.nan if y == 0.5 else 0.5 if gap == 0 else float((gap > 0) == (y == 1)) for gap, y in zip(gaps, truth, strict=True)
    ]
    return whole_, order
