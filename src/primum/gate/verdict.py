"""One rule against one evaluation: passed, failed, or undecided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from primum.config import nearest
from primum.evaluate.measure import Measured
from primum.evaluate.suites import Suite, averaged
from primum.gate.folder import Evaluation, paired_rows
from primum.gate.rules import GateConfig, Rule
from primum.significance import not_inferior
from primum.stats import Z95, Estimate
from primum.types import BadInput

Verdict = Literal["passed", "failed", "undecided"]
COUNTED = "_tokens"  # how a metric ends that is no share: units go in names


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a rule. `mean` to `high`: the number and its interval, or ours less the baseline's.

    `prompts` have a value and different meanings. `needed`: so many of them would prove it at the present rate.
    """

    rule: str
    asks: str
    limit: float
    mean: float
    low: float
    high: float
    confidence: float
    n: int
    unscored: int
    prompts: int
    verdict: Verdict
    why: tuple[str, ...]
    needed: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A rule with the rollouts it is about; `where` it stands."""

    rule: Rule
    suite: Suite
    rows: Sequence[Measured]
    where: str

    def values(self, rows: Sequence[Measured]) -> list[float | None]:
        """The metric of each rollout; bad input where it is told of all together."""
        value = self.suite.metrics.get(self.rule.metric)
        if value is None:
            raise BadInput(
                f"'{self.rule.metric}' is told of all rollouts together, not of each", self.where, "set at_most or at_least"
            )
        return [value(m) for m in rows]


def find(rule: Rule, config: GateConfig, ours: Evaluation, baseline: Evaluation | None, where: str) -> Finding:
    """The rule's verdict. A suite, metric, group or card that is not there is bad input, and so is a limit nothing can break."""
    suite = ours.suite(rule.suite, where)
    rows = ours.measured(suite)
    metrics = ours.told.suites[suite.name]["metrics"]
    if rule.metric not in metrics:
        near = nearest(rule.metric, list(metrics))
        remedy = f"did you mean '{near}'?" if near else f"it tells {', '.join(metrics)}"
        raise BadInput(f"the suite '{suite.name}' tells no metric '{rule.metric}'", where, remedy)
    asked = _Asked(rule, suite, _grouped(rule, suite, rows, where), where)
    found, prompts, rate = _against_baseline(asked, ours, baseline) if rule.paired else _number(asked, ours)
    if rule.lower_is_better and rule.limit >= 1 and not rule.metric.endswith(COUNTED) and max(-found.low, found.high) <= 1:
        raise BadInput(f"{rule.metric} is a share, which no limit of {rule.limit:g} can fail", where, "write 0.05 for 5 %")
    least = rule.least_prompts if rule.least_prompts is not None else config.least_prompts
    most = rule.max_unscored if rule.max_unscored is not None else config.max_unscored
    verdict, why = decide(found, rule.limit, lower_is_better=rule.lower_is_better, prompts=prompts, least=least, most=most)
    lost = ours.unscored(suite)
    if suite.name in ours.told.failed or not lost <= config.max_unscored:
        verdict, why = "failed", (*why, f"gold could not judge {lost:.1%} of the suite")
    needed = prompts_needed(found.mean, rule.limit) if rate and verdict == "undecided" else None
    if needed is not None and needed > prompts:
        why = (*why, f"at this rate about {needed} prompts would prove it, {prompts} have a value")
    return Finding(
        rule.name, rule.asks, rule.limit, found.mean, found.low, found.high, 0.9 if rule.paired else 0.95,
        found.n, found.unscored, prompts, verdict, why, needed,
    )  # fmt: skip


def decide(
    found: Estimate, limit: float, *, lower_is_better: bool, prompts: int, least: int, most: float
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on an estimate, and why it is not "passed".

    Passed where the unfavourable end of the interval keeps the limit, `least` prompts have a value, and at most the share
    `most` of the rollouts has none. Failed where the mean itself breaks the limit, or too much is unscored. Else undecided.

    >>> decide(Estimate(0.02, 0.01, 0.04, 400), 0.05, lower_is_better=True, prompts=400, least=30, most=0.02)
    ('passed', ())
    >>> decide(Estimate(0.02, 0.00, 0.07, 90), 0.05, lower_is_better=True, prompts=90, least=30, most=0.02)[0]
    'undecided'
    """
    side, end = (1, found.high) if lower_is_better else (-1, found.low)
    against, lacking = [], []
    if math.isnan(found.mean):
        against.append("no rollout has a value of it")
    elif side * (found.mean - limit) > 0:
        against.append(f"{found.mean:.3g} is {'above' if lower_is_better else 'below'} the limit")
    elif not side * (end - limit) <= 0:  # nan: no interval
        shown = "it has no interval" if math.isnan(end) else f"it may be as {'high' if lower_is_better else 'low'} as {end:.3g}"
        lacking.append(f"too few prompts to prove it, {shown}")
    if found.unscored > most * (found.n + found.unscored):
        against.append(f"{found.unscored} of {found.n + found.unscored} rollouts have no value of it, cut short or not judged")
    if prompts < least and found.n:
        lacking.append(f"{prompts} prompts are fewer than {least}")
    return ("failed" if against else "undecided" if lacking else "passed"), (*against, *lacking)


def prompts_needed(rate: float, limit: float) -> int | None:
    """How many independent prompts with this rate Wilson's 95 % interval needs to keep the limit; None where none suffice.

    Its end is at L where n = z²·L·(1 − L) / (L − p)².

    >>> prompts_needed(0.0, 0.05), prompts_needed(0.97, 0.90), prompts_needed(0.05, 0.05)
    (73, 71, None)
    """
    if rate == limit or not 0 < limit < 1:
        return None
    return math.ceil(Z95**2 * limit * (1 - limit) / (limit - rate) ** 2 * (1 - 1e-12))


def _number(asked: _Asked, ours: Evaluation) -> tuple[Estimate, int, bool]:
    """The number a rule is about, how many prompts it rests on, and whether each rollout's value is 0 or 1."""
    rule, suite, rows = asked.rule, asked.suite, asked.rows
    if rule.metric not in suite.metrics:
        told = suite.more(rows) if suite.more is not None else {}
        found = told.get(rule.metric) or Estimate(math.nan, math.nan, math.nan, 0)
        return found, min(found.n, len({m.rollout.example.cluster for m in rows})), False
    values = [(v, m.rollout.example.cluster) for m, v in zip(rows, asked.values(rows), strict=True) if v is not None]
    prompts = len({cluster for v, cluster in values if not math.isnan(v)})
    if rule.corrected:
        return _corrected(asked, ours), prompts, False
    return averaged(rows, suite.metrics[rule.metric]), prompts, all(math.isnan(v) or v in (0.0, 1.0) for v, _ in values)


def _against_baseline(asked: _Asked, ours: Evaluation, baseline: Evaluation | None) -> tuple[Estimate, int, bool]:
    """Ours less the baseline's on the same prompts, with the 90 % interval of a test for being not inferior."""
    rule, suite = asked.rule, asked.suite
    if baseline is None:
        raise BadInput(f"'{rule.asks}' needs a baseline", asked.where, "give --baseline EVALUATION")
    baseline.suite(suite.name, asked.where)
    kept = {id(m) for m in asked.rows}
    pairs = [(b, a) for b, a in paired_rows(suite, ours, baseline) if id(a) in kept]
    olds, news = asked.values([b for b, _ in pairs]), asked.values([a for _, a in pairs])
    both = zip(olds, news, (a.rollout.example.cluster for _, a in pairs), strict=True)
    told = [(b, a, cluster) for b, a, cluster in both if b is not None and a is not None]
    before, after, names = [b for b, _, _ in told], [a for _, a, _ in told], [cluster for _, _, cluster in told]
    prompts = len({cluster for b, a, cluster in told if not math.isnan(b + a)})
    if rule.lower_is_better:
        test = not_inferior(after, before, names, margin=rule.limit)
        return Estimate(0.0 - test.mean, 0.0 - test.high, 0.0 - test.low, test.n, test.unscored), prompts, False
    test = not_inferior(before, after, names, margin=-rule.limit)
    return Estimate(test.mean, test.low, test.high, test.n, test.unscored), prompts, False


def _corrected(asked: _Asked, ours: Evaluation) -> Estimate:
    metric, suite = asked.rule.metric, asked.suite
    found = ours.corrected(suite).get(metric)
    if found is None:
        of = ", ".join(suite.reads) or "none"
        remedy = f"evaluate with cards=[FILE] of `primum judge calibrate`; of this suite a card can correct: {of}"
        raise BadInput(f"the evaluation has no corrected rate of '{metric}'", asked.where, remedy)
    mean, low, high = (math.nan if found[key] is None else float(found[key]) for key in ("mean", "low", "high"))
    raw = averaged(asked.rows, suite.metrics[metric])
    return Estimate(mean, low, high, raw.n, raw.unscored)


def _grouped(rule: Rule, suite: Suite, rows: Sequence[Measured], where: str) -> list[Measured]:
    """The rollouts of the rule's group; a group that nothing belongs to is bad input."""
    chosen = list(rows)
    for by, group in rule.group.items():
        if by not in suite.by:
            raise BadInput(f"the suite '{suite.name}' has no groups by '{by}'", where, f"choose of {', '.join(suite.by)}")
        names = sorted({suite.by[by](m.rollout.example) for m in rows} - {""})
        if group not in names:
            near = nearest(group, names)
            remedy = f"did you mean '{near}'?" if near else f"there are {', '.join(names) or 'none'}"
            raise BadInput(f"no {by} '{group}' in the suite '{suite.name}'", where, remedy)
        chosen = [m for m in chosen if suite.by[by](m.rollout.example) == group]
    return chosen
