import math
from dataclasses import replace

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import lambertw
from trl import GRPOTrainer, RLOOTrainer
from trl_peer import loss as trl_loss
from trl_peer import trainer

from primum.reinforce.config import ReinforceConfig
from primum.reinforce.losses import token_weights
from primum.reinforce.objective import costs, objective, rollout_advantages, token_advantages
from primum.reinforce.update import Batch
from primum.reward.types import Rewards
from primum.types import Example, Rollout

LOSSES = ("grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "mirror")
LENGTHS = torch.tensor([6, 1, 4, 3, 5, 2])
LIMIT = 6  # what trl_peer allows


def config(loss="dapo", **settings):
    return ReinforceConfig(**{"loss": loss, "kl": 0.0, "limit_tokens": LIMIT, "group": 3, **settings})


def batch(config, seed=0, *, spread=0.3):
    """Log-probabilities that moved enough for every clip to bite, and all that the loss needs beside them."""
    draw = torch.Generator().manual_seed(seed)
    mask_NT = torch.arange(6) < LENGTHS[:, None]
    old_NT = -3 * torch.rand(6, 6, generator=draw)
    # Whole rollouts move together, so that the mean of their ratios moves too.
    moved_NT = spread * (torch.randn(6, 6, generator=draw) + torch.randn(6, 1, generator=draw))
    advantages_NT = torch.randn(6, 1, generator=draw).expand(6, 6)
    weights_NT = token_weights(mask_NT, config.loss, limit_tokens=LIMIT)
    reference_NT = old_NT + 0.5 * torch.randn(6, 6, generator=draw)
    return (old_NT + moved_NT).requires_grad_(), Batch([], advantages_NT, weights_NT, old_NT, mask_NT, reference_NT)


def cut(part, rows):
    names = ("advantages_NT", "weights_NT", "old_NT", "mask_NT", "reference_NT")
    return replace(part, **{name: getattr(part, name)[rows] for name in names})


def gradient(loss, of):
    return torch.autograd.grad(loss, of, retain_graph=True)[0]


SEQUENCE = {"loss_type": "grpo", "importance_sampling_level": "sequence"}
PLAIN_KL = {"beta": 0.3, "use_bias_correction_kl": False}  # as in the papers; TRL can weigh it by the ratio too
TRL = {
    "grpo": ({}, {"loss_type": "grpo"}),
    "dr_grpo": ({}, {"loss_type": "dr_grpo"}),
    "dapo": ({}, {"loss_type": "dapo"}),
    "bnpo": ({"loss": "dapo"}, {"loss_type": "bnpo"}),  # of one batch the same
    "gspo": ({}, SEQUENCE),
    "cispo": ({}, {"loss_type": "cispo"}),
    "two-sided": ({"loss": "grpo", "clip_worst": 1.5}, {"loss_type": "grpo", "delta": 1.5}),
    "two-sided gspo": ({"loss": "gspo", "clip_worst": 1.4}, {**SEQUENCE, "delta": 1.4}),
    "kl": ({"loss": "dr_grpo", "kl": 0.3}, {"loss_type": "dr_grpo", **PLAIN_KL}),
    "kl gspo": ({"loss": "gspo", "kl": 0.3}, {**SEQUENCE, **PLAIN_KL}),
    "entropy": ({"loss": "dapo", "entropy": 0.2}, {"loss_type": "dapo", "entropy_coef": 0.2}),
}


@pytest.mark.parametrize("name", TRL)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_and_its_gradient_are_trls(name, seed, tmp_path):
    ours, theirs = TRL[name]
    settings = config(**{"loss": name, "clip_low": 0.1, "clip_high": 0.15, **ours})
    logprobs, part = batch(settings, seed)
    entropy = logprobs.square()  # any differentiable number will do
    high = 1.15 if theirs["loss_type"] == "cispo" else 0.15  # TRL's cispo bounds the ratio itself
    made = trainer(GRPOTrainer, tmp_path, group=6, epsilon=0.1, epsilon_high=high, **theirs)
    expected = trl_loss(
        made, logprobs, part.mask_NT, entropy, advantages=part.advantages_NT[:, 0], old_per_token_logps=part.old_NT,
        ref_per_token_logps=part.reference_NT,
    )  # fmt: skip
    found = objective(settings, logprobs, entropy, part)
    assert found.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert torch.allclose(gradient(found.loss, logprobs), gradient(expected, logprobs), atol=1e-5)
    assert 0 < found.clipped_NT.sum() < part.mask_NT.sum()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_rloo_loss_and_its_gradient_are_trls(seed, tmp_path):
    settings = config("rloo", clip_low=0.1, clip_high=0.15)
    logprobs, part = batch(settings, seed, spread=0.1)
    made = trainer(RLOOTrainer, tmp_path, group=6, epsilon=0.1, epsilon_high=0.15)
    old_N = (part.old_NT * part.mask_NT).sum(1)
    expected = trl_loss(made, logprobs, part.mask_NT, advantages=part.advantages_NT[:, 0], old_logps=old_N)
    found = objective(settings, logprobs, None, part)
    assert found.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert torch.allclose(gradient(found.loss, logprobs), gradient(expected, logprobs), atol=1e-5)
    assert 0 < found.clipped_NT.sum() < part.mask_NT.sum()


@pytest.mark.parametrize("loss", LOSSES)
def test_masked_tokens_get_no_gradient_and_move_no_other(loss):
    settings = config(loss, kl=0.1, entropy=0.1)
    logprobs, part = batch(settings)
    entropy = logprobs.square()
    found = objective(settings, logprobs, entropy, part)
    slope = gradient(found.loss, logprobs)
    assert (slope[~part.mask_NT] == 0).all()
    assert (slope[part.mask_NT] != 0).sum() > 10
    assert not found.clipped_NT[~part.mask_NT].any()
    wild = logprobs.detach().masked_fill(~part.mask_NT, 300.0).requires_grad_()
    again = objective(settings, wild, entropy.detach().masked_fill(~part.mask_NT, 9.0), part)
    assert again.loss.item() == pytest.approx(found.loss.item(), abs=1e-6)
    assert gradient(again.loss, wild)[~part.mask_NT].eq(0).all()


@hypothesis.settings(max_examples=30, deadline=None)
@given(st.sampled_from(LOSSES), st.permutations(range(6)), st.integers(1, 5), st.integers(0, 99))
def test_the_parts_of_a_batch_sum_to_its_loss(loss, order, first, seed):
    settings = config(loss, kl=0.1, entropy=0.1)
    logprobs, part = batch(settings, seed)
    entropy = logprobs.square()
    whole = objective(settings, logprobs, entropy, part)
    parts = [objective(settings, logprobs[rows], entropy[rows], cut(part, rows)) for rows in (order[:first], order[first:])]
    together = parts[0].loss + parts[1].loss
    assert together.item() == pytest.approx(whole.loss.item(), abs=1e-4)
    assert torch.allclose(gradient(together, logprobs), gradient(whole.loss, logprobs), atol=1e-5)
    assert sum(int(p.clipped_NT.sum()) for p in parts) == int(whole.clipped_NT.sum())


@pytest.mark.parametrize("loss", LOSSES)
def test_without_advantage_nothing_is_learnt(loss):
    settings = config(loss)
    logprobs, part = batch(settings, spread=0.0)  # mirror descent has its own pull once the policy has moved
    found = objective(settings, logprobs, None, replace(part, advantages_NT=torch.zeros(6, 6)))
    assert gradient(found.loss, logprobs).eq(0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_on_policy_each_token_is_pushed_by_its_own_advantage(loss):
    # of two rollouts with 3 and 1 tokens, thought 2 and reply -1: the same in every loss up to what a token weighs
    settings = config(loss)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    old = torch.log(torch.tensor([[0.5, 0.2, 0.1], [0.4, 1.0, 1.0]]))
    advantages = torch.tensor([[2.0, -1.0, -1.0], [3.0, 0.0, 0.0]])
    weights = token_weights(mask, loss, limit_tokens=LIMIT)
    share = {"rloo": 1 / 2, "mirror": 1 / 2}.get(loss)  # there a token counts 1/N whatever the length
    logprobs = old.clone().requires_grad_()
    slope = gradient(objective(settings, logprobs, None, Batch([], advantages, weights, old, mask)).loss, logprobs)
    assert torch.allclose(slope, -advantages * (weights if share is None else share * mask), atol=1e-6)


def test_entropy_is_raised_and_kl_is_lowered_by_hand():
    # one token of weight 1 without advantage: -0.5·H + 0.1·k2, k2 = 0.2²/2
    mask, zero = torch.ones(1, 1).bool(), torch.zeros(1, 1)
    part = Batch([], zero, torch.ones(1, 1), zero - 1.0, mask, zero - 1.2)
    entropy = torch.tensor([[0.7]], requires_grad=True)
    found = objective(config(kl=0.1, kl_estimator="k2", entropy=0.5), zero - 1.0, entropy, part)
    assert found.loss.item() == pytest.approx(-0.35 + 0.1 * 0.02, abs=1e-6)
    assert gradient(found.loss, entropy).item() == -0.5


START, PAID, TAU = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([1.0, 0.0, 0.4]), 0.3
SIBLINGS = [0] * 5 + [1] * 3 + [2] * 2  # ten samples, as often as the starting policy says
TILTED = torch.softmax(START.log() + PAID / TAU, 0)


def descend(partition, *, on_policy=False):
    """Three actions, ten siblings, and where gradient descent on the mirror loss ends."""
    settings = config("mirror", group=10, mirror={"tau": TAU, "partition": partition})
    taken = torch.tensor(SIBLINGS)
    advantages_NT = rollout_advantages(settings, PAID[taken])[:, None]
    mask, old_NT = torch.ones(10, 1).bool(), START.log()[taken][:, None]
    logits = START.log().clone().requires_grad_()
    for _ in range(3000):
        weights = token_weights(mask, "mirror", limit_tokens=LIMIT)
        if on_policy:  # the same siblings, weighed as if the present policy had sampled them
            weights = weights * (logits.softmax(0).detach() / START)[taken][:, None]
        part = Batch([], advantages_NT, weights, old_NT, mask)
        found = objective(settings, logits.log_softmax(0)[taken][:, None], None, part)
        with torch.no_grad():
            logits -= 0.5 * gradient(found.loss, logits)
    return logits.softmax(0).detach(), found.loss.item()


def test_mirror_descent_ends_at_the_tilted_policy():
    found, loss = descend("log_z")
    assert found.tolist() == pytest.approx(TILTED.tolist(), abs=1e-4)
    assert loss == pytest.approx(0.0, abs=1e-6)


def test_mirror_descent_with_the_mean_ends_there_only_on_its_own_samples():
    assert descend("mean", on_policy=True)[0].tolist() == pytest.approx(TILTED.tolist(), abs=1e-4)

    # log ρ + κρ = A/τ is ρ = W(κ·exp(A/τ))/κ; κ such that ρ·π_i sums to 1, and κ is then the KL from π to π_i
    start, push = START.numpy(), ((PAID - (START * PAID).sum()) / TAU).exp().numpy()

    def ratio(kappa):
        return lambertw(kappa * push).real / kappa

    kappa = brentq(lambda k: float(start @ ratio(k)) - 1, 1e-6, 50.0)
    found, _ = descend("mean")
    assert found.tolist() == pytest.approx((start * ratio(kappa)).tolist(), abs=1e-4)
    assert float((START * (START / found).log()).sum()) == pytest.approx(kappa, abs=1e-3)
    assert found.max() < TILTED.max() - 0.05  # flatter


def rollouts(count=3, thought_tokens=2, length=4):
    ask = Example(id="1", prompt="Is tea safe?", kind="benign")
    return [Rollout(ask, "", "", thought_tokens=thought_tokens, completion_ids=(7,) * length) for _ in range(count)]


def both(settings, rewards, costs_N=None):
    costs_N = torch.zeros(len(rewards.total)) if costs_N is None else costs_N
    whole_N = rollout_advantages(settings, torch.tensor(rewards.total) - costs_N)
    return token_advantages(settings, whole_N, costs_N, rewards, rollouts(len(rewards.total)))


def test_split_credit_compares_each_half_with_its_siblings_halves():
    rewards = Rewards([0.0, 0.5, 1.0], {}, thought=[3.0, 0.0, 0.0], reply=[0.0, 0.0, 6.0])
    assert both(config(), rewards).tolist() == [[-0.5] * 4, [0.0] * 4, [0.5] * 4]
    found = both(config(credit="split"), rewards)
    assert found.tolist() == [[2.0, 2.0, -2.0, -2.0], [-1.0, -1.0, -2.0, -2.0], [-1.0, -1.0, 4.0, 4.0]]


def test_a_half_without_a_reward_of_its_own_learns_from_the_whole():
    # thoughts: 1 and 3, mean 2, and one that answers for the total, which is 0.5 above its mean; no replies at all
    rewards = Rewards([0.0, 1.5, 1.5], {}, thought=[1.0, math.nan, 3.0])
    found = both(config(credit="split"), rewards)
    assert found.tolist() == [[-1.0, -1.0, -1.0, -1.0], [0.5] * 4, [1.0, 1.0, 0.5, 0.5]]


def test_the_halves_of_an_unscored_rollout_neither_move_a_mean_nor_learn():
    rewards = Rewards([0.0, math.nan, 1.0], {}, thought=[1.0, 9.0, 3.0], reply=[2.0, 9.0, 2.0])
    assert both(config(credit="split"), rewards).tolist() == [[-1.0, -1.0, 0.0, 0.0], [0.0] * 4, [1.0, 1.0, 0.0, 0.0]]


def test_costs_come_off_whole_and_halves_alike():
    # the last rollout pays 0.6: whole 0, 0, -0.6 and the thought the same; its mean is -0.2
    rewards = Rewards([1.0, 1.0, 1.0], {}, thought=[2.0, 2.0, 2.0])
    found = both(config(credit="split"), rewards, torch.tensor([0.0, 0.0, 0.6]))
    assert torch.allclose(found, torch.tensor([0.2, 0.2, -0.4])[:, None].expand(3, 4), atol=1e-6)


def test_costs_add_length_and_kl_in_the_reward():
    # limit 6, buffer 4: lengths 2, 4, 6 cost 0, 0.5, 1; KL 0.5·(ln 2 a token)
    mask = torch.arange(6) < torch.tensor([2, 4, 6])[:, None]
    old, reference = torch.zeros(3, 6), torch.full((3, 6), -math.log(2))
    length = [0.0, 0.5, 1.0]
    settings = config(overlong_tokens=4, kl=0.5, kl_in="reward")
    expected = [c + 0.5 * n * math.log(2) for c, n in zip(length, (2, 4, 6), strict=True)]
    assert costs(settings, old, reference, mask).tolist() == pytest.approx(expected, abs=1e-5)
    assert costs(config(overlong_tokens=4, kl=0.5), old, reference, mask).tolist() == length
    assert costs(config(), old, None, mask).tolist() == [0.0] * 3


def test_kl_in_the_reward_is_not_in_the_loss_too():
    settings = config(kl=0.5, kl_in="reward")
    logprobs, part = batch(settings)
    expected = objective(config(), logprobs, None, part).loss.item()
    assert objective(settings, logprobs, None, replace(part, reference_NT=None)).loss.item() == expected


@pytest.mark.parametrize(
    ("loss", "before", "after"),
    [
        ("dapo", {}, {"clip_low": 0.05}), ("gspo", {}, {"clip_high": 0.05}), ("cispo", {}, {"clip_high": 0.05}),
        ("rloo", {}, {"clip_worst": 1.3}), ("mirror", {}, {"mirror": {"tau": 0.4}}), ("dapo", {}, {"entropy": 0.1}),
        ("dapo", {"kl": 0.1}, {"kl": 0.3}), ("dapo", {"kl": 0.1}, {"kl": 0.1, "kl_estimator": "k1"}),
    ],
)  # fmt: skip
def test_every_setting_of_the_loss_changes_it(loss, before, after):
    logprobs, part = batch(config(loss), seed=1)
    found = [objective(config(loss, **c), logprobs, logprobs.square(), part).loss.item() for c in (before, after)]
    assert abs(found[0] - found[1]) > 1e-4


SOFT = {"loss": "mirror", "mirror": {"partition": "log_z"}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"baseline": "leave_one_out"}), ({}, {"scale": "std"}), ({"scale": "std"}, {"scale": "batch"}),
        ({"scale": "std"}, {"scale": "std", "scale_floor": 5.0}), ({"loss": "mirror"}, SOFT),
        ({"loss": "mirror"}, {"loss": "mirror", "baseline": "leave_one_out"}),
        (SOFT, {"loss": "mirror", "mirror": {"partition": "log_z", "tau": 2.0}}), (SOFT, {**SOFT, "scale": "batch"}),
    ],
)  # fmt: skip
def test_every_setting_of_the_advantages_changes_them(before, after):
    rewards = torch.tensor([0.0, 1.0, 3.0, 0.5, 0.5, 1.0])
    assert (rollout_advantages(config(**before), rewards) - rollout_advantages(config(**after), rewards)).abs().max() > 0.01


def test_the_partition_is_mirror_descents_alone():
    rewards = torch.tensor([0.0, 1.0, 3.0])
    assert rollout_advantages(config(mirror={"partition": "log_z"}), rewards).equal(rollout_advantages(config(), rewards))
