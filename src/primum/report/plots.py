"""Plots as inline SVG: dots with intervals, points with crosses, lines, slopes. Colours come from the page."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from primum.report.markup import Markup, join, tag

WIDTH = 360
# One shape an arm, so that colour is never the only sign. Each fits a circle of radius 5.
SHAPES = {
    "base": "M-4.4 0a4.4 4.4 0 1 0 8.8 0a4.4 4.4 0 1 0-8.8 0Z",
    "sft": "M-4-4H4V4H-4Z",
    "rl": "M0-5L4.8 3.8H-4.8Z",
    "hybrid": "M0-5.4L5.4 0L0 5.4L-5.4 0Z",
    "sft_rl": "M0 5L4.8-3.8H-4.8Z",
    "distilled": "M-1.7-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z",
}


@dataclass(frozen=True, slots=True)
class Dot:
    """One row of a dot plot: the numbers drawn, and the two lines of text that print them."""

    label: str
    look: str
    value: dict[str, Any]
    text: str
    note: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a line plot."""

    label: str
    look: str
    points: list[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear map from a range of values to a range of pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.end - self.start), 1)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover low to high, `about` that many.

    >>> ticks(0, 87), ticks(-3, 1), ticks(2, 2)
    ([0.0, 20.0, 40.0, 60.0, 80.0, 100.0], [-3.0, -2.0, -1.0, 0.0, 1.0], [2.0, 2.2, 2.4, 2.6, 2.8, 3.0])
    """
    high = high if high > low else low + 1.0
    rough = (high - low) / about
    size = 10 ** math.floor(math.log10(rough))
    step = next(m * size for m in (1, 2, 5, 10) if m * size >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) + 0.0 for i in range(first, last + 1)]


def svg(height: float, label: str, *children: object, width: int = WIDTH) -> Markup:
    title = tag("title", label)
    return tag("svg", title, *children, viewBox=f"0 0 {width} {height:g}", role="img", aria_label=label, class_="plot")


def shape(look: str, x: float = 0, y: float = 0, extra: str = "") -> Markup:
    return tag("path", d=SHAPES.get(look, SHAPES["base"]), transform=f"translate({x:g} {y:g})", class_=f"mark {extra}".strip())


def key(look: str) -> Markup:
    """The arm's marker alone, for a legend or a table head."""
    return tag("svg", tag("g", shape(look), class_=f"arm-{look}"), viewBox="-7 -7 14 14", class_="key", aria_hidden="true")


def line_key(look: str) -> Markup:
    """The arm's marker on a piece of its line."""
    line = tag("g", tag("path", d="M-15 0H15", class_="line"), shape(look), class_=f"arm-{look}")
    return tag("svg", line, viewBox="-16 -7 32 14", class_="key long", aria_hidden="true")


def dots(label: str, rows: Sequence[Dot], domain: list[float], axis: str, *, zero: bool = False) -> Markup:
    """Rows of one dot with its interval each; `look` is an arm or a reading (better, worse, unclear)."""
    x = Axis(domain[0], domain[-1], 90, 222)
    bottom = 30 * len(rows) + 6
    grid = [_tick_x(x, t, 2, bottom) for t in domain]
    if zero:
        grid.append(tag("line", x1=x.at(0), x2=x.at(0), y1=2, y2=bottom, class_="zero"))
    body = [_dot_row(row, x, 18 + 30 * i) for i, row in enumerate(rows)]
    return svg(bottom + 34, label, *grid, *body, _text(156, bottom + 29, axis, "axis", "middle"))


def _dot_row(row: Dot, x: Axis, y: float) -> Markup:
    v = row.value
    parts: list[Markup] = []
    if v["mean"] is not None:
        if v["low"] is not None and v["high"] is not None:
            parts.append(tag("line", x1=x.at(v["low"]), x2=x.at(v["high"]), y1=y, y2=y, class_="interval"))
        parts.append(shape(row.look, x.at(v["mean"]), y))
    name = _text(81, y + 4, row.label, "label", "end")
    said = join(_text(231, y - 1, row.text, "label"), _text(231, y + 11, row.note, "note"))
    return tag("g", name, tag("g", *parts, class_=f"arm-{row.look}"), said)


def scatter(
    label: str, points: Sequence[tuple[str, str, dict, dict]], x_label: str, y_label: str,
    *, down: bool = True, hollow: Collection[str] = (), front: Sequence[str] = (),
) -> Markup:  # fmt: skip
    """One point an arm with interval bars both ways: (name, look, x, y), all in percent; the front's points are joined."""
    drawn = [p for p in points if p[2]["mean"] is not None and p[3]["mean"] is not None]
    across = ticks(0, max([v[2]["high"] or v[2]["mean"] for v in drawn], default=100))
    up = ticks(0, max([v[3]["high"] or v[3]["mean"] for v in drawn], default=100))
    x, y = Axis(0, across[-1], 46, 348), Axis(0, up[-1], 236, 22)
    grid = [_tick_x(x, t, 22, 236) for t in across] + [_tick_y(y, t, 46, 348) for t in up]
    placed = {p[0]: (x.at(p[2]["mean"]), y.at(p[3]["mean"])) for p in drawn}
    joined = "L".join(f"{placed[name][0]:g} {placed[name][1]:g}" for name in front)
    line = [tag("path", d=f"M{joined}", class_="front")] if joined else []
    body = [*line, *(_cross(p, x, y, "hollow" if p[0] in hollow else "") for p in drawn)]
    corner = _text(350, 12, f"best: bottom {'left' if down else 'right'}", "note", "end")
    return svg(270, label, *grid, *body, _text(0, 12, y_label, "axis"), corner, _text(197, 265, x_label, "axis", "middle"))


def _cross(point: tuple[str, str, dict, dict], x: Axis, y: Axis, extra: str) -> Markup:
    name, look, h, v = point
    at_x, at_y = x.at(h["mean"]), y.at(v["mean"])
    bars = []
    if h["low"] is not None and h["high"] is not None:
        bars.append(tag("line", x1=x.at(h["low"]), x2=x.at(h["high"]), y1=at_y, y2=at_y, class_="interval thin"))
    if v["low"] is not None and v["high"] is not None:
        bars.append(tag("line", x1=at_x, x2=at_x, y1=y.at(v["low"]), y2=y.at(v["high"]), class_="interval thin"))
    return tag("g", tag("title", name), *bars, shape(look, at_x, at_y, extra), class_=f"arm-{look}")


def lines(
    label: str, series: Sequence[Line], x_label: str, y_label: str, *, low: float | None = None, high: float | None = None
) -> Markup:
    """Lines over steps: the raw values faint and their running mean where there are many, markers where few."""
    values = [v for s in series for _, v in s.points if v is not None]
    steps = [p[0] for s in series for p in s.points]
    up = ticks(min(values, default=0.0) if low is None else low, max(values, default=1.0) if high is None else high, 4)
    across = ticks(0, max(steps, default=1), 4)
    x, y = Axis(0, max(steps, default=1) or 1, 46, 350), Axis(up[0], up[-1], 150, 22)
    grid = [_tick_x(x, t, 22, 150) for t in across if t <= x.high] + [_tick_y(y, t, 46, 350) for t in up]
    body = [_series(s, x, y) for s in series]
    return svg(184, label, *grid, *body, _text(0, 12, y_label, "axis"), _text(198, 179, x_label, "axis", "middle"))


def _series(line: Line, x: Axis, y: Axis) -> Markup:
    many = len(line.points) > 24
    points = smooth(thin(line.points)) if many else line.points
    parts = [tag("path", d=_path(thin(line.points), x, y), class_="raw")] if many else []
    parts.append(tag("path", d=_path(points, x, y), class_="line"))
    if not many:
        parts += [shape(line.look, x.at(s), y.at(v), "small") for s, v in points if v is not None]
    return tag("g", tag("title", line.label), *parts, class_=f"arm-{line.look}")


def _path(points: Sequence[tuple[float, float | None]], x: Axis, y: Axis) -> str:
    """An SVG path that breaks where a value is missing."""
    out, pen = [], "M"
    for step, value in points:
        if value is None:
            pen = "M"
            continue
        out.append(f"{pen}{x.at(step):g} {y.at(value):g}")
        pen = "L"
    return "".join(out)


def thin(points: Sequence[tuple[float, float | None]], most: int = 240) -> list[tuple[float, float | None]]:
    """At most `most` points, each the mean of neighbours.

    >>> thin([(1, 2.0), (2, 4.0), (3, None), (4, None)], most=2)
    [(1.5, 3.0), (3.5, None)]
    """
    if len(points) <= most:
        return list(points)
    ends = [round(i * len(points) / most) for i in range(most + 1)]
    return [_centre(points[a:b]) for a, b in pairwise(ends) if b > a]


def smooth(points: Sequence[tuple[float, float | None]], width: int = 9) -> list[tuple[float, float | None]]:
    """The mean over `width` neighbours, fewer at the ends; a missing value stays missing.

    >>> smooth([(1, 0.0), (2, 3.0), (3, None)], width=3)
    [(1, 1.5), (2, 1.5), (3, None)]
    """
    half = width // 2
    near = [_centre(points[max(0, i - half) : i + half + 1])[1] for i in range(len(points))]
    return [(step, None if value is None else near[i]) for i, (step, value) in enumerate(points)]


def _centre(points: Sequence[tuple[float, float | None]]) -> tuple[float, float | None]:
    values = [v for _, v in points if v is not None]
    return sum(s for s, _ in points) / len(points), sum(values) / len(values) if values else None


def slopes(label: str, ends: Sequence[tuple[str, str, dict, dict]], before: str, after: str, y_label: str) -> Markup:
    """Lines from before to after with both intervals: (name, look, before, after)."""
    known = [v[k] for e in ends for v in e[2:] for k in ("low", "mean", "high") if v[k] is not None]
    up = ticks(min([0.0, *known]), max([1.0, *known]), 4)
    y = Axis(up[0], up[-1], 172, 24)
    grid = [_tick_y(y, t, 46, 350) for t in up]
    places = _apart([y.at(e[3]["mean"] or 0.0) for e in ends])
    body = [_slope(e, y, at) for e, at in zip(ends, places, strict=True)]
    names = [_text(x, 192, text, "label", "middle") for x, text in ((92, before), (252, after))]
    return svg(198, label, *grid, *body, *names, _text(0, 12, y_label, "axis"))


def _apart(places: list[float], gap: float = 13) -> list[float]:
    """Label heights at least `gap` pixels apart, in the order of the places.

    >>> _apart([50, 44])
    [53.5, 40.5]
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    out = list(places)
    for a, b in pairwise(order):
        if (short := gap - (out[b] - out[a])) > 0:
            out[a], out[b] = out[a] - short / 2, out[b] + short / 2
    return out


def _slope(end: tuple[str, str, dict, dict], y: Axis, label_at: float) -> Markup:
    name, look, before, after = end
    shift = -6 if look == "proxy" else 6  # so that two intervals at one place stay apart
    parts: list[Markup] = []
    if before["mean"] is not None and after["mean"] is not None:
        parts.append(tag("path", d=f"M{92 + shift} {y.at(before['mean'])}L{252 + shift} {y.at(after['mean'])}", class_="line"))
    for x, v in ((92 + shift, before), (252 + shift, after)):
        if v["low"] is not None and v["high"] is not None:
            parts.append(tag("line", x1=x, x2=x, y1=y.at(v["low"]), y2=y.at(v["high"]), class_="interval thin"))
        if v["mean"] is not None:
            parts.append(shape("base" if look == "proxy" else "hybrid", x, y.at(v["mean"])))
    if after["mean"] is not None:
        parts.append(_text(272, label_at + 4, f"{name} {after['mean']:.2f}", "label"))
    return tag("g", *parts, class_=f"arm-{look}")


def _tick_x(x: Axis, value: float, top: float, bottom: float) -> Markup:
    at = x.at(value)
    rule = tag("line", x1=at, x2=at, y1=top, y2=bottom, class_="grid")
    return join(rule, _text(at, bottom + 13, _tick(value), "tick", "middle"))


def _tick_y(y: Axis, value: float, left: float, right: float) -> Markup:
    at = y.at(value)
    return join(
        tag("line", x1=left, x2=right, y1=at, y2=at, class_="grid"), _text(left - 6, at + 3.5, _tick(value), "tick", "end")
    )


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _text(x: float, y: float, text: str, class_: str, anchor: str = "start") -> Markup:
    return tag("text", text, x=f"{x:g}", y=f"{y:g}", class_=class_, text_anchor=None if anchor == "start" else anchor)
