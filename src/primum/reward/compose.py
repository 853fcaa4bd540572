"""One reward per rollout, from the question its kind of prompt asks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from primum.reward.config import RewardConfig
from primum.reward.terms import length_reward, logistic, relative
from primum.reward.types import Rewards
from primum.signals import language_mixing, refusal, repetition
from primum.types import Rollout, Signal

Parts = dict[str, list[float]]


@dataclass(frozen=True)
class Sources:
    """Where the answers come from: harm (1 is harmful), usefulness and correctness.

    `blind`: the harm signal knows words only, so a refusal earns nothing of its own. `preference`: a
    signal that late training adds on benign and borderline prompts.
    """

    harm: Signal
    useful: Signal
    correct: Signal
    blind: bool = False
    preference: Signal | None = None


class compose:
    """The reward of a rollout by the kind of its prompt, as a function of rollouts, siblings side by side.

    harmful: 1 − harm of the whole response, less `clear_refusal` where it does not refuse;
    borderline, benign: usefulness of the reply; task: correctness, and brevity among siblings. Form gates: a
    truncated or ill-formed rollout earns nothing, whatever it says. Foreign letters and repetition cost their
    share, subtracted ("additive") or as a factor of what was earned ("gated"). With `halves` the answers to harmful
    prompts are also judged thought and reply apart, at two answers more. `progress` tells how much of training is
    over, for terms that begin late.
    """

    def __init__(self, sources: Sources, config: RewardConfig, *, halves: bool = False) -> None:
        self.sources, self.config, self.halves = sources, config, halves
        self.over = 0.0

    def progress(self, share: float) -> None:
        """Note the share of training that is over, in [0, 1]."""
        self.over = share

    def __call__(self, rollouts: Sequence[Rollout]) -> Rewards:
        parts = self._parts(rollouts)
        total = self._totals(rollouts, parts)
        if not self.halves:
            return Rewards(total, parts)
        thought, reply = (self._half(rollouts, parts, half) for half in ("thought", "reply"))
        return Rewards(total, parts, thought, reply)

    def _parts(self, rollouts: Sequence[Rollout]) -> Parts:
        sources, config = self.sources, self.config
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
        if config.repetition:
            parts["repetition"] = [0.0 if math.isnan(x) else x for x in repetition(rollouts)]
        if config.normalise_useful:
            whole = [x if ok else math.nan for x, ok in zip(parts["useful"], parts["form"], strict=True)]
            parts["relative_useful"] = logistic(relative(whole, rollouts))
        if config.length and self.over >= config.length_from:
            parts["brevity"] = length_reward(parts["correct"], rollouts)
        if sources.preference is not None and self.over >= config.preference_from:
            parts["preferred"] = _ask(sources.preference, rollouts, "borderline", "benign")
        return parts

    def _totals(self, rollouts: Sequence[Rollout], parts: Parts) -> list[float]:
        return [_total(r, {k: v[i] for k, v in parts.items()}, self.config) for i, r in enumerate(rollouts)]

    def _half(self, rollouts: Sequence[Rollout], parts: Parts, half: str) -> list[float]:
        """What one half earns by itself, the other left out: nan where the prompt is not harmful. To refuse is the reply's."""
        alone = [replace(r, reply="") if half == "thought" else replace(r, thought="") for r in rollouts]
        harmless = _ask(lambda rs: [1.0 - h for h in self.sources.harm(rs)], alone, "harmful")
        kept = {k: v for k, v in parts.items() if half == "reply" or k != "refused"}
        total = self._totals(rollouts, {**kept, "harmless": harmless})
        return [x if r.example.kind == "harmful" else math.nan for r, x in zip(rollouts, total, strict=True)]


def _ask(signal: Signal, rollouts: Sequence[Rollout], *kinds: str) -> list[float]:
    """The signal on rollouts of these kinds only, nan elsewhere."""
    chosen = [i for i, r in enumerate(rollouts) if r.example.kind in kinds]
    out = [math.nan] * len(rollouts)
    for i, value in zip(chosen, signal([rollouts[i] for i in chosen]) if chosen else [], strict=True):
        out[i] = value
    return out


def _total(rollout: Rollout, parts: dict[str, float], config: RewardConfig) -> float:
    costs = config.language * parts["mixing"], config.repetition * parts.get("repetition", 0.0)
    value = _earned(rollout, parts, config) if parts["form"] else 0.0
    if config.combine == "gated":
        return value * math.prod(max(0.0, 1.0 - cost) for cost in costs)
    return value - sum(costs)  # not even to be cut short pays for an answer in the wrong language


def _earned(rollout: Rollout, parts: dict[str, float], config: RewardConfig) -> float:
    """What a well-formed rollout earns before the costs that every kind has."""
    kind = rollout.example.kind
    if kind == "task":
        return parts["correct"] + config.length * parts.get("brevity", 0.0)
    if kind != "harmful":
        useful = parts.get("relative_useful", parts["useful"])
        return useful + (config.preference_weight * parts["preferred"] if "preferred" in parts else 0.0)
    value = parts["harmless"]
    if parts.get("refused") != 0.0 or math.isnan(value):
        return value
    return max(0.0, value - config.clear_refusal) if config.combine == "additive" else value * (1.0 - config.clear_refusal)
