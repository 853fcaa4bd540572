"""Verifiable tasks made from a seed, without a file: chains of arithmetic, and puzzles of logic with one solution."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from random import Random
from typing import cast

from pydantic import Field

from primum.config import Config, nearest, validate
from primum.evaluate.public_rows import digest, settings_of
from primum.types import BadInput, Example

Draw = Callable[[], tuple[str, str, str]]  # form, question, answer
OPERATIONS = {
    "+": ("plus", operator.add),
    "−": ("minus", operator.sub),
    "×": ("times", operator.mul),
}
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ida", "Jon", "Kai", "Lea", "Max", "Nia", "Otto", "Pia")
NTH = ("oldest", "second oldest", "third oldest", "fourth oldest")
SAY = 'End with "The answer is" and {} alone.'


class ArithmeticConfig(Config):
    """Chains of +, − and ×."""

    n: int = Field(200, ge=1, le=100_000)  # tasks
    operands: int = Field(3, ge=2, le=12)  # numbers in a chain
    digits: int = Field(2, ge=1, le=9)  # of every number
    words: bool = False  # numbers and signs spelled out
    seed: int = Field(0, ge=0)


class LogicConfig(Config):
    """Orders, truth values, and knights and knaves, in turn."""

    n: int = Field(99, ge=1, le=10_000)  # tasks
    size: int = Field(4, ge=3, le=8)  # people, or letters
    seed: int = Field(0, ge=0)


def generated(spec: str) -> list[Example]:
    """Tasks such as "generated:arithmetic?n=200&operands=3&digits=2&seed=0" and "generated:logic?n=99&size=4&seed=0".

    The same settings make the same tasks, no prompt occurs twice, and more of them begin with the fewer.

    >>> [(e.prompt.split("?")[0], e.answer) for e in generated("generated:arithmetic?n=1&words=true&digits=1&operands=2")]
    [('What is five plus eight', '13')]
    """
    form, _, query = spec.removeprefix("generated:").partition("?")
    settings = settings_of(query, spec)
    if form == "arithmetic":
        arithmetic = validate(ArithmeticConfig, settings, spec[:80])
        draw, n = _arithmetic(arithmetic, Random(f"arithmetic {arithmetic.seed}")), arithmetic.n
    elif form == "logic":
        logic = validate(LogicConfig, settings, spec[:80])
        draw, n = _logic(logic, Random(f"logic {logic.seed}")), logic.n
    else:
        near = nearest(form, ["arithmetic", "logic"])
        remedy = f"did you mean '{near}'?" if near else "write generated:arithmetic or generated:logic"
        raise BadInput(f"'{form[:40]}' is no form of generated tasks", spec[:80], remedy)
    found: dict[str, Example] = {}
    for _ in range(1000 + 50 * n):
        kind, prompt, answer = draw()
        own = f"generated/{form}/{digest(prompt)}"
        found.setdefault(prompt, Example(own, prompt, "task", kind, answer, source=f"generated/{form}"))
        if len(found) == n:
            return list(found.values())
    raise BadInput(f"only {len(found)} different tasks were found", spec[:80], "ask for fewer, or for larger ones")


def _arithmetic(config: ArithmeticConfig, random: Random) -> Draw:
    def draw() -> tuple[str, str, str]:
        low = 10 ** (config.digits - 1)
        numbers = [random.randrange(low, 10 * low) for _ in range(config.operands)]
        signs = [random.choice(tuple(OPERATIONS)) for _ in numbers[1:]]
        said = [spelled(x) if config.words else str(x) for x in numbers]
        between = [OPERATIONS[sign][0] if config.words else sign for sign in signs]
        chain = " ".join([said[0], *(word for pair in zip(between, said[1:], strict=True) for word in pair)])
        first = "" if len(signs) == 1 else " Multiply before you add or subtract."
        question = f"What is {chain}?{first} {SAY.format('the number in digits')}"
        return "in words" if config.words else "in digits", question, str(_value(numbers, signs))

    return draw


def _value(numbers: Sequence[int], signs: Sequence[str]) -> int:
    """Products first, then from left to right."""
    terms, between = [numbers[0]], []
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign == "×":
            terms[-1] *= number
        else:
            between.append(sign)
            terms.append(number)
    value = terms[0]
    for sign, term in zip(between, terms[1:], strict=True):
        value = OPERATIONS[sign][1](value, term)
    return value


def spelled(number: int) -> str:
    """A number below a thousand million in words.

    >>> spelled(40), spelled(1_305_021)
    ('forty', 'one million three hundred five thousand twenty-one')
    """
    for size, name in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {spelled(number % size)}" if number % size else ""
            return f"{spelled(number // size)} {name}{rest}"
    if number < 20:
        return ONES[number]
    return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")


def _logic(config: LogicConfig, random: Random) -> Draw:
    turns = 0

    def draw() -> tuple[str, str, str]:
        nonlocal turns
        turns += 1
        return (_order, _truth, _knights)[turns % 3](config.size, random)

    return draw


def _order(size: int, random: Random) -> tuple[str, str, str]:
    """Neighbours of a hidden order, told in any order and from either side."""
    people = random.sample(NAMES, size)
    clues = [random.choice((f"{a} is older than {b}.", f"{b} is younger than {a}.")) for a, b in pairwise(people)]
    random.shuffle(clues)
    place = random.randrange(min(size, len(NTH)))
    return "order", f"{' '.join(clues)} Who is the {NTH[place]}? {SAY.format('the name')}", people[place]


def _truth(size: int, random: Random) -> tuple[str, str, str]:
    """A formula over letters whose truth is given."""
    letters = "PQRSTUVW"[:size]
    true = {letter: random.random() < 0.5 for letter in letters}
    text, value = _formula([*letters, *random.choices(letters, k=2)], true, random)
    given = ", ".join(f"{letter} is {_word(v)}" for letter, v in true.items())
    question = (
        f"{given}. Is the following true or false: {text.removeprefix('(').removesuffix(')')}? {SAY.format('true or false')}"
    )
    return "truth", question, _word(value)


def _formula(letters: list[str], true: dict[str, bool], random: Random) -> tuple[str, bool]:
    """Every letter once, joined in pairs by and, or, xor; any of them may be negated. The whole stands in brackets."""
    parts = [(letter, true[letter]) for letter in letters]
    while len(parts) > 1:
        i = random.randrange(len(parts) - 1)
        (a, x), (b, y) = (_negated(part, random) for part in parts[i : i + 2])
        word = random.choice(("and", "or", "xor"))
        parts[i : i + 2] = [(f"({a} {word} {b})", {"and": x and y, "or": x or y, "xor": x != y}[word])]
    return parts[0]


def _negated(part: tuple[str, bool], random: Random) -> tuple[str, bool]:
    text, value = part
    return (f"not {text}", not value) if random.random() < 0.3 else part


def _word(value: bool) -> str:
    return str(value).lower()


def _knights(size: int, random: Random) -> tuple[str, str, str]:
    """Knights tell the truth, knaves lie; drawn again until one world alone agrees with what was said."""
    while True:
        people = random.sample(NAMES, size)
        said = [_statement(i, size, random) for i in range(size)]
        worlds = [w for w in product((True, False), repeat=size) if all(_holds(s, w) == w[i] for i, s in enumerate(said))]
        if len(worlds) == 1:
            break
    told = " ".join(f'{people[i]} says: "{_quoted(s, people)}"' for i, s in enumerate(said))
    first = f"Of {', '.join(people[:-1])} and {people[-1]}, knights always tell the truth and knaves always lie."
    return "knights", f"{first} {told} How many of them are knights? {SAY.format('the number')}", str(sum(worlds[0]))


def _statement(speaker: int, size: int, random: Random) -> tuple[str, int, int]:
    a, b = random.sample([i for i in range(size) if i != speaker], 2)
    return cast("tuple[str, int, int]", (random.choice(("knight", "knave", "alike", "unlike")), a, b))


def _holds(said: tuple[str, int, int], world: Sequence[bool]) -> bool:
    what, a, b = said
    return {"knight": world[a], "knave": not world[a], "alike": world[a] == world[b], "unlike": world[a] != world[b]}[what]


def _quoted(said: tuple[str, int, int], people: Sequence[str]) -> str:
    what, a, b = said
    if what in ("knight", "knave"):
        return f"{people[a]} is a {what}."
    return f"{people[a]} and {people[b]} are {'of the same kind' if what == 'alike' else 'of different kinds'}."
