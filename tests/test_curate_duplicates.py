"""Near-duplicates and contamination: the estimate against the exact index, and what counts as shared."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from curate_files import COLOURS, NOUNS, jsonl, prompt
from hypothesis import given, settings
from hypothesis import strategies as st

from primum.curate.contamination import contaminated, read_prompts
from primum.curate.duplicates import jaccard, near_duplicates, shingles, signature
from primum.curate.normalise import folded, normalise

WORDS = st.lists(st.sampled_from([*NOUNS, *COLOURS, "你好", "é"]), min_size=4, max_size=40)


@given(WORDS, WORDS, st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_minhash_estimates_the_exact_jaccard_index(a: list[str], b: list[str], shared: int) -> None:
    left, right = " ".join(a), " ".join(a[:shared] + b)
    exact = (
        {left.casefold()[i : i + 5] for i in range(len(left) - 4)},
        {right.casefold()[i : i + 5] for i in range(len(right) - 4)},
    )
    truth = len(exact[0] & exact[1]) / len(exact[0] | exact[1])
    assert jaccard(shingles(left), shingles(right)) == pytest.approx(truth, abs=1e-12)
    estimate = float((signature(shingles(left)) == signature(shingles(right))).mean())
    # 128 entries: a standard deviation of at most 0.044.
    assert abs(estimate - truth) < 5 * 0.0443


@given(
    st.lists(
        st.sampled_from([" ".join(NOUNS[i : i + 6]) + tail for i in range(6) for tail in ("", "?", " red", " red kite", "!!")]),
        max_size=12,
    )
)
@settings(max_examples=100, deadline=None)
def test_near_duplicates_are_those_that_comparing_every_pair_finds(texts: list[str]) -> None:
    kept: list[int] = []
    expected = {}
    for i, text in enumerate(texts):
        first = next((j for j in kept if jaccard(shingles(texts[j]), shingles(text)) >= 0.8), None)
        if first is None:
            kept.append(i)
        else:
            expected[i] = first
    assert near_duplicates(texts, 0.8) == expected


def test_ten_thousand_prompts_are_compared_in_seconds() -> None:
    texts = [prompt("x", i) + prompt("y", i) for i in range(10_000)]
    start = time.process_time()
    assert near_duplicates([*texts, texts[5] + "."]) == {10_000: 5}
    assert time.process_time() - start < 20  # two to three on one idle core


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert len(once.splitlines()) == once.count("\n") + bool(once.rpartition("\n")[2])


def test_normalising_keeps_the_words_as_they_are() -> None:
    assert normalise("\ufeff ＡＢ  c\u2028d\x00e\ud800 ") == "ＡＢ  c\nde\ufffd"
    assert folded("ＡＢ\u200b  c\n") == "ab c"


def test_a_shared_passage_is_contamination_and_a_shared_phrase_is_not() -> None:
    measured = ["how many red kites are there in the whole wide world today", "你好请问今天天气怎么样", "boil tea"]
    texts = [
        "tell me: How many RED kites, are there in the whole town",  # eight words
        "how many red kites are there in a town, in the whole wide world today",  # six and seven
        "小明说你好请问今天天气",  # eight characters
        "Boil tea!",
        "boil tea now",
    ]
    assert contaminated(texts, measured) == {0, 2, 3}
    assert contaminated(["how many red kites are there, in one whole wide world today?"], measured[:1]) == set()
    assert contaminated(
        ["how many red kites are there in thee whole wide world today"], measured[:1], words=9, threshold=0.8
    ) == {0}
    # Two prompts that repeat each other are no contamination.
    twice = ["a red stone lies on the warm green roof", "a red stone lies on the warm green roof!"]
    assert contaminated(twice, measured, threshold=0.8) == set()


def test_prompts_to_keep_out_are_found_in_any_column(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "a chat"}]}
    paths = [
        jsonl(tmp_path / "a.jsonl", [{"Behavior": "do x", "n": 1}]),
        jsonl(tmp_path / "b.jsonl", [{"prompts_final": "do y"}, chat]),
    ]
    assert read_prompts(paths) == ["do x", "do y", "user", "a chat"]
