"""A judge against people's labels: where it agrees, overall and by category, as a card to keep beside its numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from primum.agreement import accuracy, auroc, calibration_error, kappa
from primum.config import nearest
from primum.evaluate.judge_card import Figures, JudgeCard
from primum.evaluate.judge_digest import file_digest, judge_digest
from primum.evaluate.public_labelled import labelled_parts
from primum.score import Columns, Transcripts, transcripts_of
from primum.signals.named import named
from primum.stats import estimate
from primum.types import BadInput, Kind


@dataclass(frozen=True)
class Labelled:
    """Rows with a label: the judge's values, the labels, and what they are grouped by."""

    values: list[float]
    labels: list[float]
    clusters: list[str]
    categories: list[str]

    def of(self, category: str) -> Labelled:
        kept = [i for i, name in enumerate(self.categories) if name == category]
        return Labelled(
            [self.values[i] for i in kept],
            [self.labels[i] for i in kept],
            [self.clusters[i] for i in kept],
            [category] * len(kept),
        )


def calibrate(
    file: Path,
    signal: str,
    columns: Columns,
    *,
    category_column: str = "",
    threshold: float | None = None,
    kind: Kind = "harmful",
    positive: str = "",
    label_map: Mapping[str, float] | None = None,
) -> JudgeCard:
    """The judge that `signal` names, asked of every labelled row of a file or of a labelled set; see `transcripts_of`.

    Labels 0 and 1: from `threshold` (½ where None) on, a value is found positive. Other labels: values are read as the
    nearest class, and only a threshold, which then cuts labels and values alike, gives sensitivity and specificity.
    """
    judge = named(signal)
    digest = judge_digest(judge)
    name, path, _ = labelled_parts(str(file))
    transcripts = transcripts_of(file, columns, kind, positive=positive, label_map=label_map)
    labels = transcripts.labels or []
    kept = [i for i, label in enumerate(labels) if not math.isnan(label)]
    if not kept:
        raise BadInput("no row has a label", str(file), "name a column that holds some with --label-column")
    if name and category_column:
        raise BadInput(f"the categories of {name} are known", "--category-column", "leave it out, or give the path alone")
    categories = [r.example.category for r in transcripts.rollouts] if name else _categories(transcripts, category_column, file)
    rollouts = [transcripts.rollouts[i] for i in kept]
    values = judge(rollouts)
    if all(map(math.isnan, values)):
        raise BadInput(f"the judge scored none of {len(kept)} labelled rows", signal, "see what it reads in docs/score.md")
    rows = Labelled(values, [labels[i] for i in kept], [r.example.cluster for r in rollouts], [categories[i] for i in kept])
    classes = sorted(set(rows.labels))
    binary = set(classes) <= {0.0, 1.0}
    at = 0.5 if threshold is None and binary else threshold
    names = sorted(set(rows.categories)) if category_column or any(rows.categories) else []
    classes = [0.0, 1.0] if binary else classes
    return JudgeCard(
        signal=signal, digest=digest, threshold=at, kind=", ".join(sorted({r.example.kind for r in rollouts})), file=file.name,
        labels=file_digest(path), positive=positive,
        label_map=dict(label_map or {}), rows=len(labels), unlabelled=len(labels) - len(kept), prompts=len(set(rows.clusters)),
        classes=tuple(classes), overall=figures(rows, classes, at),
        categories={name: figures(rows.of(name), classes, at) for name in names},
        date=datetime.now(UTC).date().isoformat(), primum=version("primum"),
    )  # fmt: skip


def figures(rows: Labelled, classes: Sequence[float], threshold: float | None) -> Figures:
    """How far the values of some rows agree with their labels. Intervals are over clusters."""
    value, label, names = rows.values, rows.labels, rows.clusters
    binary = set(classes) <= {0.0, 1.0}
    cut = 0.5 if binary or threshold is None else threshold
    positive = [float(x >= cut) for x in label]
    right = [
        math.nan if threshold is None or math.isnan(v) else float((v >= threshold) == p)
        for v, p in zip(value, positive, strict=True)
    ]
    told = [_found(v, classes, threshold if binary else None) for v in value]
    cells = Counter(zip(label, told, strict=True))
    sides = {side: [i for i, p in enumerate(positive) if p == side] for side in (0.0, 1.0)}
    rates = {side: estimate([right[i] for i in at], [names[i] for i in at]) for side, at in sides.items()}
    scored = {side: sum(not math.isnan(value[i]) for i in at) for side, at in sides.items()}
    correct = {side: sum(right[i] == 1.0 for i in at) for side, at in sides.items()}
    known = threshold is not None
    probabilities = binary and all(math.isnan(v) or 0 <= v <= 1 for v in value)
    return Figures(
        rows=len(value),
        unscored=sum(map(math.isnan, value)),
        positives=scored[1.0],
        negatives=scored[0.0],
        hits=correct[1.0] if known else None,
        rejections=correct[0.0] if known else None,
        accuracy=accuracy(told, label, names),
        kappa=kappa(told, label, names),
        auroc=auroc(value, positive, names),
        sensitivity=rates[1.0] if known else None,
        specificity=rates[0.0] if known else None,
        calibration_error=calibration_error(value, positive, names) if probabilities else None,
        confusion=tuple(tuple(cells[a, b] for b in classes) for a in classes),
    )


def _found(value: float, classes: Sequence[float], threshold: float | None) -> float:
    """The class a value is read as: 1 from the threshold on, or the nearest (of two equally near, the higher)."""
    if math.isnan(value):
        return value
    return min(classes, key=lambda c: (abs(c - value), -c)) if threshold is None else float(value >= threshold)


def _categories(transcripts: Transcripts, name: str, file: Path) -> list[str]:
    """The category of every row; "" where it has none."""
    for number, row in enumerate(transcripts.rows, start=1):
        if name and name not in row:
            near = nearest(name, [str(key) for key in row])
            remedy = f"did you mean '{near}'?" if near else f"the columns are {', '.join(map(str, row))}"
            raise BadInput(f"no column '{name}'", f"{file}, row {number}", remedy)
    return ["" if not name or row[name] is None else str(row[name]).strip() for row in transcripts.rows]
