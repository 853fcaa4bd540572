"""What an untried attack promises: a logistic guess from the traits that it shares with those tried."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from functools import lru_cache
from itertools import combinations
from typing import Any

from primum.evaluate.redteam.attack import Attack
from primum.evaluate.redteam.target import Tried


class Guess:
    """Log-odds of success as a sum over traits and pairs of traits, learnt online (AdaGrad, Duchi et al. 2011).

    It costs no query: it only orders proposals, as in surrogate-assisted illumination (Gaier, Asteroth & Mouret 2018,
    arXiv:1702.03713).
    """

    def __init__(self, rate: float = 0.4) -> None:
        self.rate = rate
        self.weights: dict[str, float] = defaultdict(float)
        self.squares: dict[str, float] = defaultdict(lambda: 1.0)

    def learn(self, tried: list[Tried], rounds: int = 1) -> None:
        """One step towards each result, `rounds` times over."""
        for one in tried * rounds:
            names = traits(one.attack)
            miss = one.samples * (self.chance(one.attack) - one.success)
            for name in names:
                self.squares[name] += miss * miss
                self.weights[name] -= self.rate * miss / math.sqrt(self.squares[name])

    def log_odds(self, attack: Attack) -> float:
        return sum(self.weights.get(name, 0.0) for name in traits(attack))

    def chance(self, attack: Attack) -> float:
        """The success to expect, in (0, 1); a half before anything is known."""
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self.log_odds(attack)))))


@lru_cache(maxsize=100_000)
def traits(attack: Attack) -> tuple[str, ...]:
    """What an attack is made of, one by one and two by two: its category and every gene, nested ones too."""
    single = ["", f"category={attack.cell[0]}", *_leaves(json.loads(attack.genes))]
    return (*single, *("+".join(pair) for pair in combinations(single[1:], 2)))


def _leaves(genes: dict[str, Any]) -> list[str]:
    found = []
    for name, value in genes.items():
        if isinstance(value, dict):
            found += [said for key, inner in value.items() for said in (key, f"{key}={inner}")]
        else:
            found.append(f"{name}={json.dumps(value)}")
    return found
