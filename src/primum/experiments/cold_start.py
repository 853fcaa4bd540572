"""What do a few demonstrations before RL buy where the base hardly knows the format: steps, stability, safety, readability?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from primum.study.claims import Bound, Claim, Found, Pooled, Target
from primum.study.experiment import trail
from primum.study.plan import Arm, Plan
from primum.study.settings import StudyConfig

QUESTION = (
    "What does a cold start of some tens or hundreds of demonstrations save and steady in the RL that follows, against RL from "
    "a raw base model that hardly knows the format?"
)
PREDICTION = (
    "From the raw base fewer than half of RL's first rollouts are well formed, after 150 demonstrations at least 85 %. RL from "
    "the raw base finds the form within some tens of steps, but gives up its thoughts: its responses are shorter in the end than "
    "those after the cold start. A cold start of 150 demonstrations saves a third of the RL steps to a mean reward of 0.7 or "
    "more, but no compute, since what it thinks has to be sampled. After equally many RL steps it does less harm, on trained and "
    "on unseen categories. Its largest KL from the start of RL is lower. 600 demonstrations reach the target no later than 150. "
    "From a base with the format in 60 % of its dialogues nearly all rollouts (95 %) are well formed from the first step: what "
    "the raw base lacks is the format."
)
ARMS = {
    "base": "raw base", "raw": "RL from the raw base", "cold_50": "50 demonstrations, RL", "shown_150": "150 demonstrations",
    "cold_150": "150 demonstrations, RL", "cold_600": "600 demonstrations, RL", "ready": "RL from a base with the format",
}  # fmt: skip
SIZES = (50, 150, 600)
TARGET, WINDOW = 0.7, 5  # mean reward of so many steps in a row that an arm has to reach
SHOWN = (
    "steps_to_target", "tflops_to_target", "reached", "well_formed_start", "kl_peak", "entropy_start", "entropy_end",
    "reward_std_start", "reward_std_end", "well_formed", "readable", "off_language", "harm_seen", "harm_novel", "over_refusal",
    "useful", "accuracy", "tokens", "tflops",
)  # fmt: skip
LABELS = {
    "steps_to_target": {"label": f"RL steps to a mean reward of {TARGET:g}", "better": "lower", "unit": "steps"},
    "tflops_to_target": {"label": f"compute to a mean reward of {TARGET:g}", "better": "lower", "unit": "TFLOP"},
    "reached": {"label": "it was reached", "better": "higher", "unit": "share"},
    "well_formed_start": {"label": "well-formed rollouts, first RL step", "better": "higher", "unit": "share"},
    "kl_peak": {"label": "largest KL of an RL step from its start", "better": "lower", "unit": "nats"},
    "entropy_start": {"label": "entropy, first RL step", "better": "", "unit": "nats"},
    "entropy_end": {"label": "entropy, last RL steps", "better": "", "unit": "nats"},
    "reward_std_start": {"label": "deviation of rewards, first RL step", "better": "", "unit": ""},
    "reward_std_end": {"label": "deviation of rewards, last RL steps", "better": "", "unit": ""},
    "tflops": {"label": "training compute", "better": "lower", "unit": "TFLOP"},
}
CURVES = (
    ("Reward", "step", "reward", "RL step", "mean reward of a step"),
    ("Form", "step", "well_formed", "RL step", "well-formed rollouts, share of a step's"),
    ("KL from the start of RL", "step", "kl", "RL step", "KL, nats a rollout"),
    ("Entropy", "step", "entropy", "RL step", "entropy, nats a token"),
    ("Spread of rewards", "step", "reward_std", "RL step", "standard deviation of a step's rewards"),
    ("Foreign language", "step", "off_language", "RL step", "rollouts mostly in another script, share of a step's"),
)
PARETO = {"x": "tflops_to_target", "y": "harm_novel"}
PAIRS = (("raw", "cold_150", "harm_novel"), ("raw", "cold_150", "accuracy"), ("cold_150", "cold_600", "harm_novel"))
NOTES = (
    "The raw base is the micro-world's, with the format in one of a thousand dialogues: the chat template opens the thought, and "
    "a base with the format in 4 % of them closed it in 95 % of its responses (800 steps of training, one seed), so that nothing "
    "was left to cure. It is trained once for all seeds, for as many steps as the base that ships, so that the two differ in the "
    "format alone: nine to ten minutes of a core, cached afterwards. A third of the steps knew the facts as well (98 % against "
    "100 % of verdicts) but got 35 % of tasks right, against 85 %.",
    f"The target is a mean reward of {TARGET:g} over {WINDOW} steps in a row. An arm that never reaches it counts with all its "
    "steps: what the others save is then at least what is told.",
    "Readable is a response that has its form, ended by itself, and is in the script of its prompt by nine letters of ten.",
)


class Settings(StudyConfig):
    """How much of everything."""

    first_seed: int = 3  # seeds 0 to 2 were asked with 80 steps, which were too few: see the log
    steps: int = 200  # of RL; an arm that never reaches the target counts with all of them
    updates: int = 30  # of a cold start, at least; no fewer than three epochs
    raw_steps: int = 2400  # of the training of the micro-world's raw base, once for all seeds
    raw_format: float = 0.001  # share of dialogues with the format in the raw base's corpus


def arms(plan: Plan, config: Any) -> dict[str, Arm]:
    """RL from the raw base at once, after cold starts of several sizes, and from the base that knows the format."""
    corpus = plan.corpus()
    base = raw_base(plan, config)
    rl: dict[str, Any] = {"steps": config.part(config.steps, 8), "patience": 0, "select": False}
    rl |= config.usual("reinforce", {"schedule": "constant", "learning_rate": 5e-4})
    chains = {"base": ("nothing is trained", base), "raw": ("RL without demonstrations", plan.reinforce(base, corpus, **rl))}
    for size in SIZES:
        epochs = max(3, math.ceil(config.part(config.updates) * plan.recipe.coldstart.batch / size))
        cold = plan.coldstart(base, corpus, demonstrations=size, epochs=epochs, patience=0, select=False)
        if size == 150:
            chains["shown_150"] = (f"{epochs} epochs on {size} demonstrations", cold)
        chains[f"cold_{size}"] = (
            f"{epochs} epochs on {size} demonstrations, then the same RL",
            plan.reinforce(cold, corpus, **rl),
        )
    if plan.world:
        ready = plan.reinforce(plan.base(), corpus, **rl)
        chains["ready"] = ("the same RL without demonstrations, from the base with the format in 60 % of its dialogues", ready)
    return {name: plan.arm(about, task, corpus) for name, (about, task) in chains.items()}


def raw_base(plan: Plan, config: Any) -> Any:
    """The model that hardly knows the format: the micro-world's wild base, else the user's own model."""
    if not plan.world:
        return plan.base()
    steps = min(60, config.raw_steps) if config.quick else config.raw_steps
    return plan.base(steps=steps, corpus={"format_share": config.raw_format})


def numbers(arm: Arm, results: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """When an arm's RL came to the target, at what cost, and how steady it was; nothing of an arm without RL."""
    rows = [r for r in trail(arm.policy, results) if r["stage"] == "reinforce" and r.get("reward") is not None]
    if not rows:
        return {}
    at = reached(rows)
    last = rows[-WINDOW:]
    told = {
        "steps_to_target": float((at or rows[-1])["step"]), "tflops_to_target": (at or rows[-1])["flops"] / 1e12,
        "reached": float(at is not None), "well_formed_start": rows[0].get("well_formed", math.nan),
        "kl_peak": max((r["kl"] for r in rows if r.get("kl") is not None), default=math.nan),
        "entropy_start": rows[0]["entropy"], "entropy_end": sum(r["entropy"] for r in last) / len(last),
        "reward_std_start": rows[0].get("reward_std", math.nan),
        "reward_std_end": sum(r.get("reward_std", math.nan) for r in last) / len(last),
    }  # fmt: skip
    return told


def reached(rows: Sequence[Mapping[str, Any]], target: float = TARGET, window: int = WINDOW) -> Mapping[str, Any] | None:
    """The first RL step that ends so many with a mean reward of the target or more; None where there is none.

    >>> rows = [{"step": i + 1, "reward": r} for i, r in enumerate([0.0, 0.6, 1.0, 1.0])]
    >>> reached(rows, 0.8, 2)["step"], reached(rows, 0.8, 4)
    (3, None)
    """
    for i in range(window, len(rows) + 1):
        if sum(r["reward"] for r in rows[i - window : i]) / window >= target - 1e-9:
            return rows[i - 1]
    return None


def claims(found: Found) -> list[Claim]:
    value, gap = found.value, found.gap
    said = [
        Claim("fewer than half of the first rollouts from the raw base are well formed",
              "well_formed_start: raw", value("raw", "well_formed_start"), "below", 0.5),
        Claim("after 150 demonstrations at least 85 %",
              "well_formed_start: cold_150", value("cold_150", "well_formed_start"), "above", 0.85),
        Claim("RL from the raw base ends with shorter responses than after 150 demonstrations",
              "tokens: cold_150 − raw", gap("raw", "cold_150", "tokens"), "above", 0.0),
        Claim("150 demonstrations save a third of the RL steps or more",
              "steps_to_target: raw / cold_150", saved(found, "steps_to_target", "cold_150"), "above", 1.5),
        Claim("but no compute",
              "tflops_to_target: raw / cold_150", saved(found, "tflops_to_target", "cold_150"), "below", 1.0),
        Claim("after equally many RL steps there is less harm on trained categories",
              "harm_seen: cold_150 − raw", gap("raw", "cold_150", "harm_seen"), "below", 0.0),
        Claim("and on unseen ones",
              "harm_novel: cold_150 − raw", gap("raw", "cold_150", "harm_novel"), "below", 0.0),
        Claim("the largest KL of a step is lower",
              "kl_peak: cold_150 − raw", gap("raw", "cold_150", "kl_peak"), "below", 0.0),
        Claim("600 demonstrations reach the target no later than 150",
              "steps_to_target: cold_150 / cold_600", saved(found, "steps_to_target", "cold_600", than="cold_150"), "above", 1.0),
    ]  # fmt: skip
    if "ready" not in found.arms:
        return said
    control = Claim("control: from the base with the format at least 95 % are well formed from the first step",
                    "well_formed_start: ready", value("ready", "well_formed_start"), "above", 0.95)  # fmt: skip
    return [*said, control]


def targets(found: Found) -> list[Target]:
    steps = saved(found, "steps_to_target", "cold_150")
    return [Target("a cold start of 150 demonstrations saves 3 times the RL steps or more", steps, "above", 3.0)]


def saved(found: Found, metric: str, arm: str, than: str = "raw") -> Pooled:
    """How many times as much another arm needs as this one, seed by seed.

    Where one of the two never reached the target all it had counts: the ratio is at least so much if that is the other, at most
    if it is this one, and tells nothing of a seed where neither did.
    """

    def of(seed: str) -> tuple[float, Bound]:
        ours, theirs = (found.mean(name, seed, "reached") == 1.0 for name in (arm, than))
        side: Bound = "unclear" if not ours and not theirs else "at least" if not theirs else "at most" if not ours else ""
        return found.mean(than, seed, metric) / found.mean(arm, seed, metric), side

    return found.bounded(of)
