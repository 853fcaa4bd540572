"""The base model: a tiny Llama trained from scratch on the micro-world's documents, on the CPU."""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from primum.config import Config
from primum.microworld.documents import CorpusConfig, document
from primum.microworld.tokenizer import make_tokenizer
from primum.run import Run, write_json
from primum.types import BadInput

# hidden, layers, heads: about 0.3, 0.8, 1.8 and 4.7 million parameters
SIZES: dict[str, tuple[int, int, int]] = {"XS": (80, 3, 4), "S": (128, 4, 4), "M": (160, 6, 5), "L": (256, 6, 8)}


class BaseConfig(Config):
    """How the base model is made. The defaults made the checkpoint that ships."""

    size: Literal["XS", "S", "M", "L"] = "S"
    steps: int = Field(2400, ge=1)
    batch: int = Field(128, ge=1)  # documents a step
    learning_rate: float = Field(3e-3, gt=0)
    seed: int = 0
    corpus: CorpusConfig = CorpusConfig()


def base_checkpoint(config: BaseConfig, run: Run, *, cache: Path | None = None) -> Path:
    """The folder of the base model: shipped where the settings are the default, else trained once and cached."""
    shipped = Path(str(resources.files("primum.microworld") / "data" / "base"))
    if config == BaseConfig() and (shipped / "model.safetensors").exists():
        return shipped
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]
    folder = (cache or cache_folder()) / f"base-{digest}"
    if not (folder / "model.safetensors").exists():
        train_base(config, folder, run)
    return folder


def cache_folder() -> Path:
    """Where trained base models are kept: $PRIMUM_CACHE, or the user's cache."""
    return Path(os.environ.get("PRIMUM_CACHE") or Path.home() / ".cache" / "primum")


def train_base(config: BaseConfig, folder: Path, run: Run) -> None:
    """Train a base model and save it as a Hugging Face folder, whole or not at all."""
    tokenizer = make_tokenizer()
    model = new_model(config.size, config.seed, len(tokenizer))
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    draw = random.Random(f"documents-{config.seed}")
    loss = math.nan
    with run.progress("base model", config.steps) as advance:
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _schedule(step, config.steps)
            texts = [f"<bos> {document(config.corpus, draw)} <eos>" for _ in range(config.batch)]
            out = model(**pack(tokenizer(texts).input_ids))
            optimiser.zero_grad(set_to_none=True)
            out.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            loss = float(out.loss.detach())
            advance(1, f"loss {loss:.3f}")
    part = folder.with_name(folder.name + f".part-{os.getpid()}")
    try:
        model.to(torch.bfloat16).save_pretrained(part)
        tokenizer.save_pretrained(part)
        write_json(part / "primum.json", {"config": config.model_dump(), "final_loss": loss})
        if folder.exists():
            shutil.rmtree(folder)
        part.replace(folder)
    except OSError as error:
        raise BadInput(
            f"cannot save the base model, {error.strerror}", str(folder), "free some space or set PRIMUM_CACHE"
        ) from None


def pack(texts: list[list[int]], width: int = 96) -> dict[str, Tensor]:
    """Documents side by side in rows, each seeing itself alone: a third of the work of padding every one.

    Token ids, labels and positions of shape (rows, width), and a mask of shape (rows, 1, width, width).
    A document starts at position 0; what is left of a row is its own document and has no label.
    """
    rows: list[list[list[int]]] = []
    for ids in sorted(texts, key=len, reverse=True):
        row = next((r for r in rows if sum(map(len, r)) + len(ids) <= width), None)
        if row is None:
            rows.append([ids])
        else:
            row.append(ids)
    shape = (len(rows), max(width, len(rows[0][0])))
    input_ids, labels = torch.zeros(shape, dtype=torch.long), torch.full(shape, -100)
    positions, owner = torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
    for i, row in enumerate(rows):
        start = 0
        for k, ids in enumerate(row):
            end = start + len(ids)
            input_ids[i, start:end] = torch.tensor(ids)
            labels[i, start + 1 : end] = torch.tensor(ids[1:])
            positions[i, start:end] = torch.arange(len(ids))
            owner[i, start:end] = k
            start = end
    mask = (owner[:, :, None] == owner[:, None, :]).tril()[:, None]
    return {"input_ids": input_ids, "labels": labels, "position_ids": positions, "attention_mask": mask}


def new_model(size: str, seed: int, vocabulary: int) -> LlamaForCausalLM:
    """An untrained Llama of the given size."""
    hidden, layers, heads = SIZES[size]
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=round(hidden * 8 / 3 / 16) * 16,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=256,
            rms_norm_eps=1e-6,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 5 %, then a cosine to 2 %."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
