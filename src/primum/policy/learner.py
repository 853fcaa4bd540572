"""A policy that learns from a gradient, exactly to be saved and resumed; and what reading rollouts costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import torch

from primum.policy.model import Policy, forward_flops
from primum.types import BadInput, Rollout


class Diverged(BadInput):
    """A loss or gradient that is no number. The weights are those of the last minibatch before it."""


class Learning(Protocol):
    """The settings that a learner reads."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def schedule(self) -> str: ...  # linear falls to a tenth, constant does not fall
    @property
    def max_grad_norm(self) -> float: ...
    @property
    def fast(self) -> bool: ...


C = TypeVar("C", bound=Learning)


class Learner(Generic[C]):
    """A policy with its optimiser. Half-precision weights are rounded from full-precision masters,
    which small steps would otherwise never move. `stage` is what errors call the settings."""

    def __init__(self, policy: Policy, config: C, stage: str = "reinforce") -> None:
        if policy.model.dtype == torch.float16:
            raise BadInput("gradients vanish in float16 weights", policy.name, "set dtype to bfloat16 or float32")
        self.policy, self.config, self.stage = policy, config, stage
        self.weights = [p for p in policy.model.parameters() if p.requires_grad]
        self.masters = [w if w.dtype == torch.float32 else w.detach().float().clone() for w in self.weights]
        self.factor = 1.0
        self.fast = config.fast
        self.reset()

    def reset(self) -> None:
        """Begin with a fresh optimiser: its moments are forgotten."""
        self.optimiser = torch.optim.AdamW(
            self.masters, lr=self.config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )

    def slow(self, factor: float) -> None:
        """Lower the learning rate from now on."""
        self.factor *= factor

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step, `progress` in [0, 1] being how much of the training is over."""
        fall = 1.0 - 0.9 * min(1.0, progress) if self.config.schedule == "linear" else 1.0
        return self.factor * self.config.learning_rate * min(1.0, step / max(1, self.config.warmup_steps)) * fall

    def descend(self, step: int, progress: float) -> float:
        """Move against the gathered gradient, clipped; the gradient's norm before clipping."""
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight and weight.grad is not None:
                master.grad, weight.grad = weight.grad.float(), None
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters, self.config.max_grad_norm))
        if not math.isfinite(norm):
            self.forget_gradient()
            raise self.diverged("gradient", step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(step, progress)
        self.optimiser.step()
        self.forget_gradient()
        with torch.no_grad():
            for weight, master in zip(self.weights, self.masters, strict=True):
                if master is not weight:
                    weight.copy_(master)
        torch.clear_autocast_cache()  # it holds the old weights, rounded, as long as the block lasts
        return norm

    def diverged(self, what: str, step: int) -> Diverged:
        """The error of a loss or gradient that is no number."""
        return Diverged(f"the {what} is not a number", f"{self.stage}, step {step}", f"lower {self.stage}.learning_rate")

    def forget_gradient(self) -> None:
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.grad = master.grad = None

    def state(self) -> dict[str, Any]:
        """Trained weights, masters and optimiser; what is frozen below an adapter never changes and is left out."""
        trained = [w.detach() for w in self.weights]
        masters = [] if all(m is w for m, w in zip(self.masters, self.weights, strict=True)) else self.masters
        return {"weights": trained, "masters": masters, "optimiser": self.optimiser.state_dict(), "factor": self.factor}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        for weight, saved in zip(self.weights, state["weights"], strict=True):
            weight.copy_(saved)
        for master, saved in zip(self.masters, state["masters"], strict=False):
            master.copy_(saved)
        self.factor = state["factor"]
        self.forget_gradient()
        torch.clear_autocast_cache()
        self.reset()
        self.optimiser.load_state_dict(state["optimiser"])


def scoring_flops(model: Any, rollouts: Sequence[Rollout], *, shared: bool = True) -> float:
    """Floating-point operations of reading prompts and completions once; `shared` reads a prompt once for all its siblings."""
    said = [len(r.completion_ids) for r in rollouts]
    asked = [len(r.prompt_ids) for r in rollouts]
    prompts = [len(ids) for ids in {r.prompt_ids for r in rollouts}] if shared else asked
    tokens = sum(prompts) + sum(said)
    seen = sum(n * n / 2 for n in prompts) + sum(c * (p + c / 2) for p, c in zip(asked, said, strict=True))
    return forward_flops(model, tokens, seen / max(1, tokens))
