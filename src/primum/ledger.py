"""The ledger: what was spent, on which part of the work, and the most memory it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# What a stage spends on: rollouts, forward passes alone, the reward, gradients and optimiser, and measuring where it stands.
Part = Literal["sample", "score", "reward", "update", "evaluate"]
COUNTS = ("flops", "sampled_tokens", "trained_tokens", "oracle_queries", "seconds")


@dataclass(slots=True)
class Spent:
    """What one part of a stage took: tokens sampled, scored, judged or trained on, and seconds, 0 where nobody timed it."""

    flops: float = 0.0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Ledger:
    """What was spent, and on which parts of the work.

    Tokens are model tokens; an oracle query is one answer of the metered judge. `flops` is the
    whole; `parts` says where it went, as far as the work was booked with `charge`. `peak_mib`
    is the most memory held at once while a clock ran.
    """

    flops: float = 0.0
    sampled_tokens: int = 0
    trained_tokens: int = 0
    oracle_queries: int = 0
    seconds: float = 0.0
    peak_mib: float = 0.0
    parts: dict[str, Spent] = field(default_factory=dict)

    def charge(self, part: Part, *, flops: float = 0.0, tokens: int = 0) -> None:
        """Book work under its part, and in the totals: sampled tokens are those of sampling and of evaluation.

        >>> ledger = Ledger()
        >>> ledger.charge("sample", flops=2.0, tokens=3)
        >>> ledger.charge("update", flops=6.0, tokens=3)
        >>> ledger.flops, ledger.sampled_tokens, ledger.trained_tokens, ledger.parts["update"].flops
        (8.0, 3, 3, 6.0)
        """
        self.flops += flops
        self.sampled_tokens += tokens if part in ("sample", "evaluate") else 0
        self.trained_tokens += tokens if part == "update" else 0
        self._enter(part, Spent(flops, tokens))

    def add(self, other: Ledger) -> None:
        """Sums, but of two peaks the higher."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.peak_mib = max(self.peak_mib, other.peak_mib)
        for part, spent in other.parts.items():
            self._enter(part, spent)

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over saved counts, in place: whoever holds this ledger goes on adding to it. What is not there is 0."""
        for name in (*COUNTS, "peak_mib"):
            setattr(self, name, saved.get(name, 0))
        self.parts = {part: Spent(**spent) for part, spent in saved.get("parts", {}).items()}

    @contextmanager
    def clock(self, part: Part | None = None) -> Iterator[None]:
        """Add the wall time of the block to the whole, and look at its peak of memory; with a part, only to that part,
        for a block inside one that is clocked already."""
        if part is None:
            forget_peak()
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            if part is None:
                self.seconds += seconds
                self.peak_mib = max(self.peak_mib, peak_mib())
            else:
                self._enter(part, Spent(seconds=seconds))

    def _enter(self, part: str, spent: Spent) -> None:
        mine = self.parts.setdefault(part, Spent())
        mine.flops += spent.flops
        mine.tokens += spent.tokens
        mine.seconds += spent.seconds


def total(ledgers: Iterable[Ledger]) -> Ledger:
    """The sum of several ledgers."""
    out = Ledger()
    for ledger in ledgers:
        out.add(ledger)
    return out


def peak_mib() -> float:
    """The most memory held at once, in MiB: the GPU's where one was used, else this process's; 0 where the system does not tell.

    It is counted since `forget_peak` where the system can forget, since the process began elsewhere. On Linux it is read
    from /proc: what getrusage tells there, a process inherits from the one that started it.
    """
    if (gpu := _gpu()) is not None:
        return gpu.max_memory_allocated() / 2**20
    try:
        told = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(told.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # not on this system
        return 0.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Let the peak begin anew, where the system can."""
    if (gpu := _gpu()) is not None:
        gpu.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass


def _gpu() -> Any:
    """torch.cuda where this process has used it; torch is not loaded for the asking."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None
