"""The base model: a tiny Llama trained from scratch on the micro-world's documents, on the CPU."""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
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
    steps: int = Field(1500, ge=1)
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
        for step, texts in zip(range(config.steps), batches(config, draw), strict=False):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _schedule(step, config.steps)
            batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
            labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
            out = model(input_ids=batch.input_ids, labels=labels)  # right padding: a causal model needs no mask
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


def batches(config: BaseConfig, draw: random.Random, pool: int = 16) -> Iterator[list[str]]:
    """Documents without end, those of about one length together, as padding would double the work."""
    while True:
        texts = [f"<bos> {document(config.corpus, draw)} <eos>" for _ in range(config.batch * pool)]
        texts.sort(key=lambda text: text.count(" "))
        starts = list(range(0, len(texts), config.batch))
        draw.shuffle(starts)
        yield from (texts[start : start + config.batch] for start in starts)


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
