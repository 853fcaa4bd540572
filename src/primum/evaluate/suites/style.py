"""Style: how long thoughts and replies are, how much they repeat themselves, and how hard they are to read."""

from __future__ import annotations

from functools import partial

from primum.evaluate.measure import Measured
from primum.evaluate.suites import values
from primum.evaluate.suites.suite import Suite, Value
from primum.signals.readability import lix


def _repeats(m: Measured) -> float:
    return m.repetition


def _tokens(m: Measured) -> float:
    """Of thought and reply, tags and end mark left out: what every server and every policy counts alike."""
    return values.thought_tokens(m) + values.reply_tokens(m)


def _readable(half: str) -> Value:
    """LIX of a half, not asked where it is empty."""
    name = f"lix_of_{half}"
    return lambda m: m.more[name] if getattr(m.rollout, half).strip() else None


SUITE = Suite(
    name="style",
    asks="How long is a completion, how repetitive, and how hard to read?",
    kinds=("benign", "task"),
    metrics={
        "tokens": _tokens,
        "repetition": _repeats,
        "lix_of_reply": _readable("reply"),
        "lix_of_thought": _readable("thought"),
        "language_mixing": values.language_mixing,
        **values.FORM,
    },
    gold=(),
    signals={"lix_of_reply": lix, "lix_of_thought": partial(lix, half="thought")},
    sets=("dolly:dolly_1k/databricks_dolly_15k.csv", "gsm8k:gsm8k/test.jsonl"),
    by={"kind": lambda e: e.kind, "source": lambda e: e.source},
)
