"""The bench: two processes for each size, ours and TRL's, that do a step in turn, so that only one of them computes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import mean
from typing import Any

from primum.bench.config import BenchConfig, Engine
from primum.bench.ratios import ratio
from primum.policy.model import check_folder, is_local
from primum.run import environment, plain
from primum.types import BadInput

TIMES = ("step", "sample", "update")
# No network, no telemetry, and no threads of the tokenizer beside those that are measured.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}  # fmt: skip
NOTE = (
    "Ratios are TRL's seconds (or peak memory) over ours: geometric means over paired steps (or pairs of processes) with 95 % "
    "intervals. Each engine samples its own completions, so their lengths differ by chance: see completion_tokens."
)
Say = Callable[[str], object]


def bench_rl(config: BenchConfig, against: str, say: Say) -> dict[str, Any]:
    """Seconds, tokens, memory, ratios and parity for every size; "" measures our engine alone.

    In each pair of processes the first step is not counted; then the two take turns, the one
    that begins changing from step to step. `say` takes a line for each pair.
    """
    if against not in ("", "trl"):
        raise BadInput(f"no engine '{against}' to measure against", "--against", "write --against trl")
    if against and importlib.util.find_spec("trl") is None:
        raise BadInput("TRL is not installed", "--against trl", "pip install 'trl>=1.16,<1.17'")
    if config.model and is_local(config.model):
        check_folder(Path(config.model))
    engines: tuple[Engine, ...] = ("primum", "trl") if against else ("primum",)
    sizes = {}
    for size in config.rows:
        runs = [_run(config, size, repeat, engines, say) for repeat in range(config.repeats)]
        sizes[size] = _summary(runs, engines)
    return plain({"sizes": sizes, "settings": config.model_dump(mode="json"), "environment": environment(), "note": NOTE})


def _run(config: BenchConfig, size: str, repeat: int, engines: tuple[Engine, ...], say: Say) -> dict[str, Any]:
    """One pair of processes from their start to their end: their timed steps, and in the first repeat their parity."""
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="primum-bench-"))
        workers = [stack.enter_context(_worker(engine, size, repeat, config, Path(scratch))) for engine in engines]
        ready = {w.engine: w.listen() for w in workers}
        steps: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
        for step in range(config.steps + 1):
            for worker in workers if step % 2 else reversed(workers):
                steps[worker.engine].append(worker.ask(do="step", step=step))
        if len({tuple(row["prompt_tokens"] for row in rows) for rows in steps.values()}) > 1:
            raise BadInput("the engines read the prompts differently", size, "take a model with another chat template")
        parity = [w.ask(do="parity") for w in workers][-1] if len(workers) == 2 and repeat == 0 else {}
    timed = {engine: rows[1:] for engine, rows in steps.items()}
    seconds = ", ".join(f"{engine} {mean(row['seconds_step'] for row in rows):.3g} s" for engine, rows in timed.items())
    say(f"{size}, {repeat + 1} of {config.repeats}: {seconds} a step")
    return {"ready": ready, "steps": timed, "parity": parity}


def _summary(runs: list[dict[str, Any]], engines: tuple[Engine, ...]) -> dict[str, Any]:
    """What the pairs of processes of one size say together."""
    steps = {e: [row for run in runs for row in run["steps"][e]] for e in engines}
    peaks = {e: [max(row["peak_mib"] for row in run["steps"][e]) for run in runs] for e in engines}
    ready = runs[0]["ready"]
    out: dict[str, Any] = {"params": ready["primum"]["params"]}
    if len(engines) == 2:
        for name in TIMES:
            key = f"seconds_{name}"
            out[f"ratio_{name}"] = ratio(*([row[key] for row in steps[e]] for e in ("trl", "primum")))
        out["ratio_memory"] = ratio(peaks["trl"], peaks["primum"])
        out |= runs[0]["parity"]
    about = {e: {k: ready[e][k] for k in ("device", "threads", "notes")} for e in engines}
    return {**out, "engines": {e: {**_means(steps[e], peaks[e]), **about[e], "steps": steps[e]} for e in engines}}


def _means(steps: list[dict[str, float]], peaks: list[float]) -> dict[str, Any]:
    """An engine's means over its timed steps, and the peak of each of its processes, null where the system does not tell."""
    sums = {key: sum(row[key] for row in steps) for key in steps[0]}
    return {
        **{f"seconds_{name}": sums[f"seconds_{name}"] / len(steps) for name in TIMES},
        "tokens_per_second": sums["completion_tokens"] / sums["seconds_step"],
        "sampled_tokens_per_second": sums["completion_tokens"] / sums["seconds_sample"],
        "completion_tokens": sums["completion_tokens"] / sums["rollouts"],
        "prompt_tokens": sums["prompt_tokens"] / sums["rollouts"],
        **{key: sums[key] / len(steps) for key in ("flops_sample", "flops_update") if key in sums},
        "peak_mib": max(peaks) or None,
        "peaks_mib": [peak or None for peak in peaks],
        "n": len(steps),
    }


class _Worker:
    """A process with one engine, spoken to in lines of JSON."""

    def __init__(self, engine: Engine, size: str, process: subprocess.Popen[str], log: Path) -> None:
        self.engine, self.size, self.process, self.log = engine, size, process, log

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: what it said last tells why
        return self.listen()

    def listen(self) -> dict[str, Any]:
        """Its next answer; a process that ended, or says what is wrong, ends the bench in one line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise self._end()
        found = json.loads(line)
        if "error" in found:
            raise BadInput(found["error"])
        return found

    def _end(self) -> BadInput:
        """Why it is gone, in one line; what it said last is the cause that --debug shows."""
        code = self.process.wait()
        log = self.log.read_text(encoding="utf-8", errors="replace").strip()
        why = f"killed by signal {-code}" if code < 0 else f"exit code {code}, {log.rpartition(chr(10))[2][:300]}"
        remedy = "there may be too little memory: take a smaller size" if code < 0 else "see --debug"
        error = BadInput(f"the process of {self.engine} ended, {why}", f"bench, {self.size}", remedy)
        error.__cause__ = ChildProcessError(log)
        return error


@contextmanager
def _worker(engine: Engine, size: str, repeat: int, config: BenchConfig, scratch: Path) -> Iterator[_Worker]:
    """The process of an engine, which never outlives the block."""
    about = {
        "engine": engine, "size": size, "repeat": repeat, "config": config.model_dump(mode="json"), "scratch": str(scratch),
        "parent": os.getpid(),
    }  # fmt: skip
    log = scratch / f"{engine}.log"
    command = [sys.executable, "-m", "primum.bench.worker", json.dumps(about)]
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
            env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
    try:
        yield _Worker(engine, size, process, log)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(BrokenPipeError):  # what was not sent any more
                if pipe is not None:
                    pipe.close()
