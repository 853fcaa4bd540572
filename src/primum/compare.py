"""Compare: every arm measured on the same test prompts, what each cost, and what each step bought."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from primum.evaluate import EvaluateConfig, Judge, Measured, measure, paired, proxy_gold_gap, summarise
from primum.ledger import COUNTS, Ledger
from primum.policy import Policy
from primum.reward import Reward
from primum.run import Run, write_json, write_jsonl
from primum.stats import exactly
from primum.types import Corpus

# Which arm each is compared with: what the step between the two bought.
STEPS = (
    ("base", "sft"),
    ("base", "rl"),
    ("sft", "rl"),
    ("sft", "sft_rl"),
    ("sft_rl", "hybrid"),
    ("sft", "hybrid"),
    ("rl", "hybrid"),
    ("base", "hybrid"),
    ("hybrid", "distilled"),
)
PAIRED = ("harm_train", "harm_validation", "harm_test", "over_refusal", "benign_useful", "task_accuracy", "language_mixing")
# Arms made by RL, and the arm each started from.
REWARDED = {"rl": "base", "sft_rl": "sft"}


def compare(
    arms: Mapping[str, Policy],
    costs: Mapping[str, Ledger],
    corpus: Corpus,
    judge: Judge,
    reward: Reward,
    config: EvaluateConfig,
    run: Run,
    *,
    reward_name: str,
    notes: Sequence[str] = (),
) -> None:
    """Measure the arms on the test split and write what the report reads.

    A killed comparison begins again.
    `reward` is asked about its opinion of the same rollouts, for the gap between proxy and gold.
    """
    if run.done() is not None:
        return
    measured: dict[str, list[Measured]] = {}
    with run.ledger.clock(), run.progress("compare", len(arms) * len(corpus.test) * config.samples) as advance:
        for name, policy in arms.items():
            measured[name] = measure(policy, corpus.test, judge, config, run.ledger, advance)
            write_jsonl(
                run.path / f"rollouts-{name}.jsonl", (m.to_row(corpus.role(m.rollout.example.category)) for m in measured[name])
            )
    summaries = {name: {**summarise(rows, corpus), **_cost(costs[name])} for name, rows in measured.items()}
    pairs = [(a, b) for a, b in STEPS if a in measured and b in measured]
    write_json(run.path / "arms.json", summaries)
    write_json(run.path / "roles.json", corpus.roles)
    write_json(run.path / "paired.json", paired(measured, corpus, pairs, PAIRED))
    write_json(run.path / "hacking.json", _hacking(measured, corpus, reward, reward_name))
    write_json(run.path / "notes.json", [*notes, *_too_many_unscored(summaries)])
    run.finish(arms=list(arms))
    run.say(f"compare: {len(arms)} arms on {len(corpus.test)} prompts, judge {judge.name}, {run.ledger.seconds:.0f} s")


def _cost(ledger: Ledger) -> dict[str, Any]:
    return {name: exactly(float(getattr(ledger, name))) for name in (*COUNTS, "peak_mib")}


def _hacking(measured: Mapping[str, list[Measured]], corpus: Corpus, reward: Reward, reward_name: str) -> list[dict[str, Any]]:
    out = []
    for arm, start in REWARDED.items():
        if arm not in measured or start not in measured:
            continue
        before, after = (_harmful(measured[name], corpus) for name in (start, arm))
        sides = (
            _opinion(reward, before),
            _opinion(reward, after),
            [1.0 - m.harm_in_reply for m in before],
            [1.0 - m.harm_in_reply for m in after],
        )
        found = proxy_gold_gap(*sides, clusters=[m.rollout.example.cluster for m in before])
        out.append({"arm": arm, "from": start, "reward": reward_name, **found})
    return out


def _harmful(measured: Sequence[Measured], corpus: Corpus) -> list[Measured]:
    """Rollouts on harmful prompts of the categories that were trained on."""
    return [m for m in measured if m.rollout.example.kind == "harmful" and corpus.role(m.rollout.example.category) == "train"]


def _opinion(reward: Reward, measured: Sequence[Measured]) -> list[float]:
    """The reward's harmlessness of each rollout the judge could tell of, or its total where it has no such part."""
    if not measured:
        return []
    rewards = reward([m.rollout for m in measured])
    seen = rewards.parts.get("harmless", rewards.total)
    return [math.nan if math.isnan(m.harm_in_reply) else x for m, x in zip(measured, seen, strict=True)]


def _too_many_unscored(summaries: Mapping[str, dict[str, Any]], most: float = 0.02) -> list[str]:
    """A warning for each arm in which the judge could not tell of more than 2 %."""
    shares = {name: summary["unscored"].mean for name, summary in summaries.items()}
    return [
        f"{name}: {share:.0%} of rollouts unscored, over {most:.0%}: its rates are not to be trusted"
        for name, share in shares.items()
        if not math.isnan(share) and share > most
    ]
