"""One reward per rollout, from the question its kind of prompt asks."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from pydantic import Field

from primum.config import Config
from primum.reward.types import Reward, Rewards, with_memory
from primum.signals import language_mixing, refusal
from primum.types import BadInput, Rollout, Signal


class RewardConfig(Config):
    """The weights of the reward; `reinforce.reward` names the source of its harm signal."""

    language: float = Field(0.5, ge=0)  # subtracted: this times the share of foreign letters
    clear_refusal: float = Field(0.25, ge=0, le=1)  # what a harmless answer to a harmful prompt loses where it is no refusal
    oracle_noise: float = Field(0.02, ge=0, lt=0.5)  # error rate of the micro-world's metered oracle
    words: str = ""  # file of blocked words, one a line, for reward "keyword"; "" is the built-in list
    classifier: str = ""  # folder of a sequence-classification model, for reward "classifier"
    harmful_label: str = ""  # its label for harm, where the name does not tell


@dataclass(frozen=True)
class Sources:
    """Where the answers come from: harm (1 is harmful), usefulness and correctness.

    `blind`: the harm signal knows words only, so a refusal earns nothing of its own.
    """

    harm: Signal
    useful: Signal
    correct: Signal
    blind: bool = False


def compose(sources: Sources, config: RewardConfig, *, halves: bool = False) -> Reward:
    """The reward of a rollout by the kind of its prompt, in [-language, 1].

    harmful: 1 − harm of the whole response, less `clear_refusal` where it does not refuse;
    borderline, benign: usefulness of the reply; task: correctness. Form gates: a truncated or
    ill-formed rollout earns nothing, whatever it says. Foreign letters cost `language` times their share.
    With `halves` the answers to harmful prompts are also judged thought and reply apart, at two answers more.
    """

    def reward(rollouts: Sequence[Rollout]) -> Rewards:
        parts = {
            "harmless": _ask(lambda rs: [1.0 - h for h in sources.harm(rs)], rollouts, "harmful"),
            "useful": _ask(sources.useful, rollouts, "borderline", "benign"),
            "correct": _ask(sources.correct, rollouts, "task"),
            "form": [float(r.well_formed and not r.truncated) for r in rollouts],
            "mixing": [0.0 if math.isnan(m) else m for m in language_mixing(rollouts)],
        }
        if not sources.blind and config.clear_refusal:
            refused = _ask(refusal, rollouts, "harmful")
            parts["refused"] = [x if math.isnan(x) else float(x == 1.0) for x in refused]
        total = _totals(rollouts, parts, config)
        if not halves:
            return Rewards(total, parts)
        thought, reply = (_half(sources, rollouts, parts, config, half) for half in ("thought", "reply"))
        return Rewards(total, parts, thought, reply)

    return reward


def custom(path: str) -> Reward:
    """A reward of the user's own, `module:function` from rollouts to one number each, for every kind of prompt.

    It may return `Rewards` instead, with parts, with what each half earned, or with the word that training
    collapsed. None and infinities are unscored, as nan is. Modules are looked for in the working directory too.
    """
    function = _imported(path)

    def reward(rollouts: Sequence[Rollout]) -> Rewards:
        found = function(rollouts)
        if not isinstance(found, Rewards):
            found = Rewards(cast(list[float], list(found)), {})
        return found.check(rollouts, path)

    return with_memory(reward, function)


def forgiving(reward: Reward, say: Callable[[str], None]) -> Reward:
    """`reward`, checked and in plain numbers; where it fails every rollout is unscored, and the first failure is told."""
    told = False

    def asked(rollouts: Sequence[Rollout]) -> Rewards:
        nonlocal told
        try:
            return reward(rollouts).check(rollouts)
        except BadInput:
            raise
        except Exception as error:  # the user's code, which may fail in any way
            if not told:
                say(f"the reward failed, its rollouts are unscored: {_line(error)}")
            told = True
            return Rewards([math.nan] * len(rollouts), {})

    return with_memory(asked, reward)


def _imported(path: str) -> Callable[[Sequence[Rollout]], Rewards | Sequence[float | None]]:
    module, _, name = path.partition(":")
    if os.getcwd() not in sys.path:  # a console script leaves it out; last, so that it shadows nothing installed
        sys.path.append(os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # the user's module may fail in any way
        remedy = "name oracle, keyword, classifier or an importable module:function"
        raise BadInput(f"no reward '{path}', {_line(error)}", "reinforce.reward", remedy) from None
    if not callable(function):
        raise BadInput(f"'{path}' is no function", "reinforce.reward", "name a function from rollouts to one number each")
    return function


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _ask(signal: Signal, rollouts: Sequence[Rollout], *kinds: str) -> list[float]:
    """The signal on rollouts of these kinds only, nan elsewhere."""
    chosen = [i for i, r in enumerate(rollouts) if r.example.kind in kinds]
    out = [math.nan] * len(rollouts)
    for i, value in zip(chosen, signal([rollouts[i] for i in chosen]), strict=True):
        out[i] = value
    return out


def _totals(rollouts: Sequence[Rollout], parts: dict[str, list[float]], config: RewardConfig) -> list[float]:
    return [_total(r, {k: v[i] for k, v in parts.items()}, config) for i, r in enumerate(rollouts)]


def _half(
    sources: Sources, rollouts: Sequence[Rollout], parts: dict[str, list[float]], config: RewardConfig, half: str
) -> list[float]:
    """What one half earns by itself, the other left out: nan where the prompt is not harmful. To refuse is the reply's."""
    alone = [replace(r, reply="") if half == "thought" else replace(r, thought="") for r in rollouts]
    harmless = _ask(lambda rs: [1.0 - h for h in sources.harm(rs)], alone, "harmful")
    kept = {k: v for k, v in parts.items() if half == "reply" or k != "refused"}
    total = _totals(rollouts, {**kept, "harmless": harmless}, config)
    return [x if r.example.kind == "harmful" else math.nan for r, x in zip(rollouts, total, strict=True)]


def _total(rollout: Rollout, parts: dict[str, float], config: RewardConfig) -> float:
    if not parts["form"]:
        return -config.language * parts["mixing"]  # not even to be cut short pays for an answer in the wrong language
    kind = rollout.example.kind
    value = parts["correct"] if kind == "task" else parts["useful"] if kind != "harmful" else parts["harmless"]
    if kind == "harmful" and parts.get("refused") == 0.0 and not math.isnan(value):
        value = max(0.0, value - config.clear_refusal)
    return value - config.language * parts["mixing"]
