"""What the watch said during training, read from the logged lines."""

from __future__ import annotations

from typing import Any


def alarms_of(curves: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Every alarm in the logged lines of the stages, in the order they were raised."""
    found = []
    for stage, rows in curves.items():
        for row in rows:
            listed = row.get("alarms")
            for alarm in listed if isinstance(listed, list) else []:
                if isinstance(alarm, dict):
                    found.append({"stage": stage, "step": row.get("step"), **alarm})
    return found


def limits_of(curves: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """For each stage and limit the last multiplier, and the share that broke the limit over the last ten steps."""
    found = []
    for stage, rows in curves.items():
        told = [row["watch"] for row in rows if isinstance(row.get("watch"), dict)]
        for name in dict.fromkeys(k.removeprefix("multiplier_") for w in told for k in w if k.startswith("multiplier_")):
            last = [w[f"broke_{name}"] for w in told[-10:] if isinstance(w.get(f"broke_{name}"), (int, float))]
            multiplier = next((w[f"multiplier_{name}"] for w in reversed(told) if f"multiplier_{name}" in w), None)
            found.append(
                {"stage": stage, "limit": name, "multiplier": multiplier, "broke": sum(last) / len(last) if last else None}
            )
    return found
