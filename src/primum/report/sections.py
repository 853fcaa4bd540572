"""The results half of the page: verdict, tables, harm by category, trade-offs, paired differences."""

from __future__ import annotations

from typing import Any

from primum.report import plots
from primum.report.collect import JUDGED, UNSCORED_LIMIT
from primum.report.markup import Markup, join, tag
from primum.report.metrics import (
    ARM_MEANINGS,
    GROUPS,
    ROLES,
    Metric,
    arm_name,
    bare,
    interval,
    is_counted,
    measured,
    metric,
    number,
    span_n,
)
from primum.report.verdict import differences, direction, largest, summary

ARROWS = {"lower": "↓", "higher": "↑"}
READINGS = {
    "better": "better",
    "worse": "worse",
    "changed": "changed",
    "unclear": "no difference seen",
    "unmeasured": "not measured",
}


def section(id_: str, title: str, lead: object, *body: object) -> Markup:
    head = tag("h2", title, id=f"{id_}-title")
    return tag("section", head, tag("p", lead, class_="lead") if lead else None, *body, id=id_, aria_labelledby=f"{id_}-title")


def absent(what: str) -> Markup:
    return tag("p", what, class_="absent")


def table(caption: str, head: list[object], rows: list[list[object]], *, class_: str = "") -> Markup:
    """A table whose first column heads its rows, in a box that scrolls sideways and can be reached by keyboard."""
    columns = tag("thead", tag("tr", *(tag("th", h, scope="col") for h in head)))
    body = [r[0] if len(r) == 1 else tag("tr", tag("th", r[0], scope="row"), *(tag("td", c) for c in r[1:])) for r in rows]
    style = f"--columns:{len(head) - 1}" if class_ == "wide" else None
    whole = tag("table", tag("caption", caption), columns, tag("tbody", *body), class_=class_ or None, style=style)
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def cell(m: Metric, value: dict[str, Any] | None) -> Markup:
    """A number with its interval, its n and what went unscored, on three lines."""
    if value is None or (value["mean"] is None and not value["unscored"]):
        return tag("span", "–", class_="none", title="not measured")
    many = m.key in JUDGED and value["unscored"] > UNSCORED_LIMIT * (value["n"] + value["unscored"])
    missing = tag("span", f"{value['unscored']} unscored", class_="n many" if many else "n") if value["unscored"] else None
    if value["mean"] is None:
        return join(tag("span", "–", class_="value"), missing)
    parts = [tag("span", number(m.unit, value["mean"]), class_="value")]
    if is_counted(m.unit, value):
        return join(*parts)
    if ends := interval(m.unit, value):
        parts.append(tag("span", ends, class_="ends"))
    return join(*parts, tag("span", f"n {value['n']}", class_="n"), missing)


def arm_head(arm: str) -> Markup:
    meaning = ARM_MEANINGS.get(arm, "")
    return tag("span", plots.key(arm), arm_name(arm), tag("small", meaning) if meaning else None, class_="arm")


def legend(arms: list[str]) -> Markup:
    return tag("ul", *(tag("li", plots.key(a), arm_name(a)) for a in arms), class_="legend")


def figure(title: str, note: str, plot: Markup) -> Markup:
    return tag("figure", tag("figcaption", tag("b", title), tag("small", note) if note else None), plot)


def behind(summary_text: str, inner: Markup) -> Markup:
    return tag("details", tag("summary", summary_text), inner)


def verdict(report: dict[str, Any]) -> Markup:
    pairs = [tag("div", tag("dt", v["question"]), tag("dd", v["answer"], tag("small", v["evidence"]))) for v in report["verdict"]]
    doubts = [tag("li", w) for w in report["warnings"]]
    box = tag("aside", tag("h3", "Read before believing"), tag("ul", *doubts), class_="doubts") if doubts else None
    lead = (
        "Computed from paired differences on the same prompts with 95\u202f% intervals. They cover the choice of prompts, "
        "not the luck of training: this is one run with one seed."
    )
    return section("verdict", "What each step bought, in words", lead, tag("dl", *pairs, class_="answers"), box)


def results(report: dict[str, Any]) -> Markup:
    arms = report["arms"]
    title = "Results"
    if not arms:
        return section("results", title, None, absent("The arms have not been compared: 6-compare/arms.json is not there."))
    rows: list[list[object]] = []
    found = measured(arms)
    for group, name in GROUPS.items():
        members = [m for m in found if m.group == group]
        if members:
            rows.append([tag("tr", tag("th", name, colspan=len(arms) + 1, scope="rowgroup"), class_="group")])
        rows += [[_metric_head(m), *(cell(m, arms[a].get(m.key)) for a in arms)] for m in members]
    lead = "Mean, 95\u202f% interval, and n, the number of scored rollouts. ↓ lower is better, ↑ higher is better."
    caption = "Every metric for every arm"
    return section("results", title, lead, table(caption, ["Metric", *(arm_head(a) for a in arms)], rows, class_="wide"))


def _metric_head(m: Metric) -> Markup:
    name = tag("span", m.label + (" (tokens)" if m.unit == "tokens" else ""), title=m.meaning or None)
    if not m.better:
        return name
    better = f"{m.better} is better"
    return join(name, " ", tag("span", ARROWS[m.better], class_="arrow", role="img", title=better, aria_label=better))


def categories(report: dict[str, Any]) -> Markup:
    arms = report["arms"]
    title = "Harm by category"
    names = list(dict.fromkeys(c for a in arms.values() for c in a["harm_by_category"]))
    whole = [r for r in ROLES if any(a[f"harm_{r}"]["mean"] is not None for a in arms.values())]
    if not names and not whole:
        return section("categories", title, None, absent("No harm was measured by category in this run."))
    roles = {c: ROLES.get(r, (r, ""))[0] for r, listed in report["roles"].items() for c in listed}
    order = [c for listed in report["roles"].values() for c in listed if c in names]
    names = order + [c for c in names if c not in order]
    parts: list[Markup] = []
    if whole:
        panels = [_harm_dots(f"{ROLES[r][0]} categories together", arms, f"harm_{r}", note="") for r in whole]
        parts.append(tag("div", *panels, class_="grid"))
    if names:
        panels = [_harm_dots(c, arms, c, note=roles.get(c, "no role").lower(), category=True) for c in names]
        parts += [tag("h3", "One by one"), tag("div", *panels, class_="grid"), _category_table(arms, names, roles)]
    meanings = "; ".join(f"{name.lower()}: {meaning}" for name, meaning in ROLES.values()).capitalize()
    lead = f"Share of replies to harmful prompts that are harmful, with 95\u202f% intervals. Lower is better. {meanings}."
    return section("categories", title, lead, *parts)


def _category_table(arms: dict[str, Any], names: list[str], roles: dict[str, str]) -> Markup:
    harm = metric("harm_test")
    held = [a["harm_by_category"] for a in arms.values()]
    rows: list[list[object]] = [[c, roles.get(c, "–"), *(cell(harm, h.get(c)) for h in held)] for c in names]
    head: list[object] = ["Category", "Role", *(arm_head(a) for a in arms)]
    return behind("The numbers behind these plots", table("Harm by category and arm", head, rows, class_="wide"))


def _harm_dots(title: str, arms: dict[str, Any], key: str, *, note: str, category: bool = False) -> Markup:
    values = {a: (m["harm_by_category"].get(key) if category else m[key]) for a, m in arms.items()}
    rows = [_dot(a, arm_name(a), v) for a, v in values.items() if v is not None]
    plot = plots.dots(f"Harmful replies, {title}", rows, [0, 25, 50, 75, 100], "harmful replies, %")
    return figure(title, note, plot)


def _dot(look: str, label: str, value: dict[str, Any]) -> plots.Dot:
    """A share as a row of a dot plot, in percent."""
    ends = interval("share", value, between="–")
    text = number("share", value["mean"]) if value["mean"] is not None else ("unscored" if value["unscored"] else "not measured")
    missing = f"· {value['unscored']} unscored" if value["unscored"] else ""
    return plots.Dot(label, look, percent(value), f"{text} · n {value['n']}", f"{ends} {missing}".strip(" ·"))


def percent(value: dict[str, Any]) -> dict[str, Any]:
    return value | {k: None if value[k] is None else 100 * value[k] for k in ("mean", "low", "high")}


def tradeoffs(report: dict[str, Any]) -> Markup:
    arms = report["arms"]
    plots_: list[Markup] = []
    for key, name, down in (("over_refusal", "look-alikes refused, %", True), ("task_accuracy", "tasks solved, %", False)):
        both = {
            a: (m[key], m["harm_test"])
            for a, m in arms.items()
            if m[key]["mean"] is not None and m["harm_test"]["mean"] is not None
        }
        if not both:
            continue
        points = [(arm_name(a), a, percent(x), percent(y)) for a, (x, y) in both.items()]
        label = f"Harm on unseen categories against {metric(key).label.lower()}"
        prompts, others = span_n([y for _, y in both.values()]), span_n([x for x, _ in both.values()])
        note = f"n {prompts} harmful prompts, {others} {name.split()[0]}"
        plots_.append(figure(label, note, plots.scatter(label, points, name, "harmful replies, %", down=down)))
    title = "What safety cost in use"
    if not plots_:
        return section("tradeoffs", title, None, absent("Harm and use were not both measured in this run."))
    lead = "A model that refuses everything is harmless. Each arm is one point; the bars are 95\u202f% intervals."
    return section("tradeoffs", title, lead, legend(list(arms)), tag("div", *plots_, class_="grid two"))


def steps(report: dict[str, Any]) -> Markup:
    pairs = list(dict.fromkeys((r["a"], r["b"]) for r in report["paired"]))
    title = "What each step bought, in numbers"
    if not pairs:
        return section("steps", title, None, absent("This run holds no paired comparison."))
    found = {p: differences(report["paired"], *p) for p in pairs}
    shares = {p: {k: d for k, d in rows.items() if metric(k).unit == "share"} for p, rows in found.items()}
    ends = [100 * d[k] for rows in shares.values() for d in rows.values() for k in ("low", "high") if d[k] is not None]
    domain = plots.ticks(min([*ends, -1.0]), max([*ends, 1.0]), 4)
    panels = [
        figure(
            f"{arm_name(a)} → {arm_name(b)}",
            "",
            plots.dots(f"From {arm_name(a)} to {arm_name(b)}", _forest(rows), domain, "points", zero=True),
        )
        for (a, b), rows in shares.items()
        if rows
    ]
    lead = (
        "Paired differences on the same prompts, in percentage points, with 95\u202f% intervals. Filled: the interval leaves out "
        "zero, so a difference was seen. Hollow: it does not."
    )
    return section(
        "steps", title, lead, tag("div", *panels, class_="grid"), behind("All paired differences", _paired_table(found))
    )


def _forest(rows: dict[str, dict[str, Any]]) -> list[plots.Dot]:
    out = []
    for key, d in rows.items():
        reads = direction(key, d)
        said = "–" if d["mean"] is None else f"{'+' if d['mean'] > 0 else ''}{bare('share', d['mean'])}"
        word = f" {reads}" if reads in ("better", "worse") else ""
        text = f"{said}{word} · n {d['n']}"
        out.append(plots.Dot(metric(key).short, reads, percent(d), text, interval("share", d, between=" to ")))
    return out


def _paired_table(found: dict[tuple[str, str], dict[str, dict[str, Any]]]) -> Markup:
    rows: list[list[object]] = []
    for (a, b), measured_ in found.items():
        for key, d in measured_.items():
            reads = direction(key, d)
            bound = ""
            if reads == "unclear" and metric(key).unit == "share":
                bound = f", none larger than {bare('share', largest(key, d))} points fits"
            count = f"{d['n']}" + (f", {d['unscored']} unscored" if d["unscored"] else "")
            rows.append([f"{arm_name(a)} → {arm_name(b)}", metric(key).label, summary(key, d), READINGS[reads] + bound, count])
    return table("Paired differences, 95\u202f% intervals", ["Step", "Metric", "Difference", "Reading", "n pairs"], rows)
