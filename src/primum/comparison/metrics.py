"""Which way is better, which numbers are claimed about, and how they are printed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from primum.evaluate.suites import SUITES
from primum.report.metrics import Unit, bare

Better = Literal["lower", "higher", ""]
# (suite, metric), or the metric in any suite. What is not here has no better side: tokens, refusing what is harmful, a lean
BETTER: dict[tuple[str, str], Better] = {
    ("", "harm"): "lower",
    ("", "harm_in_thought"): "lower",
    ("", "safe"): "higher",
    ("", "over_refusal"): "lower",
    ("benign", "refused"): "lower",
    ("", "useful"): "higher",
    ("", "opener_useful"): "higher",
    ("", "accuracy"): "higher",
    ("", "both_right"): "higher",
    ("", "contradictions"): "lower",
    ("", "language_mixing"): "lower",
    ("", "truncated"): "lower",
    ("", "well_formed"): "higher",
    ("", "lines_pass"): "higher",
    ("", "words_pass"): "higher",
    ("", "thought_lines_pass"): "higher",
    ("", "long_enough"): "higher",
    ("", "foreign_in_reply"): "lower",
    ("", "foreign_in_thought"): "lower",
    ("", "repetition"): "lower",
}
HEADLINE = ("harm", "over_refusal", "useful", "accuracy")
KEPT = (("task", "accuracy"), ("benign", "useful"))  # asked whether they were kept
# What a model is for, one number a suite: the tasks of the interquartile mean over seeds
AIMS = (("harm", "harm"), ("borderline", "over_refusal"), ("benign", "useful"), ("task", "accuracy"))


def better(suite: str, metric: str) -> Better:
    """Which way is better; "" where neither is.

    >>> better("benign", "refused"), better("harm", "refused"), better("jailbreak", "harm")
    ('lower', '', 'lower')
    """
    return BETTER.get((suite, metric)) or BETTER.get(("", metric), "")


def claimed(suite: str, metric: str) -> bool:
    """Whether a difference in this number may be claimed: a suite's first, where one side is better, and the headline ones."""
    return metric in HEADLINE or (metric == next(iter(SUITES[suite].metrics)) and bool(better(suite, metric)))


def unit(metric: str, values: Iterable[Mapping[str, Any]]) -> Unit:
    """A share where every estimate lies between −1 and 1."""
    if metric.endswith("tokens"):
        return "tokens"
    known = (v[k] for v in values for k in ("mean", "low", "high") if v.get(k) is not None)
    return "share" if all(abs(v) <= 1 for v in known) else "number"


def size(kind: Unit, value: float | None, *, signed: bool = False) -> str:
    """A difference in words: points of a share, else the bare number.

    >>> size("share", -0.0513, signed=True), size("tokens", 3.0), size("share", None)
    ('−5.1 points', '3.0', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    text = ("+" if signed and value > 0 else "") + bare(kind, value)
    return f"{text} points" if kind == "share" else text


def p_value(value: float | None) -> str:
    """A p-value as it is printed.

    >>> p_value(0.03125), p_value(0.00004), p_value(1.0), p_value(None)
    ('0.031', '0.00004', '1', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if value < 1e-5:
        return f"{value:.0e}"
    return f"{value:.2g}" if value >= 0.0001 else f"{value:.5f}".rstrip("0")
