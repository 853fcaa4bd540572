"""Evaluation: rollouts on a set of examples, judged by gold signals, summarised with intervals."""

from primum.evaluate.judge import Judge, JudgeConfig, build_judge
from primum.evaluate.measure import EvaluateConfig, Measured, measure, validation_summary
from primum.evaluate.summary import METRICS, paired, proxy_gold_gap, summarise

__all__ = [
    "METRICS", "EvaluateConfig", "Judge", "JudgeConfig", "Measured", "build_judge", "measure", "paired", "proxy_gold_gap",
    "summarise", "validation_summary",
]  # fmt: skip
