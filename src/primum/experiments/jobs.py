"""Jobs of an experiment: each a seed or an arm that needs no other, run once, its result kept, several at a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from primum.run import Run, plain
from primum.study import Task, run_tasks
from primum.study.work import function_of

Job = Callable[..., dict[str, Any]]
"""A function of a module (it is found by name) from the job's folder and its arguments, plain JSON, to plain JSON."""


def run_jobs(
    job: Job, arguments: Mapping[str, tuple[Any, ...]], run: Run, *, workers: int = 0, cluster: str = ""
) -> dict[str, dict[str, Any]]:
    """What `job(folder, *arguments)` returns for each name, in the order given; one that finished before is read again,
    one that was killed begins again in an empty folder.

    `workers` and `cluster` as for run_tasks. A job that fails twice fails the experiment, a RuntimeError, once all others have
    ended: their results are kept. Results are the same however many workers there are.
    """
    tasks = {name: task_of(job, name, given) for name, given in arguments.items()}
    outcome = run_tasks(list(tasks.values()), run.path / "jobs", run, workers=workers, cluster=cluster)
    for failure in outcome.failures:
        raise RuntimeError(f"{failure.label}: {failure.error} (more in {run.path / 'jobs' / failure.name}/error.txt)")
    return {name: outcome.results[task.digest] for name, task in tasks.items()}


def task_of(job: Job, name: str, arguments: tuple[Any, ...]) -> Task:
    settings = {"job": f"{job.__module__}:{job.__qualname__}", "name": name, "arguments": plain(arguments)}
    return Task(f"{__name__}:anew", settings, label=name)


def anew(folder: Path, settings: dict[str, Any], needs: dict[str, Path]) -> dict[str, Any]:
    """Do a job in an empty folder: half of one that was killed may have lost what it saw."""
    for item in folder.iterdir():
        shutil.rmtree(item) if item.is_dir() else item.unlink()
    return function_of(settings["job"])(folder, *settings["arguments"])
