"""The loss of one token, and what each token weighs: pure functions of log-probabilities."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def clipped_loss(logprobs_NT: Tensor, old_NT: Tensor, advantages_N: Tensor, *, low: float, high: float) -> tuple[Tensor, Tensor]:
    """The clipped policy-gradient loss of each token, and where the clip cut the gradient off.

    ρ = exp(logprob - old);  loss = -min(ρ·A, clip(ρ, 1 - low, 1 + high)·A)

    Schulman et al. 2017 (PPO), arXiv:1707.06347; an upper bound of its own: Yu et al. 2025
    (DAPO), arXiv:2503.14476.

    >>> loss, clipped = clipped_loss(torch.tensor([[1.5, 1.5]]).log(), torch.zeros(1, 2), torch.tensor([2.0]), low=0.2, high=0.25)
    >>> loss, clipped
    (tensor([[-2.5000, -2.5000]]), tensor([[True, True]]))
    """
    advantages_N1 = advantages_N[:, None]
    ratio_NT = (logprobs_NT - old_NT).exp()
    plain_NT = ratio_NT * advantages_N1
    bounded_NT = ratio_NT.clamp(1 - low, 1 + high) * advantages_N1
    return -torch.minimum(plain_NT, bounded_NT), bounded_NT < plain_NT


def divergence(logprobs_NT: Tensor, reference_NT: Tensor) -> Tensor:
    """A non-negative estimate of each token's KL from the reference, in nats; its mean over samples is the KL.

    k3 = π_ref/π - log(π_ref/π) - 1     Schulman 2020; Shao et al. 2024 (GRPO), arXiv:2402.03300

    >>> divergence(torch.tensor([[0.0, 0.5]]).log1p(), torch.zeros(1, 2))
    tensor([[0.0000, 0.0721]])
    """
    gap_NT = reference_NT - logprobs_NT
    return gap_NT.exp() - gap_NT - 1


def token_weights(mask_NT: Tensor, loss: Literal["grpo", "dr_grpo", "dapo"], *, limit_tokens: int) -> Tensor:
    """What each token counts in the sum that is the loss; padding counts nothing.

    grpo: every rollout the same, 1 / (N·its length), so long bad rollouts are punished less a token
    dr_grpo: every token the same, 1 / (N·limit_tokens), whatever the lengths (arXiv:2503.20783)
    dapo: every token the same, 1 / all tokens (arXiv:2503.14476)

    >>> token_weights(torch.tensor([[1, 1], [1, 0]]).bool(), "grpo", limit_tokens=4)
    tensor([[0.2500, 0.2500],
            [0.5000, 0.0000]])
    """
    weights_NT = mask_NT.float()
    if loss == "grpo":
        return weights_NT / weights_NT.sum(1, keepdim=True).clamp(min=1) / len(mask_NT)
    if loss == "dr_grpo":
        return weights_NT / (len(mask_NT) * limit_tokens)
    return weights_NT / weights_NT.sum().clamp(min=1)
