"""Rejection-sampling SFT on the reasoner's own best rollouts: the third stage of DeepSeek-R1 (arXiv:2501.12948)."""

from __future__ import annotations

from typing import Literal

from primum.policy import Policy
from primum.policy.finetune import FinetuneConfig, Validate, finetune, restore
from primum.policy.traces import NothingToImitate, TraceConfig, collect, some
from primum.reward.types import Reward
from primum.run import Run
from primum.types import Corpus


class RefineConfig(FinetuneConfig, TraceConfig):
    """The settings of fine-tuning and of rejection sampling, and what they start from."""

    start: Literal["base", "reasoner"] = "base"  # DeepSeek-R1 starts from the base model again
    demonstrations: bool = True  # mix in the cold start's demonstrations


def refine(
    reasoner: Policy, base: Policy, corpus: Corpus, reward: Reward, validate: Validate | None, config: RefineConfig, run: Run, *,
    seed: int, budget_flops: float,
) -> Policy:  # fmt: skip
    """A new policy, tuned on the reasoner's best-rewarded rollouts over the training prompts.

    A rollout is kept when it is whole, well formed and paid `least_reward`; nan is not paid.
    `accepted.jsonl` holds them. The second RL, over all kinds of prompt, is the pipeline's.
    """
    start = base if config.start == "base" else reasoner
    if run.done() is not None:
        return restore(run.path / "sft" / "policy", start)
    prompts = some(corpus.train, config.prompts, seed)
    accepted = collect(
        reasoner, prompts, config, run, reward=lambda r: reward(r).total, seed=seed, label="refine: sample",
        budget_flops=budget_flops,
    )  # fmt: skip
    shown = accepted + (corpus.demonstrations if config.demonstrations else [])
    if not shown:
        where = str(run.path / "accepted.json")
        raise NothingToImitate("no rollout was good enough to imitate", where, "lower refine.least_reward")
    child = run.child("sft")
    child.ledger = run.ledger  # one meter, so that a resumed run counts the same
    refined = finetune(
        start, shown, config, child, validate=validate, seed=seed, budget_flops=budget_flops, label="refine: fine-tune"
    )
    run.finish(accepted=len(accepted), demonstrations=len(shown) - len(accepted), start=config.start)
    run.say(f"refine: {len(accepted)} rollouts of {len(prompts) * config.group} kept, {run.ledger.seconds:.0f} s")
    return refined
