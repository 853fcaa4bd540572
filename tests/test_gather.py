"""The groups of a step: refilled where they teach nothing, continued where they are unfinished, replayed; and their batch."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from loop import CORPUS, EVEN, blind, countered, example, quiet, says_yes, settings, train, weights
from tiny import tiny_policy

from primum.policy import copy, logprobs
from primum.policy.score import completion_logprobs
from primum.reinforce.config import DataConfig
from primum.reinforce.draw import Prompts
from primum.reinforce.gather import Sampler
from primum.reinforce.group import Group, rollouts_of
from primum.reinforce.prepare import prepare
from primum.reinforce.reference import Reference
from primum.reinforce.replay import recall, remember
from primum.reinforce.training import Training
from primum.reinforce.update import Learner
from primum.reward.types import Rewards
from primum.run import Ledger
from primum.types import Corpus, Rollout

POLICY = tiny_policy()


def gathered(config, reward, *, step=1, waiting=(), examples=CORPUS.train, policy=POLICY, ledger=None):
    sampler = Sampler(policy, reward, config, ledger or Ledger(), 0, step)
    return sampler.gather(Prompts(examples, config.mix, config.data, 0, step - 1, {}), waiting)


def dull_low_numbers(rollouts):
    """Siblings of prompts 0 to 2 earn the same; those of 3 and 4 differ."""
    return Rewards([float(int(r.example.id[-1]) > 2) * (i % 4) for i, r in enumerate(rollouts)], {})


def kinds(groups):
    return sorted(g.example.kind for g in groups)


# Dynamic sampling


def test_groups_that_earned_the_same_leave_their_place_to_new_prompts_of_their_kind():
    config = settings(prompts=4, data={"refill_rounds": 4})
    plain, filled = gathered(settings(prompts=4), dull_low_numbers), gathered(config, dull_low_numbers)
    dull = [g for g in plain.groups if not g.teaches(config)]
    assert dull  # else this draw shows nothing
    assert kinds(filled.groups) == kinds(plain.groups) == ["benign", "borderline", "harmful", "task"]
    assert all(g.teaches(config) for g in filled.groups)
    assert not any(g.teaches(config) for g in filled.passed)
    assert filled.refilled == 4 * len(filled.passed) >= 4 * len(dull)
    assert {g.round for g in filled.groups} > {0}
    names = [g.example.id for g in filled.rewarded]
    assert len(set(names)) == len(names)  # none was tried twice


def test_refilling_stops_at_its_rounds_and_keeps_the_last_groups():
    def same(rollouts):
        return Rewards([math.nan if r.example.kind == "task" else 1.0 for r in rollouts], {})

    found = gathered(settings(prompts=4, data={"refill_rounds": 2}), same)
    assert [g.round for g in found.passed] == [0] * 4 + [1] * 4
    assert [g.round for g in found.groups] == [2] * 4
    assert found.refilled == 32


def test_what_is_refilled_depends_on_seed_step_and_round_alone():
    config = settings(prompts=4, data={"refill_rounds": 3})
    one, other = gathered(config, dull_low_numbers), gathered(config, dull_low_numbers)
    assert rollouts_of(one.rewarded) == rollouts_of(other.rewarded)
    late = gathered(config, dull_low_numbers, step=2)
    assert rollouts_of(one.groups) != rollouts_of(late.groups)
    rounds = {round: {r.completion_ids for g in one.rewarded if g.round == round for r in g.rollouts} for round in (0, 1)}
    assert not rounds[0] & rounds[1]


def test_the_log_says_what_refilling_cost(tmp_path):
    _, run = train(tmp_path / "run", reward=dull_low_numbers, steps=3, data={"refill_rounds": 4})
    audit = [json.loads(line) for line in (run.path / "rollouts.jsonl").read_text().splitlines()]
    for row in run.metrics()[1:]:
        mine = [r for r in audit if r["step"] == row["step"]]
        assert row["refilled"] == sum(r["round"] > 0 for r in mine) == len(mine) - 16
        assert row["informative"] == sum(r["informative"] for r in mine) / len(mine)
        assert all(r["advantage"] == 0 for r in mine if not r["informative"])
    assert sum(row["refilled"] for row in run.metrics()[1:]) > 0


# Partial rollouts

SEGMENTS = settings(prompts=4, limit_tokens=8, segment_tokens=3)


def test_unfinished_groups_wait_and_are_continued_until_all_siblings_are_finished():
    asked = []

    def watching(rollouts):
        asked.extend(rollouts)
        return says_yes(rollouts)

    waiting, found = [], {}
    for step in range(1, 5):
        found[step] = gathered(SEGMENTS, watching, step=step, waiting=waiting)
        assert len(found[step].waiting) + len(found[step].groups) == 4
        assert kinds([*found[step].waiting, *found[step].groups]) == ["benign", "borderline", "harmful", "task"]
        waiting = found[step].waiting
    assert len(found[1].waiting) == 4  # one of many random tokens ends a rollout: hardly any group ends within three
    assert [g.example for g in found[3].groups] == [g.example for g in found[1].waiting]
    assert {g.step for g in found[3].groups} == {1}
    assert found[4].waiting[0].step == 4  # new prompts in the places that became free
    assert len(asked) == 16
    assert all(len(r.completion_ids) == 8 for r in asked if r.truncated)
    for first, second in zip(rollouts_of(found[1].waiting), rollouts_of(found[2].waiting), strict=True):
        assert second.completion_ids[:3] == first.completion_ids
        assert second.logprobs[:3] == first.logprobs
        assert second.fresh_from == (3 if first.truncated else 0)


def test_a_prompt_too_near_the_context_limit_is_not_waited_for_in_vain():
    policy = copy(POLICY)
    policy.model.config.max_position_embeddings = 16  # prompts have up to twelve tokens
    waiting, ended = [], []
    for step in range(1, 5):
        found = gathered(SEGMENTS, says_yes, step=step, waiting=waiting, policy=policy)
        waiting, ended = found.waiting, [*ended, *rollouts_of(found.groups)]
    short = [r for r in ended if len(r.prompt_ids) > 8]
    assert short
    assert all(len(r.completion_ids) == 16 - len(r.prompt_ids) for r in short if r.truncated)


def test_only_the_last_segment_of_a_rollout_teaches():
    rollouts = [rollout((5, 6, 7, 8), fresh=f) for f in (0, 2, 3, 0)]
    group = Group(rollouts, 1, rewards=Rewards([1.0, 0.0, 0.0, 0.0], {}))
    batch, _ = prepared([group])
    assert batch.mask_NT.tolist() == [[True] * 4, [False, False, True, True], [False] * 3 + [True], [True] * 4]
    assert torch.equal(batch.weights_NT > 0, batch.mask_NT)
    assert batch.weights_NT[batch.mask_NT].tolist() == pytest.approx([1 / 11] * 11)


def test_training_in_segments_rewards_each_rollout_once_and_reports_those_that_wait(tmp_path):
    _, run = train(tmp_path / "run", steps=6, segment_tokens=3)
    rows = run.metrics()[1:]
    audit = [json.loads(line) for line in (run.path / "rollouts.jsonl").read_text().splitlines()]
    assert [row["pending"] for row in rows[:3]] == [4, 4, 0]
    assert rows[0]["reward"] is None
    assert rows[0]["grad_norm"] == 0
    assert len(audit) == 32
    assert {row["step"] for row in audit} == {3, 6}
    assert {row["drawn"] for row in audit} == {1, 4}
    assert any(row["fresh_from"] == 6 for row in audit)


# Replay


def test_replay_keeps_the_latest_groups_and_draws_by_seed_and_step():
    groups = [Group([rollout((i,))], i) for i in range(10)]
    data = DataConfig(replay_groups=3, replay_keep=4)
    kept = remember(remember([], groups[:3], data), groups[3:], data)
    assert [g.step for g in kept] == [6, 7, 8, 9]
    assert remember([], groups, DataConfig()) == []
    drawn = [[g.step for g in recall(kept, data, seed=0, step=step)] for step in range(20)]
    assert drawn[3] == [g.step for g in recall(kept, data, seed=0, step=3)]
    assert len({tuple(d) for d in drawn}) > 2
    assert all(len(set(d)) == 3 for d in drawn)
    assert [g.step for g in recall(groups[:2], data, seed=0, step=1)] == [0, 1]


def test_a_replayed_group_teaches_again_with_the_log_probabilities_it_was_sampled_with(tmp_path):
    def once(rollouts):  # only the first step has signal
        once.calls += 1
        return says_yes(rollouts) if once.calls == 1 else Rewards([0.0] * len(rollouts), {})

    def norms(name, **data):
        once.calls = 0
        _, run = train(tmp_path / name, reward=once, steps=3, kl=0.0, data=data)
        return run, [row["grad_norm"] for row in run.metrics()[1:]]

    _, without = norms("without")
    run, replayed = norms("with", replay_groups=8)
    assert without[0] == replayed[0] > 0
    assert without[1:] == [0, 0]
    assert min(replayed[1:]) > 0
    audit = [json.loads(line) for line in (run.path / "rollouts.jsonl").read_text().splitlines()]
    again = [r for r in audit if r["replayed"]]
    assert [row["replayed"] * 4 for row in run.metrics()[1:]] == [0, len(again) // 2, len(again) // 2]
    first = {(r["id"], r["thought"], r["reply"]): (r["reward"], r["advantage"]) for r in audit if r["step"] == 1}
    assert all(first[r["id"], r["thought"], r["reply"]] == (r["reward"], r["advantage"]) for r in again)
    old = Group([rollout((5, 6), logprobs=(-1.0, -2.0)), rollout((7, 8))], 1, rewards=Rewards([1.0, 0.0], {}))
    batch, _ = prepared([], [old], group=2)
    assert batch.old_NT.tolist() == [[-1.0, -2.0], [-4.0, -4.0]]


# The batch


def rollout(ids, *, fresh=0, logprobs=(), kind="benign", thought_tokens=0):
    ask = POLICY.tokenizer("<bos> <user> make tea", add_special_tokens=False)["input_ids"]
    return Rollout(
        example(kind, 0), "", "", prompt_ids=tuple(ask), completion_ids=ids, logprobs=logprobs or (-4.0,) * len(ids),
        fresh_from=fresh, thought_tokens=thought_tokens,
    )  # fmt: skip


def prepared(groups, replayed=(), *, reference=POLICY, ledger=None, **changes):
    config = settings(**{"kl": 0.0, **changes})
    learner = Learner(copy(POLICY), config)
    return prepare(groups, replayed, learner, Reference(reference, learner.policy, config), ledger or Ledger())


def test_kl_is_scored_for_the_groups_with_signal_alone_and_for_none_where_it_is_off():
    dull = Group([rollout((5, 6, 7))] * 4, 1, rewards=Rewards([1.0] * 4, {}))
    sharp = Group([rollout((5, 6)), rollout((8,))] * 2, 1, rewards=Rewards([1.0, 0.0, 0.0, math.nan], {}))
    ledger = Ledger()
    batch, kl = prepared([dull, sharp], kl=0.1, ledger=ledger)
    assert len(batch.rollouts) == 3
    assert ledger.parts["score"].tokens == 2 + 1 + 2
    found = logprobs(POLICY.model, batch.rollouts, pad=POLICY.pad).logprobs_NT.detach()
    torch.testing.assert_close(batch.reference_NT, found, atol=1e-6, rtol=0)
    gap = found - completion_logprobs(batch.rollouts)  # k3 by hand
    assert kl == pytest.approx(float((gap.exp() - gap - 1).sum() / 3), rel=1e-5)
    off = Ledger()
    assert math.isnan(prepared([dull, sharp], ledger=off)[1])
    assert "score" not in off.parts
    assert prepared([dull], kl=0.1)[0].rollouts == []
    assert prepared([])[0].rollouts == []


def test_the_kl_reported_is_that_of_this_steps_rollouts():
    new = Group([rollout((5, 6)), rollout((8,))], 2, rewards=Rewards([1.0, 0.0], {}))
    old = Group([rollout((9, 9, 9), logprobs=(-0.1,) * 3), rollout((8,))], 1, rewards=Rewards([1.0, 0.0], {}))
    alone, both = prepared([new], kl=0.1, group=2), prepared([new], [old], kl=0.1, group=2)
    assert len(both[0].rollouts) == 4
    assert both[1] == pytest.approx(alone[1])
    assert math.isnan(prepared([], [old], kl=0.1, group=2)[1])


def test_kl_in_the_reward_costs_a_rollout_its_log_ratio():
    group = Group([rollout((5, 6)), rollout((8,))], 1, rewards=Rewards([1.0, 1.0], {}))
    batch, _ = prepared([group], kl=0.5, kl_in="reward", group=2)
    found = logprobs(POLICY.model, group.rollouts, pad=POLICY.pad).logprobs_NT.detach()
    costs = [0.5 * float(-8.0 - found[0].sum()), 0.5 * float(-4.0 - found[1].sum())]
    assert group.advantages["advantage"] == pytest.approx([(costs[1] - costs[0]) / 2, (costs[0] - costs[1]) / 2], abs=1e-5)
    assert batch.advantages_NT[0].tolist() == pytest.approx([group.advantages["advantage"][0]] * 2)


def test_length_near_the_limit_is_a_signal_of_its_own():
    # limit 8, the last 4 tokens cost: 8 tokens 1, 6 tokens 0.5
    group = Group([rollout((5,) * 8), rollout((5,) * 6)], 1, rewards=Rewards([1.0, 1.0], {}))
    assert not group.teaches(settings())
    assert group.teaches(settings(overlong_tokens=4))
    prepared([group], overlong_tokens=4, group=2)
    assert group.advantages["advantage"] == pytest.approx([-0.25, 0.25])


def test_split_credit_gives_each_half_its_own_advantage():
    two = [rollout((5, 6, 7), thought_tokens=2), rollout((5, 6), thought_tokens=2)]
    group = Group(two, 1, rewards=Rewards([1.0, 1.0], {}, thought=[1.0, 0.0], reply=[math.nan, math.nan]))
    assert not group.teaches(settings())
    assert group.teaches(settings(credit="split"))
    batch, _ = prepared([group], credit="split", group=2)
    assert batch.advantages_NT.tolist() == [[0.5, 0.5, 0.0], [-0.5, -0.5, 0.0]]
    assert group.advantages["advantage_thought"] == [0.5, -0.5]
    assert group.advantages["advantage_reply"][0] == 0.0
    assert math.isnan(group.advantages["advantage_reply"][1])  # it has no reply
    unscored = replace(group.rewards, total=[1.0, math.nan])
    assert not Group(two, 1, rewards=unscored).teaches(settings(credit="split"))


def test_a_group_comes_back_from_a_checkpoint_as_it_went(tmp_path):
    asked = replace(example("harmful", 1), counter="safe", prefill="safe")
    one = replace(rollout((5, 6), fresh=1, logprobs=(-0.1, -1e-9)), example=asked, truncated=True, looped=True)
    group = Group([one, rollout((7,))], 3, 2, Rewards([1.0, math.nan], {"form": [1.0, 0.0]}), {"advantage": [0.5, 0.0]})
    torch.save(group.to_state(), tmp_path / "group")
    again = Group.from_state(torch.load(tmp_path / "group", weights_only=True))
    assert again.rollouts == group.rollouts
    assert (again.step, again.round, again.advantages) == (3, 2, {"advantage": [0.5, 0.0]})
    assert str(again.rewards) == str(group.rewards)


# Prefills and an adapter, through the loop


def test_a_prefilled_thought_is_read_not_learnt_and_reported(tmp_path):
    _, run = train(tmp_path / "run", corpus=countered(), steps=2, data={"prefill_share": 1.0})
    audit = [json.loads(line) for line in (run.path / "rollouts.jsonl").read_text().splitlines()]
    assert run.metrics()[1]["prefilled"] == 0.75  # all but the task
    assert all(row["prefilled"] == (row["kind"] != "task") for row in audit)
    assert not any(row["thought"].startswith("it is safe .") for row in audit)
    assert max(row["thought_tokens"] for row in audit) <= 8


def test_an_adapter_learns_and_is_merged_into_the_policy_that_comes_out(tmp_path):
    pytest.importorskip("peft")
    policy = tiny_policy()
    before = weights(policy).clone()
    trained, run = train(tmp_path / "run", policy=policy, steps=4, lora_rank=4, learning_rate=1e-2, kl=0.1)
    rows = run.metrics()[1:]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4)  # switched off it is the start
    assert rows[-1]["kl"] > 1e-3
    assert torch.equal(weights(policy), before)
    assert not torch.equal(weights(trained), before)
    assert not hasattr(trained.model, "merge_and_unload")


# Mirror descent and the reference


def test_mirror_descent_begins_each_iteration_with_the_present_policy_and_a_fresh_optimiser(tmp_path, monkeypatch):
    seen = []
    refresh, reset = Reference.refresh, Learner.reset

    def watch(name, method):
        def called(self):
            seen.append((name, float(self.trained.model.lm_head.weight.detach().sum()) if name == "refresh" else None))
            return method(self)

        return called

    monkeypatch.setattr(Reference, "refresh", watch("refresh", refresh))
    monkeypatch.setattr(Learner, "reset", watch("reset", reset))
    _, run = train(tmp_path / "run", steps=5, loss="mirror", mirror={"iteration": 2}, kl=0.0)
    assert [name for name, _ in seen] == ["reset", "reset", "refresh", "reset", "refresh", "reset", "refresh"]
    moments = [value for name, value in seen if name == "refresh"]
    assert all(a != b for a, b in pairwise(moments))
    assert run.ledger.parts["score"].tokens > 0


def test_within_an_iteration_mirror_descent_compares_with_the_policy_it_began_with(tmp_path):
    config = settings(loss="mirror", mirror={"iteration": 3}, kl=0.0, learning_rate=1e-2, warmup_steps=0)
    training = Training.begin(POLICY, CORPUS, says_yes, blind, config, quiet(tmp_path / "run"), 1, math.inf)
    training.step()
    group = Group([rollout((5, 6)), rollout((8,)), rollout((9,)), rollout((7,))], 2, rewards=Rewards([1.0, 0.0, 0.0, 0.0], {}))
    batch, _ = training._prepare([group], [])
    began, now = (logprobs(p.model, batch.rollouts, pad=POLICY.pad).logprobs_NT for p in (POLICY, training.learner.policy))
    torch.testing.assert_close(batch.old_NT, began, atol=1e-6, rtol=0)
    assert not torch.allclose(batch.old_NT, now, atol=1e-4)


def test_where_the_start_up_test_fails_the_plain_way_is_taken_and_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr("primum.reinforce.training.fast_is_exact", lambda *_, **__: "its gradient differs by 3%")
    monkeypatch.setattr("primum.reinforce.training.precision_holds", lambda *_, **__: "its log-probabilities differ by 2 nats")
    config = settings(precision="bfloat16")
    made = [Training.begin(POLICY, CORPUS, says_yes, blind, config, quiet(tmp_path / "run"), 1, math.inf) for _ in range(2)]
    assert [t.learner.fast for t in made] == [False, False]  # the second goes on from the checkpoint
    assert [t.state.precision for t in made] == ["auto", "auto"]
    assert (tmp_path / "run.txt").read_text() == ""  # opened anew by the second, which tests and says nothing
    Training.begin(POLICY, CORPUS, says_yes, blind, config, quiet(tmp_path / "other"), 1, math.inf)
    said = (tmp_path / "other.txt").read_text()
    assert "since with bfloat16 its log-probabilities differ by 2 nats" in said
    assert "since for this model in shared rows its gradient differs by 3%" in said


def test_with_one_step_an_iteration_mirror_descent_scores_nothing_but_what_is_replayed(tmp_path):
    _, run = train(tmp_path / "run", steps=3, loss="mirror", kl=0.0)
    assert "score" not in run.ledger.parts
    _, run = train(tmp_path / "again", steps=3, loss="mirror", kl=0.0, data={"replay_groups": 2})
    assert run.ledger.parts["score"].tokens > 0


def test_a_refreshed_reference_is_where_the_policy_was(tmp_path):
    _, far = train(tmp_path / "far", steps=7, learning_rate=1e-2, mix=EVEN)
    _, near = train(tmp_path / "near", steps=7, learning_rate=1e-2, mix=EVEN, refresh_reference=3)
    assert [row["kl"] for row in near.metrics()[1:4]] == [row["kl"] for row in far.metrics()[1:4]]
    fresh = near.metrics()[4]["kl"]
    assert fresh is None or fresh == pytest.approx(0, abs=1e-3)
    assert near.metrics()[7]["kl"] is None or near.metrics()[7]["kl"] == pytest.approx(0, abs=1e-3)


def test_a_corpus_of_one_prompt_is_refilled_with_itself():
    only = [e for e in CORPUS.train if e.id == "benign-0"]
    config = settings(prompts=2, data={"refill_rounds": 1})
    found = gathered(config, lambda rollouts: Rewards([0.0] * len(rollouts), {}), examples=Corpus(only, [], []).train)
    assert {g.example.id for g in found.rewarded} == {"benign-0"}
    assert len({r.completion_ids for r in rollouts_of(found.rewarded)}) == 16
