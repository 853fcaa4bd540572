"""The whole comparison as one plain record: every arm's numbers, the paired differences, seeds, trade-offs and cautions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from primum.comparison.alike import cautions
from primum.comparison.arms import Arm, Evaluated
from primum.comparison.pairs import ALPHA, differences, judged
from primum.comparison.pareto import tradeoff
from primum.comparison.seeds import over_seeds
from primum.config import nearest
from primum.evaluate.measure import Measured
from primum.evaluate.suites import SUITES, averaged
from primum.run import environment, plain
from primum.types import BadInput


def compare(arms: Sequence[Arm], *, baseline: str = "", margin: float = 0.02, allow_judges: bool = False) -> dict[str, Any]:
    """Each other arm against the baseline (the first, where none is named); one arm alone is only told of."""
    if not 0 < margin < 1:
        raise BadInput(
            f"a margin of {margin:g}",
            "--margin",
            "give the largest loss that would not matter as a share, such as 0.02 for 2 points",
        )
    base = _baseline(arms, baseline)
    warned = cautions(arms, allow_judges=allow_judges)
    rows = judged([row for arm in arms if arm is not base for row in differences(base, arm, margin=margin)])
    told = {arm.name: _told(arm) for arm in arms}
    found = {
        "arms": told, "baseline": base.name, "margin": margin, "alpha": ALPHA,
        "family": sum(row.claimed and row.p == row.p for row in rows), "pairs": rows, "seeds": over_seeds(arms, base),
        "tradeoff": tradeoff(told), "cards": _cards(arms), "cautions": [*warned, *_left_out(rows)], "environment": environment(),
    }  # fmt: skip
    return dict(plain(found))


def _baseline(arms: Sequence[Arm], name: str) -> Arm:
    names = [arm.name for arm in arms]
    if name and name not in names:
        near = nearest(name, names)
        remedy = f"did you mean '{near}'?" if near else f"choose among {', '.join(names)}"
        raise BadInput(f"no arm '{name}'", "--baseline", remedy)
    return arms[names.index(name)] if name else arms[0]


def _told(arm: Arm) -> dict[str, Any]:
    suites = list(dict.fromkeys(name for seed in arm.seeds for name in seed.rows))
    return {
        "seeds": [{n: getattr(s, n) for n in ("model", "path", "weights", "data", "judge", "sampling")} for s in arm.seeds],
        "suites": {name: _suite(arm, name) for name in suites},
    }  # fmt: skip


def _suite(arm: Arm, name: str) -> dict[str, Any]:
    suite, rows = SUITES[name], arm.rows(name)
    metrics = {metric: averaged(rows, value).to_json() for metric, value in suite.metrics.items()}
    if suite.more is not None and rows and len(arm.seeds) == 1:  # it would take seeds for samples of one model
        metrics |= {metric: value.to_json() for metric, value in suite.more(rows).items()}
    first = next(iter(suite.metrics))
    groups: defaultdict[str, list[Measured]] = defaultdict(list)
    for seed in arm.seeds:
        for m in seed.rows.get(name, ()):
            groups[category(m, seed)].append(m)
    told = {key: averaged(found, suite.metrics[first]).to_json() for key, found in sorted(groups.items()) if key}
    return {
        "prompts": len({m.rollout.example.id for m in rows}), "rollouts": len(rows), "metrics": metrics,
        "by_category": told if len(told) > 1 else {},
        "corrected": arm.seeds[0].corrected.get(name, {}) if len(arm.seeds) == 1 else {},
    }  # fmt: skip


def category(measured: Measured, seed: Evaluated) -> str:
    """The category, with its role where the run noted one."""
    name = measured.rollout.example.category
    role = seed.roles.get(name, "")
    return f"{name} ({role})" if role and measured.rollout.example.kind == "harmful" else name


def _cards(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Each judge's card once."""
    found = {card["digest"]: dict(card) for arm in arms for seed in arm.seeds for card in seed.cards}
    return list(found.values())


def _left_out(rows: Sequence[Any]) -> list[str]:
    found = dict.fromkeys(
        f"{row.suite}: {row.left_out[0]} rollouts of {row.a} and {row.left_out[1]} of {row.b} have no counterpart"
        for row in rows
        if any(row.left_out)
    )
    return list(found)
