"""What the rollouts of each RL step were like where its log does not tell: form, language, how far rewards lie apart."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import pstdev
from typing import Any

from primum.microworld.language import language_of
from primum.signals import language_mixing
from primum.stats import mean
from primum.types import Example, Rollout

Row = Mapping[str, Any]


def with_rates(log: Sequence[Row], path: Path, *, world: bool) -> list[dict[str, Any]]:
    """The logged lines of a run with what its rollouts.jsonl tells of their steps; `world`: its prompts are the micro-world's."""
    if not path.exists():
        return [dict(row) for row in log]
    found = by_step(path)
    return [dict(row) | (rates(found[row["step"]], world=world) if row.get("step") in found else {}) for row in log]


def by_step(path: Path) -> dict[int, list[Row]]:
    """The lines of rollouts that were sampled in each step, those learnt from again left out."""
    found: dict[int, list[Row]] = {}
    with path.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if not row.get("replayed"):
                found.setdefault(row["step"], []).append(row)
    return found


def rates(rows: Sequence[Row], *, world: bool) -> dict[str, float]:
    """`well_formed`: the share that closed its thought, answered and ended; `reward_std`: the deviation of their rewards, the
    unscored left out; `off_language`: the share written mostly in a script that the prompt never uses. Of the micro-world's B
    tasks `off_language_b` and `accuracy_b`, the latter as the reward saw it. What nothing tells is left out.

    >>> asked = {"kind": "task", "thought": "", "well_formed": True, "truncated": False}
    >>> b = {**asked, "prompt": "计算 一 加 一", "reply": "answer two .", "reward": 1.0, "parts": {"correct": 1.0}}
    >>> a = {**asked, "prompt": "compute one plus one", "reply": "answer two .", "reward": 0.0, "parts": {"correct": 0.0}}
    >>> rates([a, b], world=True)
    {'well_formed': 1.0, 'reward_std': 0.5, 'off_language': 0.5, 'off_language_b': 1.0, 'accuracy_b': 1.0}
    """
    rewards = [r["reward"] for r in rows if r.get("reward") is not None]
    tasks = [r for r in rows if world and r["kind"] == "task" and language_of(r["prompt"]) == "B"]
    told = {
        "well_formed": mean(float(r["well_formed"] and not r["truncated"]) for r in rows),
        "reward_std": pstdev(rewards) if rewards else math.nan,
        "off_language": mean(_off_language(rows)),
        "off_language_b": mean(_off_language(tasks)),
        "accuracy_b": mean(_correct(tasks)),
    }
    return {name: value for name, value in told.items() if not math.isnan(value)}


def _off_language(rows: Sequence[Row]) -> list[float]:
    """1 where half or more of the letters are of a script that the prompt never uses; nan where there are no letters."""
    asked = (Example("", r["prompt"], r["kind"]) for r in rows)
    mixing = language_mixing([Rollout(e, r["thought"], r["reply"]) for e, r in zip(asked, rows, strict=True)])
    return [m if math.isnan(m) else float(m >= 0.5) for m in mixing]


def _correct(rows: Sequence[Row]) -> Iterable[float]:
    told = (r.get("parts", {}).get("correct") for r in rows)
    return (math.nan if value is None else float(value) for value in told)
