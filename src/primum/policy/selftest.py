"""The start-up test: does the fast way of scoring give this model's own numbers?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from primum.policy.model import Policy
from primum.policy.sample import sample
from primum.policy.score import completion_logprobs, logprobs
from primum.types import BadInput, Example, Rollout

GROUPS, SIBLINGS = 2, 3
LOGPROB = {torch.float32: 1e-3, torch.bfloat16: 0.05, torch.float16: 0.02}  # nats a token, mean difference
GRADIENT = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}  # of the gradient's length


@contextmanager
def arithmetic(policy: Policy, precision: str) -> Iterator[None]:
    """Matrix products in `precision` inside the block; auto leaves them to the weights."""
    wanted = torch.bfloat16 if precision == "bfloat16" else None
    if wanted is None or policy.model.dtype == wanted:
        yield
        return
    with torch.autocast(policy.device.type, wanted):
        yield


def fast_is_exact(policy: Policy, *, temperature: float = 1.0, precision: str = "auto") -> str:
    """Why shared rows and the chunked head may not be used on this model, or "" where they give what it gives itself.

    Made-up siblings of two prompts are scored both ways, with the gradient of their
    likelihood. A model whose layers carry more than attention from one token to the next,
    or whose head does more than a matrix, shows here.
    """
    rollouts = _made_up(policy)
    with arithmetic(policy, precision):
        try:
            fast = _measure(policy, rollouts, temperature, fast=True)
        except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
        return _difference(fast, _measure(policy, rollouts, temperature, fast=False), _number(policy, precision))


def precision_holds(policy: Policy, precision: str, *, temperature: float = 1.0) -> str:
    """Why `precision` may not be used on this model, or "" where its log-probabilities stay near those of the weights' own."""
    rollouts = _made_up(policy)
    plain = _measure(policy, rollouts, temperature, fast=False)
    with arithmetic(policy, precision):
        rough = _measure(policy, rollouts, temperature, fast=False)
    return _difference(rough, plain, _number(policy, precision))


def check_sampling(policy: Policy, *, temperature: float = 1.0, precision: str = "auto") -> None:
    """Refuse a model whose sampled tokens are not as likely as sampling says: its cache cannot be shared or shortened."""
    asks = [Example("short", "one", "benign"), Example("long", "one two three four five six seven", "benign")]
    with arithmetic(policy, precision), torch.no_grad():
        rollouts = sample(policy, asks, group=SIBLINGS, temperature=temperature, limit_tokens=12)
        scored = logprobs(policy.model, rollouts, pad=policy.pad, temperature=temperature, fast=False)
    gap = float((scored.logprobs_NT - completion_logprobs(rollouts, policy.device))[scored.mask_NT].abs().mean())
    if not gap <= LOGPROB[_number(policy, precision)]:
        what = f"sampling and scoring disagree on this model by {gap:.2g} nats a token"
        raise BadInput(what, policy.name, "choose a decoder-only model with attention layers, such as Qwen3 or Llama")


def _number(policy: Policy, precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bfloat16" else policy.model.dtype


def _made_up(policy: Policy) -> list[Rollout]:
    """Siblings of random tokens, of lengths that differ."""
    draw = torch.Generator().manual_seed(0)
    size = policy.model.get_input_embeddings().weight.shape[0]

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(size, (count,), generator=draw).tolist())

    ask = Example("made-up", "", "benign")
    prompts = [tokens(5 + 4 * g) for g in range(GROUPS)]
    return [
        Rollout(ask, "", "", prompt_ids=prompt, completion_ids=tokens(1 + 5 * s + g), logprobs=())
        for g, prompt in enumerate(prompts)
        for s in range(SIBLINGS)
    ]


def _measure(policy: Policy, rollouts: list[Rollout], temperature: float, *, fast: bool) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the real tokens, and the gradient of a sum of them in the first and the last trained matrix."""
    model: Any = policy.model
    weights = [p for p in model.parameters() if p.requires_grad and p.dim() == 2]
    with torch.enable_grad():
        scored = logprobs(model, rollouts, pad=policy.pad, temperature=temperature, fast=fast)
        weigh_T = torch.linspace(-1, 1, scored.logprobs_NT.shape[1], device=model.device)
        gradients = torch.autograd.grad((scored.logprobs_NT * weigh_T).sum(), [weights[0], weights[-1]])
    return scored.logprobs_NT.detach()[scored.mask_NT], torch.cat([g.float().flatten() for g in gradients])


def _difference(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], number: torch.dtype) -> str:
    gap = float((one[0] - other[0]).abs().mean())
    if not gap <= LOGPROB[number]:
        return f"its log-probabilities differ by {gap:.2g} nats"
    turn = float((one[1] - other[1]).norm() / other[1].norm().clamp(min=1e-12))
    return "" if turn <= GRADIENT[number] else f"its gradient differs by {turn:.0%}"
