"""Are two formulas equal? Asked of math-verify (Kydlíček 2025), within what it can be trusted with.

Left alone it calls 52 in base 8 equal to 52, 90 degrees to 90 %, (2, 4) to {2, 4}, two points whose coordinates fall
each other equal, and 10⁻²⁰ equal to 0. So marks that it drops have to be the same on both sides, what stands in
brackets is compared place by place, and numbers have to agree to twelve digits.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from functools import lru_cache
from typing import Any

LONGEST = 300  # characters of a formula: sympy takes its time with more
_SECONDS = 5  # for one comparison, in the main thread; elsewhere nothing can stop sympy but the limits on its input

_TEXT = r"\\(?:text|mbox|textrm|textbf|mathrm|mathbf)\s*\{([^{}]*)\}"
_UNIT = re.compile(rf"\s*{_TEXT}(?:\s*\^\s*\{{?[23]\}}?)?\s*\.?$")
_AMONG = re.compile(r"\\(?:text|mbox|textrm)\s*\{\s*,?\s*(?:and|or)\s*\}|(?<=[\s,])(?:and|or)\s")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_MATRIX = re.compile(r"\{[a-z]*matrix\}")
_FUNCTIONS = re.compile(r"(?<![A-Za-z])(?:arc)?(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|pi)(?![a-z]{2})")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LETTERS = re.compile(r"(?!(?:am|an|as|at|ca|by|my|was)$)[abckmnpqrstuvwxyz]{2,3}")  # of a product such as xy, not of a word
_FOREIGN = re.compile(r"[^\x00-\x7fͰ-Ͽ∞±×÷≤≥∪∈√·]")
_ODD = re.compile(r":|(?<![\d.])0\d|[!\"?]|&&|``")  # times, dates, sentences
_HUGE = re.compile(
    r"\d{16}|\^\s*\{?-?\s*\d{4}|\^\s*\{[^}]*(?:\^|\*|\\cdot|\\times|\)\s*\(|\d\s+\d)|\^[^+\-*/,=]{1,6}\^|exp.*exp"
    r"|\\(?:sum|prod|int|lim|[dt]?binom)(?![a-z])"
)
_EXPONENT = re.compile(r"\^\s*\{?\s*-?(\d{2,})")
_SUBSCRIPT = re.compile(r"_\s*\{?\s*(\w+)\s*\}?")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|°")
_LAYOUT = re.compile(r"\\(?:left|right|displaystyle|qquad|quad)(?![a-z])|(?<!\\)\\[,;:! ]|\$|~|\\[()]")
_BRACKETS = {"(": ")", "[": "]"}


@lru_cache(maxsize=8192)  # siblings share a reference
def is_formula(text: str) -> bool:
    """Whether `text` is more than a word or a letter and yet no sentence: what math-verify may be asked about.

    >>> [is_formula(text) for text in (r"\\sqrt{3}/2", "x^2+1", r"\\pi", "B", r"\\text{(B)}", "seven", "5 apples", "")]
    [True, True, True, False, False, False, False, False]
    """
    plain = bare(text)
    if not plain or len(plain) > LONGEST or any(p.search(plain) for p in (_HUGE, _ODD, _FOREIGN)) or re.search(_TEXT, plain):
        return False
    if math.prod(map(int, _EXPONENT.findall(plain))) > 10_000:  # powers of powers
        return False
    words = _WORD.findall(_FUNCTIONS.sub(" ", _MATRIX.sub("", _COMMAND.sub(" ", plain))))
    if not all(map(_LETTERS.fullmatch, words)):
        return False
    return bool(_COMMAND.search(plain)) or any(c.isdigit() for c in plain) or bool(re.search(r"\w\s*[-+*/^=<>]", plain))


def equal(wanted: str, claim: str) -> bool:
    """Whether two formulas have the same value or are the same set, interval, point, matrix or equation.

    False where either is no formula or math-verify cannot read it. Both sides have to name the same unit, if both name
    one, the same subscripts (bases), and percent or not; degrees may be left out. x = 5 may be answered with 5.

    >>> equal(r"\\frac{\\sqrt{3}}{2}", r"\\sqrt{3}/2"), equal("(3, 4]", "[3, 4]"), equal("52_8", "52")
    (True, False, False)
    """
    if not (is_formula(wanted) and is_formula(claim)) or not _alike(wanted, claim):
        return False
    return _same(bare(wanted), bare(claim))


def bare(text: str) -> str:
    """A formula without layout, degrees, percent and the unit at its end; "and" and "or" are commas."""
    plain = _DEGREES.sub("", _AMONG.sub(", ", _LAYOUT.sub(" ", text.replace("−", "-")))).replace("\\%", "").replace("%", "")
    plain = _UNIT.sub("", plain).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    return re.sub(r",(?:\s*,)+", ",", " ".join(plain.split())).strip(" .。")


def _alike(wanted: str, claim: str) -> bool:
    """Whether what math-verify drops, or reads with more than one meaning, is on both sides the same."""
    units = _units(wanted), _units(claim)
    if all(units) and units[0] != units[1]:
        return False
    return _SUBSCRIPT.findall(wanted) == _SUBSCRIPT.findall(claim) and ("%" in wanted) == ("%" in claim)


def _units(text: str) -> str:
    unit = _UNIT.search(text.strip())
    return " ".join(word.strip(".").removesuffix("s") for word in unit[1].casefold().split()) if unit else ""


def _same(wanted: str, claim: str) -> bool:
    """Unions part by part, brackets place by place, the rest by math-verify."""
    ours, theirs = _split(wanted.removeprefix("x \\in "), "\\cup"), _split(claim.removeprefix("x \\in "), "\\cup")
    if len(ours) != len(theirs):
        return False
    if len(ours) > 1:
        return all(any(_same(a, b) for b in theirs) for a in ours) and all(any(_same(a, b) for a in ours) for b in theirs)
    places, others = _places(ours[0]), _places(theirs[0])
    if (places is None) != (others is None):
        return False
    if places is None or others is None:
        return _verified(wanted, claim)
    return places[0] == others[0] and len(places) == len(others) and all(map(_same, places[1:], others[1:]))


def _places(text: str) -> list[str] | None:
    """The kinds of brackets and what stands between their commas; None where brackets do not enclose a list."""
    text = text.strip()
    if text[:1] not in _BRACKETS or text[-1:] not in _BRACKETS.values():
        return None
    inner = _split(text[1:-1], ",")
    closed = all(_balanced(part) for part in inner)
    return [text[0] + text[-1], *inner] if len(inner) > 1 and closed else None


def _split(text: str, mark: str) -> list[str]:
    """Parts between the marks that stand in no bracket."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(text):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0 and text.startswith(mark, i):
            parts.append(text[start:i].strip())
            start = i + len(mark)
        i += 1
    return [*parts, text[start:].strip()]


def _balanced(text: str) -> bool:
    depth = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if depth < 0:
            return False
    return depth == 0


@lru_cache(maxsize=8192)  # siblings answer alike
def _verified(wanted: str, claim: str) -> bool:
    """Whether math-verify finds the two equal, and numbers among them agree to twelve digits."""
    if wanted == claim:
        return bool(wanted)
    verify = _library().verify
    gold, told = _read(wanted), _read(claim)
    if gold is None or told is None:
        return False
    agreed = verify(gold, told, float_rounding=12, timeout_seconds=_limit())
    return bool(agreed) and _near(gold, told)


@lru_cache(maxsize=8192)
def _read(formula: str) -> Any:
    """What math-verify reads in a formula: a sympy object, None where it reads none."""
    library = _library()
    latex = (library.LatexExtractionConfig(),)
    found = library.parse(f"\\boxed{{{formula}}}", latex, fallback_mode="no_fallback", parsing_timeout=_limit())
    return found[0] if found and not isinstance(found[0], str) else None


def _near(gold: Any, told: Any) -> bool:
    """False for two numbers that differ by more than 10⁻¹² of the larger: small ones are no zero."""
    try:
        a, b = complex(gold.evalf(30)), complex(told.evalf(30))
    except (AttributeError, TypeError, ValueError, ArithmeticError, NotImplementedError, RecursionError):
        return True  # sets, equations, letters
    return not math.isnan(abs(a - b)) and abs(a - b) <= 1e-12 * max(abs(a), abs(b))


def _limit() -> int | None:
    """math-verify's clock is a signal, which only the main thread can hear."""
    return _SECONDS if threading.current_thread() is threading.main_thread() else None


@lru_cache(maxsize=1)
def _library() -> Any:
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns where it has no clock
    return math_verify
