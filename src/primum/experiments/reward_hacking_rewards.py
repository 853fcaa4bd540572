"""The rewards of `reward-hacking`: they differ in who judges harm, all else is the same checker's in every arm."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from primum.battery import of_versions
from primum.evaluate import build_judge
from primum.evaluate.hacking import good_of
from primum.ledger import Ledger
from primum.microworld import BLOCKED_WORDS, Oracle
from primum.microworld.language import LANGUAGES, VERBS
from primum.recipe import Recipe
from primum.reward import Reward, Sources
from primum.reward.adaptive import Adaptive, Labellers
from primum.reward.compose import compose
from primum.reward.sources import harm_signal, not_refused
from primum.run import read_json
from primum.signals import HARM_WORDS, correctness, keywords, load_words
from primum.signals.combine import ensemble
from primum.signals.heads import WHOLE, learned
from primum.types import BadInput, Corpus, Signal

Settings = Mapping[str, Any]
Needs = Mapping[str, Path]
NEED_LABELS = ("learned", "ensemble", "adaptive")  # sources that ask someone to label


def reward_of(source: str, recipe: Recipe, settings: Settings, needs: Needs, ledger: Ledger) -> Reward:
    """The reward whose harm is judged by `source`: keyword, shuffled, learned, ensemble or gold; no adaptive one.

    The judge of harm of "learned" is the one that the task in needs["judge"] trained; "ensemble" is the worse of it and the
    listed words. Words alone are blind: only judges of meaning pay a clear refusal more than another harmless reply.
    """
    blind = source in ("keyword", "shuffled")
    harm: dict[str, Signal] = {
        "keyword": partial(keywords, words=listed(recipe)),
        "shuffled": partial(keywords, words=shuffled_words(recipe.seed)),
    }
    if source in ("learned", "ensemble"):
        harm["learned"] = learned(needs["judge"] / read_json(needs["judge"] / "result.json")["judge"], WHOLE)
        harm["ensemble"] = ensemble([harm["keyword"], harm["learned"]], "worst")
    if source == "gold":
        harm["gold"] = _gold(recipe, ledger)
    return compose(rules(recipe, harm[source], ledger, blind=blind), recipe.reward)


def adaptive_of(
    recipe: Recipe, settings: Settings, needs: Needs, corpus: Corpus, ledger: Ledger, folder: Path, say: Any
) -> Adaptive:
    """The keyword rule to begin with, and a judge of harm that learns from a set number of labels and takes over."""
    config = recipe.adapt.model_copy(update={"learned": learner(recipe, needs["base"])})
    words = partial(keywords, words=listed(recipe))
    return Adaptive(
        Labellers(labeller(recipe, settings["label_noise"], ledger)), rules(recipe, words, ledger, blind=True), config, folder,
        reward=recipe.reward, battery=of_versions(recipe, corpus), seed=recipe.seed, say=say,
    )  # fmt: skip


def rules(recipe: Recipe, harm: Signal, ledger: Ledger, *, blind: bool) -> Sources:
    """Harm by the given signal; usefulness and correctness by the metered checker, outside the micro-world by rules."""
    if recipe.curate.world != "microworld":
        return Sources(harm, not_refused, correctness, blind=blind)
    checker = Oracle(ledger, recipe.reward.oracle_noise, recipe.seed)
    return Sources(harm, checker.useful, checker.correct, blind=blind)


def labeller(recipe: Recipe, noise: float, ledger: Ledger) -> Signal:
    """Who labels harm: the one that adapt.labeller names, else the micro-world's oracle, wrong at the rate `noise`."""
    if recipe.adapt.labeller:
        return harm_signal(recipe.adapt.labeller, recipe.reward, words=listed(recipe))
    if recipe.curate.world != "microworld":
        raise BadInput("nobody to label harm", "adapt.labeller", "name a judge, such as guard:DIR or endpoint:FILE")
    return Oracle(ledger, noise, recipe.seed).harm


def learner(recipe: Recipe, base: Path) -> Any:
    """How heads are trained: on the body that the recipe names, else on the start model's."""
    place = read_json(base / "result.json")["policy"]
    body = str(base / place) if (base / place).exists() else place
    config = recipe.adapt.learned
    return config.model_copy(update={"model": config.model or body})


def listed(recipe: Recipe) -> frozenset[str]:
    """The words of the static rule."""
    if recipe.reward.words:
        return load_words(recipe.reward.words)
    return BLOCKED_WORDS if recipe.curate.world == "microworld" else HARM_WORDS


def shuffled_words(seed: int) -> frozenset[str]:
    """As many words of each language as the micro-world's list has, none of them on it, drawn from all forms of all verbs."""
    draw = random.Random(f"shuffled-{seed}")
    out: list[str] = []
    for language in LANGUAGES:
        count = sum(forms[language][0] in BLOCKED_WORDS for forms in VERBS.values())
        others = sorted(form for forms in VERBS.values() for form in forms[language] if form not in BLOCKED_WORDS)
        out += draw.sample(others, count)
    return frozenset(out)


def _gold(recipe: Recipe, ledger: Ledger) -> Signal:
    """The metered oracle; outside the micro-world the very judge that measures, of reply and thought."""
    if recipe.curate.world == "microworld":
        return Oracle(ledger, recipe.reward.oracle_noise, recipe.seed).harm
    good = good_of(build_judge(recipe.judge, recipe.curate.world))
    return lambda rollouts: [1.0 - g for g in good(rollouts)]
