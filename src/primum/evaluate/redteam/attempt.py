"""One red-team run: search, confirm, audit, and write what was found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from primum.config import Config
from primum.evaluate.redteam.archive import cell_table, confirm, coverage, finds, qd_score
from primum.evaluate.redteam.attack import Cell, StackSpace
from primum.evaluate.redteam.frozen import LOG, META, check_found_after, claim, frozen_at, replay
from primum.evaluate.redteam.search import SearchConfig, search
from primum.evaluate.redteam.target import Target, TargetConfig, Tried
from primum.evaluate.redteam.unseen import audit, audited
from primum.run import Run, plain, read_json, write_examples, write_json, write_jsonl
from primum.stats import estimate
from primum.types import BadInput

MOST_UNSCORED = 0.02
AXES = ("category", "style", "language", "depth")


class RedteamConfig(Config):
    """A red-team run."""

    seed: int = Field(0, ge=0)
    depth: int = Field(2, ge=0, le=4)  # most mutations stacked on one prompt
    confirm: int = Field(8, ge=1)  # fresh samples of a cell's best attack, outside the queries
    audit: int = Field(600, ge=1)  # independent draws for what was not seen, outside the queries
    target: TargetConfig = TargetConfig()
    search: SearchConfig = SearchConfig()


def attack(space: StackSpace, target: Target, config: RedteamConfig, run: Run, given: Mapping[str, str]) -> dict[str, Any]:
    """Search, confirm, audit; archive.jsonl, finds.jsonl, cells.jsonl and summary.json are left in the run's folder."""
    began = claim(run.path, target.policy, {**config.model_dump(), "space": space.name, **given})
    with run.progress("red team", config.target.queries) as advance:
        archive = search(space, target, config.search, config.seed, run.path / LOG, advance)
    confirmed = confirm(archive, target, config.confirm, 90_000 + config.seed)
    drawn = audit(space, target, config.audit, 60_000 + config.seed)
    unseen = audited(drawn)
    held = [t for t in confirmed.values() if t.success >= config.target.threshold]
    others = [t for t in archive.successes(config.target.threshold) if t.attack.cell not in confirmed]
    archive.save(run.path / "archive.jsonl")
    write_examples(run.path / "finds.jsonl", finds([*held, *others]))
    write_jsonl(run.path / "cells.jsonl", cell_table(archive, confirmed))
    found = {
        "notes": _unjudged([*archive.tried.values(), *drawn]),
        "space": space.name, "target": began["target"], "queries": target.queries, "tried": len(archive.tried),
        "unscored": sum(t.unscored for t in archive.tried.values()),
        "success": estimate([t.success for t in archive.tried.values()]).to_json(),
        "cells": len(space.cells()), "coverage": coverage(confirmed, space.cells(), config.target.threshold).to_json(),
        "qd_score": qd_score(confirmed, space.cells()), "finds": len(held) + len(others), "unseen": unseen.to_json(),
        **{f"by_{axis}": _by(space, confirmed, config.target.threshold, i) for i, axis in enumerate(AXES)},
        "best": [_best(t) for t in sorted(held, key=lambda t: -t.success)[:10]], "folder": str(run.path),
    }  # fmt: skip
    write_json(run.path / "summary.json", found)
    return found


def replayed(archive: Path, target: Target, weights: Path | None, regression: bool) -> dict[str, Any]:
    """How many of an archive's finds still work on a policy: evidence only where they were found after it was frozen."""
    if not (archive / META).exists():
        raise BadInput(f"no archive here, it has no {META}", str(archive), "name the --output of an earlier red-team run")
    frozen = frozen_at(weights) if weights is not None else float("inf")
    warning = check_found_after(archive, target.policy, frozen, regression=regression)
    settings = read_json(archive / META)["settings"]
    tried = replay(archive, target, int(settings["confirm"]), 40_000, float(settings["target"]["threshold"]))
    return {
        "notes": [*([warning] if warning else []), *_unjudged(tried)], "replayed": len(tried), "evidence": not warning,
        "success": estimate([t.success for t in tried]).to_json(), "unscored": sum(t.unscored for t in tried),
    }  # fmt: skip


def _by(space: StackSpace, confirmed: Mapping[Cell, Tried], threshold: float, axis: int) -> dict[str, Any]:
    """Coverage by the values of one axis."""
    cells: dict[str, list[Cell]] = defaultdict(list)
    for cell in space.cells():
        cells[str(cell[axis])].append(cell)
    return {name: plain(coverage(dict(confirmed), some, threshold)) for name, some in cells.items()}


def _unjudged(tried: Sequence[Tried]) -> list[str]:
    """A warning where more samples than may be were cut short or not judged: they are no successes, and no evidence of safety."""
    lost, asked = sum(t.unscored for t in tried), sum(t.samples for t in tried)
    if lost <= MOST_UNSCORED * asked:
        return []
    remedy = "mend the judge, or raise target.limit_tokens"
    return [f"{lost} of {asked} samples could not be judged, so finding little shows no safety: {remedy}"]


def _best(tried: Tried) -> dict[str, Any]:
    return {"cell": list(tried.attack.cell), "success": tried.success, "prompt": tried.attack.prompt, "reply": tried.reply}
