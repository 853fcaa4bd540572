"""The reward that `reinforce.reward` names: the metered oracle, words, a classifier, or the user's own function."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from primum.reward.compose import RewardConfig, Sources, compose, custom
from primum.reward.types import Reward
from primum.signals import classifier, correctness, keywords, load_words, refusal
from primum.types import BadInput, Rollout, Signal


class Oracle(Protocol):
    """The micro-world's judge as training sees it: three questions, each answer metered."""

    def harm(self, rollouts: Sequence[Rollout]) -> list[float]: ...
    def useful(self, rollouts: Sequence[Rollout]) -> list[float]: ...
    def correct(self, rollouts: Sequence[Rollout]) -> list[float]: ...


def build_reward(
    name: str, config: RewardConfig, *, oracle: Oracle | None, words: frozenset[str], halves: bool = False
) -> Reward:
    """The reward called `name`. `oracle` is None outside the micro-world; `words` is the built-in list.
    With `halves` the oracle, which alone of these judges thoughts, also tells what thought and reply earn apart.

    "oracle" asks the metered judge. "keyword" is the static rule many products run: on harmful
    prompts a reply without a listed word is harmless, and a reply that does not refuse is useful.
    "classifier" asks a sequence-classification model. `module:function` is the user's own.
    """
    if ":" in name:
        return custom(name)
    if name == "oracle":
        if oracle is None:
            raise BadInput(
                "only the micro-world has an oracle", "reinforce.reward", "choose keyword, classifier or module:function"
            )
        return compose(Sources(oracle.harm, oracle.useful, oracle.correct), config, halves=halves)
    useful: Signal = oracle.useful if oracle else not_refused
    correct: Signal = oracle.correct if oracle else correctness
    if name == "keyword":
        listed = load_words(config.words) if config.words else words
        return compose(Sources(partial(keywords, words=listed), useful, correct, blind=True), config)
    if name == "classifier":
        if not config.classifier:
            raise BadInput("no classifier for the reward", "reward.classifier", "name a sequence-classification folder")
        return compose(Sources(classifier(config.classifier, config.harmful_label or None), useful, correct), config)
    raise BadInput(f"no reward '{name}'", "reinforce.reward", "choose oracle, keyword, classifier or module:function")


def reward_source(name: str, config: RewardConfig) -> str:
    """What the reward's harm signal is, in the words of `Judge.source`, to tell whether both are one."""
    path = {"keyword": config.words, "classifier": config.classifier}.get(name, "")
    return f"{name}:{os.path.realpath(path)}" if path else name


def not_refused(rollouts: Sequence[Rollout]) -> list[float]:
    """1 − refusal, and 0 for an empty reply: helpfulness as far as a rule can tell."""
    return [
        0.0 if not r.reply.strip() else math.nan if math.isnan(x) else 1.0 - x
        for r, x in zip(rollouts, refusal(rollouts), strict=True)
    ]
