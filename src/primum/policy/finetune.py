"""Supervised fine-tuning on demonstrations: the core that cold start, refinement and distillation share."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from primum.config import Config
from primum.policy.model import Policy, context_limit, copy, load, save
from primum.policy.template import completion_ids, prompt_ids
from primum.run import Run, plain, write_json, write_text
from primum.types import BadInput, Example

Validate = Callable[[Policy], dict[str, float]]
Row = dict[str, list[int]]
STATE = "primum.json"


class FinetuneConfig(Config):
    """How to fine-tune; the defaults suit a model of a million parameters."""

    epochs: int = Field(10, ge=1)  # at most: patience or the budget may end it sooner
    learning_rate: float = Field(1e-3, gt=0)
    batch: int = Field(32, ge=1)  # examples of one update
    gradient_accumulation: int = Field(1, ge=1)  # pieces in which a batch is computed, to save memory
    warmup_share: float = Field(0.05, ge=0, lt=1)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # cosine ends at a tenth, as DeepSeek-R1's distillation
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    max_tokens: int = Field(4096, ge=2)  # prompt and completion; longer demonstrations are left out and counted
    evaluate_every_epochs: int = Field(1, ge=1)
    patience: int = Field(3, ge=0)  # evaluations without a better selection before stopping; 0 never stops
    lora_rank: int = Field(0, ge=0)  # 0 trains all weights
    gradient_checkpointing: bool = False


@dataclass
class State:
    """Where fine-tuning stands after an epoch; what a killed run resumes from."""

    fingerprint: str
    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    waited: int = 0
    finished: bool = False

    def judge(self, selection: float, epoch: int) -> bool:
        """Whether this epoch is the best so far; nan is never better."""
        if selection > self.best:
            self.best, self.best_epoch, self.waited = selection, epoch, 0
            return True
        self.waited += 1
        return False


def finetune(
    policy: Policy, examples: Sequence[Example], config: FinetuneConfig, run: Run, *,
    validate: Validate | None = None, seed: int = 0, budget_flops: float = math.inf, label: str = "fine-tune",
) -> Policy:  # fmt: skip
    """A new policy that imitates the demonstrations; `policy` itself stays as it is.

    The loss is on completion tokens only, and they are the very tokens that sampling meets:
    TRL's trainer gets token ids, so no chat template can rewrite a thought. With `validate`,
    the epoch with the highest "selection" is kept, otherwise the last. Training stops where
    the floating-point budget is spent. `run` is marked done: a finished run returns what it
    saved, a killed one goes on after its last whole epoch. The ledger counts forward and
    backward over tokens that are not padding, and seconds with validation in them.
    """
    result = run.path / "policy"
    if run.done() is not None:
        return restore(result, policy)
    rows, dropped = tokenise(policy, examples, min(config.max_tokens, context_limit(policy.model)))
    state, checkpoint = resume(run, fingerprint(policy, config.model_dump(), seed, rows))
    keep_metrics(run, state.epoch)

    from primum.policy.trainer import train  # TRL takes seconds to import

    task = Task(copy(policy), rows, config, run, state, validate, budget_flops)
    train(task, checkpoint, seed=seed, label=label)
    tuned = restore(run.path / "best", policy)
    save(tuned, result)
    kept = state.best_epoch or state.epoch
    run.finish(examples=len(rows), dropped=dropped, epochs=state.epoch, best_epoch=kept, selection=_number(state.best))
    for leftover in ("trainer", "best"):
        shutil.rmtree(run.path / leftover, ignore_errors=True)
    return tuned


@dataclass
class Task:
    """What is trained on what, and where it stands."""

    policy: Policy
    rows: list[Row]
    config: FinetuneConfig
    run: Run
    state: State
    validate: Validate | None
    budget_flops: float


def tokenise(policy: Policy, examples: Sequence[Example], limit: int) -> tuple[list[Row], int]:
    """Token ids with the prompt's labels masked (-100), and how many were longer than `limit` and left out."""
    rows: list[Row] = []
    longest = 0
    for example in examples:
        prompt, completion = prompt_ids(policy, example), completion_ids(policy, example)
        longest = max(longest, len(prompt) + len(completion))
        if len(prompt) + len(completion) <= limit:
            rows.append({"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion})
    if not examples:
        raise BadInput("no demonstrations to train on", "fine-tuning", "give examples that have a thought and a reply")
    if not rows:
        raise BadInput(f"every demonstration is longer than {limit} tokens", "max_tokens", f"the longest has {longest}")
    return rows, len(examples) - len(rows)


def commit(run: Run, checkpoint: Path, state: State) -> None:
    """Seal a checkpoint: written last, with the size of every file, so that a torn one is known."""
    files = [p for p in sorted(checkpoint.rglob("*")) if p.is_file() and p.name != STATE]
    sizes = {str(p.relative_to(checkpoint)): p.stat().st_size for p in files}
    noted = asdict(state) | {"best": _number(state.best)}
    write_json(checkpoint / STATE, {"state": noted, "ledger": asdict(run.ledger), "sizes": sizes})
    for other in checkpoint.parent.glob("checkpoint-*"):
        if other != checkpoint:
            shutil.rmtree(other, ignore_errors=True)


def resume(run: Run, training: str) -> tuple[State, Path | None]:
    """The state and folder of the last whole checkpoint of the same training; a fresh start where there is none."""
    folders = sorted((run.path / "trainer").glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    for folder in folders:
        sealed = _sealed(folder)
        if sealed and sealed["state"]["fingerprint"] == training and _has_best(run, sealed["state"]):
            run.ledger.restore(sealed["ledger"])
            noted = sealed["state"]
            return State(**noted | {"best": -math.inf if noted["best"] is None else noted["best"]}), folder
    shutil.rmtree(run.path / "trainer", ignore_errors=True)
    shutil.rmtree(run.path / "best", ignore_errors=True)
    return State(training), None


def keep_metrics(run: Run, epoch: int) -> None:
    """Drop metric lines of epochs that will be run again."""
    kept = [line for line in run.metrics() if line.get("epoch", 0) <= epoch]
    if (run.path / "metrics.jsonl").exists():
        write_text(run.path / "metrics.jsonl", "".join(json.dumps(plain(line), ensure_ascii=False) + "\n" for line in kept))


def describe(label: str, run: Run) -> str:
    """One line on a finished fine-tuning, for the terminal."""
    noted = run.done() or {}
    text = f"{label}: {noted['examples']} demonstrations, {noted['epochs']} epochs, kept {noted['best_epoch']}"
    if noted.get("selection") is not None:
        text += f", selection {noted['selection']:.3f}"
    if noted["dropped"]:
        text += f", {noted['dropped']} too long"
    return f"{text}, {run.ledger.seconds:.0f} s"


def _number(best: float) -> float | None:
    """A selection for JSON: None where no epoch was judged."""
    return best if math.isfinite(best) else None


def _sealed(folder: Path) -> dict[str, Any] | None:
    """What `commit` wrote, where every file still has its size."""
    try:
        sealed = json.loads((folder / STATE).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in sealed["sizes"].items())
    except (OSError, ValueError, KeyError):
        return None
    return sealed if whole else None


def _has_best(run: Run, state: dict[str, Any]) -> bool:
    return not state["best_epoch"] or (run.path / "best").exists()


def fingerprint(policy: Policy, *parts: Any) -> str:
    """A hash of what decides a result: the given plain values, and a few numbers of every weight."""
    hashed = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for name, weight in policy.model.named_parameters():
        hashed.update(f"{name} {weight.detach().flatten()[:8].tolist()}".encode())
    return hashed.hexdigest()


def restore(path: Path, like: Policy) -> Policy:
    """The policy saved at `path`, with the name, place and number type of `like`."""
    number = str(like.model.dtype).removeprefix("torch.")
    loaded = load(str(path), device=str(like.device), dtype=number)
    return Policy(loaded.model, loaded.tokenizer, like.name)
