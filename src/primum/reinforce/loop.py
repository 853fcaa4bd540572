"""The loop: train step by step, evaluate, and keep the policy that validates best."""

from __future__ import annotations

import math
import shutil

from primum.policy import Policy, load, save
from primum.policy.adapter import merged
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.state import BEFORE
from primum.reinforce.training import Training, Validate
from primum.reinforce.watch import Watch
from primum.reward.types import Reward
from primum.run import Run
from primum.types import Corpus


def reinforce(
    policy: Policy,
    corpus: Corpus,
    reward: Reward,
    validate: Validate,
    config: ReinforceConfig,
    run: Run,
    *,
    seed: int = 0,
    budget_flops: float = math.inf,
    watch: Watch | None = None,
) -> Policy:
    """A new policy that earns more reward; `policy` itself stays as it is, and is what KL is measured from.

    Of all evaluations, the one at step 0 included, the policy with the highest "selection" (of
    equals the latest) is returned; where none gave a number, the last. It ends after the steps, when the budget is
    spent, when `patience` evaluations brought nothing better, when `watch` says stop, or when it collapsed once more
    than it may. `run` is
    marked done: a finished run returns what it saved, a killed one goes on from its last checkpoint, to the
    same weights bit for bit on a CPU, if reward and validation depend on what they are given alone.
    """
    if run.done() is not None:
        return _reload(run, "policy", policy)
    training = Training.begin(policy, corpus, reward, validate, config, run, seed, budget_flops, watch)
    with run.progress("reinforce", config.steps, training.state.step) as advance:
        while not training.ended():
            row = training.step()
            healthy = "rolled_back" not in row
            if healthy and (training.state.step % config.evaluate_every == 0 or training.ended()):
                row["validation"] = training.evaluate()
            run.log(**row)
            if training.state.step % config.checkpoint_every == 0 or not healthy:
                training.checkpoint()
            advance(1, note=f"reward {row['reward']:.2f} kl {row['kl']:.2f}")
    return _finish(training)


def _finish(training: Training) -> Policy:
    """Save the policy that validated best, mark the run done, and clear away what only a resume needs."""
    run, state = training.run, training.state
    judged = math.isfinite(state.best)
    chosen = _reload(run, "best", training.start) if judged else merged(training.learner.policy)
    save(chosen, run.path / "policy")
    noted = {"best_step": state.best_step if judged else state.holds, "selection": state.best if judged else None}
    run.finish(steps=state.step, ended=training.ended(), **noted)
    for name in ("state", BEFORE):
        (run.path / name).unlink(missing_ok=True)
    shutil.rmtree(run.path / "best", ignore_errors=True)
    return chosen


def _reload(run: Run, name: str, like: Policy) -> Policy:
    """The policy saved in the run, with the name, place and number type of `like`."""
    number = str(like.model.dtype).removeprefix("torch.")
    loaded = load(str(run.path / name), device=str(like.device), dtype=number)
    return Policy(loaded.model, loaded.tokenizer, like.name)
