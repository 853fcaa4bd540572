"""Data curation: sources → corpus, with duplicates and contamination out, whole harms held out, and demonstrations made."""

from primum.curate.corpus import CurateConfig, curate, load_corpus, read_examples
from primum.curate.mapping import Source

__all__ = ["CurateConfig", "Source", "curate", "load_corpus", "read_examples"]
