"""Rewards: signals, weighed per kind of prompt. Asked of whole rollouts; nan trains nothing."""

from primum.reward.compose import Sources, compose
from primum.reward.config import RewardConfig
from primum.reward.constraints import Constrained
from primum.reward.custom import custom, forgiving
from primum.reward.sources import build_reward, reward_source
from primum.reward.types import Reward, Rewards

__all__ = [
    "Constrained", "Reward", "RewardConfig", "Rewards", "Sources", "build_reward", "compose", "custom", "forgiving",
    "reward_source",
]  # fmt: skip
