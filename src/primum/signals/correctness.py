"""Is a task's final answer right? An exact verifier of numbers, formulas and words."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from primum.signals.formulas import bare, equal, is_formula
from primum.types import Rollout

_NUMBER = re.compile(
    r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:e[-+]?\d{1,3}\b)?(?:/\d+(?!\.?\d))?", re.IGNORECASE
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TIGHT_FRACTION = re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)")
_CLAIM = re.compile(r"(?:####|\banswer\b(?:\s*(?:is|=|:|\*|：))+|答案\s*(?:是|为|:|：)+|所以\s*是)\s*", re.I)
_SPAN = re.compile(r"(?<![\\$])\$(?![\s$])([^$\n]+?)(?<![\s\\])\$(?![\d$])|\\\((.+?)\\\)")
_LISTED = re.compile(r",(?!\d{3}(?!\d))|;|\\pm\b|\b(?:and|or|not)\b|[和或不]")
_OPTION = re.compile(r"[\W_]*([A-Z])(?![\w-])(?!\W*(?:\b(?:or|and)\b|[/,])\W*[A-HJ-Z](?![\w'’]))")
_NOISE = re.compile(r"\\(?:left|right|text|mathrm|mathbf|quad|displaystyle)\b|\\[!,;: ]|[$\\*_`\s]|°")
_PLAIN_NOISE = re.compile(r"\\(?:left|right|quad|displaystyle)\b|\\[!,;: ]|[$`\s]|\^\{?\\circ\}?|°")
_THOUSANDS_SPACE = re.compile(r"(?<=\d)(?:[\u00a0\u202f\u2009]|\\,|,?\\!\s*|,\\!\s*)(?=\d{3}(?!\d))")
_EDGES = " .,;:!?。，！？；：、'\"()[]{}<>*$`“”‘’"
_NEGATIONS = frozenset({"not", "isn't", "never", "不是", "不", "nicht", "pas", "no"})
_BOTH = frozenset({"or", "and", "oder", "und", "ou", "et", "o", "y", "或", "或者", "和", "или", "и"})


def correctness(rollouts: Sequence[Rollout]) -> list[float]:
    """1 where the reply's final answer equals the example's, else 0.

    The final answer is the last \\boxed{}, else what follows the last "####" or "answer is",
    else the last number (for a number) or the last line or word (for words). Numbers are compared
    as exact fractions, so 1/2, 0.50 and $.5 agree, and 50% reads as 50. A formula is compared sign
    by sign, then by its value, which math-verify is asked for; a number is not picked out of one,
    and of several answers in a box none counts. A truncated or empty reply, or an empty box, did
    not solve the task: 0. No answer in the example: unscored.

    >>> from primum.types import Example
    >>> ask = Example(id="1", prompt="half of 2,468?", kind="task", answer="1234")
    >>> correctness([Rollout(ask, "", reply) for reply in ("It is 1,234.0.", "2468 / 2 = 1235", "")])
    [1.0, 0.0, 0.0]
    """
    return [
        float(not r.truncated and _right(r.reply, r.example.answer)) if r.example.answer.strip() else math.nan for r in rollouts
    ]


def number(text: str) -> Fraction | None:
    """The number that is all of `text`, or None.

    >>> number("$1,250.50"), number(r"\\frac{3}{4}"), number("-.5"), number("seven")
    (Fraction(2501, 2), Fraction(3, 4), Fraction(-1, 2), None)
    """
    plain = _plain(text).lstrip(" $€£¥₹%\\").rstrip(" .$€£¥₹%\\")
    plain = re.sub(r"^([-+])\s*[$€£¥₹]", r"\1", plain)
    return _value(plain) if _NUMBER.fullmatch(plain) else None


def final_answer(reply: str, answer: str) -> str:
    """The final answer that `correctness` looks for in a reply, equal numbers and words spelt alike; "" where it gives none.

    >>> final_answer("It is 1,234.0.", "7"), final_answer("So the answer is (B) the guest.", "A"), final_answer("", "7")
    ('1234', 'B', '')
    """
    wanted = answer.rsplit("####", 1)[-1].strip()
    claim, boxed = _claim(reply)
    a_number = number(wanted) is not None
    if a_number or is_formula(wanted):
        whole, said = _offered(claim, boxed, reply)
        value = _only_number(whole) if whole else _claimed_number(claim, reply)
        if a_number and (value is not None or not whole):
            return "" if value is None else str(value)
        return _signs(whole or said)
    said = _sentence(claim) if claim else (reply.strip().splitlines() or [""])[-1]
    if len(wanted) == 1 and wanted.isupper():
        return _letter(claim) or _last_word(said).upper()
    return (_last_word(said) if len(wanted.split()) == 1 else "") or _normal(said)


def _right(reply: str, answer: str) -> bool:
    wanted = answer.rsplit("####", 1)[-1].strip()
    claim, boxed = _claim(reply)
    if boxed and not claim.strip():
        return False
    value = number(wanted)
    if value is None and not is_formula(wanted):
        return _is_word(claim, wanted, reply)
    whole, said = _offered(claim, boxed, reply)
    if value is None:
        return _is_formula(whole or said, wanted)
    return _is_value(whole, wanted, value) if whole else _claimed_number(claim, reply) == value


def _offered(claim: str, boxed: bool, reply: str) -> tuple[str, str]:
    """The part of the claim, or else of the last line, that is an answer and nothing else, or ""; and its sentence."""
    if boxed:
        return claim, claim
    said = _sentence(claim or reply.strip().rpartition("\n")[2])
    return _alone(said), said


def _is_word(claim: str, wanted: str, reply: str) -> bool:
    target = _normal(wanted)
    if claim:
        if len(target) == 1 and wanted.isupper() and _letter(claim) == wanted:  # of multiple choice
            return True
        return target in (_normal(claim), _normal(_sentence(claim)), _last_word(_sentence(claim)))
    lines = reply.strip().splitlines()
    return bool(lines) and target in (_normal(lines[-1]), _normal(reply), _last_word(lines[-1]))


def _letter(claim: str) -> str:
    """The option that a claim begins with; "" where it offers two."""
    match = _OPTION.match(claim)
    return match[1] if match else ""


def _is_value(claim: str, wanted: str, value: Fraction) -> bool:
    """Whether a claim that is the answer and nothing else has a number's value; one that offers several has none."""
    if is_formula(claim) and _only_number(claim) is None:
        return equal(wanted, claim)
    return _only_number(claim) == value


def _only_number(claim: str) -> Fraction | None:
    """The number that a claim is, after its last "=" and beside a unit; None where it is a formula or offers several."""
    right = claim.rsplit("=", 1)[-1]
    told = number(right)
    told = number(bare(right)) if told is None else told
    if told is not None and not _LISTED.search(claim):
        return told
    found = _numbers(claim)
    return _value(found[0]) if len(found) == 1 and not is_formula(claim) else None


def _is_formula(claim: str, wanted: str) -> bool:
    """Whether a claim is the formula that is wanted, by its signs or by its value."""
    return _signs(claim) == _signs(wanted) or equal(wanted, claim)


def _alone(said: str) -> str:
    """The formula in dollars of a sentence, where it is the only one and no other answer stands beside it."""
    spans = [a or b for a, b in _SPAN.findall(said)]
    around = _SPAN.sub(" ", said)
    return "" if len(spans) != 1 or _LISTED.search(around) or any(c.isdigit() for c in around) else spans[0]


def _claim(reply: str) -> tuple[str, bool]:
    """What the reply announces as its answer: the last \\boxed{}, and then True, or the text after the last claim."""
    if (start := reply.rfind("\\boxed{")) >= 0:
        return _braced(reply[start + len("\\boxed{") :]), True
    claims = list(_CLAIM.finditer(reply))
    return (reply[claims[-1].end() :].strip() if claims else ""), False


def _braced(text: str) -> str:
    depth = 1
    for i, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return text[:i]
    return ""


def _claimed_number(claim: str, reply: str) -> Fraction | None:
    """The first number of the claim (after its last "="), else the last number of the reply."""
    found = [_value(m) for m in _numbers(_sentence(claim).rsplit("=", 1)[-1])]
    if found:
        return found[0]
    found = [] if claim else [_value(m) for m in _numbers(reply)]
    return found[-1] if found else None


def _numbers(text: str) -> list[str]:
    """Numbers in `text`. A sign after a digit or a word is a minus or a hyphen of the text.

    >>> _numbers("from 10-3 to -4, x-5 and 1,200.50.")
    ['10', '3', '-4', '5', '1,200.50']
    """
    plain = _plain(text)
    found = []
    for match in _NUMBER.finditer(plain):
        written, start = match.group(), match.start()
        if written[0] in "+-" and start and (plain[start - 1].isalnum() or plain[start - 1] in ")]}"):
            written = written[1:]
        found.append(written)
    return found


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", _THOUSANDS_SPACE.sub("", text)).replace("−", "-").replace("⁄", "/")
    text = text.replace("{,}", ",").replace("\\!", "").replace("\\$", "$").replace("\\%", "%")
    return _TIGHT_FRACTION.sub(r"\1/\2", _FRACTION.sub(r"\1/\2", text))


def _value(written: str) -> Fraction | None:
    top, _, bottom = written.replace(",", "").partition("/")
    try:
        return Fraction(top) / Fraction(bottom or "1")
    except (ValueError, ZeroDivisionError):
        return None


def _sentence(claim: str) -> str:
    """The claim up to the end of its sentence or line."""
    return re.split(r"(?<=[^\d\s])\.(?=\s|$)|\s\.(?=\s|$)|(?<=\d)\.(?=\s|$)|[。\n]", claim.strip(), maxsplit=1)[0]


def _normal(text: str) -> str:
    folded = _NOISE.sub("", _plain(text).replace("dfrac", "frac")).casefold()
    return re.sub(r"^\{(.*)\}$", r"\1", folded.strip(_EDGES)).strip(_EDGES)


def _signs(formula: str) -> str:
    """A formula as it is compared sign by sign: without layout, its brackets and letters as they are."""
    bare = _PLAIN_NOISE.sub("", unicodedata.normalize("NFKC", formula).replace("−", "-"))
    return re.sub(r"_\{(\w+)\}", r"_\1", bare.replace("dfrac", "frac").replace("tfrac", "frac")).strip(" .,;:!?。，$*`")


def _last_word(text: str) -> str:
    """The last word, normalised; "" where a negation, or another answer and "or", stands before it."""
    words = [bare for word in text.split() if (bare := _normal(word))]
    if len(words) > 1 and words[-2] in _NEGATIONS | _BOTH:
        return ""
    return words[-1] if words else ""
