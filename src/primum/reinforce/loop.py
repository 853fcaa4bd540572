"""The loop: draw prompts, sample, reward, update, evaluate, and keep the policy that validates best."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from primum.policy import Policy, copy, load, logprobs, sample, save
from primum.policy.score import completion_logprobs
from primum.reinforce.advantages import group_advantages, informative
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.draw import draw
from primum.reinforce.losses import divergence, token_weights
from primum.reinforce.state import State, fingerprint, load_state, save_state
from primum.reinforce.update import Batch, Learner, scoring_flops, update
from primum.reward.types import Reward, Rewards
from primum.run import Run, rollout_row
from primum.types import KINDS, BadInput, Corpus, Rollout

Validate = Callable[[Policy], dict[str, float]]
RECENT = 5  # steps over which unscored rollouts are counted


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
) -> Policy:
    """A new policy that earns more reward; `policy` itself stays as it is, and is what KL is measured from.

    Of all evaluations, the one at step 0 included, the policy with the highest "selection" (of
    equals the latest) is returned; where none gave a number, the last. It ends after the steps, when the budget is
    spent, or when `patience` evaluations brought nothing better. `run` is marked done: a
    finished run returns what it saved, a killed one goes on from its last checkpoint, to the
    same weights bit for bit on a CPU, if reward and validation depend on what they are given alone.
    """
    if run.done() is not None:
        return _reload(run, "policy", policy)
    training = Training.begin(policy, corpus, reward, validate, config, run, seed, budget_flops)
    state = training.state
    with run.progress("reinforce", config.steps, state.step) as advance:
        if state.step == 0:
            run.log(step=0, validation=training.evaluate(), flops=run.ledger.flops, seconds=run.ledger.seconds)
        while not training.ended():
            row = training.step()
            if state.step % config.evaluate_every == 0 or training.ended():
                row["validation"] = training.evaluate()
            run.log(**row)
            if state.step % config.checkpoint_every == 0:
                training.checkpoint()
            advance(1, note=f"reward {row['reward']:.2f} kl {row['kl']:.2f}")
    return _finish(training)


@dataclass
class Training:
    """Everything one run of the loop holds."""

    reference: Policy
    learner: Learner
    corpus: Corpus
    reward: Reward
    validate: Validate
    config: ReinforceConfig
    run: Run
    seed: int
    budget_flops: float
    mark: str
    state: State
    complained: bool = False

    @classmethod
    def begin(
        cls, policy: Policy, corpus: Corpus, reward: Reward, validate: Validate, config: ReinforceConfig, run: Run,
        seed: int, budget_flops: float,
    ) -> Training:  # fmt: skip
        """From the last checkpoint, or from the start with an empty directory."""
        learner = Learner(copy(policy), config)
        mark = fingerprint(policy, corpus, config, seed)
        state = load_state(run, learner, mark)
        if state is None:
            run.fresh()
        return cls(policy, learner, corpus, reward, validate, config, run, seed, budget_flops, mark, state or State())

    def ended(self) -> str:
        """Why training is over, or ''."""
        if self.config.patience and self.state.waited >= self.config.patience:
            return "patience"
        if self.run.ledger.flops >= self.budget_flops:
            return "budget"
        return "steps" if self.state.step >= self.config.steps else ""

    def step(self) -> dict[str, Any]:
        """One step, and its line of metrics; costs are totals so far."""
        run, config, state = self.run, self.config, self.state
        with run.ledger.clock():
            examples = draw(self.corpus.train, config.mix, config.prompts, seed=self.seed, step=state.step)
            state.step += 1
            rollouts = sample(
                self.learner.policy, examples, group=config.group, temperature=config.temperature, batch=config.batch,
                limit_tokens=config.limit_tokens, seed=self.seed * 1_000_003 + state.step, ledger=run.ledger,
            )  # fmt: skip
            rewards = self._ask(rollouts)
            total_N = torch.tensor(rewards.total, dtype=torch.float32)
            self._count_unscored(total_N)
            reference_NT = self._reference(rollouts)
            advantages_N = group_advantages(total_N, config.group, scale=config.scale == "std")
            useful_P = informative(total_N, config.group)
            batch = self._batch(rollouts, total_N, advantages_N, useful_P, reference_NT)
            progress = max(state.step / config.steps, run.ledger.flops / self.budget_flops)
            updated = update(self.learner, batch, run.ledger, seed=self.seed, step=state.step, progress=progress)
        self._audit(rollouts, rewards, advantages_N)
        shares = {"unscored": _share(total_N.isnan()), "informative": _share(useful_P)}
        costs = {"flops": run.ledger.flops, "seconds": run.ledger.seconds}
        means = {**_reward_means(rollouts, rewards), "kl": _kl(rollouts, reference_NT)}
        return {"step": state.step, **means, **updated, **_shape(rollouts), **shares, **costs}

    def evaluate(self) -> dict[str, float]:
        """What validation finds; the best policy so far is kept on disk."""
        with self.run.ledger.clock():
            found = self.validate(self.learner.policy)
            if self.state.judge(found.get("selection", math.nan)):
                save(self.learner.policy, self.run.path / "best")
        return found

    def checkpoint(self) -> None:
        save_state(self.run, self.state, self.learner, self.mark)

    def _ask(self, rollouts: list[Rollout]) -> Rewards:
        """The rewards; all nan where the reward fails, which is told once."""
        try:
            rewards = self.reward(rollouts)
        except BadInput:
            raise
        except Exception as error:  # the reward is the user's code, and a step without it is unscored, not lost
            if not self.complained:
                why = " ".join(f"{type(error).__name__}: {error}".split())
                self.run.say(f"the reward failed at step {self.state.step}, its rollouts are unscored: {why}")
                self.complained = True
            return Rewards([math.nan] * len(rollouts), {})
        for name, values in {"total": rewards.total, **rewards.parts}.items():
            if len(values) != len(rollouts):
                what = f"the reward gave {len(values)} numbers for {len(rollouts)} rollouts"
                raise BadInput(what, name, "return one number for each, nan where you cannot tell")
        return rewards

    def _count_unscored(self, total_N: Tensor) -> None:
        """Give up where the reward leaves most rollouts unscored, step after step."""
        shares = [*self.state.unscored, _share(total_N.isnan())][-RECENT:]
        self.state.unscored = shares
        share = sum(shares) / len(shares)
        if len(shares) >= 2 and share > self.config.max_unscored:
            remedy = "mend the reward, or raise reinforce.max_unscored"
            raise BadInput(f"the reward left {share:.0%} of rollouts unscored", f"reinforce, step {self.state.step}", remedy)

    @torch.no_grad()
    def _reference(self, rollouts: list[Rollout]) -> Tensor | None:
        """The log-probabilities under the starting policy."""
        if self.config.kl == 0:
            return None
        model = self.reference.model
        self.run.ledger.flops += scoring_flops(model, rollouts)
        return logprobs(
            model, rollouts, pad=self.reference.pad, temperature=self.config.temperature, batch=self.config.micro_batch
        )[0]

    def _batch(
        self, rollouts: list[Rollout], total_N: Tensor, advantages_N: Tensor, useful_P: Tensor, reference_NT: Tensor | None
    ) -> Batch:
        """The scored rollouts of groups whose rewards differ; tokens weigh as if none had been left out."""
        device = self.learner.policy.device
        old_NT = completion_logprobs(rollouts, device)
        lengths_N1 = torch.tensor([len(r.completion_ids) for r in rollouts])[:, None]
        scored_N = ~total_N.isnan()
        weights_NT = torch.zeros(old_NT.shape)
        weights_NT[scored_N] = token_weights(
            (torch.arange(old_NT.shape[1]) < lengths_N1)[scored_N], self.config.loss, limit_tokens=self.config.limit_tokens
        )
        rows = (useful_P.repeat_interleave(self.config.group) & scored_N).nonzero()[:, 0].tolist()
        kept = [rollouts[i] for i in rows]
        reference = None if reference_NT is None else reference_NT[rows]
        return Batch(kept, advantages_N[rows].to(device), weights_NT[rows].to(device), old_NT[rows], reference)

    def _audit(self, rollouts: list[Rollout], rewards: Rewards, advantages_N: Tensor) -> None:
        """Append every rollout, with what it earned and why."""
        with (self.run.path / "rollouts.jsonl").open("a", encoding="utf-8") as out:
            for i, (rollout, advantage) in enumerate(zip(rollouts, advantages_N.tolist(), strict=True)):
                parts = {name: values[i] for name, values in rewards.parts.items()}
                row = rollout_row(rollout, step=self.state.step, reward=rewards.total[i], advantage=advantage, parts=parts)
                out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _finish(training: Training) -> Policy:
    """Save the policy that validated best, mark the run done, and clear away what only a resume needs."""
    run, state = training.run, training.state
    judged = math.isfinite(state.best)
    chosen = _reload(run, "best", training.reference) if judged else training.learner.policy
    save(chosen, run.path / "policy")
    noted = {"best_step": state.best_step if judged else state.step, "selection": state.best if judged else None}
    run.finish(steps=state.step, ended=training.ended(), **noted)
    (run.path / "state").unlink(missing_ok=True)
    shutil.rmtree(run.path / "best", ignore_errors=True)
    return chosen


def _reward_means(rollouts: list[Rollout], rewards: Rewards) -> dict[str, float]:
    pairs = list(zip(rollouts, rewards.total, strict=True))
    kinds = {f"reward_{kind}": _mean(x for r, x in pairs if r.example.kind == kind) for kind in KINDS}
    return {"reward": _mean(rewards.total), **kinds}


def _shape(rollouts: list[Rollout]) -> dict[str, float]:
    """Entropy (nats a token, estimated from the sampled tokens), lengths, and the truncated share."""
    return {
        "entropy": -_mean(x for r in rollouts for x in r.logprobs),
        "thought_tokens": _mean(r.thought_tokens for r in rollouts),
        "reply_tokens": _mean(r.reply_tokens for r in rollouts),
        "truncated": _mean(float(r.truncated) for r in rollouts),
    }


def _kl(rollouts: list[Rollout], reference_NT: Tensor | None) -> float:
    """Mean KL of a rollout from the starting policy, in nats; nan where that is not measured."""
    if reference_NT is None:
        return math.nan
    return float(divergence(completion_logprobs(rollouts, reference_NT.device), reference_NT).sum(1).mean())


def _share(flags_N: Tensor) -> float:
    return float(flags_N.float().mean())


def _mean(values: Iterable[float]) -> float:
    """The mean of what is no nan; nan of nothing."""
    kept = [v for v in values if not math.isnan(v)]
    return sum(kept) / len(kept) if kept else math.nan


def _reload(run: Run, name: str, like: Policy) -> Policy:
    """The policy saved in the run, with the name, place and number type of `like`."""
    number = str(like.model.dtype).removeprefix("torch.")
    loaded = load(str(run.path / name), device=str(like.device), dtype=number)
    return Policy(loaded.model, loaded.tokenizer, like.name)
