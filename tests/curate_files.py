"""Small source files for the tests of curation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from primum.curate import CurateConfig, Source
from primum.curate.mapping import read_source
from primum.run import Run
from primum.types import Example

NOUNS = ["lamp", "stone", "diary", "bread", "kite", "river", "clock", "apple", "wheel", "chair", "candle", "mirror"]
COLOURS = ["red", "blue", "green", "grey", "white", "amber"]


def jsonl(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def quiet(path: Path) -> Run:
    return Run(path, Console(file=(path.parent / "said.txt").open("a", encoding="utf-8"), width=10_000), quiet=True)


def said(path: Path) -> str:
    return (path.parent / "said.txt").read_text(encoding="utf-8")


def prompt(category: str, i: int) -> str:
    """Prompts that are no near-duplicates of each other and share no long passage."""
    rng = np.random.default_rng([i, *category.encode()])
    return f"{category}: " + " ".join(f"{rng.choice(COLOURS)} {rng.choice(NOUNS)} {rng.integers(10_000)}" for _ in range(4))


def sources(folder: Path, harms: tuple[str, ...] = ("theft", "arson", "spying", "fraud", "cruelty"), n: int = 20) -> list[Source]:
    """A little world of files: n harmful and n look-alike prompts a harm, 2n benign and 2n tasks."""
    harmful = [{"prompt": prompt(c, i), "category": c} for c in harms for i in range(n)]
    alike = [{"prompt": prompt(c + " alike", i), "category": c} for c in harms for i in range(n)]
    benign = [{"prompt": prompt("benign", i), "completion": f"Reply {i}."} for i in range(2 * n)]
    task = [{"prompt": prompt("task", i), "answer": i, "thought": f"It is {i}.", "reply": f"{i}"} for i in range(2 * n)]
    named = {"harmful": harmful, "borderline": alike, "benign": benign, "task": task}
    return [Source(path=jsonl(folder / f"{kind}.jsonl", rows), kind=kind) for kind, rows in named.items()]  # type: ignore[arg-type]


def files(folder: Path, **settings: Any) -> CurateConfig:
    return CurateConfig(world="files", **({} if "sources" in settings else {"sources": sources(folder)}), **settings)


def read_one(path: Path | str, **settings: Any) -> list[Example]:
    return read_source(Source(path=str(path), **{"kind": "benign", **settings}))[0]
