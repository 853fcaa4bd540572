"""Where reinforcement learning stands: saved whole or not at all, so that a killed run goes on exactly."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from primum.policy import Policy
from primum.policy.model import recover_folder
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.update import Learner
from primum.run import Run
from primum.types import BadInput, Corpus

LOGS = ("metrics.jsonl", "rollouts.jsonl")


@dataclass
class State:
    """Updates made, the best evaluation so far, and the unscored share of the last steps."""

    step: int = 0
    best: float = -math.inf
    best_step: int = 0
    waited: int = 0
    unscored: list[float] = field(default_factory=list)

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


def save_state(run: Run, state: State, learner: Learner, fingerprint: str) -> None:
    """Write everything that the next step depends on, in one file that is replaced at once."""
    sizes = {name: (run.path / name).stat().st_size for name in LOGS if (run.path / name).exists()}
    content = {"fingerprint": fingerprint, "state": asdict(state), "ledger": asdict(run.ledger), "sizes": sizes,
               "rng": torch.random.get_rng_state(), **learner.state()}  # fmt: skip
    part = run.path / "state.part"
    try:
        with part.open("wb") as out:
            torch.save(content, out)
            out.flush()
            os.fsync(out.fileno())
        part.replace(run.path / "state")
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise BadInput(f"cannot save the state, {error}", str(run.path), "free some space; the same command goes on") from None


def load_state(run: Run, learner: Learner, fingerprint: str) -> State | None:
    """Put the learner, the ledger and the logs back to the last checkpoint; None where there is none."""
    path = run.path / "state"
    if not path.exists():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["fingerprint"] != fingerprint:
        remedy = "use the settings, model and data it began with, or remove the folder"
        raise BadInput("an unfinished run with other settings is here", str(run.path), remedy)
    recover_folder(run.path / "best")
    learner.restore(content)
    torch.random.set_rng_state(content["rng"])
    run.ledger.restore(content["ledger"])
    for name in LOGS:
        _cut(run.path / name, content["sizes"].get(name, 0))
    return State(**content["state"])


def fingerprint(policy: Policy, corpus: Corpus, config: ReinforceConfig, seed: int) -> str:
    """A hash of what decides the result: settings, seed, prompts, and a few numbers of every weight."""
    parts: list[Any] = [config.model_dump(), seed, [(e.id, e.prompt, e.kind) for e in corpus.train]]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name, weight in policy.model.named_parameters():
        digest.update(f"{name} {weight.detach().flatten()[:8].tolist()}".encode())
    return digest.hexdigest()


def _cut(path: Path, size: int) -> None:
    """Drop the lines written after the checkpoint."""
    if path.exists():
        os.truncate(path, size)
