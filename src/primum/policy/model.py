"""The policy: a causal language model with its tokenizer. Load, save, copy, and count its arithmetic."""

from __future__ import annotations

import copy as copying
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from primum.types import BadInput

disable_progress_bar()  # the run shows its own

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Policy:
    """The model being trained, in evaluation mode outside of training, and its tokenizer."""

    model: Any
    tokenizer: Any
    name: str

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def pad(self) -> int:
        """The id that fills up rows; it is masked everywhere, so the end token serves where there is none."""
        pad = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if pad is None else pad

    @property
    def stops(self) -> frozenset[int]:
        """Every id that ends a completion, wherever the checkpoint names it."""
        named: set[int] = {self.tokenizer.eos_token_id}
        for config in (self.model.config, getattr(self.model, "generation_config", None)):
            ids = getattr(config, "eos_token_id", None)
            named.update(ids if isinstance(ids, (list, tuple)) else () if ids is None else (ids,))
        return frozenset(named)


def load(path: str, *, device: str = "auto", dtype: str = "auto") -> Policy:
    """The policy in a local Hugging Face folder, whole or an adapter, or under a hub name.

    Whatever exists or looks like a path is never looked up on the hub. `auto` is a GPU and
    bfloat16 where there is one, the CPU and float32 otherwise.
    """
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    number = _dtype(dtype, place)
    if is_local(path):
        check_folder(Path(path))
    if (Path(path) / "adapter_config.json").exists():
        model, base = _adapter(Path(path), number)
    else:
        model, base = _whole(path, number), path
    tokenizer = _tokenizer(path if not is_local(path) or _has_tokenizer(Path(path)) else base)
    return Policy(model.to(place).eval(), tokenizer, Path(path).name if is_local(path) else path)


def save(policy: Policy, path: Path) -> None:
    """Write model and tokenizer in Hugging Face format, whole or not at all."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        policy.model.save_pretrained(part)
        policy.tokenizer.save_pretrained(part)
        replace_folder(part, path)
    except (OSError, SafetensorError, RuntimeError) as error:
        shutil.rmtree(part, ignore_errors=True)
        why = getattr(error, "strerror", None) or _line(error)
        raise BadInput(f"cannot save the model, {why}", str(path), "free some space or choose another folder") from None


def replace_folder(part: Path, path: Path) -> None:
    """Put the finished folder `part` in the place of `path`; a kill in between leaves one of the two under a known name."""
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.rename(path, old)
    os.rename(part, path)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(path: Path) -> bool:
    """Whether a whole `path` is there, after mending a kill inside `replace_folder`."""
    old = path.with_name(f".{path.name}.old")
    if not path.exists() and old.exists():
        os.rename(old, path)
    return path.exists()


def copy(policy: Policy) -> Policy:
    """A policy with weights of its own; the tokenizer is shared."""
    return Policy(copying.deepcopy(policy.model), policy.tokenizer, policy.name)


def forward_flops(model: Any, tokens: int, context: float) -> float:
    """Floating-point operations of a forward pass over `tokens` tokens that each look back on `context` tokens on average.

    2·N per token plus 4·layers·width·context of attention (Kaplan et al. 2020, arXiv:2001.08361);
    N leaves out the embedding table unless it also is the output head.
    """
    config = model.config.get_text_config()
    weights = sum(p.numel() for p in model.parameters())
    table = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    if head is not None and head.weight is not table:
        weights -= table.numel()
    return float(tokens) * (2.0 * weights + 4.0 * config.num_hidden_layers * attention_width(config) * context)


def attention_width(config: Any) -> int:
    """The width of all query heads together."""
    heads = config.num_attention_heads
    return int(heads * (getattr(config, "head_dim", None) or config.hidden_size // heads))


def context_limit(model: Any) -> int:
    """The most positions the model can tell apart."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30)


def is_local(path: str) -> bool:
    """Whether `path` is a folder; only owner/name, where no folder `owner` exists, is left to the hub.

    >>> [is_local(p) for p in ("./safe", "runs/a/b", "/tmp/m", "safe", "models/", "Qwen/Qwen3-0.6B")]
    [True, True, True, True, True, False]
    """
    owner, _, name = path.partition("/")
    hub = bool(owner and name) and "/" not in name and owner[0] not in ".~-" and not Path(owner).is_dir()
    return not hub or Path(path).exists()


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds no model."""
    if not folder.exists():
        raise BadInput("no such model folder", str(folder), "give a Hugging Face folder, or a hub name such as Qwen/Qwen3-0.6B")
    if not folder.is_dir():
        raise BadInput("a model is a folder, this is a file", str(folder), "give the folder that holds config.json")
    if not (folder / "config.json").exists() and not (folder / "adapter_config.json").exists():
        raise BadInput("no config.json in the model folder", str(folder), "save it with save_pretrained")


def _whole(path: str, number: torch.dtype) -> Any:
    local = is_local(path)
    remedy = (
        "it must be a decoder-only causal model with its weights" if local else "no such folder here, and the hub did not give it"
    )
    try:
        model, found = AutoModelForCausalLM.from_pretrained(path, dtype=number, local_files_only=local, output_loading_info=True)
    except (OSError, ValueError, KeyError, RuntimeError, UnpicklingError, SafetensorError) as error:
        raise BadInput(f"cannot load the model, {_line(error)}", path, remedy) from None
    if absent := sorted(found["missing_keys"]):
        # transformers fills these with random numbers and only warns.
        raise BadInput(f"cannot load the model, {len(absent)} weights are missing, such as {absent[0]}", path, remedy)
    return model


def _adapter(folder: Path, number: torch.dtype) -> tuple[Any, str]:
    """The adapter in `folder` merged into its base, and where the base is."""
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    base = str(settings.get("base_model_name_or_path") or "")
    if is_local(base):
        # A relative base is meant from the working directory, or from the adapter's folder.
        beside = folder / base
        base = str(beside) if base and not Path(base).exists() and beside.exists() else base
        if not base or not Path(base).exists():
            raise BadInput(f"the adapter's base model '{base}' is not there", str(folder), "mend base_model_name_or_path")
        check_folder(Path(base))
    try:
        from peft import PeftModel
    except ImportError:
        raise BadInput("this is a PEFT adapter and peft is not installed", str(folder), "pip install primum[peft]") from None
    model = _whole(base, number)
    try:
        merged = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
        return merged.requires_grad_(True), base  # PEFT froze what it adapts
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadInput(f"cannot load the adapter, {_line(error)}", str(folder), f"was it trained on {base}?") from None


def _tokenizer(path: str) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=is_local(path))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BadInput(
            f"cannot load the tokenizer, {_line(error)}", path, "save it beside the model with save_pretrained"
        ) from None
    if tokenizer.eos_token_id is None:
        raise BadInput("the tokenizer has no end token", path, "set eos_token in tokenizer_config.json")
    if not tokenizer.chat_template:
        raise BadInput("the model has no chat template", path, "add chat_template.jinja, or start from a chat model")
    return tokenizer


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"))


def _dtype(name: str, place: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if place.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise BadInput(f"no number type '{name}'", "dtype", "choose auto, " + ", ".join(DTYPES))
    return DTYPES[name]


def _line(error: Exception) -> str:
    """The first line of an error, short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
