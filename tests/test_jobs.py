"""Jobs of an experiment: run once, kept, resumed, in order."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from primum.experiments.jobs import run_jobs, task_of
from primum.run import Run


def squared(folder: Path, x: int) -> dict[str, Any]:
    with (folder / "calls").open("a") as out:
        out.write(".")
    if x < 0:
        raise ValueError("no root")
    import torch

    return {"square": x * x, "threads": torch.get_num_threads(), "nan": float("nan")}


def halved(folder: Path, others: str) -> dict[str, Any]:
    """Leave half of the work behind the first time."""
    found = [path.name for path in folder.iterdir()]
    (folder / "half").mkdir()
    (folder / "half/file").touch()
    if not Path(others).exists():
        Path(others).touch()
        raise ValueError("killed")
    return {"found": found}


def run_in(path: Path) -> Run:
    return Run(path, Console(quiet=True), quiet=True)


def folder_of(path: Path, name: str, x: int) -> Path:
    return path / "jobs" / task_of(squared, name, (x,)).name


def test_each_job_runs_once_with_one_thread(tmp_path: Path) -> None:
    jobs = {"three": (3,), "two": (2,)}
    found = run_jobs(squared, jobs, run_in(tmp_path), workers=2)
    assert list(found) == ["three", "two"]
    assert [r["square"] for r in found.values()] == [9, 4]
    assert {r["threads"] for r in found.values()} == {1}
    assert found["two"]["nan"] is None
    half = folder_of(tmp_path, "four", 4) / "left by a kill"
    half.mkdir(parents=True)
    again = run_jobs(squared, {**jobs, "four": (4,)}, run_in(tmp_path), workers=1)
    assert {k: again[k] for k in jobs} == found
    assert again["four"]["square"] == 16
    assert not half.exists()
    assert [(folder_of(tmp_path, *job) / "calls").read_text() for job in (("three", 3), ("four", 4))] == [".", "."]


def test_a_job_that_is_tried_again_begins_in_an_empty_folder(tmp_path: Path) -> None:
    assert run_jobs(halved, {"one": (str(tmp_path / "tried"),)}, run_in(tmp_path / "run"), workers=1)["one"] == {"found": []}


def test_jobs_of_other_names_or_functions_are_other_jobs() -> None:
    names = {task.digest for task in (task_of(squared, "a", (1,)), task_of(squared, "b", (1,)), task_of(halved, "a", (1,)))}
    assert len(names) == 3


def test_a_job_that_fails_fails_the_experiment_and_keeps_what_others_found(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^bad: ValueError: no root"):
        run_jobs(squared, {"bad": (-1,), "good": (2,)}, run_in(tmp_path), workers=1)
    assert json.loads((folder_of(tmp_path, "good", 2) / "result.json").read_text())["square"] == 4
    assert not (folder_of(tmp_path, "bad", -1) / "result.json").exists()
