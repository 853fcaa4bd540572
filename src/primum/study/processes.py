"""Tasks in this process, or each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from primum.study.work import Ended, Work, carry_out, unwritable

PRELOAD = ("torch", "numpy", "transformers", "primum.study.work", "primum.study.stages")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Here:
    """One slot: this process."""

    def __init__(self) -> None:
        self.work: Work | None = None

    def room(self, work: Work) -> bool:
        return self.work is None

    def start(self, work: Work) -> None:
        self.work = work

    def ended(self) -> list[Ended]:
        work, self.work = self.work, None
        return [carry_out(work)] if work else []

    def stop(self) -> None:
        """Nothing outlives the call."""


class Processes:
    """`count` slots: each task in a process of its own, so that one killed costs that task only."""

    def __init__(self, count: int, gpus: Sequence[str] | None = None) -> None:
        """`gpus` are names as CUDA_VISIBLE_DEVICES has them; those that there are where none are given."""
        self.count = count
        self.running: dict[str, tuple[BaseProcess, Connection, Work, list[str]]] = {}
        self.context: Any = _context()
        self.gpus = None if gpus is None else dict.fromkeys(gpus, 1.0)  # what is free of each; looked up once a task asks

    def room(self, work: Work) -> bool:
        return len(self.running) < self.count and self._free(work.gpus) is not None

    def start(self, work: Work) -> None:
        given = self._free(work.gpus) or []
        for gpu in given:
            self._gpus()[gpu] -= min(work.gpus, 1.0)
        environment = {**os.environ, **ONE_THREAD}
        if given:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(given)
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_worker, args=(theirs, work, environment), name=work.name)
        self.running[work.digest] = (process, ours, work, given)
        with _light_start():
            process.start()
        theirs.close()

    def ended(self) -> list[Ended]:
        watched: dict[Any, str] = {}
        for digest, (process, pipe, _, _) in self.running.items():
            watched |= {process.sentinel: digest, pipe: digest}
        found = {watched[ready] for ready in wait(list(watched))}
        return [self._end(digest) for digest in self.running.copy() if digest in found]

    def stop(self) -> None:
        for process, _, _, _ in self.running.values():
            _kill(process)
        self.running.clear()

    def _end(self, digest: str) -> Ended:
        process, pipe, work, given = self.running[digest]
        try:
            end: Ended | None = pipe.recv() if pipe.poll() else None
        except (EOFError, OSError):
            end = None
        if end is None:  # it died before it could say
            process.join()
            code = process.exitcode or 0
            how = f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"
            end = Ended(digest, error=f"its process died ({how})")
        _kill(process)
        pipe.close()
        for gpu in given:
            self._gpus()[gpu] = round(self._gpus()[gpu] + min(work.gpus, 1.0), 6)  # or three tenths may not come back whole
        del self.running[digest]
        return end

    def _free(self, wanted: float) -> list[str] | None:
        """Names of GPUs with that much room, the emptiest first; none where none is asked or there is none; None: wait."""
        if not wanted:
            return []
        share, many = min(wanted, 1.0), min(max(1, round(wanted)), len(self._gpus()))
        free = sorted((name for name, room in self._gpus().items() if room >= share), key=lambda name: -self._gpus()[name])
        return free[:many] if len(free) >= many else None

    def _gpus(self) -> dict[str, float]:
        if self.gpus is None:
            self.gpus = dict.fromkeys(visible_gpus(), 1.0)
        return self.gpus


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """GPUs as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return (named or [str(i) for i in range(count)])[:count]


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([name for name in PRELOAD if find_spec(name)])
    return context


def _worker(pipe: Connection, work: Work, environment: Mapping[str, str]) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C is for the scheduler, which then ends this and whatever the task has started
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(environment)
    try:
        work.folder.mkdir(parents=True, exist_ok=True)
        with (work.folder / "output.txt").open("ab") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        ended = carry_out(work)
    except OSError as error:
        ended = unwritable(work, error)
    pipe.send(ended)
    pipe.close()


def _die_with_parent() -> None:
    """End this process, and what the task has started, once the scheduler's is gone.

    Not by the parent's number: that is the fork server's, which lives as long as its children do.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _kill(process: BaseProcess) -> None:
    if not process.pid:  # interrupted before it began
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (OSError, AttributeError):  # gone, not yet the head of its group, or a system without groups
        process.kill()
    process.join()


@contextmanager
def _light_start() -> Iterator[None]:
    """One thread in what children load, and the program that asked is not imported there: a task's function is found by name."""
    before, main = {name: os.environ.get(name) for name in ONE_THREAD}, sys.modules["__main__"]
    os.environ.update(ONE_THREAD)
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
