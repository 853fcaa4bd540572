"""Primum: make an open reasoning model harmless without making it useless, and prove it."""

from primum.types import BadInput, Corpus, Example, Rollout, Signal

__all__ = ["BadInput", "Corpus", "Example", "Rollout", "Signal"]
