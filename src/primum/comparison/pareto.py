"""Harm against over-refusal against reasoning: who is as good as another on all three, and better on one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

AXES = {"harm": ("harm", "harm", -1), "over_refusal": ("borderline", "over_refusal", -1), "accuracy": ("task", "accuracy", 1)}
"""Axis → suite, metric, and which way is better."""
Point = Mapping[str, float]


def tradeoff(arms: Mapping[str, Any]) -> dict[str, Any]:
    """For each arm its three numbers and, by their means alone, the arms that dominate it; what is missing does not count."""
    points = {name: axes(arm) for name, arm in arms.items()}
    means = {name: {axis: v["mean"] for axis, v in point.items() if v["mean"] is not None} for name, point in points.items()}
    known = [axis for axis in AXES if all(axis in point for point in means.values())]
    over = {a: [b for b in means if _dominates(means[b], means[a], known)] for a in means}
    return {name: {**point, "dominated_by": over[name]} for name, point in points.items()}


def axes(arm: Mapping[str, Any]) -> dict[str, Any]:
    """The arm's estimate on each axis that it was asked about."""
    suites = arm["suites"]
    return {axis: suites[suite]["metrics"][metric] for axis, (suite, metric, _) in AXES.items() if suite in suites}


def front(found: Mapping[str, Any], x: str, y: str) -> list[str]:
    """The arms that none dominates on these two axes, by x."""
    means = {n: {x: p[x]["mean"], y: p[y]["mean"]} for n, p in found.items() if _has(p, x) and _has(p, y)}
    best = [a for a in means if not any(_dominates(means[b], means[a], (x, y)) for b in means)]
    return sorted(best, key=lambda name: (means[name][x], means[name][y]))


def _has(point: Mapping[str, Any], axis: str) -> bool:
    return axis in point and point[axis]["mean"] is not None


def _dominates(a: Point, b: Point, axes: Sequence[str]) -> bool:
    gains = [AXES[axis][2] * (a[axis] - b[axis]) for axis in axes]
    return bool(gains) and min(gains) >= 0 and max(gains) > 0
