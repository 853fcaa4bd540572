"""A two-layer policy with random weights, a word-level tokenizer and an R1-style template, made in milliseconds."""

from itertools import pairwise

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from primum.policy import Policy

R1_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'user' %}<user> {{ m.content }} "
    "{% else %}<assistant> {{ m.content.split('</think>')[-1] }} {{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant> <think>\n{% endif %}"
)
PLAIN_TEMPLATE = R1_TEMPLATE.replace("<assistant> <think>\n", "<assistant>")
SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>", "<user>", "<assistant>"]
_WORDS = """
how do i to the a is it what can you no not yes sorry cannot help with that because safe harm bad good make break hide watch
take lamp diary child dog stone door bread tea bomb poison fire asked drill night so then step one two three four plus minus
times equals answer = + - * -> . ? , : ; 0 1 2 3 4 5 6 7 8 9
是 不 可以 抱歉 打破 灯 孩子 石头 安全 危险 答案 一 二 三 加 减 等于 帮助 不能 茶
"""
WORDS = _WORDS.split()


def tiny_tokenizer(template: str = R1_TEMPLATE) -> PreTrainedTokenizerFast:
    """Word-level, split at white space; the think tags are ordinary added tokens."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=["<user>", "<assistant>"], clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    tokenizer.chat_template = template
    return tokenizer


def tiny_policy(seed: int = 0, *, layers: int = 2, hidden: int = 64, template: str = R1_TEMPLATE) -> Policy:
    """Random weights drawn from `seed`; about 0.1 M parameters."""
    tokenizer = tiny_tokenizer(template)
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    torch.random.set_rng_state(state)
    return Policy(model, tokenizer, f"tiny-{seed}")


def talkative(share_of_stops):
    """A tiny policy that ends after any of its first words, so that siblings leave at different times."""
    policy = tiny_policy()
    policy.model.generation_config.eos_token_id = list(range(2, 2 + int(share_of_stops * policy.model.config.vocab_size)))
    return policy


def chain(*words, template=R1_TEMPLATE):
    """A policy whose next word is the one after the last in `words`, which may come round again."""
    policy = tiny_policy(hidden=128, template=template)
    with torch.no_grad():
        for layer in policy.model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        policy.model.model.embed_tokens.weight.copy_(torch.eye(policy.model.config.vocab_size, 128))
        policy.model.lm_head.weight.zero_()
        for now, then in pairwise(policy.tokenizer.convert_tokens_to_ids(list(words))):
            policy.model.lm_head.weight[then, now] = 40
    return policy
