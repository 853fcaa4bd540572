"""How an experiment's numbers, intervals and verdicts are said, on its page and in Markdown alike."""

from __future__ import annotations

import re
from collections.abc import Collection

from primum.report.metrics import bare as report_bare
from primum.study.claims import settles
from primum.study.result import Claim, Estimate, Result, distinct

SUFFIX = {"share": "\u202f%", "tokens": " tokens", "nats": " nats", "steps": " steps", "TFLOP": "\u202fTFLOP"}
AXIS = {"share": "%", "tokens": "tokens", "nats": "nats", "steps": "steps", "TFLOP": "TFLOP"}
MINUS = r"−| - "
ARROWS = {"lower": "↓", "higher": "↑"}
SIGNS = {"held": "✓", "met": "✓", "failed": "✗", "not met": "✗", "held in part": "◐"}
READING = {"held": "good", "met": "good", "failed": "bad", "not met": "bad"}


def bare(unit: str, value: float) -> str:
    """`value` without its unit, a share in percent, with a true minus sign and thin spaces between thousands.

    >>> bare("share", -0.0313), bare("tokens", 1234.56), bare("TFLOP", 0.01234), bare("", 12345.6), bare("", 0.083)
    ('−3.1', '1\u202f234.6', '0.012', '12\u202f346', '0.083')
    """
    if unit in ("share", "tokens") and abs(value) < 1e7:
        return report_bare("share" if unit == "share" else "tokens", value)
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}" if abs(value) >= 0.1 else f"{value:.2g}"
    return ("0" if text == "-0" else text).replace("-", "−").replace(",", "\u202f")


def number(unit: str, value: float | None, *, difference: bool = False) -> str:
    """`value` with its unit; a difference has its sign, and that of two shares is in points.

    >>> number("share", 0.0313), number("share", 0.0313, difference=True), number("steps", 0), number("", None)
    ('3.1\u202f%', '+3.1 points', '0 steps', '–')
    """
    if value is None:
        return "–"
    sign = "+" if difference and value > 0 else ""
    suffix = " points" if difference and unit == "share" else SUFFIX.get(unit, f" {unit}" if unit else "")
    return sign + (bare(unit, value) if value else "0") + suffix


def interval(unit: str, value: Estimate) -> str:
    """The 95 % interval without its unit; "" where there is none.

    >>> interval("share", Estimate(0.5, 0.25, 0.75))
    '[25.0, 75.0]'
    """
    if value.low is None or value.high is None:
        return ""
    return f"[{bare(unit, value.low)}, {bare(unit, value.high)}]"


def counts(value: Estimate) -> str:
    """How many seeds and answers are behind a number.

    >>> counts(Estimate(0.5, n=1200, seeds=3)), counts(Estimate(0.5, n=400, seeds=1)), counts(Estimate())
    ('3 seeds, n\xa01\u202f200', '1 seed, n\xa0400', 'not measured')
    """
    if value.mean is None:
        return "not measured"
    seeds = f"{value.seeds} seed{'s' if value.seeds != 1 else ''}, " if value.seeds else ""
    return f"{seeds}n\u00a0{bare('', value.n)}"


def rests_on(value: Estimate) -> str:
    """`counts`, and the answers that nobody could score.

    >>> rests_on(Estimate(0.5, n=90, unscored=10, seeds=3))
    '3 seeds, n\xa090, 10 unscored'
    """
    return counts(value) + (f", {bare('', value.unscored)} unscored" if value.unscored else "")


def bound(value: Estimate) -> str:
    """The words before a number of which some parts are known on one side alone; "" before any other."""
    return {"": "", "unclear": "at least or at most "}.get(value.bound, f"{value.bound} ")


def full(unit: str, value: Estimate, *, difference: bool = False) -> str:
    """A number with its interval.

    >>> full("share", Estimate(0.0313, 0.01, 0.05), difference=True)
    '+3.1 points [1.0, 5.0]'
    >>> full("steps", Estimate(80.0, bound="at least"))
    'at least 80 steps'
    """
    return f"{bound(value)}{number(unit, value.mean, difference=difference)} {interval(unit, value)}".rstrip()


def unit_of(found: Result, claim: Claim) -> tuple[str, bool]:
    """The unit of a claim's number, and whether it is a difference; a ratio, and a measure not known, has none."""
    keys, _, rest = claim.measure.partition(":")
    units = [m.unit if (m := found.measures.get(key.strip())) else "" for key in re.split(MINUS, keys)]
    if len(set(units)) > 1 or re.search(r"[/÷×]", claim.measure):
        return "", False
    return units[0], len(units) > 1 or bool(re.search(MINUS, rest))


def measure_words(found: Result, claim: Claim) -> str:
    """What was measured, in the labels of metric and arms in place of their keys."""
    keys, colon, rest = claim.measure.partition(":")
    keys = re.sub(r"\w+", lambda m: found.measures[m[0]].label if m[0] in found.measures else m[0], keys)
    return keys + colon + re.sub(r"[\w.+-]+", lambda m: _quoted(found.label(m[0])), rest)


def _quoted(name: str) -> str:
    return f"“{name}”" if " " in name else name


def claimed(found: Result, claim: Claim) -> str:
    """What was claimed of the number: above or below which limit.

    >>> from primum.study.reading import read_result
    >>> claimed(read_result({}), Claim("", "", Estimate(), "above", 0.1, "held"))
    'claimed: above 0.1'
    """
    unit, difference = unit_of(found, claim)
    limit = number(unit, claim.limit, difference=difference)
    return f"claimed: {claim.sense} {limit}" if claim.sense else f"limit {limit}"


def could_show(found: Result, claim: Claim) -> str:
    """For a claim left undecided, the least distance from the limit that the experiment could have shown; else ""."""
    if claim.verdict != "undecided":
        return ""
    mean, limit = claim.value.mean, claim.limit
    if mean is not None and limit is not None and not settles(claim.value.bound, mean <= limit):
        return "On some seed an arm never got there: more seeds would hardly settle it, a longer training might."
    if claim.detectable is None:
        return "What could have been shown is not known."
    unit, _ = unit_of(found, claim)
    size = f"{bare(unit, claim.detectable)}{' points' if unit == 'share' else SUFFIX.get(unit, '')}"
    return f"Could have shown, four times in five: a distance of {size} from the limit."


def sign(verdict: str) -> str:
    return SIGNS.get(verdict, "?")


def seeds_words(names: Collection[str]) -> str:
    """How many seeds the names are of, and how many folds where a seed has several.

    >>> seeds_words(["0", "1"]), seeds_words(["0/H1", "0/H2", "1/H1", "1/H2"])
    ('2 seeds', '2 seeds, 4 folds')
    """
    count = distinct(names)
    said = f"{count} seed{'' if count == 1 else 's'}"
    return f"{said}, {len(names)} folds" if len(names) > count else said
