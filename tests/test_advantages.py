import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trl import GRPOTrainer, RLOOTrainer
from trl.rewards import get_soft_overlong_punishment
from trl_peer import step, trainer

from primum.reinforce.advantages import credit, group_advantages, informative, kl_cost, overlong_cost

nan = torch.nan
BASELINES, SCALES = ("mean", "leave_one_out", "log_z"), ("none", "std", "batch")
reward_lists = st.lists(st.one_of(st.floats(-10, 10, width=32), st.just(math.nan)), min_size=12, max_size=12)
# Two groups with spread, one of equal rewards, one with a single scored member, one with an unscored member.
REWARDS = [1.0, 0.5, 3.0, 1.0, 0.0, 0.2, 0.1, -4.0, 0.3, 0.3, 0.3, 0.3, nan, 2.0, nan, nan, 1.0, nan, 0.0, 2.5]


def test_advantages_are_rewards_less_the_siblings_mean():
    # group 1: mean 0.75; group 2: mean 2
    found = group_advantages(torch.tensor([1.0, 0.5, 3.0, 1.0]), group=2)
    assert found.tolist() == [0.25, -0.25, 1.0, -1.0]


def test_leaving_oneself_out_compares_with_the_mean_of_the_others():
    # 1 against (2 + 6)/2, 2 against (1 + 6)/2, 6 against (1 + 2)/2; the unscored one is nobody's sibling
    found = group_advantages(torch.tensor([1.0, 2.0, nan, 6.0]), group=4, baseline="leave_one_out")
    assert found.tolist() == [-3.0, -1.5, 0.0, 4.5]


def test_scaling_divides_by_the_sample_deviation():
    # rewards 1, 2, 3: mean 2, std with n - 1 is exactly 1; the 1e-4 is TRL's
    found = group_advantages(torch.tensor([1.0, 2.0, 3.0]), group=3, scale="std")
    assert found.tolist() == pytest.approx([-1 / 1.0001, 0.0, 1 / 1.0001], abs=1e-6)


def test_scaling_by_the_batch_divides_every_group_by_one_deviation():
    # 0, 2 | 4, 6: mean 3, squares 9 + 1 + 1 + 9 = 20, std √(20/3)
    found = group_advantages(torch.tensor([0.0, 2.0, 4.0, 6.0]), group=2, scale="batch")
    one = 1 / (math.sqrt(20 / 3) + 1e-4)
    assert found.tolist() == pytest.approx([-one, one, -one, one], abs=1e-6)


@pytest.mark.parametrize(("scale", "deviation"), [("std", 0.001 / math.sqrt(2)), ("batch", 0.001 / math.sqrt(3))])
def test_the_floor_keeps_a_tiny_difference_small(scale, deviation):
    # siblings 0.001 apart are 0.0005 from their mean; divided by 0.05 that is 0.01, by their own deviation about 0.6
    rewards = torch.tensor([0.5, 0.501, 0.5, 0.501])
    assert group_advantages(rewards, 2, scale=scale, floor=0.05).tolist() == pytest.approx([-0.01, 0.01] * 2, abs=1e-5)
    unheld = 0.0005 / (deviation + 1e-4)
    assert group_advantages(rewards, 2, scale=scale).tolist() == pytest.approx([-unheld, unheld] * 2, rel=1e-3)


def test_log_z_is_the_soft_maximum_of_the_siblings_rewards():
    # τ 0.5: rewards ln 1 · 0.5, ln 3 · 0.5: mean exp(r/τ) = (1 + 3)/2 = 2, baseline 0.5 · ln 2
    rewards = torch.tensor([0.0, 0.5 * math.log(3), nan])
    found = group_advantages(rewards, group=3, baseline="log_z", tau=0.5)
    assert found.tolist() == pytest.approx([-0.5 * math.log(2), 0.5 * math.log(1.5), 0.0], abs=1e-6)


def test_log_z_survives_rewards_far_beyond_what_an_exponential_holds():
    # r/τ = 5000: the baseline is the best reward less τ·ln 2
    found = group_advantages(torch.tensor([0.0, 500.0]), group=2, baseline="log_z", tau=0.1)
    assert found.tolist() == pytest.approx([-500 + 0.1 * math.log(2), 0.1 * math.log(2)], abs=1e-3)


def test_a_large_tau_makes_log_z_the_mean():
    rewards = torch.tensor([1.0, 0.5, 3.0, 1.0])
    assert group_advantages(rewards, 4, baseline="log_z", tau=1e4) == pytest.approx(group_advantages(rewards, 4), abs=1e-3)


def test_an_unscored_rollout_neither_moves_the_mean_nor_learns():
    # scored 1 and 3: mean 2, std √2
    plain = group_advantages(torch.tensor([1.0, nan, 3.0, nan]), group=4)
    scaled = group_advantages(torch.tensor([1.0, nan, 3.0, nan]), group=4, scale="std")
    assert plain.tolist() == [-1.0, 0.0, 1.0, 0.0]
    assert scaled.tolist() == pytest.approx([-1 / math.sqrt(2), 0.0, 1 / math.sqrt(2), 0.0], abs=1e-4)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("scale", SCALES)
def test_one_scored_member_or_none_or_equal_rewards_teach_nothing(baseline, scale):
    rewards = torch.tensor([nan, 5.0, nan, nan, 0.7, 0.7, 0.1, 0.1 + 1e-8])
    assert group_advantages(rewards, group=2, baseline=baseline, scale=scale).tolist() == [0.0] * 8
    assert informative(rewards, group=2).tolist() == [False] * 4


def test_equal_rewards_are_no_signal_even_after_rounding():
    a_tenth = torch.tensor([0.1, 0.1 + 1e-8, 0.1, 0.1])
    assert informative(a_tenth, group=4).tolist() == [False]
    assert informative(a_tenth + torch.tensor([0, 0, 0, 0.001]), group=4).tolist() == [True]


def test_rounding_of_equal_rewards_is_no_advantage():
    rewards = torch.tensor([0.2154025137424469] * 3 + [torch.nan])
    assert group_advantages(rewards, group=4, scale="std").tolist() == [0.0] * 4


@pytest.mark.parametrize("scale", SCALES)
def test_advantages_are_trls(scale, tmp_path):
    made = trainer(GRPOTrainer, tmp_path, REWARDS, group=4, scale_rewards="group" if scale == "std" else scale)
    ours = group_advantages(torch.tensor(REWARDS), 4, scale=scale)
    assert ours.tolist() == pytest.approx(step(made, len(REWARDS))["advantages"].tolist(), abs=1e-5)


def test_leave_one_out_advantages_are_trls(tmp_path):
    made = trainer(RLOOTrainer, tmp_path, REWARDS, group=4, normalize_advantages=False, beta=0.0)
    ours = group_advantages(torch.tensor(REWARDS), 4, baseline="leave_one_out")
    assert ours.tolist() == pytest.approx(step(made, len(REWARDS))["advantages"].tolist(), abs=1e-5)


def test_kl_in_the_reward_is_trls(tmp_path):
    # TRL's reference drifts away from its policy; with equal rewards the advantages are those of the KL alone
    made = trainer(RLOOTrainer, tmp_path, [0.5] * 4, group=4, normalize_advantages=False, beta=2.0)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in made.ref_model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    found = step(made, 4)
    ids, real = (torch.cat([found[f"prompt_{x}"], found[f"completion_{x}"]], 1) for x in ("ids", "mask"))
    width = found["completion_ids"].shape[1]
    old, reference = (
        made._get_per_token_logps_and_entropies(m, ids, real, width)[0].detach() for m in (made.model, made.ref_model)
    )
    cost = kl_cost(old, reference, found["completion_mask"].bool())
    assert cost.abs().min() > 0.001
    ours = group_advantages(0.5 - 2.0 * cost, 4, baseline="leave_one_out")
    assert ours.tolist() == pytest.approx(found["advantages"].tolist(), abs=1e-5)


@given(reward_lists, st.sampled_from(SCALES), st.sampled_from(["mean", "leave_one_out"]))
def test_advantages_are_finite_and_sum_to_zero_in_every_group(rewards, scale, baseline):
    found = group_advantages(torch.tensor(rewards), group=4, scale=scale, baseline=baseline).view(3, 4)
    assert found.isfinite().all()
    assert found.sum(1).abs().max() < 1e-3


@given(reward_lists, st.sampled_from(SCALES), st.sampled_from(BASELINES), st.permutations(range(4)))
def test_permuting_siblings_permutes_advantages(rewards, scale, baseline, order):
    rewards_PG = torch.tensor(rewards).view(3, 4)
    plain, permuted = (
        group_advantages(r.reshape(-1), 4, scale=scale, baseline=baseline, floor=0.05, tau=0.3).view(3, 4)
        for r in (rewards_PG, rewards_PG[:, order])
    )
    assert torch.allclose(plain[:, order], permuted, atol=1e-4)


@given(reward_lists, st.sampled_from(BASELINES), st.floats(-5, 5, width=32))
def test_a_reward_added_to_all_siblings_changes_nothing(rewards, baseline, bonus):
    plain, shifted = (group_advantages(torch.tensor(rewards) + b, 4, baseline=baseline, tau=0.3) for b in (0.0, bonus))
    assert torch.allclose(plain, shifted, atol=1e-4)


def test_overlong_costs_nothing_up_to_the_buffer_and_all_at_the_limit():
    lengths = torch.tensor([1, 79, 80, 85, 99, 100, 110])
    cost = overlong_cost(lengths, limit_tokens=100, buffer_tokens=20)
    assert cost.tolist() == pytest.approx([0.0, 0.0, 0.0, 0.25, 0.95, 1.0, 1.0])
    assert overlong_cost(lengths, limit_tokens=100, buffer_tokens=0).tolist() == [0.0] * 7


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_overlong_cost_is_minus_trls_punishment(length, limit, buffer):
    limit, buffer = max(limit, buffer), min(limit, buffer)
    punishment = get_soft_overlong_punishment(limit, buffer)(completion_ids=[[0] * length])
    assert overlong_cost(torch.tensor([length]), limit, buffer).tolist() == pytest.approx([-punishment[0]], abs=1e-6)


def test_the_kl_of_a_rollout_sums_over_its_real_tokens():
    # ln(0.5/0.25) + ln(0.5/1) = 0; the second one only its first token: ln 3
    old, reference = torch.tensor([[0.5, 0.5], [0.3, 0.9]]).log(), torch.tensor([[0.25, 1.0], [0.1, 0.1]]).log()
    cost = kl_cost(old, reference, torch.tensor([[True, True], [True, False]]))
    assert cost.tolist() == pytest.approx([0.0, math.log(3)], abs=1e-6)


def test_credit_gives_the_closing_tag_to_the_reply():
    # two tokens of thought, then the tag, a word and the end; a thought that was never closed; none at all
    found = credit(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([2, 5, 0]), width=5)
    assert found.tolist() == [[1.0, 1.0, -1.0, -1.0, -1.0], [2.0] * 5, [-3.0] * 5]
