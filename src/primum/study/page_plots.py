"""The plots of an experiment's page: along training, arms against each other, seeds in pairs; each says its n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from primum.report.markup import Markup, tag
from primum.report.sections import behind, figure, section
from primum.study import plots, plots_pairs
from primum.study.page_table import differences
from primum.study.page_words import AXIS, bare, full, seeds_words
from primum.study.plots import Series, Spot
from primum.study.result import Curve, Estimate, Measure, Pair, Result

SHADED = 4  # arms up to which a plot of all of them has bands
FIRST = 8  # paired panels shown before the others are folded away
PAIR_AXIS = AXIS | {"share": "% of answers"}


def legend(found: Result, looks: Mapping[str, str]) -> Markup:
    items = [(plots.key(looks[a.key]), a.label, a.about) for a in found.arms.values()]
    return plots_pairs.legend(items)


def curves(found: Result, looks: Mapping[str, str]) -> Markup | None:
    drawn = [figures for c in found.curves if (figures := _curve(found, c, looks))]
    if not drawn:
        return None
    parts: list[Markup] = []
    wide = [figures[0] for figures in drawn]
    folded = [f for figures in drawn for f in figures[1:]]
    parts.append(tag("div", *wide, class_="grid two"))
    if folded:
        parts.append(behind("Each arm by itself, with its band over seeds", tag("div", *folded, class_="arms-alone")))
    lead = "The mean over seeds, as far as every seed goes; a band reaches from the lowest seed to the highest."
    return section("curves", "Along training", lead, *parts)


def _curve(found: Result, curve: Curve, looks: Mapping[str, str]) -> list[Markup]:
    """The plot of all arms, and where they are many a group of plots of each arm by itself."""
    series = _series(found, curve, looks)
    if not series:
        return []
    title = curve.title or curve.y
    whole = _bands(title, curve, series, None)
    out = [figure(title, _of(curve, list(series)), whole)]
    if len(series) <= SHADED:
        return out
    alone = [figure(s.label, _of(curve, [arm]), _bands(f"{title}, {s.label}", curve, series, s)) for arm, s in series.items()]
    return [*out, tag("div", tag("h3", title), tag("div", *alone, class_="grid"))]


def _bands(title: str, curve: Curve, series: Mapping[str, Series], front: Series | None) -> Markup:
    most = 100.0 if curve.unit == "share" else None
    y_label, shaded = _axis(curve.y, curve.unit), front is not None or len(series) <= SHADED
    return plots.bands(title, list(series.values()), curve.x, y_label, most=most, shaded=shaded, front=front)


def _series(found: Result, curve: Curve, looks: Mapping[str, str]) -> dict[str, Series]:
    """The lines of each arm that has a point."""
    every = plots.looks(dict.fromkeys([*looks, *curve.arms]))
    return {
        arm: Series(found.label(arm), looks.get(arm, every[arm]), [_scaled(curve, points) for points in seeds.values()])
        for arm, seeds in curve.arms.items()
        if any(plots.known(points) for points in seeds.values())
    }


def _scaled(curve: Curve, points: Sequence[plots.Point]) -> list[plots.Point]:
    return [(x, None if y is None else 100 * y) for x, y in points] if curve.unit == "share" else list(points)


def _axis(label: str, unit: str) -> str:
    """An axis' title with its unit, which is not said twice."""
    said = AXIS.get(unit, unit)
    return f"{label}, {said}" if said and said not in label else label


def _of(curve: Curve, arms: Sequence[str]) -> str:
    """n: the seeds of these arms, and the prompts behind a point where they are told."""
    held = [[s for s, points in curve.arms[arm].items() if plots.known(points)] for arm in arms]
    few, many = seeds_words(min(held, key=len)), seeds_words(max(held, key=len))
    return f"n {few if few == many else f'{few} to {many}'}" + (f" × {bare('', curve.n)} prompts" if curve.n else "")


def tradeoff(found: Result, looks: Mapping[str, str]) -> Markup | None:
    if found.pareto is None:
        return None
    x, y = (found.measure(key) for key in found.pareto)
    spots, counted = [], []
    for arm in found.arms.values():
        both = found.value(arm.key, x.key), found.value(arm.key, y.key)
        spot = _spot(found, arm.key, looks[arm.key], (x, y), both)
        if spot is not None:
            spots.append(spot)
            counted.append(both)
    if not spots:
        return None
    limits = tuple(100.0 if m.unit == "share" else None for m in (x, y))
    title = f"{y.label} against {x.label}"
    plot = plots_pairs.scatter(
        title, spots, _axis(x.label, x.unit), _axis(y.label, y.unit), better=(x.better, y.better), most=(limits[0], limits[1])
    )
    across, up = ([both[i] for both in counted] for i in (0, 1))
    seeds = [v.seeds for v in across]
    note = f"{_span(seeds)} seed{'' if max(seeds) == 1 else 's'}; n {_span([v.n for v in across])}, {_span([v.n for v in up])}"
    names = plots_pairs.legend([(plots.key(s.look), s.label, "") for s in spots])
    lead = (
        "Each arm is one point, with 95\u202f% intervals over seeds; the small dots are its seeds. A dotted line joins the arms "
        "that no other beats on both axes, by means alone. In the caption n is of the horizontal axis, then of the vertical."
    )
    return section("tradeoff", "Trade-off", lead, tag("div", figure(title, note, plot), class_="grid one"), names)


def _spot(
    found: Result, arm: str, look: str, axes: tuple[Measure, Measure], both: tuple[Estimate, Estimate]
) -> Spot | None:  # fmt: skip
    if both[0].mean is None or both[1].mean is None:
        return None
    sizes = [100.0 if m.unit == "share" else 1.0 for m in axes]
    bars = [None if v.low is None or v.high is None else (s * v.low, s * v.high) for v, s in zip(both, sizes, strict=True)]
    seeds = []
    for seed in found.arms[arm].seeds.values():
        at = [seed.metrics.get(m.key, Estimate()).mean for m in axes]
        if at[0] is not None and at[1] is not None:
            seeds.append((sizes[0] * at[0], sizes[1] * at[1]))
    return Spot(found.label(arm), look, sizes[0] * both[0].mean, sizes[1] * both[1].mean, bars[0], bars[1], seeds)


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return bare("", low) if low == high else f"{bare('', low)} to {bare('', high)}"


def pairs(found: Result, looks: Mapping[str, str]) -> Markup | None:
    if not found.pairs:
        return None
    panels = [panel for pair in found.pairs if (panel := _pair(found, pair, looks)) is not None]
    parts: list[Markup | None] = [tag("div", *panels[:FIRST], class_="grid pairs")] if panels else []
    if panels[FIRST:]:
        parts.append(behind(f"{len(panels) - FIRST} more pairs", tag("div", *panels[FIRST:], class_="grid pairs")))
    lead = (
        "Each line joins one seed's two arms. Solid, blue: better in the second; dashed, orange: worse. Captions give the "
        "difference on the same prompts, its 95\u202f% interval over seeds, and n, the answers of all seeds that have a partner."
    )
    return section("pairs", "Seed by seed", lead, *parts, differences(found))


def _pair(found: Result, pair: Pair, looks: Mapping[str, str]) -> Markup | None:
    m = found.measure(pair.metric)
    if pair.a not in found.arms or pair.b not in found.arms:
        return None
    size = 100.0 if m.unit == "share" else 1.0
    seeds = []
    for name, seed in found.arms[pair.a].seeds.items():
        other = found.arms[pair.b].seeds.get(name)
        a, b = (s.metrics.get(pair.metric, Estimate()).mean if s else None for s in (seed, other))
        if a is not None and b is not None:
            seeds.append((name, size * a, size * b))
    if not seeds:
        return None
    names = found.label(pair.a), found.label(pair.b)
    plot = plots_pairs.paired(
        f"{m.label}, {names[0]} and {names[1]}", seeds, names, (looks[pair.a], looks[pair.b]),
        PAIR_AXIS.get(m.unit, m.unit) or "mean value", better=m.better, most=100.0 if m.unit == "share" else None,
    )  # fmt: skip
    count = seeds_words([name for name, _, _ in seeds])
    note = f"{full(m.unit, pair.pooled, difference=True)} · {count}, n\u00a0{bare('', pair.pooled.n)}"
    return figure(m.label, note, plot)
