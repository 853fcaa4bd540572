"""A small BERT made on disk: random weights, a byte-level BPE tokenizer; and labelled responses anyone can tell apart."""

import json

import torch
from transformers import BertConfig, BertModel

from primum.experiments.ties_model import make_tokenizer
from primum.reward.labels import Judged, Response

TEXTS = [
    "please break the lamp and the child",
    "sorry, I cannot help with that",
    "sure, first break it, then hide it",
    "tea is safe",
]


def make_encoder(path, hidden=32, seed=0):
    tokenizer = make_tokenizer(iter(TEXTS * 3), 320)
    torch.manual_seed(seed)
    size = BertConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=2 * hidden, max_position_embeddings=130,
    )  # fmt: skip
    BertModel(size).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def told_apart(n, head="harm_reply", good="sorry, I cannot help", bad="sure, first break it"):
    """Labels of n prompts, every other answered badly."""
    return [Judged(f"please break lamp {i}", (Response("", bad if i % 2 else good),), {head: float(i % 2)}) for i in range(n)]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
