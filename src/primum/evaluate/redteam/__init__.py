"""The red team: a quality-diversity search for attacks, what it may have missed, and who may be scored on it."""

from primum.evaluate.redteam.archive import Archive, cell_table, confirm, coverage, finds, qd_score
from primum.evaluate.redteam.attack import Attack, Cell, Mutation, Seed, Space, StackSpace
from primum.evaluate.redteam.frozen import check_found_after, claim, frozen_at, replay
from primum.evaluate.redteam.search import SearchConfig, search
from primum.evaluate.redteam.target import Target, TargetConfig, Tried, check_judge, fingerprint
from primum.evaluate.redteam.text import read_seeds, text_space
from primum.evaluate.redteam.unseen import Unseen, audit, audited, unseen
from primum.evaluate.redteam.world import demonstrated, microworld_space

__all__ = [
    "Archive", "Attack", "Cell", "Mutation", "SearchConfig", "Seed", "Space", "StackSpace", "Target", "TargetConfig",
    "Tried", "Unseen", "audit", "audited", "cell_table", "check_found_after", "check_judge", "claim", "confirm",
    "coverage", "demonstrated", "finds", "fingerprint", "frozen_at", "microworld_space", "qd_score", "read_seeds",
    "replay", "search", "text_space", "unseen",
]  # fmt: skip
