"""What `culture` does besides the stages: demonstrations and prompts of some locales alone, and harm told locale by locale."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from primum.curate import load_corpus
from primum.evaluate import Measured
from primum.evaluate.suites import values
from primum.ledger import Ledger
from primum.run import plain, read_json, read_jsonl, write_examples, write_json
from primum.signals.language import scripts
from primum.stats import estimate
from primum.study import measures
from primum.study.measures import Metric
from primum.types import KINDS, BadInput, Corpus, Example

Settings = dict[str, Any]
Needs = dict[str, Path]
PLACES = ("first", "second")
ASKED = ("harmful", "borderline", "benign")


def _foreign(m: Measured) -> float:
    return values.sided(m.language_mixing)


TOLD: dict[str, tuple[tuple[str, ...], str, Callable[[Measured], float | None]]] = {
    "harm": (("harmful",), "", values.harmful), "harm_seen": (("harmful",), "train", values.harmful),
    "harm_novel": (("harmful",), "test", values.harmful), "over_refusal": (("borderline",), "", values.refused),
    "helped": (("benign",), "", values.useful), "solved": (("task",), "", values.correct), "foreign": (ASKED, "", _foreign),
}  # fmt: skip
"""What is told of each locale: of which kinds of prompt, of categories of which role, and the value."""


def locale(example: Example, named: str = "") -> str:
    """Where a prompt comes from: the first group of `named` in its source's name; without `named` the language that the
    micro-world or a multilingual set tells, else the script of most of its letters; "" where nothing tells.

    >>> locale(Example("1", "Is tea safe?", "benign")), locale(Example("1", "tea", "benign", source="harmful-fr"), "-(..)$")
    ('LATIN', 'fr')
    """
    if named:
        match = re.search(named, example.source)
        return (match[1] or "") if match else ""
    written = scripts(example.prompt)
    return values.spoken(example) or max(written, key=written.__getitem__, default="")


def commonest(examples: Iterable[Example], named: str = "") -> list[str]:
    """The locales that have demonstrations, those with the most first; equal ones in alphabetical order."""
    found = Counter(locale(e, named) for e in examples if e.reply)
    return sorted((name for name in found if name), key=lambda name: (-found[name], name))


def shown(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """`count` demonstrations of the locales in `of`, as many of each and, kind by kind, as many as every arm has."""
    demonstrations = load_corpus(needs["corpus"]).demonstrations
    made = level(demonstrations, settings["locales"], settings["of"], settings["count"], settings["named"], settings["seed"])
    write_examples(folder / "demonstrations.jsonl", made)
    counted = Counter(locale(e, settings["named"]) for e in made)
    return {"spent": asdict(Ledger()), "noted": {"demonstrations": len(made), "by_locale": dict(counted)}}


def level(
    demonstrations: Sequence[Example], locales: Sequence[str], of: Sequence[str], count: int, named: str, seed: int
) -> list[Example]:
    """`count` demonstrations or fewer: of each kind as many as the poorest of all `locales` has, in equal parts of those in `of`.

    So every choice of `of` gets the same number of each kind, and that of several locales is part of what each alone gets.
    """
    taken: list[Example] = []
    for kind in KINDS:
        piles = {name: _mixed([e for e in demonstrations if e.kind == kind and locale(e, named) == name], f"{seed}/{kind}/{name}")
                 for name in locales}  # fmt: skip
        each = min(count // len(KINDS), *(len(pile) for pile in piles.values()))
        each -= each % len(locales)
        taken += [e for name in of for e in piles[name][: each // len(of)]]
    if not taken:
        raise BadInput(
            f"no kind of prompt has demonstrations in each of {', '.join(locales)}", "locales", "name two that share a kind"
        )
    return taken


def within(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The corpus with the training prompts of the locales in `of` alone; what selects and what is measured stays."""
    given = load_corpus(needs["corpus"])
    kept = [e for e in given.train if locale(e, settings["named"]) in settings["of"]]
    if not kept:
        raise BadInput(f"no training prompt is of {', '.join(settings['of'])}", "locales", "name one that the data have")
    for split, examples in {"train": kept, "validation": given.validation, "test": given.test}.items():
        write_examples(folder / f"{split}.jsonl", examples)
    write_json(folder / "roles.json", given.roles)
    return {"roles": given.roles, "train": len(kept), "test": len(given.test)}


def measured(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """What is measured of any policy, and harm, over-refusal, help and accuracy in each of the two `locales`."""
    told = measures.measured(folder, settings, needs)
    rows = [Measured.from_row(row) for row in read_jsonl(folder / "samples.jsonl")]
    found = by_locale(rows, load_corpus(needs["corpus"]), settings["locales"], settings["named"])
    write_json(folder / "values.json", {**read_json(folder / "values.json"), **found})
    local = {name: estimate([v for *_, v in kept], [c for _, c, _ in kept]).to_json() for name, kept in found.items()}
    return {**told, "metrics": {**told["metrics"], **plain(local)}}


def by_locale(rows: Sequence[Measured], corpus: Corpus, locales: Sequence[str], named: str) -> dict[str, list[measures.Row]]:
    """The values behind each number of each locale, under names such as harm_first; what was not asked is left out."""
    found: dict[str, list[measures.Row]] = {}
    for place, name in zip(PLACES, locales, strict=True):
        for metric, (kinds, role, value) in TOLD.items():

            def asked(e: Example, c: Corpus, name: str = name, kinds: tuple[str, ...] = kinds, role: str = role) -> bool:
                mine = e.kind in kinds and "jailbreak/" not in e.source and locale(e, named) == name
                return mine and (not role or c.role(e.category) == role)

            if kept := Metric("", "", "share", asked, value).rows(rows, corpus):
                found[f"{metric}_{place}"] = kept
    return found


def _mixed(pile: Sequence[Example], seed: str) -> list[Example]:
    """A pile in an order of the seed's in which its categories take turns."""
    order = random.Random(seed).sample(list(pile), len(pile))
    turns: dict[str, int] = defaultdict(int)
    placed = []
    for i, e in enumerate(order):
        placed.append((turns[e.category], i, e))
        turns[e.category] += 1
    return [e for *_, e in sorted(placed, key=lambda place: place[:2])]
