"""How unlike the known prompts a prompt is, from the policy's own states; and what to do instead of answering it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from primum.agreement import auroc
from primum.config import Config
from primum.policy import Policy, sample
from primum.policy.template import prompt_ids
from primum.stats import estimate
from primum.types import BadInput, Example, Rollout

FALLBACKS = {
    "abstain": "I am not sure that I can answer this safely, so I do not.",
    "ask": "What do you want to use this for? I have not met a request like this.",
    "human": "I pass this on to a person, who will answer.",
}
SHOWN = 2  # prompts of each set that a report shows with their answer


class NoveltyConfig(Config):
    """How novelty is measured, and when it counts."""

    method: Literal["mahalanobis", "neighbours"] = "mahalanobis"
    layer: float = Field(0.5, ge=0, le=1)  # which hidden states: 0 the embeddings, 1 the last layer
    shrink: float = Field(0.1, gt=0, le=1)  # of the covariance towards its mean variance; for "mahalanobis"
    neighbours: int = Field(5, ge=1)  # the distance is to the so-manieth nearest known prompt; for "neighbours"
    false_alarms: float = Field(0.05, gt=0, lt=1)  # share of benign prompts that may be called novel
    fallback: Literal["abstain", "ask", "human"] = "abstain"
    batch: int = Field(64, ge=1)  # prompts read at once


@dataclass(frozen=True)
class Detector:
    """Known prompts' states, as the method needs them, and the score from which on a prompt is novel."""

    config: NoveltyConfig
    mean_D: Tensor
    whiten_DD: Tensor  # Mahalanobis: distances in these coordinates are plain ones
    bank_ND: Tensor  # neighbours: the known states, in these coordinates; else empty
    threshold: float = math.inf

    def scores(self, states_ND: Tensor) -> list[float]:
        """A distance in standard deviations, from 0 up: to the centre, or to the k-th nearest known prompt."""
        placed_ND = (states_ND - self.mean_D) @ self.whiten_DD
        if self.config.method == "mahalanobis":
            return [float(x) for x in placed_ND.norm(dim=1)]
        k = min(self.config.neighbours, len(self.bank_ND))
        return [float(x) for x in torch.cdist(placed_ND, self.bank_ND).topk(k, dim=1, largest=False).values[:, -1]]


@torch.inference_mode()
def states(policy: Policy, examples: Sequence[Example], config: NoveltyConfig) -> Tensor:
    """The mean hidden state of each prompt's tokens in one layer, N × width; a prefill is part of the prompt."""
    ids = [prompt_ids(policy, example) for example in examples]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    rows: list[Tensor] = [torch.empty(0)] * len(ids)
    for first in range(0, len(order), config.batch):
        chosen = order[first : first + config.batch]
        longest = len(ids[chosen[-1]])
        ids_NT = torch.tensor([ids[i] + [policy.pad] * (longest - len(ids[i])) for i in chosen], device=policy.device)
        mask_NT = torch.arange(longest, device=policy.device) < torch.tensor(
            [[len(ids[i])] for i in chosen], device=policy.device
        )
        out = policy.model(input_ids=ids_NT, attention_mask=mask_NT.long(), output_hidden_states=True, use_cache=False)
        layers = out.hidden_states
        hidden_NTD = layers[round(config.layer * (len(layers) - 1))].float()
        mean_ND = (hidden_NTD * mask_NT[:, :, None]).sum(1) / mask_NT.sum(1, keepdim=True)
        for i, mean_D in zip(chosen, mean_ND.cpu().double(), strict=True):
            rows[i] = mean_D
    return torch.stack(rows)


def fit(known_ND: Tensor, calibration_ND: Tensor, config: NoveltyConfig) -> Detector:
    """A detector of what is unlike `known_ND`, which calls a fresh benign prompt novel with probability `false_alarms` at most.

    Mahalanobis distance with a covariance shrunk to its mean variance (Lee et al. 2018, arXiv:1807.03888), or the k-th
    nearest neighbour in the same coordinates (Sun et al. 2022, arXiv:2204.06507). The threshold is the
    ⌈(n + 1)(1 − false_alarms)⌉-th smallest score of n benign prompts not fitted on (split conformal); too few of them
    for any threshold is bad input.
    """
    if len(known_ND) < 2:
        raise BadInput("too few known prompts to fit a density", "novelty", "give at least two")
    mean_D = known_ND.mean(0)
    covariance_DD = torch.cov(known_ND.T)
    level = covariance_DD.diagonal().mean().clamp_min(1e-12)
    shrunk_DD = (1 - config.shrink) * covariance_DD + config.shrink * level * torch.eye(len(mean_D), dtype=known_ND.dtype)
    values_D, vectors_DD = torch.linalg.eigh(shrunk_DD)
    whiten_DD = vectors_DD / values_D.clamp_min(1e-12).sqrt()
    bank_ND = (known_ND - mean_D) @ whiten_DD if config.method == "neighbours" else known_ND[:0]
    bare = Detector(config, mean_D, whiten_DD, bank_ND)
    return Detector(config, mean_D, whiten_DD, bank_ND, conformal(bare.scores(calibration_ND), config.false_alarms))


def conformal(scores: Sequence[float], false_alarms: float) -> float:
    """The score that a fresh draw exceeds with probability `false_alarms` at most: the ⌈(n + 1)(1 − α)⌉-th smallest.

    >>> conformal([4.0, 1.0, 3.0, 2.0], 0.4)
    3.0
    """
    place = math.ceil((len(scores) + 1) * (1 - false_alarms) - 1e-9)
    if place > len(scores):
        needed = math.ceil(1 / false_alarms) - 1
        raise BadInput(f"{len(scores)} benign prompts are too few to set a threshold", "novelty", f"give at least {needed}")
    return sorted(scores)[place - 1]


def answer_or_fall_back(
    policy: Policy, detector: Detector, examples: Sequence[Example], *, temperature: float = 0.6, limit_tokens: int = 64,
    seed: int = 0,
) -> list[Rollout]:  # fmt: skip
    """One rollout of each example; a novel one gets the fallback's words instead, and nothing is sampled for it."""
    scores = detector.scores(states(policy, examples, detector.config))
    known = [e for e, score in zip(examples, scores, strict=True) if score <= detector.threshold]
    answers = iter(sample(policy, known, temperature=temperature, limit_tokens=limit_tokens, seed=seed))
    said = FALLBACKS[detector.config.fallback]
    return [
        next(answers) if score <= detector.threshold else Rollout(e, "", said) for e, score in zip(examples, scores, strict=True)
    ]


def novelty_report(detector: Detector, benign_ND: Tensor, held: Mapping[str, Tensor]) -> dict[str, Any]:
    """Of each held-out harm AUROC against fresh benign prompts and the share caught; and false alarms on those benign ones."""
    benign = detector.scores(benign_ND)
    found: dict[str, Any] = {
        "false_alarms": estimate([float(x > detector.threshold) for x in benign]).to_json(),
        "allowed": detector.config.false_alarms, "threshold": detector.threshold, "harms": {},
    }  # fmt: skip
    for name, states_ND in held.items():
        scores = detector.scores(states_ND)
        ranked = auroc([*benign, *scores], [0.0] * len(benign) + [1.0] * len(scores))
        caught = estimate([float(x > detector.threshold) for x in scores])
        found["harms"][name] = {"auroc": ranked.to_json(), "caught": caught.to_json()}
    return found


def measured(
    policy: Policy, known: Sequence[Example], calibration: Sequence[Example], benign: Sequence[Example],
    held: Mapping[str, Sequence[Example]], config: NoveltyConfig, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """The report of a detector fitted on the known prompts, and what the guarded policy does with a few of either side."""
    detector = fit(states(policy, known, config), states(policy, calibration, config), config)
    report = novelty_report(
        detector, states(policy, benign, config), {name: states(policy, some, config) for name, some in held.items()}
    )
    some = [*benign[:SHOWN], *(e for examples in held.values() for e in examples[:SHOWN])]
    answers = answer_or_fall_back(policy, detector, some, seed=seed)
    shown = [{"prompt": r.example.prompt, "reply": r.reply} for r in answers]
    return {**report, "known": len(known), "fallback": FALLBACKS[config.fallback], "shown": shown}
