"""Plots of an experiment over its seeds, as inline SVG. Ten arms can be told apart by shape, dash and name, not colour alone."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from primum.report import plots as report_plots
from primum.report.markup import Markup, join, tag
from primum.report.plots import Axis, svg, ticks
from primum.study.result import Point

# Shape and colour of an arm: the report's six, then four more. Each fits a circle of radius 5.
SHAPES = {
    **report_plots.SHAPES,
    "star": "M0-5.4L1.4-1.6L5.3-1.5L2.2.8L3.3 4.6L0 2.3L-3.3 4.6L-2.2.8L-5.3-1.5L-1.4-1.6Z",
    "cross": "M-4.6-2.6L-2.6-4.6L0-2L2.6-4.6L4.6-2.6L2 0L4.6 2.6L2.6 4.6L0 2L-2.6 4.6L-4.6 2.6L-2 0Z",
    "glass": "M-4.4-4.6H4.4L1 0L4.4 4.6H-4.4L-1 0Z",
    "bar": "M-5-2.2H5V2.2H-5Z",
}
LONGEST = 17  # characters of a name beside a line


@dataclass(frozen=True, slots=True)
class Series:
    """An arm's lines, one a seed, in the numbers of the axes."""

    label: str
    look: str
    seeds: list[list[Point]]


@dataclass(frozen=True, slots=True)
class Spot:
    """An arm's mean on two axes with its intervals, and its seeds."""

    label: str
    look: str
    x: float
    y: float
    across: tuple[float, float] | None
    up: tuple[float, float] | None
    seeds: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels that a plot's axes span."""

    left: float
    right: float
    top: float
    bottom: float


def looks(arms: Iterable[str]) -> dict[str, str]:
    """A look for each arm: its own where the report knows the name, the next free one otherwise.

    >>> looks(["sft", "narrow", "rl"])
    {'sft': 'sft', 'narrow': 'base', 'rl': 'rl'}
    """
    names = list(arms)
    free = [look for look in SHAPES if look not in names]
    others = [name for name in names if name not in SHAPES]
    taken = {name: (free or list(SHAPES))[i % (len(free) or len(SHAPES))] for i, name in enumerate(others)}
    return {name: taken.get(name, name) for name in names}


def shape(look: str, x: float = 0, y: float = 0, extra: str = "") -> Markup:
    return tag("path", d=SHAPES[look], transform=f"translate({x:g} {y:g})", class_=f"mark {extra}".strip())


def key(look: str) -> Markup:
    """The arm's marker alone, for a legend or a table head."""
    return tag("svg", tag("g", shape(look), class_=f"arm-{look}"), viewBox="-7 -7 14 14", class_="key", aria_hidden="true")


def domain(values: Sequence[float], *, most: float | None = None, about: int = 5) -> list[float]:
    """Round numbers that cover the values, from 0 where all are positive and some are small, and up to `most`.

    >>> domain([12.0, 87.0]), domain([90.0, 96.0]), domain([0.0, 130.0], most=100, about=2)
    ([0.0, 20.0, 40.0, 60.0, 80.0, 100.0], [90.0, 92.0, 94.0, 96.0], [0.0, 50.0, 100.0])
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if most is not None:
        low, high = max(low, 0.0), min(high, most)
    if 0 <= low < 0.6 * high:
        low = 0.0
    if most is not None and high - low < most / 20:  # shares that hardly differ are drawn as that
        low, high = max(low - most / 40, 0.0), min(high + most / 40, most)
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-3):
        high = low + max(1e-3 * abs(low), 1e-3)
    return ticks(low, high, about)


def middle(seeds: Sequence[Sequence[Point]]) -> list[tuple[float, float, float, float]]:
    """(x, mean, lowest, highest) of the seeds, as far as all go.

    Seeds of as many points at about the same places are taken point by point, one without a number there left out. Others are
    drawn straight between their points and read at the same places; nothing where they meet nowhere, or some line turns back.

    >>> middle([[(0, 1.0), (1, 3.0)], [(0, 2.0), (1, None)]])
    [(0.0, 1.5, 1.0, 2.0), (1.0, 3.0, 3.0, 3.0)]
    >>> middle([[(0, 0.0), (4, 4.0)], [(0, 2.0), (2, 4.0), (4, 6.0)]])[::12]
    [(0.0, 1.0, 0.0, 2.0), (2.0, 3.0, 2.0, 4.0), (4.0, 5.0, 4.0, 6.0)]
    """
    held = [seed for seed in seeds if known(seed)]
    every = [x for seed in held for x, _ in known(seed)]
    if not every:
        return []
    if len({len(seed) for seed in held}) == 1:
        rows = [both for i in range(len(held[0])) if (both := known([seed[i] for seed in held]))]
        near = (max(every) - min(every)) / 10
        if len(rows) == 1 or all(max(x for x, _ in row) - min(x for x, _ in row) <= near for row in rows):
            return [_over([x for x, _ in row], [y for _, y in row]) for row in rows]
    return _between([known(seed) for seed in held])


def _between(lines: Sequence[Sequence[tuple[float, float]]], places: int = 25) -> list[tuple[float, float, float, float]]:
    """The lines read at evenly spaced places from the last beginning to the first end."""
    first, last = max(points[0][0] for points in lines), min(points[-1][0] for points in lines)
    if first >= last or any(b[0] < a[0] for points in lines for a, b in pairwise(points)):
        return []
    at = [first + (last - first) * i / (places - 1) for i in range(places)]
    return [_over([x], [_read(points, x) for points in lines]) for x in at]


def _read(points: Sequence[tuple[float, float]], x: float) -> float:
    """Where a line is at x, straight between its points.

    >>> _read([(0, 0.0), (4, 8.0)], 1)
    2.0
    """
    i = min(max(bisect([a for a, _ in points], x), 1), len(points) - 1)
    (a, low), (b, high) = points[i - 1], points[i]
    return high if b == a else low + (high - low) * min(max((x - a) / (b - a), 0.0), 1.0)


def _over(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, float, float]:
    return sum(xs) / len(xs), sum(ys) / len(ys), min(ys), max(ys)


def known(points: Iterable[Point]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if x is not None and y is not None]


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights at least `gap` apart between low and high, as near to the places as a pass down and one up bring them.

    >>> spread([50, 48, 10], 12, 0, 60)
    [60, 48, 10]
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    out = list(places)
    for rank, i in enumerate(order):
        out[i] = max(out[i], low if rank == 0 else out[order[rank - 1]] + gap)
    for rank, i in reversed(list(enumerate(order))):
        out[i] = min(out[i], high if rank == len(order) - 1 else out[order[rank + 1]] - gap)
    return out


def bands(
    label: str, series: Sequence[Series], x_label: str, y_label: str, *,
    most: float | None = None, shaded: bool = True, front: Series | None = None,
) -> Markup:  # fmt: skip
    """A line an arm, the mean over seeds, in a band from the lowest to the highest seed. With `front`, that arm alone is
    drawn in full, its seeds too, and the others as faint lines; without, each line is named at its end."""
    frame = Frame(40, 350, 24, 130) if front else Frame(40, 246, 24, 200)
    points = [p for s in series for seed in s.seeds for p in known(seed)]
    across, up = domain([p[0] for p in points]), domain([p[1] for p in points], most=most)
    end = max([p[0] for p in points], default=across[-1])  # the axis ends where the lines do
    across = [t for t in across if t <= end] or across
    x = Axis(across[0], max(end, across[-1]), frame.left, frame.right)
    y = Axis(up[0], up[-1], frame.bottom, frame.top)
    body = [tag("path", d=line(_means(s), x, y), class_="faint") for s in series if front and s is not front]
    drawn = [front] if front else list(series)
    body += [_band(s, x, y, shaded=shaded, seeds=bool(front)) for s in drawn]
    if not front:
        body.append(_names(drawn, x, y, frame))
    return svg(frame.bottom + 34, label, grid(across, up, x, y, frame), *body, *titles(x_label, y_label, frame))


def _means(series: Series) -> list[tuple[float, float]]:
    return [(x, mean) for x, mean, _, _ in middle(series.seeds)]


def _band(series: Series, x: Axis, y: Axis, *, shaded: bool, seeds: bool) -> Markup:
    found = middle(series.seeds)
    parts = [tag("title", series.label)]
    if shaded and len(found) > 1:
        upper = [f"{x.at(at):g} {y.at(high):g}" for at, _, _, high in found]
        lower = [f"{x.at(at):g} {y.at(low):g}" for at, _, low, _ in reversed(found)]
        parts.append(tag("path", d=f"M{'L'.join(upper + lower)}Z", class_="band"))
    if seeds or not found:
        parts += [tag("path", d=line(known(s), x, y), class_="raw" if found else "line") for s in series.seeds if known(s)]
    parts.append(tag("path", d=line([(at, mean) for at, mean, _, _ in found], x, y), class_="line"))
    every = max(1, -(-len(found) // 5))
    marked = found[::every] if len(found) > 1 else found
    parts += [shape(series.look, x.at(at), y.at(mean), "small") for at, mean, _, _ in marked]
    return tag("g", *parts, class_=f"arm-{series.look}")


def _names(series: Sequence[Series], x: Axis, y: Axis, frame: Frame) -> Markup:
    """Each line's name beside its end, with a thin line to it where names had to move apart."""
    ends = [(s, end) for s in series if (end := _end(s))]
    places = spread([y.at(end[1]) for _, end in ends], 13, frame.top, frame.bottom)
    parts = []
    for (s, end), at in zip(ends, places, strict=True):
        lead = tag("path", d=f"M{x.at(end[0]) + 3:g} {y.at(end[1]):g}L{frame.right + 10:g} {at:g}", class_="lead-line")
        name = said(frame.right + 24, at + 3.5, cut(s.label, LONGEST), "name")
        parts.append(tag("g", tag("title", s.label), lead, shape(s.look, frame.right + 16, at), name, class_=f"arm-{s.look}"))
    return join(*parts)


def _end(series: Series) -> tuple[float, float] | None:
    """Where the arm's line ends."""
    found = _means(series) or next((k for s in series.seeds if (k := known(s))), [])
    return found[-1] if found else None


def line(points: Iterable[Point], x: Axis, y: Axis) -> str:
    return "L".join(f"{x.at(a):g} {y.at(b):g}" for a, b in known(points)).join(("M", "")) if known(points) else ""


def grid(across: Sequence[float], up: Sequence[float], x: Axis, y: Axis, frame: Frame) -> Markup:
    """Rules and tick labels of both axes; `across` may be empty."""
    parts = []
    for value in across:
        at = x.at(value)
        parts.append(tag("line", x1=at, x2=at, y1=frame.top, y2=frame.bottom, class_="grid"))
        parts.append(said(at, frame.bottom + 13, tick(value), "tick", "middle"))
    for value in up:
        at = y.at(value)
        parts.append(tag("line", x1=frame.left, x2=frame.right, y1=at, y2=at, class_="grid"))
        parts.append(said(frame.left - 5, at + 3.5, tick(value), "tick", "end"))
    return join(*parts)


def titles(x_label: str, y_label: str, frame: Frame) -> list[Markup]:
    x_title = said((frame.left + frame.right) / 2, frame.bottom + 29, x_label, "axis", "middle")
    return [said(0, 10, y_label, "axis"), x_title]


def tick(value: float) -> str:
    """A tick's number, short.

    >>> tick(-0.5), tick(0.25), tick(2500000.0)
    ('−0.5', '0.25', '2.5M')
    """
    size, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M")) if abs(value) >= s), (1.0, ""))
    return f"{value / size:g}{unit}".replace("-", "−")


def said(x: float, y: float, text: str, class_: str, anchor: str = "start") -> Markup:
    return tag("text", text, x=f"{x:g}", y=f"{y:g}", class_=class_, text_anchor=None if anchor == "start" else anchor)


def cut(text: str, most: int) -> str:
    """At most `most` characters.

    >>> cut("abcdef", 4), cut("abcd", 4)
    ('abc…', 'abcd')
    """
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
