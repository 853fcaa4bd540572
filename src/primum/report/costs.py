"""What a run's ledgers say: the columns of the cost table, their totals, and what each part of a stage took."""

from __future__ import annotations

from typing import Any

from primum.report.metrics import Unit

COSTS: tuple[tuple[str, str, Unit], ...] = (
    ("flops", "FLOPs", "flops"),
    ("sampled_tokens", "Sampled tokens", "count"),
    ("trained_tokens", "Trained tokens", "count"),
    ("oracle_queries", "Oracle queries", "count"),
    ("seconds", "Wall time", "seconds"),
    ("peak_mib", "Peak memory, MiB", "count"),
    ("price", "Price", "number"),
)
PARTS = {"sample": "sampling", "score": "scoring", "reward": "reward", "update": "update", "evaluate": "evaluation"}
SPLIT: tuple[tuple[str, str, Unit], ...] = (
    ("flops", "FLOPs", "flops"),
    ("tokens", "Tokens", "count"),
    ("seconds", "Wall time", "seconds"),
)
LEAD = (
    "From the run's ledger: counted, so without intervals. An oracle query is one answer of the metered judge. Of peaks the "
    "highest counts; stages that ran side by side each count their whole time."
)
SPLIT_LEAD = (
    "Scoring is forward passes alone, such as the reference's; the tokens of the reward are those judged, its FLOPs are not "
    "known. What is missing to a stage's wall time is loading, saving and bookkeeping."
)


def columns(stages: dict[str, Any]) -> list[tuple[str, str, Unit]]:
    """The costs that some stage knows."""
    return [c for c in COSTS if any(stage[c[0]] is not None for stage in stages.values())]


def whole(stages: dict[str, Any], key: str) -> float:
    """A cost of the whole run: the sum over its stages, of peaks the highest.

    >>> whole({"a": {"seconds": 2.0}, "b": {"seconds": None}, "c": {"seconds": 3.0}}, "seconds")
    5.0
    """
    known = [stage[key] for stage in stages.values() if stage[key] is not None]
    return max(known, default=0) if key == "peak_mib" else sum(known)


def split(stages: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(stage, part, what it took) wherever a ledger tells the parts apart."""
    return [(name, part, s["parts"][part]) for name, s in stages.items() for part in PARTS if part in s["parts"]]


def costs_of(ledger: dict[str, Any], price_per_hour: float) -> dict[str, Any]:
    """A stage's costs as report.json holds them, null where its ledger does not tell; a price where the hour has one."""
    known = {key: _number(ledger.get(key)) for key, _, _ in COSTS if key != "price"}
    known["peak_mib"] = known["peak_mib"] or None  # nothing runs in no memory: the system did not tell
    paid = price_per_hour > 0 and known["seconds"] is not None
    parts = ledger.get("parts")
    found = {
        part: {key: _number(spent.get(key)) for key, _, _ in SPLIT}
        for part, spent in (parts.items() if isinstance(parts, dict) else ())
        if part in PARTS and isinstance(spent, dict)
    }
    return {**known, "price": known["seconds"] * price_per_hour / 3600 if paid else None, "parts": found}


def _number(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
