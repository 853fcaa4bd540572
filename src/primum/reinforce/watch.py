"""What may look over the loop's shoulder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from primum.policy import Policy
from primum.reward.types import Rewards
from primum.types import Answer, Rollout


class Watch(Protocol):
    """Asked once a step, after the rewards and before the update. Its state is kept in every checkpoint.

    When training goes back after a collapse a watch keeps what it has seen, as the ledger keeps what was spent.
    """

    def observe(
        self, step: int, rollouts: Sequence[Rollout], rewards: Rewards, policy: Policy, row: Mapping[str, float]
    ) -> Answer: ...
    def state(self) -> Any: ...
    def restore(self, state: Any) -> None: ...
