"""Inspect's scorer and metrics over our suites: every number as `primum evaluate` tells it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.scorer import Value as Scored
from inspect_ai.solver import TaskState

from primum.config import validate
from primum.evaluate import JudgeConfig, Measured, build_judge
from primum.evaluate.suites import SUITES, Suite, Value, averaged
from primum.evaluation import judged, suite_of
from primum.inspection.chat import rollout_of
from primum.inspection.gather import Gather
from primum.inspection.refuse import refused
from primum.stats import Estimate, mean
from primum.types import Example, Rollout

TURNS = "turns"  # in a sample's store: every turn's example and rollout, in a suite that goes on over turns
Turn = tuple[Example, Rollout | None]


def _told(part: str) -> Callable[[str, str], Metric]:
    """One part of the estimate of one of a suite's numbers, over all rollouts; those of one meaning count as one draw."""

    def told(suite: str, name: str) -> Metric:
        value = suite_of(suite).metrics[name]

        def compute(scores: list[SampleScore]) -> Scored:
            return getattr(averaged([m for s in scores for m in rows_of(s.score)], value), part)

        return compute

    return told


PARTS = {part: metric(name=part, scores="unreduced")(_told(part)) for part in ("mean", "low", "high", "n")}
"""As Inspect's metrics: `primum/mean` and so on."""


@metric(scores="unreduced")
def whole(suite: str) -> Metric:
    """What is told of all rollouts together: how many, outcomes, how many nobody could score, the suite's further numbers.

    `unscored` is the share that ended by itself and that gold could not judge; `NAME_unscored` how many rollouts lack NAME.
    """
    asked = suite_of(suite)

    def compute(scores: list[SampleScore]) -> Scored:
        measured = [m for s in scores for m in rows_of(s.score)]
        more = asked.more(measured) if asked.more is not None and measured else {}
        outcomes = Counter(m.outcome for m in measured)
        lacking = {name: averaged(measured, value).unscored for name, value in asked.metrics.items()}
        return {
            "rollouts": len(measured),
            "unscored": outcomes["unscored"] / len(measured) if measured else math.nan,
            "unanswered": sum(_unanswered(s.score) for s in scores),
            **{f"outcome {words}": n for words, n in sorted(outcomes.items())},
            **{f"{name}_unscored": n for name, n in lacking.items() if n},
            **{key: number for name, found in more.items() for key, number in _spread(name, found).items()},
        }

    return compute


def _gold(suite: Suite) -> Callable[..., Scorer]:
    """Every number of the suite for one sample, nan where it could not be told, None where it is not asked for.

    A sample of several turns gets their mean; the turns stand in the score's metadata, and the metrics read those.
    """

    def gold(world: bool, judge: dict[str, Any] | None = None, opens_thought: bool | None = None) -> Scorer:
        with refused():
            judging = build_judge(validate(JudgeConfig, judge or {}, "judge"), "microworld" if world else "files")

        def work(conversations: Sequence[Sequence[Turn]]) -> list[Score]:
            flat = [turn for turns in conversations for turn in turns]
            with refused():
                rows = iter(judged([rollout for _, rollout in flat], [example for example, _ in flat], judging, suite))
            return [score_of(suite, [next(rows) for _ in turns], [r is None for _, r in turns]) for turns in conversations]

        together = Gather(work)

        async def score(state: TaskState, target: Target) -> Score:
            if state.store.get(TURNS):
                return await together([turn_from(told) for told in state.store.get(TURNS)])
            example = Example.from_json(state.metadata)
            return await together([(example, rollout_of(example, state.output, opens_thought))])

        return score

    return gold


def score_of(suite: Suite, rows: Sequence[Measured], silent: Sequence[bool]) -> Score:
    """The score of a sample, from its turns; `silent` are those that were never answered."""
    numbers = {name: _of_turns(rows, value) for name, value in suite.metrics.items()}
    lines = [f"{m.outcome}; thought: {m.outcome_of_thought}" for m in rows]
    kept = [{**m.to_row(suite.name), "unanswered": lost} for m, lost in zip(rows, silent, strict=True)]
    return Score(
        value=numbers, answer=rows[-1].rollout.reply, explanation="\n".join(lines), metadata={"turns": kept},
        reason="no_response" if all(silent) else None,
    )  # fmt: skip


def rows_of(score: Score) -> list[Measured]:
    """The judged rollouts behind a score."""
    return [Measured.from_row(row) for row in (score.metadata or {}).get("turns", [])]


def turn_to(turn: Turn) -> dict[str, Any]:
    """A turn as JSON, for a sample's store."""
    example, rollout = turn
    names = ("thought", "reply", "truncated", "well_formed", "thought_tokens", "reply_tokens")
    said = None if rollout is None else {name: getattr(rollout, name) for name in names}
    return {"example": example.to_json(), "rollout": said}


def turn_from(told: dict[str, Any]) -> Turn:
    """What `turn_to` made."""
    example = Example.from_json(told["example"])
    return example, None if told["rollout"] is None else Rollout(example, **told["rollout"])


def _of_turns(rows: Sequence[Measured], value: Value) -> float | None:
    numbers = [v for m in rows if (v := value(m)) is not None]
    return mean(numbers) if numbers else None


def _unanswered(score: Score) -> int:
    return sum(bool(row.get("unanswered")) for row in (score.metadata or {}).get("turns", []))


def _spread(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_n": found.n}


def _metrics(suite: str) -> list[Metric | dict[str, list[Metric]]]:
    """What is told of the whole, then each number by its name."""
    return [whole(suite), {name: [part(suite, name) for part in PARTS.values()] for name in SUITES[suite].metrics}]


SCORERS = {name: scorer(metrics=_metrics(name), name=f"{name}_gold")(_gold(suite)) for name, suite in SUITES.items()}
"""Each suite's scorer: `primum/harm_gold` and so on."""
