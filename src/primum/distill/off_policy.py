"""Distillation: a smaller student imitates the teacher's own thoughts and replies."""

from __future__ import annotations

from pydantic import Field

from primum.policy import Policy, load
from primum.policy.finetune import FinetuneConfig, Validate, finetune, restore
from primum.policy.shrink import parameters, shrink
from primum.policy.traces import NothingToImitate, TraceConfig, collect, some
from primum.reward.types import Reward
from primum.run import Run
from primum.types import Corpus, Example


class DistillConfig(FinetuneConfig, TraceConfig):
    """The settings of fine-tuning and of drawing the teacher's traces, and who the student is."""

    keep: int = Field(0, ge=0)
    repeats: bool = True
    student: str = ""  # a model of one's own, with its own tokenizer; empty shrinks the teacher
    share: float = Field(1 / 3, gt=0, le=1)  # of the teacher's parameters that the student may have
    student_layers: int = Field(0, ge=0)  # 0 chooses
    student_hidden: int = Field(0, ge=0)  # 0 chooses


def make_student(teacher: Policy, corpus: Corpus, config: DistillConfig, *, seed: int) -> Policy:
    """The user's model, or a smaller policy made from the teacher's weights."""
    if config.student:
        return load(config.student, device=str(teacher.device))
    texts = some(corpus.train, 256, seed)
    return shrink(teacher, texts, share=config.share, layers=config.student_layers, hidden=config.student_hidden, seed=seed)


def distill(
    teacher: Policy, student: Policy, corpus: Corpus, validate: Validate | None, config: DistillConfig, run: Run, *,
    seed: int, budget_flops: float, reward: Reward | None = None,
) -> Policy:  # fmt: skip
    """A new policy: the student, tuned on the teacher's rollouts over the training prompts.

    A trace is kept when it is whole, well formed, and, with a `reward`, paid `least_reward`.
    Whether safety came along is for the evaluation to say.
    """
    if run.done() is not None:
        return restore(run.path / "sft" / "policy", student)
    prompts: list[Example] = some(corpus.train, config.prompts, seed)
    totals = (lambda r: reward(r).total) if reward else None
    traces = collect(teacher, prompts, config, run, reward=totals, seed=seed, label="distill: sample", budget_flops=budget_flops)
    if not traces:
        raise NothingToImitate(
            "no trace of the teacher can be imitated", str(run.path / "accepted.json"), "raise distill.limit_tokens"
        )
    child = run.child("sft")
    child.ledger = run.ledger  # one meter, so that a resumed run counts the same
    tuned = finetune(
        student, traces, config, child, validate=validate, seed=seed, budget_flops=budget_flops, label="distill: fine-tune"
    )
    share = parameters(student) / parameters(teacher)
    run.finish(traces=len(traces), share=share)
    run.say(f"distill: {len(traces)} traces, a student of {share:.0%} of the teacher, {run.ledger.seconds:.0f} s")
    return tuned
