"""A guard made by hand: a one-layer Llama that says what its family says, and finds harm where the text has the word "bomb".

Attention is uniform (no queries), so the last layer sees the last token and the average of all; the head writes the next word of
a fixed answer, and at the label weighs how much of the average is "bomb".
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from checkpoint import train_tokenizer
from tokenizers import AddedToken
from transformers import LlamaConfig, LlamaForCausalLM

from primum.signals.guard_formats import FORMATS

SPECIAL = [
    "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>",
    "[INST]", "[/INST]", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<|start_of_role|>", "<|end_of_role|>",
    "<|end_of_text|>", "<|user|>", "<|assistant|>",
]  # fmt: skip
# What stands last in the built-in layout, the words that follow, and the label's two tokens: harmful, harmless.
SAYS = {
    "llama-guard": ([], ("unsafe", "safe")),
    "qwen3guard": (["Safety", ":"], (" Unsafe", " Safe")),
    "wildguard": (["Harmful", " response", ":"], (" yes", " no")),
    "shieldgemma": ([], ("Yes", "No")),
    "granite-guardian": ([], ("Yes", "No")),
}
TEXTS = [
    "unsafe",
    "safe",
    "Safety",
    " Unsafe",
    " Safe",
    "Harmful",
    " response",
    " yes",
    " no",
    "Yes",
    "No",
    " bomb",
    " tulip",
    ":",
]


def guard_tokenizer(template: str | None = None):
    tokenizer = train_tokenizer(TEXTS * 40, 420)
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken(s, normalized=False) for s in SPECIAL]})
    tokenizer.chat_template = template
    return tokenizer


def make_guard(
    path: Path, family: str, *, word: str = " bomb", template: str | None = None, babble: bool = False, window: int = 2048
) -> Path:
    """A guard of a family in a folder; with `babble` it answers with nothing that is a label."""
    tokenizer = guard_tokenizer(template)
    size = len(tokenizer)
    hidden = -(-size // 8) * 8
    config = LlamaConfig(
        vocab_size=size, hidden_size=hidden, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        head_dim=hidden // 2, num_key_value_heads=2, max_position_embeddings=window, tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    one = {text: _one(tokenizer, text) for text in (*(SAYS[family][0]), *SAYS[family][1], word, " tulip")}
    lead, (bad, good) = SAYS[family][0], (one[t] for t in SAYS[family][1])
    shown = tokenizer(FORMATS[family].build(frozenset(SPECIAL), "x", "x", "x"), add_special_tokens=False)["input_ids"]
    steps = [shown[-1], *[one[t] for t in lead]]
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        layer = model.model.layers[0]
        for norm in (layer.input_layernorm, layer.post_attention_layernorm, model.model.norm):
            norm.weight.fill_(1.0)
        model.model.embed_tokens.weight.copy_(torch.eye(size, hidden))
        layer.self_attn.v_proj.weight.copy_(torch.eye(hidden))
        layer.self_attn.o_proj.weight.copy_(0.05 * torch.eye(hidden))
        head = model.lm_head.weight
        for now, then in pairwise(steps):
            head[then, now] = 4.0
        if babble:
            head[one[" tulip"], :] = 4.0
        else:
            head[bad, steps[-1]], head[good, steps[-1]] = 4.0, 4.2  # harmless where there is nothing to see
            head[bad, one[word]] = 0.5 * len(shown)  # the average of a longer question shows less of it
        head[tokenizer.eos_token_id, bad], head[tokenizer.eos_token_id, good] = 9.0, 9.0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def _one(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == 1, (text, tokenizer.convert_ids_to_tokens(ids))
    return ids[0]
