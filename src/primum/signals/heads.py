"""A learned judge with several heads: what each reads, how it is saved, and its calibrated answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from primum.types import BadInput, Rollout, Signal

Half = Literal["thought", "reply"]
WHOLE = "harm"  # harm anywhere in the response, from the heads of its halves
HALVES = ("harm_thought", "harm_reply")
_PROMPT_SHARE = 4  # a long prompt may take a quarter of the window


@dataclass
class Heads:
    """A body, and for each head a direction in its last hidden states.

    `weight_KD` and `bias_K` are tensors; `pooling` is "last" for a body that only looks back, else "mean"; `platt` holds
    for each head the a and b of P = σ(a·z + b).
    """

    body: Any
    tokenizer: Any
    names: tuple[str, ...]
    weight_KD: Any
    bias_K: Any
    pooling: str
    limit_tokens: int
    platt: Mapping[str, tuple[float, float]]


def learned(path: str | Path, head: str, *, batch: int = 32) -> Signal:
    """A signal: the calibrated probability in [0, 1] that a rollout has what a saved head learnt to see.

    "harm" of a model with heads harm_thought and harm_reply is harm in either, 1 − (1 − p)(1 − p'). An empty half has
    nothing: 0, or unscored where the rollout was cut before it. A long text is read in windows: of a harm the worst
    counts, else their mean. The model is loaded at the first call and kept. Weights in the place of a head, such as
    "helpful=1,harm=-2", give the weighted sum instead.
    """
    folder = Path(path)
    if "=" in head:
        return weighted(folder, _weights(head), batch=batch)
    names = read_note(folder)["heads"]
    if head in names:
        return partial(_probabilities, folder=str(folder.resolve()), heads=(head,), batch=batch)
    halves = tuple(name for name in HALVES if name in names)
    if head != WHOLE or not halves:
        raise BadInput(f"no head '{head}'", str(folder), f"choose one of {', '.join(names)}")
    return partial(_probabilities, folder=str(folder.resolve()), heads=halves, batch=batch)


def weighted(path: str | Path, weights: Mapping[str, float], *, batch: int = 32) -> Signal:
    """A signal: Σ weight · probability over the heads named, weights being the user's and free to be negative.

    nan where any of them is.
    """
    if not weights:
        raise BadInput("no weights", str(path), "give one for each head that counts, such as {helpful: 1, harm: -2}")
    asked = [(weight, learned(path, head, batch=batch)) for head, weight in weights.items()]

    def total(rollouts: Sequence[Rollout]) -> list[float]:
        answers = [[weight * p for p in signal(rollouts)] for weight, signal in asked]
        return [sum(parts) for parts in zip(*answers, strict=True)]

    return total


def _weights(text: str) -> dict[str, float]:
    """Weights by head.

    >>> _weights("helpful=1,harm=-2")
    {'helpful': 1.0, 'harm': -2.0}
    """
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return {name.strip(): float(weight) for name, _, weight in pairs}
    except ValueError:
        raise BadInput(f"'{text}' are no weights", "learned reward", "write helpful=1,harm=-2") from None


def reads(head: str) -> Half:
    """The half a head reads beside the prompt: the thought where its name ends so, else the reply."""
    return "thought" if head.endswith("thought") else "reply"


def encode(tokenizer: Any, prompt: str, text: str, half: Half, limit: int) -> list[list[int]]:
    """Token ids of prompt and text in windows of at most `limit`, each with the prompt (its end, where it is long).

    With a chat template: as the model itself would have said it, thought and reply between their marks. Without one:
    [CLS] prompt [SEP] text [SEP], or what the tokenizer has in their places. Marks written inside prompt or text are
    taken apart, so no text can end its part and begin another.
    """
    open_prompt, after_prompt, end = _frame(tokenizer, half)
    prompt_ids, text_ids = plain_ids(tokenizer, prompt), plain_ids(tokenizer, text)
    room = limit - len(open_prompt) - len(after_prompt) - len(end)
    kept = prompt_ids[-max(1, room // _PROMPT_SHARE) :] if len(prompt_ids) + len(text_ids) > room else prompt_ids
    lead = open_prompt + kept + after_prompt
    width = max(1, limit - len(lead) - len(end))
    step = max(1, width - width // 8)
    starts = range(0, max(1, len(text_ids) - width // 8), step)
    return [lead + text_ids[i : i + width] + end for i in starts]


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of text in which no mark of the tokenizer means anything."""
    marks = _marks(tokenizer)
    for mark in marks:
        if mark in text and len(mark) > 1:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    forbidden = set(marks.values()) - {tokenizer.unk_token_id}
    return [i for i in tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] if i not in forbidden]


def pooled(model: Heads, sequences: Sequence[Sequence[int]]) -> Any:
    """The body's summary of each sequence, of shape (N, D): its last hidden state, or the mean of all."""
    import torch

    device, width = model.body.device, max(map(len, sequences))
    lengths = torch.tensor([len(ids) for ids in sequences], device=device)
    pad = model.tokenizer.pad_token_id or 0
    ids_NT = torch.tensor([[*ids, *[pad] * (width - len(ids))] for ids in sequences], device=device)
    mask_NT = (torch.arange(width, device=device) < lengths[:, None]).long()
    hidden_NTD = model.body(input_ids=ids_NT, attention_mask=mask_NT).last_hidden_state.float()
    if model.pooling == "last":
        return hidden_NTD[torch.arange(len(sequences), device=device), lengths - 1]
    return (hidden_NTD * mask_NT[..., None]).sum(1) / lengths[:, None]


def logits(model: Heads, sequences: Sequence[Sequence[int]], batch: int = 32) -> Any:
    """What every head says of each sequence before calibration, of shape (N, K), on the CPU."""
    import torch

    out = torch.zeros(len(sequences), len(model.names))
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))  # little padding
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            hidden_ND = pooled(model, [sequences[i] for i in some])
            out[some] = (hidden_ND @ model.weight_KD.T + model.bias_K).cpu()
    return out


def read_note(folder: Path) -> dict[str, Any]:
    """reward.json of a saved model: heads, calibration, figures, version, parent."""
    try:
        note = json.loads((folder / "reward.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        note = None
    if not isinstance(note, dict) or not {"heads", "pooling", "limit_tokens", "platt", "weights", "config"} <= set(note):
        raise BadInput("no learned reward here", str(folder), "give a folder that `primum reward train` wrote")
    return note


def load_heads(folder: Path) -> Heads:
    """The model in a folder, on a GPU where there is one."""
    note = read_note(folder)
    stamp = (folder / "heads.safetensors").stat().st_mtime_ns if (folder / "heads.safetensors").exists() else 0
    return _load(str(folder.resolve()), stamp, json.dumps(note, sort_keys=True))


@lru_cache(maxsize=4)
def _load(folder: str, stamp: int, note: str) -> Heads:
    """`stamp` tells a folder that was written anew."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    told = json.loads(note)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tensors = load_file(f"{folder}/heads.safetensors")
        body, found = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BadInput(f"the learned reward does not load: {error}", folder, "train it again") from error
    absent = [name for name in found["missing_keys"] if "pooler" not in name]
    if absent:  # transformers would fill them at random, and the judge would be a coin
        raise BadInput(f"the learned reward has no weights for {absent[0]}", folder, "train it again")
    weight, bias = tensors["weight_KD"].to(device), tensors["bias_K"].to(device)
    platt = {name: (float(a), float(b)) for name, (a, b) in told["platt"].items()}
    return Heads(
        body.to(device).eval(), tokenizer, tuple(told["heads"]), weight, bias, told["pooling"], told["limit_tokens"], platt
    )


def _probabilities(rollouts: Sequence[Rollout], *, folder: str, heads: tuple[str, ...], batch: int) -> list[float]:
    """At least one of the heads, by noisy or; nan where one is."""
    model = load_heads(Path(folder))
    none_of = [1.0] * len(rollouts)
    for head in heads:
        none_of = [rest * (1 - p) for rest, p in zip(none_of, _one(rollouts, model, head, batch), strict=True)]
    return [1.0 - p for p in none_of]


def _one(rollouts: Sequence[Rollout], model: Heads, head: str, batch: int) -> list[float]:
    import torch

    half, column = reads(head), model.names.index(head)
    texts = [getattr(r, half).strip() for r in rollouts]
    out = [math.nan if r.truncated and not (text or r.reply) else 0.0 for r, text in zip(rollouts, texts, strict=True)]
    windows = [
        (i, ids)
        for i, (r, text) in enumerate(zip(rollouts, texts, strict=True))
        if text
        for ids in encode(model.tokenizer, r.example.prompt, text, half, model.limit_tokens)
    ]
    a, b = model.platt[head]
    said = torch.sigmoid(a * logits(model, [ids for _, ids in windows], batch)[:, column] + b).tolist() if windows else []
    by_text: dict[int, list[float]] = {}
    for (i, _), p in zip(windows, said, strict=True):
        by_text.setdefault(i, []).append(p)
    for i, values in by_text.items():
        out[i] = max(values) if head.startswith("harm") else sum(values) / len(values)
    return out


@lru_cache(maxsize=8)
def _marks(tokenizer: Any) -> dict[str, int]:
    return {mark: i for mark, i in tokenizer.get_added_vocab().items() if mark.strip()}


@lru_cache(maxsize=16)
def _frame(tokenizer: Any, half: Half) -> tuple[list[int], list[int], list[int]]:
    """The marks before the prompt, between prompt and text, and after the text."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    if not tokenizer.chat_template:
        first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        mark = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        between = ids("\n") if mark is None else [mark]
        return [] if first is None else [first], between, between
    from primum.policy.template import CLOSE, OPEN, render

    before, _, after = render(tokenizer, "PROMPT").partition("PROMPT")
    opened = after.rstrip().endswith(OPEN)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    if half == "thought":
        return ids(before), ids(after if opened else f"{after}{OPEN}\n"), ids(f"\n{CLOSE}")
    return ids(before), ids(f"{after}\n{CLOSE}\n\n" if opened else after), end
