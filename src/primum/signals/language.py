"""Which scripts a completion is written in, against those of its prompt.

Scripts, not languages: pinyin, romanised Hindi and a foreign word in the prompt's own script
pass unseen. Code, formulas, links and lone letters (x, π) are no language and are left out,
so what hides in a code block passes unseen too.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from primum.types import Rollout

_SYMBOLS = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.{0,2000}?\$\$|\$[^$\n]*[\\^_={}][^$\n]*\$|\\\(.{0,500}?\\\)|\\\[.{0,2000}?\\\]|\\[A-Za-z]+|https?://\S+",
    re.DOTALL,
)
_MARKS_OF_SYMBOLS = re.compile(r"[`$\\]|://")
_ALPHABET = "A-Za-zÀ-ɏͰ-Ͽ"
_LONE = re.compile(rf"[{_ALPHABET}](?![{_ALPHABET}'’])(?<![{_ALPHABET}'’].)")
_ASCII = re.compile(r"[\x00-\x7f]+")
_ASCII_SIGNS = bytes(i for i in range(128) if not chr(i).isalpha())
_NOT_LETTERS = ("MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "FEMININE", "MASCULINE", "MICRO", "MODIFIER")
_HAN, _KANA = "CJK", "KANA"


def language_mixing(rollouts: Sequence[Rollout]) -> list[float]:
    """Share of a completion's letters in a script its prompt never uses, in [0, 1].

    Mixing marks RL without a cold start (DeepSeek-AI 2025, arXiv:2501.12948). Where the prompt
    has kana, Han belongs to it. A completion or a prompt without letters is unscored; a
    truncated completion is judged on what it wrote.

    >>> from primum.types import Example
    >>> ask = Example(id="1", prompt="Is tea safe?", kind="benign")
    >>> language_mixing([Rollout(ask, "", reply) for reply in ("yes", "yes 是的", "42")])
    [0.0, 0.4, nan]
    """
    return [_foreign_share(f"{r.thought}\n{r.reply}", r.example.prompt) for r in rollouts]


def foreign_in_thought(rollouts: Sequence[Rollout]) -> list[float]:
    """`language_mixing` of the thought alone."""
    return [_foreign_share(r.thought, r.example.prompt) for r in rollouts]


def foreign_in_reply(rollouts: Sequence[Rollout]) -> list[float]:
    """`language_mixing` of the reply alone.

    >>> from primum.types import Example
    >>> mixed = Rollout(Example(id="1", prompt="Is tea safe?", kind="benign"), "是的", "yes")
    >>> foreign_in_thought([mixed]), foreign_in_reply([mixed])
    ([1.0], [0.0])
    """
    return [_foreign_share(r.reply, r.example.prompt) for r in rollouts]


def prose(text: str) -> str:
    """`text` without code, formulas and links."""
    return _SYMBOLS.sub(" ", text) if _MARKS_OF_SYMBOLS.search(text) else text


def scripts(text: str) -> dict[str, int]:
    """Letters by script, by the first word of their Unicode names; Hiragana and Katakana are KANA.

    >>> scripts("Tea 茶 (π = 3.14) お茶")
    {'LATIN': 3, 'CJK': 2, 'KANA': 1}
    """
    plain = _LONE.sub(" ", prose(text))
    latin = len(plain.encode("ascii", "ignore").translate(None, _ASCII_SIGNS))
    counts = {"LATIN": latin} if latin else {}
    for char, n in Counter(_ASCII.sub("", plain)).items():
        if script := _script(char):
            counts[script] = counts.get(script, 0) + n
    return counts


@lru_cache(maxsize=65536)
def _script(char: str) -> str:
    if not char.isalpha():
        return ""
    name = unicodedata.name(char, "")
    if name.startswith(_NOT_LETTERS):
        return ""
    first = unicodedata.name(unicodedata.normalize("NFKC", char)[0], "").split(" ", 1)[0]
    if first in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"):
        return _KANA
    return _HAN if first in ("CJK", "IDEOGRAPHIC") else first


@lru_cache(maxsize=8192)  # siblings share a prompt
def _prompt_scripts(prompt: str) -> dict[str, int]:
    return scripts(prompt)


def _foreign_share(text: str, prompt: str) -> float:
    used, home = scripts(text), _prompt_scripts(prompt)
    letters = sum(used.values())
    if not letters or not home:
        return math.nan
    native = sum(n for script, n in used.items() if script in home or (script == _HAN and _KANA in home))
    return (letters - native) / letters
