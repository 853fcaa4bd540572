"""Rejection sampling: a policy's own best rollouts as demonstrations, for itself or for a student."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import Field

from primum.config import Config
from primum.policy.finetune import fingerprint
from primum.policy.model import Policy
from primum.policy.sample import sample
from primum.run import Run, read_jsonl, rollout_row, write_json, write_text
from primum.types import BadInput, Example, Rollout

Totals = Callable[[Sequence[Rollout]], list[float]]
Text = tuple[str, str, str]  # prompt, thought, reply
CHUNK = 128  # prompts between two saves


class NothingToImitate(BadInput):
    """No rollout was good enough to be a demonstration."""


class TraceConfig(Config):
    """Which rollouts to draw and which to keep."""

    prompts: int = Field(0, ge=0)  # how many training prompts, drawn by seed; 0 takes all
    group: int = Field(4, ge=1)  # rollouts of a prompt
    keep: int = Field(1, ge=0)  # at most this many of them; 0 keeps all that pass
    repeats: bool = False  # keep rollouts that say the same: a student then learns how often its teacher says it
    temperature: float = Field(1.0, ge=0)
    limit_tokens: int = Field(256, ge=1)
    least_reward: float = 0.5  # where there is a reward


def collect(
    policy: Policy, examples: Sequence[Example], config: TraceConfig, run: Run, *,
    reward: Totals | None = None, seed: int = 0, label: str = "sample", budget_flops: float = math.inf,
) -> list[Example]:  # fmt: skip
    """The accepted rollouts as demonstrations, also in `accepted.jsonl`; their counts in `accepted.json`.

    Time and tokens go to the run's ledger, and where that reaches the budget, sampling ends
    after the chunk. A killed run goes on after its last saved chunk.
    """
    examples = list(examples)
    drawing = fingerprint(policy, config.model_dump(), seed, [e.to_json() for e in examples], reward is not None)
    counts, done = _resume(run, drawing)
    seen = {(row["prompt"], row["thought"], row["reply"]) for row in read_jsonl(run.path / "accepted.jsonl")}
    with run.progress(label, len(examples) * config.group, done * config.group) as advance:
        for first in range(done, len(examples), CHUNK):
            if run.ledger.flops >= budget_flops:
                break
            chunk = examples[first : first + CHUNK]
            with run.ledger.clock():
                rollouts = sample(
                    policy, chunk, group=config.group, temperature=config.temperature, limit_tokens=config.limit_tokens,
                    seed=seed, ledger=run.ledger, progress=advance,
                )  # fmt: skip
                with run.ledger.clock("reward"):
                    totals = reward(rollouts) if reward else None
            rows = []
            for i in range(len(chunk)):
                mine = slice(i * config.group, (i + 1) * config.group)
                chosen = choose(rollouts[mine], totals[mine] if totals else None, config, seen, counts)
                rows += [rollout_row(r, reward=total, place=first + i) for r, total in chosen]
            _save(run, rows, drawing, counts, first + len(chunk))
    return [_demonstration(examples[row["place"]], row) for row in read_jsonl(run.path / "accepted.jsonl")]


def some(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` examples drawn by seed, in their own order; all where count is 0 or more than there are."""
    if not count or count >= len(examples):
        return list(examples)
    return [examples[i] for i in sorted(random.Random(seed).sample(range(len(examples)), count))]


def choose(
    rollouts: Sequence[Rollout], totals: Sequence[float] | None, config: TraceConfig, seen: set[Text], counts: Counter[str]
) -> list[tuple[Rollout, float]]:
    """The best siblings: whole, well formed, paid at least `least_reward`, not said before; of equals the shortest first.

    Without totals every sibling is as good as another, and their order stays. `counts` takes
    why the others were refused, in the order of these reasons: truncated, malformed,
    unscored, low, repeated, surplus.
    """
    counts["sampled"] += len(rollouts)
    paid = list(zip(rollouts, totals if totals is not None else [math.inf] * len(rollouts), strict=True))
    if totals is not None:
        paid.sort(key=lambda pair: (math.inf if math.isnan(pair[1]) else -pair[1], pair[0].thought_tokens + pair[0].reply_tokens))
    chosen: list[tuple[Rollout, float]] = []
    for rollout, total in paid:
        text = (rollout.example.prompt, rollout.thought, rollout.reply)
        refusal = _refusal(rollout, total, config) or ("repeated" if text in seen and not config.repeats else "")
        refusal = refusal or ("surplus" if 0 < config.keep <= len(chosen) else "")
        counts[refusal or "accepted"] += 1
        if not refusal:
            seen.add(text)
            chosen.append((rollout, total))
    return chosen


def _refusal(rollout: Rollout, total: float, config: TraceConfig) -> str:
    if rollout.truncated:
        return "truncated"
    if not rollout.well_formed:
        return "malformed"
    if math.isnan(total):
        return "unscored"
    return "low" if total < config.least_reward else ""


def _demonstration(example: Example, row: dict[str, Any]) -> Example:
    return replace(example, thought=row["thought"], reply=row["reply"], source="rollout")


def _save(run: Run, rows: list[dict[str, Any]], drawing: str, counts: Counter[str], done: int) -> None:
    """Append the rows, then note that they count: rows past the noted number are of a killed chunk."""
    with (run.path / "accepted.jsonl").open("a", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    noted = {"drawing": drawing, "prompts": done, "counts": dict(counts), "ledger": asdict(run.ledger)}
    write_json(run.path / "accepted.json", noted)


def _resume(run: Run, drawing: str) -> tuple[Counter[str], int]:
    """The counts and the number of prompts already drawn; nothing where the drawing is another one."""
    rows = run.path / "accepted.jsonl"
    try:
        noted = json.loads((run.path / "accepted.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        noted = {}
    if noted.get("drawing") != drawing:
        rows.unlink(missing_ok=True)
        return Counter(), 0
    counts = Counter(noted["counts"])
    run.ledger.restore(noted["ledger"])
    lines = rows.read_text(encoding="utf-8").split("\n")[: counts["accepted"]] if rows.exists() else []
    write_text(rows, "".join(line + "\n" for line in lines))
    return counts, noted["prompts"]
