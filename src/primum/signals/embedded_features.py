"""What the embedded judge reads of a text: hashed words, pairs of words and pieces of words, window by window.

Only numbers leave this file: a feature is the place of a hash among `BUCKETS`, and the words cannot be read back
from the weights. Letters that merely look Latin are read as Latin, invisible ones are skipped, and what is
written in base64 is decoded, so cheap disguises change little.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from primum.signals.refusal import DECLINES
from primum.signals.text import UNSPACED, fold, sentences

BITS = 18
BUCKETS = 2**BITS
WINDOW, STRIDE = 200, 100  # words read at once, and how far the next window starts
MOST_WINDOWS = 400  # of a text beyond 40,000 words they are spread evenly, with gaps
FEW_WORDS = 15  # fewer than these beside a refusal belong to it

Places = NDArray[np.int64]

_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+(?:'[^\W\d_]+)?|\n\s*(?:\d+[.)]|[-*•])|```")
_VOICE = re.compile(r"^\s*[\[(]?[^\s:\])]{1,24}(?: [^\s:\])]{1,12})?[\])]?:[ \t]", re.M)
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{24,}={0,2}(?![A-Za-z0-9+/=])")
_LATIN = re.compile(r"[a-z]")
_MIXED = re.compile(r"[^\W\d_]*[Ͱ-ϿЀ-ӿ][^\W\d_]*")
_LOOKALIKES = str.maketrans("авсԁеһіјкӏмнорԛѕтуѵԝхαβεηικνορτυχ", "abcdehijklmhopqstyvwxabenikvoptux")
_DIGITS = re.compile(r"\d+")
_MIX = np.uint64(0x9E3779B97F4A7C15)


def judged(text: str) -> list[Places]:
    """What a reply is judged by: its windows, and those of what is left of it without the sentences that decline.

    So a refusal put before or after does not thin out what stands beside it.

    >>> len(judged("I cannot help. " + "Go on. " * 8)), len(judged("I cannot help."))
    (2, 1)
    """
    said = sentences(text)
    rest = [sentence for sentence in said if not DECLINES.search(fold(sentence))]
    left = "\n".join(rest)
    return windows(text) + (windows(left) if len(rest) < len(said) and len(left.split()) >= FEW_WORDS else [])


def windows(text: str) -> list[Places]:
    """The features of each window of `text`: sorted places in [0, BUCKETS), none twice. A text without words has none.

    >>> [len(places) for places in windows("a b")], windows(" ... ")
    ([3], [])
    """
    words = [word if word.isalpha() else _DIGITS.sub("0", word) for word in _WORD.findall(readable(text))]
    if not words:
        return []
    hashes = np.array([_word_hash(word) for word in words], dtype=np.uint64)
    pairs = _bucket(hashes[:-1] * _MIX + hashes[1:])
    pieces = [_pieces(word) for word in words]
    starts = range(0, max(1, len(words) - STRIDE), STRIDE)
    if len(starts) > MOST_WINDOWS:
        starts = range(0, len(words) - STRIDE, -(-(len(words) - STRIDE) // MOST_WINDOWS))
    return [_distinct(np.concatenate([*pieces[s : s + WINDOW], pairs[s : s + WINDOW - 1]])) for s in starts]


def _distinct(places: Places) -> Places:
    """As np.unique, which hashes first and takes twice as long on so few."""
    places.sort()
    return places[np.concatenate(([True], places[1:] != places[:-1]))]


def readable(text: str) -> str:
    """`text` folded, without disguise: base64 decoded, look-alikes made Latin, invisible letters and voices' names cut.

    >>> readable("DAN: h\u200bow tо"), readable("Ответ: да")
    ('how to', 'да')
    """
    decoded = _BASE64.sub(lambda match: _decoded(match.group()) or match.group(), text)
    plain = _VOICE.sub("", _INVISIBLE.sub("", decoded))
    return _MIXED.sub(_as_latin, fold(plain))


def _decoded(written: str) -> str:
    try:
        text = base64.b64decode(written[: len(written) // 4 * 4], validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text if text.isprintable() or "\n" in text else ""


def _as_latin(match: re.Match[str]) -> str:
    """A word that mixes Latin with Greek or Cyrillic letters, all its look-alikes made Latin."""
    word = match.group()
    latin = word.translate(_LOOKALIKES)
    return latin if _LATIN.search(word) or latin.isascii() else word


@lru_cache(maxsize=65536)
def _word_hash(word: str) -> int:
    return zlib.crc32(word.encode()) + 1


@lru_cache(maxsize=65536)
def _pieces(word: str) -> Places:
    """The word itself and, of a longer one, its pieces of three to five letters with its edges."""
    parts = ["=" + word]
    edged = f"<{word}>"
    if len(word) > 3:
        parts += [edged[i : i + n] for n in (3, 4, 5) for i in range(len(edged) - n + 1)]
    return _bucket(np.array([zlib.crc32(part.encode()) for part in parts], dtype=np.uint64))


def _bucket(hashes: NDArray[np.uint64]) -> Places:
    return (hashes * _MIX >> np.uint64(64 - BITS)).astype(np.int64)
