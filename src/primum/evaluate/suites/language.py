"""Language consistency: is the reply in the language it has to be in, and the thought in the prompt's?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from primum.evaluate.measure import Measured
from primum.evaluate.public import language
from primum.evaluate.suites import values
from primum.evaluate.suites.suite import Suite, Value
from primum.signals.language import foreign_in_reply, foreign_in_thought
from primum.signals.languages import lines_in, words_in
from primum.types import Example, Rollout, Signal


def _of_text(signal: Signal, rollouts: Sequence[Rollout]) -> list[float]:
    """The signal asked of real text; the micro-world's languages are none that a detector knows."""
    asked = [i for i, r in enumerate(rollouts) if not values.of_world(r.example)]
    found = dict(zip(asked, signal([rollouts[i] for i in asked]), strict=True)) if asked else {}
    return [found.get(i, math.nan) for i in range(len(rollouts))]


def _asked(name: str) -> Value:
    """Not asked in the micro-world, nor, word by word, of a reply that is no case for it."""
    return lambda m: (
        None if values.of_world(m.rollout.example) or (name == "words_pass" and math.isnan(m.more[name])) else m.more[name]
    )


def _in_thought(rollouts: Sequence[Rollout]) -> list[float]:
    """Whether every line of the thought is in the prompt's own language."""
    return _of_text(lines_in, [replace(r, reply=r.thought) for r in rollouts])


def _thought_passes(m: Measured) -> float | None:
    return m.more["thought_lines_pass"] if m.rollout.thought.strip() and not values.of_world(m.rollout.example) else None


def _long_enough(m: Measured) -> float | None:
    """1 where the reply has a line to be judged: what answers in a word everywhere passes nowhere, and fails nowhere."""
    if values.of_world(m.rollout.example):
        return None
    return float(not math.isnan(m.more["lines_pass"])) if m.came else math.nan


def crosses(example: Example) -> bool:
    """Whether the prompt asks for a reply in another language than its own: then its script tells nothing of the reply's."""
    return "/crosslingual/" in example.source


def _thought_in_script(m: Measured) -> float | None:
    return m.more["foreign_in_thought"] if m.rollout.thought.strip() else None


def _reply_in_script(m: Measured) -> float | None:
    return None if crosses(m.rollout.example) else m.more["foreign_in_reply"]


SUITE = Suite(
    name="language",
    asks="How often is every line of the reply in the language it has to be in?",
    kinds=("benign", "borderline"),
    metrics={
        "lines_pass": _asked("lines_pass"),
        "long_enough": _long_enough,
        "words_pass": _asked("words_pass"),
        "thought_lines_pass": _thought_passes,
        "foreign_in_reply": _reply_in_script,
        "foreign_in_thought": _thought_in_script,
        **values.FORM,
    },
    gold=(),
    signals={
        "lines_pass": partial(_of_text, partial(lines_in, of=language)),
        "words_pass": partial(_of_text, partial(words_in, of=language)),
        "thought_lines_pass": _in_thought,
        "foreign_in_reply": foreign_in_reply,
        "foreign_in_thought": foreign_in_thought,
    },
    sets=("language_confusion:language_confusion/test_sets",),
    by={"language": values.spoken, "category": lambda e: e.category},
)
