"""The policy: load, save and copy it, speak its chat template, sample rollouts from it and score them."""

from primum.policy.model import Policy, copy, forward_flops, load, save
from primum.policy.sample import proceed, sample, unfinished
from primum.policy.score import Scored, logprobs
from primum.policy.template import Split, completion_ids, prompt_ids, split

__all__ = [
    "Policy", "Scored", "Split", "completion_ids", "copy", "forward_flops", "load", "logprobs", "proceed", "prompt_ids", "sample",
    "save", "split", "unfinished",
]  # fmt: skip
