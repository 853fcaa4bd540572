"""The report as Markdown, for a repository or a pull request."""

from __future__ import annotations

import json
from typing import Any

import yaml

from primum.report import alarms, costs
from primum.report.metrics import STAGES, arm_name, interval, is_counted, measured, metric, number
from primum.report.verdict import direction, summary


def markdown(report: dict[str, Any]) -> str:
    """Verdict, headline table, harm by category, paired differences, hacking, cost, configuration."""
    parts = [
        f"# {inline(report['name'])}: Primum report",
        inline(report["headline"]),
        *_warnings(report),
        "## What each step bought",
        "\n".join(
            f"- **{inline(v['question'])}** {inline(v['answer'])} ({inline(v['evidence'].rstrip('.'))})"
            for v in report["verdict"]
        ),
        "## Results",
        "Mean [95 % interval], n scored. ↓ lower is better, ↑ higher is better.",
        _results(report),
        *_categories(report),
        *_paired(report),
        *_hacking(report),
        *_alarms(report),
        "## Cost by stage",
        _cost(report),
        *_parts(report),
        "## Repeat this run",
        _facts(report),
        fenced(report["command"] or "not recorded"),
        fenced(
            yaml.safe_dump(json.loads(json.dumps(report["recipe"], default=str)), sort_keys=False, allow_unicode=True), "yaml"
        ),
    ]
    return "\n\n".join(parts) + "\n"


def inline(value: object) -> str:
    """`value` as one line that cannot start markup, a cell or a tag.

    >>> inline("a|b <i>")
    'a\\\\|b &lt;i&gt;'
    """
    text = " ".join(str(value).split()).replace("\\", "\\\\")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "|`*_[]":
        text = text.replace(mark, "\\" + mark)
    return text


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any in `text`."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def grid(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _warnings(report: dict[str, Any]) -> list[str]:
    return ["\n".join(f"> - {inline(w)}" for w in report["warnings"])] if report["warnings"] else []


def value(key: str, v: dict[str, Any] | None) -> str:
    """One estimate: mean [interval], n, and what went unscored."""
    if v is None or (v["mean"] is None and not v["unscored"]):
        return "–"
    unit = metric(key).unit
    missing = f", {v['unscored']} unscored" if v["unscored"] else ""
    if is_counted(unit, v):
        return number(unit, v["mean"])
    ends = interval(unit, v, between=", ")
    return f"{number(unit, v['mean'])}{f' [{ends}]' if ends else ''}, n {v['n']}{missing}"


def _results(report: dict[str, Any]) -> str:
    arms = report["arms"]
    if not arms:
        return "The arms have not been compared."
    rows = [
        [m.label + {"lower": " ↓", "higher": " ↑"}.get(m.better, ""), *(value(m.key, a.get(m.key)) for a in arms.values())]
        for m in measured(arms)
    ]
    return grid(["Metric", *(inline(arm_name(a)) for a in arms)], rows)


def _categories(report: dict[str, Any]) -> list[str]:
    arms = report["arms"]
    names = list(dict.fromkeys(c for a in arms.values() for c in a["harm_by_category"]))
    if not names:
        return []
    role = {c: r for r, listed in report["roles"].items() for c in listed}
    rows = [
        [inline(c), role.get(c, "–"), *(value("harm_test", a["harm_by_category"].get(c)) for a in arms.values())] for c in names
    ]
    return ["## Harm by category", grid(["Category", "Role", *(inline(arm_name(a)) for a in arms)], rows)]


def _paired(report: dict[str, Any]) -> list[str]:
    rows = [
        [
            f"{inline(arm_name(r['a']))} → {inline(arm_name(r['b']))}",
            metric(r["metric"]).label,
            summary(r["metric"], r["difference"]),
            direction(r["metric"], r["difference"]),
            str(r["difference"]["n"]),
        ]
        for r in report["paired"]
    ]
    return ["## Paired differences", grid(["Step", "Metric", "Difference (95 %)", "Reading", "n"], rows)] if rows else []


def _hacking(report: dict[str, Any]) -> list[str]:
    four = ("proxy_before", "proxy_after", "gold_before", "gold_after")
    rows = [
        [
            inline(arm_name(h["arm"])),
            inline(h.get("reward", "")),
            *(value("", h[k]) for k in four),
            inline(h.get("verdict") or ""),
        ]
        for h in report["hacking"]
    ]
    head = ["Arm", "Reward", "Proxy before", "Proxy after", "Gold before", "Gold after", "Verdict"]
    return ["## Was the reward hacked?", grid(head, rows)] if rows else []


def _alarms(report: dict[str, Any]) -> list[str]:
    rows = [[inline(x) for x in row] for row in alarms.lines(report)]
    return ["## Alarms during training", grid(["Stage", "Step", "Alarm", "Value (threshold)", "Evidence"], rows)] if rows else []


def _cost(report: dict[str, Any]) -> str:
    stages = report["stages"]
    shown = costs.columns(stages)
    rows = [
        [
            STAGES.get(name, inline(name)) + ("" if s["finished"] else " (unfinished)"),
            *(number(unit, s[k]) for k, _, unit in shown),
        ]
        for name, s in stages.items()
    ]
    return grid(["Stage", *(label for _, label, _ in shown)], rows)


def _parts(report: dict[str, Any]) -> list[str]:
    rows = [
        [f"{STAGES.get(name, inline(name))}, {costs.PARTS[part]}", *(number(unit, spent[k]) for k, _, unit in costs.SPLIT)]
        for name, part, spent in costs.split(report["stages"])
    ]
    return [costs.SPLIT_LEAD, grid(["Part", *(label for _, label, _ in costs.SPLIT)], rows)] if rows else []


def _facts(report: dict[str, Any]) -> str:
    env = report["environment"]
    packages = env.get("packages") if isinstance(env.get("packages"), dict) else {}
    facts = {
        "created": report["created"],
        "seed": report["seed"],
        **{k: env.get(k) for k in ("primum", "git", "python", "machine")},
        **packages,
    }
    return "; ".join(f"{k} {inline(v)}" for k, v in facts.items() if v is not None)
