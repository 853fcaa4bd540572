"""Several judges as one: ensembles, their disagreement, and cascades that ask the dear judge last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np

from primum.types import BadInput, Rollout, Signal

How = Literal["mean", "worst", "careful"]
Stage = tuple[Signal, float, float]
"""A signal, and the two values that decide: at most the first is harmless, at least the second is harmful."""


def ensemble(signals: Sequence[Signal], how: How = "mean", penalty: float = 1.0) -> Signal:
    """A signal: what several harm signals say together, in [0, 1] where they are.

    mean: their average. worst: their maximum, so one alarmed member suffices (Coste et al. 2023, arXiv:2310.02743).
    careful: mean + `penalty` · standard deviation (population), clipped to [0, 1]: disagreement counts as harm.
    A member that cannot tell (nan) is left out; where none can, nan.

    >>> say = lambda *values: lambda rollouts: list(values)
    >>> two = [say(0.25, 0.5, math.nan), say(0.75, math.nan, math.nan)]
    >>> [ensemble(two, how)([None] * 3) for how in ("mean", "worst", "careful")]
    [[0.5, 0.5, nan], [0.75, 0.5, nan], [0.75, 0.5, nan]]
    """
    if not signals:
        raise BadInput("an ensemble without members", remedy="name at least one signal")
    if how not in ("mean", "worst", "careful"):
        raise BadInput(f"no ensemble '{how}'", remedy="choose mean, worst or careful")
    return partial(_together, signals=tuple(signals), how=how, penalty=penalty)


def spread(signals: Sequence[Signal]) -> Signal:
    """A signal: the population standard deviation of what the members say; nan where fewer than two can tell.

    >>> say = lambda *values: lambda rollouts: list(values)
    >>> spread([say(0.25, 0.5), say(0.75, math.nan)])([None] * 2)
    [0.25, nan]
    """
    return partial(_apart, signals=tuple(signals))


def cascade(stages: Sequence[Stage]) -> Signal:
    """A signal: the first stage's answer that decides (value ≤ low or ≥ high), else the last stage's answer, whatever it is.

    Only undecided rollouts go on, so a costly judge at the end is asked little. nan is undecided; at the
    last stage it stands, for then nobody could tell. The last stage's bounds are not looked at.

    >>> rule = lambda rs: [0.0 if r == "tea" else 1.0 if r == "bomb" else math.nan for r in rs]
    >>> judge = lambda rs: [0.75 for r in rs]
    >>> cascade([(rule, 0.0, 1.0), (judge, 0.0, 1.0)])(["tea", "bomb", "lamp"])
    [0.0, 1.0, 0.75]
    """
    if not stages:
        raise BadInput("a cascade without stages", remedy="name at least one (signal, low, high)")
    if any(not low <= high for _, low, high in stages):
        raise BadInput("a stage's low is above its high", remedy="give (signal, low, high) with low at most high")
    return partial(_in_turn, stages=tuple(stages))


def _asked(rollouts: Sequence[Rollout], signals: Sequence[Signal]) -> np.ndarray:
    """What each member says of each rollout, members by rollouts."""
    answers = [[float(x) for x in signal(rollouts)] for signal in signals]
    wrong = next((len(a) for a in answers if len(a) != len(rollouts)), None)
    if wrong is not None:
        raise BadInput(f"a member gave {wrong} numbers for {len(rollouts)} rollouts", remedy="return one for each, nan if unsure")
    return np.array(answers, dtype=float).reshape(len(signals), len(rollouts))


def _together(rollouts: Sequence[Rollout], *, signals: Sequence[Signal], how: str, penalty: float) -> list[float]:
    return [_one(column[~np.isnan(column)], how, penalty) for column in _asked(rollouts, signals).T]


def _one(told: np.ndarray, how: str, penalty: float) -> float:
    if not len(told):
        return math.nan
    if how == "worst":
        return float(told.max())
    if how == "mean":
        return float(told.mean())
    return float(np.clip(told.mean() + penalty * told.std(), 0.0, 1.0))


def _apart(rollouts: Sequence[Rollout], *, signals: Sequence[Signal]) -> list[float]:
    columns = (column[~np.isnan(column)] for column in _asked(rollouts, signals).T)
    return [float(told.std()) if len(told) > 1 else math.nan for told in columns]


def _in_turn(rollouts: Sequence[Rollout], *, stages: Sequence[Stage]) -> list[float]:
    out = [math.nan] * len(rollouts)
    open_ = list(range(len(rollouts)))
    for signal, low, high in stages:
        if not open_:
            break
        answers = [float(x) for x in signal([rollouts[i] for i in open_])]
        for i, value in zip(open_, answers, strict=True):
            out[i] = value
        open_ = [i for i in open_ if not (out[i] <= low or out[i] >= high)]
    return out
