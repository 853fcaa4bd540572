"""How long do responses get, under strict and lenient verifiers and with length priced in, and what does a token buy?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from primum.stats import mean
from primum.study.claims import Claim, Found, Pooled
from primum.study.graph import Task
from primum.study.plan import Arm, Plan
from primum.study.settings import StudyConfig

QUESTION = (
    "What makes responses to tasks longer under RL, the verifier or the loss, what do a length reward and long2short take "
    "back, and at what accuracy a token?"
)
PREDICTION = (
    "It is the verifier, not the loss. With the strict one, responses under GRPO and under Dr. GRPO stay within 1.3 times "
    "of each other, and accuracy is at most 5 points below the base model's. A verifier content with the answer anywhere in "
    "the text, finished or not, makes responses at least 1.5 times as long as the strict one does and halves accuracy or "
    "worse, with either loss; one that still wants the response to end costs 10 points of accuracy or more without making "
    "it 1.5 times as long. The length reward at 0.5 cuts tokens to half of the strict arm's (with the same loss) or less and "
    "loses 20 points of accuracy or more, yet buys more right answers a token; at 0.1 it loses at most 10 points. Imitating the "
    "shortest right one of 8 loses at most 5 points but shortens by less than a tenth, since after RL responses hardly differ. "
    "Averaging weights with those of length reward 0.5 is shorter than the strict arm and loses at most 10 points."
)
ARMS = {
    "base": "base", "strict": "strict verifier, GRPO", "strict_dr": "strict verifier, Dr. GRPO",
    "lenient": "answer anywhere, GRPO", "open": "answer anywhere, unfinished too, GRPO",
    "open_dr": "answer anywhere, unfinished too, Dr. GRPO", "length": "strict, length reward 0.5",
    "length_light": "strict, length reward 0.1", "shortest": "long2short: shortest right one of 8",
    "merged": "long2short: averaged weights", "second": "long2short: RL with the length reward",
}  # fmt: skip
SHOWN = ("task_tokens", "accuracy", "per_token", "paid", "well_formed", "off_language", "useful", "harm_seen", "tflops")
LABELS = {
    "tflops": {"label": "training compute", "better": "lower", "unit": "TFLOP"},
    "per_token": {"label": "right answers per 100 tokens", "better": "higher", "unit": ""},
    "paid": {"label": "what the verifier paid in the last steps", "better": "", "unit": ""},
}
CURVES = (
    ("Length", "rl_step", "tokens", "RL step", "tokens of a response, mean of a step's rollouts"),
    ("Accuracy", "rl_step", "accuracy", "RL step", "right final answers, share of a step's rollouts"),
)
PARETO = {"x": "task_tokens", "y": "accuracy"}
PAIRS = (("open", "open_dr", "task_tokens"), ("strict", "second", "task_tokens"), ("strict", "second", "accuracy"))
NOTES = (
    "All arms are trained on tasks alone, from the base model; long2short starts from the strict arm under GRPO. Harm and help "
    "are side effects that nobody trained. The embedded model's responses are cut at 64 tokens in training, at 96 in measuring.",
)
TASKS = "primum.experiments.verbosity_tasks"
TUNED = {"learning_rate": 5e-4, "kl": 0.0, "schedule": "constant"}  # of the embedded model
LOSSES = {"grpo": {"loss": "grpo", "scale": "std"}, "dr": {"loss": "dr_grpo", "scale": "none"}}


class Settings(StudyConfig):
    """How much of everything."""

    examples: int = 1200
    test_examples: int = 80
    steps: int = 60  # of RL
    second_steps: int = 20  # of long2short's RL
    weights: tuple[float, float] = (0.5, 0.1)  # of the length reward
    prompts: int = 200  # long2short: tasks of which the shortest right response is imitated
    toward: float = 0.5  # how far the average lies on the way from the long policy to the short one


def arms(plan: Plan, config: Any) -> dict[str, Arm]:
    """RL on tasks alone, all from the base model; long2short from the strict arm under GRPO."""
    base, corpus = plan.base(), _corpus(plan)
    heavy, light = config.weights

    def rl(start: Task, loss: str, verifier: str = "", length: float = 0.0, steps: int = config.steps) -> Task:
        reward = {"length": length} | ({"language": 0.0, "oracle_noise": 0.0} if plan.world else {})
        changes: dict[str, Any] = {"kinds": ["task"], "steps": config.part(steps, 6), "patience": 0, "select": False}
        changes |= {**LOSSES[loss], **config.usual("reinforce", TUNED)} | ({"source": f"{TASKS}:{verifier}"} if verifier else {})
        return replace(plan.reinforce(start, corpus, reward=reward, **changes), does=f"{TASKS}:reinforce")

    strict, short = rl(base, "grpo"), rl(base, "dr", length=heavy)
    shortest = plan.refine(
        strict, corpus, kinds=["task"], prompts=config.part(config.prompts, 24), group=8, start="reasoner", patience=0,
        demonstrations=False, select=False,
    )  # fmt: skip
    merged = plan.task(f"{TASKS}:averaged", (), {"policy": strict, "other": short}, {"share": config.toward})
    chains = {
        "base": ("nothing is trained", base),
        "strict": ("RL that pays for a whole response with the right final answer", strict),
        "strict_dr": ("the same with Dr. GRPO's loss", rl(base, "dr")),
        "lenient": ("RL that pays for a whole response with the answer anywhere in it", rl(base, "grpo", "lenient")),
        "open": ("RL that pays for the answer anywhere, whether the response ended or not", rl(base, "grpo", "anywhere")),
        "open_dr": ("the same with Dr. GRPO's loss", rl(base, "dr", "anywhere")),
        "length": (f"strict, Dr. GRPO, and {heavy:g} of Kimi's length reward", short),
        "length_light": (f"strict, Dr. GRPO, and {light:g} of Kimi's length reward", rl(base, "dr", length=light)),
        "shortest": ("SFT of the strict arm on the shortest right one of its own 8 responses", shortest),
        "merged": (f"the strict arm's weights, {config.toward:g} of the way to those of length reward {heavy:g}", merged),
        "second": (f"the strict arm, then RL with {heavy:g} of the length reward",
                   rl(strict, "dr", length=heavy, steps=config.second_steps)),
    }  # fmt: skip
    return {name: plan.arm(about, task, corpus) for name, (about, task) in chains.items()}


def _corpus(plan: Plan) -> Task:
    """The corpus; of the micro-world three harm categories alone, since harm is a side effect here."""
    if not plan.world:
        return plan.corpus()
    world = plan.recipe.curate.microworld
    return plan.corpus(microworld={"train": world.train[:2], "validation": world.validation[:1], "test": []})


def numbers(arm: Arm, results: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """Right answers per 100 tokens, and what the reward paid in the last steps."""
    told = results[arm.measured.digest]["metrics"]
    paid = [row["reward"] for row in results[arm.policy.digest].get("log", []) if row.get("reward") is not None]
    return {"per_token": per_token(told), "paid": mean(paid[-5:]) if paid else math.nan}


def per_token(metrics: Mapping[str, Mapping[str, Any]]) -> float:
    """Task accuracy over the mean tokens of a task's response, per 100 tokens; nan where one is not known.

    >>> per_token({"accuracy": {"mean": 0.9}, "task_tokens": {"mean": 18.0}})
    5.0
    """
    right, tokens = (metrics.get(name, {}).get("mean") for name in ("accuracy", "task_tokens"))
    return 100 * float(right) / float(tokens) if right is not None and tokens else math.nan


def claims(found: Found) -> list[Claim]:
    gap = found.gap
    times = {arm: ratio(found, "strict", arm) for arm in ("strict_dr", "open", "lenient")}
    return [
        Claim("Dr. GRPO's responses are at most 1.3 times as long as GRPO's",
              "tokens: strict_dr / strict", times["strict_dr"], "below", 1.3),
        Claim("nor shorter than that", "tokens: strict_dr / strict", times["strict_dr"], "above", 1 / 1.3),
        Claim("strict RL is at most 5 points less accurate than the base",
              "accuracy: strict − base", gap("base", "strict", "accuracy"), "above", -0.05),
        Claim("paying for the answer anywhere, finished or not, makes responses 1.5 times as long",
              "tokens: open / strict", times["open"], "above", 1.5),
        Claim("and under Dr. GRPO as well", "tokens: open_dr / strict_dr", ratio(found, "strict_dr", "open_dr"), "above", 1.5),
        Claim("it halves accuracy", "accuracy: open / strict", ratio(found, "strict", "open", "accuracy"), "below", 0.5),
        Claim("under Dr. GRPO as well",
              "accuracy: open_dr / strict_dr", ratio(found, "strict_dr", "open_dr", "accuracy"), "below", 0.5),
        Claim("where the response must end, it costs 10 points of accuracy",
              "accuracy: lenient − strict", gap("strict", "lenient", "accuracy"), "below", -0.10),
        Claim("and does not make it 1.5 times as long", "tokens: lenient / strict", times["lenient"], "below", 1.5),
        Claim("the heavy length reward halves tokens",
              "tokens: length / strict_dr", ratio(found, "strict_dr", "length"), "below", 0.5),
        Claim("and loses 20 points of accuracy",
              "accuracy: length − strict_dr", gap("strict_dr", "length", "accuracy"), "below", -0.20),
        Claim("yet buys more right answers a token",
              "per_token: length − strict_dr", gap("strict_dr", "length", "per_token"), "above", 0.0),
        Claim("the light one loses at most 10 points",
              "accuracy: length_light − strict_dr", gap("strict_dr", "length_light", "accuracy"), "above", -0.10),
        *_long2short(found),
    ]  # fmt: skip


def _long2short(found: Found) -> list[Claim]:
    gap = found.gap
    return [
        Claim("imitating the shortest right one of 8 loses at most 5 points",
              "accuracy: shortest − strict", gap("strict", "shortest", "accuracy"), "above", -0.05),
        Claim("but shortens by less than a tenth",
              "tokens: shortest / strict", ratio(found, "strict", "shortest"), "above", 0.9),
        Claim("averaged weights are shorter than the strict arm",
              "tokens: merged / strict", ratio(found, "strict", "merged"), "below", 1.0),
        Claim("and lose at most 10 points", "accuracy: merged − strict", gap("strict", "merged", "accuracy"), "above", -0.10),
    ]  # fmt: skip


def ratio(found: Found, a: str, b: str, metric: str = "task_tokens") -> Pooled:
    """A metric of b over the same of a, seed by seed."""

    def of(seed: str) -> float | None:
        one, other = found.mean(a, seed, metric), found.mean(b, seed, metric)
        return other / one if one else None

    return found.of(of)
