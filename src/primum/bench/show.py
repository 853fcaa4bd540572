"""The bench on the terminal: a table, and below it how far the two engines are apart on the same rollouts."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("step, s", "seconds_step", ".3g", "ratio_step"),
    ("sampling, s", "seconds_sample", ".3g", "ratio_sample"),
    ("update, s", "seconds_update", ".3g", "ratio_update"),
    ("peak, MiB", "peak_mib", ",.0f", "ratio_memory"),
    ("tokens/s", "tokens_per_second", ",.0f", ""),
    ("length", "completion_tokens", ".1f", ""),
)
PARITY = (
    ("parity_logprob", "log-probabilities to"),
    ("parity_loss", "loss (relative) to"),
    ("parity_grad", "gradient (relative) to"),
)


def bench_table(found: dict[str, Any]) -> Group:
    """A row for each size and engine, one for the ratio between them, and what else is to be known, in lines."""
    table = Table(title="One step of RL, means; ratios with 95 % intervals", title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for title, *_ in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    lines = []
    for size, row in found["sizes"].items():
        for engine, seen in row["engines"].items():
            table.add_row(f"{size}, {engine}", *(number(seen[key], form) for _, key, form, _ in COLUMNS))
        if "ratio_step" in row:
            table.add_row(Text(f"{size}, ratio", style="bold"), *(interval(row.get(ratio)) for *_, ratio in COLUMNS))
        lines.append(f"{size}: {row['params'] / 1e6:.3g}M parameters, n {row['engines']['primum']['n']} steps{_parity(row)}")
        lines += [f"{size}, {engine}: {note}" for engine, seen in row["engines"].items() for note in seen["notes"]]
    return Group(table, *(Text(line) for line in lines))


def number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def interval(ratio: dict[str, Any] | None) -> str:
    """A ratio with its interval, as far as there is one.

    >>> interval({"value": 8.04, "low": 7.2, "high": 9.0}), interval({"value": 3.0, "low": None, "high": None})
    ('8.0× [7.2, 9.0]', '3.0×')
    """
    if ratio is None or ratio["value"] is None:
        return "" if ratio is None else "–"
    ends = f" [{ratio['low']:.1f}, {ratio['high']:.1f}]" if ratio["low"] is not None else ""
    return f"{ratio['value']:.1f}×{ends}"


def _parity(row: dict[str, Any]) -> str:
    """In words, how near the engines' numbers are on the same rollouts."""
    told = [f"{title} {number(row[key], '.1g')}" for key, title in PARITY if key in row]
    return f"; on the same rollouts the engines agree: {', '.join(told)}" if told else ""
