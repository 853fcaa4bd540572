"""Every rollout of every arm, the same prompt together, packed so that a page holds thousands: gzip in base64, in parts."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from primum.comparison.arms import Arm, Evaluated
from primum.comparison.pairs import key_of
from primum.evaluate.measure import GOLD, Measured
from primum.evaluate.suites import values
from primum.run import plain

PART_CHARACTERS = 1_000_000  # of JSON in a part: unpacked one after the other, so that the page stays alive
FACETS = ("suite", "kind", "category", "role", "language", "source")  # what prompts are filtered by
Item = dict[str, Any]


def prompts(arms: Sequence[Arm]) -> list[Item]:
    """Each prompt of each suite, sibling by sibling, with what every arm and seed made of it."""
    found: dict[tuple[str, str, str, int], Item] = {}
    for suite in dict.fromkeys(name for arm in arms for seed in arm.seeds for name in seed.rows):
        for number, arm in enumerate(arms):
            for place, seed in enumerate(arm.seeds):
                seen: Counter[tuple[str, str]] = Counter()
                for m in seed.rows.get(suite, ()):
                    key = key_of(m)
                    item = found.setdefault((suite, *key, seen[key]), _prompt(m, suite, seen[key], seed))
                    item["rollouts"].append(_rollout(m, number, place, item))
                    seen[key] += 1
    return list(found.values())


def packed(items: Sequence[Item]) -> Iterator[str]:
    """The prompts as JSON lists of about a million characters, each compressed; the same prompts give the same text."""
    part: list[str] = []
    room = PART_CHARACTERS
    for item in items:
        text = json.dumps(item, separators=(",", ":"))
        if part and len(text) > room:
            yield _pack(part)
            part, room = [], PART_CHARACTERS
        part.append(text)
        room -= len(text)
    if part:
        yield _pack(part)


def facets(items: Sequence[Item]) -> dict[str, list[str]]:
    """What each filter can be set to, commonest names first as they come; a filter with one choice is none."""
    found = {name: dict.fromkeys(i[name] for i in items if i.get(name)) for name in FACETS}
    rollouts = [r for item in items for r in item["rollouts"]]
    found |= {name: dict.fromkeys(sorted({r[name] for r in rollouts})) for name in ("outcome", "thinking")}
    return {name: list(values) for name, values in found.items() if len(values) > 1}


def _pack(part: Sequence[str]) -> str:
    return base64.b64encode(gzip.compress(f"[{','.join(part)}]".encode(), 6, mtime=0)).decode()


def _prompt(m: Measured, suite: str, sibling: int, seed: Evaluated) -> Item:
    e = m.rollout.example
    told = {
        "id": e.id, "suite": suite, "sibling": sibling, "kind": e.kind, "category": e.category, "source": e.source,
        "role": seed.roles.get(e.category, ""), "language": values.spoken(e), "prompt": e.prompt, "plain": e.plain,
        "prefill": e.prefill, "answer": e.answer, "turns": e.turns,
    }  # fmt: skip
    return {**{k: v for k, v in told.items() if v}, "rollouts": []}


def _rollout(m: Measured, arm: int, seed: int, item: Item) -> Item:
    r = m.rollout
    told = {
        "arm": arm, "seed": seed, "thought": r.thought, "reply": r.reply, "outcome": m.outcome, "thinking": m.outcome_of_thought,
        "truncated": r.truncated, "malformed": not r.well_formed, "tokens": [r.thought_tokens, r.reply_tokens],
        "judged": {k: v for k, v in plain({**{n: getattr(m, n) for n in GOLD}, **m.more}).items() if v is not None},
    }  # fmt: skip
    e = r.example  # a later turn quotes the model, so it is told anew of each arm
    other = {k: v for k, v in {"turns": e.turns, "prompt": e.prompt}.items() if v and v != item.get(k)}
    return {**{k: v for k, v in told.items() if v != "" and v is not False}, **other}
