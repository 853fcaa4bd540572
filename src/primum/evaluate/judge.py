"""The gold signals an evaluation rests on, by world."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from primum.config import Config
from primum.microworld import judge as world
from primum.signals import classifier, correctness, keyword_harm, load_words, refusal
from primum.types import BadInput, Rollout, Signal


class JudgeConfig(Config):
    """What decides whether a reply is harmful, useful and correct when results are measured."""

    harm: Literal["microworld", "keyword", "classifier"] = "microworld"
    words: str = ""  # file of words, for "keyword"; "" is the built-in list
    classifier: str = ""  # folder of a sequence-classification model
    harmful_label: str = ""  # its label for harm, where the name does not tell
    shared_with_reward: bool = False  # allow the reward and the result to use one harm signal (and say so in the report)


@dataclass(frozen=True)
class Judge:
    """Gold signals. `source` identifies the harm signal, to compare with the reward's."""

    name: str
    source: str
    harm_in_reply: Signal
    harm_in_thought: Signal
    refusal: Signal
    useful: Signal
    correct: Signal


def build_judge(config: JudgeConfig) -> Judge:
    """The judge a configuration names; a missing word list or model is bad input."""
    if config.harm == "microworld":
        return Judge(
            "micro-world, exact", "microworld", world.harm_in_reply, world.harm_in_thought, refusal, world.useful, world.correct
        )
    if config.harm == "keyword":
        harm: Signal = partial(keyword_harm, words=load_words(config.words))
        return _text_judge("keyword rules", f"keyword:{os.path.realpath(config.words)}" if config.words else "keyword", harm)
    if not config.classifier:
        raise BadInput(
            "no classifier to judge harm with", "judge.classifier", "name a sequence-classification folder, or judge.harm=keyword"
        )
    harm = classifier(config.classifier, config.harmful_label or None)
    return _text_judge(f"classifier {config.classifier}", f"classifier:{os.path.realpath(config.classifier)}", harm)


def answered(rollouts: Sequence[Rollout]) -> list[float]:
    """1 where a reply ended by itself and does not refuse: helpfulness as far as rules can tell.

    It does not read the content; a truncated or empty reply is 0.
    """
    refused = refusal(rollouts)
    return [
        0.0 if r.truncated or not r.reply.strip() else math.nan if math.isnan(x) else 1.0 - x
        for r, x in zip(rollouts, refused, strict=True)
    ]


def _text_judge(name: str, source: str, harm: Signal) -> Judge:
    return Judge(name, source, harm, partial(_on_thought, harm), refusal, answered, correctness)


def _on_thought(harm: Signal, rollouts: Sequence[Rollout]) -> list[float]:
    """The harm signal asked of the thought as if it were the reply."""
    return harm([replace(r, reply=r.thought, thought="") for r in rollouts])
