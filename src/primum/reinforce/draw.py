"""Which prompts a step trains on."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from primum.policy import Policy, prompt_ids
from primum.policy.model import context_limit
from primum.reinforce.config import DataConfig, Mix, ReinforceConfig
from primum.types import KINDS, BadInput, Example, Kind

UNVISITED = 0.5  # what counts as the success rate of a prompt that no step has visited: in the middle
LEAST = 0.05  # what counts as the failure rate of a prompt that always succeeds, so that it is still drawn at times


@dataclass(frozen=True)
class Prompts:
    """The training prompts as a step may draw them.

    What is drawn depends on seed, step, round and the saved success rates alone, never on other
    draws, so a resumed run draws the same. `rates` holds the prompts visited so far, and
    `progress` in [0, 1] says how much of the training is over.
    """

    examples: Sequence[Example]
    mix: Mix
    data: DataConfig
    seed: int
    step: int
    rates: Mapping[str, float]
    progress: float = 0.0

    def draw(self, prompts: int, waiting: Sequence[Example] = ()) -> list[Example]:
        """The step's `prompts` prompts, kinds in the shares of the mix, less those `waiting` to be finished.

        Drawn evenly from all of a kind, it is gone through in a fresh order every time round, so none
        comes twice before all came once; a waiting prompt lets its kind's last ones of the step pass.
        A kind without examples gives its share to the others.
        """
        taken = Counter(e.kind for e in waiting)
        chosen: list[Example] = []
        for kind, count in counts(self.examples, self.mix, prompts).items():
            pool = self._pool(kind)
            if self.data.draw == "even" and len(self._open(pool)) == len(pool):
                chosen += self._in_turn(pool, count)[: count - taken[kind]]
            else:
                chosen += self._at_random(pool, count - taken[kind], 0, {e.id for e in waiting})
        return [self._begun(e) for e in chosen]

    def redraw(self, instead: Iterable[Example], round: int, besides: Iterable[Example]) -> list[Example]:
        """New prompts of the kinds of `instead`, in a round of their own; those already there come last of all."""
        avoided = {e.id for e in besides}
        wanted = Counter(e.kind for e in instead)
        chosen = [e for kind in KINDS if wanted[kind] for e in self._at_random(self._pool(kind), wanted[kind], round, avoided)]
        return [self._begun(e) for e in chosen]

    def _pool(self, kind: Kind) -> list[Example]:
        return sorted((e for e in self.examples if e.kind == kind), key=lambda e: e.id)

    def _open(self, pool: list[Example]) -> list[Example]:
        """The easiest share of a kind: `curriculum` at first, all at the end. Equally easy ones in an order of the seed's."""
        share = self.data.curriculum + (1 - self.data.curriculum) * min(1.0, self.progress)
        count = max(1, math.ceil(share * len(pool) - 1e-9))
        rank = np.random.default_rng([self.seed, KINDS.index(pool[0].kind)]).permutation(len(pool))
        easiest = sorted(range(len(pool)), key=lambda i: (-self.rates.get(pool[i].id, UNVISITED), rank[i]))
        return [pool[i] for i in sorted(easiest[:count])]

    def _in_turn(self, pool: list[Example], count: int) -> list[Example]:
        chosen = []
        for place in range(self.step * count, (self.step + 1) * count):
            around, within = divmod(place, len(pool))
            order = np.random.default_rng([self.seed, KINDS.index(pool[0].kind), around]).permutation(len(pool))
            chosen.append(pool[order[within]])
        return chosen

    def _at_random(self, pool: list[Example], count: int, round: int, avoided: set[str]) -> list[Example]:
        """`count` of the open prompts without replacement, each as likely as it weighs; of too few, again from the first.

        The highest of log w + a Gumbel number are such a draw (Kool et al. 2019, arXiv:1903.06059);
        w is 1, or the failure rate, 1 - success rate (Kimi k1.5, arXiv:2501.12599).
        """
        pool = self._open(pool)
        rates = [self.rates.get(e.id, UNVISITED) if self.data.draw == "hard" else 0.0 for e in pool]
        noise = np.random.default_rng([self.seed, KINDS.index(pool[0].kind), self.step, round]).gumbel(size=len(pool))
        keys = [math.log(max(1 - rate, LEAST)) + float(x) for rate, x in zip(rates, noise, strict=True)]
        order = sorted(range(len(pool)), key=lambda i: (pool[i].id in avoided, -keys[i]))
        return [pool[order[i % len(pool)]] for i in range(count)]

    def _begun(self, example: Example) -> Example:
        """The example, its thought begun by the counter-aligned one on a share of those that have one.

        Peng et al. 2025 (RECAP), arXiv:2510.00938.
        """
        digest = hashlib.blake2b(f"{self.seed}|{self.step}|{example.id}|prefill".encode(), digest_size=8).digest()
        begins = int.from_bytes(digest, "big") < self.data.prefill_share * 2**64
        return replace(example, prefill=example.counter) if begins and example.counter else example


def fitting(policy: Policy, examples: Sequence[Example], config: ReinforceConfig, say: Callable[[str], None]) -> list[Example]:
    """The examples, without the counter-aligned thought where it would leave the rollout too little room.

    Room is `limit_tokens`, or half the context where that is less. A prompt that fills the context is refused.
    """
    most = context_limit(policy.model)
    room = min(config.limit_tokens, most // 2)
    fit, bare = [], 0
    for example in examples:
        if not getattr(config.mix, example.kind):  # it is never drawn
            fit.append(example)
            continue
        long = len(prompt_ids(policy, example))
        if long >= most:
            remedy = "shorten or drop it, or take a model with a longer context"
            raise BadInput(f"a training prompt of {long} tokens fills the model's {most}", f"example {example.id}", remedy)
        if config.data.prefill_share and example.counter:
            begun = len(prompt_ids(policy, replace(example, prefill=example.counter)))
            if most - begun < room:
                example, bare = replace(example, counter=""), bare + 1
        fit.append(example)
    if bare:
        say(f"reinforce: {bare} prompts are used without prefill, since with it fewer than {room} tokens would be left to answer")
    return fit


def counts(examples: Sequence[Example], mix: Mix, prompts: int) -> dict[Kind, int]:
    """How many prompts of each kind a step takes: shares rounded down, the rest to the largest remainders."""
    there = {e.kind for e in examples}
    wanted: dict[Kind, float] = {kind: getattr(mix, kind) for kind in KINDS if getattr(mix, kind) > 0}
    shares = {kind: share for kind, share in wanted.items() if kind in there}
    if not shares:
        raise BadInput("no training prompt of a kind in the mix", ", ".join(wanted), "add such examples, or change reinforce.mix")
    exact = {kind: prompts * share / sum(shares.values()) for kind, share in shares.items()}
    out = {kind: int(x) for kind, x in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: exact[kind] - out[kind], reverse=True)
    for kind in by_remainder[: prompts - sum(out.values())]:
        out[kind] += 1
    return out
