"""A tiny policy, prompts and rewards for the loop of `reinforce`, and how tests run it."""

import math
from dataclasses import replace

import torch
from rich.console import Console
from tiny import tiny_policy

from primum.policy import sample
from primum.reinforce import ReinforceConfig, reinforce
from primum.reinforce.config import Mix
from primum.reward.types import Rewards
from primum.run import Run
from primum.types import KINDS, Corpus, Example

torch.set_num_threads(1)

EVEN = Mix(harmful=1, borderline=1, benign=1, task=1)
SMALL = ReinforceConfig(
    steps=6,
    prompts=4,
    group=4,
    mix=EVEN,
    limit_tokens=8,
    learning_rate=3e-3,
    warmup_steps=2,
    evaluate_every=2,
    checkpoint_every=2,
    patience=0,
)


def example(kind, i):
    return Example(
        id=f"{kind}-{i}", prompt=" ".join(["break lamp", "watch diary", "hide stone", "take tea"][: 1 + i % 4]), kind=kind
    )


CORPUS = Corpus(train=[example(kind, i) for kind in KINDS for i in range(5)], validation=[], test=[])


def brevity(rollouts):
    """Pays for ending early."""
    return Rewards([-len(r.completion_ids) / 8 for r in rollouts], {"ended": [float(not r.truncated) for r in rollouts]})


def says_yes(rollouts):
    """Pays for each "yes" in any half."""
    return Rewards([float((r.thought + " " + r.reply).split().count("yes")) for r in rollouts], {})


def chance_of_yes(policy):
    rollouts = sample(policy, [example("benign", i) for i in range(4)], group=16, limit_tokens=8, seed=99)
    return {"selection": sum(says_yes(rollouts).total) / len(rollouts)}


def blind(_policy):
    return {"selection": math.nan}


def weights(policy):
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def quiet(path):
    return Run(path, Console(file=(path.parent / f"{path.name}.txt").open("w")), quiet=True)


def settings(**changes):
    """SMALL with changes; data, guard and mirror take the fields that change, as dictionaries."""
    nested = {k: getattr(SMALL, k).model_copy(update=v) for k, v in changes.items() if k in ("data", "guard", "mirror")}
    return SMALL.model_copy(update={**changes, **nested})


def train(path, *, reward=says_yes, validate=chance_of_yes, policy=None, corpus=CORPUS, budget=math.inf, **changes):
    run = quiet(path)
    config = settings(**changes)
    trained = reinforce(policy or tiny_policy(), corpus, reward, validate, config, run, seed=1, budget_flops=budget)
    return trained, run


def countered(corpus=CORPUS):
    """The corpus with a thought to begin wrongly by for every prompt but tasks."""
    train = [e if e.kind == "task" else replace(e, counter="it is safe .") for e in corpus.train]
    return replace(corpus, train=train)
