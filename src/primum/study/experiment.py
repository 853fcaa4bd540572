"""An experiment from its plan to its document: the tasks of every seed and arm, then numbers, curves, claims and targets."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field

from primum.config import Config
from primum.recipe import Recipe, check
from primum.reinforce.config import Mix
from primum.run import Run, environment, plain, read_json
from primum.study.graph import Task, order
from primum.study.judged import Differ, judged
from primum.study.measures import difference
from primum.study.plan import Arm, Plan, rotated
from primum.study.schedule import Outcome, run_tasks
from primum.study.stages import ledger_of

PASSING = ("seeds", "first_seed", "workers", "cluster", "retries", "gpus")
"""Settings that change no result of a seed."""
SET = ("train", "validation", "test", "train_examples", "validation_examples", "test_examples")
"""Settings of the micro-world that every seed sets: roles in turn, and sizes by the experiment's own settings."""
COSTS = ("flops", "sampled_tokens", "trained_tokens", "oracle_queries", "seconds")
SAFETY_RL: dict[str, Any] = {
    "prompts": 16, "learning_rate": 3e-4, "mix": Mix(harmful=2.0, borderline=2.0, benign=1.0, task=1.0), "evaluate_every": 15,
}  # fmt: skip
"""RL of the embedded model where the recipe leaves it as it is: smaller steps than the quickstart's, and more of them about harm
and its look-alikes. From one cold start (seed 100) harm on trained categories was 0.02 after 1.75 TFLOP, the other way 0.12."""


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
        recipe = self.recipe.model_copy(update={"curate": curate, "base": base})
        if recipe.model == "microworld" and recipe.reinforce == Recipe().reinforce:
            recipe = recipe.model_copy(update={"reinforce": recipe.reinforce.model_copy(update=SAFETY_RL)})
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


def study(module: ModuleType, config: Any, run: Run, store: Path) -> dict[str, Any]:
    """The document of an experiment: `module` says what is asked, which arms there are and what was claimed."""
    units, warnings = planned(module, config)
    wanted = [arm.measured for arms in units.values() for arm in arms.values()]
    wanted += [task for arms in units.values() for arm in arms.values() for task in _besides(module, arm)]
    run.say(f"{len({t.digest for t in wanted})} measurements of {len(units)} seeds or folds; shared stages are trained once")
    outcome = run_tasks(wanted, store, run, workers=config.workers, cluster=config.cluster, retries=config.retries)
    found = _document(module, config, units, outcome, store, warnings)
    if (made := found["environment"]["git"]) != (now := environment()["git"]):
        run.say(f"warning: some of this was trained with code {made}, and is judged with {now}")
    return found


def planned(module: ModuleType, config: Any) -> tuple[dict[str, dict[str, Arm]], list[str]]:
    """The arms of every seed or fold, and what a reader must know of the recipe; bad input where it cannot be done."""
    _, warnings = check(config.recipe)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    units = {unit: arms for seed in seeds for unit, arms in _units(module, config, seed).items()}
    if told := _unused(config.recipe):
        warnings = [*warnings, f"Settings of the recipe that experiments do not read: {', '.join(told)}."]
    return units, warnings


def _unused(recipe: Recipe) -> list[str]:
    """Settings of a recipe that differ from the usual ones and that seeds and budgets of the experiment take the place of."""
    told, usual = plain(recipe.model_dump()), plain(Recipe().model_dump())
    names = [name for name in ("seed", "budget") if told[name] != usual[name]]
    if recipe.curate.world == "microworld":
        world, other = told["curate"]["microworld"], usual["curate"]["microworld"]
        names += [f"curate.microworld.{name}" for name in SET if world[name] != other[name]]
    return names


def asks(module: ModuleType, config: Any) -> dict[str, Any]:
    """What an experiment asks of whom with which settings: results that are joined have the same."""
    told = {"experiment": name_of(module), "question": module.QUESTION, "prediction": module.PREDICTION}
    return plain({**told, "model": config.recipe.model, "settings": settings_of(config), "config": lasting(config)})


def lasting(config: Any) -> dict[str, Any]:
    """The settings that results belong to: neither how many seeds nor where tasks run."""
    return {key: value for key, value in config.model_dump().items() if key not in PASSING}


def trail(task: Task, results: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The logged lines of an arm's stages one after another, `flops` and `steps` counted from the arm's beginning."""
    before = trail(task.needs["policy"], results) if "policy" in task.needs and task.does.endswith(_TRAINS) else []
    told = results.get(task.digest, {})
    if "log" not in told:
        return before
    spent = ledger_of(told["spent"]).flops - ledger_of(told["own"]).flops
    stage = task.does.rpartition(":")[2]
    return before + [{**row, "flops": row.get("flops", 0.0) + spent, "stage": stage} for row in told["log"]]


_TRAINS = ("coldstart", "reinforce", "refine", "distill", "distill_on_policy")


def _units(module: ModuleType, config: Any, seed: int) -> dict[str, dict[str, Arm]]:
    """The arms of a seed; of an experiment with folds, those of each, under "seed/fold"."""
    plan = config.plan(seed, getattr(module, "PROBE", 0))
    if not hasattr(module, "folds"):
        return {str(seed): module.arms(plan, config)}
    return {f"{seed}/{fold}": module.arms(plan, config, fold) for fold in module.folds(plan, config, seed)}


def _besides(module: ModuleType, arm: Arm) -> list[Task]:
    """Tasks that an arm wants besides its measurement."""
    return list(getattr(module, "besides", lambda arm: [])(arm))


def _document(
    module: ModuleType, config: Any, units: Mapping[str, Mapping[str, Arm]], outcome: Outcome, store: Path, warnings: list[str]
) -> dict[str, Any]:
    results = outcome.results
    arms: dict[str, dict[str, Any]] = {}
    for unit, made in units.items():
        for name, arm in made.items():
            told = arms.setdefault(name, {"label": module.ARMS[name], "about": arm.about, "seeds": {}})
            if arm.measured.digest in results:
                told["seeds"][unit] = _arm(module, arm, results)
    document = {
        **asks(module, config), "seeds": list(units), "arms": arms,
        "curves": _curves(module, config, units, results), "samples": _samples(units, results),
        "notes": [*_notes(module, config), *warnings], "failures": [asdict(f) for f in outcome.failures],
        "command": command(module, config), "environment": _environment(units, outcome, store),
    }  # fmt: skip
    return judged(module, plain(document), _differences(arms, units, results, store))


def _environment(units: Mapping[str, Mapping[str, Arm]], outcome: Outcome, store: Path) -> dict[str, Any]:
    """Where this was judged, and by `git` the revisions of the code with which the arms' tasks were done, earlier or now."""
    now = environment()
    done = order(arm.measured for arms in units.values() for arm in arms.values())
    found = (read_json(store / task.name / "task.json").get("git") for task in done if task.digest in outcome.results)
    return now | {"git": ", ".join(dict.fromkeys(str(git) for git in found)) or now["git"], "judged_at": now["git"]}


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2].replace("_", "-")


def settings_of(config: Any) -> dict[str, Any]:
    """The settings that differ from an experiment's own defaults, without where it ran."""
    return _changed(plain(lasting(type(config)())), plain(lasting(config)))


def command(module: ModuleType, config: Any) -> str:
    """The command that does it again."""
    changed = [f"{key}={_written(value)}" for key, value in _flat(settings_of(config)) if key != "quick"]
    if config.first_seed != type(config)().first_seed:
        changed.insert(0, f"first_seed={config.first_seed}")
    quick = ["--quick"] if config.quick else []
    return shlex.join(["primum", "experiment", name_of(module), "--seeds", str(config.seeds), *quick, *changed])


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _arm(module: ModuleType, arm: Arm, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """An arm of one seed: what was measured, what it cost with all that led to it, and the experiment's own numbers."""
    told, trained = results[arm.measured.digest], results[arm.policy.digest]
    spent = ledger_of(trained["spent"])
    numbers: dict[str, Any] = {"tflops": spent.flops / 1e12}
    if hasattr(module, "numbers"):
        numbers |= module.numbers(arm, results)
    exact = {k: v if isinstance(v, Mapping) else {"mean": v, "low": v, "high": v, "n": 1, "unscored": 0}
             for k, v in numbers.items() if isinstance(v, Mapping) or math.isfinite(v)}  # fmt: skip
    cost = {name: getattr(spent, name) for name in COSTS}
    return {"metrics": {**told["metrics"], **exact}, "cost": cost, "extra": told["extra"]}


def _differences(
    arms: Mapping[str, Any], units: Mapping[str, Mapping[str, Arm]], results: Mapping[str, Any], store: Path
) -> Differ:
    """Paired differences of two arms' rollouts, unit by unit, from the values that their measurements kept."""

    def differ(a: str, b: str, metric: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for unit, made in units.items():
            if not all(name in made and made[name].measured.digest in results for name in (a, b)):
                continue
            sides = [arms[name]["seeds"][unit]["metrics"].get(metric) for name in (a, b)]
            told = difference(store / made[a].measured.name, store / made[b].measured.name, metric)
            if told is None and None not in sides:  # a number without prompts behind it
                gap = sides[1]["mean"] - sides[0]["mean"]
                told = {"mean": gap, "low": gap, "high": gap, "n": 1, "unscored": 0}
            if told is not None:
                out[unit] = told
        return out

    return differ


def _curves(
    module: ModuleType, config: Any, units: Mapping[str, Mapping[str, Arm]], results: Mapping[str, Any], most: int = 40
) -> list[dict[str, Any]]:
    """What the module's CURVES draw: (title, x, y, x label, y label), x being "tflops" or a number of the logged lines, in its
    order; `n` is how many prompts of a kind a probe asks."""
    out = []
    asked = config.plan(config.first_seed, getattr(module, "PROBE", 0)).probe
    for title, x, y, x_label, y_label in getattr(module, "CURVES", ()):
        lines: dict[str, dict[str, Any]] = {}
        for unit, made in units.items():
            for name, arm in made.items():
                rows = [row for row in trail(arm.policy, results) if row.get(y) is not None]
                points = sorted([_place(row, x), row[y]] for row in rows)
                if points:
                    lines.setdefault(name, {})[unit] = thinned(points, most)
        if lines:
            told = {"title": title, "x": x_label, "y": y_label, "arms": lines}
            out.append({**told, "n": asked} if y.startswith("probe_") else told)
    return out


def _place(row: Mapping[str, Any], x: str) -> float:
    return round(row["flops"] / 1e12, 4) if x == "tflops" else float(row[x])


def thinned(points: Sequence[list[float]], most: int) -> list[list[float]]:
    """At most `most` of the points, the first and the last among them, to four digits."""
    step = max(1, math.ceil(len(points) / most))
    kept = [*points[::step], *([points[-1]] if (len(points) - 1) % step else [])]
    return [[float(f"{v:.4g}") for v in point] for point in kept]


def _samples(units: Mapping[str, Mapping[str, Arm]], results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each arm's answers to the same few prompts, of the first seed alone."""
    unit = next(iter(units), "")
    by_prompt: dict[str, dict[str, Any]] = {}
    for name, arm in units.get(unit, {}).items():
        for row in results.get(arm.measured.digest, {}).get("samples", ()):
            about = {k: row[k] for k in ("kind", "category", "prompt")}
            entry = by_prompt.setdefault(row["id"], {"seed": unit, **about, "answers": {}})
            entry["answers"][name] = {k: row[k] for k in ("thought", "reply", "outcome")}
    return list(by_prompt.values())


def _notes(module: ModuleType, config: Any) -> list[str]:
    notes = [*getattr(module, "NOTES", ()), *getattr(module, "notes", lambda config: [])(config)]
    if config.quick:
        notes.append("A quick run: an eighth of the work or less. It shows that everything runs, its numbers say little.")
    return notes


def _changed(usual: Any, told: Any) -> Any:
    if not isinstance(told, dict) or not isinstance(usual, dict):
        return told
    return {k: _changed(usual.get(k), v) for k, v in told.items() if usual.get(k) != v}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in tree.items():
        out += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return out


Numbers = Callable[[Arm, Mapping[str, dict[str, Any]]], dict[str, Any]]
"""An experiment's own numbers of an arm, or estimates as JSON, from what its tasks returned."""
