import math

import pytest
import torch

from primum.reinforce.advantages import kl_cost
from primum.reinforce.losses import cispo_loss, clipped_loss, divergence, mirror_loss, sequence_log_ratio, token_weights

LOSSES = ("grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "mirror")


def gradient(ratio, advantage, worst=0.0):
    log_ratio = torch.tensor([[math.log(ratio)]], requires_grad=True)
    loss, clipped = clipped_loss(log_ratio, torch.tensor([[advantage]]), low=0.2, high=0.28, worst=worst)
    loss.sum().backward()
    return loss.item(), float(log_ratio.grad), bool(clipped)


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


def test_the_second_bound_holds_only_bad_tokens_beyond_it():
    assert gradient(5.0, -2.0, worst=4.0) == (pytest.approx(8.0), 0.0, True)
    assert gradient(3.0, -2.0, worst=4.0) == (pytest.approx(6.0), pytest.approx(6.0), False)
    assert gradient(5.0, 2.0, worst=4.0) == (pytest.approx(-2.56), 0.0, True)  # as without it


def test_a_token_without_advantage_is_never_clipped():
    assert gradient(9.0, 0.0) == (0.0, 0.0, False)


def test_a_ratio_beyond_the_largest_number_has_a_gradient_of_zero_where_it_is_clipped():
    log_ratio = torch.tensor([[500.0, 500.0, -500.0, 500.0]], requires_grad=True)
    loss, _ = clipped_loss(log_ratio, torch.tensor([[1.0, -1.0, -1.0, 0.0]]), low=0.2, high=0.28, worst=4.0)
    loss.sum().backward()
    assert loss.tolist() == [pytest.approx([-1.28, 4.0, 0.8, 0.0])]
    assert log_ratio.grad.tolist() == [[0.0] * 4]
    idle = torch.tensor([[500.0]], requires_grad=True)
    clipped_loss(idle, torch.zeros(1, 1), low=0.2, high=0.28)[0].sum().backward()
    assert idle.grad.item() == 0.0


def test_no_lower_bound_is_left_when_it_is_one():
    loss, clipped = clipped_loss(torch.tensor([[-50.0]]), torch.tensor([[-1.0]]), low=1.0, high=0.28)
    assert (loss.item() < 1e-20, clipped.item()) == (True, False)


def test_cispo_bounds_the_weight_and_keeps_the_gradient():
    # ρ 3 held at 1.28, A 2: gradient -2.56; ρ 0.1 has no bound below: -0.2; without advantage nothing is bounded
    logprobs = torch.tensor([[-1.0, -1.0, -1.0]], requires_grad=True)
    loss, bounded = cispo_loss(logprobs, torch.tensor([[3.0, 0.1, 3.0]]).log(), torch.tensor([[2.0, 2.0, 0.0]]), high=0.28)
    loss.sum().backward()
    assert logprobs.grad.tolist() == [pytest.approx([-2.56, -0.2, 0.0])]
    assert loss.tolist() == [pytest.approx([2.56, 0.2, 0.0])]
    assert bounded.tolist() == [[True, False, False]]


@pytest.mark.parametrize(("mean", "expected"), [(True, 0.3), (False, 0.6)])
def test_a_sequences_ratio_is_that_of_its_unmasked_tokens(mean, expected):
    # 0.7 - 0.1 over two tokens; the third does not count
    log_ratio = torch.tensor([[0.7, -0.1, 5.0]], requires_grad=True)
    found = sequence_log_ratio(log_ratio, torch.tensor([[True, True, False]]), mean=mean)
    assert found[0, :2].tolist() == pytest.approx([expected] * 2)
    # The mean over tokens of ρ² has the gradient of ρ² itself: 2ρ²·dlog ρ, dlog ρ = 1/2 or 1 a token
    (found[0, :2] * 2).exp().mean().backward()
    slope = 2 * math.exp(2 * expected) * (0.5 if mean else 1.0)
    assert log_ratio.grad.tolist() == [pytest.approx([slope, slope, 0.0])]


def test_mirror_descent_by_hand():
    # A 0.3, τ 0.5, log ρ 0.2: (0.3 - 0.1)² / 1 = 0.04; slope -(0.3 - 0.1) = -A + τ·log ρ
    log_ratio = torch.tensor([[0.2]], requires_grad=True)
    loss = mirror_loss(log_ratio, torch.tensor([[0.3]]), tau=0.5)
    loss.sum().backward()
    assert loss.item() == pytest.approx(0.04)
    assert float(log_ratio.grad) == pytest.approx(-0.2)


def test_divergence_by_hand_and_its_slope():
    # π_ref/π = 2: k1 -ln 2, k2 (ln 2)²/2, k3 2 - ln 2 - 1 = 0.3069; slopes 1, -ln 2, 1 - 2
    for estimator, value, slope in (("k1", -0.693147, 1.0), ("k2", 0.240227, -0.693147), ("k3", 0.306853, -1.0)):
        logprobs = torch.tensor([[math.log(0.25)]], requires_grad=True)
        found = divergence(logprobs, torch.tensor([[math.log(0.5)]]), estimator)
        found.sum().backward()
        assert found.item() == pytest.approx(value, abs=1e-5)
        assert float(logprobs.grad) == pytest.approx(slope, abs=1e-5)


POLICY, REFERENCE = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.5, 0.3])


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_the_mean_divergence_over_a_policys_samples_is_its_kl(estimator):
    expected = float((POLICY * divergence(POLICY.log(), REFERENCE.log(), estimator)).sum())
    assert expected == pytest.approx(float((POLICY * (POLICY / REFERENCE).log()).sum()), abs=1e-6)


def slope(value_of):
    """The gradient in the logits of POLICY of what `value_of` gives for its log-probabilities."""
    logits = POLICY.log().clone().requires_grad_()
    value_of(logits.log_softmax(0)).backward()
    return logits.grad.tolist()


def policy_kl(logprobs):
    return (logprobs.exp() * (logprobs - REFERENCE.log())).sum()


def reference_kl(logprobs):
    return (REFERENCE * (REFERENCE.log() - logprobs)).sum()


def test_in_the_loss_k1_averages_to_nothing_k2_to_the_kl_and_k3_to_the_other_kl():
    expected = {"k1": [0.0] * 3, "k2": slope(policy_kl), "k3": slope(reference_kl)}
    for estimator, gradient in expected.items():
        found = slope(lambda lp, k=estimator: (POLICY * divergence(lp, REFERENCE.log(), k)).sum())
        assert found == pytest.approx(gradient, abs=1e-6)


def test_in_the_reward_k1_has_the_gradient_of_the_kl_and_k3_only_the_difference_of_both():
    def penalised(cost_V):  # the policy gradient of a reward of minus the cost, as a loss
        return slope(lambda lp: (POLICY * cost_V * lp).sum())

    k1 = kl_cost(POLICY.log()[:, None], REFERENCE.log()[:, None], torch.ones(3, 1).bool())
    assert penalised(k1) == pytest.approx(slope(policy_kl), abs=1e-6)
    difference = slope(lambda lp: policy_kl(lp) - reference_kl(lp))
    assert penalised(divergence(POLICY.log(), REFERENCE.log(), "k3")) == pytest.approx(difference, abs=1e-6)


def test_what_a_token_weighs_in_each_loss():
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    row = {name: token_weights(mask, name, limit_tokens=10)[:, 0].tolist() for name in LOSSES}
    for name in ("grpo", "gspo", "rloo", "mirror"):
        assert row[name] == [0.125, 0.5]  # 1 / (2 rollouts · length)
    assert row["dr_grpo"] == pytest.approx([0.05, 0.05])  # 1 / (2 rollouts · 10)
    assert row["dapo"] == row["cispo"] == pytest.approx([0.2, 0.2])  # 1 / 5 tokens
    assert all(token_weights(mask, name, limit_tokens=10)[1, 1:].sum() == 0 for name in LOSSES)


def test_a_rollout_of_which_nothing_learns_weighs_nothing():
    mask = torch.tensor([[1, 1], [0, 0]]).bool()
    for name in LOSSES:
        assert token_weights(mask, name, limit_tokens=4)[1].tolist() == [0.0, 0.0]


def test_a_whole_loss_by_hand():
    # two rollouts, lengths 2 and 1, on policy, A = 1 and -1: GRPO -1/2·(1+1)/2 + 1/2 = 0; DAPO (-1-1+1)/3
    mask = torch.tensor([[1, 1], [1, 0]]).bool()
    loss, _ = clipped_loss(torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), low=0.2, high=0.2)
    assert float((loss * token_weights(mask, "grpo", limit_tokens=2)).sum()) == pytest.approx(0.0)
    assert float((loss * token_weights(mask, "dapo", limit_tokens=2)).sum()) == pytest.approx(-1 / 3)
