"""How many times one engine takes what the other takes, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from primum.stats import Z95


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, Any]:
    """Geometric mean of theirs / ours over pairs, and its 95 % interval: Student's t on the logarithms.

    One pair has no interval, and a pair with a number missing or not above 0 does not count: null is "not measured".

    >>> ratio([8.0, 2.0], [1.0, 1.0])["value"], ratio([2.0], [2.0])
    (4.0, {'value': 1.0, 'low': None, 'high': None, 'n': 1})
    """
    logs = [math.log(a / b) for a, b in zip(theirs, ours, strict=True) if a > 0 and b > 0]
    n = len(logs)
    if n == 0:
        return {"value": None, "low": None, "high": None, "n": 0}
    mean = sum(logs) / n
    if n == 1:
        return {"value": math.exp(mean), "low": None, "high": None, "n": 1}
    half = t95(n - 1) * math.sqrt(sum((x - mean) ** 2 for x in logs) / (n - 1) / n)
    return {"value": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half), "n": n}


def t95(freedom: int) -> float:
    """The 97.5 % point of Student's t: exact for 1 and 2 degrees of freedom, to 0.2 % beyond (Hill 1970, the series in 1/ν).

    >>> round(t95(1), 3), round(t95(9), 3)
    (12.706, 2.262)
    """
    if freedom == 1:
        return math.tan(math.pi * 0.475)
    if freedom == 2:
        return math.sqrt(2 * 0.95**2 / (1 - 0.95**2))
    z, v = Z95, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )
