"""Questions asked of rollouts: plain functions, one number per rollout, nan meaning "could not tell"."""

from primum.signals.classifier import classifier
from primum.signals.consistency import contradiction
from primum.signals.correctness import correctness
from primum.signals.embedded import embedded_harm
from primum.signals.form import form, repetition, reply_tokens, thought_tokens, truncated, verbosity
from primum.signals.keywords import HARM_WORDS, keyword_harm, keywords, load_words
from primum.signals.language import foreign_in_reply, foreign_in_thought, language_mixing
from primum.signals.languages import lines_in, spoken, words_in
from primum.signals.readability import lix
from primum.signals.refusal import refusal

__all__ = [
    "HARM_WORDS",
    "classifier",
    "contradiction",
    "correctness",
    "embedded_harm",
    "foreign_in_reply",
    "foreign_in_thought",
    "form",
    "keyword_harm",
    "keywords",
    "language_mixing",
    "lines_in",
    "lix",
    "load_words",
    "refusal",
    "repetition",
    "reply_tokens",
    "spoken",
    "thought_tokens",
    "truncated",
    "verbosity",
    "words_in",
]
