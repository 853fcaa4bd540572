"""What an update learns from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from primum.types import Rollout


@dataclass
class Batch:
    """The rollouts to learn from, with what the loss needs of each token; T is the longest completion.

    `mask_NT` is true at the tokens that learn: real ones, sampled by the present policy.
    `weights_NT` is what each of them counts in the loss of the whole batch.
    """

    rollouts: list[Rollout]
    advantages_NT: Tensor
    weights_NT: Tensor
    old_NT: Tensor
    mask_NT: Tensor
    reference_NT: Tensor | None = None

    def take(self, rows: list[int]) -> Batch:
        """These rows, cut to their own longest completion."""
        rollouts = [self.rollouts[i] for i in rows]
        longest = max(len(r.completion_ids) for r in rollouts)
        cut = [
            x if x is None else x[rows, :longest]
            for x in (self.advantages_NT, self.weights_NT, self.old_NT, self.mask_NT, self.reference_NT)
        ]
        return Batch(rollouts, *cut)  # type: ignore[arg-type]
