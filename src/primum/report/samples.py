"""The rollouts the page shows: the same prompts in every arm, a bounded and stable choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from primum.report.collect import read_rows
from primum.report.metrics import ARMS

LIMIT_PROMPTS = 400
LIMIT_CHARACTERS = 2000  # of one prompt, thought or reply
LIMIT_BYTES = 2_200_000  # of all of them, as JSON
KEPT = ("outcome", "harm_in_reply", "harm_in_thought", "refusal", "useful", "correct", "language_mixing", "truncated",
        "well_formed", "thought_tokens", "reply_tokens")  # fmt: skip


def samples(path: Path) -> dict[str, Any]:
    """{"arms", "prompts", "total"} from 6-compare/rollouts-ARM.jsonl; at most 400 prompts.

    A prompt sampled several times shows its first rollout. One prompt of each kind and
    category comes in turn, in the order of the files, until there are too many.
    """
    files = {p.stem.removeprefix("rollouts-"): p for p in sorted((path / "6-compare").glob("rollouts-*.jsonl"))}
    arms = [a for a in ARMS if a in files] + [a for a in files if a not in ARMS]
    prompts: dict[str, dict[str, Any]] = {}
    for arm in arms:
        for row in read_rows(files[arm], []):
            entry = prompts.setdefault(str(row.get("id")), _prompt(row))
            entry["arms"].setdefault(arm, _rollout(row))
    return {"arms": arms, "prompts": _bounded(_in_turn(list(prompts.values()))), "total": len(prompts)}


def _prompt(row: dict[str, Any]) -> dict[str, Any]:
    short = {k: str(row.get(k) or "") for k in ("id", "kind", "category", "role")}
    return {**short, "prompt": cut(row.get("prompt")), "arms": {}}


def _rollout(row: dict[str, Any]) -> dict[str, Any]:
    marks = {k: row[k] for k in KEPT if row.get(k) is not None}
    return {"thought": cut(row.get("thought")), "reply": cut(row.get("reply")), **marks}


def cut(text: Any, limit: int = LIMIT_CHARACTERS) -> str:
    """The first `limit` characters, and how many more there were.

    >>> cut("abcdef", 4)
    'abcd … (2 more characters)'
    """
    text = str(text or "")
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit} more characters)"


def _in_turn(prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One prompt of every kind, role and category, then a second of each, and so on."""
    seen: dict[tuple[str, str, str], int] = {}
    rounds = []
    for p in prompts:
        group = (p["kind"], p["role"], p["category"])
        seen[group] = seen.get(group, -1) + 1
        rounds.append(seen[group])
    return [prompts[i] for i in sorted(range(len(prompts)), key=lambda i: (rounds[i], i))]


def _bounded(prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    room = LIMIT_BYTES
    for p in prompts[:LIMIT_PROMPTS]:
        room -= len(json.dumps(p))
        if room < 0:
            break
        kept.append(p)
    return kept
