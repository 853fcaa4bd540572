"""What the tasks of an experiment do: each stage of the pipeline once, on the folders of the tasks before it."""

from __future__ import annotations

import math
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from primum.battery import of_versions
from primum.coldstart import coldstart as cold
from primum.curate import curate, load_corpus
from primum.distill import OnPolicyConfig, make_student
from primum.distill import distill as distil
from primum.distill import distill_on_policy as distil_on_policy
from primum.evaluate import build_judge, measure, validation_summary
from primum.ledger import Ledger, total
from primum.microworld import base_checkpoint
from primum.policy import Policy, load
from primum.policy.model import forward_flops
from primum.policy.traces import NothingToImitate
from primum.recipe import Recipe, adaptive_reward, choose_reward
from primum.refine import refine as refined_by
from primum.reinforce import reinforce as reinforced
from primum.reinforce.watch import Together, Watch
from primum.reward import Constrained, Reward, forgiving
from primum.run import Run, read_json
from primum.study.lessons import Lessons, begun_reply, lessons
from primum.study.probe import probed
from primum.study.steps import with_rates
from primum.types import Corpus, Example

Settings = dict[str, Any]
Needs = dict[str, Path]
Rewarding = Callable[[Recipe, Run, Needs, Corpus], tuple[Reward, Watch | None]]
LOGGED = ("step", "flops", "reward", "kl", "entropy", "tokens", "reward_std", "well_formed", "epoch", "loss")


def base(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The model everything of a seed starts from: the user's, or the embedded one of the seed's own, trained once and copied."""
    recipe = _recipe(settings)
    if recipe.model != "microworld":
        return _told(Ledger(), Ledger(), recipe.model)
    made = base_checkpoint(recipe.base, quiet(folder))
    shutil.copytree(made, folder / "policy", dirs_exist_ok=True)
    return _told(Ledger(), Ledger(), "policy")


def corpus(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The curated corpus of a seed."""
    recipe = _recipe(settings)
    made = curate(recipe.curate, quiet(folder), seed=recipe.seed)
    return {"roles": made.roles, "train": len(made.train), "test": len(made.test)}


def coldstart(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """SFT on the demonstrations that `lessons` makes of the corpus; with `fill` as many epochs as the budget pays for."""
    recipe, run = _recipe(settings), quiet(folder)
    start, given = policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])
    shown = lessons(given, Lessons(**settings.get("lessons", {})), seed=recipe.seed, made=needs.get("demonstrations"))
    config = recipe.coldstart
    budget = _left(settings, needs)
    if settings.get("fill"):
        epochs = _epochs(start, shown, config.demonstrations, budget)
        config = config.model_copy(update={"epochs": epochs, "patience": 0})
    validate = _validator(recipe, given, settings, run)
    cold(start, shown, validate, config, run, seed=recipe.seed, budget_flops=budget)
    return _told(run.ledger, _before(needs), "policy", run, noted={"lessons": len(shown)})


def reinforce(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """RL from the needed policy on the corpus' prompts (of `categories` alone, where they are named) with the named reward."""
    return reinforce_by(_reward, folder, settings, needs)


def reinforce_by(rewarding: Rewarding, folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The same with the reward, and what looks on, that `rewarding` makes: an experiment's own."""
    recipe, run = _recipe(settings), quiet(folder)
    start, given = policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])
    prompts = _prompts(given, settings)
    reward, watch = rewarding(recipe, run, needs, given)
    validate = _validator(recipe, given, settings, run)
    budget = _left(settings, needs)
    reinforced(start, prompts, reward, validate, recipe.reinforce, run, seed=recipe.seed, budget_flops=budget, watch=watch)
    told = _told(run.ledger, _before(needs), "policy", run)
    world = recipe.curate.world == "microworld"
    return {**told, "log": with_rates(told["log"], folder / "rollouts.jsonl", world=world)}


def refine(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Rejection-sampling SFT on the needed policy's own best rollouts; that policy itself where none is good enough."""
    recipe, run = _recipe(settings), quiet(folder)
    reasoner, given = policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])
    reward, _ = _reward(recipe, run, needs, given)
    validate = _validator(recipe, given, settings, run)
    start = policy_of(needs["start"], recipe) if "start" in needs else reasoner
    budget = _left(settings, needs)
    try:
        refined_by(
            reasoner,
            start,
            _prompts(given, settings),
            reward,
            validate,
            recipe.refine,
            run,
            seed=recipe.seed,
            budget_flops=budget,
        )
    except NothingToImitate as error:  # as in the pipeline: the arm goes on with what it had
        kept = read_json(needs["policy"] / "result.json")["policy"]
        before = needs["policy"] / kept  # unless it names a model on a hub
        kept = os.path.relpath(before, folder) if before.exists() else kept
        return _told(run.ledger, _before(needs), kept, noted={"skipped": str(error)})
    return _told(run.ledger, _before(needs), "sft/policy", run)


def student(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """An untrained student cut from the needed policy."""
    recipe, run = _recipe(settings), quiet(folder)
    from primum.policy import save

    teacher, given = policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])
    save(make_student(teacher, given, recipe.distill, seed=recipe.seed), run.path / "policy")
    return _told(Ledger(), Ledger(), "policy")


def distill(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The needed student, tuned on the needed teacher's rollouts, those that the reward pays alone where `filter` says so."""
    recipe, run = _recipe(settings), quiet(folder)
    teacher, pupil, given = policy_of(needs["teacher"], recipe), policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])
    reward = _reward(recipe, run, needs, given)[0] if settings.get("filter") else None
    validate = _validator(recipe, given, settings, run)
    budget = _left(settings, needs)
    try:
        distil(teacher, pupil, given, validate, recipe.distill, run, seed=recipe.seed, budget_flops=budget, reward=reward)
    except NothingToImitate as error:
        raise RuntimeError(str(error)) from None  # the arm fails, the experiment goes on
    return _told(run.ledger, _before(needs), "sft/policy", run)


def distill_on_policy(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The needed student, moved towards the needed teacher on its own rollouts; `on_policy` are the settings of that."""
    recipe, run = _recipe(settings), quiet(folder)
    teacher, pupil, given = policy_of(needs["teacher"], recipe), policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])
    config = OnPolicyConfig(**settings["on_policy"])
    validate = _validator(recipe, given, settings, run)
    distil_on_policy(teacher, pupil, given, validate, config, run, seed=recipe.seed, budget_flops=_left(settings, needs))
    return _told(run.ledger, _before(needs), "policy", run)


def quiet(folder: Path) -> Run:
    """A run directory that says nothing."""
    return Run(folder, Console(quiet=True), quiet=True)


def policy_of(folder: Path, recipe: Recipe) -> Policy:
    """The policy that the task of this folder left, on the recipe's device; with one thread unless the recipe says `threads`."""
    place = read_json(folder / "result.json")["policy"]
    here = folder / place
    policy = load(str(here) if here.exists() else place, device=recipe.device, dtype=recipe.dtype)
    torch.set_num_threads(recipe.threads or 1)  # tasks share the cores
    return policy


def ledger_of(told: Mapping[str, Any]) -> Ledger:
    """A ledger that a result holds."""
    ledger = Ledger()
    ledger.restore(dict(told))
    return ledger


def _recipe(settings: Settings) -> Recipe:
    return Recipe.model_validate(settings["recipe"])


def _before(needs: Needs) -> Ledger:
    """What the chain of policies up to here has cost, and a teacher, demonstrations and a judge where there are any."""
    given = [read_json(needs[role] / "result.json") for role in ("policy", "teacher", "demonstrations", "judge") if role in needs]
    return total(ledger_of(told["spent"]) for told in given)


def _left(settings: Settings, needs: Needs) -> float:
    """The floating-point operations that this stage may spend: its `own_budget`, or what an arm's `budget` leaves after its
    chain; without either as many as it takes."""
    if "own_budget" in settings:
        return float(settings["own_budget"])
    budget = settings.get("budget")
    return math.inf if budget is None else max(0.0, budget - _before(needs).flops)


def _told(own: Ledger, before: Ledger, policy: str, run: Run | None = None, noted: Any = None) -> dict[str, Any]:
    """A training task's result: where its policy lies, what it and its chain cost, and how it went."""
    rows = run.metrics() if run is not None else []
    if run is not None and not rows:
        rows = quiet(run.path / "sft").metrics() if (run.path / "sft").exists() else []
    log = [{k: row[k] for k in LOGGED if k in row} | row.get("validation", {}) for row in rows]
    spent = asdict(total([own, before]))
    return {"policy": policy, "own": asdict(own), "spent": spent, "log": log, "noted": noted or {}}


def _validator(recipe: Recipe, given: Corpus, settings: Settings, run: Run) -> Callable[[Policy], dict[str, float]]:
    """What a stage asks after an epoch or some steps: the validation split, on its ledger, where it may `select`; and the probe.

    The probe looks at held-out prompts for the experimenter's curves alone: it chooses nothing and is on no arm's bill.
    """
    judge, size = build_judge(recipe.judge, recipe.curate.world), settings.get("probe", 0)

    def validate(policy: Policy) -> dict[str, float]:
        found = {"selection": math.nan}
        if settings.get("select", True):
            rows = measure(policy, given.validation, judge, recipe.evaluate, run.ledger)
            if judge.source == "microworld":
                run.ledger.oracle_queries += len(rows)
            found = validation_summary(rows)
        if size:
            before = run.ledger.seconds
            found |= probed(policy, given, judge, recipe.evaluate, size)
            run.ledger.seconds = before
        return found

    return validate


def _prompts(given: Corpus, settings: Settings) -> Corpus:
    """The corpus with the training prompts that an arm may use: of these kinds and harm categories alone.

    Of the harmful ones the share `begun` has a begun reply in place of its counter-aligned thought.
    """
    categories, kinds, begun = settings.get("categories"), settings.get("kinds"), settings.get("begun", 0.0)
    draw = random.Random("begun")

    def kept(e: Example) -> bool:
        return (categories is None or not e.category or e.category in categories) and (kinds is None or e.kind in kinds)

    def prefilled(e: Example) -> Example:
        led = e.kind == "harmful" and begun and draw.random() < begun
        return replace(e, counter=begun_reply(e, draw)) if led else e

    return replace(given, train=[prefilled(e) for e in given.train if kept(e)])


def _reward(recipe: Recipe, run: Run, needs: Needs, given: Corpus) -> tuple[Reward, Watch | None]:
    """The reward that training asks, and what must look on: an adaptive reward, limits."""
    limits = recipe.reward.constraints
    if recipe.reinforce.reward == "adaptive":
        root = needs.get("base", needs["policy"])
        body = root / read_json(root / "result.json")["policy"]
        adaptive = adaptive_reward(recipe, run.ledger, run.path.with_name(run.path.name + "-versions"), str(body), run.say,
                                   of_versions(recipe, given)).carry_on()  # fmt: skip
        return forgiving(adaptive, run.say), Together({"adapt": adaptive})
    reward = forgiving(choose_reward(recipe, run.ledger), run.say)
    if limits.limits:
        limited = Constrained(reward, limits)
        return limited, Together({"constraints": limited})
    return reward, None


def _epochs(policy: Policy, shown: Sequence[Example], count: int, budget: float) -> int:
    """How many passes over the demonstrations spend the budget (2 % more, since some are longer than others), so that the
    learning rate falls until it ends."""
    from primum.policy.template import completion_ids, prompt_ids

    taken = min(count or len(shown), len(shown))
    lengths = [len(prompt_ids(policy, e)) + len(completion_ids(policy, e)) for e in shown]
    tokens = sum(lengths) * taken / len(shown)
    context = sum(n * (n + 1) / 2 for n in lengths) / sum(lengths)
    return max(1, math.ceil(1.02 * budget / (3 * forward_flops(policy.model, round(tokens), context))))
