import math

import pytest
import torch

from primum.reinforce.losses import clipped_loss, divergence, token_weights


def gradient(ratio, advantage):
    logprobs = torch.tensor([[math.log(ratio)]], requires_grad=True)
    loss, clipped = clipped_loss(logprobs, torch.zeros(1, 1), torch.tensor([advantage]), low=0.2, high=0.28)
    loss.sum().backward()
    return loss.item(), float(logprobs.grad), bool(clipped)


def test_on_policy_the_gradient_is_minus_the_advantage():
    assert gradient(1.0, 3.0) == (-3.0, -3.0, False)
    assert gradient(1.0, -2.0) == (2.0, 2.0, False)


def test_a_rollout_past_the_clip_gives_no_gradient():
    # ρ 1.3 > 1.28 with A 1: loss -1.28; ρ 0.7 < 0.8 with A -1: loss 0.8
    assert gradient(1.3, 1.0) == (pytest.approx(-1.28), 0.0, True)
    assert gradient(0.7, -1.0) == (pytest.approx(0.8), 0.0, True)


def test_the_clip_never_stops_a_rollout_on_its_way_back():
    # a bad one that became likelier, a good one that became rarer: pushed with the full ratio
    assert gradient(2.0, -1.0) == (pytest.approx(2.0), pytest.approx(2.0), False)
    assert gradient(0.5, 1.0) == (pytest.approx(-0.5), pytest.approx(-0.5), False)


def test_the_upper_bound_is_the_wider_one():
    assert gradient(1.25, 1.0)[2] is False
    assert gradient(0.78, -1.0)[2] is True


def test_divergence_by_hand_and_its_slope():
    # π_ref/π = 2: 2 - ln 2 - 1 = 0.3069; d/dlogπ = 1 - 2 = -1
    logprobs = torch.tensor([[math.log(0.25)]], requires_grad=True)
    k3 = divergence(logprobs, torch.tensor([[math.log(0.5)]]))
    k3.sum().backward()
    assert k3.item() == pytest.approx(0.306853, abs=1e-5)
    assert float(logprobs.grad) == pytest.approx(-1.0, abs=1e-5)


def test_the_mean_divergence_over_a_policys_samples_is_its_kl():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.5, 0.3])
    expected = float((policy * divergence(policy.log()[None], reference.log()[None])[0]).sum())
    assert expected == pytest.approx(float((policy * (policy / reference).log()).sum()), abs=1e-6)


def test_what_a_token_weighs_in_each_loss():
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    row = {name: token_weights(mask, name, limit_tokens=10)[:, 0].tolist() for name in ("grpo", "dr_grpo", "dapo")}
    assert row["grpo"] == [0.125, 0.5]  # 1 / (2 rollouts · length)
    assert row["dr_grpo"] == pytest.approx([0.05, 0.05])  # 1 / (2 rollouts · 10)
    assert row["dapo"] == pytest.approx([0.2, 0.2])  # 1 / 5 tokens
    assert all(token_weights(mask, name, limit_tokens=10)[1, 1:].sum() == 0 for name in row)


def test_a_whole_loss_by_hand():
    # two rollouts, lengths 2 and 1, on policy, A = 1 and -1: GRPO -1/2·(1+1)/2 + 1/2 = 0; DAPO (-1-1+1)/3
    old = torch.log(torch.tensor([[0.5, 0.25], [0.5, 1.0]]))
    mask = torch.tensor([[1, 1], [1, 0]]).bool()
    loss, _ = clipped_loss(old, old, torch.tensor([1.0, -1.0]), low=0.2, high=0.2)
    assert float((loss * token_weights(mask, "grpo", limit_tokens=2)).sum()) == pytest.approx(0.0)
    assert float((loss * token_weights(mask, "dapo", limit_tokens=2)).sum()) == pytest.approx(-1 / 3)
