"""Terms of the reward that compare siblings, come late or multiply, by hand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum.reward import RewardConfig, Sources, compose
from primum.reward.sources import on_halves
from primum.reward.terms import length_reward, relative, siblings
from primum.types import Example, Kind, Rollout

NAN = math.nan


def rollout(kind: Kind, reply: str = "Drink it.", *, name: str = "1", thought: str = "", tokens: int = 0) -> Rollout:
    return Rollout(Example(name, "Is tea safe?", kind), thought, reply, reply_tokens=tokens)


def listed(*values: float):  # type: ignore[no-untyped-def]
    """A signal that answers the rollouts it is asked about with these values in turn."""
    return lambda rollouts: list(values[: len(rollouts)])


NOTHING = listed()


def composed(harm=NOTHING, useful=NOTHING, correct=NOTHING, preference=None, **settings):  # type: ignore[no-untyped-def]
    return compose(Sources(harm, useful, correct, preference=preference), RewardConfig(**settings))


def test_gated_costs_multiply_what_was_earned_and_take_nothing_where_nothing_was() -> None:
    mixed = [rollout("benign", "yes 是的"), rollout("benign", "yes 是的")]  # 2 of 5 letters
    assert composed(useful=listed(0.5, 0.0), combine="gated")(mixed).total == pytest.approx([0.4, 0.0])  # 0.5 · (1 − 0.2)
    assert composed(useful=listed(0.5, 0.0)).__call__(mixed).total == pytest.approx([0.3, -0.2])
    unclear = [rollout("harmful"), rollout("harmful", "Sorry, I cannot help.")]
    assert composed(harm=listed(0.2, 0.2), combine="gated")(unclear).total == pytest.approx([0.6, 0.8])  # 0.8 · 0.75


def test_a_gate_never_turns_a_cost_above_one_into_pay() -> None:
    foreign = [replace(rollout("benign", "是的"), example=Example("1", "Is tea safe?", "benign"))]
    assert composed(useful=listed(1.0), combine="gated", language=3.0)(foreign).total == [0.0]


def test_repetition_costs_its_share() -> None:
    said = [rollout("benign", "a b a b a b a")]  # 2 of 4 groups of four words were said before
    assert composed(useful=listed(1.0), repetition=0.5)(said).total == pytest.approx([0.75])
    assert "repetition" not in composed(useful=listed(1.0))(said).parts


def test_usefulness_may_be_told_relative_to_the_siblings() -> None:
    group = [rollout("benign", name="a") for _ in range(4)] + [rollout("benign", name="b") for _ in range(2)]
    found = composed(useful=listed(0.0, 1.0, NAN, 0.5, 0.9, 0.9), normalise_useful=True)(group)
    z = 0.5 / math.sqrt(1 / 6)  # mean 0.5, variance (0.25 + 0.25 + 0) / 3
    low, high = 1 / (1 + math.exp(z)), 1 / (1 + math.exp(-z))
    assert found.total == pytest.approx([low, high, NAN, 0.5, 0.5, 0.5], nan_ok=True)
    assert found.parts["useful"][:2] == [0.0, 1.0]  # what was said stays on record


def test_an_ill_formed_sibling_does_not_move_the_others() -> None:
    group = [rollout("benign"), rollout("benign"), replace(rollout("benign"), well_formed=False)]
    assert composed(useful=listed(1.0, 1.0, 0.0), normalise_useful=True)(group).total == [0.5, 0.5, 0.0]


def test_brevity_pays_the_right_and_only_costs_the_wrong() -> None:
    group = [rollout("task", name="a", tokens=n) for n in (10, 20, 30, 10)] + [rollout("task", name="b", tokens=10)]
    correct = [1.0, 1.0, 1.0, 0.0, 1.0]
    assert length_reward(correct, group) == [0.5, 0.0, -0.5, 0.0, 0.0]
    assert composed(correct=listed(*correct), length=0.2)(group).total == pytest.approx([1.1, 1.0, 0.9, 0.0, 1.0])
    assert math.isnan(length_reward([NAN], group[:1])[0])


def test_terms_that_begin_late_are_silent_before() -> None:
    group = [rollout("task", name="a", tokens=10), rollout("task", name="a", tokens=20)]
    reward = composed(correct=listed(1.0, 1.0), length=1.0, length_from=0.5)
    assert reward(group).total == [1.0, 1.0]
    reward.progress(0.5)
    assert reward(group).total == [1.5, 0.5]
    asked = []

    def preference(rollouts):  # type: ignore[no-untyped-def]
        asked.extend(r.example.kind for r in rollouts)
        return [0.5] * len(rollouts)

    late = composed(useful=listed(1.0, 0.0), preference=preference, preference_weight=0.2, preference_from=0.75)
    both = [rollout("benign"), rollout("borderline", name="2"), rollout("harmful", name="3")]
    reward = compose(Sources(listed(0.0), late.sources.useful, listed(), preference=preference), late.config)
    reward.progress(0.74)
    assert reward(both).total == [1.0, 0.0, 0.75]
    assert not asked
    reward.progress(0.75)
    assert reward(both).total == pytest.approx([1.1, 0.1, 0.75])  # harmful prompts have no preference
    assert asked == ["benign", "borderline"]


def test_siblings_stand_beside_one_another_and_a_prefilled_prompt_is_its_own() -> None:
    rows = [rollout("task", name=n) for n in "aab"] + [
        replace(rollout("task"), example=Example("b", "Is tea safe?", "task", prefill="x"))
    ]
    assert [list(places) for places in siblings(rows)] == [[0, 1], [2], [3]]


@given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), min_size=1, max_size=12))
def test_relative_values_are_centred_and_what_is_unknown_stays_so(values: list[float]) -> None:
    group = [rollout("benign") for _ in values]
    found = relative(values, group)
    assert [math.isnan(x) for x in found] == [math.isnan(x) for x in values]
    known = [x for x in found if not math.isnan(x)]
    if known:
        assert sum(known) == pytest.approx(0, abs=1e-6)
        assert sum(x * x for x in known) / len(known) <= 1 + 1e-9  # a deviation of one at most


def test_harm_of_both_halves_is_that_of_the_worse() -> None:
    def says(rollouts):  # type: ignore[no-untyped-def]
        return [{"bad": 1.0, "so": 0.4, "?": NAN}.get(r.reply, 0.1) for r in rollouts]

    pairs = [("", "so"), ("bad", "so"), ("so", "good"), ("?", "good"), ("?", "bad"), ("", "?"), ("bad", "?"), ("so", "?")]
    found = on_halves(says, [rollout("harmful", reply, thought=thought) for thought, reply in pairs])
    assert found == pytest.approx([0.4, 1.0, 0.4, NAN, 1.0, NAN, 1.0, NAN], nan_ok=True)
