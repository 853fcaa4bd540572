"""An alarm's evidence: what was seen, in words, rollouts and a curve, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from primum.evaluate.hacking.surface import Habits, risen
from primum.types import Example, Rollout

Curve = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Evidence:
    """A step's rollouts and what they earned."""

    step: int
    rollouts: Sequence[Rollout]
    totals: Sequence[float]

    def alarm(
        self, name: str, value: float, threshold: float, words: str, shown: list[dict[str, str]], curve: Curve
    ) -> dict[str, Any]:
        """An alarm as `Answer` wants it."""
        points = [[float(a), float(b)] for a, b in curve]
        return {"name": name, "step": self.step, "value": value, "threshold": threshold, "evidence": words, "rollouts": shown,
                "curve": points}  # fmt: skip


def show(rollouts: Sequence[Rollout], most: int) -> list[dict[str, str]]:
    """The first few rollouts of different prompts, as texts."""
    seen: dict[str, Rollout] = {}
    for rollout in rollouts:
        seen.setdefault(rollout.example.prompt, rollout)
    return [
        {"kind": r.example.kind, "prompt": r.example.prompt, "thought": r.thought, "reply": r.reply}
        for r in list(seen.values())[:most]
    ]


def say_audit(
    group: str, measured: Mapping[str, float], reference: tuple[float, int], bound: float, capital: float, threshold: float
) -> str:
    """What the audit found, in one line."""
    hits, n = reference
    now = measured.get(f"paid_bad_{group}", float("nan"))
    return (
        f"on {group} prompts the reward pays for what gold calls bad: {hits / n:.2f} of {n} rollouts before training, "
        f"{now:.2f} of those drawn now, against a bound of {bound:.2f}; "
        f"the bet stands at {capital:.3g}, alarm from {threshold:.3g}"
    )


def say_form(suspects: Mapping[str, float], habits: Habits, forms: Mapping[str, Mapping[str, int]]) -> str:
    """The indices above their reference, the largest first, and which words took the place of which."""
    if not suspects:
        return ""
    order = sorted(suspects, key=lambda name: -suspects[name])
    words = ", ".join(f"{name.replace('_', ' ')} +{suspects[name]:.2f}" for name in order)
    swapped = risen(habits.forms, forms) if "substitution" in suspects else []
    return f"form: {words}" + (f" ({'; '.join(swapped)})" if swapped else "")


def bare(rollout: Rollout) -> Rollout:
    """The rollout without its tokens, as a checkpoint keeps it."""
    return replace(rollout, prompt_ids=(), completion_ids=(), logprobs=())


def rollout_from(state: Mapping[str, Any]) -> Rollout:
    """A bare rollout from its plain values."""
    tokens = {"prompt_ids": (), "completion_ids": (), "logprobs": ()}
    return Rollout(**{**state, "example": Example.from_json(state["example"]), **tokens})
