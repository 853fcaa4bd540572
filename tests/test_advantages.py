import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from primum.reinforce.advantages import group_advantages, informative

nan = torch.nan


def test_advantages_are_rewards_less_the_siblings_mean():
    # group 1: mean 0.75; group 2: mean 2
    found = group_advantages(torch.tensor([1.0, 0.5, 3.0, 1.0]), group=2)
    assert found.tolist() == [0.25, -0.25, 1.0, -1.0]


def test_scaling_divides_by_the_sample_deviation():
    # rewards 1, 2, 3: mean 2, std with n - 1 is exactly 1
    found = group_advantages(torch.tensor([1.0, 2.0, 3.0]), group=3, scale=True)
    assert found.tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=2e-6)


def test_an_unscored_rollout_neither_moves_the_mean_nor_learns():
    # scored 1 and 3: mean 2, std √2
    plain = group_advantages(torch.tensor([1.0, nan, 3.0, nan]), group=4)
    scaled = group_advantages(torch.tensor([1.0, nan, 3.0, nan]), group=4, scale=True)
    assert plain.tolist() == [-1.0, 0.0, 1.0, 0.0]
    assert scaled.tolist() == pytest.approx([-1 / math.sqrt(2), 0.0, 1 / math.sqrt(2), 0.0], abs=1e-5)


@pytest.mark.parametrize("scale", [False, True])
def test_one_scored_member_or_none_teaches_nothing(scale):
    rewards = torch.tensor([nan, 5.0, nan, nan])
    assert group_advantages(rewards, group=2, scale=scale).tolist() == [0.0] * 4
    assert informative(rewards, group=2).tolist() == [False, False]


def test_equal_rewards_are_no_signal_even_after_rounding():
    a_tenth = torch.tensor([0.1, 0.1 + 1e-8, 0.1, 0.1])
    assert informative(a_tenth, group=4).tolist() == [False]
    assert informative(a_tenth + torch.tensor([0, 0, 0, 0.001]), group=4).tolist() == [True]


@given(st.lists(st.one_of(st.floats(-10, 10, width=32), st.just(math.nan)), min_size=12, max_size=12), st.booleans())
def test_advantages_are_finite_and_sum_to_zero_in_every_group(rewards, scale):
    found = group_advantages(torch.tensor(rewards), group=4, scale=scale).view(3, 4)
    assert found.isfinite().all()
    assert found.sum(1).abs().max() < 1e-4


def test_rounding_of_equal_rewards_is_no_advantage():
    rewards = torch.tensor([0.2154025137424469] * 3 + [torch.nan])
    assert group_advantages(rewards, group=4, scale=True).tolist() == [0.0] * 4
