"""Curation: sources in, a corpus out, and a count of everything left on the way."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from primum.config import Config
from primum.curate.contamination import contaminated, read_prompts
from primum.curate.duplicates import near_duplicates
from primum.curate.mapping import Source, read_source
from primum.curate.normalise import folded
from primum.curate.splits import SPLITS, Roles, Split, choose_roles, given_roles, harms, settled, split_examples
from primum.curate.synthesis import refusal
from primum.microworld import MicroworldConfig, build_corpus
from primum.run import Run, write_examples, write_json
from primum.run import read_examples as read_split
from primum.types import KINDS, BadInput, Corpus, Example, Kind


class CurateConfig(Config):
    """What the corpus is made of. `microworld` is read with world: microworld, `sources` with world: files."""

    world: Literal["microworld", "files"] = "microworld"
    microworld: MicroworldConfig = Field(default_factory=MicroworldConfig)
    sources: list[Source] = Field(default_factory=list)
    contamination: list[str] = Field(default_factory=list)  # files whose prompts must not be trained on, nor select
    contamination_words: int = Field(8, ge=3)  # a shared run of so many words is contamination
    near_duplicate: float = Field(0.8, ge=0.7, le=1.0)  # Jaccard index of 5-character pieces; files only
    limit_characters: int = Field(8000, ge=1)  # longer prompts are left out
    roles: dict[Split, list[str]] = Field(default_factory=dict)  # held-out harms; empty: drawn by the seed; files only
    test_share: float = Field(0.2, ge=0, le=0.9)  # of every kind, category and source; files only
    validation_share: float = Field(0.1, ge=0, le=0.9)
    test_limit: int = Field(200, ge=1)  # most test prompts of a kind and category
    validation_limit: int = Field(60, ge=1)
    limit_per_kind: dict[Kind, int] = Field(default_factory=dict)  # most training prompts of a kind, evenly over its categories
    synthesise: bool = True  # refusals to demonstrate for harmful training prompts without a reply


@dataclass
class Tally:
    """What came of every prompt read: reasons to leave it out, and how often each applied."""

    read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    sources: dict[str, dict[str, int]] = field(default_factory=dict)

    def keep(self, examples: Iterable[Example], keep: Callable[[Example], bool], reason: str) -> list[Example]:
        """The examples `keep` holds for; the others are counted under the reason."""
        kept = []
        for example in examples:
            if keep(example):
                kept.append(example)
            else:
                self.left_out[reason] += 1
        return kept


def curate(
    config: CurateConfig, run: Run, *, seed: int = 0, world_corpus: Callable[[MicroworldConfig, int], Corpus] = build_corpus
) -> Corpus:
    """The corpus of the sources or of the micro-world; a finished stage gives back what it saved.

    Writes train.jsonl, validation.jsonl, test.jsonl, roles.json and curation.json (every step's counts).
    """
    if run.done() is not None:
        return load_corpus(run.path)
    if config.sources and config.world != "files":
        raise BadInput("sources are given, but the world is the micro-world", "curate.world", "set curate.world=files")
    with run.ledger.clock():
        tally = Tally()
        made = (
            _from_files(config, run, tally, seed) if config.world == "files" else _from_world(config, tally, seed, world_corpus)
        )
        corpus = _finish(made, config, tally, run, seed)
        for split in SPLITS:
            write_examples(run.path / f"{split}.jsonl", getattr(corpus, split))
        write_json(run.path / "roles.json", corpus.roles)
        report = _report(corpus, tally)
        write_json(run.path / "curation.json", report)
    run.finish(kept=report["kept"], roles=corpus.roles)
    run.say(_line(corpus, tally))
    return corpus


def load_corpus(path: Path) -> Corpus:
    """The corpus a finished curation left in its directory."""
    for name in ("roles.json", *(f"{split}.jsonl" for split in SPLITS)):
        if not (path / name).exists():
            raise BadInput("the curated corpus lacks a file", str(path / name), f"delete {path} to curate again")
    roles = json.loads((path / "roles.json").read_text(encoding="utf-8"))
    train, validation, test = (read_split(path / f"{split}.jsonl") for split in SPLITS)
    return Corpus(train, validation, test, roles)


def read_examples(config: CurateConfig, seed: int) -> list[Example]:
    """Every source's examples as they are, before anything is left out."""
    return _read(config, Tally(), seed)[0]


def _from_files(config: CurateConfig, run: Run, tally: Tally, seed: int) -> Corpus:
    """Read, normalise, deduplicate, split, decontaminate."""
    examples, asked = _read(config, tally, seed)
    examples = tally.keep(examples, lambda e: len(e.prompt) <= config.limit_characters, "too_long")
    # What is marked test outlives its duplicates in training, not the other way round.
    examples.sort(key=lambda e: ("test", "validation", "train", "auto").index(asked[e.id]))
    examples = _distinct(_one_spelling(examples), tally)
    examples = _spread_out(examples, config.near_duplicate, run, tally)
    examples.sort(key=lambda e: list(tally.sources).index(e.source))
    roles = _roles(config, examples, asked, run, seed)
    shares = {"test": (config.test_share, config.test_limit), "validation": (config.validation_share, config.validation_limit)}
    splits, beyond = split_examples(examples, roles, asked, shares, seed)
    tally.left_out["over_limit"] += beyond
    for split in ("train", "validation"):
        splits[split] = _clean(splits[split], splits["test"], config, tally)
    return Corpus(splits["train"], splits["validation"], splits["test"], roles)


def _from_world(config: CurateConfig, tally: Tally, seed: int, world_corpus: Callable[[MicroworldConfig, int], Corpus]) -> Corpus:
    """The micro-world's corpus without repeated prompts; near-duplicates stay, one-word twins being its point."""
    corpus = world_corpus(config.microworld, seed)
    everything = [*corpus.test, *corpus.validation, *corpus.train]
    tally.read = len(everything)
    kept = {e.id for e in _distinct(everything, tally)}
    train, validation, test = ([e for e in part if e.id in kept] for part in (corpus.train, corpus.validation, corpus.test))
    return Corpus(train, validation, test, corpus.roles)


def _read(config: CurateConfig, tally: Tally, seed: int) -> tuple[list[Example], dict[str, str]]:
    """Every source's examples in order, and the split each was asked into."""
    if not config.sources:
        raise BadInput("world: files needs sources", "curate.sources", "list at least one, with its path and kind")
    twice = [name for name, n in Counter(s.label for s in config.sources).items() if n > 1]
    if twice:
        raise BadInput(f"two sources are called '{twice[0]}'", "curate.sources", "give each a name")
    examples: list[Example] = []
    asked: dict[str, str] = {}
    for source in config.sources:
        made, counts = read_source(source, seed=seed)
        tally.sources[source.label] = dict(counts)
        tally.read += counts.pop("read")
        tally.left_out.update(counts)
        asked |= {e.id: source.split for e in made}
        examples += made
    return examples, asked


def _one_spelling(examples: Sequence[Example]) -> list[Example]:
    """Examples whose categories differ only in case or white space share the first spelling."""
    first: dict[str, str] = {}
    return [replace(e, category=first.setdefault(folded(e.category), e.category)) for e in examples]


def _distinct(examples: Sequence[Example], tally: Tally) -> list[Example]:
    """The first of every prompt; a repetition under another kind is counted on its own."""
    first: dict[str, Example] = {}
    for e in examples:
        earlier = first.setdefault(folded(e.prompt), e)
        if earlier is not e:
            tally.left_out["exact_duplicate" if earlier.kind == e.kind else "conflicting_kind"] += 1
    return list(first.values())


def _spread_out(examples: Sequence[Example], threshold: float, run: Run, tally: Tally) -> list[Example]:
    """The examples without near-duplicates of their own kind: a benign look-alike is none of its harmful twin."""
    repeats: set[str] = set()
    with run.progress("near-duplicates", len(examples)) as advance:
        for kind in KINDS:
            members = [e for e in examples if e.kind == kind]
            repeats |= {members[i].id for i in near_duplicates([e.prompt for e in members], threshold, advance)}
    return tally.keep(examples, lambda e: e.id not in repeats, "near_duplicate")


def _clean(examples: Sequence[Example], test: Sequence[Example], config: CurateConfig, tally: Tally) -> list[Example]:
    """The examples that share no passage with a test prompt of their kind."""
    bad: set[str] = set()
    for kind in KINDS:
        members = [e for e in examples if e.kind == kind]
        measured = [e.prompt for e in test if e.kind == kind]
        bad |= {members[i].id for i in contaminated([e.prompt for e in members], measured, words=config.contamination_words)}
    return tally.keep(examples, lambda e: e.id not in bad, "contaminated")


def _roles(config: CurateConfig, examples: Sequence[Example], asked: Mapping[str, str], run: Run, seed: int) -> Roles:
    categories = harms(examples)
    if any(config.roles.values()):
        return given_roles(categories, config.roles)
    bare = sum(e.kind == "harmful" and not e.category for e in examples)
    if len(categories) < 2:
        named = f"{len(categories)} harm {'category' if len(categories) == 1 else 'categories'}"
        run.say(f"warning: {named}: prompts are held out, but no whole harm; map columns.category")
    elif bare:
        run.say(f"warning: {bare} harmful prompts have no category; the held-out harms may be among them")
    return choose_roles(categories, settled(examples, asked), seed)


def _finish(corpus: Corpus, config: CurateConfig, tally: Tally, run: Run, seed: int) -> Corpus:
    """Take out what the contamination files name, balance, and demonstrate."""
    train, validation = corpus.train, corpus.validation
    if config.contamination:
        outside = read_prompts(config.contamination)
        both = [*train, *validation]
        words, threshold = config.contamination_words, config.near_duplicate
        found = contaminated([e.prompt for e in both], outside, words=words, threshold=threshold)
        bad = {both[i].id for i in found}
        train, validation = (tally.keep(part, lambda e: e.id not in bad, "contaminated") for part in (train, validation))
    train = _balance(train, config.limit_per_kind, tally, seed)
    if config.synthesise and config.world == "files":
        train = [refusal(e, seed=seed) if e.kind == "harmful" and not e.reply else e for e in train]
    for split, examples in (("train", train), ("test", corpus.test)):
        if not examples:
            reasons = (
                ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in tally.left_out.items() if n) or "too few prompts"
            )
            raise BadInput(f"no {split} prompt is left ({reasons})", "curate", "add sources, or loosen shares, roles and filters")
    gone = sorted({e.kind for e in corpus.train} - {e.kind for e in train})
    if gone:
        lost = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in tally.left_out.items() if n)
        run.say(f"warning: no {' and no '.join(gone)} prompt is left to train on ({lost})")
    return Corpus(train, validation, corpus.test, corpus.roles)


def _balance(examples: list[Example], limits: Mapping[Kind, int], tally: Tally, seed: int) -> list[Example]:
    """At most so many examples of a kind, drawn in turn from its categories."""
    places: dict[str, tuple[int, float]] = {}
    for kind in limits:
        categories: dict[str, list[Example]] = defaultdict(list)
        for e in examples:
            if e.kind == kind:
                categories[e.category].append(e)
        rng = random.Random(f"{seed}/balance/{kind}")
        for members in categories.values():
            places |= {e.id: (turn, rng.random()) for turn, e in enumerate(rng.sample(members, len(members)))}
    ranked = sorted((e for e in examples if e.kind in limits), key=lambda e: places[e.id])
    seen: Counter[str] = Counter()
    beyond: set[str] = set()
    for e in ranked:
        seen[e.kind] += 1
        if seen[e.kind] > limits[e.kind]:
            beyond.add(e.id)
    return tally.keep(examples, lambda e: e.id not in beyond, "over_limit_per_kind")


def _report(corpus: Corpus, tally: Tally) -> dict[str, Any]:
    """Counts: read = kept + left out, kept by split, kind and category."""
    kept: dict[str, dict[str, dict[str, int]]] = {}
    for split in SPLITS:
        kept[split] = {kind: {} for kind in KINDS}
        for e in getattr(corpus, split):
            kept[split][e.kind][e.category] = kept[split][e.kind].get(e.category, 0) + 1
    total = sum(len(getattr(corpus, split)) for split in SPLITS)
    return {"read": tally.read, "left_out": dict(tally.left_out), "kept": total, "demonstrations": len(corpus.demonstrations),
            "roles": corpus.roles, "splits": kept, "sources": tally.sources}  # fmt: skip


def _line(corpus: Corpus, tally: Tally) -> str:
    out = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in tally.left_out.items() if n)
    held = "; ".join(f"{split}: {', '.join(corpus.roles[split])}" for split in ("validation", "test") if corpus.roles.get(split))
    return (
        f"curate: {tally.read:,} prompts → train {len(corpus.train):,} ({len(corpus.demonstrations):,} demonstrations), "
        f"validation {len(corpus.validation):,}, test {len(corpus.test):,}"
        + (f"; left out: {out}" if out else "") + (f"; held-out harms – {held}" if held else "")
    )  # fmt: skip
