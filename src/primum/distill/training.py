"""One on-policy distillation: draw prompts, let the student answer, and move it towards what its teacher would have said."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from primum.distill.config import OnPolicyConfig
from primum.distill.divergence import divergences, read_states, renumbered, teacher_states
from primum.distill.prompts import draw
from primum.distill.state import State, load_state, save_state
from primum.policy import Policy, copy, sample, save
from primum.policy.adapter import adapted, merged
from primum.policy.finetune import Validate, fingerprint
from primum.policy.learner import Learner, scoring_flops
from primum.policy.pack import Row, pass_tokens, plan
from primum.policy.selftest import check_sampling, fast_is_exact
from primum.run import Run, rollout_row
from primum.stats import mean
from primum.types import Corpus, Rollout

STAGE = "on-policy distillation"


@dataclass
class Training:
    """Everything one run of the loop holds."""

    teacher: Policy
    learner: Learner[OnPolicyConfig]
    corpus: Corpus
    validate: Validate | None
    config: OnPolicyConfig
    run: Run
    seed: int
    budget_flops: float
    mark: str
    state: State

    @classmethod
    def begin(
        cls, teacher: Policy, student: Policy, corpus: Corpus, validate: Validate | None, config: OnPolicyConfig, run: Run,
        seed: int, budget_flops: float,
    ) -> Training:  # fmt: skip
        """From the last checkpoint; or from the start, with an empty directory, an evaluation and a first checkpoint."""
        learner = Learner(adapted(student, config.lora_rank, seed) if config.lora_rank else copy(student), config, "on_policy")
        asked = [e.to_json() for e in corpus.train]
        mark = fingerprint(student, fingerprint(teacher), config.model_dump(), seed, asked)
        made = cls(teacher, learner, corpus, validate, config, run, seed, budget_flops, mark, State())
        found = load_state(run, learner, mark)
        if found is None:
            run.fresh()
            made._test()
            run.log(step=0, **made.evaluate(), flops=run.ledger.flops, seconds=run.ledger.seconds)
            made.checkpoint()
        made.state = found or made.state
        return made

    def ended(self) -> str:
        """Why training is over, or ''."""
        if self.config.patience and self.state.waited >= self.config.patience:
            return "patience"
        if self.run.ledger.flops >= self.budget_flops:
            return "budget"
        return "steps" if self.state.step >= self.config.steps else ""

    def step(self) -> dict[str, Any]:
        """One step, and its line of metrics; costs are totals so far."""
        self.state.step += 1
        with self.run.ledger.clock():
            rollouts = self._sample()
            each, norm = self._update(rollouts)
        self._record(rollouts, each)
        tokens = sum(len(x) for x in each)
        found = {"divergence": sum(map(sum, each)) / tokens, "grad_norm": norm, **_shape(rollouts)}
        return {"step": self.state.step, **found, "flops": self.run.ledger.flops, "seconds": self.run.ledger.seconds}

    def evaluate(self) -> dict[str, Any]:
        """What validation finds, under that name; the best policy so far is kept on disk."""
        if self.validate is None:
            return {}
        with self.run.ledger.clock():
            policy = merged(self.learner.policy)
            found = self.validate(policy)
            if self.state.judge(found.get("selection", math.nan)):
                save(policy, self.run.path / "best")
        return {"validation": found}

    def checkpoint(self) -> None:
        save_state(self.run, self.state, self.learner, self.mark)

    def _test(self) -> None:
        """Find out which short cuts give the models' own numbers, and say where one does not."""
        config, state = self.config, self.state
        check_sampling(self.learner.policy, temperature=config.temperature)
        if not config.fast:
            state.fast = state.teacher_fast = False
            return
        whys = [fast_is_exact(p, temperature=config.temperature) for p in (self.learner.policy, self.teacher)]
        state.fast, state.teacher_fast = (not why for why in whys)
        for who, why in zip(("student", "teacher"), whys, strict=True):
            if why:
                self.run.say(f"{STAGE}: reading every rollout in a row of its own, since for the {who} in shared rows {why}")

    def _sample(self) -> list[Rollout]:
        config, step = self.config, self.state.step
        prompts = draw(self.corpus.train, config.kinds, config.prompts, seed=self.seed, step=step)
        return sample(
            self.learner.policy, prompts, group=config.group, temperature=config.temperature, limit_tokens=config.limit_tokens,
            loop_tokens=config.loop_tokens, seed=self.seed * 1_000_003 + step, batch=config.batch, ledger=self.run.ledger,
        )  # fmt: skip

    def _update(self, rollouts: Sequence[Rollout]) -> tuple[list[list[float]], float]:
        """Descend the mean divergence over the rollouts' tokens, few of them at a time; what it was at every token of
        each rollout before, and the gradient's norm."""
        config, policy, step = self.config, self.learner.policy, self.state.step
        total = sum(len(r.completion_ids) for r in rollouts)
        tokens = config.micro_batch_tokens or pass_tokens(policy.model, fast=self.state.fast)
        each: list[list[float]] = [[] for _ in rollouts]
        for rows in plan(policy.model, rollouts, tokens=tokens, shared=self.state.fast):
            part, here = renumbered(rollouts, rows)
            divergence_M = self._backward(part, here, total)
            told = iter(divergence_M.tolist())
            for i in (i for row in rows for i in row):
                each[i] = [next(told) for _ in rollouts[i].completion_ids]
        with self.run.ledger.clock("update"):
            progress = max(step / config.steps, self.run.ledger.flops / self.budget_flops)
            return each, self.learner.descend(step, progress)

    def _backward(self, part: list[Rollout], rows: list[Row], total: int) -> Tensor:
        """Gather the gradient of some rollouts' share of the mean over `total` tokens; the divergence at each of theirs."""
        config, ledger, policy = self.config, self.run.ledger, self.learner.policy
        said = sum(len(r.completion_ids) for r in part)
        with ledger.clock("score"):
            theirs = teacher_states(self.teacher, part, tokens=config.micro_batch_tokens, fast=self.state.teacher_fast)
        flops = scoring_flops(self.teacher.model, part, shared=self.state.teacher_fast)
        ledger.charge("score", flops=flops, tokens=said)
        with ledger.clock("update"):
            ours = read_states(policy, part, rows, fast=self.state.fast)
            divergence_M = divergences(ours, theirs, kind=config.divergence, beta=config.beta, temperature=config.temperature)
            loss = divergence_M.sum() / total
            if not math.isfinite(float(loss.detach())):
                self.learner.forget_gradient()
                raise self.learner.diverged("loss", self.state.step)
            loss.backward()
        passes = 2 if config.lora_rank else 3  # frozen weights need no gradient of their own
        flops = sum(scoring_flops(policy.model, [part[i] for i in row]) for row in rows)
        ledger.charge("update", flops=passes * flops, tokens=said)
        return divergence_M.detach()

    def _record(self, rollouts: Sequence[Rollout], each: list[list[float]]) -> None:
        """Append every rollout with its mean divergence from the teacher."""
        with (self.run.path / "rollouts.jsonl").open("a", encoding="utf-8") as out:
            for rollout, divergence in zip(rollouts, each, strict=True):
                row = rollout_row(rollout, step=self.state.step, divergence=mean(divergence), looped=rollout.looped)
                out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _shape(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Entropy (nats a token, estimated from the sampled tokens), length, and how many were cut or badly formed."""
    return {
        "entropy": -mean(x for r in rollouts for x in r.logprobs),
        "tokens": mean(float(len(r.completion_ids)) for r in rollouts),
        "truncated": mean(float(r.truncated) for r in rollouts),
        "well_formed": mean(float(r.well_formed) for r in rollouts),
    }
