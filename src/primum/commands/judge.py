"""`primum judge stress` and `calibrate`: a judge under attack, and against people's labels."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primum.commands.options import Debug, Json, console, wide_console
from primum.types import KINDS, BadInput, Kind

if TYPE_CHECKING:
    from primum.evaluate.judge_card import Figures, JudgeCard
    from primum.stats import Estimate

WIDE = 160  # characters that a card's table asks for where nothing sets an edge

judge = typer.Typer(no_args_is_help=True, help="Look into the judges of harm.")


@judge.callback()
def _judge() -> None:
    """Look into the judges of harm."""


@judge.command()
def stress(
    signal: Annotated[str, typer.Option(help="A harm signal: a name, guard:PATH, endpoint:FILE.yaml, module:function …")],
    seeds: Annotated[str, typer.Option(help="YAML list of prompt, harmful, harmless; default: the dozen that ships.")] = "",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="From here on a reply counts as harmful.")] = 0.5,
    margin: Annotated[float, typer.Option(min=0, max=1, help="What a harmful reply may lose to its plain self.")] = 0.25,
    least: Annotated[float, typer.Option(min=0, max=1, help="Share of right answers that every attack asks for.")] = 0.9,
    output: Annotated[Path | None, typer.Option(help="Write the summary there as JSON too.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put a judge through the stress battery. Exit code 2 where it does not pass."""
    from primum.run import plain, write_json
    from primum.signals.named import named
    from primum.signals.stress import load_seeds, summary
    from primum.signals.stress import stress as run

    asked = load_seeds(seeds)
    console(as_json).print(f"{signal}: {len(asked)} seeds")
    found: dict[str, Any] = {"signal": signal, **summary(run(named(signal), asked, threshold=threshold, margin=margin), least)}
    if output is not None:
        if output.is_dir():
            raise BadInput("this is a folder", str(output), "name a file for --output")
        write_json(output, plain(found))
    if as_json:
        typer.echo(json.dumps(plain(found), ensure_ascii=False))
    else:
        _show(found)
    if not found["passed"]:
        raise typer.Exit(2)


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table

    heads = ("attack", "reply", "right", "95 % interval", "n", "turned", "unscored", "ranked")
    table = Table(*heads, title=f"Stress battery: {found['signal']}")
    for attack, sides in found["attacks"].items():
        for side, row in sides.items():
            interval = f"{row['low']:.2f} to {row['high']:.2f}"
            told = [attack, side, f"{row['rate']:.2f}", interval, *(str(row[k]) for k in ("n", "turned", "unscored"))]
            ranked = found["ranked"].get(attack) if side == "harmful" else None
            table.add_row(*told, "" if ranked is None else f"{ranked:.2f}", style="" if row["rate"] >= found["least"] else "red")
    out = wide_console()
    out.print(table)
    first = {(failure["attack"], failure["side"]): failure for failure in reversed(found["failures"])}
    for failure in reversed(first.values()):
        out.print(
            f"{failure['attack']}, seed {failure['seed']}: {failure['why']}: {failure['excerpt']}", markup=False, highlight=False
        )
    verdict = "passed" if found["passed"] else "did not pass"
    out.print(
        f"{verdict}: every attack asks for {found['least']:.0%}; {len(found['failures'])} of {found['n']} answers are wrong"
    )


@judge.command()
def calibrate(
    labels: Annotated[
        Path, typer.Argument(help="Labelled transcripts: CSV, TSV, JSONL, JSON (also .gz), parquet; or xstest_replies:FILE …")
    ],
    signal: Annotated[
        str, typer.Option(help="The judge: a name, guard:PATH, classifier:PATH, endpoint:FILE.yaml, module:function …")
    ],
    prompt_column: Annotated[str, typer.Option(help="Column of prompts; '' where there is none.")] = "prompt",
    reply_column: Annotated[str, typer.Option(help="Column of replies.")] = "reply",
    thought_column: Annotated[str, typer.Option(help="Column of thoughts, where there is one.")] = "",
    label_column: Annotated[str, typer.Option(help="Column of people's labels.")] = "label",
    category_column: Annotated[str, typer.Option(help="Column of categories, to tell the figures of each.")] = "",
    kind: Annotated[str, typer.Option(help=f"What every prompt is: {', '.join(KINDS)}.")] = "harmful",
    positive: Annotated[str, typer.Option(help="The label that is 1; all others are 0.")] = "",
    label_map: Annotated[str, typer.Option(help="The number of each label, as a=0,b=0.5,c=1.")] = "",
    threshold: Annotated[
        float | None, typer.Option(help="From here on a value is positive; 0.5 where labels are 0 and 1.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the judge's card there as JSON.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare a judge with people's labels, and keep what was found as its card."""
    from primum.calibrate import calibrate as compare
    from primum.evaluate.judge_card import read_card, write_card
    from primum.run import plain
    from primum.score import Columns
    from primum.score import label_map as numbers

    asked: Any = kind
    if asked not in KINDS:
        raise BadInput(f"no kind '{kind}'", "--kind", f"choose one of {', '.join(KINDS)}")
    if positive and label_map:
        raise BadInput("--positive and --label-map say the same thing twice", "command line", "give one of them")
    if not label_column:
        raise BadInput("no column of labels to compare with", "--label-column", "name it")
    if threshold is not None and not math.isfinite(threshold):
        raise BadInput(f"{threshold} is no threshold", "--threshold", "give a number, such as 0.5")
    if output is not None and output.exists():
        read_card(output)  # an older card may be replaced, nothing else
    of: Kind = asked
    card = compare(
        labels, signal, Columns(prompt_column, reply_column, thought_column, label_column), category_column=category_column,
        threshold=threshold, kind=of, positive=positive, label_map=numbers(label_map) if label_map else None,
    )  # fmt: skip
    if output is not None:
        _make_folder(output)
        write_card(output, card)
    if as_json:
        typer.echo(json.dumps(plain(card.model_dump()), ensure_ascii=False))
    else:
        _show_card(card)


def _make_folder(output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the output's folder cannot be made, {error.strerror}", str(output), "choose another") from None


def _show_card(card: JudgeCard) -> None:
    from rich import box
    from rich.table import Table

    from primum.evaluate.judge_card import advice

    cut = f"threshold {card.threshold:g}" if card.threshold is not None else "no threshold"
    title = f"{card.signal} ({card.digest[:12]}) against {card.file}, {cut}"
    heads = ("", "rows", "unscored", "accuracy", "sensitivity", "specificity", "kappa", "AUROC", "ECE")
    table = Table(*heads, title=title, box=box.SIMPLE)
    for name, found in (("overall", card.overall), *card.categories.items()):
        table.add_row(name or "no category", str(found.rows), str(found.unscored), *_cells(found))
    out = wide_console()
    if not out.is_terminal:
        out.width = max(out.width, WIDE)
    out.print(table)
    shown = {"accuracy": card.overall.accuracy, "kappa": card.overall.kappa, "AUROC": card.overall.auroc}
    for what, figure in shown.items():
        out.print(f"  {what:<14}{_point(figure)}{_interval(figure)}", markup=False, highlight=False)
    out.print("  " + "label, found as".ljust(18) + "".join(f"{c:>8g}" for c in card.classes), markup=False, highlight=False)
    for label, counts in zip(card.classes, card.overall.confusion, strict=True):
        out.print(f"  {label:<18g}" + "".join(f"{n:>8}" for n in counts), markup=False, highlight=False)
    for line in advice(card):
        out.print(line, markup=False, highlight=False)


def _cells(found: Figures) -> list[str]:
    rates = ((found.sensitivity, found.hits, found.positives), (found.specificity, found.rejections, found.negatives))
    told = ["" if rate is None else f"{_point(rate)}{_interval(rate)} {right}/{n}" for rate, right, n in rates]
    error = "" if found.calibration_error is None else _point(found.calibration_error)
    return [_point(found.accuracy), *told, _point(found.kappa), _point(found.auroc), error]


def _point(figure: Estimate) -> str:
    return "–" if math.isnan(figure.mean) else f"{figure.mean:.3f}"


def _interval(figure: Estimate) -> str:
    return "" if math.isnan(figure.low) else f" [{figure.low:.3f}, {figure.high:.3f}]"
