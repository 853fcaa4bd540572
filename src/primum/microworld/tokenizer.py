"""The micro-world's tokenizer and chat template, as ordinary Hugging Face artifacts."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from primum.microworld.documents import ASSISTANT, USER
from primum.microworld.language import vocabulary

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", USER, ASSISTANT)
# R1-style: the generation prompt opens the thought, and thoughts of earlier turns are dropped.
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'assistant' %} <|assistant|> {{ m.content.split('</think>')[-1].strip() }} {{ eos_token }}"
    "{% else %} <|user|> {{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} <|assistant|> <think> {% endif %}"
)


def speaks(tokenizer: Any) -> bool:
    """Whether a tokenizer is this one: it knows these words and no others."""
    return set(tokenizer.get_vocab()) == {*SPECIAL, "<think>", "</think>", *vocabulary()}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the vocabulary; decoding joins words with spaces."""
    words = [*SPECIAL, "<think>", "</think>", *vocabulary()]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([AddedToken(t, normalized=False, lstrip=True, rstrip=True) for t in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
        padding_side="left", clean_up_tokenization_spaces=False, model_max_length=256,
    )  # fmt: skip
    tokenizer.chat_template = TEMPLATE
    return tokenizer
