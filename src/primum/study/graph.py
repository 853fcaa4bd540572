"""A task, what it needs, and the order in which tasks can be done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True, eq=False)
class Task:
    """Work that is done once: a function of a module, its settings, and the tasks whose folders it reads.

    `does` is "package.module:function", a function (folder, settings, needs) → plain JSON; `needs` gives it, role by role,
    the folders of other tasks. `settings` are plain JSON and say all that the result depends on besides the needs. `label`
    and `gpus` (asked of the scheduler; a share is allowed) change nothing in the result and are not in the digest, so
    equal tasks of several experiments are one. Settings that JSON cannot hold, nan among them, are a ValueError or TypeError.

    >>> base = Task("json:loads", {"seed": 1})
    >>> base.name
    'loads-92d4b09497966bbf'
    >>> Task("json:loads", {"seed": 1}, label="another name").digest == base.digest
    True
    """

    does: str
    settings: Mapping[str, Any]
    needs: Mapping[str, Task] = field(default_factory=dict)
    label: str = ""
    gpus: float = 0.0

    def __post_init__(self) -> None:
        module, _, function = self.does.partition(":")
        if not module or not function.isidentifier():
            raise ValueError(f"a task does 'package.module:function', not '{self.does}'")
        if not 0 <= self.gpus < float("inf"):
            raise ValueError(f"a task asks for a number of GPUs, not {self.gpus}")
        # Copies: what the digest is of cannot change later, and tuples read as what JSON makes of them.
        object.__setattr__(self, "settings", json.loads(json.dumps(dict(self.settings), allow_nan=False)))
        object.__setattr__(self, "needs", dict(self.needs))

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over the function, the settings and, role by role, the digests of the needs."""
        said = {"does": self.does, "settings": self.settings, "needs": {role: task.digest for role, task in self.needs.items()}}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The name of its folder in a store: the function's and the digest."""
        return f"{self.does.partition(':')[2]}-{self.digest}"

    @property
    def called(self) -> str:
        """What people read: the label, or the name where there is none."""
        return self.label or self.name


def order(wanted: Iterable[Task]) -> list[Task]:
    """The wanted tasks and all they need, each once, needs before what needs them; the same for the same list.

    >>> base = Task("m:base", {})
    >>> [t.does for t in order([Task("m:rl", {}, {"policy": base}), base])]
    ['m:base', 'm:rl']
    """
    placed: dict[str, Task] = {}

    def place(task: Task) -> None:
        if task.digest not in placed:
            for need in task.needs.values():
                place(need)
            placed[task.digest] = task

    for task in wanted:
        place(task)
    return list(placed.values())


def dependants(tasks: Iterable[Task]) -> dict[str, int]:
    """How many of `tasks` need each one, at first or second hand; `tasks` has needs before what needs them."""
    below: dict[str, set[str]] = {}
    for task in reversed(list(tasks)):
        own = below.setdefault(task.digest, set())
        for need in task.needs.values():
            below.setdefault(need.digest, set()).update(own, {task.digest})
    return {digest: len(needing) for digest, needing in below.items()}
