"""Where on-policy distillation stands: saved whole or not at all, so that a killed run goes on exactly."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass

import torch

from primum.policy.learner import Learner
from primum.policy.model import recover_folder
from primum.run import Run
from primum.types import BadInput

LOGS = ("metrics.jsonl", "rollouts.jsonl")


@dataclass
class State:
    """Everything the next step depends on that is neither weights nor optimiser.

    Random numbers follow from seed and step. `fast` and `teacher_fast` are what the start-up test found to be exact.
    """

    step: int = 0
    best: float = -math.inf
    best_step: int = 0
    waited: int = 0
    fast: bool = True
    teacher_fast: bool = True

    def judge(self, selection: float) -> bool:
        """Whether to keep the policy: none before was better. nan tells nothing.

        A tie goes to the later policy, which has more of its teacher, but is no progress: patience goes on.
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
               "rng": torch.random.get_rng_state(), "learner": learner.state()}  # fmt: skip
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
    """Put learner, ledger and logs back to the last checkpoint; None where there is none."""
    if not (run.path / "state").exists():
        return None
    content = torch.load(run.path / "state", map_location="cpu", weights_only=True)
    if content["fingerprint"] != fingerprint:
        remedy = "use the settings, models and data it began with, or remove the folder"
        raise BadInput("an unfinished run with other settings is here", str(run.path), remedy)
    recover_folder(run.path / "best")
    run.ledger.restore(content["ledger"])
    for name in LOGS:
        if (run.path / name).exists():
            os.truncate(run.path / name, content["sizes"].get(name, 0))
    learner.restore(content["learner"])
    torch.random.set_rng_state(content["rng"])
    return State(**content["state"])
