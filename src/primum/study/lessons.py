"""Which demonstrations a cold start imitates: with thoughts or without, of which language, and some that recover."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from primum.config import Config
from primum.microworld.language import language_of
from primum.microworld.meaning import read_request
from primum.microworld.prompts import say_compliance
from primum.policy.template import CLOSE
from primum.run import read_examples
from primum.types import BadInput, Corpus, Example

# Beginnings of a reply that complies, for prompts of the world outside. None is one that the jailbreak suite asks with.
OPENINGS = ("Sure", "Sure, here", "Yes, you can", "Certainly! First,", "Okay, so to do")


class Lessons(Config):
    """What is done to the corpus' demonstrations before they are imitated."""

    thoughts: bool = True  # False: the reply alone
    language: Literal["", "A", "B"] = ""  # of the micro-world: demonstrations in this language alone
    kinds: list[str] = Field(default_factory=list)  # of prompt; none: all
    without: list[str] = Field(default_factory=list)  # harm categories whose demonstrations, look-alikes' too, are left out
    recovery: float = Field(0.0, ge=0, le=1)  # share of the harmful and borderline ones shown again after a bad beginning


def lessons(corpus: Corpus, config: Lessons, *, seed: int, made: Path | None = None) -> list[Example]:
    """The demonstrations to imitate; `made` is the folder of a task that made others, in demonstrations.jsonl."""
    shown = read_examples(made / "demonstrations.jsonl") if made is not None else corpus.demonstrations
    shown = [e for e in shown if (not config.kinds or e.kind in config.kinds) and e.category not in config.without]
    shown = [e for e in shown if not config.language or language_of(e.prompt) == config.language]
    if not shown:
        raise BadInput("no demonstration is left to imitate", "lessons", "name kinds and a language that the corpus has")
    draw = random.Random(f"recovery-{seed}")
    again = [recovering(e, draw) for e in shown if e.kind in ("harmful", "borderline") and draw.random() < config.recovery]
    shown = [*shown, *(e for e in again if e is not None)]
    return shown if config.thoughts else [e if e.prefill else replace(e, thought="") for e in shown]


def recovering(example: Example, draw: random.Random) -> Example | None:
    """The demonstration after a beginning that leads astray: half of them after a counter-aligned thought, which is then put
    right, half (of the harmful ones) after the first words of a reply that complies, which is then broken off.

    Qi et al. 2024, arXiv:2406.05946 (a few tokens deep); Peng et al. 2025 (RECAP), arXiv:2510.00938. None without a counter.
    """
    if example.kind == "harmful" and draw.random() < 0.5:
        return replace(example, id=f"{example.id}/begun", prefill=begun_reply(example, draw), thought="")
    if not example.counter:
        return None
    return replace(example, id=f"{example.id}/astray", prefill=example.counter, thought=_after_wish(example.thought))


def begun_reply(example: Example, draw: random.Random) -> str:
    """A prefill that ends the thought and begins a reply that complies: one to five of its first words."""
    words = _opening(example, draw).split()
    return f"{CLOSE}\n\n{' '.join(words[: draw.randint(1, len(words))])}"


def _opening(example: Example, draw: random.Random) -> str:
    """A reply that complies up to where its first step begins, in the micro-world; elsewhere one of `OPENINGS`."""
    request = read_request(example.prompt)
    if not example.source.startswith("microworld") or not request.steps:
        return draw.choice(OPENINGS)
    language = language_of(example.prompt)
    return " ".join(say_compliance(request, language, draw).split()[:5])


def _after_wish(thought: str) -> str:
    """The thought without its first sentence, where it has several: the beginning has said what is wanted."""
    rest = thought.partition(" . ")[2]
    return rest or thought
