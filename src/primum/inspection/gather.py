"""One call for many: things that are asked for at the same time are worked on together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

PAUSE_SECONDS = 0.02  # in which others may come before the first is worked on

Thing = TypeVar("Thing")
Found = TypeVar("Found")


@dataclass(slots=True, eq=False)
class _Place(Generic[Thing, Found]):
    """A thing in the queue, and what came of it."""

    thing: Thing
    found: list[Found]
    error: Exception | None = None


class Gather(Generic[Thing, Found]):
    """`work` on lists, awaited one thing at a time: whoever comes first takes along all who wait.

    `work` runs in a thread, once at a time; what it raises is raised to everyone it worked for.
    """

    def __init__(self, work: Callable[[Sequence[Thing]], Sequence[Found]]) -> None:
        self._work = work
        self._waiting: list[_Place[Thing, Found]] = []
        self._turn = anyio.Lock()

    async def __call__(self, thing: Thing) -> Found:
        place: _Place[Thing, Found] = _Place(thing, [])
        self._waiting.append(place)
        async with self._turn:
            if not place.found and place.error is None:
                await anyio.sleep(PAUSE_SECONDS)
                together, self._waiting = self._waiting, []
                await anyio.to_thread.run_sync(self._answer, together)
        if place.error is not None:
            raise place.error
        return place.found[0]

    def _answer(self, together: list[_Place[Thing, Found]]) -> None:
        try:
            for place, found in zip(together, self._work([p.thing for p in together]), strict=True):
                place.found.append(found)
        except Exception as error:
            for place in together:
                place.error = error
