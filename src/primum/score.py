"""Transcripts of any origin under a signal: read, asked, compared with labels, written back with a column more."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from primum.agreement import accuracy, auroc, calibration_error, confusion, f1, kappa
from primum.config import nearest
from primum.evaluate.public_labelled import Transcripts, labelled_parts, load_labelled
from primum.files import read_rows
from primum.stats import estimate
from primum.types import BadInput, Example, Kind, Rollout, Signal

# XSTest's labels of replies, and how a table tends to write yes and no.
KNOWN_LABELS = {
    "1_full_compliance": 0.0, "3_partial_refusal": 0.5, "2_full_refusal": 1.0,
    "true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0,
}  # fmt: skip
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
FEW = 10  # distinct values that are told one by one


@dataclass(frozen=True)
class Columns:
    """Which columns of a file hold what; "" where it has none."""

    prompt: str = "prompt"
    reply: str = "reply"
    thought: str = ""
    label: str = ""


def transcripts_of(
    file: Path, columns: Columns, kind: Kind = "harmful", *, positive: str = "", label_map: Mapping[str, float] | None = None
) -> Transcripts:
    """A labelled set by its name, such as "xstest_replies:FILE", or the rows of a file by their columns."""
    name, _, _ = labelled_parts(str(file))
    if not name:
        return read_transcripts(file, columns, kind, positive=positive, label_map=label_map)
    if columns not in (Columns(), Columns(label="label")) or kind != "harmful" or positive or label_map is not None:
        raise BadInput(
            f"the columns, kinds and labels of {name} are known", str(file), "leave those options out, or give the path alone"
        )
    return load_labelled(str(file))


def read_transcripts(
    path: Path, columns: Columns, kind: Kind = "harmful", *, positive: str = "", label_map: Mapping[str, float] | None = None
) -> Transcripts:
    """The rows of a CSV, TSV, JSONL, JSON or parquet file (text also .gz) as finished rollouts.

    Every prompt is taken to be of one `kind`. null is no text. `positive` names the label that is 1, all others being
    0; `label_map` says the number of each label; without either, numbers, yes and no, and XSTest's labels are understood.
    """
    rows: list[dict[str, Any]] = []
    rollouts: list[Rollout] = []
    labels: list[float] = []
    for where, row in read_rows(path):
        prompt, reply, thought = (_cell(row, name, where) for name in (columns.prompt, columns.reply, columns.thought))
        example = Example(str(len(rows)), prompt, kind, meaning=f"prompt {prompt}" if columns.prompt else "")
        rows.append(row)
        rollouts.append(Rollout(example, thought, reply))
        if columns.label:
            labels.append(_label(_value(row, columns.label, where), where, positive, label_map))
    if positive and 1.0 not in labels:
        near = nearest(positive, [str(row[columns.label]) for row in rows if columns.label])
        raise BadInput(f"no row is labelled '{positive}'", "--positive", f"did you mean '{near}'?" if near else "name a label")
    return Transcripts(rows, rollouts, labels if columns.label else None)


def score(transcripts: Transcripts, signal: Signal) -> tuple[list[float], dict[str, Any]]:
    """The signal's value of every row, and what there is to say of them: mean, distribution, agreement with the labels."""
    values = signal(transcripts.rollouts)
    clusters = [r.example.cluster for r in transcripts.rollouts]
    found: dict[str, Any] = {
        "rows": len(values),
        "prompts": len(set(clusters)),
        "value": estimate(values, clusters).to_json(),
        "distribution": distribution(values),
    }
    if transcripts.labels is not None:
        found["labels"] = agreement(values, transcripts.labels, clusters)
    return values, found


def distribution(values: Sequence[float]) -> dict[str, Any]:
    """How often each of a few values occurs, or the quantiles of many; unscored ones left out.

    >>> distribution([0.0, 1.0, 1.0, math.nan])
    {'counts': {'0': 1, '1': 2}}
    """
    scored = [v for v in values if not math.isnan(v)]
    counts = Counter(scored)
    if len(counts) <= FEW:
        return {"counts": {f"{value:g}": n for value, n in sorted(counts.items())}}
    return {"quantiles": {f"{q:g}": float(x) for q, x in zip(QUANTILES, np.quantile(scored, QUANTILES), strict=True)}}


def agreement(values: Sequence[float], labels: Sequence[float], clusters: Sequence[str]) -> dict[str, Any]:
    """Agreement of the labelled rows: the value read as the nearest class (of two equally near, the higher) against the label.

    AUROC is that of the value itself, a label of 0.5 or more counting as positive. Calibration error only where
    labels are 0 and 1 and values lie in [0, 1].
    """
    kept = [i for i, label in enumerate(labels) if not math.isnan(label)]
    if not kept:
        raise BadInput("no row has a label", "--label-column", "name a column that holds some")
    value, label, names = [values[i] for i in kept], [labels[i] for i in kept], [clusters[i] for i in kept]
    classes = sorted(set(label))
    told = [_nearest_class(v, classes) for v in value]
    positive = [float(x >= 0.5) for x in label]
    rates = set(classes) <= {0.0, 1.0} and all(math.isnan(v) or 0 <= v <= 1 for v in value)
    seen, table = confusion(told, label)
    return {
        "labelled": len(kept),
        "unlabelled": len(labels) - len(kept),
        "unscored": sum(map(math.isnan, value)),
        "accuracy": accuracy(told, label, names).to_json(),
        "f1": f1(told, label, names).to_json(),
        "auroc": auroc(value, positive, names).to_json(),
        "kappa": kappa(told, label, names).to_json(),
        "calibration_error": calibration_error(value, positive, names).to_json() if rates else None,
        "confusion": {"classes": seen, "true_by_found": table},
    }


def label_map(written: str) -> dict[str, float]:
    """The numbers of labels written as "a=0,b=0.5,c=1".

    >>> label_map("good=0, bad=1")
    {'good': 0.0, 'bad': 1.0}
    """
    found = {}
    for pair in written.split(","):
        name, equals, number = pair.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not math.isfinite(found[name.strip()]):
            raise BadInput(f"'{pair.strip()}' gives no label a number", "--label-map", "write it as a=0,b=0.5,c=1")
    return found


def _nearest_class(value: float, classes: Sequence[float]) -> float:
    return value if math.isnan(value) else min(classes, key=lambda c: (abs(c - value), -c))


def _value(row: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in row:
        near = nearest(name, [str(key) for key in row])
        remedy = f"did you mean '{near}'?" if near else f"the columns are {', '.join(map(str, row))}"
        raise BadInput(f"no column '{name}'", where, remedy)
    return row[name]


def _cell(row: Mapping[str, Any], name: str, where: str) -> str:
    if not name:
        return ""
    value = _value(row, name, where)
    if value is not None and not isinstance(value, str):
        raise BadInput(f"'{name}' is {type(value).__name__}, not text", where, "name a column of text")
    return value or ""


def _label(value: Any, where: str, positive: str, table: Mapping[str, float] | None) -> float:
    if value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip():
        return math.nan
    text = str(value).strip()
    if positive:
        return float(text == positive)
    if table is not None:
        if text not in table:
            raise BadInput(f"label '{text}' has no number", where, f"--label-map names {', '.join(table)}; add '{text}=…'")
        return table[text]
    known = KNOWN_LABELS.get(text.casefold())
    if known is not None:
        return known
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"label '{text}' is no number", where, "say --positive VALUE, or --label-map a=0,b=1")
    return number


def new_column(name: str, rows: Iterable[Mapping[str, Any]], file: Path, output: Path) -> str:
    """`name`, where the output is a new file of the input's format and no row has such a column yet."""
    if output.exists():
        raise BadInput("the output is there already", str(output), "name a new file")
    if _format(file) != _format(output):
        raise BadInput("the output's format is not the input's", str(output), f"end its name in {_format(file)}")
    if any(name in row for row in rows):
        raise BadInput(f"there is a column '{name}' already", "--output", "rename it in the file, or leave --output out")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the output's folder cannot be made, {error.strerror}", str(output), "choose another") from None
    return name


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], name: str, values: Sequence[float]) -> None:
    """The rows with one more column, in the format the path's ending says; an unscored value is left empty."""
    made = [{**row, name: None if math.isnan(value) else value} for row, value in zip(rows, values, strict=True)]
    data = _encoded(made, _format(path))
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix.lower() == ".gz" else data)


def _encoded(rows: list[dict[str, Any]], suffix: str) -> bytes:
    if suffix == ".parquet":
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
        return bytes(sink.getvalue())
    if suffix in (".csv", ".tsv"):
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()
    if suffix == ".json":
        written = json.dumps(rows, ensure_ascii=False, indent=1)
    else:
        written = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return written.encode(errors="backslashreplace")  # as JSON writes half a character


def _format(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix
