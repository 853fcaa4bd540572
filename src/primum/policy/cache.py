"""A key-value cache that grows in place and lets rows go without moving the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

ROOM = 64  # positions added at a time, at least


def row_cache(model: Any) -> DynamicCache:
    """An empty cache for `model`; its full-attention layers, where it has such, grow in place."""
    cache = DynamicCache(config=model.config)
    cache.layers = [RowLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class RowLayer(DynamicLayer):
    """Keys and values in a buffer with room to grow: a step writes its own position and copies nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_initialized = False
        self.count = self.length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the new positions; views of all, each rows × heads × positions × width."""
        if not self.is_initialized:  # what was read first is the buffer: most often nothing follows before rows multiply
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            self.keys, self.values = key_states, value_states
            self.count, self.length = len(key_states), key_states.shape[-2]
            return key_states, value_states
        end = self.length + key_states.shape[-2]
        if end > self.keys.shape[-2]:
            self._hold(1, end)
        self.keys[: self.count, :, self.length : end] = key_states
        self.values[: self.count, :, self.length : end] = value_states
        self.length = end
        return self.keys[: self.count, :, :end], self.values[: self.count, :, :end]

    def get_seq_length(self) -> int:
        return self.length

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._hold(repeats, self.length + 1)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order; a row that stays in its place is not moved."""
        moved = (indices != torch.arange(len(indices), device=indices.device)).nonzero()[:, 0]
        if len(moved):
            for buffer in (self.keys, self.values):
                buffer[moved, :, : self.length] = buffer[indices[moved], :, : self.length]
        self.count = len(indices)

    def _hold(self, repeats: int, positions: int) -> None:
        """A larger buffer, every row `repeats` times in it."""
        room = max(ROOM, self.length // 2)
        new = []
        for old in (self.keys, self.values):
            rows = old[: self.count, :, : self.length]
            buffer = old.new_empty(self.count * repeats, old.shape[1], positions + room, old.shape[3])
            wide = buffer.view(self.count, repeats, *buffer.shape[1:])
            wide[:, :, :, : self.length] = rows[:, None]
            new.append(buffer)
        self.keys, self.values = new
        self.count *= repeats


def repeat_rows(cache: DynamicCache, count: int, repeats: int) -> None:
    """Every one of the cache's `count` rows `repeats` times, side by side."""
    for layer in cache.layers:
        if isinstance(layer, RowLayer):
            layer.batch_repeat_interleave(repeats)
        else:
            layer.reorder_cache(torch.arange(count).repeat_interleave(repeats))  # index_select, whatever the layer keeps


def select_rows(cache: DynamicCache, rows_N: Tensor) -> None:
    """These rows of the cache, in this order."""
    for layer in cache.layers:
        if isinstance(layer, RowLayer):
            layer.batch_select_indices(rows_N)
        else:
            layer.reorder_cache(rows_N)


def closed_up(going_N: Tensor) -> Tensor:
    """The rows that go on, those from the end in the places of those that leave.

    >>> closed_up(torch.tensor([True, False, True, False, True]))
    tensor([0, 4, 2])
    """
    count = int(going_N.sum())
    order = torch.arange(count, device=going_N.device)
    order[~going_N[:count]] = going_N[count:].nonzero()[:, 0] + count
    return order
