"""`primum score FILE --signal NAME`: a signal on transcripts, and how far it agrees with labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from primum.commands.options import Debug, Json, wide_console
from primum.types import KINDS, BadInput, Kind


def score(
    file: Annotated[
        Path,
        typer.Argument(help="Transcripts: CSV, TSV, JSONL, JSON (also .gz), parquet; or a labelled set, xstest_replies:FILE …"),
    ],
    signal: Annotated[
        str,
        typer.Option(help="One of ours (refusal, embedded_harm, …), classifier:, guard:, endpoint:, learned:, module:function."),
    ],
    prompt_column: Annotated[str, typer.Option(help="Column of prompts; '' where there is none.")] = "prompt",
    reply_column: Annotated[str, typer.Option(help="Column of replies.")] = "reply",
    thought_column: Annotated[str, typer.Option(help="Column of thoughts, where there is one.")] = "",
    kind: Annotated[str, typer.Option(help=f"What every prompt is: {', '.join(KINDS)}.")] = "harmful",
    label_column: Annotated[str, typer.Option(help="Column of labels to agree with.")] = "",
    positive: Annotated[str, typer.Option(help="The label that is 1; all others are 0.")] = "",
    label_map: Annotated[str, typer.Option(help="The number of each label, as a=0,b=0.5,c=1.")] = "",
    output: Annotated[Path | None, typer.Option(help="Write the rows with the value as one more column.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score the transcripts of a file with a signal; with labels, say how far it agrees with them."""
    from primum import score as scoring
    from primum.run import plain
    from primum.signals.named import named

    given: Any = kind
    if given not in KINDS:
        raise BadInput(f"no kind '{kind}'", "--kind", f"choose one of {', '.join(KINDS)}")
    if positive and label_map:
        raise BadInput("--positive and --label-map say the same thing twice", "command line", "give one of them")
    if (positive or label_map) and not label_column:
        raise BadInput("no column of labels to read", "command line", "say --label-column NAME too")
    asked: Kind = given
    numbers = scoring.label_map(label_map) if label_map else None
    judge = named(signal)
    columns = scoring.Columns(prompt_column, reply_column, thought_column, label_column)
    transcripts = scoring.transcripts_of(file, columns, asked, positive=positive, label_map=numbers)
    name = ""
    if output is not None:
        if not transcripts.rows:
            raise BadInput(
                "the rows of a labelled set cannot be written back", "--output", "give the path and its columns instead"
            )
        name = scoring.new_column(signal, transcripts.rows, file, output)
    values, found = scoring.score(transcripts, judge)
    if output is not None:
        scoring.write_rows(output, transcripts.rows, name, values)
    found = {"file": str(file), "signal": signal, **found}
    if as_json:
        typer.echo(json.dumps(plain(found), ensure_ascii=False))
        return
    wide_console().print(_describe(found), highlight=False, markup=False)


def _describe(found: dict[str, Any]) -> str:
    value = found["value"]
    lines = [f"{found['signal']} on {found['file']}: {found['rows']} rows, {found['prompts']} prompts"]
    lines.append(f"  mean {_shown(value)}, {value['unscored']} unscored")
    [(what, spread)] = found["distribution"].items()
    lines.append(f"  {what}: " + ", ".join(f"{k}: {v:g}" if what == "counts" else f"{k}: {v:.3f}" for k, v in spread.items()))
    labels = found.get("labels")
    if labels is None:
        return "\n".join(lines)
    lines.append(f"against {labels['labelled']} labels ({labels['unlabelled']} rows have none, {labels['unscored']} unscored)")
    lines += [
        f"  {name.replace('_', ' '):<18}{_shown(labels[name])}"
        for name in ("accuracy", "f1", "auroc", "kappa", "calibration_error")
        if labels[name] is not None
    ]
    classes = [f"{c:g}" for c in labels["confusion"]["classes"]]
    lines.append("  " + "label, found as".ljust(18) + "".join(f"{c:>8}" for c in classes))
    for label, counts in zip(classes, labels["confusion"]["true_by_found"], strict=True):
        lines.append(f"  {label:<18}" + "".join(f"{n:>8}" for n in counts))
    return "\n".join(lines)


def _shown(estimate: dict[str, Any]) -> str:
    if estimate["mean"] is None:
        return "not measured"
    low, high = estimate["low"], estimate["high"]
    interval = f"[{low:.3f}, {high:.3f}]" if low is not None else "no interval"
    return f"{estimate['mean']:.3f}  {interval}  n = {estimate['n']}"
