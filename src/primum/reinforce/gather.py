"""The groups a step learns from: waiting ones continued, new ones drawn, sampled and rewarded, dull ones replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from primum.policy import Policy, proceed, sample, unfinished
from primum.policy.model import context_limit
from primum.policy.selftest import arithmetic
from primum.reinforce.config import ReinforceConfig
from primum.reinforce.draw import Prompts
from primum.reinforce.group import Group, rollouts_of
from primum.reward.types import Reward
from primum.run import Ledger
from primum.types import Example, Rollout

CONTINUED = -1  # the round whose random numbers continue waiting rollouts


@dataclass
class Gathered:
    """A step's groups: those to learn from, those that refilling passed over, and those that wait to be finished.

    `refilled` counts the rollouts sampled in place of groups without signal; `collapsed` is the reward's word.
    """

    groups: list[Group] = field(default_factory=list)
    passed: list[Group] = field(default_factory=list)
    waiting: list[Group] = field(default_factory=list)
    refilled: int = 0
    collapsed: str = ""

    @property
    def rewarded(self) -> list[Group]:
        """Every group that this step rewarded."""
        return [*self.passed, *self.groups]

    @property
    def rollouts(self) -> list[Rollout]:
        """Every rollout of this step, rewarded or waiting."""
        return rollouts_of([*self.rewarded, *self.waiting])


@dataclass(frozen=True)
class Sampler:
    """A policy with what its rollouts are sampled with, rewarded by and booked on."""

    policy: Policy
    reward: Reward
    config: ReinforceConfig
    ledger: Ledger
    seed: int
    step: int
    precision: str = "auto"

    def gather(self, prompts: Prompts, waiting: Sequence[Group]) -> Gathered:
        """Fill the step's places: each holds a group, finished or not, and no kind has more of them than its share.

        A group whose siblings all earned the same, or are unscored, leaves its place to a new prompt of
        its kind, up to `refill_rounds` times (dynamic sampling, Yu et al. 2025, DAPO, arXiv:2503.14476);
        the last such groups stay. Siblings are rewarded once all of them are finished.
        """
        out = Gathered()
        drawn = prompts.draw(self.config.prompts, [g.example for g in waiting])
        self._take(out, [*self._continue(waiting), *self._begin(drawn, 0)])
        for round in range(1, self.config.data.refill_rounds + 1):
            dull = [g for g in out.groups if not g.teaches(self.config)]
            if not dull:
                break
            besides = [g.example for g in (*out.rewarded, *out.waiting)]
            fresh = self._begin(prompts.redraw([g.example for g in dull], round, besides), round)
            out.groups = [g for g in out.groups if g not in dull]
            out.passed += dull
            out.refilled += len(fresh) * self.config.group
            self._take(out, fresh)
        return out

    def _begin(self, examples: list[Example], round: int) -> list[Group]:
        """New groups, as far as one segment takes them."""
        config = self.config
        with arithmetic(self.policy, self.precision):
            rollouts = sample(
                self.policy, examples, group=config.group, temperature=config.temperature, limit_tokens=config.limit_tokens,
                segment_tokens=config.segment_tokens, loop_tokens=config.loop_tokens, seed=self._seed(round), batch=config.batch,
                ledger=self.ledger,
            )  # fmt: skip
        return [Group(siblings, self.step, round) for siblings in _heaps(rollouts, config.group)]

    def _continue(self, waiting: Sequence[Group]) -> list[Group]:
        """The waiting groups, one segment further. What finished earlier stays, and learns by its ratio to the policy then."""
        config = self.config
        with arithmetic(self.policy, self.precision):
            rollouts = proceed(
                self.policy, rollouts_of(waiting), temperature=config.temperature, limit_tokens=config.limit_tokens,
                segment_tokens=config.segment_tokens, loop_tokens=config.loop_tokens, seed=self._seed(CONTINUED),
                batch=config.batch, ledger=self.ledger,
            )  # fmt: skip
        pairs = zip(waiting, _heaps(rollouts, config.group), strict=True)
        return [Group(siblings, group.step, group.round) for group, siblings in pairs]

    def _take(self, out: Gathered, groups: list[Group]) -> None:
        """Reward the finished groups and let the others wait."""
        finished = [g for g in groups if self._finished(g)]
        out.waiting += [g for g in groups if g not in finished]
        if not finished:
            return
        rollouts, size = rollouts_of(finished), self.config.group
        with self.ledger.clock("reward"):
            rewards = self.reward(rollouts)
        self.ledger.charge("reward", tokens=sum(len(r.completion_ids) for r in rollouts))
        for place, group in enumerate(finished):
            group.rewards = rewards.take(place * size, (place + 1) * size)
        out.groups += finished
        out.collapsed = out.collapsed or rewards.collapsed

    def _finished(self, group: Group) -> bool:
        room = context_limit(self.policy.model) - len(group.rollouts[0].prompt_ids)
        return not any(unfinished(r, min(room, self.config.limit_tokens)) for r in group.rollouts)

    def _seed(self, round: int) -> int:
        """Of the random numbers of a round; each sibling has its own from it."""
        return self.seed * 1_000_003 + self.step + (round << 64)


def _heaps(rollouts: list[Rollout], size: int) -> list[list[Rollout]]:
    return [rollouts[i : i + size] for i in range(0, len(rollouts), size)]
