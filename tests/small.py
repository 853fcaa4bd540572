"""The smallest run that goes through every stage, and how to start one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PRIMUM = str(Path(sys.executable).with_name("primum"))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
RL = {
    "steps": 3,
    "prompts": 8,
    "group": 8,
    "learning_rate": 0.0005,
    "warmup_steps": 0,
    "evaluate_every": 1,
    "checkpoint_every": 1,
    "patience": 0,
}
SETTINGS = [
    "threads=1",  # and so no arm is trained in a second process
    "curate.microworld.train_examples=32",
    "curate.microworld.validation_examples=20",
    "curate.microworld.test_examples=4",
    "coldstart.epochs=2",
    *(f"{stage}.{key}={value}" for stage in ("reinforce", "second") for key, value in RL.items()),
    "refine.epochs=2",
    "refine.prompts=8",
    "distill.epochs=2",
    "distill.prompts=8",
    "evaluate.temperature=1.0",
]
STAGES = ("1-curate", "2-coldstart", "3-alone", "3-reinforce", "4-refine", "5-distill", "6-compare")
Done = subprocess.CompletedProcess[str]


def primum(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> Done:
    """The console script in a process of its own, its output captured: no terminal."""
    return subprocess.run(
        [PRIMUM, *map(str, arguments)], cwd=cwd, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=600
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def done_marks(run: Path) -> dict[str, int]:
    """When each stage, and each part of one, was marked done."""
    return {str(p.relative_to(run)): p.stat().st_mtime_ns for p in sorted(run.rglob("done"))}


def complaint(stderr: str) -> str:
    """The one line that says what is wrong, without its mark."""
    said = [line for line in stderr.splitlines() if line.startswith("primum: ")]
    assert len(said) == 1, stderr
    assert "Traceback" not in stderr
    return said[0].removeprefix("primum: ")


def content(run: Path) -> dict[str, Any]:
    """What every file of a run says, times and the report left out; weights as their bytes."""
    out: dict[str, Any] = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = str(path.relative_to(run))
        if name == "environment.json" or name.startswith("report."):
            continue
        if path.suffix == ".jsonl":
            out[name] = [_timeless(json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]
        elif path.suffix == ".json" or path.name == "done":
            out[name] = _timeless(read(path))
        else:
            out[name] = path.read_bytes()
    return out


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in ("seconds", "peak_mib")}
    return [_timeless(v) for v in value] if isinstance(value, list) else value
