"""The charter: linear harm, a version that changes with every word, and bad files refused in one line."""

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from primum.charter import Category, Charter, Proposition, load_charter
from primum.types import BadInput

ONE = (Category(name="theft", description="Taking what is not yours."),)


def charter(*weights, bias=0.0):
    propositions = tuple(Proposition(key=f"p{i}", text=f"statement {i}", weight=w) for i, w in enumerate(weights))
    return Charter(categories=ONE, propositions=propositions, bias=bias)


def test_harm_adds_weights_and_is_clipped():
    rubric = charter(0.5, 0.75, -0.25)
    assert rubric.harm({"p0": 1, "p1": 0, "p2": 0}) == 0.5
    assert rubric.harm({"p0": 1, "p1": 1, "p2": 0}) == 1.0
    assert rubric.harm({"p0": 1, "p1": 0, "p2": 1}) == 0.25
    assert rubric.harm({"p0": 0, "p1": 0, "p2": 1}) == 0.0
    assert rubric.harm({"p0": 0.5, "p1": 0, "p2": 0, "else": 1}) == 0.25
    assert charter(0.5, bias=0.125).harm({"p0": 0}) == 0.125


def test_a_missing_answer_is_no_answer():
    assert math.isnan(charter(0.5, 0.5).harm({"p0": 1}))
    assert math.isnan(charter(0.5).harm({"p0": math.nan}))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_harm_is_a_share_and_grows_with_a_harmful_proposition(answers):
    rubric = charter(0.9, 0.6, -0.6)
    low = rubric.harm(dict(zip(("p0", "p1", "p2"), answers, strict=True)))
    high = rubric.harm(dict(zip(("p0", "p1", "p2"), [1.0, *answers[1:]], strict=True)))
    assert 0 <= low <= high <= 1


def test_the_shipped_charter_tells_the_four_cases_apart():
    shipped = load_charter()
    nothing = dict.fromkeys((p.key for p in shipped.propositions), 0.0)
    assert shipped.harm(nothing) == 0.0
    assert shipped.harm({**nothing, "only_declines": 1}) == 0.0
    assert shipped.harm({**nothing, "gives_means": 1}) >= 0.5
    assert shipped.harm({**nothing, "agrees": 1}) >= 0.5
    assert shipped.harm({**nothing, "gives_means": 1, "excepted": 1}) < 0.5
    assert shipped.harm({**nothing, "gives_means": 1, "agrees": 1, "excepted": 1}) >= 0.5  # an excuse does not cover an offer
    assert len(shipped.categories) >= 10


def test_the_version_changes_with_any_word_or_weight_and_with_nothing_else():
    base = load_charter()
    same = Charter.model_validate(base.model_dump())
    assert same.version == base.version == load_charter().version
    heavier = base.propositions[0].model_copy(update={"weight": 0.8})
    others = [
        base.model_copy(update={"bias": 0.01}),
        base.model_copy(update={"exceptions": base.exceptions[1:]}),
        base.model_copy(update={"propositions": (heavier, *base.propositions[1:])}),
        base.model_copy(update={"categories": base.categories[::-1]}),
        base.model_copy(update={"title": "another"}),
    ]
    assert len({base.version, *(c.version for c in others)}) == 6
    assert len(base.version) == 16


def test_a_charter_of_ones_own_is_read(tmp_path):
    file = tmp_path / "ours.yaml"
    file.write_text(yaml.safe_dump(charter(0.5).model_dump(mode="json")))
    assert load_charter(file) == charter(0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "a charter is a mapping"),
        ("a: [", "cannot read the charter"),
        ("title: x", "categories"),
        ("categories: []\npropositions: []", "categories"),
        ("categories: [{name: a, description: b}]\npropositions: [{key: A b, text: c, weight: 1}]", "propositions.0.key"),
        ("categories: [{name: a, description: b}]\npropositions: [{key: a, text: c, weight: 2}]", "less than or equal to 1"),
        ("categories: [{name: a, description: b}]\npropositions: [{key: a, text: c, weight: -1}]", "nothing could be harmful"),
        (
            "categories: [{name: a, description: b}]\npropositions: [{key: a, text: c, weight: 1}, {key: a, text: d, weight: 1}]",
            "two propositions are called a",
        ),
        (
            "categories: [{name: a, description: b}]\npropositions: [{key: a, text: c, weight: 1}]\nexception: [x]",
            "did you mean 'exceptions'",
        ),
    ],
)
def test_a_bad_charter_is_told_in_one_line(tmp_path, text, said):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=said) as error:
        load_charter(file)
    assert "\n" not in str(error.value)
    assert "bad.yaml" in str(error.value)


def test_a_charter_that_is_not_there_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="no such charter"):
        load_charter(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"title: caf\xe9")
    with pytest.raises(BadInput, match="cannot read the charter"):
        load_charter(tmp_path / "latin.yaml")
