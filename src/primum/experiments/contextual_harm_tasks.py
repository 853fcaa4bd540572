"""What `contextual-harm` does besides the pipeline's stages: part the corpus, teach a judge, and train on four rewards."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from primum.battery import of_versions
from primum.curate import load_corpus
from primum.experiments.labelling import Labeller, labeller, static_rule
from primum.ledger import Ledger
from primum.microworld.language import TARGETS, attribute
from primum.microworld.meaning import read_request
from primum.policy import sample
from primum.recipe import Recipe
from primum.reinforce.watch import Together, Watch
from primum.reward import Reward, Sources, forgiving
from primum.reward.adaptive import Adaptive, Labellers
from primum.reward.compose import compose
from primum.reward.labels import judged
from primum.reward.learned import train_heads
from primum.run import Run, read_json, write_examples, write_json
from primum.signals.heads import WHOLE, learned
from primum.study.stages import policy_of, quiet, reinforce_by
from primum.types import BadInput, Corpus, Example, Rollout

Settings = dict[str, Any]
Needs = dict[str, Path]


def parted(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The needed corpus with the contextual categories in a role of their own, trained and tested on different meanings; with
    `evenly` as many training prompts of all other harm categories together."""
    made = part(load_corpus(needs["corpus"]), settings["contextual"], settings["seed"])
    if settings["evenly"]:
        made = replace(made, train=evenly(made, settings["seed"]))
    for split in ("train", "validation", "test"):
        write_examples(folder / f"{split}.jsonl", getattr(made, split))
    write_json(folder / "roles.json", made.roles)
    return {"roles": made.roles, "train": len(made.train), "test": len(made.test)}


def part(corpus: Corpus, contextual: Sequence[str], seed: int) -> Corpus:
    """The corpus with the role "contextual"; in the micro-world its prompts train on half of all things and test the other half.

    Prompts from files have no known meaning: those of the test split are held out, no more.
    """
    tested = held_things(seed)
    roles = {role: [c for c in names if c not in contextual] for role, names in corpus.roles.items()}
    roles["contextual"] = list(contextual)

    def things(e: Example) -> set[str]:
        return {thing for _, thing in read_request(e.prompt).steps} if e.source.startswith("microworld") else set()

    def kept(e: Example, test: bool) -> bool:
        if e.category not in contextual or not things(e):
            return True
        return things(e) <= tested if test else tested.isdisjoint(things(e))

    train = [e for e in corpus.train if kept(e, test=False)]
    return Corpus(train, corpus.validation, [e for e in corpus.test if kept(e, test=True)], roles)


def evenly(corpus: Corpus, seed: int) -> list[Example]:
    """The training prompts with no more harmful ones, and no more look-alikes, of other categories than of contextual ones."""
    out = [e for e in corpus.train if e.kind in ("benign", "task")]
    for kind in ("harmful", "borderline"):
        mine = [e for e in corpus.train if e.kind == kind and corpus.role(e.category) == "contextual"]
        others = [e for e in corpus.train if e.kind == kind and corpus.role(e.category) != "contextual"]
        out += mine + random.Random(f"{kind}-{seed}").sample(others, min(len(mine), len(others)))
    return out


def held_things(seed: int) -> frozenset[str]:
    """Half of the micro-world's things of each attribute, drawn by the seed.

    >>> len(held_things(0)), held_things(0) == held_things(0)
    (8, True)
    """
    draw = random.Random(f"things-{seed}")
    by_attribute: dict[str, list[str]] = {}
    for thing in TARGETS:
        by_attribute.setdefault(attribute(thing), []).append(thing)
    return frozenset(thing for things in by_attribute.values() for thing in draw.sample(things, len(things) // 2))


def judge(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """A judge of harm trained once, on `labels` labels of the needed policy's own responses to harmful training prompts."""
    recipe, run = Recipe.model_validate(settings["recipe"]), quiet(folder)
    policy, corpus = policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])
    with run.ledger.clock():
        picked = _responses(policy, corpus, recipe, settings["labels"], run.ledger)
        said = _asked(labeller(recipe, run.ledger, settings["noise"]), picked)
        rows = judged(picked, WHOLE, said)
        note = train_heads(rows, _learned(recipe, needs), folder / "judge")
    told = asdict(run.ledger)
    noted = {"labels": len(picked), "harmful": sum(x >= 0.5 for x in said), "held_out": note["held_out"]}
    return {"own": told, "spent": told, "log": [], "noted": noted}


def reinforce(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """RL with the reward that `source` names; usefulness and correctness are told alike whichever it is."""
    noted: dict[str, Any] = {}
    told = reinforce_by(partial(_rewarding, settings, noted), folder, settings, needs)
    made = noted.pop("adaptive", None)
    return {**told, "noted": {**noted, **({"labels": made.spent, "version": made.version} if made else {})}}


def _rewarding(
    settings: Settings, noted: dict[str, Any], recipe: Recipe, run: Run, needs: Needs, given: Corpus
) -> tuple[Reward, Watch | None]:
    """The reward, and what must look on; `noted` is given the adaptive one."""
    ask, source = labeller(recipe, run.ledger, recipe.reward.oracle_noise), settings["source"]
    rules = Sources(static_rule(recipe), ask.useful, ask.correct, blind=True)
    if source == "adaptive":
        asked = labeller(recipe, run.ledger, settings["noise"])
        config = recipe.adapt.model_copy(update={"learned": _learned(recipe, needs)})
        versions = run.path.with_name(run.path.name + "-versions")
        own: dict[str, Any] = {"reward": recipe.reward, "battery": of_versions(recipe, given), "seed": recipe.seed}
        adaptive = Adaptive(Labellers(asked.harm), rules, config, versions, **own).carry_on()
        noted["adaptive"] = adaptive
        return forgiving(adaptive, run.say), Together({"adapt": adaptive})
    harm = {"keyword": lambda: rules.harm, "labeller": lambda: ask.harm,
            "learned": lambda: learned(needs["judge"] / "judge", WHOLE)}[source]()  # fmt: skip
    return forgiving(compose(replace(rules, harm=harm, blind=source == "keyword"), recipe.reward), run.say), None


def _responses(policy: Any, corpus: Corpus, recipe: Recipe, count: int, ledger: Ledger) -> list[Rollout]:
    """At most `count` different whole responses to harmful training prompts, as RL would draw them."""
    prompts = [e for e in corpus.train if e.kind == "harmful"]
    group = math.ceil(2 * count / len(prompts))
    rl = recipe.reinforce
    rollouts = sample(
        policy, prompts, group=group, temperature=rl.temperature, limit_tokens=rl.limit_tokens, seed=recipe.seed, ledger=ledger
    )
    different = {(r.example.prompt, r.thought, r.reply): r for r in rollouts if r.well_formed and not r.truncated}
    found = list(different.values())
    if not found:
        remedy = "raise reinforce.limit_tokens, or give the cold start more epochs"
        raise BadInput("no response of the cold-started policy is whole", "contextual-harm", remedy)
    random.Random(f"labels-{recipe.seed}").shuffle(found)
    return found[:count]


def _asked(ask: Labeller, picked: Sequence[Rollout]) -> list[float]:
    return ask.harm(picked) if picked else []


def _learned(recipe: Recipe, needs: Mapping[str, Path]) -> Any:
    """How a judge is trained: on the base model as its body where the recipe names none."""
    place = read_json(needs["base"] / "result.json")["policy"]
    body = str(needs["base"] / place) if (needs["base"] / place).exists() else place
    return recipe.adapt.learned.model_copy(update={"model": recipe.adapt.learned.model or body})
