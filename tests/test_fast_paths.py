"""Cheap looks before dear patterns change no answer: each against the plain definition, on texts made to mislead."""

import importlib
import re
import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from primum.signals import language, repetition
from primum.signals.text import UNSPACED, fold, sentences
from primum.types import Example, Rollout

refusal = importlib.import_module("primum.signals.refusal")
consistency = importlib.import_module("primum.signals.consistency")
keywords = importlib.import_module("primum.signals.keywords")

BITS = (
    "i can't help", "I’m sorry , but no", "ich kann dir nicht helfen", "je ne peux pas aider", "no puedo ayudar",
    "non posso aiutarti", "não posso ajudar", "我 不能 帮 你", "对不起，我无法回答", "申し訳ありませんができません",
    "도와드릴 수 없습니다", "я не могу помочь", "so refuse", "should not help", "-> comply", "it's fine", "which", "broke",
    "i'll ", "let me ", "start with ", "draft ", "and ", "give ", "details ", "without ",
    " .", " ,", " ;", " :", " ?", " 、", "。", "\n", "\n\n", "\t.", "\u3000。", "\u2028", "\x1c!", "ＫＩＬＬ", "kill", "skill",
    "打破", "meth", "π", "x", "’", "é", "ß", "İ", "1", "x + y", "``", ". ", "... ", "! ", "是",
)  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(BITS), st.sampled_from([" ", ""]), st.text(max_size=3)), max_size=12).map("".join)
WORDS = frozenset({"kill", "meth", "打破", "i can't", "é", "非"})


@settings(max_examples=400)
@given(TEXTS)
@example("a .b , c")
def test_folding_is_its_plain_definition(text):
    quotes = str.maketrans("’‘“”", "''\"\"")
    plain = unicodedata.normalize("NFKC", text).translate(quotes).casefold()
    plain = re.sub(r"\s+(?=[,.!?;:、。](?:\s|$))", "", plain)
    assert fold(text) == re.sub(rf"(?<=[{UNSPACED},;:、])[ \t]+(?=[{UNSPACED}])", "", plain)


@settings(max_examples=400)
@given(TEXTS)
def test_sentences_are_cut_where_the_plain_pattern_cuts(text):
    assert sentences(text) == [s.strip() for s in re.split(r"(?<=[.!?])\s+|(?<=。)|\n+", text) if s.strip()]


@settings(max_examples=400)
@given(TEXTS, st.integers(0, 3))
def test_the_last_sentences_are_the_last_of_all(text, times):
    long = text * (1 + times * 40)
    assert consistency._last_sentences(long) == sentences(fold(long))[-3:]


@settings(max_examples=400)
@given(TEXTS)
def test_no_pattern_matches_where_the_cheap_look_sees_nothing(text):
    folded = fold(text)
    assert refusal._may_decline(folded) or not refusal.OTHER_TONGUES.search(folded)
    for name in ("_REFUSE _REFUSING", "_COMPLY _COMPLYING", "_STARTS _STARTING"):
        pattern, needed = (getattr(consistency, part) for part in name.split())
        ends = [match.end() for match in pattern.finditer(folded)]
        assert consistency._last(pattern, folded, needed) == max(ends, default=-1)


@pytest.mark.parametrize("word", consistency._REFUSING)
def test_every_word_of_a_refusing_verdict_is_looked_for(word):
    verdicts = [
        "so refuse",
        "i must decline",
        "must reject it",
        "will deny it",
        "should not help",
        "can't help",
        "should never help",
        "turn it down",
        "stay firm",
        "without giving details",
    ]
    verdicts += [f"it is {bad}" for bad in ("harmful", "dangerous", "illegal", "unsafe", "unethical", "wrong", "bad")]
    (said, *_) = [verdict for verdict in verdicts if word in verdict]
    assert consistency._last(consistency._REFUSE, said, (word,)) > 0
    assert consistency._last(consistency._REFUSE, said, consistency._REFUSING) > 0


@pytest.mark.parametrize("word", consistency._COMPLYING)
def test_every_word_of_a_complying_verdict_is_looked_for(word):
    adjective = word in ("fine", "ok", "safe", "good", "harmless", "benign", "allowed", "legitimate", "innocent", "legal")
    said = f"-> {word}" if word == "good" else f"it is {word}" if adjective else f"i can {word}"
    said = {"normal": "that's a normal thing", "no harm": "there is no harm in it"}.get(word, said)
    assert consistency._last(consistency._COMPLY, said, consistency._COMPLYING) > 0
    assert not [w for w in consistency._COMPLYING if w in said and w != word]


def test_every_tongue_is_seen_by_the_cheap_look():
    said = BITS[2:12]
    assert all(refusal._may_decline(fold(s)) and refusal.OTHER_TONGUES.search(fold(s)) for s in said)
    assert not refusal._may_decline("which lamp is it?")


@settings(max_examples=400)
@given(TEXTS)
def test_listed_words_are_found_by_the_short_cuts_as_by_the_pattern(text):
    assert keywords._holds(text, WORDS) == bool(keywords._pattern(WORDS).search(fold(text)))


@settings(max_examples=400)
@given(TEXTS)
def test_letters_are_counted_by_script_as_one_by_one(text):
    lone = re.sub(r"(?<![A-Za-zÀ-ɏͰ-Ͽ'’])[A-Za-zÀ-ɏͰ-Ͽ](?![A-Za-zÀ-ɏͰ-Ͽ'’])", " ", language.prose(text))
    assert language.scripts(text) == Counter(script for char in lone if (script := language._script(char)))


@given(TEXTS)
def test_repetition_is_one_less_distinct_over_all(text):
    words = re.findall(rf"[{UNSPACED}]|[^\W{UNSPACED}]+", fold(text))
    grams = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    (value,) = repetition([Rollout(Example("1", "q", "benign"), "", text)])
    assert value == (1 - len(set(grams)) / len(grams) if grams else 0.0) or not words
