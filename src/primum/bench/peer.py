"""TRL's engine on the bench: its GRPOTrainer, stopped before each step until it is told to go on."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from primum.bench.config import BenchConfig
from primum.bench.work import make_policy, make_prompts, now, parameters, reward
from primum.ledger import peak_mib
from primum.policy import Policy
from primum.types import Example


def serve(
    config: BenchConfig, size: str, repeat: int, scratch: Path, commands: Iterator[dict[str, Any]], answer: Callable[..., None]
) -> None:
    """Make everything ready, then do as told, step by step."""
    policy = make_policy(config, size)
    prompts = make_prompts(config, size, policy, repeat)
    trainer = Peer(policy, prompts, config, scratch)
    ready = {"params": parameters(policy), "device": str(policy.device), "threads": torch.get_num_threads(), "notes": []}
    trainer.add_callback(OnCommand(trainer, policy, commands, lambda: answer(**ready), answer))
    trainer.train()
    for _ in commands:
        answer(**compared(trainer, policy, make_policy(config, size), torch.load(scratch / "parity")))


class Peer(GRPOTrainer):
    """TRL's trainer with the settings that are best for it on this work, and meters."""

    def __init__(self, policy: Policy, prompts: list[Example], config: BenchConfig, scratch: Path) -> None:
        self.bench_policy = policy
        self.sampling: list[float] = []
        self.completions: list[int] = []
        self.prompt_tokens = 0
        own = config.model != ""
        texts = [[{"role": "user", "content": e.prompt}] if own else e.prompt for e in prompts]
        super().__init__(
            model=policy.model, reward_funcs=self.pay, processing_class=policy.tokenizer,
            train_dataset=Dataset.from_list([{"prompt": text} for text in texts]), args=_arguments(config, policy, scratch),
        )  # fmt: skip
        # TRL takes one end token from the tokenizer besides the model's; both engines stop at all that either names.
        self.eos_token_ids = sorted(policy.stops)
        self.generation_config.eos_token_id = sorted(policy.stops)

    def pay(self, completion_ids: list[list[int]], **_: Any) -> list[float]:
        self.completions = [len(ids) for ids in completion_ids]
        return [reward(ids) for ids in completion_ids]

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        begun = now(self.bench_policy)
        found = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        self.sampling.append(now(self.bench_policy) - begun)
        self.prompt_tokens = sum(map(len, prompt_ids))
        return found

    def _send_telemetry(self) -> None:
        pass


class OnCommand(TrainerCallback):
    """Waits for a command before each step, and answers with what the step took, from its begin to after the optimiser."""

    def __init__(
        self, trainer: Peer, policy: Policy, commands: Iterator[dict[str, Any]], ready: Callable[[], None],
        answer: Callable[..., None],
    ) -> None:  # fmt: skip
        self.trainer, self.policy, self.commands, self.ready, self.answer = trainer, policy, commands, ready, answer
        self.begun = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.ready()
        if next(self.commands, None) is None:
            sys.exit(0)  # nobody listens any more
        self.begun = now(self.policy)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step, sampled = now(self.policy) - self.begun, self.trainer.sampling[-1]
        self.answer(
            seconds_step=step, seconds_sample=sampled, seconds_update=step - sampled, peak_mib=peak_mib(),
            completion_tokens=sum(self.trainer.completions), rollouts=len(self.trainer.completions),
            prompt_tokens=self.trainer.prompt_tokens,
        )  # fmt: skip


def _arguments(config: BenchConfig, policy: Policy, scratch: Path) -> GRPOConfig:
    count = config.prompts * config.group
    args = GRPOConfig(
        output_dir=str(scratch / "trl"), per_device_train_batch_size=count, num_generations=config.group,
        max_completion_length=config.cap, max_steps=config.steps + 1, learning_rate=1e-5, beta=0.0, loss_type="dapo",
        temperature=1.0, use_cpu=policy.device.type == "cpu", bf16=config.precision == "bfloat16",
        gradient_checkpointing=False, shuffle_dataset=False, report_to="none", save_strategy="no",
        logging_steps=config.steps + 2, disable_tqdm=True, seed=config.seed,
    )  # fmt: skip
    args._n_gpu = min(args.n_gpu, 1)  # one device, as ours
    return args


def compared(trainer: Peer, policy: Policy, fresh: Policy, given: dict[str, Any]) -> dict[str, float]:
    """How far TRL's log-probabilities, loss and gradient are from the other engine's on its rollouts, at the first weights."""
    model = trainer.model
    model.load_state_dict(fresh.model.state_dict())
    model.zero_grad()
    inputs = _inputs(given, policy)
    mask_NT = inputs["completion_mask"].bool().cpu()
    ids = (torch.cat([inputs[f"{half}_{what}"] for half in ("prompt", "completion")], 1) for what in ("ids", "mask"))
    with torch.no_grad():
        logprobs_NT = trainer._get_per_token_logps_and_entropies(model, *ids, mask_NT.shape[1])[0]
    with trainer.compute_loss_context_manager():
        loss = trainer._compute_loss(model, inputs)
    trainer.accelerator.backward(loss)
    gap_NT = (logprobs_NT.cpu().float() - given["logprobs_NT"]).abs()
    return {
        "parity_logprob": float(gap_NT[mask_NT].max()),
        "parity_loss": abs(float(loss) - given["loss"]) / abs(float(loss)) if loss else math.nan,
        **gradients_apart({n: p.grad for n, p in model.named_parameters() if p.grad is not None}, given["gradient"]),
    }


def gradients_apart(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, float]:
    """The length of the difference over that of theirs, and 1 - the cosine between them, over all parameters; nan of nothing.

    >>> gradients_apart({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}, {"a": torch.tensor([3.0])})
    {'parity_grad': 0.8, 'parity_grad_angle': 0.4}
    """
    apart = inner = length = own = 0.0
    for name in theirs.keys() | ours.keys():
        a, b = (side[name].cpu().double() if name in side else torch.zeros((), dtype=torch.double) for side in (theirs, ours))
        apart += float((a - b).square().sum())
        inner += float((a * b).sum())
        length += float(a.square().sum())
        own += float(b.square().sum())
    if not length * own:
        return {"parity_grad": math.nan, "parity_grad_angle": math.nan}
    return {"parity_grad": (apart / length) ** 0.5, "parity_grad_angle": 1 - inner / (length * own) ** 0.5}


def _inputs(given: dict[str, Any], policy: Policy) -> dict[str, Tensor]:
    """The rollouts as TRL's own preparation leaves them: prompts filled up on the left, completions on the right."""
    prompt_ids, prompt_mask = _padded(given["prompts"], policy.pad, left=True)
    completion_ids, completion_mask = _padded(given["completions"], policy.pad, left=False)
    old_NT, _ = _padded(given["old"], 0.0, left=False)
    inputs = {
        "prompt_ids": prompt_ids, "prompt_mask": prompt_mask, "completion_ids": completion_ids,
        "completion_mask": completion_mask, "advantages": torch.tensor(given["advantages"]), "old_per_token_logps": old_NT,
        "num_items_in_batch": completion_mask.sum(),
    }  # fmt: skip
    return {name: x.to(policy.device) for name, x in inputs.items()}


def _padded(rows: list[list[Any]], pad: float, *, left: bool) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids_NL, mask_NL = torch.full((len(rows), width), pad), torch.zeros(len(rows), width, dtype=torch.long)
    for n, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids_NL[n, place], mask_NL[n, place] = torch.tensor(row), 1
    return ids_NL, mask_NL
