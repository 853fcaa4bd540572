"""Reinforcement learning on one machine: sample, reward, compare siblings, update, and keep what validates best."""

from primum.reinforce.config import ReinforceConfig
from primum.reinforce.loop import reinforce
from primum.reinforce.watch import Watch

__all__ = ["ReinforceConfig", "Watch", "reinforce"]
