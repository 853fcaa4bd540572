"""A policy that rewrites requests, for the mutations that need a model."""

from __future__ import annotations

from primum.evaluate.redteam.text import Rewriter
from primum.policy import Policy, sample
from primum.signals import refusal
from primum.types import Example


def policy_rewriter(policy: Policy, *, limit_tokens: int = 512, seed: int = 0) -> Rewriter:
    """A rewriter that asks `policy`; "" where it was cut short, said nothing, refused, or gave the text back."""

    def rewrite(instruction: str, text: str) -> str:
        ask = Example("rewrite", f"{instruction} Reply with the rewritten request alone.\n\n{text}", "benign")
        (rollout,) = sample(policy, [ask], temperature=0.7, limit_tokens=limit_tokens, seed=seed)
        (refused,) = refusal([rollout])
        said = rollout.reply.strip()
        return "" if rollout.truncated or refused > 0 or said == text.strip() else said

    return rewrite
