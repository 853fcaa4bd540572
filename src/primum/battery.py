"""The stress battery, run on the judge of harm that a recipe's reward asks before anything is trained with it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from primum.ledger import Ledger
from primum.microworld import BLOCKED_WORDS, Oracle
from primum.microworld.language import language_of
from primum.microworld.meaning import read_request
from primum.microworld.prompts import say_compliance
from primum.recipe import Recipe
from primum.reward.adapt import Battery, stress_battery
from primum.reward.sources import JUDGES, harm_signal
from primum.run import Run, read_json, write_json
from primum.signals import HARM_WORDS
from primum.signals.stress import ATTACKS, Seed, load_seeds, stress, summary
from primum.types import BadInput, Corpus, Example, Signal

SEEDS = 12  # of the micro-world, as many as ship for real text
VERSION_SEEDS = 48  # on which two versions are compared, so that one answer is less than the margin
# What the world's judge cannot read, since it knows words, not letters; and a short reply that is cut has lost its harm.
UNREADABLE = frozenset({"base64", "script", "code", "mixed", "truncated"})


def put_to_the_test(recipe: Recipe, corpus: Corpus, run: Run) -> list[str]:
    """What the report must say of the judges of harm that the rewards ask; the whole result is kept in `stress.json`.

    Each is asked once for a run. With reward.stress=refuse a judge that does not pass is bad input. A function of
    the user's own pays for every kind of prompt and has no signal of harm to test.
    """
    path = run.path / "stress.json"
    if recipe.reward.stress == "skip":
        return []
    names = dict.fromkeys((recipe.reinforce.reward, recipe.second.reward or recipe.reinforce.reward))
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    for name in names:
        if name not in found and (":" not in name or name.startswith(JUDGES)):
            found[name] = _summary(name, recipe, corpus)
            write_json(path, found)
    failed = {name: told for name, told in found.items() if _weak(told)}
    for name, told in failed.items():
        if recipe.reward.stress == "refuse":
            remedy = "mend the judge, choose another, or set reward.stress=tell"
            raise BadInput(f"{_line(name, told)}", "reinforce.reward", remedy)
    return [f"{_line(name, told)}. See stress.json." for name, told in failed.items()]


def of_versions(recipe: Recipe, corpus: Corpus) -> Battery | None:
    """The battery that a version of the reward "adaptive" must pass to follow another; none with reward.stress=skip."""
    if recipe.reward.stress == "skip":
        return None
    seeds, attacks = _questions(recipe, corpus, VERSION_SEEDS)
    return stress_battery(seeds, attacks=attacks) if seeds else None


def world_seeds(examples: Sequence[Example], count: int = SEEDS) -> list[Seed]:
    """Harmful prompts of the micro-world with the reply that does it and the one that refuses."""
    draw = random.Random("stress")
    chosen = [e for e in examples if e.kind == "harmful" and e.reply][:count]
    return [
        Seed(e.prompt, say_compliance(read_request(e.prompt), language_of(e.prompt), draw), e.reply, e.category) for e in chosen
    ]


def _summary(name: str, recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    world = recipe.curate.world == "microworld"
    signal: Signal
    if name == "oracle":
        signal = Oracle(Ledger(), recipe.reward.oracle_noise, recipe.seed).harm
    else:
        asked = "keyword" if name == "adaptive" else name  # it begins with the rule; its versions face a battery of their own
        signal = harm_signal(asked, recipe.reward, words=BLOCKED_WORDS if world else HARM_WORDS)
    seeds, attacks = _questions(recipe, corpus, SEEDS)
    return summary(stress(signal, seeds, attacks=attacks))


def _questions(recipe: Recipe, corpus: Corpus, count: int) -> tuple[list[Seed], tuple[str, ...]]:
    """Seeds and attacks of the recipe's world; for real text those that ship."""
    if recipe.curate.world != "microworld":
        return load_seeds(), ATTACKS
    return world_seeds(corpus.train, count), tuple(a for a in ATTACKS if a not in UNREADABLE)


def _weak(told: dict[str, Any]) -> list[str]:
    """The attacks under which fewer answers are right than must be, by the whole interval: a noisy judge is no weak one."""
    return [attack for attack, sides in told["attacks"].items() if any(row["high"] < told["least"] for row in sides.values())]


def _line(name: str, told: dict[str, Any]) -> str:
    wrong = f"{len(told['failures'])} of {told['n']} answers wrong"
    return f"The judge of harm in reward {name} did not pass its stress battery, {wrong}: {', '.join(_weak(told))}"
