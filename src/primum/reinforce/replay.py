"""Groups that taught something, kept to be learnt from again with the log-probabilities they were sampled with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from primum.reinforce.config import DataConfig
from primum.reinforce.group import Group


def recall(kept: Sequence[Group], data: DataConfig, *, seed: int, step: int) -> list[Group]:
    """`replay_groups` of the groups kept, drawn evenly; all where there are fewer."""
    count = min(data.replay_groups, len(kept))
    order = np.random.default_rng([seed, step, len(kept)]).permutation(len(kept))
    return [kept[i] for i in sorted(order[:count])]


def remember(kept: Sequence[Group], new: Sequence[Group], data: DataConfig) -> list[Group]:
    """The latest `replay_keep` groups, those of this step last; none where nothing is replayed."""
    return [*kept, *new][-data.replay_keep :] if data.replay_groups else []
