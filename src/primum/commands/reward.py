"""`primum reward train|eval`: a learned reward with several heads, from labels, ratings and pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from primum.commands.options import Debug, Json, console, wide_console
from primum.types import BadInput

reward = typer.Typer(no_args_is_help=True, help="Train a reward from labelled responses, and measure it.")
Head = Annotated[str, typer.Option(help="What plain chosen/rejected pairs are about.")]


@reward.command()
def train(
    data: Annotated[list[str], typer.Argument(help="JSONL files of labelled responses, and key=value settings: model=PATH …")],
    output: Annotated[Path, typer.Option(help="Folder to write the reward to.")],
    head: Head = "preferred",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a reward's heads and body, calibrate them, and save them with their held-out figures."""
    from primum.config import load_recipe
    from primum.reward.labels import read_judged
    from primum.reward.learned import LearnedConfig, train_heads

    files = [Path(name) for name in data if "=" not in name or Path(name).is_file()]
    config = load_recipe(LearnedConfig, None, [name for name in data if Path(name) not in files])
    if output.exists():
        raise BadInput("the folder is there already", str(output), "name a new one with --output")
    note = train_heads(read_judged(files, head=head), config, output, say=console(as_json).print)
    _show(note["held_out"], note["rows"]["held out"], as_json, {"path": str(output), **note})


@reward.command("eval")
def evaluate(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `primum reward train` wrote.")],
    data: Annotated[list[Path], typer.Argument(help="JSONL files of labelled responses.")],
    head: Head = "preferred",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a learned reward on labelled responses: accuracy, AUROC, calibration, order of pairs, with intervals."""
    from primum.reward.labels import read_judged
    from primum.reward.learned_measure import measure_heads
    from primum.signals.heads import load_heads, read_note

    rows = read_judged(data, head=head)
    note = read_note(path)
    found = measure_heads(load_heads(path), rows, note["config"]["k"])
    if not found:
        asked = ", ".join(sorted({name for row in rows for name in row.values}))
        raise BadInput(f"the labels are about {asked}", str(path), f"its heads are {', '.join(note['heads'])}")
    _show(found, len(rows), as_json, {"path": str(path), "rows": len(rows), "heads": found})


def _show(found: dict[str, dict[str, Any]], rows: int, as_json: bool, whole: dict[str, Any]) -> None:
    from rich.table import Table

    from primum.run import plain

    if as_json:
        typer.echo(json.dumps(plain(whole), ensure_ascii=False))
        return
    table = Table("head", "measure", "value", "95 % interval", "n", title=f"{rows} labelled rows")
    for name, measures in found.items():
        for measure, value in measures.items():
            if isinstance(value, dict):
                table.add_row(name, measure, *_cells(value))
    wide_console().print(table)


def _cells(e: dict[str, Any]) -> tuple[str, str, str]:
    def said(x: float | None) -> str:
        return "" if x is None else f"{x:.3f}"

    return said(e["mean"]), f"{said(e['low'])} to {said(e['high'])}", str(e["n"])
