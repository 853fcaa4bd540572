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


class Together:
    """Several watches as one: the first "stop" is what it answers, else the first "roll back"."""

    def __init__(self, watches: Mapping[str, Watch]) -> None:
        self.watches = watches

    def observe(
        self, step: int, rollouts: Sequence[Rollout], rewards: Rewards, policy: Policy, row: Mapping[str, float]
    ) -> Answer:
        answers = [watch.observe(step, rollouts, rewards, policy, row) for watch in self.watches.values()]
        acts = sorted((a for a in answers if a.action), key=lambda a: a.action != "stop")
        measured = {name: value for a in answers for name, value in a.measured.items()}
        alarms = [alarm for a in answers for alarm in a.alarms]
        return Answer(measured, alarms, acts[0].action, acts[0].why) if acts else Answer(measured, alarms)

    def state(self) -> dict[str, Any]:
        return {name: watch.state() for name, watch in self.watches.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, watch in self.watches.items():
            watch.restore(state[name])
