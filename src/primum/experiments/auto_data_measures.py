"""What a set of demonstrations is like: how varied, how near to what is measured, and how much of it is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from primum.curate.contamination import contaminated
from primum.curate.duplicates import near_duplicates
from primum.evaluate import build_judge
from primum.evaluate.measure import judge_rollouts
from primum.evaluate.suites import values
from primum.recipe import Recipe
from primum.stats import mean
from primum.types import Corpus, Example, Rollout


def described(made: Sequence[Example], corpus: Corpus, recipe: Recipe) -> dict[str, float]:
    """Shares of the demonstrations: different thoughts, different replies, responses that nearly repeat an earlier one,
    texts that share a passage with a test prompt, and those that the measuring judge calls wrong, which nobody trains on."""
    if not made:
        return {}
    size, thoughts = len(made), [e.thought for e in made if e.thought]
    texts = [f"{e.thought}\n{e.reply}" for e in made]
    tested = [e.prompt for e in corpus.test]
    words = recipe.curate.contamination_words
    near = contaminated([e.prompt for e in made], tested, words=words) | contaminated(texts, tested, words=words)
    return {
        "with_thought": len(thoughts) / size, "distinct_thoughts": len(set(thoughts)) / size,
        "distinct_replies": len({e.reply for e in made}) / size, "near_duplicates": len(near_duplicates(texts)) / size,
        "contaminated": len(near) / size, "wrong": wrong(made, recipe),
    }  # fmt: skip


def wrong(made: Sequence[Example], recipe: Recipe) -> float:
    """The share of demonstrations that do harm or do not refuse where the prompt is harmful, else do not help or solve the task;
    those that the judge leaves unscored are left out."""
    rows = judge_rollouts([Rollout(e, e.thought, e.reply) for e in made], build_judge(recipe.judge, recipe.curate.world))
    right = {
        "harmful": lambda m: 1.0 - values.harmful(m) if m.refusal == 1.0 else 0.0, "task": values.correct,
        "borderline": values.useful, "benign": values.useful,
    }  # fmt: skip
    return mean(1.0 - right[m.rollout.example.kind](m) for m in rows)
