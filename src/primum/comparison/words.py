"""A comparison in words, Markdown and a table for the terminal: `found` is what `compare` tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from primum.comparison.metrics import better, p_value, size, unit
from primum.evaluate.suites import SUITES
from primum.report.metrics import Unit, bare, interval, number

Found = Mapping[str, Any]
ARROWS = {"lower": "↓", "higher": "↑", "": ""}


def name_of(metric: str) -> str:
    return metric.replace("_", " ")


def full_name(row: Found) -> str:
    """The metric with its suite, where that is another word."""
    return name_of(row["metric"]) if row["metric"] == row["suite"] else f"{row['suite']} {name_of(row['metric'])}"


def unit_of(found: Found, suite: str, metric: str) -> Unit:
    """The metric's unit, the same for all arms."""
    suites = (arm["suites"].get(suite, {"metrics": {}})["metrics"] for arm in found["arms"].values())
    return unit(metric, [metrics[metric] for metrics in suites if metric in metrics])


def suites_of(found: Found) -> dict[str, list[str]]:
    """Suite → its metrics, over all arms."""
    names: dict[str, dict[str, None]] = {}
    for arm in found["arms"].values():
        for suite, told in arm["suites"].items():
            names.setdefault(suite, {}).update(dict.fromkeys(told["metrics"]))
    return {suite: list(metrics) for suite, metrics in names.items()}


def from_to(row: Found, kind: Unit) -> str:
    return f"{number(kind, row['before'])} → {number(kind, row['after'])}"


def gap(row: Found, kind: Unit) -> str:
    """The difference with its 95 % interval."""
    d = row["difference"]
    ends = f" [{bare(kind, d['low'])}, {bare(kind, d['high'])}]" if d["low"] is not None else ""
    return size(kind, d["mean"], signed=True) + ends


def verdicts(found: Found, arm: str) -> list[tuple[str, list[str]]]:
    """What may be said of an arm against the baseline: each verdict with the evidence of every number it was given of."""
    rows = [row for row in found["pairs"] if row["b"] == arm and row["claimed"]]
    told: dict[str, list[str]] = {}
    for row in rows:
        said, _, least = row["verdict"].partition(" (")
        kind, name = unit_of(found, row["suite"], row["metric"]), full_name(row)
        if said == "no difference shown":
            evidence = f"{name} {gap(row, kind)} ({least}"
        elif said == "not measured":
            evidence = f"{name}, {row['difference']['unscored']} pairs unscored"
        else:
            evidence = f"{name} {sentence(found, row, kind)}"
        told.setdefault(said, []).append(evidence)
    kept = [f"{full_name(row)} {row['kept']['verdict']}" for row in rows if row["kept"]]
    return [*told.items(), *([("kept or lost", kept)] if kept else [])]


def sentence(found: Found, row: Found, kind: Unit) -> str:
    """A row's evidence as docs/statistics.md asks for it."""
    d = row["difference"]
    p = f"{row['test']} p {p_value(row['p'])}, Holm {p_value(row['holm'])} over {found['family']}"
    n = f"{d['n']} pairs of {row['meanings']} meanings, {d['unscored']} unscored"
    return f"{from_to(row, kind)}, {gap(row, kind)}, {p}; {n}"


def title(found: Found) -> str:
    others = [arm for arm in found["arms"] if arm != found["baseline"]]
    return f"{', '.join(others)} against {found['baseline']}" if others else str(found["baseline"])


def family_words(found: Found) -> str:
    points = f"{bare('share', found['margin']).removesuffix('.0')} points"
    return (
        f"Claims rest on {found['family']} comparisons: each suite's first number, and harm, over-refusal, useful and accuracy, "
        f"of each arm against {found['baseline']}. Claimed: Holm's p below {found['alpha']}, and a difference no smaller than "
        f"the design can see. “Kept” is a test of its own: not more than {points} lost, by the 90\u202f% interval. "
        "Other rows are described, not claimed."
    )


def beside(found: Found, suite: str, metric: str) -> list[str]:
    """The cards of the judge behind a number."""
    signal = SUITES[suite].reads.get(metric, metric if metric in SUITES[suite].gold else "")
    return [card["beside"] for card in found["cards"] if signal in card["reads"]]


def seeds_words(found: Found) -> list[str]:
    """What several seeds tell, a line an arm."""
    lines = []
    for arm, told in found["seeds"].items():
        iqm = told["iqm"]
        ends = f" [{iqm['low']:.3f}, {iqm['high']:.3f}]" if iqm and iqm["low"] is not None else ", too few seeds for an interval"
        goods = [("1 − " if better(r["suite"], r["metric"]) == "lower" else "") + full_name(r) for r in told["means"]]
        middle = f"; IQM of {', '.join(goods)} {iqm['mean']:.3f}{ends}" if iqm and iqm["mean"] is not None else ""
        tests = ", ".join(
            f"{full_name(r)} {size('share', r['difference'], signed=True)} p {p_value(r['p'])}" for r in told["across"]
        )
        lines.append(f"{arm}: {told['seeds']} seeds{middle}" + (f"; sign flips of whole seeds: {tests}" if tests else ""))
    return lines


def paired_table(found: Found) -> list[Table]:
    """The claimed rows of each arm against the baseline, for a terminal."""
    tables = []
    for arm in dict.fromkeys(row["b"] for row in found["pairs"]):
        table = Table(title=f"{arm} against {found['baseline']}", title_justify="left")
        for head in ("suite", "metric", f"{found['baseline']} → {arm}", "difference [95 %]", "Holm p", "could see", "verdict"):
            table.add_column(head)
        for row in found["pairs"]:
            if row["b"] == arm and row["claimed"]:
                *cells, said = _cells(found, row)
                table.add_row(*cells, re.sub(r" \(.*?\)", "", said))  # its brackets are the column before
        tables.append(table)
    return tables


def _cells(found: Found, row: Found) -> list[str]:
    kind = unit_of(found, row["suite"], row["metric"])
    said = row["verdict"] + (f"; {row['kept']['verdict']}" if row["kept"] else "")
    name = f"{name_of(row['metric'])} {ARROWS[row['better']]}".strip()
    return [
        row["suite"], name, from_to(row, kind), gap(row, kind), p_value(row["holm"]), size(kind, row["detectable"]), said,
    ]  # fmt: skip


def markdown(found: Found) -> str:
    """The comparison without plots and samples."""
    arms = list(found["arms"])
    parts = [f"# {title(found)}"]
    parts += ["\n".join(f"- {line}" for line in [*found["cautions"], *seeds_words(found)])]
    for suite, metrics in suites_of(found).items():
        rows = [[_head(found, suite, m), *(_estimate(found, suite, m, arm) for arm in arms)] for m in metrics]
        parts += [f"## {suite}: {SUITES[suite].asks}", _grid(["metric", *arms], rows)]
    if found["pairs"]:
        heads = ["suite", "metric", "arm", "before → after", "difference [95 %]", "Holm p", "could see", "verdict"]
        rows = [[*c[:2], row["b"], *c[2:]] for row in found["pairs"] if row["claimed"] for c in [_cells(found, row)]]
        parts += [f"## Against {found['baseline']}", family_words(found), _grid(heads, rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(found: Found, suite: str, metric: str) -> str:
    return name_of(metric) + "".join(f" ({line})" for line in beside(found, suite, metric))


def _estimate(found: Found, suite: str, metric: str, arm: str) -> str:
    told = found["arms"][arm]["suites"].get(suite, {"metrics": {}})["metrics"].get(metric)
    if told is None or told["mean"] is None:
        return "–"
    kind = unit_of(found, suite, metric)
    ends = f" [{interval(kind, told, between=', ')}]" if told["low"] is not None else ""
    return f"{number(kind, told['mean'])}{ends}, n {told['n']}" + (f", {told['unscored']} unscored" if told["unscored"] else "")


def _grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
