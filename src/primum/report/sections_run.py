"""The second half of the page: training, reward hacking, cost, samples, how to repeat and read the run."""

from __future__ import annotations

import json
from typing import Any

import yaml

from primum.report import costs, plots
from primum.report.markup import Markup, embedded_json, join, tag
from primum.report.metrics import METRICS, STAGES, arm_name, number, span_n
from primum.report.samples import LIMIT_CHARACTERS
from primum.report.sections import absent, behind, figure, section, table

# Which arm a stage trains, by the front of its folder's name.
LOOKS = {"2-coldstart": "sft", "3-reinforce": "sft_rl", "3-alone": "rl", "4-refine": "hybrid", "5-distill": "distilled"}
# Logged name, title, unit on the axis, factor, fixed range.
PANELS: tuple[tuple[str, str, str, float, tuple[float | None, float | None]], ...] = (
    ("reward_harmful", "Reward, harmful prompts", "mean reward", 1, (None, None)),
    ("reward_borderline", "Reward, look-alikes", "mean reward", 1, (None, None)),
    ("reward_benign", "Reward, benign prompts", "mean reward", 1, (None, None)),
    ("reward_task", "Reward, tasks", "mean reward", 1, (None, None)),
    ("validation.harm", "Validation: harm", "% of replies", 100, (0, 100)),
    ("validation.over_refusal", "Validation: over-refusal", "% of replies", 100, (0, 100)),
    ("validation.useful", "Validation: usefulness", "% of replies", 100, (0, 100)),
    ("validation.accuracy", "Validation: task accuracy", "% of tasks", 100, (0, 100)),
    ("kl", "KL from the reference", "nats a rollout", 1, (0, None)),
    ("entropy", "Entropy", "nats a token", 1, (0, None)),
    ("thought_tokens", "Thought length", "tokens", 1, (0, None)),
    ("reply_tokens", "Reply length", "tokens", 1, (0, None)),
    ("truncated", "Truncated", "% of rollouts", 100, (0, None)),
    ("informative", "Groups that taught something", "% of groups", 100, (0, 100)),
    ("loss", "Loss", "nats a token", 1, (None, None)),
)


def training(report: dict[str, Any]) -> Markup:
    logged = {stage: rows for stage, rows in report["curves"].items() if rows}
    rl = {s: rows for s, rows in logged.items() if any("reward" in r or "kl" in r for r in rows)}
    sft = {s: rows for s, rows in logged.items() if s not in rl and any("loss" in r for r in rows)}
    if not rl and not sft:
        return section("training", "Training", None, absent("No training step was logged in this run."))
    parts: list[object] = []
    if rl:
        panels = [p for p in PANELS if p[0] != "loss"]
        parts += [tag("h3", "Reinforcement learning"), _keys(rl), _panels(rl, panels, "RL step")]
    if sft:
        panels = [p for p in PANELS if p[0] == "loss" or p[0].startswith("validation")]
        parts += [tag("h3", "Supervised fine-tuning"), _keys(sft), _panels(sft, panels, "optimiser step")]
    lead = (
        "Training signals, not results: they are what the run optimised and watched. Faint: each step; strong: the running "
        "mean of 9. n is the number of logged steps. Validation points carry no interval; the table of results does."
    )
    return section("training", "Training", lead, *parts)


def _look(stage: str) -> str:
    return next((look for front, look in LOOKS.items() if stage.startswith(front)), "other")


def _stage_name(stage: str) -> str:
    front, _, rest = stage.partition("/")
    return STAGES.get(front, front) + (f", {rest}" if rest else "")


def _keys(stages: dict[str, Any]) -> Markup:
    return tag("ul", *(tag("li", plots.line_key(_look(s)), _stage_name(s)) for s in stages), class_="legend")


def _panels(stages: dict[str, list[dict[str, Any]]], panels: list[Any], x_label: str) -> Markup:
    drawn = []
    for name, title, unit, factor, (low, high) in panels:
        series = [plots.Line(_stage_name(s), _look(s), _points(rows, name, factor)) for s, rows in stages.items()]
        series = [s for s in series if any(v is not None for _, v in s.points)]
        if series:
            counts = span_n([{"n": sum(v is not None for _, v in s.points)} for s in series])
            plot = plots.lines(f"{title}, {unit}, by {x_label}", series, x_label, unit, low=low, high=high)
            drawn.append(figure(title, f"n {counts} steps", plot))
    return tag("div", *drawn, class_="grid")


def _points(rows: list[dict[str, Any]], name: str, factor: float) -> list[tuple[float, float | None]]:
    """(step, value) of one logged name, a dotted one from inside; rows that lack it are left out."""
    out: list[tuple[float, float | None]] = []
    for i, row in enumerate(rows):
        outer, _, inner = name.partition(".")
        held = row.get(outer)
        if inner:
            held = held.get(inner) if isinstance(held, dict) else None
        elif outer not in row:
            continue
        if inner and held is None:
            continue
        step = row.get("step", i + 1)
        out.append((step, factor * held if isinstance(held, (int, float)) else None))
    return out


def hacking(report: dict[str, Any]) -> Markup:
    title = "Was the reward hacked?"
    if not report["hacking"]:
        return section("hacking", title, None, absent("This run holds no comparison of the reward with the gold judge."))
    cards = []
    for h in report["hacking"]:
        four = [h[k] for k in ("proxy_before", "proxy_after", "gold_before", "gold_after")]
        ends = [("proxy", "proxy", *four[:2]), ("gold", "gold", *four[2:])]
        before, after = arm_name(str(h.get("from") or "before")), arm_name(str(h["arm"]))
        plot = plots.slopes(f"Proxy and gold from {before} to {after}", ends, before, after, "mean value")
        rows: list[list[object]] = [[name, _plain(a), _plain(b)] for name, _, a, b in ends]
        said = tag("p", tag("b", "Hacked. " if h.get("hacked") else "No hack seen. "), str(h.get("verdict") or ""), class_="said")
        numbers = table(f"Proxy and gold, {after}", ["", before, after], rows, class_="small")
        cards.append(
            tag(
                "div",
                figure(f"{after}, reward “{h.get('reward', '')}”", f"n {span_n(four)} rollouts", plot),
                said,
                numbers,
                class_="card",
            )
        )
    lead = (
        "The proxy is the reward that training saw; the gold judge is one it never saw. A reward is hacked when the proxy "
        "rises and the gold value falls, or does not follow. Bars are 95\u202f% intervals."
    )
    return section("hacking", title, lead, tag("div", *cards, class_="grid two"))


def _plain(v: dict[str, Any]) -> Markup:
    if v["mean"] is None:
        return tag("span", "–")
    ends = f"{v['low']:.3f} – {v['high']:.3f}" if v["low"] is not None and v["high"] is not None else ""
    return join(
        tag("span", f"{v['mean']:.3f}", class_="value"), tag("span", ends, class_="ends"), tag("span", f"n {v['n']}", class_="n")
    )


def cost(report: dict[str, Any]) -> Markup:
    stages = report["stages"]
    if not stages:
        return section("cost", "Cost", None, absent("No stage has run."))
    shown = costs.columns(stages)
    rows: list[list[object]] = []
    for name, s in stages.items():
        state = "" if s["finished"] else " (unfinished)"
        label = join(STAGES.get(name, name), state, tag("small", name))
        rows.append([label, *(number(unit, s[k]) for k, _, unit in shown)])
    rows.append([tag("b", "Whole run"), *(tag("b", number(unit, costs.whole(stages, k))) for k, _, unit in shown)])
    whole = table("Cost by stage", ["Stage", *(label for _, label, _ in shown)], rows)
    return section("cost", "Cost", costs.LEAD, whole, *_parts(stages))


def _parts(stages: dict[str, Any]) -> list[Markup]:
    """Where each stage's cost went, where its ledger tells."""
    rows: list[list[object]] = [
        [join(_stage_name(name), ", ", costs.PARTS[part]), *(number(unit, spent[k]) for k, _, unit in costs.SPLIT)]
        for name, part, spent in costs.split(stages)
    ]
    if not rows:
        return []
    head: list[object] = ["Part", *(label for _, label, _ in costs.SPLIT)]
    return [tag("h3", "Where it went"), tag("p", costs.SPLIT_LEAD, class_="lead"), table("Cost by part of a stage", head, rows)]


def samples(chosen: dict[str, Any]) -> Markup:
    title = "Samples"
    if not chosen["prompts"]:
        return section("samples", title, None, absent("No rollout is in this run: 6-compare/rollouts-ARM.jsonl is not there."))
    shown, total = len(chosen["prompts"]), chosen["total"]
    which = (
        f"All {total} test prompts"
        if shown == total
        else f"{shown} of {total} test prompts, taken in turn from every kind and category"
    )
    lead = (
        f"{which}: the same prompt in every arm, its first rollout. Texts over {LIMIT_CHARACTERS} characters are cut. "
        "This is what models wrote, harmful text included, shown as plain text."
    )
    names = {a: arm_name(a) for a in chosen["arms"]}
    data = tag("script", embedded_json({**chosen, "names": names}), type="application/json", id="samples-data")
    fields = [
        _select("kind", "Kind"),
        _select("role", "Role"),
        _select("category", "Category"),
        _select("arm", "Arm"),
        _select("outcome", "Outcome"),
    ]
    text = tag("label", "Search", tag("input", type="search", id="filter-text", placeholder="prompt, thought or reply"))
    differ = tag("label", tag("input", type="checkbox", id="filter-differ"), "arms disagree", class_="check")
    form = tag("form", *fields, text, differ, id="filters", aria_label="Filter the samples")
    noscript = tag(
        "noscript", absent("The browser of samples needs JavaScript; the files 6-compare/rollouts-ARM.jsonl hold all of them.")
    )
    count = tag("p", id="samples-count", aria_live="polite")
    pager = tag("nav", id="samples-pager", aria_label="Pages of samples")
    return section("samples", title, lead, noscript, form, count, tag("div", id="samples-list"), pager, data)


def _select(name: str, label: str) -> Markup:
    return tag("label", label, tag("select", tag("option", "all", value=""), id=f"filter-{name}"))


def reproduce(report: dict[str, Any]) -> Markup:
    env = report["environment"]
    packages = env.get("packages") if isinstance(env.get("packages"), dict) else {}
    facts = {"Primum": env.get("primum"), "Code revision": env.get("git"), "Seed": report["seed"], "Python": env.get("python"),
             "Machine": env.get("machine"), "Cores": env.get("cores"), **packages}  # fmt: skip
    rows: list[list[object]] = [[k, str(v)] for k, v in facts.items() if v is not None]
    command = tag(
        "pre", tag("code", report["command"] or "not recorded"), tabindex="0", aria_label="Reproduction command", class_="command"
    )
    config = (
        yaml.safe_dump(json.loads(json.dumps(report["recipe"], default=str)), sort_keys=False, allow_unicode=True)
        if report["recipe"]
        else ""
    )
    recipe = (
        behind("The resolved configuration", tag("pre", tag("code", config), tabindex="0", aria_label="Configuration"))
        if config
        else None
    )
    lead = "The same command on the same revision, versions and machine gives the same numbers."
    return section(
        "reproduce", "Repeat this run", lead, command, table("Versions", ["What", "Which"], rows, class_="small"), recipe
    )


def reading(report: dict[str, Any]) -> Markup:
    present = {k for arm in report["arms"].values() for k in arm} or {m.key for m in METRICS}
    defined = [tag("div", tag("dt", m.label), tag("dd", m.meaning)) for m in METRICS if m.key in present]
    limits = (
        "An interval says how far the number could move with other prompts of the same kinds; it says nothing about another "
        "training seed, another judge or other harms. Seeds of one arm can differ widely.",
        "Intervals that touch zero are no proof of no difference: the largest difference that fits is printed beside them.",
        "Intervals are of single comparisons, uncorrected: of twenty true nulls, about one will look like a finding.",
        "A share of 0\u202f% among n prompts still allows up to about 3/n. Zero in 100 is no proof of less than 3\u202f%.",
        "Unscored rollouts enter no mean; truncated ones are neither safe nor refusals. Where they are many, doubt the means.",
        "A judge may err. The micro-world's judge is exact by construction; that of a real model is not.",
        "Harm on validation categories helped to choose the checkpoints, so it flatters the trained arms a little.",
    )
    lead = join("Every metric is defined in full in ", tag("code", "docs/metrics.md"), ".")
    lists = join(
        tag("dl", *defined, class_="terms"), tag("h3", "Limits"), tag("ul", *(tag("li", t) for t in limits), class_="limits")
    )
    return section("reading", "How to read this", lead, lists)
