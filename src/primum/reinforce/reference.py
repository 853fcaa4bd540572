"""A policy that only scores: what KL is measured from, and what mirror descent is pulled towards."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from primum.policy import Policy, copy, logprobs
from primum.policy.adapter import switched_off
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.update import scoring_flops
from primum.run import Ledger
from primum.types import Rollout


class Reference:
    """The policy it was given, or since the last `refresh` the `trained` one as it was then.

    Given the policy that is trained it is always the present one; `bare` leaves out an adapter, so
    that it is the one the adapter began from.
    """

    def __init__(self, given: Policy, trained: Policy, config: ReinforceConfig, *, bare: bool = False) -> None:
        self.given, self.trained, self.config, self.bare = given, trained, config, bare
        self.copy: Policy | None = None

    def refresh(self) -> None:
        self.copy = copy(self.trained)

    @torch.no_grad()
    def score(self, rollouts: list[Rollout], ledger: Ledger, *, fast: bool) -> Tensor:
        """The log-probabilities of the completions, N × the longest."""
        policy, config = self.copy or self.given, self.config
        with ledger.clock("score"), switched_off(policy) if self.bare and not self.copy else nullcontext():
            found = logprobs(
                policy.model, rollouts, pad=policy.pad, temperature=config.temperature, tokens=config.micro_batch_tokens,
                fast=fast,
            )  # fmt: skip
        flops = scoring_flops(policy.model, rollouts, shared=fast)
        ledger.charge("score", flops=flops, tokens=sum(len(r.completion_ids) for r in rollouts))
        return found.logprobs_NT

    def state(self) -> list[Tensor]:
        """The weights since the last refresh; none where there was none."""
        return [p.detach() for p in self.copy.model.parameters()] if self.copy else []

    @torch.no_grad()
    def restore(self, state: Any) -> None:
        self.copy = copy(self.trained) if state else None
        if self.copy:
            for weight, saved in zip(self.copy.model.parameters(), state, strict=True):
                weight.copy_(saved)
