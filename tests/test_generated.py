"""Tasks made from a seed: their answers worked out another way, and what the checker makes of them."""

from __future__ import annotations

import re
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primum.evaluate.generated import spelled
from primum.evaluate.public import load_set
from primum.signals import correctness
from primum.types import BadInput, Example, Rollout

SEEDS = st.integers(0, 10**6)


def graded(example: Example, reply: str) -> float:
    return correctness([Rollout(example, "", reply)])[0]


def refused(spec: str) -> str:
    with pytest.raises(BadInput) as caught:
        load_set(spec)
    return str(caught.value)


def unspelled(words: str) -> int:
    """A number in words, by adding up what the words are worth."""
    ones = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    tens = "twenty thirty forty fifty sixty seventy eighty ninety"
    worth = {word: i for i, word in enumerate([*ones.split(), "eighteen", "nineteen"])}
    worth |= {word: 10 * i for i, word in enumerate(tens.split(), start=2)}
    total = part = 0
    for word in re.split(r"[ -]", words):
        if word == "hundred":
            part *= 100
        elif word in ("thousand", "million"):
            total, part = total + part * (1000 if word == "thousand" else 10**6), 0
        else:
            part += worth[word]
    return total + part


def solved(example: Example) -> str:
    """The answer of a puzzle, from its words alone."""
    return {"order": _order, "truth": _truth, "knights": _knights}[example.category](example.prompt)


def _order(prompt: str) -> str:
    clues = [(a, b) if how == "older" else (b, a) for a, how, b in re.findall(r"(\w+) is (older|younger) than (\w+)\.", prompt)]
    people = sorted({name for clue in clues for name in clue})
    found = [p for p in permutations(people) if all(p.index(a) < p.index(b) for a, b in clues)]
    assert len(found) == 1
    asked = re.search(r"Who is the (?:(\w+) )?oldest\?", prompt)
    assert asked
    return found[0][{None: 0, "second": 1, "third": 2, "fourth": 3}[asked[1]]]


def _truth(prompt: str) -> str:
    told, formula = prompt.split(". Is the following true or false: ")
    values = {letter: int(word == "true") for letter, word in re.findall(r"(\w) is (true|false)", told)}
    bits = formula.partition("?")[0]
    for word, sign in (("xor", "^"), ("and", "&"), ("or", "|"), ("not ", "~")):
        bits = bits.replace(word, sign)
    return "true" if eval(bits, {}, values) & 1 else "false"


def _knights(prompt: str) -> str:
    said = re.findall(r'(\w+) says: "([^"]+)\."', prompt)
    worlds = []
    for world in product((True, False), repeat=len(said)):
        knight = dict(zip((speaker for speaker, _ in said), world, strict=True))
        if all(knight[speaker] == _true(claim, knight) for speaker, claim in said):
            worlds.append(sum(world))
    assert len(worlds) == 1
    return str(worlds[0])


def _true(claim: str, knight: dict[str, bool]) -> bool:
    if pair := re.fullmatch(r"(\w+) and (\w+) are of (the same kind|different kinds)", claim):
        return (knight[pair[1]] == knight[pair[2]]) == (pair[3] == "the same kind")
    one = re.fullmatch(r"(\w+) is a (knight|knave)", claim)
    assert one
    return knight[one[1]] == (one[2] == "knight")


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 6), st.integers(1, 9), st.booleans())
def test_the_answers_of_arithmetic_are_those_of_python(seed: int, operands: int, digits: int, words: bool) -> None:
    for e in load_set(f"generated:arithmetic?n=5&operands={operands}&digits={digits}&seed={seed}&words={str(words).lower()}"):
        chain = e.prompt.removeprefix("What is ").partition("?")[0]
        parts = re.split(r" (plus|minus|times|\+|−|×) ", chain)
        numbers = [unspelled(part) if words else int(part) for part in parts[::2]]
        assert {len(str(number)) for number in numbers} == {digits}
        assert len(numbers) == operands
        signs = [{"plus": "+", "minus": "-", "−": "-", "times": "*", "×": "*"}.get(sign, sign) for sign in parts[1::2]]
        python = "".join(f"{sign}{number}" for sign, number in zip(["", *signs], numbers, strict=True))
        assert eval(python) == int(e.answer)
        assert (graded(e, f"The answer is {e.answer}."), graded(e, f"The answer is {int(e.answer) + 1}.")) == (1.0, 0.0)
        assert (e.kind, e.category, e.source) == ("task", "in words" if words else "in digits", "generated/arithmetic")


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(3, 6))
def test_the_answers_of_puzzles_follow_from_their_words_alone(seed: int, size: int) -> None:
    found = load_set(f"generated:logic?n=9&size={size}&seed={seed}")
    assert sorted(e.category for e in found) == [form for form in ("knights", "order", "truth") for _ in range(3)]
    for e in found:
        assert e.answer == solved(e)
        wrong = {"true": "false", "false": "true"}.get(e.answer, "Zoe" if e.answer.isalpha() else f"{e.answer}0")
        wrong = wrong if wrong != "00" else "1"
        assert graded(e, f"I went through it.\nThe answer is {e.answer}.") == 1.0
        assert graded(e, f"I went through it.\nThe answer is {wrong}.") == 0.0
        assert (e.kind, e.source) == ("task", "generated/logic")


def test_products_come_before_sums_and_differences_from_left_to_right() -> None:
    found = {e.prompt.partition("?")[0]: e.answer for e in load_set("generated:arithmetic?n=6561&operands=3&digits=1")}
    assert (found["What is 9 − 2 − 3"], found["What is 2 + 3 × 4"], found["What is 1 − 2 × 5"]) == ("4", "14", "-9")


@pytest.mark.parametrize(
    "spec", ["generated:arithmetic?n=300&operands=2", "generated:arithmetic?n=300&words=true", "generated:logic?n=300"]
)
def test_one_seed_makes_the_same_tasks_and_never_one_twice(spec: str) -> None:
    found = load_set(f"{spec}&seed=3")
    assert found == load_set(f"{spec}&seed=3")
    assert len({e.prompt for e in found}) == len({e.id for e in found}) == 300
    assert found[:50] == load_set(f"{spec.replace('300', '50')}&seed=3")
    assert len({e.prompt for e in found} & {e.prompt for e in load_set(f"{spec}&seed=4")}) < 30


def test_every_number_in_words_is_read_back() -> None:
    for number in (0, 7, 13, 20, 99, 100, 101, 999, 1000, 1001, 20_020, 305_000, 10**6, 987_654_321):
        assert unspelled(spelled(number)) == number
    assert spelled(912_045) == "nine hundred twelve thousand forty-five"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("generated:arithmetik", "did you mean 'arithmetic'?"),
        ("generated:", "write generated:arithmetic or generated:logic"),
        ("generated:logic?people=4", "unknown setting 'people'"),
        ("generated:logic?size=2", "size"),
        ("generated:arithmetic?n=0", "n"),
        ("generated:arithmetic?n", "'n' is no setting"),
        ("generated:arithmetic?n=244&digits=1&operands=2", "only 243 different tasks"),
        ("generate:arithmetic", "did you mean 'generated:'?"),
    ],
)
def test_a_wrong_request_for_tasks_says_why(spec: str, words: str) -> None:
    line = refused(spec)
    assert words in line
    assert "\n" not in line
