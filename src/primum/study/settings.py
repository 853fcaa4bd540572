"""What an experiment can be told, how that is compared, and the command that tells it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from pydantic import Field

from primum.config import Config
from primum.recipe import Recipe
from primum.reinforce.config import Mix
from primum.run import plain
from primum.study.graph import Task
from primum.study.plan import Arm, Plan, rotated

PASSING = ("seeds", "first_seed", "workers", "cluster", "retries", "gpus")
"""Settings that change no result of a seed."""
SET = ("train", "validation", "test", "train_examples", "validation_examples", "test_examples")
"""Settings of the micro-world that every seed sets: roles in turn, and sizes by the experiment's own settings."""
SAFETY_RL: dict[str, Any] = {
    "prompts": 16, "learning_rate": 3e-4, "mix": Mix(harmful=2.0, borderline=2.0, benign=1.0, task=1.0), "evaluate_every": 15,
}  # fmt: skip
"""RL of the embedded model, each setting where the recipe leaves it as it is: smaller steps than the quickstart's, and more of
them about harm and its look-alikes. From one cold start (seed 100) harm on trained categories was 0.02 after 1.75 TFLOP, the
other way 0.12."""


class StudyConfig(Config):
    """What every experiment can be told: which seeds, how big, where, on which model and data."""

    seeds: int = Field(3, ge=1)
    first_seed: int = Field(0, ge=0)
    quick: bool = False  # an eighth of the work or less: whether it runs, not what it finds
    examples: int = Field(2400, ge=16)  # training prompts of the micro-world; other data bring their own
    test_examples: int = Field(60, ge=4)  # the micro-world's test prompts of a harm category, and as many look-alikes
    validation_examples: int = Field(160, ge=8)  # the micro-world's, of the category that selects
    own_base: bool = False  # train an embedded base model for every seed (ten minutes each), not the shipped one for all
    probe: int = Field(0, ge=0)  # held-out prompts of a kind that curves look at during training; 0: the experiment's own number
    workers: int = Field(0, ge=0)  # processes; 1: in this one, 0: one a core
    cluster: str = ""  # Ray: local, or an address; "": no cluster
    retries: int = Field(1, ge=0)  # of a task that fails
    gpus: float = Field(0.0, ge=0)  # that a task asks of the scheduler; 0: none of the micro-world, else one where there are any
    recipe: Recipe = Recipe()  # model, data, judge and every stage's settings; an experiment changes a few

    @property
    def share(self) -> float:
        """How much of the full size is done."""
        return 0.125 if self.quick else 1.0

    def usual(self, section: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Of an experiment's own settings of a stage those that the recipe leaves as they are; none where the model is not the
        embedded one, which they are meant for."""
        if self.recipe.model != "microworld":
            return {}
        told, left = getattr(self.recipe, section), getattr(Recipe(), section)
        return {key: value for key, value in changes.items() if getattr(told, key) == getattr(left, key)}

    def part(self, size: int, least: int = 1) -> int:
        """A number of examples, steps or prompts at this size."""
        return max(least, round(size * self.share))

    def plan(self, seed: int, probe: int = 0) -> Plan:
        """The chains of one seed; of the micro-world two categories are held out for the test and one to select, other ones for
        every seed."""
        world: dict[str, Any] = {
            **rotated(seed),
            "train_examples": self.part(self.examples, 200),
            "validation_examples": self.part(self.validation_examples, 8),
            "test_examples": self.part(self.test_examples, 12),
        }
        curate = self.recipe.curate
        curate = curate.model_copy(update={"microworld": curate.microworld.model_copy(update=world)})
        base = self.recipe.base.model_copy(update={"seed": seed}) if self.own_base else self.recipe.base
        reinforce = self.recipe.reinforce.model_copy(update=self.usual("reinforce", SAFETY_RL))
        recipe = self.recipe.model_copy(update={"curate": curate, "base": base, "reinforce": reinforce})
        return Plan(recipe, seed, probe=self.probe or self.part(probe), gpus=self.gpus or _gpu_each(self, recipe.model))


def _gpu_each(config: StudyConfig, model: str) -> float:
    """A GPU for every task of a model that is not the embedded one, where this machine has some: tasks would else crowd one."""
    import torch

    return 1.0 if model != "microworld" and not config.cluster and torch.cuda.is_available() else 0.0


class Budgeted(StudyConfig):
    """Settings of an experiment whose arms end with a budget."""

    tflops: float = Field(5.0, gt=0)  # that a trained arm may spend

    @property
    def budget(self) -> float:
        """Floating-point operations of a trained arm."""
        return self.tflops * 1e12 * self.share


def unused(recipe: Recipe) -> list[str]:
    """Settings of a recipe that differ from the usual ones and that seeds and budgets of the experiment take the place of."""
    told, usual = plain(recipe.model_dump()), plain(Recipe().model_dump())
    names = [name for name in ("seed", "budget") if told[name] != usual[name]]
    if recipe.curate.world == "microworld":
        world, other = told["curate"]["microworld"], usual["curate"]["microworld"]
        names += [f"curate.microworld.{name}" for name in SET if world[name] != other[name]]
    return names


def arms_of(module: ModuleType, config: Any, seed: int) -> dict[str, dict[str, Arm]]:
    """The arms of a seed under its name; of an experiment with folds, those of each, under "seed/fold"."""
    plan = config.plan(seed, getattr(module, "PROBE", 0))
    if not hasattr(module, "folds"):
        return {str(seed): module.arms(plan, config)}
    return {f"{seed}/{fold}": module.arms(plan, config, fold) for fold in module.folds(plan, config, seed)}


def wanted(module: ModuleType, arm: Arm) -> list[Task]:
    """The tasks whose results an arm needs: its measurement, and what the experiment wants besides."""
    return [arm.measured, *getattr(module, "besides", lambda arm: [])(arm)]


def asks(module: ModuleType, config: Any) -> dict[str, Any]:
    """What an experiment asks of whom with which settings: results that are joined have the same. `tasks` are the digests of all
    that seed 0 would do, so that rates and sizes in an experiment's code, and what is in the user's files, are compared too."""
    told = {"experiment": name_of(module), "question": module.QUESTION, "prediction": module.PREDICTION}
    tasks = {
        f"{unit} {name}": " ".join(task.digest for task in wanted(module, arm))
        for unit, arms in arms_of(module, config, 0).items()
        for name, arm in arms.items()
    }
    of = {"model": config.recipe.model, "settings": settings_of(config), "config": lasting(config), "tasks": tasks}
    return plain({**told, **of})


def lasting(config: Any) -> dict[str, Any]:
    """The settings that results belong to: neither how many seeds nor where tasks run."""
    return {key: value for key, value in config.model_dump().items() if key not in PASSING}


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2].replace("_", "-")


def settings_of(config: Any) -> dict[str, Any]:
    """The settings that differ from an experiment's own defaults, without where it ran."""
    return _changed(plain(lasting(type(config)())), plain(lasting(config)))


def command(module: ModuleType, config: Any) -> str:
    """The command that does it again."""
    changed = [f"{key}={_written(value)}" for key, value in _flat(settings_of(config)) if key != "quick"]
    changed.insert(0, f"first_seed={config.first_seed}")  # the usual one too: it may be another one some day
    quick = ["--quick"] if config.quick else []
    return shlex.join(["primum", "experiment", name_of(module), "--seeds", str(config.seeds), *quick, *changed])


def _written(value: Any) -> str:
    """`value` as the command line reads it: a text that YAML reads as something else is quoted."""
    import yaml

    try:
        plainly = isinstance(value, str) and yaml.safe_load(value) == value
    except yaml.YAMLError:
        plainly = False
    return str(value) if plainly else json.dumps(value, ensure_ascii=False)


def _changed(usual: Any, told: Any) -> Any:
    if not isinstance(told, dict) or not isinstance(usual, dict):
        return told
    return {k: _changed(usual.get(k), v) for k, v in told.items() if usual.get(k) != v}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in tree.items():
        out += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return out
