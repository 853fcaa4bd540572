"""Models side by side: paired differences that may be claimed, trade-offs, and every sample on one page. docs/compare.md"""

from primum.comparison.arms import Arm, Evaluated, arms_of_runs, named, read_evaluation
from primum.comparison.compare import compare
from primum.comparison.page import write, write_page
from primum.comparison.words import markdown, paired_table, seeds_words

__all__ = [
    "Arm", "Evaluated", "arms_of_runs", "compare", "markdown", "named", "paired_table", "read_evaluation", "seeds_words", "write",
    "write_page",
]  # fmt: skip
