"""The bench: a step of RL beside one of TRL's GRPOTrainer, the same work in turn, and whether both compute the same."""

from primum.bench.config import BenchConfig
from primum.bench.pairs import bench_rl
from primum.bench.show import bench_table

__all__ = ["BenchConfig", "bench_rl", "bench_table"]
