"""The work that both engines do: the model, the prompts and the reward, made alike in each process."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from primum.bench.config import OWN, SIZES, BenchConfig, Shape
from primum.policy import Policy, load
from primum.policy.model import context_limit
from primum.policy.template import prompt_ids
from primum.types import BadInput, Example

# Random weights never stop by themselves: with this share of the vocabulary ending a completion, lengths spread as
# those of trained models do, about 30 tokens of 64 on average.
STOP_SHARE = 1 / 40
SHORTEST, LONGEST = 40, 160  # words of a prompt
# The prompt is all that is read: TRL gets the same text without a template.
BARE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def make_policy(config: BenchConfig, size: str) -> Policy:
    """The model to train, equal in every process: of random weights, or from the folder of one's own."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if size == OWN:
        return load(config.model, device=device, dtype="float32")
    shape = SIZES[size]
    return Policy(random_model(shape, config.seed).to(device).eval(), word_tokenizer(shape.vocab), size)


def random_model(shape: Shape, seed: int) -> Any:
    stop = [1, *range(4, 4 + round(shape.vocab * STOP_SHARE))]
    heads = shape.hidden // 32
    config = Qwen3Config(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=3 * shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=heads, num_key_value_heads=heads, head_dim=32, max_position_embeddings=512,
        pad_token_id=0, eos_token_id=stop, bos_token_id=2, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = stop
    return model


def word_tokenizer(vocab: int) -> PreTrainedTokenizerFast:
    words = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"w{i}" for i in range(vocab - 4))]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>", padding_side="left"
    )
    tokenizer.chat_template = BARE
    return tokenizer


def make_prompts(config: BenchConfig, size: str, policy: Policy, repeat: int) -> list[Example]:
    """The prompts of every step, the step that is not timed included, of 40 to 160 random words."""
    draw = random.Random(config.seed + repeat)
    if size == OWN:
        words = known_words(policy.tokenizer)
        texts = [" ".join(draw.choice(words) for _ in range(draw.randint(SHORTEST, LONGEST))) for _ in range(_count(config))]
    else:
        vocab = SIZES[size].vocab
        texts = [
            " ".join(f"w{draw.randrange(vocab // 2, vocab - 4)}" for _ in range(draw.randint(SHORTEST, LONGEST)))
            for _ in range(_count(config))
        ]
    examples = [Example(str(i), text, "benign") for i, text in enumerate(texts)]
    longest, most = max(len(prompt_ids(policy, e)) for e in examples), context_limit(policy.model)
    if longest + config.cap > most:
        what = f"a prompt of {longest} tokens and {config.cap} more do not fit into the model's {most}"
        raise BadInput(what, config.model or size, "lower cap, or take a model with a longer context")
    return examples


def known_words(tokenizer: Any) -> list[str]:
    """The plain words that are one token, as far as the vocabulary marks where a word begins; else all that are letters."""
    added = set(tokenizer.added_tokens_decoder)
    tokens = [token for token, i in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1]) if i not in added]
    for pattern in (r"[Ġ▁]([A-Za-z]+)", r"(\w+)"):
        words = [found[1] for token in tokens if (found := re.fullmatch(pattern, token))]
        if len(words) >= 8:
            return words
    raise BadInput("its vocabulary holds no words", "model", "choose another model")


def reward(completion: Sequence[int]) -> float:
    """How many of a completion's token ids are divisible by 7: cheap, and not the same for all siblings."""
    return float(sum(token % 7 == 0 for token in completion))


def _count(config: BenchConfig) -> int:
    return config.prompts * (config.steps + 1)


def parameters(policy: Policy) -> int:
    return sum(p.numel() for p in policy.model.parameters())


def now(policy: Policy) -> float:
    """Seconds on the clock, when everything asked of the GPU is done."""
    if policy.device.type == "cuda":
        torch.cuda.synchronize(policy.device)
    return time.perf_counter()
