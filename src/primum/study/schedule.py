"""The scheduler of a study: every task once, as soon as what it needs is done, in whatever place there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from primum.run import Run, environment, read_json
from primum.study.graph import Task, dependants, order
from primum.study.processes import Here, Processes, cores
from primum.study.work import RESULT, Ended, Work, work_of
from primum.types import BadInput


@dataclass(frozen=True)
class Failure:
    """A task without a result: what people call it, its folder's name, the line of the error, how often it was tried."""

    label: str
    name: str
    error: str
    attempts: int


@dataclass
class Outcome:
    """What the tasks returned, by digest, and which have no result; needs before what needs them."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


class Slots(Protocol):
    """Where tasks run."""

    def room(self, work: Work) -> bool:
        """Whether the task could start now."""

    def start(self, work: Work) -> None:
        """Begin it; returns at once."""

    def ended(self) -> list[Ended]:
        """Those that have ended since the last call, waiting for one."""

    def stop(self) -> None:
        """End whatever still runs, at once."""


def run_tasks(wanted: Sequence[Task], store: Path, run: Run, *, workers: int = 0, cluster: str = "", retries: int = 1) -> Outcome:
    """The results of the wanted tasks and of all they need, and the failures; a result that `store` has is read, not made.

    workers 1: in this process; N: in N processes; 0: one for every core. cluster "local" starts Ray here, an address ("auto",
    "host:port") joins one; every node must see `store`, or it is bad input. The task that most others need goes first, then the
    earliest wanted. A task that raises or whose process dies is tried `retries` times more and then, with what needs it, a
    failure, while all else goes on. BadInput in a task ends everything. However this ends, nothing runs on; calling again
    goes on. Results do not depend on where or in how many places tasks ran.
    """
    tasks = order(wanted)
    store = store.resolve()
    outcome = Outcome()
    for task in tasks:
        if (store / task.name / RESULT).exists():
            outcome.results[task.digest] = read_json(store / task.name / RESULT)
    left = [task for task in tasks if task.digest not in outcome.results]
    if not left:
        return outcome
    store.mkdir(parents=True, exist_ok=True)
    with run.progress("tasks", len(tasks), len(tasks) - len(left)) as advance:
        slots = _slots(workers, cluster, store, len(left))
        try:
            _Board(tasks, left, outcome, retries, run, advance, store).work_off(slots)
        finally:
            slots.stop()
    places = {task.name: place for place, task in enumerate(tasks)}
    outcome.failures.sort(key=lambda failure: places[failure.name])
    outcome.results = {task.digest: outcome.results[task.digest] for task in tasks if task.digest in outcome.results}
    return outcome


def _slots(workers: int, cluster: str, store: Path, left: int) -> Slots:
    if cluster:
        from primum.study.cluster import Cluster

        return Cluster(cluster, store, workers)
    workers = workers or cores()
    return Here() if workers == 1 else Processes(min(workers, left))


class _Board:
    """What is done, running, waiting and failed."""

    def __init__(
        self, tasks: list[Task], left: list[Task], outcome: Outcome, retries: int, run: Run, advance: Any, store: Path
    ) -> None:
        counts = dependants(tasks)
        self.tasks = {task.digest: task for task in tasks}
        self.waiting = sorted(left, key=lambda task: -counts[task.digest])  # stable: the earliest wanted first
        self.attempts = dict.fromkeys(self.tasks, 0)
        self.running: set[str] = set()
        self.outcome, self.retries, self.run, self.advance, self.store = outcome, retries, run, advance, store
        self.git = str(environment()["git"])

    def work_off(self, slots: Slots) -> None:
        while self.waiting or self.running:
            self._start(slots)
            for end in slots.ended():
                self.running.discard(end.digest)
                self._take(self.tasks[end.digest], end)

    def _start(self, slots: Slots) -> None:
        for task in list(self.waiting):
            work = work_of(task, self.store, self.git)
            if all(need.digest in self.outcome.results for need in task.needs.values()) and slots.room(work):
                self.waiting.remove(task)
                self.running.add(task.digest)
                self.attempts[task.digest] += 1
                slots.start(work)

    def _take(self, task: Task, end: Ended) -> None:
        if end.bad:
            raise BadInput(end.error)
        if end.result is not None:
            self.outcome.results[task.digest] = end.result
            self._tell(task, f"{end.seconds:.1f} s")
        elif self.attempts[task.digest] <= self.retries:
            self.waiting.insert(0, task)
            self.run.say(f"{task.called}: {end.error}; once more")
        else:
            self._fail(task, end.error, self.attempts[task.digest])

    def _fail(self, task: Task, error: str, attempts: int) -> None:
        self.outcome.failures.append(Failure(task.called, task.name, error, attempts))
        self._tell(task, f"failed, {error}")
        for other in list(self.waiting):
            if other in self.waiting and any(need.digest == task.digest for need in other.needs.values()):
                self.waiting.remove(other)
                self._fail(other, f"needs {task.called}, which failed", 0)

    def _tell(self, task: Task, how: str) -> None:
        self.advance(1)
        over = len(self.outcome.results) + len(self.outcome.failures)
        self.run.say(f"{over}/{len(self.tasks)} {task.called}: {how}")
