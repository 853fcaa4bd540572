"""A run directory: stages that finish once, metrics, their ledgers, and progress."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from primum.ledger import Ledger
from primum.types import BadInput, Example, Rollout

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy", "pyarrow")


# Where a run's stages keep their policies, the last first.
TRAINED = ("5-distill/sft/policy", "4-refine/rl/policy", "4-refine/sft/sft/policy", "3-reinforce/policy", "2-coldstart/policy")


class Run:
    """One directory of a run. A child is a stage; a stage with a `done` file is finished.

    `console` is shared by all children; `quiet` keeps progress bars off.
    """

    def __init__(self, path: Path, console: Console | None = None, *, quiet: bool = False) -> None:
        self.path = path
        self.console = console or Console(stderr=True)
        self.quiet = quiet
        self.ledger = Ledger()
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):  # without a name: a kill leaves nothing
                pass
        except OSError as error:
            raise BadInput(f"cannot write here, {error.strerror}", str(path), "choose another folder with --output") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the directory: a second process that wants it is refused. The system lets go when this one ends."""
        with (self.path / "lock").open("w") as lock:
            try:
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):  # else a file system without locks
                    remedy = "wait for it, stop it, or choose another folder"
                    raise BadInput("another process is working on this run", str(self.path), remedy) from None
            yield

    def child(self, name: str) -> Run:
        return Run(self.path / name, self.console, quiet=self.quiet)

    def withdraw(self) -> None:
        """Remove the directory again, if this run made it and no stage of it has finished."""
        if not self._made or any(self.path.rglob("done")):
            return
        shutil.rmtree(self.path)
        for folder in self._made[1:]:
            if any(folder.iterdir()):
                break
            folder.rmdir()

    def done(self) -> dict[str, Any] | None:
        """What the finished stage noted, or None; restores its ledger."""
        mark = self.path / "done"
        if not mark.exists():
            return None
        noted = read_json(mark)
        self.ledger.restore(noted.pop("ledger"))
        return noted

    def finish(self, **noted: Any) -> None:
        """Mark the stage finished, with what it wants remembered (plain JSON) and its ledger."""
        write_json(self.path / "done", {**noted, "ledger": asdict(self.ledger)})

    def fresh(self) -> None:
        """Remove what an interrupted stage left behind."""
        for item in self.path.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()

    def log(self, **metrics: Any) -> None:
        """Append one line to metrics.jsonl; nan becomes null."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(plain(metrics), ensure_ascii=False) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The logged lines; a torn last line (killed while writing) is dropped."""
        return list(read_jsonl(self.path / "metrics.jsonl", torn=True))

    def say(self, text: str) -> None:
        """One line for the person at the terminal."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, label: str, steps: int | None, start: int = 0) -> Iterator[Any]:
        """Yield `advance(n=1, note="")`; a bar with rate and time left on a terminal, nothing elsewhere."""
        if self.quiet or not self.console.is_terminal:
            yield lambda n=1, note="": None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(label, total=steps, completed=start, note="", rate="")
            begun, made = time.perf_counter(), 0

            def advance(n: int = 1, note: str = "") -> None:
                nonlocal made
                made += n
                bar.update(task, advance=n, note=note, rate=f"{made / (time.perf_counter() - begun):.1f}/s")

            yield advance


def plain(value: Any) -> Any:
    """`value` as strict JSON: nan and infinities become null, tuples lists, paths strings."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value.to_json() if hasattr(value, "to_json") else value


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(plain(value), ensure_ascii=False, indent=1))


def read_jsonl(path: Path, *, torn: bool = False) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; `torn` forgives a last line cut short."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")  # model text may hold other line separators
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            if not (torn and i == len(lines) - 1):
                raise BadInput("a line is no JSON", f"{path}, line {i + 1}", "mend or remove it") from None


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise BadInput("no readable JSON", str(path), "mend or remove it") from None


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows))


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    write_jsonl(path, (e.to_json() for e in examples))


def read_examples(path: Path) -> list[Example]:
    return [Example.from_json(row) for row in read_jsonl(path)]


def rollout_row(rollout: Rollout, **extra: Any) -> dict[str, Any]:
    """A rollout as one readable JSON object, without its token ids."""
    e = rollout.example
    row = {
        "id": e.id,
        "kind": e.kind,
        "category": e.category,
        "prompt": e.prompt,
        "thought": rollout.thought,
        "reply": rollout.reply,
        "truncated": rollout.truncated,
        "well_formed": rollout.well_formed,
        "thought_tokens": rollout.thought_tokens,
        "reply_tokens": rollout.reply_tokens,
    }
    return plain({**row, **extra})


def last_policy(path: Path) -> Path | None:
    """The folder of the policy that a run directory trained last, None before there is one."""
    return next((path / stage for stage in TRAINED if (path / stage / "config.json").exists()), None)


def environment() -> dict[str, Any]:
    """Versions, machine and code revision, for the record."""
    return {
        "primum": _version("primum"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git_revision(),
        "command": shlex.join(["primum", *sys.argv[1:]]),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _git_revision() -> str:
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip() or "unknown"
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
