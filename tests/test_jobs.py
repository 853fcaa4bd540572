"""Jobs of an experiment: run once, kept, resumed, in order."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from primum.experiments.jobs import run_jobs
from primum.run import Run


def squared(folder: Path, x: int) -> dict[str, Any]:
    with (folder / "calls").open("a") as out:
        out.write(".")
    if x < 0:
        raise ValueError("no root")
    import torch

    return {"square": x * x, "threads": torch.get_num_threads(), "nan": float("nan"), "process": os.getpid()}


def run_in(path: Path) -> Run:
    return Run(path, Console(quiet=True), quiet=True)


def test_each_job_runs_once_with_one_thread_in_a_process_of_its_own(tmp_path: Path) -> None:
    jobs = {"three": (3,), "two": (2,)}
    found = run_jobs(squared, jobs, run_in(tmp_path), workers=2)
    assert list(found) == ["three", "two"]
    assert [r["square"] for r in found.values()] == [9, 4]
    assert {r["threads"] for r in found.values()} == {1}
    assert found["two"]["nan"] is None
    assert os.getpid() not in {r["process"] for r in found.values()}
    half = tmp_path / "jobs" / "four" / "left by a kill"
    half.mkdir(parents=True)
    again = run_jobs(squared, {**jobs, "four": (4,)}, run_in(tmp_path), workers=1)
    assert {k: again[k] for k in jobs} == found
    assert again["four"]["square"] == 16
    assert not half.exists()
    assert [(tmp_path / "jobs" / name / "calls").read_text() for name in ("three", "four")] == [".", "."]


def test_a_job_that_fails_fails_the_experiment_and_keeps_what_others_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no root"):
        run_jobs(squared, {"good": (2,), "bad": (-1,)}, run_in(tmp_path), workers=1)
    assert json.loads((tmp_path / "jobs/good/result.json").read_text())["square"] == 4
    assert not (tmp_path / "jobs/bad/result.json").exists()
