"""The loss of one token, and what each token weighs: pure functions of log-probabilities.

Each gives N × T losses. Their sum under `token_weights` is the loss of the batch, whatever the
parts it is computed in, as long as a rollout stays whole.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from primum.reinforce.config import LossName

Estimator = Literal["k1", "k2", "k3"]


def sequence_log_ratio(log_ratio_NT: Tensor, mask_NT: Tensor, *, mean: bool) -> Tensor:
    """log ρ of the whole rollout, on each of its tokens, through which that token's own gradient flows.

    mean: (1/length)·Σ_t log ρ_t    Zheng et al. 2025 (GSPO, in its token form), arXiv:2507.18071
    else: Σ_t log ρ_t

    The mean over a rollout's tokens of any function of it has the value and the gradient of that
    function of the sequence's ratio, and yet each token may have an advantage of its own.

    >>> sequence_log_ratio(torch.tensor([[0.5, 0.0, 9.0]]), torch.tensor([[True, True, False]]), mean=True)[0, :2]
    tensor([0.2500, 0.2500])
    """
    log_ratio_NT = log_ratio_NT.masked_fill(~mask_NT, 0.0)
    length_N1 = mask_NT.sum(1, keepdim=True).clamp(min=1)
    total_N1 = log_ratio_NT.detach().sum(1, keepdim=True)
    flow_NT = log_ratio_NT - log_ratio_NT.detach()  # zeros with a gradient
    return total_N1 / length_N1 + flow_NT if mean else total_N1 + length_N1 * flow_NT


def clipped_loss(
    log_ratio_NT: Tensor, advantages_NT: Tensor, *, low: float, high: float, worst: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The clipped policy-gradient loss of each token, and where a clip cut the gradient off.

    loss = -min(ρ·A, clip(ρ, 1 - low, 1 + high)·A),  where worst > 0 with ρ at most worst

    Schulman et al. 2017 (PPO), arXiv:1707.06347; an upper bound of its own: Yu et al. 2025
    (DAPO), arXiv:2503.14476; `worst`, above 1 + high, for bad tokens that became much likelier:
    Prime Intellect 2025 (INTELLECT-2), arXiv:2505.07291, TRL's delta. With the sequence's log ρ
    this is GSPO (mean) and RLOO (sum; Ahmadian et al. 2024, arXiv:2402.14740, clipped as in TRL).

    >>> loss, clipped = clipped_loss(torch.tensor([[1.5, 1.1]]).log(), torch.tensor([[2.0, 2.0]]), low=0.2, high=0.25)
    >>> loss, clipped
    (tensor([[-2.5000, -2.2000]]), tensor([[ True, False]]))
    """
    bad_NT = advantages_NT < 0
    # The same in logarithms: the exponential of a sequence's log-ratio may be infinite, and its gradient then nan.
    most_NT = torch.where(bad_NT, math.log(worst) if worst else math.inf, math.log1p(high))
    least_NT = torch.where(bad_NT, math.log1p(-low) if low < 1 else -math.inf, -math.inf)
    held_NT = torch.where(log_ratio_NT > most_NT, most_NT, torch.where(log_ratio_NT < least_NT, least_NT, log_ratio_NT))
    return -held_NT.exp() * advantages_NT, (held_NT != log_ratio_NT) & (advantages_NT != 0)


def cispo_loss(logprobs_NT: Tensor, log_ratio_NT: Tensor, advantages_NT: Tensor, *, high: float) -> tuple[Tensor, Tensor]:
    """A policy gradient whose importance weight is bounded, so that every token keeps a gradient; and where it is bounded.

    loss = -stop_gradient(min(ρ, 1 + high))·A·log π     MiniMax 2025 (CISPO), arXiv:2506.13585

    As there and in TRL there is no lower bound. TRL's `epsilon_high` is our 1 + high.

    >>> cispo_loss(torch.tensor([[-1.0]]), torch.tensor([[2.0]]).log(), torch.tensor([[3.0]]), high=0.5)
    (tensor([[4.5000]]), tensor([[True]]))
    """
    ratio_NT = log_ratio_NT.detach().exp()
    return -ratio_NT.clamp(max=1 + high) * advantages_NT * logprobs_NT, (ratio_NT > 1 + high) & (advantages_NT != 0)


def mirror_loss(log_ratio_NT: Tensor, advantages_NT: Tensor, *, tau: float) -> Tensor:
    """The squared distance of each rollout's log-ratio from where mirror descent wants it, in units of reward.

    loss = (A - τ·log ρ)² / 2τ,  log ρ = Σ_t log π/π_i,  A = r - τ·log Z     Kimi k1.5 2025, arXiv:2501.12599
    -∇loss = A·∇log π - (τ/2)·∇(log ρ)²

    π_i is the policy that the iteration began with. With A = r - τ·log mean exp(r/τ) the loss is 0
    where π = softmax(log π_i + r/τ), whoever sampled. With the siblings' mean instead, that is
    the fixed point where π itself samples; for samples of π_i it is the flatter ρ that solves
    log ρ + κ·ρ = (r - mean r)/τ, with κ = KL(π_i‖π), the same to first order in r/τ.

    >>> mirror_loss(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 1.0]]), tau=0.5)
    tensor([[1., 0.]])
    """
    return (advantages_NT - tau * log_ratio_NT).square() / (2 * tau)


def divergence(logprobs_NT: Tensor, reference_NT: Tensor, estimator: Estimator = "k3") -> Tensor:
    """An estimate of each token's KL from the reference, in nats.

    k1 = log(π/π_ref)                      averages to the KL; single ones may be negative
    k2 = log(π/π_ref)² / 2                 not negative, close to the KL where that is small
    k3 = π_ref/π - log(π_ref/π) - 1        not negative, averages to the KL

    Schulman 2020 (k3: Shao et al. 2024, GRPO, arXiv:2402.03300). In a loss they pull otherwise
    than they measure: over a policy's own samples k1's gradient averages to 0, so it only adds noise
    (its place is the reward, see `kl_cost`); k2's is that of KL(π‖π_ref), k3's that of KL(π_ref‖π).

    >>> [round(float(divergence(torch.tensor(0.5).log(), torch.tensor(0.25).log(), k)), 4) for k in ("k1", "k2", "k3")]
    [0.6931, 0.2402, 0.1931]
    """
    gap_NT = reference_NT - logprobs_NT
    if estimator == "k1":
        return -gap_NT
    return gap_NT.square() / 2 if estimator == "k2" else gap_NT.exp() - gap_NT - 1


def token_weights(mask_NT: Tensor, loss: LossName, *, limit_tokens: int) -> Tensor:
    """What each token counts in the sum that is the loss; padding counts nothing.

    grpo, gspo, rloo, mirror: every rollout the same, 1 / (N·its length); under grpo and gspo long bad rollouts
        are so punished less a token, under rloo and mirror not, since the sequence's ratio sums over tokens
    dr_grpo: every token the same, 1 / (N·limit_tokens), whatever the lengths (arXiv:2503.20783)
    dapo, cispo: every token the same, 1 / all tokens (arXiv:2503.14476)

    >>> token_weights(torch.tensor([[1, 1], [1, 0]]).bool(), "grpo", limit_tokens=4)
    tensor([[0.2500, 0.2500],
            [0.5000, 0.0000]])
    """
    weights_NT = mask_NT.float()
    if loss == "dr_grpo":
        return weights_NT / (len(mask_NT) * limit_tokens)
    if loss in ("dapo", "cispo"):
        return weights_NT / weights_NT.sum().clamp(min=1)
    return weights_NT / weights_NT.sum(1, keepdim=True).clamp(min=1) / len(mask_NT)
