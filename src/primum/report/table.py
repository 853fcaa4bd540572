"""The summary a terminal shows: metrics down, arms across."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from primum.report.metrics import Unit, arm_name, bare, is_counted, metric

ROWS: tuple[tuple[str, str], ...] = (
    ("harm_train", "harm, seen %"),
    ("harm_validation", "harm, valid. %"),
    ("harm_test", "harm, unseen %"),
    ("over_refusal", "over-refusal %"),
    ("benign_useful", "useful %"),
    ("task_accuracy", "accuracy %"),
    ("language_mixing", "mixing %"),
    ("thought_tokens", "thought tokens"),
    ("flops", "TFLOPs"),
    ("seconds", "seconds"),
)


def summary_table(report: dict[str, Any]) -> Table:
    """The headline numbers of `report` (as in report.json) with ± the distance to the farther end of the 95 % interval.

    Six arms fit into 100 columns; where there are fewer, the ± goes below its mean.
    """
    grid = Table(
        title=f"{report['name']}: mean ± the farther end of its 95 % interval",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1),
    )
    grid.add_column("", no_wrap=True)
    for arm in report["arms"]:
        grid.add_column(Text(arm_name(arm)), justify="right")
    for key, label in ROWS:
        arrow = {"lower": " ↓", "higher": " ↑"}.get(metric(key).better, "")
        grid.add_row(label + arrow, *(Text(_cell(key, arm.get(key))) for arm in report["arms"].values()))
    return grid


def _cell(key: str, value: dict[str, Any] | None) -> str:
    """One number as the terminal prints it.

    >>> _cell("harm_test", {"mean": 0.125, "low": 0.0625, "high": 0.2, "n": 9, "unscored": 0})
    '12.5 ±7.5'
    """
    if value is None or value["mean"] is None:
        return "unscored" if value and value["unscored"] else "–"
    unit: Unit = metric(key).unit
    if unit == "flops":
        return f"{value['mean'] / 1e12:.3g}"
    text = bare(unit, value["mean"])
    if value["low"] is None or value["high"] is None or is_counted(unit, value):
        return text
    return f"{text} ±{bare(unit, max(value['high'] - value['mean'], value['mean'] - value['low']))}"
