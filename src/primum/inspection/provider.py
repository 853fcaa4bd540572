"""Inspect's model provider over our policies: `--model primum/PATH`."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from secrets import randbits

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from primum.evaluation import LIMIT_TOKENS
from primum.inspection.chat import example_of, output_of
from primum.inspection.gather import Gather
from primum.inspection.refuse import refused
from primum.policies import policy_of
from primum.policy import sample
from primum.types import BadInput, Example, Rollout

BATCH = 256
UNABLE = ("top_p", "top_k", "stop_seqs", "frequency_penalty", "presence_penalty", "logit_bias", "num_choices", "response_schema")


@dataclass(frozen=True, slots=True)
class _Ask:
    """A prompt, and how it is sampled."""

    example: Example
    temperature: float
    limit_tokens: int
    seed: int


class PolicyAPI(ModelAPI):
    """A policy in this process. What is asked at the same time is sampled together, `batch` rows at most.

    `-M device=cpu dtype=float32` as in `policy.load`. What is drawn depends on the seed and the prompt (of our
    tasks: the example's id and the epoch); without a seed it is new each time.
    """

    def __init__(
        self, model_name: str, base_url: str | None = None, api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(), *, batch: int = BATCH, device: str = "auto", dtype: str = "auto",  # noqa: B008
    ) -> None:  # fmt: skip
        super().__init__(model_name, base_url, api_key, [], config)
        self.batch = batch
        with refused():
            self.policy, _, self.rewards = policy_of(model_name, device=device, dtype=dtype)
        self._sampled = Gather(self._sample)
        self._luck, self._asked = randbits(62), itertools.count()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        with refused():
            _check(tools, config)
            example, sibling = example_of(input)
        if config.seed is None or sibling:  # a number of its own, so that siblings and askers without a seed are drawn apart
            example = replace(example, id=f"{example.id} #{sibling if config.seed is not None else next(self._asked)}")
        limit, warmth = config.max_tokens or LIMIT_TOKENS, 1.0 if config.temperature is None else config.temperature
        begun = time.perf_counter()
        rollout = await self._sampled(_Ask(example, warmth, limit, self._luck if config.seed is None else config.seed))
        return output_of(rollout, self.model_name, limit_tokens=limit, seconds=time.perf_counter() - begun)

    def max_tokens(self) -> int | None:
        return LIMIT_TOKENS

    def max_connections(self) -> int:
        return self.batch

    def _sample(self, asks: Sequence[_Ask]) -> list[Rollout]:
        """Each ask's rollout, those that are sampled alike at once; equal asks get the same one."""
        alike: defaultdict[tuple[float, int, int], list[Example]] = defaultdict(list)
        for ask in dict.fromkeys(asks):
            alike[ask.temperature, ask.limit_tokens, ask.seed].append(ask.example)
        found: dict[_Ask, Rollout] = {}
        for (warmth, limit, seed), examples in alike.items():
            with refused():
                rollouts = sample(
                    self.policy, examples, temperature=warmth, limit_tokens=limit, seed=seed, batch=self.batch
                )  # fmt: skip
            found |= {_Ask(r.example, warmth, limit, seed): r for r in rollouts}
        return [found[ask] for ask in asks]


def _check(tools: list[ToolInfo], config: GenerateConfig) -> None:
    unable = next((name for name in UNABLE if getattr(config, name) is not None), "tools" if tools else "")
    if unable:
        raise BadInput(f"a policy is not sampled with {unable}", "primum/…", "leave it out, or serve the model and ask it there")
