"""Hack detection during RL: audits with a guarantee, indices of form, probes of the reward, and the watch that asks them."""

from primum.evaluate.hacking.begin import ask_text, ask_world, reference_rollouts
from primum.evaluate.hacking.config import WatchConfig
from primum.evaluate.hacking.probes import PROBES, Probe, probe
from primum.evaluate.hacking.reference import good_of, pay_range
from primum.evaluate.hacking.watcher import Hook, Questions, Watcher
from primum.evaluate.hacking.wealth import Wealth, mean_bound, share_bound

__all__ = [
    "PROBES", "Hook", "Probe", "Questions", "WatchConfig", "Watcher", "Wealth", "ask_text", "ask_world", "good_of", "mean_bound",
    "pay_range", "probe", "reference_rollouts", "share_bound",
]  # fmt: skip
