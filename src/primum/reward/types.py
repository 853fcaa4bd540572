"""What a reward gives back, and what it may remember."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from primum.types import BadInput, Rollout


@dataclass(frozen=True)
class Rewards:
    """One total a rollout (nan: unscored, trains nothing), and the parts it was made of.

    `thought` and `reply`, where given, are what each half earned by itself, for credit that is
    split between them; nan where a half has nothing of its own and answers for the total.
    `collapsed` says in a few words why training must go back to its last good checkpoint.
    """

    total: list[float]
    parts: dict[str, list[float]]
    thought: list[float] = field(default_factory=list)
    reply: list[float] = field(default_factory=list)
    collapsed: str = ""

    def take(self, first: int, last: int) -> Rewards:
        """Those of the rollouts from `first` up to before `last`."""
        parts = {name: values[first:last] for name, values in self.parts.items()}
        total, thought, reply = (x[first:last] for x in (self.total, self.thought, self.reply))
        return replace(self, total=total, parts=parts, thought=thought, reply=reply)

    def check(self, rollouts: Sequence[Rollout], where: str = "") -> Rewards:
        """The same in plain numbers, None and infinities as nan; refused where a list has another length than
        `rollouts`; halves may be left out."""
        halves = {name: values for name, values in (("thought", self.thought), ("reply", self.reply)) if len(values)}
        for name, values in {"total": self.total, **halves, **self.parts}.items():
            if len(values) != len(rollouts):
                what = f"the reward gave {len(values)} numbers for {len(rollouts)} rollouts"
                raise BadInput(what, where or name, "return one number for each, nan where you cannot tell")
        total, thought, reply = (_plain(values) for values in (self.total, self.thought, self.reply))
        return Rewards(total, {str(k): _plain(v) for k, v in self.parts.items()}, thought, reply, str(self.collapsed or ""))


Reward = Callable[[Sequence[Rollout]], Rewards]
"""Rewards of whole groups of rollouts.

One that depends on more than the rollouts it is given may have two more methods: `state()`
returns what it remembers (numbers, texts, tensors, lists and dictionaries of them), which is kept
in the checkpoint, and `restore(state)` takes it back when a killed run goes on. When training goes
back after a collapse the reward keeps what it has learnt, as the ledger keeps what was spent.
One with terms that begin late may have `progress(share)`, which is told before every step how much
of training is over, in [0, 1].
"""


def _plain(values: Iterable[Any]) -> list[float]:
    """Numbers of any library as Python's own."""
    return [math.nan if x is None or not math.isfinite(x) else float(x) for x in values]


def with_memory(reward: Reward, of: Any) -> Reward:
    """`reward`, which asks `of`, with the memory of `of` and its sense of progress, where it has them."""
    for name in ("state", "restore", "progress"):
        if hasattr(of, name):
            setattr(reward, name, getattr(of, name))
    return reward
