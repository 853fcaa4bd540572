"""Jobs of an experiment: each a seed or an arm, run once, its result kept, several at a time in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from primum.beside import die_with_parent
from primum.run import Run, plain, read_json, write_json

Job = Callable[..., dict[str, Any]]
"""A function of a module (it is pickled) from the job's folder and its arguments to plain JSON."""


def run_jobs(job: Job, arguments: Mapping[str, tuple[Any, ...]], run: Run, *, workers: int = 0) -> dict[str, dict[str, Any]]:
    """What `job(folder, *arguments)` returns for each name, in the order given; one that finished before is read again,
    one that was killed begins again in an empty folder.

    `workers` processes with one thread each, 0 being one for every core; a job that fails fails the experiment, the
    others' results being kept. Results are the same however many workers there are.
    """
    folders = {name: run.path / "jobs" / name for name in arguments}
    left = [name for name, folder in folders.items() if not (folder / "result.json").exists()]
    workers = min(workers or os.cpu_count() or 1, len(left) or 1)
    context = multiprocessing.get_context("spawn")
    with (
        run.progress("jobs", len(arguments), len(arguments) - len(left)) as advance,
        _one_thread(),
        ProcessPoolExecutor(workers, mp_context=context, initializer=_quiet) as pool,
    ):
        waiting = {pool.submit(_kept, job, folders[name], arguments[name]): name for name in left}
        try:
            for future in as_completed(waiting):
                future.result()
                run.say(f"{waiting[future]}: done")
                advance(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: read_json(folder / "result.json") for name, folder in folders.items()}


def _kept(job: Job, folder: Path, arguments: tuple[Any, ...]) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # a job that was killed begins again: half of one may have lost what it saw
    folder.mkdir(parents=True)
    write_json(folder / "result.json", plain(job(folder, *arguments)))


def _quiet() -> None:
    """In a worker: one thread, and no life after the process that gave it work."""
    import torch

    die_with_parent(os.getppid())
    torch.set_num_threads(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Children read the number of threads when they load their libraries."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
