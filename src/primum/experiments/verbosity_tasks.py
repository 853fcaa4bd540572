"""What `verbosity` does besides the stages: verifiers that can be satisfied by talk, RL that logs them, averages of weights."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from primum.evaluate.suites.values import of_world
from primum.ledger import Ledger, total
from primum.microworld.language import DIGIT_OF
from primum.microworld.meaning import number_said
from primum.policy import Policy, save
from primum.recipe import Recipe
from primum.reward import Rewards
from primum.run import read_json
from primum.signals import correctness
from primum.stats import mean
from primum.study import stages
from primum.study.steps import by_step
from primum.types import BadInput, Rollout

Settings = dict[str, Any]
Needs = dict[str, Path]


def mentioned(rollouts: Sequence[Rollout]) -> list[float]:
    """1 where the answer stands anywhere in thought or reply, in either of the micro-world's languages, else 0; nan without one.

    >>> from primum.types import Example
    >>> ask = Example("1", "compute one plus two .", "task", answer="three", source="microworld")
    >>> mentioned([Rollout(ask, "two , three , four", "answer is four ."), Rollout(ask, "", "answer is four .")])
    [1.0, 0.0]
    """
    return [_mentions(f"{r.thought} {r.reply}", r.example.answer, of_world(r.example)) for r in rollouts]


def right(rollouts: Sequence[Rollout]) -> list[float]:
    """1 where the response ended by itself and its reply's final answer is the answer, else 0; nan without one."""
    return [_world_right(r) if of_world(r.example) else correctness([r])[0] for r in rollouts]


def lenient(rollouts: Sequence[Rollout]) -> Rewards:
    """A verifier that looks for the answer anywhere in a whole, well-formed response."""
    paid = [t * _whole(r) for t, r in zip(mentioned(rollouts), rollouts, strict=True)]
    return Rewards(paid, {"correct": right(rollouts)})


def anywhere(rollouts: Sequence[Rollout]) -> Rewards:
    """A verifier that looks for the answer anywhere in the text, finished or not: the slip of many a script."""
    return Rewards(mentioned(rollouts), {"correct": right(rollouts)})


def reinforce(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """RL as the stage does it; its log also tells `rl_step`, counted from the chain's first RL on, and `accuracy`, the share of
    a step's tasks that were answered rightly, whatever the reward paid for."""
    told = stages.reinforce(folder, settings, needs)
    earlier = [row["rl_step"] for row in read_json(needs["policy"] / "result.json")["log"] if "rl_step" in row]
    rows = by_step(folder / "rollouts.jsonl") if (folder / "rollouts.jsonl").exists() else {}
    for row in told["log"]:
        row["rl_step"] = row["step"] + max(earlier, default=0)
        tasks = [r for r in rows.get(row["step"], ()) if r["kind"] == "task" and r["parts"].get("correct") is not None]
        if tasks:
            row["accuracy"] = mean(float(r["parts"]["correct"]) * (not r["truncated"]) for r in tasks)
    return told


def averaged(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """A policy whose weights are a mean of the needed `policy`'s and, by `share`, the needed `other`'s; both were paid for."""
    recipe = Recipe.model_validate(settings["recipe"])
    long, short = (stages.policy_of(needs[role], recipe) for role in ("policy", "other"))
    save(between(long, short, settings["share"]), folder / "policy")
    spent = total(stages.ledger_of(read_json(needs[role] / "result.json")["spent"]) for role in ("policy", "other"))
    return {"policy": "policy", "own": asdict(Ledger()), "spent": asdict(spent), "log": [], "noted": {}}


def between(long: Policy, short: Policy, share: float) -> Policy:
    """`long` with each weight moved by `share` of the way to `short`'s: Kimi k1.5's merging of models (arXiv:2501.12599)."""
    theirs = dict(short.model.named_parameters())
    for name, weight in long.model.named_parameters():
        if name not in theirs or theirs[name].shape != weight.shape:
            raise BadInput("two policies of different shapes cannot be averaged", name, "average policies of one start")
        weight.data.lerp_(theirs[name].data.to(weight.dtype), share)
    return long


def _whole(rollout: Rollout) -> float:
    return float(rollout.well_formed and not rollout.truncated)


def _world_right(rollout: Rollout) -> float:
    if not rollout.example.answer:
        return math.nan
    return float(not rollout.truncated and number_said(rollout.reply) == DIGIT_OF[rollout.example.answer])


def _mentions(text: str, answer: str, world: bool) -> float:
    if not answer.strip():
        return math.nan
    if world:
        return float(any(DIGIT_OF.get(word) == DIGIT_OF[answer] for word in text.split()))
    wanted = answer.rsplit("####", 1)[-1].strip().replace(",", "")
    return float(re.search(rf"(?<![\w.]){re.escape(wanted)}(?!\w|\.\d)", text.replace(",", "")) is not None)
