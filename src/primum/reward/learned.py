"""Training of a learned reward with several heads, and its folder."""

from __future__ import annotations

import hashlib
import math
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from primum.config import Config
from primum.policy.adapter import lora_config
from primum.policy.model import check_folder, is_local, replace_folder
from primum.reward.labels import Judged, data_hash, fold
from primum.reward.learned_fit import Tied, encoded, fit_platt, losses
from primum.reward.learned_measure import measure_heads
from primum.reward.losses import TIES
from primum.run import write_json, write_jsonl
from primum.signals.heads import HALVES, WHOLE, Heads
from primum.types import BadInput

HEAD_FACTOR = 10.0  # the heads begin at zero and may move faster than a body that knows something


class LearnedConfig(Config):
    """How a learned reward is trained."""

    model: str = ""  # the body: a Hugging Face folder or hub name, encoder or decoder
    heads: tuple[str, ...] = ()  # which to train; none: all that the data names
    pairs: Literal["ties", "bradley_terry", "regression"] = "ties"  # the loss of pairs
    k: float = Field(TIES, gt=1)  # of the loss with ties: how wide a gap still ties
    epochs: int = Field(8, ge=1)
    batch: int = Field(32, ge=1)  # rows of an update
    learning_rate: float = Field(2e-4, gt=0)  # of the body; the heads' is ten times it
    weight_decay: float = Field(0.01, ge=0)
    patience: int = Field(3, ge=0)  # epochs without a lower loss on the tuning part before it ends; 0 never
    freeze: bool = False  # train the heads alone
    lora_rank: int = Field(0, ge=0)  # 0 trains all of the body; else an adapter, merged at the end; needs peft
    limit_tokens: int = Field(512, ge=16)  # of a window; at most what the body takes
    tune_share: float = Field(0.15, gt=0, lt=0.5)  # of the prompts: they stop and calibrate
    held_out_share: float = Field(0.15, gt=0, lt=0.5)  # of the prompts: they measure
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class Lineage:
    """Where a version stands among others."""

    version: int = 1
    parent: str = ""


def train_heads(
    rows: Sequence[Judged], config: LearnedConfig, output: Path, *, lineage: Lineage | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """Train on the rows and save to the folder `output`, whole or not at all; what its reward.json says.

    Prompts are parted by their hash into training, tuning (early stopping, calibration) and held-out ones, whose
    figures are reported. The epoch with the lowest loss on the tuning part is kept. Equal arguments give equal weights
    on a CPU.
    """
    names = _head_names(rows, config)
    parts = {
        name: [r for r in rows if fold(r.prompt, config.tune_share, config.held_out_share) == name]
        for name in ("train", "tune", "held out")
    }
    if not parts["train"]:
        raise BadInput("no prompt is left to train on", "labelled data", "give more prompts")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = new_heads(config, names)
        curve = _fit(model, parts["train"], parts["tune"] or parts["train"], config, say)
    model.platt = fit_platt(model, encoded(model, parts["tune"] or parts["train"]), config.k)
    lineage = lineage or Lineage()
    note = {
        "heads": list(names),
        "pooling": model.pooling,
        "limit_tokens": model.limit_tokens,
        "platt": {name: list(ab) for name, ab in model.platt.items()},
        "version": lineage.version,
        "parent": lineage.parent,
        "data": data_hash(rows),
        "rows": {name: len(part) for name, part in parts.items()},
        "held_out": measure_heads(model, parts["held out"], config.k),
        "tuning_loss": curve,
        "config": config.model_dump(mode="json"),
    }
    return save_heads(model, output, note, rows)


def new_heads(config: LearnedConfig, names: tuple[str, ...]) -> Heads:
    """The body of `config.model` with heads that say nothing yet."""
    from transformers import AutoModel, AutoTokenizer

    if not config.model:
        raise BadInput("no body for the learned reward", "model", "name a Hugging Face folder, model=PATH")
    local = is_local(config.model)
    if local:
        check_folder(Path(config.model))
    place = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    try:
        body = AutoModel.from_pretrained(config.model, local_files_only=local, dtype=torch.float32).to(place).eval()
        tokenizer = AutoTokenizer.from_pretrained(config.model, local_files_only=local)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadInput(
            f"the body does not load: {str(error).splitlines()[0]}", config.model, "save it with its tokenizer"
        ) from None
    if config.lora_rank:
        settings = lora_config(config.lora_rank)
        from peft import get_peft_model

        settings.task_type = None
        body = get_peft_model(body, settings)
    size = body.config.get_text_config()
    limit = min(config.limit_tokens, (getattr(size, "max_position_embeddings", None) or 1 << 30) - 2, tokenizer.model_max_length)
    weight, bias = torch.zeros(len(names), size.hidden_size, device=place), torch.zeros(len(names), device=place)
    model = Heads(body, tokenizer, names, weight, bias, "last", limit, dict.fromkeys(names, (1.0, 0.0)))
    model.pooling = "mean" if _looks_ahead(model) else "last"
    return model


def save_heads(model: Heads, output: Path, note: Mapping[str, Any], rows: Sequence[Judged]) -> dict[str, Any]:
    """Body, tokenizer, heads, the labelled rows and reward.json, in one folder that appears whole; what the last says."""
    from safetensors.torch import save_file

    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        body = model.body.merge_and_unload() if hasattr(model.body, "merge_and_unload") else model.body
        body.save_pretrained(part)
        model.tokenizer.save_pretrained(part)
        save_file(
            {"weight_KD": model.weight_KD.detach().cpu(), "bias_K": model.bias_K.detach().cpu()}, part / "heads.safetensors"
        )
        write_jsonl(part / "labels.jsonl", (row.to_json() for row in rows))
        told = {**note, "weights": weights_hash(part)}
        write_json(part / "reward.json", told)
        replace_folder(part, output)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise BadInput(
            f"cannot save the reward, {error.strerror}", str(output), "free some space or choose another --output"
        ) from None
    return told


def weights_hash(folder: Path) -> str:
    """A hash of every weight file in a folder, to tell a version from another of its name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _head_names(rows: Sequence[Judged], config: LearnedConfig) -> tuple[str, ...]:
    """The heads to train, in a fixed order: those asked for, or all that the data names; a label of the whole
    response ("harm") makes the heads of its halves, and that of the thought only where there are thoughts."""
    named = {name for row in rows for name in row.values}
    if WHOLE in named:
        thoughts = any(r.thought.strip() for row in rows for r in row.responses)
        named = named - {WHOLE} | {HALVES[1]} | ({HALVES[0]} if thoughts else set())
    unknown = [name for name in config.heads if name not in named]
    if unknown:
        raise BadInput(f"no labels for head '{unknown[0]}'", "labelled data", f"there are {', '.join(sorted(named))}")
    if not named:
        raise BadInput("every label is missing", "labelled data", "give some values that are not null")
    return tuple(sorted(config.heads or named))


def _fit(
    model: Heads, train: Sequence[Judged], tune: Sequence[Judged], config: LearnedConfig, say: Callable[[str], None]
) -> list[float]:
    """Train in place; the loss on the tuning part after each epoch, nan weights refused, the best epoch kept."""
    heads = [model.weight_KD.requires_grad_(), model.bias_K.requires_grad_()]
    body = [] if config.freeze else [p for p in model.body.parameters() if p.requires_grad]
    rate = config.learning_rate
    optimiser = torch.optim.AdamW(
        [{"params": body, "lr": rate}, {"params": heads, "lr": rate * HEAD_FACTOR}], weight_decay=config.weight_decay
    )
    rows, measured = encoded(model, train), encoded(model, tune)
    steps = config.epochs * math.ceil(len(rows) / config.batch)
    warm = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: min((s + 1) / warm, max(0.05, 1 - s / steps)))
    draw = random.Random(f"rows-{config.seed}")
    curve: list[float] = []
    best: tuple[float, list[Tensor]] = (math.inf, [])
    for epoch in range(config.epochs):
        for some in _batches(rows, config.batch, draw):
            loss = losses(model, some, config.pairs, config.k)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*body, *heads], 1.0)
            optimiser.step()
            schedule.step()
        curve.append(_loss(model, measured, config))
        if math.isnan(curve[-1]):
            raise BadInput("the loss is no number", f"epoch {epoch + 1}", "choose a lower learning_rate")
        say(f"epoch {epoch + 1} of {config.epochs}: loss {curve[-1]:.3f} on the tuning prompts")
        if curve[-1] < best[0]:
            best = curve[-1], [p.detach().clone() for p in (*body, *heads)]
        elif config.patience and epoch - curve.index(best[0]) >= config.patience:
            break
    with torch.no_grad():
        for p, kept in zip((*body, *heads), best[1], strict=True):
            p.copy_(kept)
    for p in heads:
        p.requires_grad_(False)
    return curve


def _loss(model: Heads, rows: Sequence[Tied], config: LearnedConfig) -> float:
    with torch.no_grad():
        parts = [
            (float(losses(model, rows[i : i + config.batch], config.pairs, config.k)), len(rows[i : i + config.batch]))
            for i in range(0, len(rows), config.batch)
        ]
    return sum(loss * n for loss, n in parts) / sum(n for _, n in parts)


def _batches(rows: Sequence[Tied], size: int, draw: random.Random) -> list[list[Tied]]:
    """All rows once, those of like length together, in an order that `draw` makes."""
    order = sorted(rows, key=lambda row: row.length + draw.random() * 16)
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    draw.shuffle(batches)
    return batches


def _looks_ahead(model: Heads) -> bool:
    """Whether a later token changes an earlier state: an encoder does, and its last state means nothing special."""
    ids = [i % model.weight_KD.shape[1] % 7 + 1 for i in range(6)]
    with torch.no_grad():
        one, other = (model.body(input_ids=torch.tensor([seq], device=model.body.device)).last_hidden_state[0, 0]
                      for seq in (ids, [*ids[:-1], ids[-1] % 7 + 8]))  # fmt: skip
    return bool((one - other).abs().max() > 1e-6)
