"""What is compared: arms, each one evaluation or several seeds of it, read from the folders that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primum.config import nearest
from primum.evaluate import Measured
from primum.evaluate.suites import SUITES
from primum.files import read_rows
from primum.report.metrics import ARMS
from primum.run import plain, read_json
from primum.types import BadInput

FOUR = ("harm", "borderline", "benign", "task")  # the suites that a run's rollouts are summed up by


@dataclass(frozen=True)
class Evaluated:
    """One model's judged rollouts by suite, and what its folder notes of how they came about.

    `digests` are the judges' by signal; `roles` says what training used a category for, where a run noted it.
    """

    path: Path
    rows: Mapping[str, list[Measured]]
    judge: str
    digests: Mapping[str, str]
    sampling: Mapping[str, Any]
    model: str = ""
    weights: str = ""
    data: str = ""
    cards: Sequence[Mapping[str, Any]] = ()
    failed: Sequence[str] = ()
    warnings: Sequence[str] = ()
    corrected: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a model, as one evaluation for each seed it was trained with."""

    name: str
    seeds: tuple[Evaluated, ...]

    def rows(self, suite: str) -> list[Measured]:
        """The suite's rollouts of all seeds, one seed after the other."""
        return [m for seed in self.seeds for m in seed.rows.get(suite, ())]


@dataclass(frozen=True)
class Named:
    """A word of the command line: a name, and the folders that it stands for."""

    name: str
    paths: tuple[Path, ...]
    kind: str


def named(words: Sequence[str]) -> list[Named]:
    """NAME=PATH[,PATH…] or PATH[,PATH…], each with what lies there: an evaluation, a run or a model."""
    found = []
    for word in words:
        whole = Path(word).exists()
        name, equals, rest = ("", "", word) if whole else word.partition("=")
        paths = (word,) if whole else tuple((rest if equals else word).split(","))
        if not all(paths) or (equals and not name):
            raise BadInput(f"'{word}' names no folder", "command line", "write PATH, or NAME=PATH,PATH for seeds of one arm")
        kinds = {_kind(path) for path in paths}
        if len(kinds) > 1:
            raise BadInput(f"'{word}' mixes {' and '.join(sorted(kinds))}", "command line", "name folders of one kind")
        label = name if equals else Path(paths[0]).resolve().name
        found.append(Named(label, tuple(Path(path) for path in paths), kinds.pop()))
    names = [arm.name for arm in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise BadInput(f"two arms are called '{twice}'", "command line", "name them: NAME=PATH")
    return found


def _kind(word: str) -> str:
    path = Path(word)
    if word == "microworld":
        return "model"
    if not path.is_dir():
        near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
        raise BadInput(
            "no such folder", word, f"did you mean '{near}'?" if near else "name a folder of primum evaluate, or a run"
        )
    if (path / "evaluation.json").exists():
        return "evaluation"
    if (path / "1-curate").exists() or (path / "6-compare").exists():
        return "run"
    if any((path / suite).is_dir() for suite in SUITES):
        raise BadInput("this evaluation has not finished", word, "give its primum evaluate command again")
    if not any((path / name).exists() for name in ("config.json", "adapter_config.json")):
        remedy = "name a folder of primum evaluate, a run directory or a model folder"
        raise BadInput("this is neither an evaluation, nor a run, nor a model", word, remedy)
    return "model"


def read_evaluation(folder: Path) -> Evaluated:
    """What `primum evaluate` left in a folder."""
    told = read_json(folder / "evaluation.json")
    try:
        names, judge, hashes = list(told["suites"]), told["judge"], told["hashes"]
        made = {
            "model": told["model"]["name"], "judge": judge["name"], "digests": judge["digests"], "cards": judge["cards"],
            "failed": told["failed"], "sampling": told["settings"]["sampling"], "data": hashes["data"],
            "warnings": told["warnings"],
            "weights": hashes["weights"] or "",
            "corrected": {name: suite["corrected"] for name, suite in told["suites"].items()},
        }  # fmt: skip
    except (KeyError, TypeError):
        raise BadInput("this is no evaluation", str(folder / "evaluation.json"), "give primum evaluate again") from None
    if unknown := [name for name in names if name not in SUITES]:
        raise BadInput(f"no suite '{unknown[0]}' here", str(folder), "compare with the version of primum that evaluated it")
    return Evaluated(folder, {name: _measured(folder / name / "samples.jsonl") for name in names}, **made)


def read_run(folder: Path) -> dict[str, Evaluated]:
    """The arms of a run, from what its comparison kept: the rollouts of each, by the four suites of its kinds of prompt."""
    files = {p.stem.removeprefix("rollouts-"): p for p in sorted((folder / "6-compare").glob("rollouts-*.jsonl"))}
    if not files:
        raise BadInput("this run has compared no arms yet", str(folder), "let it finish")
    settings = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    listed = read_json(folder / "6-compare" / "roles.json") if (folder / "6-compare" / "roles.json").exists() else {}
    judge = {"judge": json.dumps(settings.get("judge"), sort_keys=True)}
    roles = {category: role for role, names in listed.items() for category in names}
    found = {}
    for arm in [*(a for a in ARMS if a in files), *(a for a in files if a not in ARMS)]:
        rows = _measured(files[arm])
        suites = {name: [m for m in rows if m.rollout.example.kind in SUITES[name].kinds] for name in FOUR}
        made = {"judge": f"the run's ({folder.name})", "digests": judge, "sampling": plain(settings.get("evaluate") or {})}
        found[arm] = Evaluated(files[arm], {name: kept for name, kept in suites.items() if kept}, **made, roles=roles)
    return found


def arms_of_runs(folders: Sequence[Path]) -> list[Arm]:
    """The arms of a run; of several runs each run is a seed, and the arms are those that all of them have."""
    runs = [read_run(folder) for folder in folders]
    names = [name for name in runs[0] if all(name in run for run in runs)]
    if not names:
        raise BadInput("these runs share no arm", ", ".join(map(str, folders)), "name runs of one recipe")
    return [Arm(name, tuple(run[name] for run in runs)) for name in names]


def _measured(path: Path) -> list[Measured]:
    if path.exists() and not path.stat().st_size:
        return []
    found = []
    for where, row in read_rows(path):
        try:
            found.append(Measured.from_row(row))
        except (KeyError, TypeError, ValueError):
            raise BadInput("this is no judged rollout", where, "restore the line, or evaluate again") from None
    return found
