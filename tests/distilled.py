"""A teacher with opinions, a smaller student, and what a policy says of a rollout when read plainly."""

import torch
from tiny import tiny_policy


def sharp(seed=1, **sizes):
    """A teacher that has opinions: random weights, its logits six times as far apart."""
    policy = tiny_policy(seed, **sizes)
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(6)
    return policy


def pupil(seed=2):
    return tiny_policy(seed, layers=1, hidden=32)


@torch.no_grad()
def plainly(policy, rollout, temperature):
    """Log-probabilities of the whole vocabulary before each completion token, read without any packing."""
    ids = torch.tensor([[*rollout.prompt_ids, *rollout.completion_ids]])
    logits = policy.model(ids).logits[0, len(rollout.prompt_ids) - 1 : -1]
    return torch.log_softmax(logits / temperature, -1)
