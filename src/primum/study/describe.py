"""An experiment's document for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from primum.study.claims import settles

FEW = 8  # columns of the table


def describe(found: dict[str, Any], folder: Path) -> str:
    """The verdict, claim by claim, the targets, the first columns of the table, and where the page lies."""
    lines = [f"\n{found['experiment']}: {found['verdict']} ({len(found['seeds'])} seeds or folds)"]
    for claim in found["claims"]:
        sense = "≤" if claim["sense"] == "below" else "≥"
        value = claim["value"]
        told = claim["verdict"] == "undecided" and claim["detectable"]
        told = told and settles(value.get("bound", ""), value["mean"] <= claim["limit"])
        could = f", can show {claim['detectable']:.3f}" if told else ""
        lines.append(f"  {claim['verdict']:9} {claim['claim']}: {_interval(claim['value'])} {sense} {claim['limit']:g}{could}")
    for target in found["targets"]:
        met = {True: "met", False: "not met", None: "not known"}[target["met"]]
        lines.append(f"  {met:9} {target['target']}: {_interval(target['value'])}")
    shown = found["shown"][:FEW]
    lines.append("  " + " ".join(f"{name[:18]:>18}" for name in ["", *shown]))
    for arm, told in found["arms"].items():
        cells = [_short(found["table"][arm].get(name)) for name in shown]
        lines.append("  " + " ".join(f"{cell:>18}" for cell in [told["label"][:18], *cells]))
    lines += [f"  failed: {f['label']}: {f['error']}" for f in found["failures"]]
    return "\n".join([*lines, f"  {folder / 'report.html'}"])


def _interval(value: dict[str, Any]) -> str:
    if value["mean"] is None:
        return "not known"
    ends = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
    bound = f"{value['bound']} " if value.get("bound") else ""
    missing = f", {value['unscored']} unscored" if value.get("unscored") else ""
    return f"{bound}{value['mean']:.3f}{ends} (n {value['seeds']}{missing})"


def _short(value: dict[str, Any] | None) -> str:
    if not value or value["mean"] is None:
        return "-"
    half = "" if value["low"] is None else f" ±{(value['high'] - value['low']) / 2:.2f}"
    return f"{value['mean']:.3f}{half}"
