"""The records that travel between the parts: an example, a rollout, a corpus, a watch's answer, and bad input."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

Kind = Literal["harmful", "borderline", "benign", "task"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
CANNOT_WRITE = DISK | {errno.EACCES, errno.EPERM}
"""Errors of the system that the user must mend: no room, or no right to write there."""


@dataclass(frozen=True, slots=True)
class Example:
    """A curated prompt, with a demonstration where there is one.

    `category` names the harm of a harmful prompt, and the harm a borderline one resembles.
    `answer` is what a task's reply is checked against. `thought` and `reply` are the
    demonstration; an example without a reply has none. `twin` is the id of the benign twin.
    Prompts that ask the same thing in other words share a `meaning`: intervals resample those.
    `counter` is a counter-aligned beginning of a thought: unsafe where the prompt is harmful,
    over-refusing where it is not. `prefill` is text that already stands at the beginning of the
    thought when the policy takes over; it counts as prompt, is not judged and teaches nothing. What
    stands in it after a `</think>` begins the reply, and is judged with it. `turns` are what was said
    before the prompt, (role, text) each. `plain` is the harm that a prompt disguises or leads up to, in
    bare words: of a harmful prompt judges read that.
    """

    id: str
    prompt: str
    kind: Kind
    category: str = ""
    answer: str = ""
    thought: str = ""
    reply: str = ""
    twin: str = ""
    source: str = ""
    meaning: str = ""
    counter: str = ""
    prefill: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    plain: str = ""

    @property
    def cluster(self) -> str:
        """What rollouts must share to count as one draw: the meaning, or the prompt itself."""
        return self.meaning or self.id

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Example:
        known = {f.name for f in fields(cls)}
        turns = tuple((str(role), str(text)) for role, text in row.get("turns") or ())
        return cls(**{**{k: v for k, v in row.items() if k in known}, "turns": turns})


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion, split into thought and reply.

    `truncated`: the token limit came before the end; `looped`: it was cut off because it only
    repeated itself, and is truncated too. `well_formed`: the thought was closed once and a reply
    follows. Token ids and log-probabilities (nats, at the sampling temperature) are those of the
    completion; a rollout read from a file may lack them. Completion tokens before `fresh_from`
    were sampled by an earlier policy.
    """

    example: Example
    thought: str
    reply: str
    truncated: bool = False
    well_formed: bool = True
    thought_tokens: int = 0
    reply_tokens: int = 0
    prompt_ids: tuple[int, ...] = ()
    completion_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = field(default=(), repr=False)
    fresh_from: int = 0
    looped: bool = False


Signal = Callable[[Sequence[Rollout]], list[float]]
"""A question asked of rollouts: one number each, nan meaning "could not tell"."""


@dataclass(frozen=True)
class Corpus:
    """Examples by split, and which harm categories each split may hold.

    `train` feeds SFT and RL, `validation` selects and stops, `test` is only measured. Test
    holds prompts of *every* category (fresh ones of the trained categories too), so
    `roles` says how to read it: role → categories, roles being train, validation, test.
    """

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    roles: dict[str, list[str]] = field(default_factory=dict)

    @property
    def demonstrations(self) -> list[Example]:
        """Training examples that carry a reply to imitate."""
        return [e for e in self.train if e.reply]

    def role(self, category: str) -> str:
        """The role of a harm category: "train" where no role names it."""
        return next((r for r, names in self.roles.items() if category in names), "train")


@dataclass(frozen=True)
class Answer:
    """What a watch found in a step: `measured` goes into the step's line as `watch`, each alarm names its evidence.

    An alarm has at least `name`, `step`, `value`, `threshold` and `evidence`. "roll back" takes the
    policy to its last good checkpoint instead of updating it, "stop" ends training after the step.
    """

    measured: Mapping[str, float] = field(default_factory=dict)
    alarms: Sequence[Mapping[str, Any]] = ()
    action: Literal["", "roll back", "stop"] = ""
    why: str = ""


class BadInput(Exception):
    """Input the user can mend: what is wrong, where, and the remedy, in one line.

    The command line prints it and exits with code 3.

    >>> print(BadInput("no column 'prompt'", "data.csv", "map one with columns.prompt=NAME"))
    no column 'prompt' (data.csv): map one with columns.prompt=NAME
    """

    def __init__(self, what: str, where: str = "", remedy: str = "") -> None:
        line = what + (f" ({where})" if where else "") + (f": {remedy}" if remedy else "")
        super().__init__(" ".join(line.split()))
