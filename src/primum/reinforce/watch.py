"""What may look over the loop's shoulder, and what it may answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from primum.policy import Policy
from primum.reward.types import Rewards
from primum.types import Rollout


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


class Watch(Protocol):
    """Asked once a step, after the rewards and before the update. Its state is kept in every checkpoint.

    When training goes back after a collapse a watch keeps what it has seen, as the ledger keeps what was spent.
    """

    def observe(
        self, step: int, rollouts: Sequence[Rollout], rewards: Rewards, policy: Policy, row: Mapping[str, float]
    ) -> Answer: ...
    def state(self) -> Any: ...
    def restore(self, state: Any) -> None: ...
