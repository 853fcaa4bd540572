"""Reading a result.json into records: whatever is missing or of another type in it is unknown, and breaks nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from primum.study.result import Answer, Arm, Claim, Curve, Estimate, Measure, Pair, Point, Result, Sample, Seed

SHARE = ", share"
LARGEST = 1e100  # a number beyond it is no measurement, and would overflow a plot


def is_result(found: object) -> bool:
    """Whether `found` is an experiment's document of the form read here: it has arms, and they are labelled."""
    arms = _mapping(found).get("arms")
    return (
        isinstance(arms, Mapping)
        and bool(_mapping(found).get("experiment"))
        and any("label" in _mapping(a) for a in arms.values())
    )


def read_result(found: object) -> Result:
    """The document as records; it need not be complete."""
    top = _mapping(found)
    arms = {str(k): _arm(str(k), a) for k, a in _mapping(top.get("arms")).items()}
    measures = {str(k): _measure(str(k), m) for k, m in _mapping(top.get("metrics")).items()}
    table = {str(a): _estimates(row) for a, row in _mapping(top.get("table")).items()}
    return Result(
        name=text(top.get("experiment")) or "experiment",
        question=text(top.get("question")),
        prediction=text(top.get("prediction")),
        verdict=text(top.get("verdict")),
        model=text(top.get("model")),
        seeds=[text(s) for s in _list(top.get("seeds"))] or sorted({s for a in arms.values() for s in a.seeds}),
        arms=arms,
        measures=measures,
        shown=_shown(top, arms, table),
        pairs=[_pair(p) for p in _list(top.get("pairs"))],
        curves=[_curve(c, measures) for c in _list(top.get("curves"))],
        pareto=_axes(top.get("pareto")),
        claims=[_claim(c, "claim", text(_mapping(c).get("verdict"))) for c in _list(top.get("claims"))],
        targets=[_claim(c, "target", _met(_mapping(c).get("met"))) for c in _list(top.get("targets"))],
        samples=[_sample(s) for s in _list(top.get("samples"))],
        notes=[text(n) for n in _list(top.get("notes")) if text(n)],
        failures=[_failure(f) for f in _list(top.get("failures"))],
        command=text(top.get("command")),
        settings={str(k): v for k, v in _mapping(top.get("settings")).items()},
        environment={str(k): v for k, v in _mapping(top.get("environment")).items()},
        table=table,
    )


def text(value: object) -> str:
    """`value` as text; nothing where it is null.

    >>> text(None), text(3), text("a")
    ('', '3', 'a')
    """
    return "" if value is None else str(value)


def number(value: object) -> float | None:
    """`value` as a finite number of a plausible size; None where it is none.

    >>> number(3), number(True), number("3"), number(float("nan")), number(10**400)
    (3.0, None, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST and not math.isnan(value) else None


def _count(value: object) -> int:
    return max(0, int(number(value) or 0))


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _estimate(value: object) -> Estimate:
    v = _mapping(value)
    mean, low, high = (number(v.get(k)) for k in ("mean", "low", "high"))
    if mean is None or low is None or high is None:
        low = high = None
    return Estimate(mean, low, high, _count(v.get("n")), _count(v.get("unscored")), _count(v.get("seeds")), text(v.get("bound")))


def _estimates(value: object) -> dict[str, Estimate]:
    return {str(k): _estimate(v) for k, v in _mapping(value).items()}


def _numbers(value: object) -> dict[str, float | None]:
    return {str(k): number(v) for k, v in _mapping(value).items()}


def _flat(value: object) -> dict[str, Any]:
    """A mapping of mappings as one, "harm, H1" for H1 in harm."""
    return {
        f"{outer}{', ' + str(inner) if isinstance(held, Mapping) else ''}": v
        for outer, held in _mapping(value).items()
        for inner, v in (held.items() if isinstance(held, Mapping) else ((outer, held),))
    }


def _arm(key: str, value: object) -> Arm:
    v = _mapping(value)
    seeds = {
        str(k): Seed(
            _estimates(s.get("metrics")), _numbers(s.get("cost")), _numbers(_flat(s.get("extra"))), _unseen(s.get("extra"))
        )
        for k, s in ((k, _mapping(s)) for k, s in _mapping(v.get("seeds")).items())
    }
    return Arm(key, text(v.get("label")) or key, text(v.get("about")), seeds)


def _unseen(extra: object) -> dict[str, float]:
    roles, harm = (_mapping(_mapping(extra).get(part)) for part in ("roles", "harm"))
    return {str(k): told for k, role in roles.items() if role == "test" and (told := number(harm.get(k))) is not None}


def _measure(key: str, value: object) -> Measure:
    v = _mapping(value)
    better = v.get("better")
    return Measure(key, text(v.get("label")) or key, better if better in ("lower", "higher") else "", text(v.get("unit")))


def _shown(top: Mapping[Any, Any], arms: Mapping[str, Arm], table: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """The metrics of the table: those asked for, or all that were measured."""
    asked = [text(k) for k in _list(top.get("shown"))]
    held: Iterator[str] = (k for row in table.values() for k in row)
    seen: Iterator[str] = (k for a in arms.values() for s in a.seeds.values() for k in s.metrics)
    return list(dict.fromkeys(asked or [*held, *seen]))


def _pair(value: object) -> Pair:
    v = _mapping(value)
    return Pair(text(v.get("metric")), text(v.get("a")), text(v.get("b")), _estimates(v.get("seeds")), _estimate(v.get("pooled")))


def _curve(value: object, measures: Mapping[str, Measure]) -> Curve:
    """One plot's lines. A y axis called "…, share" is of shares; else its unit is told, or that of the metric of its name."""
    v = _mapping(value)
    y = text(v.get("y")).removesuffix(SHARE)
    unit = text(v.get("unit")) or next((m.unit for m in measures.values() if y in (m.key, m.label)), "")
    unit = "share" if text(v.get("y")).endswith(SHARE) else unit
    arms = {
        str(a): {str(s): [_point(p) for p in _list(points)] for s, points in _mapping(seeds).items()}
        for a, seeds in _mapping(v.get("arms")).items()
    }
    label = next((m.label for m in measures.values() if y == m.key), y)
    return Curve(text(v.get("title")), text(v.get("x")), label, unit, _count(v.get("n")), arms)


def _point(value: object) -> Point:
    pair = _list(value)
    return (number(pair[0]), number(pair[1])) if len(pair) == 2 else (None, None)


def _axes(value: object) -> tuple[str, str] | None:
    v = _mapping(value)
    x, y = text(v.get("x")), text(v.get("y"))
    return (x, y) if x and y else None


def _claim(value: object, name: str, verdict: str) -> Claim:
    v = _mapping(value)
    limit, detectable = number(v.get("limit")), number(v.get("detectable"))
    said, measure = text(v.get(name)), text(v.get("measure"))
    return Claim(said, measure, _estimate(v.get("value")), text(v.get("sense")), limit, verdict, detectable)


def _met(value: object) -> str:
    return {True: "met", False: "not met"}[value] if isinstance(value, bool) else "not known"


def _sample(value: object) -> Sample:
    v = _mapping(value)
    answers = {
        str(arm): Answer(text(a.get("thought")), text(a.get("reply")), text(a.get("outcome")))
        for arm, a in ((arm, _mapping(a)) for arm, a in _mapping(v.get("answers")).items())
    }
    return Sample(text(v.get("seed")), text(v.get("kind")), text(v.get("category")), text(v.get("prompt")), answers)


def _failure(value: object) -> tuple[str, str, str]:
    v = _mapping(value)
    return text(v.get("task") or v.get("label") or v.get("name")), text(v.get("error")), text(v.get("attempts"))
