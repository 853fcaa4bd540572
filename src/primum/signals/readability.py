"""How hard a text is to read, by the length of its sentences and words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from primum.signals.language import prose
from primum.signals.text import sentences
from primum.types import Rollout

LONG = 7  # letters of a long word, at the least
_ALPHABETIC = "A-Za-zÀ-ÖØ-öø-ɏͰ-ϿЀ-ӿ"  # Latin, Greek, Cyrillic
_WORD = re.compile(rf"[{_ALPHABETIC}]+(?:['’-][{_ALPHABETIC}]+)*")
_OTHER = re.compile(rf"[^\W\d_{_ALPHABETIC}]")
_JOINTS = str.maketrans("", "", "'’-")


def lix(rollouts: Sequence[Rollout], half: Literal["reply", "thought"] = "reply") -> list[float]:
    """LIX of the reply or the thought: words / sentences + 100 · long words / words; higher is harder, 20 to 60 in most prose.

    Björnsson 1968, Läsbarhet. A long word has more than six letters; an item of a list or a line is a sentence. Made for
    alphabets: where most letters are not Latin, Greek or Cyrillic it is unscored, and so is a half without words. Code,
    formulas and links are left out. A truncated half is judged on what it wrote.

    >>> from primum.types import Example
    >>> ask = Example(id="1", prompt="Is tea safe?", kind="benign")
    >>> lix([Rollout(ask, "", reply) for reply in ("Tea is good. Remarkably refreshing tea helps.", "是的。", "42")])
    [32.07142857142857, nan, nan]
    """
    return [_lix(r.thought if half == "thought" else r.reply) for r in rollouts]


def _lix(text: str) -> float:
    text = prose(text)
    words = _WORD.findall(text)
    if not words or len(_OTHER.findall(text)) > sum(map(len, words)):
        return math.nan
    said = sum(bool(_WORD.search(sentence)) for sentence in sentences(text))
    long = sum(len(word.translate(_JOINTS)) >= LONG for word in words if len(word) >= LONG)
    return len(words) / said + 100 * long / len(words)
