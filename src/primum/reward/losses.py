"""Losses of a learned reward: pairs with ties, pairs, ratings, labels. A missing answer is nan and teaches nothing.

Each takes what the heads say and what people said, of one shape, and gives the mean over what is there: 0 where
nothing is. What is missing is taken out before the loss, so its gradient is exactly 0, not nearly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

TIES = 5.0  # the k of Rao and Kupper: at k = 1 nothing ties


def tie_probabilities(gap: Tensor, k: float = TIES) -> tuple[Tensor, Tensor, Tensor]:
    """P(first wins), P(second wins), P(tie), which sum to one, of the gap first − second between two values.

    win = σ(Δ − log k), lose = σ(−Δ − log k), tie = (k² − 1) · win · lose    Rao & Kupper 1967

    >>> [round(float(p), 4) for p in tie_probabilities(torch.tensor(0.0))]
    [0.1667, 0.1667, 0.6667]
    """
    win, lose = torch.sigmoid(gap - math.log(k)), torch.sigmoid(-gap - math.log(k))
    return win, lose, (k * k - 1) * win * lose


def tie_loss(gap: Tensor, outcome: Tensor, k: float = TIES) -> Tensor:
    """−log P(outcome) of pairs with ties; the outcome is 1 where the first has more, 0 the second, 0.5 a tie.

    win −logσ(Δ − log k); tie −logσ(Δ − log k) − logσ(−Δ − log k) − log(k² − 1)    Liu et al. 2025 (VideoAlign), arXiv:2501.13918

    >>> round(float(tie_loss(torch.tensor([0.0]), torch.tensor([0.5]))), 4)  # log 1.5
    0.4055
    """
    gap, outcome, there = _there(gap, outcome)
    win, lose = -logsigmoid(gap - math.log(k)), -logsigmoid(-gap - math.log(k))
    tie = win + lose - math.log(k * k - 1)
    return _mean(torch.where(outcome == 1, win, torch.where(outcome == 0, lose, tie)), there)


def pair_loss(gap: Tensor, outcome: Tensor) -> Tensor:
    """−logσ(±Δ) of pairs (Bradley & Terry 1952). It knows no ties: a tie is left out, as a missing answer is."""
    gap, outcome, there = _there(gap, torch.where(outcome == 0.5, math.nan, outcome))
    return _mean(-logsigmoid((2 * outcome - 1) * gap), there)


def rating_loss(value: Tensor, rating: Tensor) -> Tensor:
    """Mean squared difference."""
    value, rating, there = _there(value, rating)
    return _mean((value - rating) ** 2, there)


def label_loss(logit: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of labels in [0, 1]: −y·logσ(z) − (1 − y)·logσ(−z)."""
    logit, label, there = _there(logit, label)
    return _mean(softplus(logit) - label * logit, there)


def whole(logits_NK: Tensor) -> Tensor:
    """The logit of "at least one of the K" where each alone has its own, by noisy or; one alone keeps its logit.

    P = 1 − Π(1 − σ(z_k)). So one label of a whole response teaches the heads of its halves.

    >>> round(float(torch.sigmoid(whole(torch.zeros(1, 2)))), 4)
    0.75
    """
    if logits_NK.shape[-1] == 1:
        return logits_NK[..., 0]
    none = -softplus(logits_NK).sum(-1)
    return torch.log(-torch.expm1(none.clamp(max=-1e-7))) - none


def _there(said: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both with zeros for what is missing, and where something is there; `where` passes no gradient to the other side."""
    there = ~torch.isnan(truth)
    return torch.where(there, said, 0.0), torch.where(there, truth, 0.0), there


def _mean(loss: Tensor, there: Tensor) -> Tensor:
    return torch.where(there, loss, 0.0).sum() / there.sum().clamp(min=1)
