"""Collapse: how it is noticed, what is gone back to, and when training gives up."""

import json
import math
from itertools import pairwise

import pytest
import torch
from loop import blind, brevity, chance_of_yes, says_yes, settings, train, weights
from tiny import tiny_policy

from primum.reinforce.config import GuardConfig
from primum.reinforce.guard import collapse
from primum.reward import custom
from primum.reward.types import Rewards
from primum.types import Example, Rollout

HEALTHY = {"entropy": 1.0, "tokens": 20.0, "kl": 3.0}


@pytest.mark.parametrize(
    ("guard", "why"),
    [
        ({}, ""),
        ({"min_entropy": 0.9, "max_entropy": 1.1, "min_tokens": 19, "max_tokens": 21, "max_kl": 3.1}, ""),
        ({"min_entropy": 1.1}, "entropy 1 is below guard.min_entropy"),
        ({"max_entropy": 0.9}, "entropy 1 is above guard.max_entropy"),
        ({"min_tokens": 21}, "tokens 20 is below guard.min_tokens"),
        ({"max_tokens": 19}, "tokens 20 is above guard.max_tokens"),
        ({"max_kl": 2.9}, "kl 3 is above guard.max_kl"),
    ],
)
def test_a_number_out_of_its_band_is_a_collapse(guard, why):
    assert collapse(HEALTHY, [], GuardConfig(**guard)) == why


def test_what_was_not_measured_is_no_collapse_and_a_probability_that_is_no_number_is_one():
    assert collapse(dict.fromkeys(HEALTHY, math.nan), [], GuardConfig(min_entropy=1, max_tokens=1, max_kl=1)) == ""
    asked = Example("1", "x", "benign")
    healthy, broken = (Rollout(asked, "", "", logprobs=x) for x in ((-1.0,), (-1.0, math.nan)))
    assert collapse(HEALTHY, [healthy], GuardConfig()) == ""
    assert collapse(HEALTHY, [healthy, broken], GuardConfig()) == "a sampled token's probability is not a number"


def alarmed(*steps):
    """Pays for "yes", and says at these of its calls that training collapsed."""
    calls = []

    def reward(rollouts):
        calls.append(1)
        found = says_yes(rollouts)
        return Rewards(found.total, {}, collapsed="the reward is hacked" if len(calls) in steps else "")

    return reward


def test_after_a_collapse_training_goes_on_from_the_last_good_checkpoint_with_other_prompts_and_half_the_rate(tmp_path):
    seen = []

    def watching(policy):
        seen.append(weights(policy).clone())
        return chance_of_yes(policy)

    _, run = train(tmp_path / "run", reward=alarmed(5), validate=watching, steps=7, evaluate_every=1, checkpoint_every=3)
    rows = run.metrics()
    assert [row["step"] for row in rows] == list(range(8))  # no step twice
    assert rows[5]["rolled_back"] == "the reward is hacked"
    assert rows[5]["back_to"] == 3
    assert [i for i, row in enumerate(rows) if "validation" not in row] == [5]
    audit = [json.loads(line) for line in (run.path / "rollouts.jsonl").read_text().splitlines()]
    assert {row["step"] for row in audit} == set(range(1, 8))  # what collapsed stays on record
    costs = [row["flops"] for row in rows]
    assert all(a < b for a, b in pairwise(costs))  # what it cost stays spent
    said = (tmp_path / "run.txt").read_text().strip().splitlines()
    line = "step 5 collapsed, the reward is hacked; back to the weights of step 3, 1 of 3 times, learning rate × 0.5"
    assert said == [f"reinforce: {line}"]
    _, same = train(tmp_path / "same", steps=7, evaluate_every=1, checkpoint_every=3)
    assert same.metrics()[5]["reward"] == rows[5]["reward"]
    drawn = [{r["id"] for r in audit if r["step"] == step} for step in (5, 6)]
    assert drawn[0] != drawn[1]


def test_a_collapsed_update_leaves_nothing_behind(tmp_path):
    """Collapse at step 2, go on from the start: step 3 moves the weights by one step of Adam at its slower rate."""
    found = []

    def watching(policy):
        found.append(weights(policy).clone())
        return {"selection": math.nan}

    flat = {"warmup_steps": 0, "schedule": "constant", "kl": 0.0, "checkpoint_every": 5, "steps": 3, "max_grad_norm": 1e9}
    train(tmp_path / "run", reward=alarmed(2), validate=watching, evaluate_every=3, guard={"slower": 0.25}, **flat)
    before, after = found
    # Adam's first step moves every weight with a gradient by the rate.
    assert float((after - before).abs().max()) == pytest.approx(3e-3 * 0.25, rel=1e-2)


def test_a_step_that_collapsed_makes_no_update(tmp_path):
    _, run = train(tmp_path / "run", reward=alarmed(1), guard={"rollbacks": 0})
    assert [run.metrics()[1][name] for name in ("loss", "grad_norm", "clipped")] == [None, None, None]
    assert run.ledger.trained_tokens == 0
    assert run.ledger.sampled_tokens > 0


@pytest.mark.parametrize(
    ("alarms", "every", "back"),
    [
        ((3,), 2, [0]),  # the weights of step 2 were first sampled from in step 3, which collapsed
        ((4,), 2, [2]),
        ((4,), 1, [2]),
        ((4, 6), 1, [2, 2]),  # 5 stands on 2, and 6 shows that 5 is bad
        ((4, 7), 1, [2, 5]),
        ((4, 5), 2, [2, 0]),
        ((1, 2), 1, [0, 0]),  # there is nothing before the start
    ],
)
def test_training_goes_back_only_to_weights_that_a_later_step_found_healthy(tmp_path, alarms, every, back):
    _, run = train(tmp_path / "run", reward=alarmed(*alarms), validate=blind, steps=8, checkpoint_every=every)
    assert [row["back_to"] for row in run.metrics() if "rolled_back" in row] == back
    said = (tmp_path / "run.txt").read_text().strip().splitlines()
    rates = [f"learning rate × {rate}" for rate in (0.5, 0.25)]  # it never recovers, however old the checkpoint
    assert [line.rpartition(", ")[2] for line in said] == rates[: len(back)]


def test_a_policy_whose_rollouts_grew_too_short_does_not_come_back(tmp_path):
    harsh = {"learning_rate": 2e-2, "warmup_steps": 0, "schedule": "constant", "kl": 0.0, "prompts": 8, "steps": 30}
    _, run = train(
        tmp_path / "run",
        reward=brevity,
        validate=blind,
        checkpoint_every=1,
        evaluate_every=100,
        guard={"min_tokens": 4.0},
        **harsh,
    )
    collapsed = [(row["step"], row["back_to"]) for row in run.metrics() if "rolled_back" in row]
    assert len(collapsed) == 4
    assert all(back < step - 1 for step, back in collapsed)


def test_training_that_collapses_too_often_ends_with_the_best_policy(tmp_path):
    judged = iter([0.5, 0.9, 0.1])
    seen = []

    def judge(policy):
        seen.append(weights(policy).clone())
        return {"selection": next(judged)}

    trained, run = train(tmp_path / "run", reward=alarmed(4, 5, 6), validate=judge, steps=20, guard={"rollbacks": 2})
    assert run.done() == {"steps": 6, "best_step": 2, "selection": 0.9, "ended": "collapsed"}
    assert torch.equal(weights(trained), seen[1])
    assert [row.get("back_to") for row in run.metrics()] == [None, None, None, None, 2, 0, 0]
    assert (tmp_path / "run.txt").read_text().strip().endswith("back to the weights of step 0, and no further")


def test_an_evaluation_between_the_last_checkpoint_and_the_collapse_counts(tmp_path):
    judged = iter([0.5, 0.6, 0.9, 0.7])
    seen = []

    def judge(policy):
        seen.append(weights(policy).clone())
        return {"selection": next(judged)}

    changes = {"evaluate_every": 1, "checkpoint_every": 10, "guard": {"rollbacks": 0}}
    trained, run = train(tmp_path / "run", reward=alarmed(4), validate=judge, **changes)
    assert run.done() == {"steps": 4, "best_step": 2, "selection": 0.9, "ended": "collapsed"}
    assert torch.equal(weights(trained), seen[2])


def test_where_nothing_was_judged_the_last_good_policy_is_what_remains(tmp_path):
    policy = tiny_policy()
    trained, run = train(tmp_path / "run", policy=policy, reward=alarmed(2), validate=blind, guard={"rollbacks": 0})
    assert run.done() == {"steps": 2, "best_step": 0, "selection": None, "ended": "collapsed"}
    assert torch.equal(weights(trained), weights(policy))


def test_a_loss_that_is_no_number_is_a_collapse_that_names_the_remedy(tmp_path):
    trained, run = train(tmp_path / "run", learning_rate=1e30, max_grad_norm=1e30, steps=40, guard={"slower": 1.0})
    assert run.done()["ended"] == "collapsed"
    assert bool(weights(trained).isfinite().all())
    said = (tmp_path / "run.txt").read_text()
    assert said.count("collapsed") == 4
    whys = [row["rolled_back"] for row in run.metrics() if "rolled_back" in row]
    assert len(whys) == 4
    assert any("lower reinforce.learning_rate" in why or "not a number" in why for why in whys)


def test_a_reward_of_ones_own_may_call_a_collapse_and_tell_parts_and_halves(tmp_path, monkeypatch):
    code = """
from primum.reward import Rewards
def careful(rollouts):
    n = len(rollouts)
    return Rewards([1.0, None][:n], {"length": [2.0] * n}, [0.5] * n, [float("inf")] * n, "enough")
def short(rollouts):
    return Rewards([1.0], {})
"""
    (tmp_path / "careful_reward.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    two = [Rollout(Example("1", "x", "benign"), "", "a")] * 2
    found = custom("careful_reward:careful")(two)
    assert (found.total[0], found.thought, found.parts, found.collapsed) == (1.0, [0.5, 0.5], {"length": [2.0, 2.0]}, "enough")
    assert math.isnan(found.total[1])
    assert all(map(math.isnan, found.reply))
    with pytest.raises(Exception, match="gave 1 numbers for 2 rollouts"):
        custom("careful_reward:short")(two)


def test_no_checkpoint_is_written_after_a_collapsed_step_but_that_of_the_weights_gone_back_to(tmp_path):
    states = []

    def watching(rollouts):
        path = tmp_path / "run" / "state"
        states.append(torch.load(path, weights_only=True) if path.exists() else None)
        return alarm(rollouts)

    alarm = alarmed(4)
    train(tmp_path / "run", reward=watching, steps=6, checkpoint_every=2)
    first, good, after = states[0], states[3], states[4]
    assert first["state"]["step"] == 0  # there is one from the start
    assert (good["state"]["step"], good["state"]["holds"], good["state"]["rollbacks"]) == (2, 2, 0)
    assert (after["state"]["step"], after["state"]["holds"], after["state"]["rollbacks"]) == (4, 2, 1)
    pairs = zip(good["memories"]["learner"]["weights"], after["memories"]["learner"]["weights"], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert after["memories"]["learner"]["factor"] == settings().guard.slower
