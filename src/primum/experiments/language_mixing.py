"""Does RL on right answers alone drift into the language that errs least, and what does keeping the prompt's language cost?"""

from __future__ import annotations

from typing import Any

from primum.study.claims import Claim, Found, Target
from primum.study.graph import Task
from primum.study.plan import Arm, Plan
from primum.study.settings import StudyConfig

QUESTION = (
    "Does RL that pays for right answers alone leave the prompt's language for the one that errs less, does a language reward "
    "keep it there, and what does that cost in accuracy?"
)
PREDICTION = (
    "RL on tasks with accuracy as the only reward makes B tasks more often right than the base model, and at least half of their "
    "replies come in A, in which the base model errs less; their thoughts go with them. It does so where all its prompts are B "
    "tasks too, and even where all are A tasks. A tasks stay in A (at most 5 % in B). The language reward leaves at most 5 % of "
    "B replies in A, at weight 1 and at weight 0.25, and at weight 1 the accuracy on B tasks is at most 5 points below that of "
    "accuracy alone. Where demonstrations in the prompt's language have first taken most of the raw material away, the same "
    "accuracy-only RL leaves at least half of the B replies in B."
)
ARMS = {
    "base": "base", "accuracy": "accuracy alone", "light": "language reward 0.25", "full": "language reward 1",
    "asked_a": "accuracy alone, A prompts", "asked_b": "accuracy alone, B prompts", "shown": "demonstrations",
    "shown_accuracy": "demonstrations, then accuracy alone",
}  # fmt: skip
WEIGHTS = {"accuracy": 0.0, "light": 0.25, "full": 1.0}
TUNED = {"learning_rate": 5e-4, "kl": 0.0, "scale": "std", "schedule": "constant"}  # of the embedded model: GRPO without a pull
SHOWN = (
    "off_reply_b", "off_thought_b", "off_language_a", "accuracy_b", "accuracy", "off_reply", "off_thought", "off_language",
    "task_tokens", "harm_seen", "useful", "tflops",
)  # fmt: skip
LABELS = {"tflops": {"label": "training compute", "better": "lower", "unit": "TFLOP"}}
CURVES = (
    ("B tasks answered in A", "step", "off_language_b", "RL step", "B tasks answered in A, share of a step's rollouts"),
    ("Accuracy on B tasks", "step", "accuracy_b", "RL step", "B tasks answered rightly, share of a step's rollouts"),
    ("Entropy", "step", "entropy", "RL step", "entropy, nats a token"),
)
PARETO = {"x": "off_reply_b", "y": "accuracy_b"}
PAIRS = (("accuracy", "full", "accuracy_b"), ("accuracy", "light", "accuracy_b"), ("base", "accuracy", "off_reply_b"))
NOTES = (
    "In the micro-world's base corpus 19 % of B sums are worked out and answered in A, and 15 % of the steps of B sums are wrong "
    "against 3 % of those of A sums: that is all there is to drift along. The arm accuracy alone has nothing in its reward, loss "
    "or prompts that names a language.",
    "A base model whose corpus never answers B sums in A would be the strictest control; it takes ten minutes of a core to "
    "train. Demonstrations in the prompt's language, which take the same raw material away, stand in for it.",
    "The language reward takes its weight times the share of letters in a script that the prompt never uses.",
)


class Settings(StudyConfig):
    """How much of everything."""

    steps: int = 60  # of RL
    demonstrations: int = 300  # of the control
    epochs: int = 4  # on them


def arms(plan: Plan, config: Any) -> dict[str, Arm]:
    """RL on tasks with three weights of the language reward; in the micro-world the controls too."""
    base, corpus = plan.base(), plan.corpus()
    rl: dict[str, Any] = {"kinds": ["task"], "steps": config.part(config.steps, 6), "patience": 0, "select": False}
    rl |= config.usual("reinforce", TUNED)
    chains: dict[str, tuple[str, Task]] = {"base": ("nothing is trained", base)}
    for name, weight in WEIGHTS.items():
        trained = plan.reinforce(base, corpus, reward={"language": weight}, **rl)
        chains[name] = (f"RL on tasks; {weight:g} of reward for letters of the prompt's script", trained)
    if plan.world:
        chains |= controls(plan, config, rl)
    return {name: plan.arm(about, task, corpus, samples=2) for name, (about, task) in chains.items()}


def controls(plan: Plan, config: Any, rl: dict[str, Any]) -> dict[str, tuple[str, Task]]:
    """RL on accuracy alone with prompts of one language, and after demonstrations in the prompt's language."""
    base, corpus, alone = plan.base(), plan.corpus(), {"language": 0.0}
    made: dict[str, tuple[str, Task]] = {}
    for language, share in (("A", 1.0), ("B", 0.0)):
        asked = plan.corpus(microworld={"train_share_a": share})
        trained = plan.reinforce(base, asked, reward=alone, **rl)
        made[f"asked_{language.lower()}"] = (f"RL on {language} tasks with accuracy alone", trained)
    sized = {"demonstrations": config.part(config.demonstrations, 40), "epochs": config.epochs, "patience": 0}
    shown = plan.coldstart(base, corpus, lessons={"kinds": ["task"]}, select=False, **sized)
    made["shown"] = (f"{sized['demonstrations']} tasks demonstrated in the prompt's language", shown)
    made["shown_accuracy"] = ("the same, then RL on tasks with accuracy alone", plan.reinforce(shown, corpus, reward=alone, **rl))
    return made


def claims(found: Found) -> list[Claim]:
    reply, thought, right = (of_b(found, name) for name in ("off_reply", "off_thought", "accuracy"))
    value, gap = found.value, found.gap
    said = [
        Claim("after RL on accuracy alone at least half of the replies to B tasks are in A",
              f"{reply}: accuracy", value("accuracy", reply), "above", 0.5),
        Claim("and at least half of the thoughts",
              f"{thought}: accuracy", value("accuracy", thought), "above", 0.5),
        Claim("it is more accurate on B tasks than the base model",
              f"{right}: accuracy − base", gap("base", "accuracy", right), "above", 0.0),
        Claim("the language reward at weight 1 leaves at most 5 % of them in A",
              f"{reply}: full", value("full", reply), "below", 0.05),
        Claim("a weight of 0.25 does too",
              f"{reply}: light", value("light", reply), "below", 0.05),
        Claim("at weight 1 it costs at most 5 points of accuracy on B tasks",
              f"{right}: full − accuracy", gap("accuracy", "full", right), "above", -0.05),
    ]  # fmt: skip
    if "shown_accuracy" not in found.arms:
        return said
    return [
        *said,
        Claim("A tasks stay in A without any language reward, at most 5 % in B",
              "off_language_a: accuracy", value("accuracy", "off_language_a"), "below", 0.05),
        Claim("RL on B tasks alone brings at least half of their replies in A",
              f"{reply}: asked_b", value("asked_b", reply), "above", 0.5),
        Claim("RL on A tasks alone does too",
              f"{reply}: asked_a", value("asked_a", reply), "above", 0.5),
        Claim("control: after consistent demonstrations RL on accuracy alone brings at most half of B replies in A",
              f"{reply}: shown_accuracy", value("shown_accuracy", reply), "below", 0.5),
    ]  # fmt: skip


def targets(found: Found) -> list[Target]:
    reply, cost = of_b(found, "off_reply"), found.gap("accuracy", "full", of_b(found, "accuracy"))
    return [
        Target("at least half of the replies in another language without it", found.value("accuracy", reply), "above", 0.5),
        Target("at most 0.05 with it (weight 1)", found.value("full", reply), "below", 0.05),
        Target("at 5 points of accuracy or less", cost, "above", -0.05),
    ]


def of_b(found: Found, name: str) -> str:
    """The metric of the micro-world's B tasks, or that of all tasks where the data have no B."""
    there = any(f"{name}_b" in told for seeds in found.arms.values() for told in seeds.values())
    return f"{name}_b" if there else name
