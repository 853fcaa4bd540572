"""docs/findings.md: what the experiments found, generated from the results that are committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primum.report.markdown import inline
from primum.run import read_json
from primum.study.findings_words import INTRODUCTION
from primum.study.markdown import chapter, target_value, target_verdict, words
from primum.study.reading import is_result, read_result, text
from primum.study.result import Result, distinct

ORDER = ("reward-hacking", "novel-harm", "cold-start", "hybrid", "safe-distillation", "contextual-harm", "auto-data",
         "language-mixing", "verbosity", "culture", "brittleness")  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """A committed result: its file, and its document."""

    path: Path
    found: dict[str, Any]

    @property
    def result(self) -> Result:
        return read_result(self.found)

    @property
    def name(self) -> str:
        """The experiment's name; that of the file where one experiment has several."""
        return self.path.stem

    @property
    def experiment(self) -> str:
        return text(self.found.get("experiment"))

    @property
    def link(self) -> str:
        return f"[{inline(self.path.name)}](results/{self.path.name})"


def findings(folder: Path) -> str:
    """The page as Markdown, from the JSON files of `folder`; the same files give the same text, whatever else is there."""
    every = [Kept(path, read_json(path)) for path in sorted(folder.glob("*.json"))]
    every = sorted((k for k in every if isinstance(k.found, dict)), key=_place)
    new = [k for k in every if is_result(k.found)]
    main = [k for k in new if k.name == k.experiment or k.experiment not in {other.name for other in new}]
    old = [k for k in every if not is_result(k.found) and k.experiment]
    parts = [
        INTRODUCTION,
        "## Summary",
        *_summary(new, main),
        *_targets(main),
        *(part for k in new for part in (f"## {inline(k.name)}", *chapter(k.result), f"All numbers: {k.link}.")),
        *_older(old),
    ]
    return "\n\n".join(parts) + "\n"


def _place(kept: Kept) -> tuple[int, str]:
    return (ORDER.index(kept.experiment) if kept.experiment in ORDER else len(ORDER), kept.name)


def _summary(new: Sequence[Kept], main: Sequence[Kept]) -> list[str]:
    """A row for each result, and the claims of the main ones counted: another asking beside an experiment's own result counts
    nothing twice."""
    if not new:
        return ["No result of this form is committed yet."]
    rows = []
    for kept in new:
        r = kept.result
        rows.append([
            f"[{inline(kept.name)}](#{_anchor(kept.name)})", inline(r.question) or "–", _bold(r.verdict), _said(r),
            str(distinct(r.seeds)), inline(r.environment.get("git") or "–"),
        ])  # fmt: skip
    claims = [c.verdict for kept in main for c in kept.result.claims]
    counted = ", ".join(f"{claims.count(v)} {v}" for v in ("held", "failed", "undecided"))
    beside = ", ".join(inline(kept.name) for kept in new if kept not in main)
    said = f"Of {len(claims)} claims: {counted}."
    if beside:
        said += f" Neither they nor the targets count {beside}: asked again, or in another way ([log.md](log.md))."
    return [words(["Experiment", "Question", "Verdict", "Claims", "Seeds", "Revision"], rows), said]


def _said(result: Result) -> str:
    """How many claims came out how."""
    verdicts = [c.verdict for c in result.claims]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in ("held", "failed", "undecided") if v in verdicts) or "–"


def _bold(verdict: str) -> str:
    return f"**{inline(verdict)}**" if verdict.startswith("failed") else inline(verdict) or "–"


def _targets(new: Sequence[Kept]) -> list[str]:
    found = [(kept, kept.result, target) for kept in new for target in kept.result.targets]
    if not found:
        return []
    rows = [
        [inline(t.text), f"[{inline(kept.name)}](#{_anchor(kept.name)})", target_value(r, t), target_verdict(t)]
        for kept, r, t in found
    ]
    verdicts = [t.verdict for _, _, t in found]
    counted = ", ".join(f"{verdicts.count(v)} {v}" for v in ("met", "not met", "not known"))
    said = f"{counted}. A target is met where the mean over seeds reaches it; its interval may reach over the limit."
    return ["## Targets", said, words(["Target", "Experiment", "Value [95 % interval]", "Met"], rows)]


def _older(old: Sequence[Kept]) -> list[str]:
    """The documents of another form: their question and verdict where they have them."""
    if not old:
        return []
    rows = [[k.link, inline(text(k.found.get("question"))) or "–", _bold(text(k.found.get("verdict")))] for k in old]
    said = "Results in a form of their own, described in [experiments.md](experiments.md) and [log.md](log.md):"
    return ["## Other experiments", said, words(["Result", "Question", "Verdict"], rows)]


def _anchor(name: str) -> str:
    """The id that a heading of this text has on GitHub, as far as names of files go."""
    return "".join(c for c in name.lower().replace(" ", "-") if c.isalnum() or c in "-_")
