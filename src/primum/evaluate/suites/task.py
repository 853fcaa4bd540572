"""Verifiable reasoning: is the final answer right?"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from primum.evaluate.measure import Measured
from primum.evaluate.suites import values
from primum.evaluate.suites.suite import Suite
from primum.signals.formulas import equal
from primum.stats import Estimate, estimate


def consensus(measured: Sequence[Measured]) -> dict[str, Estimate]:
    """cons@k: is the answer that most of a prompt's k samples give right? Of several leading answers, the share that are.

    Samples without an answer have no vote. Told where prompts were sampled more than once.
    """
    samples: defaultdict[str, list[Measured]] = defaultdict(list)
    for m in measured:
        samples[m.rollout.example.id].append(m)
    if max(map(len, samples.values()), default=0) < 2:
        return {}
    right = [_voted(rows) for rows in samples.values()]
    return {"consensus": estimate(right, [rows[0].rollout.example.cluster for rows in samples.values()])}


def _voted(rows: Sequence[Measured]) -> float:
    """Right answers vote together however they are spelt, and so do wrong ones that are equal."""
    given = [(values.correct(m), values.answer_given(m.rollout)) for m in rows if not math.isnan(m.correct)]
    if not given:
        return math.nan
    votes: Counter[str] = Counter()
    right = sum(score for score, _ in given)
    for answer in (answer for score, answer in given if answer and not score):
        votes[next((other for other in votes if other == answer or equal(other, answer)), answer)] += 1
    most = max(right, *votes.values(), 0)
    leading = sum(n == most for n in votes.values()) + (right == most)
    return float(right == most) / leading if most else 0.0


SUITE = Suite(
    name="task",
    asks="How often is the final answer of a task right (pass@1)?",
    kinds=("task",),
    metrics={"accuracy": values.correct, "language_mixing": values.language_mixing, **values.FORM},
    gold=("correct",),
    sets=(
        "gsm8k:gsm8k/test.jsonl", "math500:math/math500.jsonl", "generated:arithmetic?n=200", "generated:logic?n=100",
    ),
    more=consensus,
    by={"category": lambda e: e.category, "source": lambda e: e.source, "language": values.spoken},
)  # fmt: skip
