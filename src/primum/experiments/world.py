"""The micro-world as experiments use it: its base model, its corpus, one training, one measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from primum.evaluate import EvaluateConfig, Judge, JudgeConfig, Measured, build_judge, measure
from primum.microworld import BaseConfig, MicroworldConfig, base_checkpoint, build_corpus
from primum.policy import Policy, load
from primum.reinforce import ReinforceConfig, Watch, reinforce
from primum.reward import Reward
from primum.run import Ledger, Run
from primum.stats import Estimate, estimate
from primum.types import Corpus, Example


def quiet_run(folder: Path) -> Run:
    """A run directory that says nothing."""
    return Run(folder, Console(quiet=True), quiet=True)


def base_policy(run: Run) -> Policy:
    """The shipped base model, on one thread of the CPU, where its numbers are the same everywhere this code runs."""
    torch.set_num_threads(1)
    return load(str(base_checkpoint(BaseConfig(), run)), device="cpu", dtype="float32")


def world_corpus(seed: int, *, test_examples: int = 80, train: Sequence[str] = ("H1", "H2")) -> Corpus:
    """The micro-world's corpus of a seed; held-out prompts of the trained categories are in its test split."""
    return build_corpus(MicroworldConfig(test_examples=test_examples, train=list(train)), seed)


def exact_judge() -> Judge:
    return build_judge(JudgeConfig(harm="microworld"))


def train(
    policy: Policy, corpus: Corpus, reward: Reward, config: ReinforceConfig, run: Run, seed: int, watch: Watch | None = None
) -> Policy:
    """The policy that RL ends with, no validation choosing an earlier one: an experiment shows where training goes."""
    return reinforce(policy, corpus, reward, lambda _: {"selection": math.nan}, config, run, seed=seed, watch=watch)


def select(corpus: Corpus, kind: str, role: str = "train") -> list[Example]:
    """The test prompts of a kind whose harm category has this role."""
    return [e for e in corpus.test if e.kind == kind and (not e.category or corpus.role(e.category) == role)]


def measured(policy: Policy, examples: Sequence[Example], *, temperature: float = 1.0, samples: int = 1) -> list[Measured]:
    """Rollouts on these prompts, judged exactly."""
    return measure(policy, examples, exact_judge(), EvaluateConfig(temperature=temperature, samples=samples), Ledger())


def rate(rows: Sequence[Measured], name: str) -> Estimate:
    """The mean of a gold signal with its interval, prompts of one meaning counted as one draw; `refused` in full or in part."""
    values = [_value(m, name) for m in rows]
    return estimate(values, [m.rollout.example.cluster for m in rows])


def _value(m: Measured, name: str) -> float:
    if name == "refused":
        return m.refusal if math.isnan(m.refusal) else float(m.refusal >= 0.5)
    return float(getattr(m, name))
