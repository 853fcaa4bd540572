"""What a worker does with one task, wherever it runs: hold its folder, do it unless it is done, keep the result last."""

from __future__ import annotations

import errno
import hashlib
import importlib
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primum.run import read_json, write_json, write_text
from primum.study.graph import Task
from primum.types import CANNOT_WRITE, DISK, BadInput

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

RESULT = "result.json"
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}  # a file system without them: one run at a time is for the user then


@dataclass(frozen=True)
class Work:
    """A task as it travels to a worker: plain and picklable. `needs` are the names of folders beside its own in `store`."""

    store: Path
    name: str
    digest: str
    does: str
    settings: dict[str, Any]
    needs: dict[str, str]
    label: str
    gpus: float
    git: str

    @property
    def folder(self) -> Path:
        return self.store / self.name


@dataclass(frozen=True)
class Ended:
    """How an attempt at a task ended: with a result, or with the line of what went wrong; `bad` where the user must mend it."""

    digest: str
    result: dict[str, Any] | None = None
    error: str = ""
    bad: bool = False
    seconds: float = field(default=0.0, compare=False)


def work_of(task: Task, store: Path, git: str) -> Work:
    needs = {role: need.name for role, need in task.needs.items()}
    return Work(store, task.name, task.digest, task.does, dict(task.settings), needs, task.label, task.gpus, git)


def carry_out(work: Work) -> Ended:
    """Do a task unless its result is there, after waiting for another process that is at it.

    Whatever the task raises becomes a line, and its traceback error.txt in the folder; only Ctrl-C passes. A store that cannot be
    written is the user's to mend, and no error of the task. One thread of
    torch, unless the settings say `threads`, and random numbers that begin with the digest: the same wherever it runs.
    """
    begun = time.perf_counter()
    try:
        with _held(work):
            result = _kept(work)
    except BadInput as error:
        return Ended(work.digest, error=str(error), bad=True)
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and _of_store(work, error):
            return unwritable(work, error)
        _note(work)
        return Ended(work.digest, error=" ".join(f"{type(error).__name__}: {error}".split()))
    return Ended(work.digest, result, seconds=time.perf_counter() - begun)


def _of_store(work: Work, error: OSError) -> bool:
    """Whether it is the store that cannot be written, and not some other place that the task writes to."""
    if error.filename is None:  # while writing to an open file
        return error.errno in DISK
    return error.errno in CANNOT_WRITE and Path(os.fsdecode(error.filename)).absolute().is_relative_to(work.store.absolute())


def unwritable(work: Work, error: OSError) -> Ended:
    """The end of a task whose folder cannot be written: nothing that another try would mend."""
    told = BadInput(f"cannot write here, {error.strerror}", str(work.store), "free space, or choose another --output")
    return Ended(work.digest, error=str(told), bad=True)


def _kept(work: Work) -> dict[str, Any]:
    path = work.folder / RESULT
    if not path.exists():
        work.folder.mkdir(parents=True, exist_ok=True)
        record = {name: getattr(work, name) for name in ("does", "settings", "needs", "label", "git")}
        write_json(work.folder / "task.json", record)
        needs = {role: work.store / name for role, name in work.needs.items()}
        with _alike(work):
            result = function_of(work.does)(work.folder, work.settings, needs)
        if not isinstance(result, dict):
            raise TypeError(f"{work.does} returned {type(result).__name__}, not a dict")
        write_json(work.folder / "task.json", record)  # again: a task may have emptied its folder to begin anew
        (work.folder / "error.txt").unlink(missing_ok=True)
        write_json(path, result)
    return read_json(path)


@contextmanager
def _held(work: Work) -> Iterator[None]:
    """Hold the task's folder; wait where another process has it. The system lets go when this one ends."""
    locks = work.store / ".locks"  # beside the folders: a task may empty its own
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / work.name).open("w") as lock:
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


@contextmanager
def _alike(work: Work) -> Iterator[None]:
    """The same number of threads and the same random numbers wherever a task runs; the caller's threads afterwards."""
    import numpy as np
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(int(work.settings.get("threads") or 1))
    seed = int.from_bytes(hashlib.sha256(work.digest.encode()).digest()[:4], "big")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def function_of(does: str) -> Callable[..., Any]:
    """The function that "package.module:function" names."""
    module, _, name = does.partition(":")
    return getattr(importlib.import_module(module), name)


def _note(work: Work) -> None:
    try:
        write_text(work.folder / "error.txt", traceback.format_exc())
    except OSError:  # a full disk, perhaps: what failed says so itself
        pass
