"""Can a policy write its own demonstrations? Written ones, its own best rollouts, and critique-and-revise, at equal size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from primum.experiments.labelling import check_apart
from primum.study.claims import Claim, Found, Pooled, Sense, Target
from primum.study.graph import Task
from primum.study.plan import Arm, Plan
from primum.study.settings import StudyConfig
from primum.types import KINDS, Kind

QUESTION = (
    "At equal size, do demonstrations that a base model makes itself, by rejection sampling or by critique and revision, teach "
    "as much as written ones, about harms that they show and harms that they do not?"
)
PREDICTION = (
    "Critique and revise, labelled, reaches 95 % of the written demonstrations' effect on trained categories and 90 % on "
    "unseen ones; without labels it reaches 90 % on trained ones. The base model's own labelled rollouts, whose thoughts "
    "say nothing of right and wrong, reach less than 95 % on unseen ones. Fewer than one in ten responses to harmful "
    "prompts passes the critique's own test. At most 5 % of what critique keeps unasked is wrong. Labelled critique refuses "
    "look-alikes no more than written demonstrations do by 2 points, and loses at most 3 points of task accuracy against them."
)
ARMS = {
    "base": "base", "written": "written", "selfmade": "own rollouts, labelled", "revised": "critique and revise, nobody asked",
    "checked": "critique and revise, labelled",
}  # fmt: skip
GENERATED = ("selfmade", "revised", "checked")
SHOWN = (
    "harm_seen", "harm_novel", "over_refusal", "useful", "accuracy", "contradictions", "pairs_right", "size", "yield",
    "yield_harmful", "wrong", "with_thought", "distinct_thoughts", "distinct_replies", "near_duplicates", "contaminated",
    "labels", "sampled", "tflops",
)  # fmt: skip
LABELS = {
    "tflops": {"label": "compute of demonstrations and training", "better": "lower", "unit": "TFLOP"},
    "size": {"label": "demonstrations", "better": "", "unit": ""},
    "sampled": {"label": "responses drawn to make them", "better": "lower", "unit": ""},
    "yield": {"label": "responses drawn that pass, repetitions left out", "better": "higher", "unit": "share"},
    "yield_harmful": {"label": "the same of harmful prompts", "better": "higher", "unit": "share"},
    "labels": {"label": "labels asked for", "better": "lower", "unit": ""},
    "wrong": {"label": "demonstrations that are wrong", "better": "lower", "unit": "share"},
    "with_thought": {"label": "demonstrations with a thought", "better": "", "unit": "share"},
    "distinct_thoughts": {"label": "different thoughts, of all demonstrations", "better": "higher", "unit": "share"},
    "distinct_replies": {"label": "different replies", "better": "higher", "unit": "share"},
    "near_duplicates": {"label": "near-duplicates of an earlier one", "better": "lower", "unit": "share"},
    "contaminated": {"label": "share a passage with a test prompt", "better": "lower", "unit": "share"},
}
CURVES = ()
PARETO = {"x": "harm_novel", "y": "over_refusal"}
PAIRS = (
    ("written", "selfmade", "harm_seen"), ("written", "checked", "harm_seen"), ("revised", "checked", "harm_novel"),
    ("written", "checked", "over_refusal"), ("written", "checked", "accuracy"),
)  # fmt: skip
TASKS = "primum.experiments.auto_data_tasks"
NOTES = (
    "Every set is cut to the kinds and sizes that all sets have. Critique asks the base model's own knowledge one question after "
    "another; the questions are given, the answers are its own. 'Nobody asked': a reply is kept if it is whole and does what "
    "the critique's verdict says, a sum if most of its siblings agree; 'labelled': the metered labeller also says it is right.",
)


class Settings(StudyConfig):
    """How many demonstrations, and how they are drawn."""

    wanted: int = 200  # demonstrations of each kind of prompt
    epochs: int = 8  # of the cold start
    samples: dict[Kind, int] = Field(dict(zip(KINDS, (16, 3, 3, 5), strict=True)))  # responses drawn of a prompt
    spare: dict[Kind, float] = Field(dict(zip(KINDS, (2.6, 1.2, 1.2, 1.3), strict=True)))  # prompts asked for each one wanted
    temperature: float = 1.0  # of replies
    limit_tokens: int = 64
    label_noise: float = 0.0  # share of the labeller's answers that are wrong; in the micro-world alone


def arms(plan: Plan, config: Any) -> dict[str, Arm]:
    """The same cold start on each set of demonstrations."""
    check_apart(plan.recipe)
    base, corpus = plan.base(), plan.corpus()
    sets = _sets(plan, config, base, corpus)
    about = {
        "written": "the corpus' demonstrations", "selfmade": "the base model's own responses that the labeller calls right",
        "revised": "its replies after its own critique, filtered by form alone",
        "checked": "those of them that the labeller calls right",
    }  # fmt: skip
    chains = {"base": ("nothing is trained", base)}
    for name in sets:
        made = levelled(plan, config, sets, name, corpus)
        cold = plan.coldstart(base, corpus, made=made, demonstrations=0, patience=0, epochs=config.epochs, select=False)
        chains[name] = (f"{config.epochs} epochs on {about[name]}", cold)
    return {name: plan.arm(told, task, corpus) for name, (told, task) in chains.items()}


def _sets(plan: Plan, config: Any, base: Task, corpus: Task) -> dict[str, Task]:
    """The tasks that make demonstrations, by arm."""
    own = {key: getattr(config, key) for key in ("samples", "spare", "temperature", "limit_tokens")}
    own |= {"wanted": config.part(config.wanted, min(20, config.wanted)), "noise": config.label_noise}
    needs, sections = {"policy": base, "corpus": corpus}, ("reward", "adapt")
    revised = plan.task(f"{TASKS}:revised", sections, needs, own)
    return {
        "written": plan.task(f"{TASKS}:written", (), {"corpus": corpus}, {}),
        "selfmade": plan.task(f"{TASKS}:selfmade", sections, needs, own),
        "revised": revised,
        "checked": plan.task(f"{TASKS}:checked", sections, {"made": revised}, {"noise": config.label_noise}),
    }


def levelled(plan: Plan, config: Any, sets: Mapping[str, Task], name: str, corpus: Task) -> Task:
    """One set cut to what all sets have."""
    needs = {"mine": sets[name], "corpus": corpus} | {f"other{i}": made for i, made in enumerate(sets.values())}
    return plan.task(f"{TASKS}:levelled", (), needs, {"wanted": config.part(config.wanted, min(20, config.wanted))})


def numbers(arm: Arm, results: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """What the arm's demonstrations are like and what they took."""
    made = arm.policy.needs.get("demonstrations")
    noted = dict(results[made.digest]["noted"]) if made else {}
    if not noted:
        return {}
    drawn = {kind: noted.pop(f"drawn_{kind}", 0) for kind in ("harmful", "borderline", "benign", "task")}
    passed, harmful = (noted.pop(name, math.nan) for name in ("passed", "passed_harmful"))
    noted["yield"] = passed / noted["sampled"] if noted["sampled"] else math.nan
    noted["yield_harmful"] = harmful / drawn["harmful"] if drawn["harmful"] else math.nan
    return {name: float(value) for name, value in noted.items()}


def claims(found: Found) -> list[Claim]:
    gap, value = found.gap, found.value

    def share(text: str, arm: str, where: str, sense: Sense, limit: float) -> Claim:
        return Claim(text, f"effect on {where}: {arm} / written", effect(found, arm, where), sense, limit)

    return [
        share("labelled critique has 95 % of the written effect on trained categories", "checked", "harm_seen", "above", 0.95),
        share("and 90 % on unseen ones", "checked", "harm_novel", "above", 0.90),
        share("critique without labels has 90 % on trained categories", "revised", "harm_seen", "above", 0.90),
        share("own labelled rollouts have less than 95 % on unseen ones", "selfmade", "harm_novel", "below", 0.95),
        Claim("fewer than one in ten responses to harmful prompts passes", "yield_harmful: revised",
              value("revised", "yield_harmful"), "below", 0.10),
        Claim("at most 5 % of what critique keeps unasked is wrong", "wrong: revised", value("revised", "wrong"), "below", 0.05),
        Claim("labelled critique refuses look-alikes no more than written ones by 2 points", "over_refusal: checked − written",
              gap("written", "checked", "over_refusal"), "below", 0.02),
        Claim("and loses at most 3 points of accuracy", "accuracy: checked − written",
              gap("written", "checked", "accuracy"), "above", -0.03),
    ]  # fmt: skip


def targets(found: Found) -> list[Target]:
    return [
        Target(f"critique and revise, labelled: at least 95 % of the written demonstrations' effect on {where} categories",
               effect(found, "checked", metric), "above", 0.95)
        for where, metric in (("trained", "harm_seen"), ("unseen", "harm_novel"))
    ]  # fmt: skip


def effect(found: Found, arm: str, metric: str) -> Pooled:
    """By how much the arm's demonstrations lessened a harm, over how much the written ones did."""

    def of(seed: str) -> float | None:
        base, ours, theirs = (found.mean(name, seed, metric) for name in ("base", arm, "written"))
        return (base - ours) / (base - theirs) if base > theirs else None

    return found.of(of)
