"""LIX by hand: words a sentence, and the share of words with more than six letters."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum.signals import lix
from primum.signals.named import named
from primum.types import Example, Rollout

nan = pytest.approx(math.nan, nan_ok=True)


def read(*replies, **settings):
    return lix([Rollout(Example("1", "q", "benign"), "", reply) for reply in replies], **settings)


def test_lix_adds_words_a_sentence_and_long_words_in_a_hundred():
    assert read("The cat sat. It was here.") == [3.0]  # 6 words, 2 sentences, none long
    assert read("Elephants remember. It was here.") == [pytest.approx(5 / 2 + 100 * 2 / 5)]
    assert read("Слоны запоминают дорогу домой.") == [pytest.approx(4 + 100 * 1 / 4)]
    assert read("sixsix sevenxx") == [pytest.approx(2 + 50)]


def test_lines_are_sentences_and_numbers_signs_and_hyphens_are_no_letters():
    assert read("Buy:\n- milk\n- bread\n- 3.5\n***") == [1.0]  # three words on three lines
    assert read("It was 3.14, not 42.") == [3.0]
    assert read("vis-a-vis don't") == [pytest.approx(2 + 50)]  # visavis has seven letters, dont four
    assert read("three o'clock") == [2.0]  # oclock has six


def test_a_script_without_an_alphabet_and_a_text_without_words_are_unscored():
    assert read("因为空气会散射太阳的光线。", "42", "", "```\nprint(1)\n```", "안녕하세요 여러분") == [nan] * 5
    assert read("The elephant 大象 is here.") == [pytest.approx(4 + 25)]


def test_the_thought_is_read_apart():
    rollout = Rollout(Example("1", "q", "benign"), "It was here.", "Elephants remember.")
    assert lix([rollout]) == [102.0]
    assert lix([rollout], half="thought") == named("lix_in_thought")([rollout]) == [3.0]


@given(st.text(max_size=80))
def test_lix_is_positive_or_unscored(text):
    (value,) = read(text)
    assert math.isnan(value) or value >= 1
