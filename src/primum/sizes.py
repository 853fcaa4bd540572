"""How many prompts does a difference need, and what difference can so many prompts show? To be asked before a run.

Paired: both policies answer the same n prompts and each answer is 0 or 1; `discordant` is the share of prompts on which
they disagree. Unpaired: n prompts for each. Tests are two-sided at `alpha`, normal approximations. n counts prompts of
different meaning, not rollouts.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from primum.types import BadInput


def prompts_paired(difference: float, discordant: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Prompts that both policies must answer for a difference d of their rates to be found.

    n = (z_{α/2}·√ψ + z_β·√(ψ − d²))² / d², ψ the discordant share. Connor 1987, doi:10.2307/2531961.
    `mcnemar`, being exact, has 76–78 % power at the sizes for 80 %; 4 to 8 % more prompts make up for it.

    >>> prompts_paired(0.02, 0.04), prompts_paired(0.02, 0.10)
    (783, 1960)
    """
    d = abs(difference)
    _check("a discordant share", discordant, 0 < discordant <= 1, "above 0, at most 1")
    if not 0 < d <= discordant:
        raise BadInput(
            f"a difference of {difference:g} where {discordant:g} of the prompts disagree",
            "",
            "it cannot be 0 nor larger than that",
        )
    z, z_power = _quantiles(alpha, power)
    return _up(((z * math.sqrt(discordant) + z_power * math.sqrt(discordant - d * d)) / d) ** 2)


def detectable_paired(n: int, discordant: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference of rates that n prompts answered by both policies show; nan where no possible one suffices.

    `prompts_paired` solved for d: √ψ·(z_{α/2}·√n + z_β·√(n + z_β² − z_{α/2}²)) / (n + z_β²). No difference exceeds ψ,
    and fewer than z_{α/2}² prompts (four, at 5 %) show none.

    >>> round(detectable_paired(783, 0.04), 4), detectable_paired(20, 0.04)
    (0.02, nan)
    """
    _check("a discordant share", discordant, 0 < discordant <= 1, "above 0, at most 1")
    _check("a number of prompts", n, n >= 1, "at least 1")
    z, z_power = _quantiles(alpha, power)
    if n < z**2:
        return math.nan  # the formula below would give the root of another sign
    d = math.sqrt(discordant) * (z * math.sqrt(n) + z_power * math.sqrt(n + z_power**2 - z**2)) / (n + z_power**2)
    return d if d <= discordant else math.nan


def prompts_unpaired(rate: float, other: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Prompts *each* policy must answer, different ones, for two rates to be told apart.

    n = (z_{α/2}·√(2·p̄·(1 − p̄)) + z_β·√(p₁(1 − p₁) + p₂(1 − p₂)))² / (p₁ − p₂)². Fleiss, Levin and Paik 2003, chapter 4.

    >>> prompts_unpaired(0.10, 0.05)
    435
    """
    _check("a rate", rate, 0 <= rate <= 1, "from 0 to 1")
    _check("a rate", other, 0 <= other <= 1, "from 0 to 1")
    if rate == other:
        raise BadInput(f"two rates of {rate:g}", "", "no number of prompts tells equal rates apart")
    return _up(_unpaired(rate, other, *_quantiles(alpha, power)))


def detectable_unpaired(n: int, rate: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest rise from `rate` that n prompts for each of two policies show; nan where not even a rise to 1 would do.

    `prompts_unpaired` solved by bisection. A fall from p is as hard to see as a rise from 1 − p.

    >>> round(detectable_unpaired(435, 0.05), 3), round(detectable_unpaired(435, 1 - 0.10), 3)
    (0.05, 0.05)
    """
    _check("a rate", rate, 0 <= rate <= 1, "from 0 to 1")
    _check("a number of prompts", n, n >= 1, "at least 1")
    z = _quantiles(alpha, power)
    if rate == 1 or _unpaired(rate, 1.0, *z) > n:
        return math.nan
    low, high = rate, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if middle > rate and _unpaired(rate, middle, *z) <= n else (middle, high)
    return high - rate


def zero_failures(n: int, *, confidence: float = 0.95) -> float:
    """The highest failure rate that n prompts without a failure leave possible: 1 − (1 − confidence)^(1/n).

    Clopper and Pearson's one-sided bound, about 3/n (the rule of three). 1 where nothing was asked.

    >>> round(zero_failures(299), 4), round(zero_failures(2995), 5)
    (0.01, 0.001)
    """
    _check("a confidence", confidence, 0 < confidence < 1, "between 0 and 1")
    _check("a number of prompts", n, n >= 0, "at least 0")
    return -math.expm1(math.log1p(-confidence) / n) if n else 1.0


def prompts_without_failure(rate: float, *, confidence: float = 0.95) -> int:
    """How many prompts must pass without a failure to prove that failures are no more frequent than `rate`.

    n = ⌈ln(1 − confidence) / ln(1 − rate)⌉.

    >>> prompts_without_failure(0.01), prompts_without_failure(0.001)
    (299, 2995)
    """
    _check("a rate", rate, 0 < rate < 1, "between 0 and 1")
    _check("a confidence", confidence, 0 < confidence < 1, "between 0 and 1")
    return _up(math.log1p(-confidence) / math.log1p(-rate))


def _unpaired(p: float, q: float, z: float, z_power: float) -> float:
    mean = (p + q) / 2
    spread = z * math.sqrt(2 * mean * (1 - mean)) + z_power * math.sqrt(p * (1 - p) + q * (1 - q))
    return (spread / (p - q)) ** 2


def _quantiles(alpha: float, power: float) -> tuple[float, float]:
    _check("an alpha", alpha, 0 < alpha < 0.5, "between 0 and 0.5")
    _check("a power", power, 0.5 <= power < 1, "from 0.5, below 1")
    return NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(power)


def _check(what: str, value: float, right: bool, remedy: str) -> None:
    if not right:
        raise BadInput(f"{what} of {value:g}", "", f"it must be {remedy}")


def _up(n: float) -> int:
    """The next whole number, up; a hair above one is rounding."""
    return max(1, math.ceil(n * (1 - 1e-12)))
