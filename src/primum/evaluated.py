"""What can be evaluated: a policy in this process, or a model behind an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from primum.evaluate import EvaluateConfig
from primum.evaluate.redteam import fingerprint
from primum.evaluate.remote import Remote
from primum.ledger import Ledger
from primum.microworld.tokenizer import speaks
from primum.policies import policy_of
from primum.policy import Policy, sample
from primum.types import Example, Rollout

World = Literal["auto", "microworld", "files"]


class Model(Protocol):
    """Whatever can be sampled. None is a rollout that was never answered."""

    name: str

    def takes(self, example: Example) -> bool:
        """Whether it can be asked this at all."""
        ...

    def sample(self, examples: Sequence[Example], config: EvaluateConfig, advance: Any) -> Sequence[Rollout | None]: ...


@dataclass
class Local:
    """A policy in this process."""

    policy: Policy
    name: str

    def takes(self, example: Example) -> bool:
        return True

    def sample(self, examples: Sequence[Example], config: EvaluateConfig, advance: Any) -> Sequence[Rollout | None]:
        return sample(
            self.policy, examples, group=config.samples, temperature=config.temperature, limit_tokens=config.limit_tokens,
            seed=config.seed, batch=config.batch, ledger=Ledger(), progress=advance,
        )  # fmt: skip


@dataclass
class Served:
    """A model behind an endpoint."""

    remote: Remote
    name: str

    def takes(self, example: Example) -> bool:
        """A begun thought or reply only where the server is said to go on with one."""
        return not example.prefill or self.remote.config.continue_final

    def sample(self, examples: Sequence[Example], config: EvaluateConfig, advance: Any) -> Sequence[Rollout | None]:
        return self.remote.sample(
            examples, samples=config.samples, temperature=config.temperature, limit_tokens=config.limit_tokens, seed=config.seed,
            progress=advance,
        )  # fmt: skip


def local(model: str, world: World) -> tuple[Local, dict[str, Any], bool]:
    """The policy that is named, what identifies it, and whether the micro-world asks: "auto" where it speaks its languages."""
    policy, _, rewards = policy_of(model)
    asked = world == "microworld" or (world == "auto" and speaks(policy.tokenizer))
    return Local(policy, model), {"weights": fingerprint(policy), "rewards": rewards}, asked
