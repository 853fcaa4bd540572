"""What each measured number is called, its unit, which way is better, and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["share", "tokens", "flops", "count", "seconds", "number"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the headline table."""

    key: str
    label: str
    short: str
    unit: Unit
    better: Literal["lower", "higher", ""]
    group: str
    meaning: str


METRICS: tuple[Metric, ...] = (
    Metric("harm_train", "Harm, seen categories", "harm, seen", "share", "lower", "Harm",
           "Harmful replies to fresh harmful prompts of the categories trained on."),
    Metric("harm_validation", "Harm, validation categories", "harm, valid.", "share", "lower", "Harm",
           "The same for categories never trained on, but used to choose and stop: slightly optimistic."),
    Metric("harm_test", "Harm, unseen categories", "harm, unseen", "share", "lower", "Harm",
           "The same for categories that neither training nor selection ever saw: the number to quote."),
    Metric("harm_thought", "Harm in the thought", "harm, thought", "share", "lower", "Harm",
           "Thoughts that hold harmful content, whatever the reply does; judged apart from the reply."),
    Metric("over_refusal", "Over-refusal of look-alikes", "over-refusal", "share", "lower", "Use",
           "Benign prompts that resemble harmful ones and are refused, wholly or in part."),
    Metric("benign_useful", "Usefulness on benign prompts", "useful", "share", "higher", "Use",
           "Replies to benign prompts that do what was asked."),
    Metric("borderline_useful", "Usefulness on look-alikes", "useful, look-alikes", "share", "higher", "Use",
           "Replies to benign look-alikes that do what was asked."),
    Metric("task_accuracy", "Task accuracy", "accuracy", "share", "higher", "Use",
           "Verifiable tasks whose final answer is right."),
    Metric("language_mixing", "Language mixing", "mixing", "share", "lower", "Form",
           "Share of a completion's letters in a script its prompt never uses."),
    Metric("contradictions", "Contradictions", "contradictions", "share", "lower", "Form",
           "Completions whose thought comes to one verdict and whose reply acts on another."),
    Metric("repetition", "Repetition", "repetition", "share", "lower", "Form",
           "Share of a completion that repeats what it already said."),
    Metric("well_formed", "Well-formed", "well-formed", "share", "higher", "Form",
           "Completions that close the thought once and go on to a reply."),
    Metric("thought_tokens", "Thought length", "thought", "tokens", "", "Form", "Tokens of the thought, a rollout."),
    Metric("reply_tokens", "Reply length", "reply", "tokens", "", "Form", "Tokens of the reply, a rollout."),
    Metric("truncated", "Truncated", "truncated", "share", "lower", "Form",
           "Completions cut off by the token limit: a state of its own, never safe and never a refusal."),
    Metric("unscored", "Unscored", "unscored", "share", "lower", "Form",
           "Rollouts a judge could not tell about. They enter no mean and are counted here."),
    Metric("flops", "Compute", "FLOPs", "flops", "lower", "Cost", "Floating-point operations to make the arm, sampling too."),
    Metric("sampled_tokens", "Sampled tokens", "sampled", "count", "lower", "Cost", "Tokens sampled to make this arm."),
    Metric("trained_tokens", "Trained tokens", "trained", "count", "lower", "Cost", "Tokens trained on to make this arm."),
    Metric("oracle_queries", "Oracle queries", "oracle", "count", "lower", "Cost", "Answers bought from the metered judge."),
    Metric("seconds", "Wall time", "seconds", "seconds", "lower", "Cost", "Seconds on the machine named below."),
    Metric("peak_mib", "Peak memory, MiB", "peak MiB", "count", "lower", "Cost", "The most memory held at once to make it."),
)  # fmt: skip
BY_KEY = {m.key: m for m in METRICS}
GROUPS = {"Harm": "Harm", "Use": "Usefulness", "Form": "Form", "Cost": "Cost of making it", "Other": "Other"}
REQUIRED = ("harm_train", "harm_validation", "harm_test", "over_refusal", "benign_useful", "task_accuracy", "language_mixing",
            "thought_tokens", "flops", "seconds")  # fmt: skip

ARMS = {"base": "Base", "sft": "SFT alone", "rl": "RL alone", "sft_rl": "SFT + RL", "hybrid": "Hybrid", "distilled": "Distilled"}
ARM_MEANINGS = {
    "base": "the model as it came",
    "sft": "supervised fine-tuning only",
    "rl": "reinforcement learning only",
    "sft_rl": "SFT, then RL: the hybrid before refinement",
    "hybrid": "SFT, then RL, then SFT on its own best rollouts and a second RL",
    "distilled": "a smaller student of the last teacher",
}
ROLES = {
    "train": ("Seen", "fresh prompts of categories that training used"),
    "validation": ("Validation", "never trained on; chose checkpoints and stopping"),
    "test": ("Unseen", "never trained on, never used to choose"),
}
STAGES = {
    "1-curate": "Data curation",
    "2-coldstart": "Cold-start SFT",
    "3-reinforce": "RL after SFT",
    "3-alone": "RL alone",
    "4-refine": "Refinement",
    "5-distill": "Distillation",
    "6-compare": "Comparison",
}


def metric(key: str) -> Metric:
    """The metric of that name; an unknown one is printed as a bare number, without a direction."""
    return BY_KEY.get(key) or Metric(key, key.replace("_", " "), key.replace("_", " "), "number", "", "Other", "")


def measured(arms: dict[str, dict[str, Any]]) -> list[Metric]:
    """The metrics that some arm holds, known ones in their order, then the others as they come."""
    found = {k: None for arm in arms.values() for k, v in arm.items() if k != "harm_by_category" and is_estimate(v)}
    return [m for m in METRICS if m.key in found] + [metric(k) for k in found if k not in BY_KEY]


def is_estimate(value: Any) -> bool:
    return isinstance(value, dict) and "mean" in value


def number(unit: Unit, value: float | None, *, signed: bool = False) -> str:
    """`value` with its unit; "–" where it was not measured. Shares are printed in percent.

    >>> number("share", 0.0313), number("flops", 2.5e12), number("seconds", 1234.5), number("tokens", None)
    ('3.1\u202f%', '2.50\u202fTFLOP', '1\u202f234\u202fs', '–')
    """
    if value is None:
        return "–"
    sign = "+" if signed and value > 0 else ""
    return (
        sign
        + bare(unit, value)
        + {"share": "\u202f%", "flops": f"\u202f{_prefix(value)}FLOP", "seconds": "\u202fs"}.get(unit, "")
    )


def bare(unit: Unit, value: float) -> str:
    """`value` without its unit, with a true minus sign and thin spaces between thousands.

    >>> bare("share", -0.05), bare("count", 1234567), bare("tokens", 12.34)
    ('−5.0', '1\u202f234\u202f567', '12.3')
    """
    if unit == "share":
        text = f"{100 * value:.1f}"
    elif unit == "flops":
        text = f"{value / SI[_prefix(value)]:.3g}" if value == 0 else f"{value / SI[_prefix(value)]:.2f}"
    elif unit in ("count", "seconds"):
        text = f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"
    else:
        text = f"{value:,.1f}" if unit == "tokens" else f"{value:.4g}"
    return ("0.0" if text == "-0.0" else text).replace("-", "−").replace(",", "\u202f")


SI = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21}


def _prefix(value: float) -> str:
    return next((p for p, size in reversed(SI.items()) if abs(value) >= size), "")


def interval(unit: Unit, value: dict[str, Any], *, between: str = " – ") -> str:
    """The 95 % interval without its unit; "" for a counted number and for one without an interval.

    >>> interval("share", {"mean": 0.5, "low": 0.25, "high": 0.75})
    '25.0 – 75.0'
    """
    low, high = value.get("low"), value.get("high")
    if low is None or high is None or is_counted(unit, value):
        return ""
    if unit == "flops":
        return f"{number(unit, low)}{between}{number(unit, high)}"
    return f"{bare(unit, low)}{between}{bare(unit, high)}"


def is_counted(unit: Unit, value: dict[str, Any]) -> bool:
    """Whether the number was counted, not estimated: a cost whose interval is itself."""
    return unit in ("flops", "count", "seconds") and value.get("low") == value.get("high")


def arm_name(arm: str) -> str:
    return ARMS.get(arm, arm)


def span_n(values: list[dict[str, Any]]) -> str:
    """The scored counts of several estimates, as one number or a range.

    >>> span_n([{"n": 40}, {"n": 38}]), span_n([{"n": 7}]), span_n([])
    ('38–40', '7', '0')
    """
    counts = sorted({int(v.get("n") or 0) for v in values}) or [0]
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
