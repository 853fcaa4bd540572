"""Near-duplicates: MinHash finds the pairs worth comparing, exact Jaccard decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from primum.curate.normalise import folded

SHINGLE = 5
BANDS, ROWS = 32, 4
"""A pair at Jaccard J is compared with probability 1 − (1 − J⁴)³²: 0.9999 at 0.7, 1 − 10⁻⁷ at 0.8."""

_rng = np.random.default_rng(0)
# Odd, so that multiplying permutes the 64-bit numbers.
MULTIPLIERS = _rng.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
OFFSETS = _rng.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)


def shingles(text: str) -> np.ndarray:
    """The distinct 5-character pieces of the folded text, as sorted 64-bit hashes; a shorter text is one piece."""
    codes = np.frombuffer(folded(text).encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < SHINGLE:
        codes = np.concatenate([codes, np.zeros(SHINGLE - len(codes), dtype=np.uint64)])
    windows = np.lib.stride_tricks.sliding_window_view(codes, SHINGLE)
    # Polynomial in an odd base, then a finaliser (murmur3's) so that the low bits mix too.
    powers = np.uint64(0x9E3779B97F4A7C15) ** np.arange(SHINGLE, dtype=np.uint64)
    hashes = (windows * powers).sum(axis=1, dtype=np.uint64)
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    return np.unique(hashes ^ (hashes >> np.uint64(33)))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Shared over all distinct shingles, in [0, 1].

    >>> jaccard(shingles("abcdef"), shingles("abcdeg"))  # abcde in both; bcdef, bcdeg in one
    0.3333333333333333
    """
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def signature(pieces: np.ndarray) -> np.ndarray:
    """MinHash of a set of shingles (Broder 1997): the share of equal entries estimates the Jaccard index."""
    mixed = pieces[:, None] * MULTIPLIERS + OFFSETS
    return ((mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)).min(axis=0)


def near_duplicates(texts: Sequence[str], threshold: float = 0.8, advance: Callable[[], None] = lambda: None) -> dict[int, int]:
    """Each text that nearly repeats an earlier kept one, and which one it repeats.

    >>> near_duplicates(["Is green tea good for a cold?", "Is tea safe?", "is green tea good for a cold"])
    {2: 0}
    """
    pieces: list[np.ndarray] = []
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    repeats: dict[int, int] = {}
    for i, text in enumerate(texts):
        pieces.append(shingles(text))
        keys = [(band, row.tobytes()) for band, row in enumerate(signature(pieces[i]).reshape(BANDS, ROWS))]
        near = sorted({j for key in keys for j in buckets.get(key, ())})
        first = next((j for j in near if jaccard(pieces[j], pieces[i]) >= threshold), None)
        if first is None:
            for key in keys:
                buckets[key].append(i)
        else:
            repeats[i] = first
        advance()
    return repeats
