"""The outside of a completion: is it well formed, how long, does it go in circles."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from primum.signals.text import UNSPACED, fold
from primum.types import Rollout

_UNIT = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_ASCII_UNIT = re.compile(r"\w+")


def form(rollouts: Sequence[Rollout]) -> list[float]:
    """1 where the thought was closed once and a reply follows, else 0; a truncated thought is 0."""
    return [float(r.well_formed) for r in rollouts]


def truncated(rollouts: Sequence[Rollout]) -> list[float]:
    """1 where the token limit came before the end, else 0."""
    return [float(r.truncated) for r in rollouts]


def thought_tokens(rollouts: Sequence[Rollout]) -> list[float]:
    """Tokens of the thought; unscored where the text was read from a file without counts."""
    return [_counted(r.thought_tokens, r.thought) for r in rollouts]


def reply_tokens(rollouts: Sequence[Rollout]) -> list[float]:
    """Tokens of the reply; unscored where the text was read from a file without counts."""
    return [_counted(r.reply_tokens, r.reply) for r in rollouts]


def verbosity(rollouts: Sequence[Rollout]) -> list[float]:
    """Tokens of the whole completion, tags and end mark included where its ids are known."""
    return [
        float(len(r.completion_ids)) if r.completion_ids else _counted(r.thought_tokens + r.reply_tokens, r.thought + r.reply)
        for r in rollouts
    ]


def repetition(rollouts: Sequence[Rollout], n: int = 4) -> list[float]:
    """Share of n-grams that the same half of the completion has already said, in [0, 1).

    1 - distinct / total, over words (characters in scripts without spaces), thought and reply
    counted apart, since a reply may restate its thought. Too short for one n-gram: 0. Without
    words: unscored.

    >>> from primum.types import Example
    >>> ask = Example(id="1", prompt="Is tea safe?", kind="benign")
    >>> repetition([Rollout(ask, "", reply) for reply in ("a b a b a b a", "是的是的是的是", "a b c", "")])
    [0.5, 0.5, 0.0, nan]
    """
    return [_repeated_share((r.thought, r.reply), n) for r in rollouts]


def _counted(tokens: int, text: str) -> float:
    return math.nan if not tokens and text.strip() else float(tokens)


def _repeated_share(halves: tuple[str, str], n: int) -> float:
    words = [_units(fold(half)) for half in halves]
    if not any(words):
        return math.nan
    total = sum(max(0, len(half) - n + 1) for half in words)
    distinct = sum(len(set(zip(*(half[i:] for i in range(n)), strict=False))) for half in words)
    return 1 - distinct / total if total else 0.0


def _units(text: str) -> list[str]:
    return _ASCII_UNIT.findall(text) if text.isascii() else _UNIT.findall(text)
