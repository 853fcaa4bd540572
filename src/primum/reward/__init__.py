"""Rewards: signals, weighed per kind of prompt. Asked of whole rollouts; nan trains nothing."""

from primum.reward.compose import RewardConfig, Sources, compose, custom, forgiving
from primum.reward.sources import build_reward, reward_source
from primum.reward.types import Reward, Rewards

__all__ = [
    "Reward", "RewardConfig", "Rewards", "Sources", "build_reward", "compose", "custom", "forgiving", "reward_source",
]  # fmt: skip
