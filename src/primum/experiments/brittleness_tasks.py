"""Three ways to choose equally many demonstrations: the commonest, a plain draw, and a wide, filtered spread."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from primum.curate import load_corpus
from primum.evaluate.suites.values import spoken
from primum.experiments.recombine import recombined
from primum.ledger import Ledger
from primum.microworld import Oracle
from primum.recipe import Recipe
from primum.run import write_examples
from primum.types import KINDS, BadInput, Corpus, Example

Settings = dict[str, Any]
Needs = dict[str, Path]
VARIED = ("harmful", "borderline")  # the kinds of prompt whose choice differs
NEAR = 0.6  # Jaccard index of words and pairs of words from which on a prompt says nearly what another says
Choose = Callable[[Sequence[Example], int, str], list[Example]]


def anticipated(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Of every kind, category and language the prompts whose words are the commonest of the training split."""
    return _written(folder, settings, load_corpus(needs["corpus"]), commonest)


def drawn(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """A plain draw from the training split, as even over the categories."""
    return _written(folder, settings, load_corpus(needs["corpus"]), lambda pool, count, seed: _even(_shuffled(pool, seed), count))


def diversified(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Prompts unlike each other: of the micro-world recombinations of what the training split contains, labelled by the metered
    oracle, of other data training prompts, which have labels."""
    recipe, corpus, ledger = Recipe.model_validate(settings["recipe"]), load_corpus(needs["corpus"]), Ledger()
    if recipe.curate.world != "microworld":
        return _written(folder, settings, corpus, spread)
    held = {name for role in ("validation", "test") for name in corpus.roles.get(role, ())}
    asked = [e for e in corpus.demonstrations if e.kind in VARIED]
    oracle = Oracle(ledger, recipe.reward.oracle_noise, recipe.seed)
    each = math.ceil(settings["tries"] * settings["count"] / len(KINDS) / len({e.category for e in asked}))
    made = recombined(asked, held, {e.prompt for e in corpus.test}, each, oracle, recipe.seed)

    def choose(pool: Sequence[Example], count: int, seed: str) -> list[Example]:
        return spread([e for e in made if e.kind == pool[0].kind], count, seed)

    told = _written(folder, settings, corpus, choose, ledger)
    return {**told, "noted": {**told["noted"], "candidates": len(made)}}


def commonest(pool: Sequence[Example], count: int, seed: str = "") -> list[Example]:
    """`count` prompts, evenly over categories and languages, those with the highest mean log frequency of their words first."""
    seen = Counter(word for e in pool for word in e.prompt.split())
    size = sum(seen.values())

    def rank(e: Example) -> float:
        words = e.prompt.split()
        return -sum(math.log(seen[word] / size) for word in words) / len(words)

    return _even(sorted(_shuffled(pool, seed), key=rank), count)


def spread(pool: Sequence[Example], count: int, seed: str = "") -> list[Example]:
    """`count` prompts, evenly over categories and languages, in an order of the seed's; those that say nearly what an earlier one
    says come last.

    Not those furthest apart: of the micro-world's requests these are the long ones, and few prompts are like them.

    >>> asked = [Example(str(i), p, "harmful") for i, p in enumerate(("a b c d", "a b c d e", "x y z"))]
    >>> sorted(e.prompt for e in spread(asked, 2))[-1]
    'x y z'
    """
    novel: list[Example] = []
    near: list[Example] = []
    for e in _shuffled(pool, seed):
        pieces = _pieces(e.prompt)
        likest = max((_alike(pieces, _pieces(other.prompt)) for other in novel), default=0.0)
        (near if likest > NEAR else novel).append(e)
    return _even([*novel, *near], count)


def _written(folder: Path, settings: Settings, corpus: Corpus, choose: Choose, ledger: Ledger | None = None) -> dict[str, Any]:
    """The chosen demonstrations, as many of each kind whoever chooses; benign ones and tasks are the same ones."""
    made: list[Example] = []
    for kind in KINDS:
        pool = [e for e in corpus.demonstrations if e.kind == kind]
        wanted, seed = _quota(corpus, settings["count"], kind), f"{settings['recipe']['seed']}/{kind}"
        chosen = choose(pool, wanted, seed) if wanted and kind in VARIED else _shuffled(pool, seed)[:wanted]
        if len(chosen) < wanted:
            raise BadInput(
                f"only {len(chosen)} new {kind} prompts of {wanted}", "brittleness", "raise tries or lower demonstrations"
            )
        made += chosen
    write_examples(folder / "demonstrations.jsonl", made)
    asked = [e.prompt for e in made if e.kind in VARIED]
    words = {word for prompt in asked for word in prompt.split()}
    noted = {
        "demonstrations": len(made),
        "words": len(words),
        "pairs": len({p for prompt in asked for p in _pieces(prompt)} - words),
    }
    return {"spent": asdict(ledger or Ledger()), "noted": noted}


def _quota(corpus: Corpus, count: int, kind: str) -> int:
    """How many demonstrations of a kind are chosen: a fourth of `count`, or all there are."""
    return min(count // len(KINDS), sum(e.kind == kind for e in corpus.demonstrations))


def _shuffled(pool: Collection[Example], seed: str) -> list[Example]:
    return random.Random(seed).sample(list(pool), len(pool))


def _even(pool: Sequence[Example], count: int) -> list[Example]:
    """The first `count` of a pool in which categories and languages take turns, each in the pool's order.

    Languages have their shares of the pool: every n-th turn is theirs.
    """
    strata: dict[tuple[str, str], list[Example]] = defaultdict(list)
    for e in pool:
        strata[e.category, spoken(e)].append(e)
    placed = [((i + 0.5) / len(members), key, e) for key, members in strata.items() for i, e in enumerate(members)]
    return [e for *_, e in sorted(placed, key=lambda place: place[:2])[:count]]


def _pieces(prompt: str) -> set[str]:
    words = prompt.split()
    return {*words, *(f"{a} {b}" for a, b in pairwise(words))}


def _alike(a: set[str], b: set[str]) -> float:
    """The Jaccard index of two sets of pieces."""
    return len(a & b) / len(a | b)
