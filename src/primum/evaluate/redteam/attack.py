"""An attack, the cell it stands in, and the space of attacks made of a seed and a stack of mutations."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any, Protocol

Cell = tuple[str, str, str, int]
"""Harm category, attack style, language, depth."""
PLAIN = "plain"  # the style of a seed that nothing was done to
TRIES = 30  # draws before a cell counts as empty


@dataclass(frozen=True, slots=True)
class Attack:
    """A prompt that tries for a harm, with the thought it starts, the cell it stands in, and where it comes from.

    `genes` is what its space makes it of again, as JSON; `plain` is what it asks for in bare words;
    `parent` is the id of the attack it was varied from, "" for one drawn afresh.
    """

    prompt: str
    cell: Cell
    genes: str
    prefill: str = ""
    plain: str = ""
    parent: str = ""

    @property
    def id(self) -> str:
        """The same for the same words, wherever they were found."""
        return "rt-" + hashlib.blake2b(f"{self.prompt}\0{self.prefill}".encode(), digest_size=8).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, **{k: v for k, v in asdict(self).items() if v}}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Attack:
        category, style, language, depth = row["cell"]
        texts = {k: str(row.get(k, "")) for k in ("prompt", "genes", "prefill", "plain", "parent")}
        return cls(cell=(str(category), str(style), str(language), int(depth)), **texts)


class Space(Protocol):
    """All attacks there are, as search sees them."""

    @property
    def name(self) -> str: ...

    def cells(self) -> list[Cell]:
        """Every cell that has an attack; empty where cells are only known by what falls into them."""
        ...

    def draw(self, draw: random.Random, cell: Cell | None = None) -> Attack | None:
        """An attack of this cell, or of a cell drawn evenly; None where none was found."""
        ...

    def vary(self, attack: Attack, draw: random.Random, cell: Cell | None = None) -> Attack | None:
        """A relative of `attack`, in this cell where one is given."""
        ...

    def audit(self, draw: random.Random) -> Attack:
        """A draw from the one fixed distribution over attacks, whatever was found before."""
        ...


@dataclass(frozen=True, slots=True)
class Seed:
    """A harm to ask for; `what` is the space's own: a request, or text."""

    id: str
    category: str
    what: Any


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to change a draft, in so many variants; None where it does not apply. Two of one group never stack."""

    name: str
    variants: int
    apply: Callable[[Any, int], Any | None]
    group: str = ""


@dataclass(frozen=True)
class StackSpace:
    """Seeds × languages × sets of mutations, applied in the order of `mutations`: the last one applied is the style.

    So each prompt stands in one cell, and its depth is the number of its mutations. `begin` puts a seed
    into a language (None where it cannot), `finish` turns a draft into prompt, prefill and bare words.
    """

    name: str
    seeds: tuple[Seed, ...]
    languages: tuple[str, ...]
    mutations: tuple[Mutation, ...]
    depth: int
    begin: Callable[[Seed, str], Any | None]
    finish: Callable[[Any], tuple[str, str, str]]

    @cached_property
    def stacks(self) -> list[tuple[str, ...]]:
        """Every set of mutations that may stack, each in its order of application."""
        every = (c for depth in range(self.depth + 1) for c in combinations(self.mutations, depth))
        return [tuple(m.name for m in chosen) for chosen in every if _apart(chosen)]

    @cached_property
    def _by_name(self) -> dict[str, Mutation]:
        return {m.name: m for m in self.mutations}

    @cached_property
    def _by_category(self) -> dict[str, list[Seed]]:
        return {c: [s for s in self.seeds if s.category == c] for c in dict.fromkeys(s.category for s in self.seeds)}

    @cached_property
    def _cells(self) -> list[Cell]:
        shapes = list(dict.fromkeys((_style(stack), len(stack)) for stack in self.stacks))
        every = [(c, s, lang, d) for c in self._by_category for s, d in shapes for lang in self.languages]
        return [cell for cell in every if self.draw(random.Random(repr(cell)), cell) is not None]

    def cells(self) -> list[Cell]:
        return self._cells

    def draft(self, genes: str) -> Any:
        """What the attack with these genes was before it was put into words."""
        spelled = json.loads(genes)
        seed = next(s for s in self.seeds if s.id == spelled["seed"])
        return self._drafted(seed, spelled["language"], spelled["stack"])

    def _drafted(self, seed: Seed, language: str, stack: Mapping[str, int]) -> Any | None:
        draft = self.begin(seed, language)
        for mutation in self.mutations:
            if draft is not None and mutation.name in stack:
                draft = mutation.apply(draft, stack[mutation.name])
        return draft

    def express(self, seed: Seed, language: str, stack: Mapping[str, int], parent: str = "") -> Attack | None:
        """The attack these genes spell; None where a mutation does not apply to what the others made."""
        draft = self._drafted(seed, language, stack)
        if draft is None:
            return None
        names = [m.name for m in self.mutations if m.name in stack]
        prompt, prefill, plain = self.finish(draft)
        genes = json.dumps({"seed": seed.id, "language": language, "stack": {n: stack[n] for n in names}}, ensure_ascii=False)
        return Attack(prompt, (seed.category, _style(names), language, len(names)), genes, prefill, plain, parent)

    def draw(self, draw: random.Random, cell: Cell | None = None) -> Attack | None:
        category, style, language, depth = cell or draw.choice(self.cells())
        fitting = [s for s in self.stacks if len(s) == depth and _style(s) == style]
        for _ in range(TRIES if fitting else 0):
            stack = {name: draw.randrange(self._by_name[name].variants) for name in draw.choice(fitting)}
            made = self.express(draw.choice(self._by_category[category]), language, stack)
            if made is not None:
                return made
        return None

    def vary(self, attack: Attack, draw: random.Random, cell: Cell | None = None) -> Attack | None:
        """Into a cell: as much of seed, mutations and variants as it allows. Else one gene changed: seed, language or stack."""
        genes = json.loads(attack.genes)
        for _ in range(TRIES):
            seed, language, stack = self._moved(genes, cell, draw) if cell else self._nudged(genes, draw)
            made = self.express(seed, language, stack, attack.id)
            if made is not None and made.id != attack.id:
                return made
        return None

    def audit(self, draw: random.Random) -> Attack:
        """Seed, language, stack and variants each drawn evenly; what does not apply is drawn again."""
        while True:
            stack = {name: draw.randrange(self._by_name[name].variants) for name in draw.choice(self.stacks)}
            made = self.express(draw.choice(self.seeds), draw.choice(self.languages), stack)
            if made is not None:
                return made

    def everything(self) -> Iterator[tuple[Attack, float]]:
        """Every attack of the space, with its weight under `audit`: one over the number of variants of its stack."""
        for seed, language, names in product(self.seeds, self.languages, self.stacks):
            sizes = [self._by_name[name].variants for name in names]
            for variants in product(*map(range, sizes)):
                made = self.express(seed, language, dict(zip(names, variants, strict=True)))
                if made is not None:
                    yield made, 1.0 / max(1, _product(sizes))

    def _moved(self, genes: dict[str, Any], cell: Cell, draw: random.Random) -> tuple[Seed, str, dict[str, int]]:
        category, style, language, depth = cell
        seeds = self._by_category[category]
        same = next((s for s in seeds if s.id == genes["seed"]), None)
        seed = same if same is not None and draw.random() < 0.7 else draw.choice(seeds)
        fitting = [s for s in self.stacks if len(s) == depth and _style(s) == style]
        most = max(len(set(s) & set(genes["stack"])) for s in fitting)
        names = draw.choice([s for s in fitting if len(set(s) & set(genes["stack"])) == most] if draw.random() < 0.7 else fitting)
        return seed, language, {n: self._variant(n, genes["stack"] if draw.random() < 0.7 else {}, draw) for n in names}

    def _nudged(self, genes: dict[str, Any], draw: random.Random) -> tuple[Seed, str, dict[str, int]]:
        seed, language, stack = next(s for s in self.seeds if s.id == genes["seed"]), genes["language"], dict(genes["stack"])
        what = draw.choice(("seed", "language", "stack", "stack", "variant"))
        if what == "seed":
            seed = draw.choice(self.seeds)
        elif what == "language":
            language = draw.choice(self.languages)
        elif what == "variant" and stack:
            name = draw.choice(sorted(stack))
            stack[name] = self._variant(name, {}, draw)
        else:
            near = [s for s in self.stacks if len(set(s) ^ set(stack)) in (1, 2)]
            names = draw.choice(near or self.stacks)
            stack = {n: self._variant(n, stack, draw) for n in names}
        return seed, language, stack

    def _variant(self, name: str, kept: Mapping[str, int], draw: random.Random) -> int:
        return kept[name] if name in kept else draw.randrange(self._by_name[name].variants)


def _style(names: Sequence[str]) -> str:
    return names[-1] if names else PLAIN


def _apart(chosen: Sequence[Mutation]) -> bool:
    groups = [m.group for m in chosen if m.group]
    return len(set(groups)) == len(groups)


def _product(sizes: Sequence[int]) -> int:
    out = 1
    for size in sizes:
        out *= size
    return out
