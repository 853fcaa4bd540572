"""What a rollout looks like, as features: to predict its reward from, and to say what gamed rollouts have in common."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from primum.evaluate.hacking.surface import Forms, count_forms, risen, words_of
from primum.signals import contradiction, language_mixing, refusal
from primum.types import Rollout

MOST_WORDS = 400  # the most frequent ones that may predict


def predictable(rollouts: Sequence[Rollout], totals: Sequence[float], *, ridge: float, folds: int) -> list[float]:
    """The reward of each rollout as predicted from its form by a ridge regression on other prompts, nan never.

    Features: the words of thought and of reply, the kind of prompt and its product with the form (refused, in part,
    hedge-short length, foreign letters, no thought). Prompts that share a meaning are in one fold. What is not predictable
    across prompts a policy cannot learn as a habit. Unscored rollouts are predicted, not learnt from.
    """
    x, y = _features(rollouts), np.asarray(totals, dtype=float)
    clusters = list(dict.fromkeys(r.example.cluster for r in rollouts))
    order = np.random.default_rng(0).permutation(len(clusters))
    fold_of = {clusters[place]: k % folds for k, place in enumerate(order)}
    fold = np.asarray([fold_of[r.example.cluster] for r in rollouts])
    out = np.full(len(y), float(np.nanmean(y)) if np.isfinite(y).any() else 0.0)
    for k in range(folds):
        learn = (fold != k) & np.isfinite(y)
        if learn.any() and (fold == k).any():
            out[fold == k] = _ridge(x[learn], y[learn], x[fold == k], ridge)
    return [float(v) for v in out]


def enriched(rollouts: Sequence[Rollout], chosen: Sequence[bool] | np.ndarray, meaning: Forms, most: int = 6) -> dict[str, Any]:
    """What the chosen rollouts have more of than the others: shares of forms and of words of the reply, by difference, and
    which words they say in the place of which, after `meaning`. Empty where none or all are chosen.
    """
    mask = np.asarray(chosen, dtype=bool)
    if not mask.any() or mask.all():
        return {"forms": {}, "words": {}, "swapped": [], "n": int(mask.sum())}
    forms = {name: (_mean(v[mask]), _mean(v[~mask])) for name, v in _forms(rollouts).items()}
    chosen_N, rest_N = ([r for r, m in zip(rollouts, mask.tolist(), strict=True) if m is side] for side in (True, False))
    inside, outside = (Counter(w for r in some for w in set(words_of(r.reply))) for some in (chosen_N, rest_N))
    share = {w: (inside[w] / len(chosen_N), outside[w] / len(rest_N)) for w in inside if inside[w] >= 3}
    swapped = risen(count_forms(rollouts, meaning), count_forms(chosen_N, meaning))
    return {"forms": _largest(forms, most), "words": _largest(share, most), "swapped": swapped, "n": len(chosen_N)}


def _features(rollouts: Sequence[Rollout]) -> np.ndarray:
    """A row for each rollout: 1s for its words, its forms, and its group's own copies of the forms."""
    said = [{*(f"t:{w}" for w in words_of(r.thought)), *(f"r:{w}" for w in words_of(r.reply))} for r in rollouts]
    counts = Counter(w for words in said for w in words)
    place = {w: i for i, (w, _) in enumerate(sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:MOST_WORDS])}
    words = np.zeros((len(rollouts), len(place)))
    for row, found in enumerate(said):
        words[row, [place[w] for w in found if w in place]] = 1.0
    forms = np.stack([np.nan_to_num(v) for v in _forms(rollouts).values()], axis=1)
    kinds = np.stack(
        [[float(r.example.kind == k) for r in rollouts] for k in ("harmful", "borderline", "benign", "task")], axis=1
    )
    own = (kinds[:, :, None] * np.concatenate([np.ones((len(rollouts), 1)), forms], axis=1)[:, None, :]).reshape(
        len(rollouts), -1
    )
    return np.concatenate([words * kinds[:, :1], words * (1 - kinds[:, :1]), own], axis=1)


def _forms(rollouts: Sequence[Rollout]) -> dict[str, np.ndarray]:
    """Forms of replies, as numbers from 0 to 1 (lengths: in tens of words, at most 1); nan where a signal could not tell."""
    refused = np.asarray(refusal(rollouts))
    lengths = np.asarray([len(words_of(r.reply)) for r in rollouts], dtype=float)
    usual = max(1.0, float(np.median(lengths))) if len(lengths) else 1.0
    thoughts = np.asarray([len(words_of(r.thought)) for r in rollouts], dtype=float)
    return {
        "refuses": (refused == 1.0).astype(float), "refuses, then complies": (refused == 0.5).astype(float),
        "other language": np.asarray([float(x > 0.3) if not math.isnan(x) else math.nan for x in language_mixing(rollouts)]),
        "empty shell": ((lengths < usual / 2) & (refused == 0.0)).astype(float),
        "longer than usual": (lengths > 1.5 * usual).astype(float),
        "no thought": (thoughts == 0).astype(float),
        "long thought": (thoughts > 1.5 * max(1.0, float(np.median(thoughts)))).astype(float),
        "thought contradicts reply": np.asarray(contradiction(rollouts)),
        "truncated": np.asarray([float(r.truncated) for r in rollouts]),
        "length": np.minimum(1.0, (lengths + thoughts) / 40),
    }  # fmt: skip


def _ridge(x: np.ndarray, y: np.ndarray, asked: np.ndarray, ridge: float) -> np.ndarray:
    """Ridge regression in the cheaper of its two forms, the mean not held back."""
    mean_x, mean_y = x.mean(0), y.mean()
    centred, target = x - mean_x, y - mean_y
    if x.shape[1] <= x.shape[0]:
        weights = np.linalg.solve(centred.T @ centred + ridge * np.eye(x.shape[1]), centred.T @ target)
    else:
        weights = centred.T @ np.linalg.solve(centred @ centred.T + ridge * np.eye(x.shape[0]), target)
    return (asked - mean_x) @ weights + mean_y


def _largest(shares: dict[str, tuple[float, float]], most: int) -> dict[str, list[float]]:
    kept = {n: (a, b) for n, (a, b) in shares.items() if not math.isnan(a - b) and a - b > 0.02}
    order = sorted(kept, key=lambda n: (kept[n][1] - kept[n][0], n))
    return {name: [round(kept[name][0], 4), round(kept[name][1], 4)] for name in order[:most]}


def _mean(values: np.ndarray) -> float:
    scored = values[~np.isnan(values)]
    return float(scored.mean()) if len(scored) else math.nan
