import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum.policy import Split, split

OPENED = [
    ("why not </think> no .", Split("why not", "no .", True)),
    ("why\n</think>\n\nno .\n", Split("why", "no .", True)),
    ("</think> no .", Split("", "no .", True)),  # an empty thought
    ("why not", Split("why not", "", False)),  # unclosed
    ("", Split("", "", False)),
    ("why </think>", Split("why", "", False)),  # nothing said
    ("why </think>  \n", Split("why", "", False)),
    ("why </think> </think> no .", Split("why", "no .", False)),  # closed twice
    ("why </think> <think> because </think> no .", Split("why because", "no .", False)),  # thought twice
    ("why </think> <think> because", Split("why because", "", False)),  # opened again and left open
    ("<think> why </think> no .", Split("why", "no .", False)),  # the prompt had opened it already
    ("I close with a <think> tag </think> no .", Split("I close with a <think> tag", "no .", True)),  # a mention
    ("why </think> no . </think> yes .", Split("why", "no . yes .", False)),  # what is seen after the first is seen
    ("why </think> no . <think> hm </think> yes", Split("why", "no . hm yes", False)),
]
UNOPENED = [
    ("no .", Split("", "no .", True)),  # a model without thoughts
    ("<think> why </think> no .", Split("why", "no .", True)),
    ("<think>\n\n</think>\n\nno .", Split("", "no .", True)),
    ("<think> why", Split("why", "", False)),
    ("<think>", Split("", "", False)),
    ("<think> I close with a <think> tag </think> no .", Split("I close with a <think> tag", "no .", True)),  # a mention
    ("<think> why </think> <think> because </think> no .", Split("why because", "no .", False)),  # thought twice
    ("<think> why </think> no . </think> yes .", Split("why", "no . yes .", False)),
    ("why </think> no .", Split("why", "no .", False)),  # never opened
    ("well <think> why </think> no .", Split("why", "well no .", False)),  # words before it are seen
    ("<think> <think> why </think> no .", Split("why", "no .", False)),
    ("", Split("", "", False)),
]


@pytest.mark.parametrize(("text", "expected"), OPENED)
def test_split_after_a_prompt_that_opened_the_thought(text, expected):
    assert split(text) == expected


@pytest.mark.parametrize(("text", "expected"), UNOPENED)
def test_split_after_a_prompt_that_opened_none(text, expected):
    assert split(text, opened=False) == expected


def letters(text):
    return Counter(re.sub(r"</?think>|\s", "", re.sub(r"</?think>", " ", text)))


pieces = st.lists(st.sampled_from(["<think>", "</think>", "a", "bc ", " ", "\n", "<", "think>", "/", "是"]), max_size=14).map(
    "".join
)


@given(pieces, st.booleans())
def test_split_loses_no_words_and_leaves_no_tag_at_an_edge_or_in_a_reply(text, opened):
    found = split(text, opened=opened)
    assert letters(found.thought) + letters(found.reply) == letters(text)
    assert "<think>" not in found.reply
    assert "</think>" not in found.reply
    assert "</think>" not in found.thought
    assert not found.thought.startswith("<think>")
    assert not found.thought.endswith("<think>")
    assert found.reply == found.reply.strip()


@given(pieces)
def test_well_formed_means_closed_once_and_a_reply(text):
    found = split(text)
    if found.well_formed:
        assert text.count("</think>") == 1
        assert found.reply
    assert split(text, opened=False).well_formed <= (text.count("</think>") <= 1)


words = st.lists(st.sampled_from(["a", "bc ", " ", "\n", "<", "think>", "/", "是", "</think", "<b>"]), max_size=8).map("".join)
plain = words.filter(lambda text: "<think>" not in text and "</think>" not in text)


@given(plain, plain, st.booleans())
def test_a_thought_and_a_reply_put_together_come_apart_again(thought, reply, opened):
    text = f"{'' if opened else '<think>'}{thought}\n</think>\n\n{reply}"
    found = split(text, opened=opened)
    assert (found.thought, found.reply, found.well_formed) == (thought.strip(), reply.strip(), bool(reply.strip()))
    assert split(found.reply, opened=False) == Split("", found.reply, bool(found.reply))


@given(plain, plain, st.booleans(), st.floats(0, 1))
def test_cutting_a_completion_short_never_makes_a_reply_of_its_thought(thought, reply, opened, share):
    text = f"{'' if opened else '<think>'}{thought}\n</think>\n\n{reply}"
    cut = text[: len("<think>") * (not opened) + int(share * len(text))]
    found, whole = split(cut, opened=opened), split(text, opened=opened)
    if "</think>" in cut:
        assert found.thought == whole.thought
        assert whole.reply.startswith(found.reply)
    else:
        assert (found.reply, found.well_formed) == ("", False)
