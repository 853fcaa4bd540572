"""A small Qwen3-shaped checkpoint with a byte-level BPE tokenizer and an R1-style chat template.

python tests/checkpoint.py PATH [TEXT_FILE ...]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

BEGIN, END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
# Qwen2's and Qwen3's pre-tokenizer.
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# As in the stock R1-Distill template: the generation prompt opens the thought, and every
# assistant turn loses what stands before </think>.
TEMPLATE = """\
{%- set ns = namespace(system='') -%}
{%- for message in messages if message['role'] == 'system' -%}{%- set ns.system = message['content'] -%}{%- endfor -%}
{{- bos_token + ns.system -}}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{{- '<｜User｜>' + message['content'] -}}
{%- elif message['role'] == 'assistant' -%}
{{- '<｜Assistant｜>' + message['content'].split('</think>')[-1] + eos_token -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<｜Assistant｜><think>\\n' -}}{%- endif -%}"""


def make_checkpoint(
    path: Path | str, texts: Iterable[str], *, vocab: int = 4000, hidden: int = 192, layers: int = 6, seed: int = 0
) -> Path:
    """A Hugging Face folder of about 5 M untrained parameters (at the defaults); equal arguments give equal files."""
    tokenizer = train_tokenizer(texts, vocab)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 32, num_key_value_heads=max(1, hidden // 64), head_dim=32, max_position_embeddings=4096,
        tie_word_embeddings=False, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return Path(path)


def make_adapter(base: Path, path: Path, *, deviation: float, seed: int = 0) -> tuple[Path, Path]:
    """A PEFT adapter of `base` whose random weights do something, and a folder beside it of the whole model with it merged in."""
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=deviation)
    adapted.save_pretrained(path)
    whole = path.with_name(f"{path.name}-merged")
    adapted.merge_and_unload().save_pretrained(whole)
    AutoTokenizer.from_pretrained(base).save_pretrained(whole)
    return path, whole


def train_tokenizer(texts: Iterable[str], vocab: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocab` tokens, learnt from the texts."""
    bpe = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(pattern=Regex(WORDS), behavior="isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    # Turn and thought marks are ordinary added tokens there: decoding keeps them.
    marks = [
        AddedToken(mark, special=False, normalized=False) for mark in ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")
    ]
    ends = [AddedToken(mark, special=True, normalized=False) for mark in (BEGIN, END)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    room = vocab - len(marks) - len(ends)
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=room, initial_alphabet=alphabet, show_progress=False))
    bpe.add_special_tokens(ends)
    bpe.add_tokens(marks)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=BEGIN, eos_token=END, pad_token=END, model_max_length=4096
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def main(arguments: list[str]) -> None:
    if not arguments:
        sys.exit(__doc__)
    root = Path(__file__).parents[1]
    files = [Path(a) for a in arguments[1:]] or sorted(
        [*root.glob("*.md"), *root.rglob("docs/**/*.md"), *root.glob("src/**/*.py")]
    )
    path = make_checkpoint(arguments[0], (f.read_text(encoding="utf-8") for f in files))
    size = sum(f.stat().st_size for f in path.iterdir())
    print(f"{path}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
