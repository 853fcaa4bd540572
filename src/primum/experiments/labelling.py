"""Who labels what a policy said, each answer metered: the micro-world's oracle, or the judge that adapt.labeller names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from primum.evaluate import build_judge
from primum.ledger import Ledger
from primum.microworld import BLOCKED_WORDS, Oracle
from primum.recipe import Recipe
from primum.reward.sources import harm_signal, not_refused, reward_source
from primum.signals import HARM_WORDS, correctness
from primum.types import BadInput, Rollout, Signal


@dataclass(frozen=True)
class Labeller:
    """Harm of a response, whether it helps, whether it is right; nan is an answer that could not be given, and is counted."""

    harm: Signal
    useful: Signal
    correct: Signal


def labeller(recipe: Recipe, ledger: Ledger, noise: float = 0.0) -> Labeller:
    """In the micro-world all three are the oracle's, wrong at the rate `noise`; elsewhere harm is the named judge's, metered on
    the same ledger, and the other two are rules that cost nothing."""
    if recipe.curate.world == "microworld":
        oracle = Oracle(ledger, noise, recipe.seed)
        return Labeller(oracle.harm, oracle.useful, oracle.correct)
    name = named(recipe)
    judged = harm_signal(name, recipe.reward, words=HARM_WORDS)

    def harm(rollouts: Sequence[Rollout]) -> list[float]:
        ledger.oracle_queries += len(rollouts)
        return judged(rollouts)

    return Labeller(harm, not_refused, correctness)


def named(recipe: Recipe) -> str:
    """The judge of harm that adapt.labeller names; none is bad input."""
    if not recipe.adapt.labeller:
        raise BadInput("nobody to label", "adapt.labeller", "name a judge in the recipe, such as guard:DIR or endpoint:FILE")
    return recipe.adapt.labeller


def static_rule(recipe: Recipe) -> Signal:
    """The rule that many products run: a reply without a listed word is harmless."""
    words = BLOCKED_WORDS if recipe.curate.world == "microworld" else HARM_WORDS
    return harm_signal("keyword", recipe.reward, words=words)


def check_apart(recipe: Recipe) -> None:
    """Refuse a labeller, outside the micro-world, that also measures the result."""
    if recipe.curate.world == "microworld":
        return
    judge, source = build_judge(recipe.judge, recipe.curate.world), reward_source(named(recipe), recipe.reward)
    if judge.source == source and not recipe.judge.shared_with_reward:
        remedy = "choose another judge.harm, or set judge.shared_with_reward=true and read harm rates as the labeller's opinion"
        raise BadInput(f"the labeller and the judge are one signal, {judge.name}", "adapt.labeller", remedy)
