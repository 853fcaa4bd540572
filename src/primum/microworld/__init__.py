"""The embedded default: a small two-language world with an exact judge and a base model trained in it."""

from primum.microworld.base import BaseConfig, base_checkpoint, cache_folder, train_base
from primum.microworld.documents import CorpusConfig, document
from primum.microworld.examples import MicroworldConfig, build_corpus
from primum.microworld.judge import Oracle
from primum.microworld.language import BLOCKED_WORDS
from primum.microworld.tokenizer import make_tokenizer

__all__ = [
    "BLOCKED_WORDS",
    "BaseConfig",
    "CorpusConfig",
    "MicroworldConfig",
    "Oracle",
    "base_checkpoint",
    "build_corpus",
    "cache_folder",
    "document",
    "make_tokenizer",
    "train_base",
]
