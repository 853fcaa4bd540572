"""On-policy distillation: the student speaks, and at every token learns what its teacher would have said there."""

from __future__ import annotations

import math
import shutil

from primum.distill.config import OnPolicyConfig
from primum.distill.pair import check_pair
from primum.distill.training import STAGE, Training
from primum.policy import Policy, save
from primum.policy.adapter import merged
from primum.policy.finetune import Validate, restore
from primum.policy.shrink import parameters
from primum.run import Run
from primum.types import Corpus


def distill_on_policy(
    teacher: Policy, student: Policy, corpus: Corpus, validate: Validate | None, config: OnPolicyConfig, run: Run, *,
    seed: int, budget_flops: float = math.inf,
) -> Policy:  # fmt: skip
    """A new policy: the student, moved towards its teacher on its own rollouts over the training prompts.

    Each step the student samples, and descends the mean over all completion tokens of the divergence
    between its next-token distribution and the teacher's there, over the whole vocabulary, both at the
    temperature it sampled with; no gradient flows through the sampling. Agarwal et al. 2024 (GKD),
    arXiv:2306.13649. A truncated or malformed rollout teaches like any other, since every token has
    the teacher's opinion. The teacher may be any policy with the student's tokenizer (BadInput otherwise),
    as large, or the student itself at another time; both given stay as they are.

    Of all evaluations, the one at step 0 included, the policy with the highest "selection" (of equals the latest)
    is returned; where none gave a number, the last. It ends after the steps, when the budget is spent, or when
    `patience` evaluations brought nothing better. `run` is marked done: a finished run returns what it saved in
    `policy`, a killed one goes on from its last checkpoint, to the same weights bit for bit on a CPU. The
    ledger counts sampling (2 FLOPs a weight and token), the teacher's reading (2 of its own) and the update (6).

    TRL's DistillationTrainer descends the same loss (a test compares them), but it ends by no budget, books neither
    sampling nor the teacher, and chooses by its own loss instead of by what `validate` finds. So the loop is ours.
    """
    if run.done() is not None:
        return restore(run.path / "policy", student)
    check_pair(teacher, student, corpus.train, config.limit_tokens)
    training = Training.begin(teacher, student, corpus, validate, config, run, seed, budget_flops)
    with run.progress(STAGE, config.steps, training.state.step) as advance:
        while not training.ended():
            row = training.step()
            if training.state.step % config.evaluate_every == 0 or training.ended():
                row |= training.evaluate()
            run.log(**row)
            if training.state.step % config.checkpoint_every == 0:
                training.checkpoint()
            advance(1, note=f"divergence {row['divergence']:.3f}")
    return _finish(training, student)


def _finish(training: Training, student: Policy) -> Policy:
    """Save the policy that validated best, mark the run done, and clear away what only a resume needs."""
    run, state = training.run, training.state
    judged = math.isfinite(state.best)
    chosen = restore(run.path / "best", student) if judged else merged(training.learner.policy)
    save(chosen, run.path / "policy")
    noted = {"best_step": state.best_step if judged else state.step, "selection": state.best if judged else None}
    share = parameters(student) / parameters(training.teacher)
    run.finish(steps=state.step, ended=training.ended(), share=share, **noted)
    run.say(f"{STAGE}: {state.step} steps, kept {noted['best_step']}, {run.ledger.seconds:.0f} s")
    (run.path / "state").unlink(missing_ok=True)
    shutil.rmtree(run.path / "best", ignore_errors=True)
    return chosen
