"""How far a student's next-token distributions are from its teacher's, over the whole vocabulary, differentiably."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from primum.policy import Policy
from primum.policy.head import Head, find_head
from primum.policy.pack import Packed, Row, pack, pass_tokens, plan
from primum.policy.products import quick_products
from primum.types import Rollout

Divergence = Literal["reverse_kl", "forward_kl", "jsd"]
CHUNK = 1 << 22  # probabilities computed at a time
KEEP = 1 << 25  # probabilities kept from forward to backward; more are computed again


def divergence(student: Tensor, teacher: Tensor, kind: Divergence, beta: float = 0.5) -> Tensor:
    """The divergence of each distribution in the last dimension, in nats; both are given as log-probabilities.

    reverse_kl  KL(s‖t) = Σ s·log(s/t)                         Gu et al. 2024 (MiniLLM), arXiv:2306.08543
    forward_kl  KL(t‖s) = Σ t·log(t/s)                         what supervised fine-tuning on the teacher descends
    jsd         β·KL(t‖m) + (1-β)·KL(s‖m),  m = β·t + (1-β)·s  Agarwal et al. 2024 (GKD), arXiv:2306.13649

    Reverse KL punishes what the teacher would not say, forward KL what the student leaves out. JSD/β
    nears forward KL as β → 0, JSD/(1-β) reverse KL as β → 1: at either end the gradient is small.

    >>> student, teacher = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    >>> [round(float(divergence(student, teacher, kind)), 4) for kind in ("reverse_kl", "forward_kl", "jsd")]
    [0.1438, 0.1308, 0.0338]
    """
    if kind == "reverse_kl":
        return _kl(student, teacher)
    if kind == "forward_kl":
        return _kl(teacher, student)
    mixture = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
    return beta * _kl(teacher, mixture) + (1 - beta) * _kl(student, mixture)


@dataclass(frozen=True)
class States:
    """What a model makes of the text before each of M completion tokens, rollout by rollout: hidden states and the head
    that turns them into logits, or the logits themselves where the head is None."""

    rows_M: Tensor
    head: Head | None

    @property
    def vocabulary(self) -> int:
        return len(self.head.weight_VD) if self.head else self.rows_M.shape[1]

    def logprobs(self, part: slice, size: int, temperature: float) -> Tensor:
        """Log-probabilities of the first `size` tokens, float32."""
        rows = self.rows_M[part]
        if self.head is None:
            return torch.log_softmax(rows[:, :size].float() / temperature, -1)
        logits_CV = torch.nn.functional.linear(rows, self.head.weight_VD[:size]).float() * self.head.scale
        if self.head.cap:
            logits_CV = self.head.cap * torch.tanh(logits_CV / self.head.cap)
        return torch.log_softmax(logits_CV / temperature, -1)


def divergences(student: States, teacher: States, *, kind: Divergence, beta: float = 0.5, temperature: float = 1.0) -> Tensor:
    """The divergence at each of M completion tokens, in nats, differentiable in the student's states and head.

    Distributions exist for a chunk of positions at a time; where all M × V of them are few they are kept
    for the backward pass, else computed once more. Entries of a padded vocabulary that one of the two
    lacks are left out of both.
    """
    size, count = min(student.vocabulary, teacher.vocabulary), len(student.rows_M)

    def of(part: slice) -> Tensor:
        ours, theirs = (states.logprobs(part, size, temperature) for states in (student, teacher))
        return divergence(ours, theirs, kind, beta)

    again = torch.is_grad_enabled() and count * size > KEEP
    step = max(16, CHUNK // size)
    parts = [slice(first, first + step) for first in range(0, count, step)]
    return torch.cat([checkpoint(of, part, use_reentrant=False) if again else of(part) for part in parts])


def read_states(policy: Policy, rollouts: Sequence[Rollout], rows: list[Row], *, fast: bool) -> States:
    """One forward pass over `rows`, which hold the rollouts in their order; `fast` leaves the head to `divergences`."""
    model: Any = policy.model
    packed = pack(rollouts, rows, policy.pad, model.device, additive=getattr(model.config, "_attn_implementation", "") != "sdpa")
    return _hidden(model, packed) if fast else _logits(model, packed)


@torch.no_grad()
def teacher_states(policy: Policy, rollouts: Sequence[Rollout], *, tokens: int = 0, fast: bool = True) -> States:
    """The states at all completion tokens, without gradient, read `tokens` positions at a time; 0 suits the device."""
    tokens = tokens or pass_tokens(policy.model, fast=fast)
    parts, order, head = [], [], None
    for rows in plan(policy.model, rollouts, tokens=tokens, shared=fast):
        chosen = [i for row in rows for i in row]
        found = read_states(policy, *renumbered(rollouts, rows), fast=fast)
        parts.append(found.rows_M)
        order += chosen
        head = found.head
    lengths = [len(rollouts[i].completion_ids) for i in order]
    place_M = torch.tensor([i for i, n in zip(order, lengths, strict=True) for _ in range(n)], device=policy.device)
    return States(torch.cat(parts)[place_M.argsort(stable=True)], head)


def renumbered(rollouts: Sequence[Rollout], rows: list[Row]) -> tuple[list[Rollout], list[Row]]:
    """The rollouts that stand in `rows`, in that order, and the same rows in their new numbers."""
    number = iter(range(len(rollouts)))
    return [rollouts[i] for row in rows for i in row], [[next(number) for _ in row] for row in rows]


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() * (p - q)).sum(-1)


def _hidden(model: Any, packed: Packed) -> States:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = find_head(inner)
    if head is None:
        raise ValueError("the output head is no plain matrix")
    extra = {} if packed.mask_B1LL is None else {"attention_mask": packed.mask_B1LL, "position_ids": packed.positions_BL}
    with quick_products(inner, packed.ids_BL.numel()):
        hidden_BLD = inner.get_decoder()(input_ids=packed.ids_BL, use_cache=False, **extra).last_hidden_state
    return States(hidden_BLD[packed.row_M, packed.place_M], head)


def _logits(model: Any, packed: Packed) -> States:
    """The model's own logits: some scale or cap theirs after the head."""
    width, start = packed.ids_BL.shape[1], int(packed.place_M.min())
    logits_BLV = model(input_ids=packed.ids_BL, use_cache=False, logits_to_keep=width - start).logits
    return States(logits_BLV[packed.row_M, packed.place_M - start], None)
