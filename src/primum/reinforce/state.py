"""Where reinforcement learning stands: saved whole or not at all, so that a killed run goes on exactly."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from primum.policy import Policy
from primum.policy.model import recover_folder
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.difficulty import Difficulty
from primum.reinforce.group import Group
from primum.run import Run
from primum.types import BadInput, Corpus

LOGS = ("metrics.jsonl", "rollouts.jsonl")
GROUPS = ("waiting", "replay")
BEFORE = "state.before"  # the checkpoint before the last: its weights have been sampled from and found healthy


class Memory(Protocol):
    """What a checkpoint saves besides the state: learner, references, and a reward that remembers."""

    def state(self) -> Any: ...
    def restore(self, state: Any) -> None: ...


@dataclass
class State:
    """Everything the next step depends on that is neither weights nor optimiser.

    `holds` is the step whose weights the policy has: the last one, or after a collapse that of the
    checkpoint gone back to. `fast` and `precision` are what the start-up test found to be exact.
    """

    step: int = 0
    best: float = -math.inf
    best_step: int = 0
    waited: int = 0
    unscored: list[float] = field(default_factory=list)
    holds: int = 0
    rollbacks: int = 0
    difficulty: Difficulty = field(default_factory=Difficulty)
    waiting: list[Group] = field(default_factory=list)
    replay: list[Group] = field(default_factory=list)
    fast: bool = True
    precision: str = "auto"
    stopped: bool = False

    def judge(self, selection: float) -> bool:
        """Whether to keep the policy: none before was better. nan tells nothing.

        A tie goes to the later policy, which has more of the reward it was trained for, but
        is no progress: patience goes on.
        """
        self.waited = 0 if selection > self.best else self.waited + (not math.isnan(selection))
        if not selection >= self.best:
            return False
        self.best, self.best_step = selection, self.step
        return True

    def back_to(self, good: State) -> State:
        """The good state after a collapse in this one. Steps go on counting, so that other prompts follow
        and no step is in the log twice; evaluations made and rollbacks counted stay."""
        return replace(
            good, step=self.step, best=self.best, best_step=self.best_step, waited=self.waited, rollbacks=self.rollbacks + 1
        )

    def to_state(self) -> dict[str, Any]:
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "difficulty": asdict(self.difficulty), **{n: [g.to_state() for g in plain[n]] for n in GROUPS}}

    @classmethod
    def from_state(cls, content: dict[str, Any]) -> State:
        groups = {name: [Group.from_state(g) for g in content[name]] for name in GROUPS}
        return cls(**{**content, "difficulty": Difficulty(**content["difficulty"]), **groups})


def save_state(run: Run, state: State, memories: Mapping[str, Memory], fingerprint: str) -> None:
    """Write everything that the next step depends on, in one file that is replaced at once.

    The checkpoint before is kept beside it, but not one that a collapse went back from.
    """
    sizes = {name: (run.path / name).stat().st_size for name in LOGS if (run.path / name).exists()}
    content = {"fingerprint": fingerprint, "state": state.to_state(), "ledger": asdict(run.ledger), "sizes": sizes,
               "rng": torch.random.get_rng_state(), "memories": _states(memories)}  # fmt: skip
    part, path = run.path / "state.part", run.path / "state"
    try:
        with part.open("wb") as out:
            torch.save(content, out)
            out.flush()
            os.fsync(out.fileno())
        if path.exists() and state.holds == state.step:
            path.replace(run.path / BEFORE)
        part.replace(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise BadInput(f"cannot save the state, {error}", str(run.path), "free some space; the same command goes on") from None


def load_state(run: Run, memories: Mapping[str, Memory], fingerprint: str) -> State | None:
    """Put memories, ledger and logs back to the last checkpoint, for a killed run to go on; None where there is none."""
    if not (run.path / "state").exists() and (run.path / BEFORE).exists():  # killed between the two renamings
        (run.path / BEFORE).replace(run.path / "state")
    if not (run.path / "state").exists():
        return None
    content = _read(run)
    if content["fingerprint"] != fingerprint:
        remedy = "use the settings, model and data it began with, or remove the folder"
        raise BadInput("an unfinished run with other settings is here", str(run.path), remedy)
    recover_folder(run.path / "best")
    run.ledger.restore(content["ledger"])
    for name in LOGS:
        _cut(run.path / name, content["sizes"].get(name, 0))
    return _restored(content, memories)


def last_good(run: Run, memories: Mapping[str, Memory], holds: int) -> State:
    """The state of the last checkpoint that may be trusted, with these memories put back to it: what was spent
    and logged since stays.

    Where the policy that collapsed still holds the weights of the last checkpoint, no step has found
    them healthy, and the checkpoint before is taken; the first has none before it.
    """
    content = _read(run)
    if content["state"]["holds"] == holds and (run.path / BEFORE).exists():
        content = _read(run, BEFORE)
    return _restored(content, memories)


def fingerprint(policy: Policy, corpus: Corpus, config: ReinforceConfig, seed: int) -> str:
    """A hash of what decides the result: settings, seed, training examples, and a few numbers of every weight."""
    parts: list[Any] = [config.model_dump(), seed, [e.to_json() for e in corpus.train]]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name, weight in policy.model.named_parameters():
        digest.update(f"{name} {weight.detach().flatten()[:8].tolist()}".encode())
    return digest.hexdigest()


def _states(memories: Mapping[str, Memory]) -> dict[str, Any]:
    """What the memories keep; that of the user's reward only where it can be read again."""
    states = {name: memory.state() for name, memory in memories.items() if name != "reward"}
    if "reward" in memories:
        kept = io.BytesIO()
        try:
            states["reward"] = memories["reward"].state()
            torch.save(states["reward"], kept)
            kept.seek(0)
            torch.load(kept, map_location="cpu", weights_only=True)
        except Exception as error:  # the user's code and types, which may fail in any way
            refused = re.search(r"GLOBAL (\S+)", str(error))  # the type that torch.load would not read
            why = f"it holds a {refused[1]}" if refused else f"{type(error).__name__}: {error}"
            remedy = "return numbers, texts, tensors, lists and dictionaries of them alone"
            raise BadInput(f"what the reward remembers cannot be kept, {why}", "state() of the reward", remedy) from None
    return states


def _read(run: Run, name: str = "state") -> dict[str, Any]:
    return torch.load(run.path / name, map_location="cpu", weights_only=True)


def _restored(content: dict[str, Any], memories: Mapping[str, Memory]) -> State:
    for name, memory in memories.items():
        memory.restore(content["memories"][name])
    torch.random.set_rng_state(content["rng"])
    return State.from_state(content["state"])


def _cut(path: Path, size: int) -> None:
    """Drop the lines written after the checkpoint."""
    if path.exists():
        os.truncate(path, size)
