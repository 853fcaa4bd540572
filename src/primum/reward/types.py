"""What a reward gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from primum.types import Rollout


@dataclass(frozen=True)
class Rewards:
    """One total a rollout (nan: unscored, trains nothing), and the parts it was made of."""

    total: list[float]
    parts: dict[str, list[float]]


Reward = Callable[[Sequence[Rollout]], Rewards]
