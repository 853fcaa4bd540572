"""An experiment from its plan to its document: the tasks of every seed and arm, then numbers, curves, claims and targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from primum.recipe import check
from primum.run import Run, environment, plain, read_json
from primum.study.graph import Task, order
from primum.study.judged import Differ, judged
from primum.study.measures import difference
from primum.study.plan import Arm
from primum.study.result import COSTS
from primum.study.schedule import Outcome, run_tasks
from primum.study.settings import Budgeted, arms_of, asks, command, unused, wanted
from primum.study.stages import ledger_of


def study(module: ModuleType, config: Any, run: Run, store: Path) -> dict[str, Any]:
    """The document of an experiment: `module` says what is asked, which arms there are and what was claimed."""
    units, warnings = planned(module, config)
    asked = asks(module, config)  # before training: the user's files may change in the meantime
    for warning in warnings:
        run.say(f"warning: {warning}")
    tasks = [task for arms in units.values() for arm in arms.values() for task in wanted(module, arm)]
    run.say(f"{len({t.digest for t in tasks})} measurements of {len(units)} seeds or folds; shared stages are trained once")
    outcome = run_tasks(tasks, store, run, workers=config.workers, cluster=config.cluster, retries=config.retries)
    found = asked | _document(module, config, units, outcome, store, warnings)
    if (made := found["environment"]["git"]) != (now := environment()["git"]):
        run.say(f"warning: some of this was trained with code {made}, and is judged with {now}")
    return found


def planned(module: ModuleType, config: Any) -> tuple[dict[str, dict[str, Arm]], list[str]]:
    """The arms of every seed or fold, and what a reader must know of the recipe; bad input where it cannot be done."""
    _, warnings = check(config.recipe)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    units = {unit: arms for seed in seeds for unit, arms in arms_of(module, config, seed).items()}
    if told := unused(config.recipe):
        warnings = [*warnings, f"Settings of the recipe that experiments do not read: {', '.join(told)}."]
    if isinstance(config, Budgeted) and config.recipe.model != "microworld" and config.tflops == type(config)().tflops:
        needs = "training costs about six operations a parameter and token: set a budget for yours."
        warnings = [*warnings, f"tflops={config.tflops:g} is what the embedded model needs; {needs}"]
    return units, warnings


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
        "seeds": list(units), "arms": arms,
        "curves": _curves(module, units, results), "samples": _samples(units, results),
        "notes": [*_notes(module, config), *warnings], "failures": _failures(module, units, outcome),
        "command": command(module, config), "environment": _environment(units, outcome, store),
    }  # fmt: skip
    return judged(module, plain(document), _differences(arms, units, results, store))


def _failures(module: ModuleType, units: Mapping[str, Mapping[str, Arm]], outcome: Outcome) -> list[dict[str, Any]]:
    """The tasks that failed, each with the seeds or folds that lack it."""
    names = {
        unit: {task.name for task in order(task for arm in arms.values() for task in wanted(module, arm))}
        for unit, arms in units.items()
    }
    return [{**asdict(f), "seeds": [unit for unit, found in names.items() if f.name in found]} for f in outcome.failures]


def _environment(units: Mapping[str, Mapping[str, Arm]], outcome: Outcome, store: Path) -> dict[str, Any]:
    """Where this was judged, and by `git` the revisions of the code with which the arms' tasks were done, earlier or now."""
    now = environment()
    done = order(arm.measured for arms in units.values() for arm in arms.values())
    found = (read_json(store / task.name / "task.json").get("git") for task in done if task.digest in outcome.results)
    return now | {"git": ", ".join(dict.fromkeys(str(git) for git in found)) or now["git"], "judged_at": now["git"]}


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
    module: ModuleType, units: Mapping[str, Mapping[str, Arm]], results: Mapping[str, Any], most: int = 40
) -> list[dict[str, Any]]:
    """What the module's CURVES draw: (title, x, y, x label, y label), x being "tflops" or a number of the logged lines, in its
    order; `n` is the fewest prompts behind a point of a probe."""
    out = []
    for title, x, y, x_label, y_label in getattr(module, "CURVES", ()):
        lines: dict[str, dict[str, Any]] = {}
        asked: list[int] = []
        for unit, made in units.items():
            for name, arm in made.items():
                rows = [row for row in trail(arm.policy, results) if row.get(y) is not None]
                asked += [row[f"{y}_n"] for row in rows if f"{y}_n" in row]
                points = sorted([_place(row, x), row[y]] for row in rows)
                if points:
                    lines.setdefault(name, {})[unit] = thinned(points, most)
        if lines:
            told = {"title": title, "x": x_label, "y": y_label, "arms": lines}
            out.append({**told, "n": min(asked)} if asked else told)
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


Numbers = Callable[[Arm, Mapping[str, dict[str, Any]]], dict[str, Any]]
"""An experiment's own numbers of an arm, or estimates as JSON, from what its tasks returned."""
