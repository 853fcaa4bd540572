"""TRL's SFTTrainer, made quiet, exact to resume, and aware of the budget. Imported late: TRL takes seconds."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from safetensors import SafetensorError
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from primum.ledger import peak_mib
from primum.policy.adapter import lora_config
from primum.policy.finetune import FinetuneConfig, Task, Validate, commit
from primum.policy.model import Policy, forward_flops, save
from primum.types import BadInput

SCHEDULES = {"cosine": "cosine_with_min_lr", "linear": "linear", "constant": "constant_with_warmup"}


def train(task: Task, checkpoint: Path | None, *, seed: int, label: str) -> None:
    """Train the task's policy in place from `checkpoint` on, and leave the chosen weights in the run's folder "best"."""
    if task.config.lora_rank == 0:
        task.policy.model.float()  # updates of half-precision weights are lost to rounding: master weights are float32
    with _quiet():
        trainer = Tuner(task, seed)
        epochs = EpochEnd(trainer, task)
        trainer.add_callback(epochs)
        if not task.state.finished:
            with task.run.progress(label, trainer.steps, task.state.step) as epochs.advance:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        elif checkpoint:
            trainer._load_from_checkpoint(str(checkpoint))
        _settle(trainer, task)


class Tuner(SFTTrainer):
    """SFTTrainer on token ids: no preparation, telemetry, model card or print; stops on a loss that is no number."""

    def __init__(self, task: Task, seed: int) -> None:
        self.ledger = task.run.ledger
        policy, rows, config = task.policy, task.rows, task.config
        piece = max(1, config.batch // config.gradient_accumulation)
        self.steps = config.epochs * math.ceil(math.ceil(len(rows) / piece) / config.gradient_accumulation)
        super().__init__(
            model=policy.model,
            args=_arguments(task, seed, piece, self.steps),
            train_dataset=Dataset.from_list(rows),
            data_collator=DataCollatorForLanguageModeling(pad_token_id=policy.pad),
            processing_class=policy.tokenizer,
            peft_config=lora_config(config.lora_rank) if config.lora_rank else None,
        )
        self.train_dataset = rows  # a list is read without Arrow's cost a row
        self.remove_callback(PrinterCallback)
        self.policy = Policy(self.model, policy.tokenizer, policy.name)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        lengths = inputs["attention_mask"].sum(1)
        tokens = int(lengths.sum())
        context = float((lengths.float() * (lengths + 1) / 2).sum()) / tokens
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not bool(torch.isfinite(loss)):
            where = f"epoch {int(self.state.epoch or 0) + 1}, step {self.state.global_step + 1}"
            raise BadInput("the loss is not a finite number", where, "lower learning_rate, or look for broken weights")
        self.ledger.charge("update", flops=3 * forward_flops(self.policy.model, tokens, context), tokens=tokens)
        return loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise BadInput(f"cannot write a checkpoint, {error}", self.args.output_dir, "free some space") from None

    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        pass


class EpochEnd(TrainerCallback):
    """After each epoch: validate, keep the best, log, seal the checkpoint; stop on patience or budget."""

    def __init__(self, trainer: Tuner, task: Task) -> None:
        self.trainer, self.task = trainer, task
        self.advance: Callable[..., None] = lambda n=1, note="": None
        self.loss = math.nan
        self.since = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.advance(1)
        if self.task.run.ledger.flops >= self.task.budget_flops:
            control.should_epoch_stop = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        self.loss = (logs or {}).get("loss", self.loss)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        task, ledger, at = self.task, self.task.run.ledger, self.task.state
        at.epoch, at.step = math.ceil(state.epoch), state.global_step
        at.finished = control.should_training_stop or at.epoch >= task.config.epochs
        found: dict[str, Any] = {}
        ledger.parts["update"].seconds += time.perf_counter() - self.since
        if task.validate and (at.finished or at.epoch % task.config.evaluate_every_epochs == 0):
            found = {"validation": self._validate(task.validate)}
            at.finished |= 0 < task.config.patience <= at.waited
        control.should_training_stop = at.finished
        now = time.perf_counter()
        ledger.seconds += now - self.since
        ledger.peak_mib = max(ledger.peak_mib, peak_mib())
        self.since = now
        task.run.log(epoch=at.epoch, step=at.step, loss=self.loss, flops=ledger.flops, seconds=ledger.seconds, **found)
        commit(task.run, Path(args.output_dir) / f"checkpoint-{at.step}", at)

    def _validate(self, validate: Validate) -> dict[str, float]:
        """The validation of the current weights, which are kept where they are the best so far."""
        policy = self.trainer.policy
        with plain_forward(policy.model), torch.random.fork_rng():
            policy.model.eval()
            found = validate(policy)
            if self.task.state.judge(found.get("selection", math.nan), self.task.state.epoch):
                save(policy, self.task.run.path / "best")
            policy.model.train()
        return found


@contextmanager
def plain_forward(model: Any) -> Iterator[None]:
    """The model's own forward inside the block: TRL's and accelerate's replacements hold on to the trained object,
    so a copy made through them would answer with the original's weights."""
    patched = [(m, m.__dict__.pop("forward")) for m in _layers_of(model) if "forward" in m.__dict__]
    try:
        yield
    finally:
        for module, forward in patched:
            module.forward = forward


def _layers_of(model: Any) -> list[Any]:
    """The model, and the model inside an adapter."""
    return [model, model.get_base_model()] if hasattr(model, "get_base_model") else [model]


def _settle(trainer: Tuner, task: Task) -> None:
    """Leave a whole model in the folder "best": the best epoch's, or the last one's where none was judged."""
    best, model, tokenizer = task.run.path / "best", trainer.model, task.policy.tokenizer
    if task.state.best_epoch and (best / "config.json").exists():
        return
    for module in _layers_of(model):
        module.__dict__.pop("forward", None)
        module.__dict__.pop("_original_forward", None)
    if hasattr(model, "merge_and_unload"):
        if task.state.best_epoch:
            from peft import load_peft_weights, set_peft_model_state_dict

            set_peft_model_state_dict(model, load_peft_weights(str(best), device=str(task.policy.device)))
        model = model.merge_and_unload()
    save(Policy(model, tokenizer, task.policy.name), best)


def _arguments(task: Task, seed: int, piece: int, steps: int) -> SFTConfig:
    config: FinetuneConfig = task.config
    cuda = task.policy.device.type == "cuda"
    args = SFTConfig(
        output_dir=str(task.run.path / "trainer"), num_train_epochs=config.epochs, per_device_train_batch_size=piece,
        gradient_accumulation_steps=config.gradient_accumulation, learning_rate=config.learning_rate,
        lr_scheduler_type=SCHEDULES[config.schedule], warmup_steps=round(config.warmup_share * steps),
        lr_scheduler_kwargs={"min_lr_rate": 0.1} if config.schedule == "cosine" else None,
        weight_decay=config.weight_decay, max_grad_norm=config.clip_norm, seed=seed, data_seed=seed,
        gradient_checkpointing=config.gradient_checkpointing, bf16=cuda and torch.cuda.is_bf16_supported(), use_cpu=not cuda,
        max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False,
        save_strategy="epoch", logging_strategy="epoch", logging_nan_inf_filter=False, report_to="none", disable_tqdm=True,
        dataloader_num_workers=0, dataloader_pin_memory=False,
    )  # fmt: skip
    args._n_gpu = min(args.n_gpu, 1)  # one device: TRL refuses the data parallelism that Trainer picks by itself
    return args


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the trainer's own lines, bars and warnings off the terminal."""
    log = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()
