"""Two more plots of an experiment: the seeds of two arms joined in pairs, and arms against each other on two axes."""

from __future__ import annotations

from collections.abc import Sequence

from primum.report.markup import Markup, join, tag
from primum.report.plots import Axis, svg
from primum.study.plots import Frame, Spot, cut, domain, grid, said, shape, titles

PAIR_WIDTH = 230
Box = tuple[float, float, float, float]


def paired(
    label: str, seeds: Sequence[tuple[str, float, float]], names: tuple[str, str], looks: tuple[str, str], y_label: str,
    *, better: str, most: float | None = None,
) -> Markup:  # fmt: skip
    """A line for each seed (name, a, b) from arm to arm: solid, blue where b is better; dashed, orange where it is worse."""
    frame = Frame(38, PAIR_WIDTH - 6, 24, 150)
    up = domain([v for _, *both in seeds for v in both], most=most, about=4)
    y = Axis(up[0], up[-1], frame.bottom, frame.top)
    left, right = 86.0, 182.0
    body = [grid([], up, y, y, frame)]
    for name, a, b in seeds:
        path = tag("path", d=f"M{left:g} {y.at(a):g}L{right:g} {y.at(b):g}", class_="line")
        body.append(tag("g", tag("title", f"seed {name}"), path, class_=f"pair {_reading(a, b, better)}"))
    for look, at, side in ((looks[0], left, 1), (looks[1], right, 2)):
        marks = [shape(look, at, y.at(row[side]), "small") for row in seeds]  # type: ignore[arg-type]
        body.append(tag("g", *marks, class_=f"arm-{look}"))
    for name, look, at in ((names[0], looks[0], left), (names[1], looks[1], right)):
        body.append(tag("g", tag("title", name), said(at, 168, cut(name, 17), "name", "middle"), class_=f"arm-{look}"))
    return svg(174, label, *body, said(0, 10, y_label, "axis"), width=PAIR_WIDTH)


def _reading(a: float, b: float, better: str) -> str:
    if a == b or not better:
        return "arm-changed"
    return "arm-better" if (b < a) == (better == "lower") else "arm-worse"


def scatter(
    label: str, spots: Sequence[Spot], x_label: str, y_label: str,
    *, better: tuple[str, str], most: tuple[float | None, float | None] = (None, None),
) -> Markup:  # fmt: skip
    """A point an arm with interval bars both ways and its seeds faint, named where there is room; a dotted line joins those that
    none beats."""
    frame = Frame(40, 348, 26, 250)
    across = domain([v for s in spots for v in (s.x, *(s.across or ()), *(p[0] for p in s.seeds))], most=most[0])
    up = domain([v for s in spots for v in (s.y, *(s.up or ()), *(p[1] for p in s.seeds))], most=most[1])
    x, y = Axis(across[0], across[-1], frame.left, frame.right), Axis(up[0], up[-1], frame.bottom, frame.top)
    best = front([(s.x, s.y) for s in spots], better)
    path = "L".join(f"{x.at(spots[i].x):g} {y.at(spots[i].y):g}" for i in best)
    body = [tag("path", d=f"M{path}", class_="front")] if len(best) > 1 else []
    body += [_spread(s, x, y) for s in spots]
    body += [tag("g", tag("title", s.label), shape(s.look, x.at(s.x), y.at(s.y)), class_=f"arm-{s.look}") for s in spots]
    taken: list[Box] = [(x.at(s.x) - 6, y.at(s.y) - 6, x.at(s.x) + 6, y.at(s.y) + 6) for s in spots]
    body += [name for s in spots if (name := _name(s, x.at(s.x), y.at(s.y), taken, frame))]
    corner = said(frame.right, 10, _corner(better), "note", "end")
    return svg(frame.bottom + 34, label, grid(across, up, x, y, frame), *body, *titles(x_label, y_label, frame), corner)


def front(points: Sequence[tuple[float, float]], better: tuple[str, str]) -> list[int]:
    """The points that none beats, by x: as good on both axes and better on one. Without a better side there is no front.

    >>> front([(1, 5), (2, 2), (3, 3), (4, 1)], ("lower", "lower")), front([(1, 5)], ("", "lower"))
    ([0, 1, 3], [])
    """
    if not all(better):
        return []
    signs = [1 if b == "lower" else -1 for b in better]
    costs = [(signs[0] * a, signs[1] * b) for a, b in points]
    kept = [i for i, p in enumerate(costs) if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in costs)]
    return sorted(kept, key=lambda i: points[i])


def _corner(better: tuple[str, str]) -> str:
    if not all(better):
        return ""
    return f"best: {'bottom' if better[1] == 'lower' else 'top'} {'left' if better[0] == 'lower' else 'right'}"


def _spread(spot: Spot, x: Axis, y: Axis) -> Markup:
    """The seeds and the interval bars of a point."""
    at_x, at_y = x.at(spot.x), y.at(spot.y)
    parts = [tag("circle", cx=x.at(a), cy=y.at(b), r=1.8, class_="seed") for a, b in spot.seeds]
    if spot.across:
        parts.append(tag("line", x1=x.at(spot.across[0]), x2=x.at(spot.across[1]), y1=at_y, y2=at_y, class_="interval thin"))
    if spot.up:
        parts.append(tag("line", x1=at_x, x2=at_x, y1=y.at(spot.up[0]), y2=y.at(spot.up[1]), class_="interval thin"))
    return tag("g", *parts, class_=f"arm-{spot.look}")


def _name(spot: Spot, x: float, y: float, taken: list[Box], frame: Frame) -> Markup | None:
    """The arm's name near its point, joined to it where it had to go far; none where it would cover a marker or a name."""
    text = cut(spot.label, 22)
    wide = 5.8 * len(text)
    places = [(x + side * (9 if side > 0 else 9 + wide), y + dy) for far in range(6) for dy, side in _around(far)]
    boxes = [(px, py - 7, px + wide, py + 4) for px, py in places]
    fits = [i for i, b in enumerate(boxes) if _inside(b, frame) and not any(_meet(b, t) for t in taken)]
    if not fits:
        return None
    taken.append(boxes[fits[0]])
    px, py = places[fits[0]]
    near = px if px > x else px + wide
    lead = tag("path", d=f"M{x:g} {y:g}L{near:g} {py - 2:g}", class_="lead-line") if abs(py - y) > 12 else None
    return tag("g", lead, said(px, py + 2, text, "name"), class_=f"arm-{spot.look}")


def _around(far: int) -> list[tuple[float, int]]:
    return [(sign * 11.0 * far + 1.5, side) for side in (1, -1) for sign in ((1, -1) if far else (1,))]


def _inside(box: Box, frame: Frame) -> bool:
    return box[0] >= frame.left and box[2] <= frame.right + 8 and box[1] >= frame.top - 8 and box[3] <= frame.bottom


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def legend(items: Sequence[tuple[Markup, str, str]]) -> Markup:
    """Arms with their marker, name and what they are."""
    rows = (tag("li", sign, tag("b", name), join(" ", about) if about else None) for sign, name, about in items)
    return tag("ul", *rows, class_="legend")
