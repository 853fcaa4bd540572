"""Formulas: what is equal however it is written, and what only looks so."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primum.signals import correctness
from primum.signals.correctness import final_answer
from primum.signals.formulas import LONGEST, equal, is_formula
from primum.types import Example, Rollout

DATA = Path(os.environ.get("PRIMUM_DATA") or Path(__file__).resolve().parents[1] / ".." / "shared" / "data")


def judged(reply, answer):
    return correctness([Rollout(Example("1", "q", "task", answer=answer), "", reply)])[0]


EQUAL = [
    (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2"),
    ("x^2+1", "1+x^2"),
    ("(a+5)(b+2)", "ab+2a+5b+10"),
    (r"\sqrt{12}", r"2\sqrt3"),
    ("(3, 4]", r"\left(3,4\right]"),
    (r"(0,9) \cup (9,36)", r"(9, 36) \cup (0, 9)"),
    ("1,-2", r"-2 \text{ and } 1"),
    (r"3 \pm 2\sqrt{2}", r"3-2\sqrt2, 3+2\sqrt2"),
    ("x=5", "5"),
    (r"x \in [-2,7]", "[-2,7]"),
    (r"30^\circ", r"30\text{ degrees}"),
    (r"\frac{7}{2}\text{ cm}", r"3.5\text{ cm}"),
    ("2516_8", "2516_{8}"),
    (r"10^{-20}", r"\frac{1}{10^{20}}"),
    (r"\begin{pmatrix} 1/2 \\ 3 \end{pmatrix}", r"\begin{pmatrix} \frac12 \\ 3 \end{pmatrix}"),
]
UNEQUAL = [
    (r"\frac{\sqrt{3}}{2}", r"-\frac{\sqrt{3}}{2}"),
    (r"\frac{\sqrt{3}}{2}", "0.866"),
    (r"90^\circ", r"90\%"),
    (r"90^\circ", r"\frac{\pi}{2}"),
    ("52_8", "52"),
    ("52_8", "528"),
    ("(3,4]", "[3,4)"),
    ("(2,4)", r"\{2,4\}"),
    ("(15,-29)", "(8,-2)"),
    ("(1,2)", "(2,1)"),
    (r"(0,9) \cup (9,36)", "(0,9)"),
    ("10^{-20}", "10^{-21}"),
    (r"5.4\text{ cents}", r"5.4\text{ dollars}"),
    (r"10\sqrt3", r"2\sqrt3 \text{ or } 5"),
    (r"2\sqrt3", r"2\sqrt3 \text{ or } 5"),
    (r"2\sqrt3", r"\text{not } 2\sqrt3"),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}"),
    ("x=5", "y=5"),
    ("2k", "1+2k"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"),
    ("2k", ""),
]


@pytest.mark.parametrize(("wanted", "claim"), EQUAL)
def test_a_formula_is_right_however_it_is_written(wanted, claim):
    assert judged(f"So it is $\\boxed{{{claim}}}$.", wanted) == 1.0
    assert judged(f"The answer is ${claim}$.", wanted) == 1.0


@pytest.mark.parametrize(("wanted", "claim"), UNEQUAL)
def test_what_only_looks_like_the_answer_is_wrong(wanted, claim):
    assert judged(f"It is {wanted}, I first thought, but no: $\\boxed{{{claim}}}$.", wanted) == 0.0
    assert judged(f"The answer is ${claim}$.", wanted) == 0.0


@pytest.mark.parametrize(
    ("reply", "answer", "value"),
    [
        (r"\boxed{2^{10}}", "1024", 1.0),
        (r"\boxed{\sqrt{16}}", "4", 1.0),
        (r"\boxed{x = 5}", "5", 1.0),
        (r"\boxed{90^\circ}", "90", 1.0),
        (r"\boxed{5 \text{ apples}}", "5", 1.0),
        (r"\boxed{10,\!080}", "10080", 1.0),
        (r"\boxed{.35625}", ".35625", 1.0),
        (r"\boxed{\frac{3\sqrt{3}}{4}}", "3", 0.0),
        (r"The answer is $\frac{3\sqrt{3}}{4}$.", "3", 0.0),
        (r"so $x = \frac{\sqrt{3}}{4}$", "4", 0.0),
        (r"\boxed{3, 5, 7}", "3", 0.0),
        (r"\boxed{x = 5 \text{ or } x = 6}", "6", 0.0),
        (r"\boxed{12\pi}", "12", 0.0),
        (r"I get 7. \boxed{}", "7", 0.0),
        (r"The answer is seven or eight", "eight", 0.0),
    ],
)
def test_a_number_may_be_boxed_as_a_formula_but_is_not_picked_out_of_one(reply, answer, value):
    assert judged(reply, answer) == value


def test_the_final_answer_that_votes_is_the_one_that_is_judged():
    boxed = [r"\boxed{(3,4]}", r"\boxed{[3,4)}", "The answer is $(3, 4]$."]
    assert [final_answer(reply, "(3,4]") for reply in boxed] == ["(3,4]", "[3,4)", "(3,4]"]
    numbers = [
        r"\boxed{x = 5}",
        r"\boxed{5\sqrt{3}}",
        r"\boxed{5, 7}",
        r"\boxed{}",
        "It is 5.",
        r"\boxed{5 \text{ apples}}",
    ]
    assert [final_answer(reply, "5") for reply in numbers] == ["5", r"5\sqrt{3}", "5,7", "", "5", "5"]


def test_words_letters_times_and_sentences_are_no_formulas():
    words = ["B", r"\text{(B)}", "seven", "5 apples", "10:30", "2024-01-02", "live 5", "七", "5 个", "", " ", "is it 5?"]
    assert not any(map(is_formula, words))
    assert all(map(is_formula, [r"\pi", "2k", "x+y", r"\cot x", "3xy", "p - q"]))
    assert not equal("5 live", "5 evil")


def test_what_sympy_might_never_finish_is_not_asked():
    towers = ["9^{9^{9}}", "9^9^9", "((9^{99})^{99})^{99}", "9^{99 \\cdot 99}", "9^{(99)(99)}", "99999!", r"\exp(\exp(99))"]
    assert not any(map(is_formula, [*towers, "x+" * LONGEST + "1", "9^{12345}"]))
    assert judged(r"\boxed{9^{9^{9}}}", "9^{9^{9}}") == 1.0  # sign by sign it is the same all the same


def test_formulas_are_compared_in_threads_too():
    pairs = [(rf"\sqrt{{{n * n * 3}}}", rf"{n}\sqrt{{3}}") for n in range(2, 6)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda pair: equal(*pair), pairs)) == [True] * 4


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123456789x+-*/^(){}[]_,=.\\$ %frac!sqrt", max_size=24))
def test_no_claim_breaks_the_comparison(claim):
    assert judged(f"\\boxed{{{claim}}}", r"\frac{\sqrt{7}}{3}") in (0.0, 1.0)


@pytest.fixture(scope="module")
def references():
    path = DATA / "math" / "math500.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}: set PRIMUM_DATA to the shared data folder")
    return [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_reference_of_math_500_answers_itself(references):
    for template in (r"so \boxed{%s}.", "The answer is $%s$.", "We find $%s$"):
        assert sum(judged(template % answer, answer) for answer in references) == 500


def test_no_reference_of_math_500_is_answered_by_the_next_but_where_they_are_equal(references):
    others = references[1:] + references[:1]
    passed = [{a, b} for a, b in zip(references, others, strict=True) if judged(rf"\boxed{{{b}}}", a)]
    assert passed == [{"5", "x=5"}, {"7"}, {"3"}]
