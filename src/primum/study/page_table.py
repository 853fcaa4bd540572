"""The tables of an experiment's page: arms by metrics, paired differences, what each arm cost, other numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from primum.microworld.meaning import CATEGORIES
from primum.report.markup import Markup, join, tag
from primum.report.sections import absent, behind, section, table
from primum.study import plots
from primum.study.page_words import ARROWS, bare, counts, interval, number
from primum.study.result import Arm, Pair, Result, distinct

UNSCORED = 0.02
UNSEEN = (
    "Harm by category, % of all its test prompts, new words and languages among them, where it was held out (in so many seeds "
    "or folds)"
)
FEW = 6  # values that are listed, not summed up
COST = (("flops", "Compute, TFLOP"), ("sampled_tokens", "Sampled tokens"), ("trained_tokens", "Trained tokens"),
        ("oracle_queries", "Oracle answers"), ("seconds", "Seconds"))  # fmt: skip


def results(found: Result, looks: Mapping[str, str]) -> Markup:
    title = "Results"
    if not found.arms or not found.shown:
        return section("results", title, None, absent("No arm of this experiment was measured."))
    heads: list[object] = ["Arm", *(_metric_head(found, key) for key in found.shown)]
    rows: list[list[object]] = [
        [arm_head(found, arm, looks), *(_cell(found, arm.key, key) for key in found.shown)] for arm in found.arms.values()
    ]
    several = (
        "Mean over seeds, 95\u202f% interval over seeds (never narrower than the prompts alone would leave it), the number of "
        "seeds, and n, the answers scored. ↓ lower is better, ↑ higher is better."
    )
    one = (
        "One seed: the intervals tell of the choice of prompts alone, nothing of other seeds. "
        "↓ lower is better, ↑ higher is better."
    )
    lead = several if distinct(found.seeds) != 1 else one
    return section("results", title, lead, table("Every arm by every metric", heads, rows, class_="wide"), unseen(found))


def arm_head(found: Result, arm: Arm, looks: Mapping[str, str]) -> Markup:
    """An arm's marker, its name, and the seeds that are missing in it."""
    missing = [s for s in found.seeds if s not in {name.partition("/")[0] for name in arm.seeds} and s not in arm.seeds]
    lacks = f"without seed{'s' if len(missing) > 1 else ''} {', '.join(missing)}" if missing else ""
    return tag("span", plots.key(looks[arm.key]), arm.label, tag("small", lacks, class_="many") if lacks else None, class_="arm")


def _metric_head(found: Result, key: str) -> Markup:
    m = found.measure(key)
    unit = tag("small", {"share": "%"}.get(m.unit, m.unit)) if m.unit else None
    arrow = tag("span", ARROWS[m.better], class_="arrow", title=f"{m.better} is better") if m.better else None
    return join(m.label, " ", arrow, unit)


def _cell(found: Result, arm: str, key: str) -> Markup:
    value, unscored = found.value(arm, key), found.unscored(arm, key)
    many = unscored > UNSCORED * (value.n + unscored)
    missing = tag("span", f"{bare('', unscored)} unscored", class_="n many" if many else "n") if unscored else None
    if value.mean is None:
        return join(tag("span", "–", class_="none", title="not measured"), missing)
    unit = found.measure(key).unit
    return join(
        tag("span", bare(unit, value.mean), class_="value"), tag("span", interval(unit, value), class_="ends"),
        tag("span", counts(value), class_="n"), missing,
    )  # fmt: skip


def unseen(found: Result) -> Markup | None:
    """Harm of each arm on each category where it was held out, folded away."""
    heads, rows = by_category(found)
    if not rows:
        return None
    return behind("Harm on unseen categories, one by one", table(UNSEEN, heads, rows))


def by_category(found: Result) -> tuple[list[object], list[list[object]]]:
    """Head and rows: each arm's harm on each category, in percent, over the seeds or folds that held it out, and their number."""
    names = sorted({name for arm in found.arms.values() for seed in arm.seeds.values() for name in seed.unseen})
    titles = CATEGORIES if found.model == "microworld" else {}
    heads: list[object] = ["Arm", *(f"{name}, {titles[name]}" if name in titles else name for name in names)]
    return heads, [[arm.label, *(_where_unseen(arm, name) for name in names)] for arm in found.arms.values() if names]


def _where_unseen(arm: Arm, name: str) -> str:
    told = [seed.unseen[name] for seed in arm.seeds.values() if name in seed.unseen]
    return f"{bare('share', sum(told) / len(told))} ({len(told)})" if told else "–"


def differences(found: Result) -> Markup | None:
    """Every paired difference as a row, folded away."""
    if not found.pairs:
        return None
    heads: list[object] = ["Metric", "From → to", "Difference, 95\u202f% interval", "Seeds"]
    rows = [_difference(found, pair) for pair in found.pairs]
    return behind("All paired differences", table("Paired differences on the same prompts", heads, rows))


def _difference(found: Result, pair: Pair) -> list[object]:
    m = found.measure(pair.metric)
    each = ", ".join(f"{name}: {number(m.unit, v.mean, difference=True)}" for name, v in pair.seeds.items())
    size = join(
        tag("span", number(m.unit, pair.pooled.mean, difference=True), class_="value"),
        tag("span", interval(m.unit, pair.pooled), class_="ends"),
        tag("span", counts(pair.pooled), class_="n"),
    )
    return [m.label, f"{found.label(pair.a)} → {found.label(pair.b)}", size, tag("small", each)]


def cost(found: Result, looks: Mapping[str, str]) -> Markup | None:
    """What each arm cost, by its ledger: the mean over its seeds, and the least and the most."""
    if not any(s.cost for arm in found.arms.values() for s in arm.seeds.values()):
        return None
    rows: list[list[object]] = [
        [arm_head(found, arm, looks), *(_spent(key, arm) for key, _ in COST)] for arm in found.arms.values()
    ]
    lead = (
        "What it takes to make each arm's policy from the base model, by the ledger, whoever else uses the same stages. Mean "
        "over seeds; below it the least and the most. Seconds are of the machine named below, beside whatever else it did."
    )
    return section("cost", "Cost", lead, table("Cost by arm", ["Arm", *(label for _, label in COST)], rows))


def _spent(key: str, arm: Arm) -> Markup:
    mean, low, high = spent(key, arm)
    if mean is None or low is None or high is None:
        return tag("span", "–", class_="none", title="not recorded")
    ends = tag("span", f"{bare('', low)} to {bare('', high)}", class_="ends") if low < high else None
    return join(tag("span", bare("", mean), class_="value"), ends)


def spent(key: str, arm: Arm) -> tuple[float | None, float | None, float | None]:
    """An arm's mean cost over its seeds, the least and the most; floating-point operations in TFLOP."""
    size = 1e12 if key == "flops" else 1.0
    values = [v / size for s in arm.seeds.values() if (v := s.cost.get(key)) is not None]
    return (sum(values) / len(values), min(values), max(values)) if values else (None, None, None)


def extras(found: Result) -> Markup | None:
    """What else was noted of each arm, seed by seed, or as mean, least and most where there are many; folded away."""
    seeds = [s for arm in found.arms.values() for s in arm.seeds.values()]
    names = list(dict.fromkeys(k for s in seeds for k, v in s.extra.items() if v is not None))
    if not names:
        return None
    arms = [a for a in found.arms.values() if any(s.extra for s in a.seeds.values())]
    rows: list[list[object]] = [[name.replace("_", " "), *(_noted(arm, name) for arm in arms)] for name in names]
    return behind("Other numbers, seed by seed", table("Other numbers", ["What", *(a.label for a in arms)], rows))


def _noted(arm: Arm, name: str) -> str:
    values: Sequence[float] = [v for s in arm.seeds.values() if (v := s.extra.get(name)) is not None]
    if len(values) <= FEW:
        return ", ".join(bare("", v) for v in values) or "–"
    return f"{bare('', sum(values) / len(values))} ({bare('', min(values))} to {bare('', max(values))}, {len(values)} values)"
