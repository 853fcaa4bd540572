"""Splits: whole harms held out for validation and test, and fresh prompts of everything else."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from primum.config import nearest
from primum.types import BadInput, Example

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Roles = dict[str, list[str]]
Shares = Mapping[str, tuple[float, int]]
"""What validation and test take of a stratum: a share, and the most prompts."""


def harms(examples: Sequence[Example]) -> list[str]:
    """The categories of the harmful examples, sorted."""
    return sorted({e.category for e in examples if e.kind == "harmful" and e.category})


def given_roles(categories: Sequence[str], asked: Mapping[Split, Sequence[str]]) -> Roles:
    """The roles a recipe asks for, the categories it leaves out being trained on."""
    roles: Roles = {split: list(asked.get(split, ())) for split in SPLITS}
    for split in SPLITS:
        for name in roles[split]:
            where = f"curate.roles.{split}"
            if name not in categories:
                near = nearest(name, categories)
                remedy = (
                    f"did you mean '{near}'?" if near else f"the harmful prompts have {', '.join(categories) or 'no category'}"
                )
                raise BadInput(f"no harmful prompt has the category '{name}'", where, remedy)
            if sum(name in names for names in roles.values()) > 1:
                raise BadInput(f"category '{name}' has two roles", where, "name it in one of train, validation and test")
    held = {name for names in roles.values() for name in names}
    roles["train"] += [name for name in categories if name not in held]
    return roles


def choose_roles(categories: Sequence[str], fixed: Mapping[str, Split], seed: int) -> Roles:
    """Roles drawn by the seed: about a quarter of the categories for test and a fifth for validation.

    At least one each, and one to train on; two categories leave none for validation, one is
    trained on. `fixed` are categories whose role the sources' own splits already settle.

    >>> {role: len(names) for role, names in choose_roles(list("abcdefghij"), {}, seed=0).items()}
    {'train': 6, 'validation': 2, 'test': 2}
    """
    n = len(categories)
    roles: Roles = {split: [c for c in categories if fixed.get(c) == split] for split in SPLITS}
    free = [c for c in categories if c not in fixed]
    random.Random(f"{seed}/roles").shuffle(free)
    spare = len(free) - (not roles["train"])
    for split, count in (("test", max(1, round(n / 4))), ("validation", max(1, round(n / 5)))):
        take = 0 if roles[split] else min(count, max(0, spare))
        # Three categories are one each: the test may not eat what validation needs.
        take = min(take, max(1, spare - 1)) if split == "test" else take
        roles[split] += [free.pop() for _ in range(take)]
        spare -= take
    roles["train"] += free
    return {split: sorted(names) for split, names in roles.items()}


def settled(examples: Sequence[Example], asked: Mapping[str, str]) -> dict[str, Split]:
    """Categories whose harmful prompts all come from sources with a split of their own, and the earliest of those splits.

    One source marked train is enough to keep a category in training.
    """
    wishes: dict[str, set[str]] = defaultdict(set)
    for e in examples:
        if e.kind == "harmful" and e.category:
            wishes[e.category].add(asked[e.id])
    found: dict[str, Split] = {}
    for category, names in wishes.items():
        if "train" in names or "auto" not in names:
            found[category] = next(s for s in SPLITS if s in names)
    return found


def split_examples(
    examples: Sequence[Example], roles: Mapping[str, Sequence[str]], asked: Mapping[str, str], shares: Shares, seed: int
) -> tuple[dict[str, list[Example]], int]:
    """Examples by split, and how many prompts of held-out categories went beyond the limits.

    A prompt of a category held out for test goes to test; of one held out for validation, half
    each to validation and test, so that test measures every category. Everything else gives
    test and validation their share of every stratum (kind and category, or kind and source) of
    three prompts and more, at most their limit. A source with a split of its own stays whole.
    """
    role_of = {name: role for role, names in roles.items() for name in names}
    strata: dict[tuple[str, str, str], list[Example]] = defaultdict(list)
    for e in examples:
        harm = e.category if e.kind in ("harmful", "borderline") else ""
        role, wish = role_of.get(harm, "train"), asked[e.id]
        fate = "auto" if role == "train" and wish == "auto" else _later(role, wish)
        strata[fate, e.kind, harm or e.source].append(e)
    placed: dict[str, list[Example]] = {split: [] for split in SPLITS}
    dropped = 0
    for (fate, kind, name), members in strata.items():
        random.Random(f"{seed}/{fate}/{kind}/{name}").shuffle(members)
        held = kind in ("harmful", "borderline") and role_of.get(name, "train") != "train"
        cut = _held_out(fate, members, shares) if held else _fresh(fate, members, shares)
        for split, part in cut.items():
            placed[split] += part
        dropped += len(members) - sum(map(len, cut.values()))
    order = {e.id: i for i, e in enumerate(examples)}
    return {split: sorted(part, key=lambda e: order[e.id]) for split, part in placed.items()}, dropped


def _later(role: str, wish: str) -> str:
    """The later of a category's role and its source's split: nothing held out comes back to training."""
    return max((role, wish), key=lambda split: ("auto", *SPLITS).index(split))


def _held_out(fate: str, members: list[Example], shares: Shares) -> dict[str, list[Example]]:
    half = 0 if fate == "test" else (len(members) + 1) // 2
    return {"validation": members[:half][: shares["validation"][1]], "test": members[half:][: shares["test"][1]]}


def _fresh(fate: str, members: list[Example], shares: Shares) -> dict[str, list[Example]]:
    if fate != "auto":
        return {fate: members}
    taken, n = {}, len(members)
    for split, (share, limit) in shares.items():
        count = min(limit, max(1, round(n * share))) if share and n >= 3 else 0
        taken[split], members = members[:count], members[count:]
    return {**taken, "train": members}
