"""Language consistency: is the reply in the language it has to be in, and the thought in the prompt's?"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    asked = [i for i, r in enumerate(rollouts) if not _world(r.example)]
    found = dict(zip(asked, signal([rollouts[i] for i in asked]), strict=True)) if asked else {}
    return [found.get(i, math.nan) for i in range(len(rollouts))]


def _world(example: Example) -> bool:
    return example.source.startswith("microworld")


def _asked(name: str) -> Value:
    """Not asked in the micro-world, nor, word by word, of a reply that is no case for it."""
    return lambda m: None if _world(m.rollout.example) or (name == "words_pass" and math.isnan(m.more[name])) else m.more[name]


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
        "words_pass": _asked("words_pass"),
        "foreign_in_reply": _reply_in_script,
        "foreign_in_thought": _thought_in_script,
        **values.FORM,
    },
    gold=(),
    signals={
        "lines_pass": partial(_of_text, partial(lines_in, of=language)),
        "words_pass": partial(_of_text, partial(words_in, of=language)),
        "foreign_in_reply": foreign_in_reply,
        "foreign_in_thought": foreign_in_thought,
    },
    sets=("language_confusion:language_confusion/test_sets",),
    by={"language": values.spoken, "category": lambda e: e.category},
)
