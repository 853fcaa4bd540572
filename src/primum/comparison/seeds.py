"""Several seeds of an arm: each seed's means, their interquartile mean, and whether the luck of training explains the gap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from primum.comparison.arms import Arm
from primum.comparison.metrics import AIMS, better
from primum.comparison.pairs import shared
from primum.evaluate.suites import SUITES
from primum.intervals import iqm
from primum.significance import sign_flip
from primum.stats import mean


def over_seeds(arms: Sequence[Arm], baseline: Arm) -> dict[str, Any]:
    """For each arm of several seeds: the means seed by seed, the IQM, and the test over seeds against the baseline."""
    return {arm.name: _told(arm, baseline) for arm in arms if len(arm.seeds) > 1}


def _told(arm: Arm, baseline: Arm) -> dict[str, Any]:
    means = {(suite, metric): _means(arm, suite, metric) for suite, metric in AIMS if any(suite in s.rows for s in arm.seeds)}
    good = [[1 - m if better(*key) == "lower" else m for m in values] for key, values in means.items()]
    return {
        "seeds": len(arm.seeds),
        "means": [{"suite": s, "metric": m, "values": values} for (s, m), values in means.items()],
        "iqm": iqm(good, together=True).to_json() if good else None,
        "across": [] if arm is baseline else across(baseline, arm),
    }


def _means(arm: Arm, suite: str, metric: str) -> list[float]:
    value = SUITES[suite].metrics[metric]
    return [mean(v for m in seed.rows.get(suite, ()) if (v := value(m)) is not None) for seed in arm.seeds]


def across(a: Arm, b: Arm) -> list[dict[str, Any]]:
    """Sign flips of whole seeds: each seed's mean difference on the prompts it shares with a's seed, or with a's only one.

    Nothing where the arms have several seeds and not equally many: no seed is then another's partner.
    """
    if len(a.seeds) not in (1, len(b.seeds)):
        return []
    others = a.seeds * len(b.seeds) if len(a.seeds) == 1 else a.seeds
    found = []
    for suite, metric in AIMS:
        value = SUITES[suite].metrics[metric]
        gaps = []
        for before, after in zip(others, b.seeds, strict=True):
            pairs = shared(Arm(a.name, (before,)), Arm(b.name, (after,)), suite).pairs
            both = [(x, y) for m, n in pairs if (x := value(m)) is not None and (y := value(n)) is not None]
            gaps.append(mean(y - x for x, y in both))
        if any(not math.isnan(gap) for gap in gaps):
            test = sign_flip([0.0] * len(gaps), gaps, [str(i) for i in range(len(gaps))])
            found.append({"suite": suite, "metric": metric, "difference": test.difference, "p": test.p, "seeds": test.n})
    return found
