"""The comparison as one self-contained page: tables, trade-offs, categories, and every sample. A single arm has one too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from primum.comparison import browse
from primum.comparison.arms import Arm, read_evaluation
from primum.comparison.compare import compare
from primum.comparison.metrics import better, p_value, size
from primum.comparison.pareto import front
from primum.comparison.words import (
    ARROWS,
    Found,
    beside,
    family_words,
    from_to,
    name_of,
    seeds_words,
    suites_of,
    title,
    unit_of,
    verdicts,
)
from primum.evaluate.suites import SUITES
from primum.report import plots
from primum.report.document import document
from primum.report.markup import Markup, join, tag
from primum.report.metrics import interval, number, span_n
from primum.report.sections import behind, figure, percent, section, table
from primum.run import write_text

LOOKS = tuple(plots.SHAPES)
MANY = 8  # categories beyond which their plots are folded away
UNSCORED = 0.02
READINGS = {"better": "good", "worse": "bad"}


def write_page(folders: Sequence[Path], path: Path) -> Path:
    """The page of one or several evaluations, each an arm named like its folder, or its model where it is alone."""
    read = [read_evaluation(folder) for folder in folders]
    names = [read[0].model] if len(read) == 1 else [folder.resolve().name for folder in folders]
    arms = [Arm(name, (evaluated,)) for name, evaluated in zip(names, read, strict=True)]
    return write(compare(arms), arms, path)


def write(found: Found, arms: Sequence[Arm], path: Path) -> Path:
    """The page of a comparison, written whole or not at all."""
    write_text(path, page(found, arms).encode("utf-8", "replace").decode())
    return path


def page(found: Found, arms: Sequence[Arm]) -> str:
    made = {
        "verdict": ("Verdict", _verdict(found)), "results": ("Results", _results(found)), "pairs": ("Pairs", _pairs(found)),
        "tradeoffs": ("Trade-offs", _tradeoffs(found)), "categories": ("Categories", _categories(found)),
        "samples": ("Samples", browse.section_of(arms)), "made": ("Made from", _made(found)),
    }  # fmt: skip
    kept = [(id_, name, body) for id_, (name, body) in made.items() if body]
    kicker = "Primum comparison" if len(found["arms"]) > 1 else "Primum evaluation"
    version = found["environment"]
    facts = tag("p", f"primum {version['primum']} · revision {version['git']}", class_="facts")
    header = tag("header", tag("p", kicker, class_="kicker"), tag("h1", title(found)), facts)
    return document(
        f"{title(found)} · {kicker}", header, [(id_, name) for id_, name, _ in kept], [body for _, _, body in kept],
        "Every number here was computed from the samples on this page.",
        styles=("page.css", "compare.css"), scripts=("page.js", "compare.js"),
    )  # fmt: skip


def look(found: Found, arm: str) -> str:
    """The arm's colour and shape."""
    return LOOKS[list(found["arms"]).index(arm) % len(LOOKS)]


def legend(found: Found) -> Markup:
    return tag("ul", *(tag("li", plots.key(look(found, a)), a) for a in found["arms"]), class_="legend")


def _verdict(found: Found) -> Markup:
    lines = [*found["cautions"], *(f"judge {c['signal']}: {line}" for c in found["cards"] for line in c["advice"])]
    doubts = tag("aside", tag("h3", "Read before believing"), tag("ul", *(tag("li", c) for c in lines)), class_="doubts")
    others = list(dict.fromkeys(row["b"] for row in found["pairs"]))
    answers = [
        tag("div", tag("dt", f"{arm} against {found['baseline']}"), tag("dd", *(_said(*both) for both in verdicts(found, arm))))
        for arm in others
    ]
    seeds = [tag("p", line, class_="said") for line in seeds_words(found)]
    lead = family_words(found) if others else "One model by itself: nothing is compared."
    return section("verdict", "What may be said", lead, tag("dl", *answers, class_="answers"), *seeds, doubts if lines else None)


def _said(verdict: str, evidence: Sequence[str]) -> Markup:
    return tag("p", tag("b", f"{verdict}:", class_=_reading(verdict)), *(tag("small", line) for line in evidence))


def _reading(verdict: str) -> str:
    return f"reading {READINGS.get(verdict, 'odd' if verdict.startswith('not claimed') else 'none')}"


def _results(found: Found) -> Markup:
    arms = list(found["arms"])
    rows: list[list[object]] = []
    for suite, metrics in suites_of(found).items():
        head = tag("th", f"{suite}: {SUITES[suite].asks}", colspan=len(arms) + 1, scope="rowgroup")
        rows.append([tag("tr", head, class_="group")])
        rows += [[_head(found, suite, m), *(_cell(found, suite, m, arm) for arm in arms)] for m in metrics]
    heads = [tag("span", plots.key(look(found, a)), a, tag("small", _seeds(found, a)), class_="arm") for a in arms]
    lead = "Mean, 95\u202f% interval, and n, the number of scored rollouts. ↓ lower is better, ↑ higher is better."
    return section("results", "Results", lead, table("Every metric for every arm", ["Metric", *heads], rows, class_="wide"))


def _seeds(found: Found, arm: str) -> str:
    count = len(found["arms"][arm]["seeds"])
    return f"{count} seeds" if count > 1 else "one seed"


def _head(found: Found, suite: str, metric: str) -> Markup:
    cards = [tag("small", line) for line in beside(found, suite, metric)]
    return join(tag("span", name_of(metric)), " ", tag("span", ARROWS[better(suite, metric)], class_="arrow"), *cards)


def _cell(found: Found, suite: str, metric: str, arm: str) -> Markup:
    """A number with its interval, its n, what went unscored, and the rate that a judge's card corrects it to."""
    told = found["arms"][arm]["suites"].get(suite)
    value = told and told["metrics"].get(metric)
    if not value or (value["mean"] is None and not value["unscored"]):
        return tag("span", "–", class_="none")
    kind = unit_of(found, suite, metric)
    many = value["unscored"] > UNSCORED * (value["n"] + value["unscored"])
    parts = [tag("span", number(kind, value["mean"]), class_="value")]
    if ends := interval(kind, value):
        parts.append(tag("span", ends, class_="ends"))
    parts.append(tag("span", f"n {value['n']}", class_="n"))
    if value["unscored"]:
        parts.append(tag("span", f"{value['unscored']} unscored", class_="n many" if many else "n"))
    if true := told["corrected"].get(metric):
        said = f"corrected {number(kind, true['mean'])}" + (f" ({ends})" if (ends := interval(kind, true)) else "")
        parts.append(tag("span", said, class_="n", title="the true rate behind the judge's, by its card"))
    return join(*parts)


def _pairs(found: Found) -> Markup | None:
    if not found["pairs"]:
        return None
    heads = ["Metric", "Before → after", "Difference, 95\u202f% interval", "Test", "Could have seen", "Verdict"]
    parts = []
    for arm in dict.fromkeys(row["b"] for row in found["pairs"]):
        rows: list[list[object]] = []
        for suite in dict.fromkeys(row["suite"] for row in found["pairs"] if row["b"] == arm):
            members = [row for row in found["pairs"] if row["b"] == arm and row["suite"] == suite]
            left = "; {} and {} without a counterpart".format(*members[0]["left_out"]) if any(members[0]["left_out"]) else ""
            rows.append([tag("tr", tag("th", suite + left, colspan=len(heads), scope="rowgroup"), class_="group")])
            rows += [_pair(found, row) for row in members]
        heading = f"{arm} against {found['baseline']}"
        parts += [tag("h3", heading), table(heading, list(heads), rows, class_="wide")]
    lead = (
        "After minus before on the same prompts, the samples of one meaning counted as one draw. “Could have seen”: the "
        "least difference that pairs like these show four times in five, tested alone. A verdict is given of what may be claimed."
    )
    return section("pairs", f"Against {found['baseline']}, prompt by prompt", lead, *parts)


def _pair(found: Found, row: Found) -> list[object]:
    kind, d = unit_of(found, row["suite"], row["metric"]), row["difference"]
    ends = f"[{interval(kind, d, between=', ')}]" if d["low"] is not None else "no interval"
    unscored = tag("span", f"{d['unscored']} unscored", class_="n") if d["unscored"] else None
    counted = f"n {d['n']} of {row['meanings']} meanings, {row['gained']} rose, {row['lost']} fell"
    test = join(tag("span", f"p {p_value(row['p'])}", class_="value"), tag("span", row["test"], class_="n"))
    if row["claimed"]:
        test = join(test, tag("span", f"Holm {p_value(row['holm'])}", class_="n"))
    said = (
        tag("b", row["verdict"].partition(" (")[0], class_=_reading(row["verdict"]))
        if row["claimed"]
        else tag("span", "described only", class_="none")
    )
    if kept := row["kept"]:
        said = join(said, tag("small", f"{kept['verdict']}: 90\u202f% [{interval(kind, kept, between=', ')}]", class_="kept"))
    return [
        _head(found, row["suite"], row["metric"]), from_to(row, kind),
        join(tag("span", size(kind, d["mean"], signed=True), class_="value"), tag("span", ends, class_="ends"),
             tag("small", counted), unscored),
        test, size(kind, row["detectable"]), said,
    ]  # fmt: skip


def _tradeoffs(found: Found) -> Markup | None:
    drawn = []
    for axis, name, down in (("over_refusal", "look-alikes refused, %", True), ("accuracy", "tasks solved, %", False)):
        both = {a: p for a, p in found["tradeoff"].items() if all(k in p and p[k]["mean"] is not None for k in ("harm", axis))}
        if not both:
            continue
        points = [(a, look(found, a), percent(p[axis]), percent(p["harm"])) for a, p in both.items()]
        hollow = [a for a, p in found["tradeoff"].items() if p["dominated_by"]]
        label = f"Harm against {name_of(axis)}"
        counts = [span_n([p[k] for p in both.values()]) for k in ("harm", axis)]
        note = f"n {counts[0]} harmful, {counts[1]} {name.split()[0]}"
        line = front(both, axis, "harm")
        plot = plots.scatter(label, points, name, "harmful replies, %", down=down, hollow=hollow, front=line)
        drawn.append(figure(label, note, plot))
    if not drawn:
        return None
    worse = [f"{a} by {', '.join(p['dominated_by'])}" for a, p in found["tradeoff"].items() if p["dominated_by"]]
    said = f"Dominated: {'; '.join(worse)}." if worse else "No arm is dominated."
    lead = (
        "A model that refuses everything is harmless. Bars are 95\u202f% intervals, the dotted line joins the arms that none "
        "beats on both axes. Hollow: by means alone another arm is as good on harm, over-refusal and accuracy, and better on one."
    )
    return section(
        "tradeoffs",
        "What safety cost in use",
        lead,
        legend(found),
        tag("div", *drawn, class_="grid two"),
        tag("p", said, class_="said"),
    )


def _categories(found: Found) -> Markup | None:
    parts = []
    for suite in suites_of(found):
        told = {arm: f["suites"][suite]["by_category"] for arm, f in found["arms"].items() if suite in f["suites"]}
        names = list(dict.fromkeys(name for groups in told.values() for name in groups))
        metric = next(iter(SUITES[suite].metrics))
        if not names or unit_of(found, suite, metric) != "share":
            continue
        metric = name_of(metric)
        panels = [_dots(found, f"{metric}, {name}", name, told) for name in names]
        grid = tag("div", *panels, class_="grid")
        parts += [tag("h3", f"{suite}: {metric}"), behind(f"{len(names)} categories", grid) if len(names) > MANY else grid]
    return (
        section(
            "categories",
            "Category by category",
            "Each suite's first number where it is a share, with 95\u202f% intervals.",
            *parts,
        )
        if parts
        else None
    )


def _dots(found: Found, label: str, name: str, told: dict[str, Any]) -> Markup:
    rows = [
        plots.Dot(
            arm, look(found, arm), percent(v), f"{number('share', v['mean'])} · n {v['n']}", interval("share", v, between="–")
        )
        for arm, groups in told.items()
        if (v := groups.get(name)) is not None
    ]
    return figure(name, "", plots.dots(label, rows, [0, 25, 50, 75, 100], f"{label.partition(',')[0]}, %"))


def _made(found: Found) -> Markup:
    rows: list[list[object]] = []
    for arm, told in found["arms"].items():
        for number_, seed in enumerate(told["seeds"], start=1):
            name = arm if len(told["seeds"]) == 1 else f"{arm}, seed {number_}"
            sampling = ", ".join(f"{k} {v}" for k, v in seed["sampling"].items())
            rows.append(
                [
                    name,
                    seed["model"] or "–",
                    seed["path"],
                    seed["weights"] or "–",
                    seed["data"][:12] or "–",
                    seed["judge"],
                    sampling,
                ]
            )
    heads: list[object] = ["Arm", "Model", "Folder", "Weights", "Prompts", "Judge", "Sampling"]
    command = tag("pre", tag("code", found["environment"]["command"]), tabindex="0", class_="command")
    return section("made", "Made from", None, command, table("What was compared", heads, rows))
