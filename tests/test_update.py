"""The update: a gradient gathered in parts, clipped, and descended."""

import pytest
import torch
from loop import example, settings
from tiny import tiny_policy

from primum.policy import sample
from primum.policy.score import completion_logprobs
from primum.reinforce.advantages import group_advantages, informative
from primum.reinforce.losses import token_weights
from primum.reinforce.update import Batch, Diverged, Learner, _backward, minibatches, update
from primum.run import Ledger
from primum.types import BadInput, Rollout

SMALL = settings(kl=0.0)  # without a reference


def batch_of(policy, rewards, group, *, config=SMALL, keep_all=False):
    rollouts = sample(policy, [example("benign", i) for i in range(len(rewards) // group)], group=group, limit_tokens=8, seed=5)
    total = torch.tensor(rewards)
    old = completion_logprobs(rollouts)
    mask = torch.arange(old.shape[1]) < torch.tensor([[len(r.completion_ids)] for r in rollouts])
    weights_NT = token_weights(mask, config.loss, limit_tokens=8)
    kept = torch.ones(len(rewards), dtype=bool) if keep_all else informative(total, group).repeat_interleave(group)
    rows = kept.nonzero()[:, 0].tolist()
    advantages_NT = group_advantages(total, group)[rows, None].expand(-1, old.shape[1])
    return Batch([rollouts[i] for i in rows], advantages_NT, weights_NT[rows], old[rows], mask[rows])


def gradient(policy, batch, **changes):
    learner = Learner(policy, SMALL.model_copy(update=changes))
    policy.model.zero_grad()
    loss, clipped = _backward(learner, batch, list(range(len(batch.rollouts))), Ledger())
    return torch.cat([p.grad.flatten() for p in policy.model.parameters()]), loss, clipped


REWARDS = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 3.0, 0.0, 0.0]  # the middle group teaches nothing


def test_skipping_groups_without_signal_leaves_the_gradient_as_it_is():
    policy = tiny_policy()
    skipped, _, _ = gradient(policy, batch_of(policy, REWARDS, 4))
    everything, _, _ = gradient(policy, batch_of(policy, REWARDS, 4, keep_all=True))
    assert len(batch_of(policy, REWARDS, 4).rollouts) == 8
    torch.testing.assert_close(skipped, everything, atol=1e-7, rtol=1e-5)


def test_micro_batches_gather_the_same_gradient():
    policy = tiny_policy()
    whole, loss, _ = gradient(policy, batch_of(policy, REWARDS, 4))
    pieces, same, _ = gradient(policy, batch_of(policy, REWARDS, 4), micro_batch_tokens=40)
    torch.testing.assert_close(whole, pieces, atol=1e-7, rtol=1e-5)
    assert loss == pytest.approx(same, abs=1e-6)


def test_equal_minibatches_average_to_the_whole():
    policy, batch = tiny_policy(), batch_of(tiny_policy(), REWARDS, 4)
    learner, halves = Learner(policy, SMALL), [[0, 2, 4, 6], [1, 3, 5, 7]]
    losses = [_backward(learner, batch, rows, Ledger())[0] for rows in halves]
    found = torch.cat([p.grad.flatten() for p in policy.model.parameters()]) / 2
    whole, loss, _ = gradient(policy, batch)
    torch.testing.assert_close(found, whole, atol=1e-7, rtol=1e-5)
    assert sum(losses) / 2 == pytest.approx(loss, abs=1e-6)


def test_on_policy_nothing_is_clipped_and_the_gradient_is_that_of_the_weighted_log_likelihood():
    policy = tiny_policy()
    batch = batch_of(policy, REWARDS, 4)
    found, _, clipped = gradient(policy, batch, clip_low=1e-4, clip_high=1e-4)  # ratios are 1 up to rounding
    assert clipped == 0
    policy.model.zero_grad()
    for i, rollout in enumerate(batch.rollouts):  # by hand: -Σ weight · A · log π
        ids, start = torch.tensor([rollout.prompt_ids + rollout.completion_ids]), len(rollout.prompt_ids)
        logprob = policy.model(ids).logits[0, start - 1 : -1].log_softmax(-1).gather(1, ids[0, start:, None])[:, 0]
        (-(logprob * batch.weights_NT[i, : len(logprob)]).sum() * batch.advantages_NT[i, 0]).backward()
    by_hand = torch.cat([p.grad.flatten() for p in policy.model.parameters()])
    torch.testing.assert_close(found, by_hand, atol=1e-6, rtol=1e-3)


def test_later_inner_epochs_are_clipped():
    policy = tiny_policy()
    config = SMALL.model_copy(update={"inner_epochs": 6, "learning_rate": 0.05, "warmup_steps": 0, "max_grad_norm": 100.0})
    once = update(
        Learner(tiny_policy(), config.model_copy(update={"inner_epochs": 1})),
        batch_of(policy, REWARDS, 4),
        Ledger(),
        seed=0,
        step=1,
    )
    often = update(Learner(tiny_policy(), config), batch_of(policy, REWARDS, 4), Ledger(), seed=0, step=1)
    assert once["clipped"] == 0
    assert often["clipped"] > 0.1


def test_minibatches_share_out_every_rollout_and_keep_siblings_together():
    ask = example("benign", 0)
    rollouts = [Rollout(ask, "", "", prompt_ids=(g,), completion_ids=(7,)) for g in range(10) for _ in range(2)]
    heaps = minibatches(rollouts, 3, [1, 2, 3])
    assert sorted(i for heap in heaps for i in heap) == list(range(20))
    assert [len(heap) for heap in heaps] == [8, 6, 6]
    assert all((i ^ 1) in heap for heap in heaps for i in heap)  # siblings are neighbours
    assert heaps != minibatches(rollouts, 3, [1, 2, 4])
    assert len(minibatches(rollouts[:4], 5, [0])) == 2


def test_minibatches_cost_what_the_whole_costs():
    costs = []
    for parts in (1, 2):
        policy, ledger = tiny_policy(), Ledger()
        update(
            Learner(policy, SMALL.model_copy(update={"minibatches": parts})),
            batch_of(policy, REWARDS, 4),
            ledger,
            seed=0,
            step=1,
        )
        costs.append(ledger.parts["update"].flops)
    assert costs[0] == pytest.approx(costs[1])


def test_under_autocast_a_second_minibatch_sees_the_weights_that_the_first_one_left():
    found = []
    for apart in (False, True):
        policy = tiny_policy()
        learner, batch = (
            Learner(policy, SMALL.model_copy(update={"learning_rate": 0.05, "warmup_steps": 0})),
            batch_of(policy, REWARDS, 4),
        )
        with torch.autocast("cpu", torch.bfloat16):
            for _ in range(3):
                if apart:
                    torch.clear_autocast_cache()
                update(learner, batch, Ledger(), seed=0, step=1)
        found.append(torch.cat([p.detach().flatten() for p in policy.model.parameters()]))
    assert torch.equal(*found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loss_that_is_no_number_leaves_no_gradient_behind(dtype):
    policy = tiny_policy()
    batch = batch_of(policy, REWARDS, 4)
    policy.model.to(dtype)
    learner = Learner(policy, SMALL)
    batch.advantages_NT = batch.advantages_NT.clone()
    batch.advantages_NT[0, 0] = float("nan")
    with pytest.raises(Diverged):
        update(learner, batch, Ledger(), seed=0, step=1)
    assert all(w.grad is None for w in (*learner.weights, *learner.masters))


def test_float16_weights_are_refused():
    policy = tiny_policy()
    policy.model.half()
    with pytest.raises(BadInput, match="bfloat16"):
        Learner(policy, SMALL)


def test_the_ledger_counts_training_as_three_forwards_of_what_was_kept():
    policy, ledger = tiny_policy(), Ledger()
    batch = batch_of(policy, REWARDS, 4)
    update(Learner(policy, SMALL), batch, ledger, seed=0, step=1)
    completions = sum(len(r.completion_ids) for r in batch.rollouts)
    tokens = completions + sum(len(ids) for ids in {r.prompt_ids for r in batch.rollouts})  # siblings share theirs
    linear = 2 * (sum(p.numel() for p in policy.model.parameters()) - policy.model.model.embed_tokens.weight.numel())
    assert ledger.trained_tokens == completions
    assert 3 * linear * tokens < ledger.flops < 3.3 * linear * tokens


def test_half_precision_weights_move_with_steps_below_their_rounding():
    policy = tiny_policy()
    policy.model.bfloat16()
    learner = Learner(policy, SMALL.model_copy(update={"learning_rate": 1e-6, "warmup_steps": 0}))
    weight = policy.model.lm_head.weight
    with torch.no_grad():
        weight.fill_(1.0)
        next(m for m, w in zip(learner.masters, learner.weights, strict=True) if w is weight).fill_(1.0)
    start = weight.clone()
    for _ in range(5000):
        weight.grad = torch.ones_like(weight)
        learner.descend(1, 0.0)
    # Adam's step is the rate, so 5,000 of them move 0.005; near 1 bfloat16 cannot see one below 0.002
    assert (start - weight).float().mean().item() == pytest.approx(0.005, abs=0.002)
