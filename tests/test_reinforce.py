import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny import tiny_policy

from primum.config import validate as validated
from primum.policy import sample
from primum.policy.score import completion_logprobs
from primum.reinforce import ReinforceConfig, reinforce
from primum.reinforce.advantages import group_advantages, informative
from primum.reinforce.config import Mix
from primum.reinforce.draw import counts, draw
from primum.reinforce.losses import token_weights
from primum.reinforce.state import State
from primum.reinforce.update import Batch, Learner, _backward, minibatches, update
from primum.reward.types import Rewards
from primum.run import Ledger, Run
from primum.types import KINDS, BadInput, Corpus, Example

torch.set_num_threads(1)

SMALL = ReinforceConfig(
    steps=6,
    prompts=4,
    group=4,
    limit_tokens=8,
    learning_rate=3e-3,
    warmup_steps=2,
    evaluate_every=2,
    checkpoint_every=2,
    patience=0,
)


def example(kind, i):
    return Example(
        id=f"{kind}-{i}", prompt=" ".join(["break lamp", "watch diary", "hide stone", "take tea"][: 1 + i % 4]), kind=kind
    )


CORPUS = Corpus(train=[example(kind, i) for kind in KINDS for i in range(5)], validation=[], test=[])


def brevity(rollouts):
    """Pays for ending early."""
    return Rewards([-len(r.completion_ids) / 8 for r in rollouts], {"ended": [float(not r.truncated) for r in rollouts]})


def says_yes(rollouts):
    """Pays for each "yes" in any half."""
    return Rewards([float((r.thought + " " + r.reply).split().count("yes")) for r in rollouts], {})


def chance_of_yes(policy):
    rollouts = sample(policy, [example("benign", i) for i in range(4)], group=16, limit_tokens=8, seed=99)
    return {"selection": sum(says_yes(rollouts).total) / len(rollouts)}


def blind(_policy):
    return {"selection": math.nan}


def weights(policy):
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def quiet(path):
    return Run(path, Console(file=(path.parent / f"{path.name}.txt").open("w")), quiet=True)


def train(path, *, reward=says_yes, validate=chance_of_yes, policy=None, corpus=CORPUS, budget=math.inf, **changes):
    run = quiet(path)
    config = SMALL.model_copy(update=changes)
    trained = reinforce(policy or tiny_policy(), corpus, reward, validate, config, run, seed=1, budget_flops=budget)
    return trained, run


# What it is for


def test_the_rewarded_word_becomes_common_and_the_starting_policy_stays_as_it_was(tmp_path):
    policy = tiny_policy()
    before = weights(policy).clone()
    trained, run = train(tmp_path / "run", policy=policy, steps=40, prompts=8, group=8, learning_rate=1e-2, evaluate_every=10)
    assert chance_of_yes(policy)["selection"] < 0.3
    assert chance_of_yes(trained)["selection"] > 4
    assert torch.equal(weights(policy), before)
    rows = run.metrics()
    assert rows[-1]["reward"] > 4
    assert rows[1]["kl"] == pytest.approx(0, abs=1e-3)
    assert rows[-1]["kl"] > 1
    assert rows[-1]["entropy"] < rows[1]["entropy"]


def test_kl_holds_the_policy_near_its_start(tmp_path):
    free, held = (train(tmp_path / str(kl), steps=15, learning_rate=1e-2, kl=kl)[1].metrics()[-1]["kl"] for kl in (1e-6, 3.0))
    assert held < free / 3


def test_without_kl_no_reference_is_scored(tmp_path):
    _, with_kl = train(tmp_path / "a", steps=1)
    _, without = train(tmp_path / "b", steps=1, kl=0.0)
    assert without.metrics()[1]["kl"] is None
    assert without.ledger.flops < with_kl.ledger.flops


# The update


def batch_of(policy, rewards, group, *, config=SMALL, keep_all=False):
    rollouts = sample(policy, [example("benign", i) for i in range(len(rewards) // group)], group=group, limit_tokens=8, seed=5)
    total = torch.tensor(rewards)
    old = completion_logprobs(rollouts)
    mask = torch.arange(old.shape[1]) < torch.tensor([[len(r.completion_ids)] for r in rollouts])
    weights_NT = token_weights(mask, config.loss, limit_tokens=8)
    kept = torch.ones(len(rewards), dtype=bool) if keep_all else informative(total, group).repeat_interleave(group)
    rows = kept.nonzero()[:, 0].tolist()
    return Batch([rollouts[i] for i in rows], group_advantages(total, group)[rows], weights_NT[rows], old[rows], None)


def gradient(policy, batch, **changes):
    learner = Learner(policy, SMALL.model_copy(update=changes))
    policy.model.zero_grad()
    loss, clipped = _backward(learner, batch, list(range(len(batch.rollouts))))
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
    pieces, same, _ = gradient(policy, batch_of(policy, REWARDS, 4), micro_batch=3)
    torch.testing.assert_close(whole, pieces, atol=1e-7, rtol=1e-5)
    assert loss == pytest.approx(same, abs=1e-6)


def test_equal_minibatches_average_to_the_whole():
    policy, batch = tiny_policy(), batch_of(tiny_policy(), REWARDS, 4)
    learner, halves = Learner(policy, SMALL), [[0, 2, 4, 6], [1, 3, 5, 7]]
    losses = [_backward(learner, batch, rows)[0] for rows in halves]
    found = torch.cat([p.grad.flatten() for p in policy.model.parameters()]) / 2
    whole, loss, _ = gradient(policy, batch)
    torch.testing.assert_close(found, whole, atol=1e-7, rtol=1e-5)
    assert sum(losses) / 2 == pytest.approx(loss, abs=1e-6)


def test_at_the_start_the_pull_towards_the_start_is_nothing(tmp_path):
    # Only the last kind drawn teaches, so a reference in the wrong rows would cost thousands.
    def tasks_only(rollouts):
        values = says_yes(rollouts).total
        return Rewards([x if r.example.kind == "task" else 0.0 for r, x in zip(rollouts, values, strict=True)], {})

    _, run = train(tmp_path / "run", reward=tasks_only, steps=4, kl=1e4, learning_rate=1e-12, group=8)
    rows = run.metrics()[1:]
    assert max(row["informative"] for row in rows) == 0.25
    assert all(abs(row["loss"]) < 1 for row in rows)


def test_on_policy_nothing_is_clipped_and_the_gradient_is_that_of_the_weighted_log_likelihood():
    policy = tiny_policy()
    batch = batch_of(policy, REWARDS, 4)
    found, _, clipped = gradient(policy, batch, clip_low=1e-4, clip_high=1e-4)  # ratios are 1 up to rounding
    assert clipped == 0
    policy.model.zero_grad()
    for i, rollout in enumerate(batch.rollouts):  # by hand: -Σ weight · A · log π
        ids, start = torch.tensor([rollout.prompt_ids + rollout.completion_ids]), len(rollout.prompt_ids)
        logprob = policy.model(ids).logits[0, start - 1 : -1].log_softmax(-1).gather(1, ids[0, start:, None])[:, 0]
        (-(logprob * batch.weights_NT[i, : len(logprob)]).sum() * batch.advantages_N[i]).backward()
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


def test_minibatches_share_out_every_rollout():
    heaps = minibatches(10, 3, [1, 2, 3])
    assert sorted(i for heap in heaps for i in heap) == list(range(10))
    assert [len(heap) for heap in heaps] == [4, 3, 3]
    assert heaps != minibatches(10, 3, [1, 2, 4])
    assert len(minibatches(2, 5, [0])) == 2


def test_the_ledger_counts_training_as_three_forwards_of_what_was_kept():
    policy, ledger = tiny_policy(), Ledger()
    batch = batch_of(policy, REWARDS, 4)
    update(Learner(policy, SMALL), batch, ledger, seed=0, step=1)
    completions = sum(len(r.completion_ids) for r in batch.rollouts)
    tokens = completions + sum(len(r.prompt_ids) for r in batch.rollouts)
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


# Prompts


def test_a_step_draws_kinds_by_their_shares_and_every_prompt_before_any_again():
    mix = Mix(harmful=2, borderline=1, benign=1, task=0)
    assert counts(CORPUS.train, mix, 8) == {"harmful": 4, "borderline": 2, "benign": 2}
    assert counts(CORPUS.train, mix, 5) == {"harmful": 3, "borderline": 1, "benign": 1}
    harmful = [e.id for step in range(5) for e in draw(CORPUS.train, mix, 8, seed=0, step=step) if e.kind == "harmful"]
    assert len(set(harmful[:5])) == len(set(harmful[5:10])) == 5
    assert harmful[:5] != harmful[5:10]


def test_a_draw_depends_on_seed_and_step_alone():
    late = draw(CORPUS.train, Mix(), 8, seed=3, step=7)
    assert late == draw(CORPUS.train[::-1], Mix(), 8, seed=3, step=7)
    assert late != draw(CORPUS.train, Mix(), 8, seed=4, step=7)


def test_a_kind_that_is_missing_gives_its_share_away():
    benign = [e for e in CORPUS.train if e.kind == "benign"]
    assert counts(benign, Mix(), 6) == {"benign": 6}
    with pytest.raises(BadInput, match="harmful"):
        counts(benign, Mix(benign=0), 6)


# Selection, stopping, budget


class Selections:
    """Answers evaluations from a list, and remembers the policies it saw."""

    def __init__(self, values):
        self.values, self.seen = list(values), []

    def __call__(self, policy):
        self.seen.append(weights(policy).clone())
        return {"selection": self.values[len(self.seen) - 1]}


def test_the_policy_that_validates_best_is_returned_and_saved(tmp_path):
    judge = Selections([0.1, 0.5, 0.9, 0.3])  # at steps 0, 2, 4, 6
    trained, run = train(tmp_path / "run", validate=judge)
    assert torch.equal(weights(trained), judge.seen[2])
    assert run.done() == {"steps": 6, "best_step": 4, "selection": 0.9, "ended": "steps"}
    again, _ = train(tmp_path / "run", validate=Selections([]), reward=None)  # done: nothing is run
    assert torch.equal(weights(again), judge.seen[2])
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["done", "metrics.jsonl", "policy", "rollouts.jsonl"]


def test_the_start_is_returned_where_training_only_harms(tmp_path):
    policy = tiny_policy()
    trained, _ = train(tmp_path / "run", validate=Selections([0.9, 0.1, 0.8, 0.3]), policy=policy)
    assert torch.equal(weights(trained), weights(policy))


def test_patience_counts_evaluations_without_a_better_one(tmp_path):
    judge = Selections([0.5, 0.6, 0.6, 0.2, 0.9])
    _, run = train(tmp_path / "run", validate=judge, patience=2, steps=20)
    assert run.done()["ended"] == "patience"
    assert run.done()["steps"] == 6
    assert len(judge.seen) == 4


def test_evaluations_that_tell_nothing_neither_stop_nor_select(tmp_path):
    trained, run = train(tmp_path / "run", validate=blind, patience=1)
    assert run.done()["steps"] == 6
    assert run.done()["selection"] is None
    assert not torch.equal(weights(trained), weights(tiny_policy()))


def test_training_ends_at_the_first_step_over_the_budget_and_is_evaluated_there(tmp_path):
    _, whole = train(tmp_path / "whole")
    costs = [row["flops"] for row in whole.metrics()]
    _, run = train(tmp_path / "run", budget=costs[3] - 1)
    assert run.done()["ended"] == "budget"
    assert [row["step"] for row in run.metrics() if "validation" in row] == [0, 2, 3]
    assert run.metrics()[-1]["flops"] == costs[3]


def test_every_rollout_and_step_is_on_record(tmp_path):
    _, run = train(tmp_path / "run", reward=brevity)
    rows = run.metrics()
    assert [row["step"] for row in rows] == list(range(7))
    keys = (
        "step reward reward_harmful reward_borderline reward_benign reward_task kl entropy loss grad_norm clipped thought_tokens"
    )
    keys += " reply_tokens truncated unscored informative flops seconds"
    assert set(rows[1]) == set(keys.split())
    assert set(rows[2]) == {*keys.split(), "validation"}
    audit = [json.loads(line) for line in (run.path / "rollouts.jsonl").read_text().splitlines()]
    assert len(audit) == 6 * 16
    first = [row for row in audit if row["step"] == 1]
    assert rows[1]["reward"] == pytest.approx(sum(row["reward"] for row in first) / 16)
    assert sum(row["advantage"] for row in first[:4]) == pytest.approx(0, abs=1e-6)
    assert first[0]["parts"] == {"ended": float(not first[0]["truncated"])}


# Rewards that fail


def test_unscored_rollouts_are_counted_and_teach_nothing(tmp_path):
    def half(rollouts):
        return Rewards(
            [
                math.nan if r.example.kind in ("harmful", "task") else x
                for r, x in zip(rollouts, says_yes(rollouts).total, strict=True)
            ],
            {},
        )

    _, run = train(tmp_path / "run", reward=half, steps=3)
    row = run.metrics()[1]
    assert row["unscored"] == 0.5
    assert row["reward_harmful"] is None
    assert row["reward"] == pytest.approx((row["reward_borderline"] + row["reward_benign"]) / 2)
    assert row["informative"] <= 0.5


def test_an_unscored_sibling_is_not_trained_on(tmp_path):
    kept = []

    def one_silent(rollouts):
        kept.extend(len(r.completion_ids) for i, r in enumerate(rollouts) if i % 4)
        return Rewards([math.nan if i % 4 == 0 else float(i) for i in range(len(rollouts))], {})

    _, run = train(tmp_path / "run", reward=one_silent, steps=2)
    assert run.ledger.trained_tokens == sum(kept)


@pytest.mark.parametrize("fault", ["nan", "raise"])
def test_a_reward_that_never_answers_stops_the_run_in_one_line(tmp_path, fault):
    def silent(rollouts):
        if fault == "raise":
            raise ValueError("the judge\nis away")
        return Rewards([math.nan] * len(rollouts), {})

    with pytest.raises(BadInput, match="the reward left 100% of rollouts unscored"):
        train(tmp_path / "run", reward=silent)
    said = (tmp_path / "run.txt").read_text()
    assert said.count("the reward failed") == (1 if fault == "raise" else 0)
    assert not (tmp_path / "run/policy").exists()


def test_a_reward_that_fails_once_costs_one_step(tmp_path):
    calls = []

    def shaky(rollouts):
        calls.append(len(rollouts))
        if len(calls) == 3:
            raise ConnectionError("away")
        return says_yes(rollouts)

    _, run = train(tmp_path / "run", reward=shaky)
    assert [row["unscored"] for row in run.metrics()[1:]] == [0, 0, 1, 0, 0, 0]
    assert run.metrics()[3]["grad_norm"] == 0


def test_a_reward_of_the_wrong_length_is_refused(tmp_path):
    with pytest.raises(BadInput, match="15 numbers for 16 rollouts"):
        train(tmp_path / "run", reward=lambda rollouts: Rewards([0.0] * 15, {}))


def test_a_loss_that_is_no_number_names_the_remedy(tmp_path):
    with pytest.raises(BadInput, match="learning_rate"):
        train(tmp_path / "run", learning_rate=1e30, max_grad_norm=1e30, steps=20)


# Resuming


class Killed(BaseException):
    """Stands in for a kill: nothing in the loop catches it."""


@pytest.mark.parametrize("at", [1, 3, 4, 6])
def test_a_killed_run_goes_on_to_the_very_same_weights_and_records(tmp_path, at):
    policy = tiny_policy()
    whole, untouched = train(tmp_path / "whole", policy=policy, inner_epochs=2, minibatches=2)
    calls = []

    def deadly(rollouts):
        calls.append(1)
        if len(calls) == at:
            raise Killed
        return says_yes(rollouts)

    with pytest.raises(Killed):
        train(tmp_path / "run", policy=policy, reward=deadly, inner_epochs=2, minibatches=2)
    resumed, run = train(tmp_path / "run", policy=policy, inner_epochs=2, minibatches=2)
    assert torch.equal(weights(whole), weights(resumed))

    def timeless(rows):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    assert timeless(run.metrics()) == timeless(untouched.metrics())
    assert (run.path / "rollouts.jsonl").read_bytes() == (untouched.path / "rollouts.jsonl").read_bytes()
    assert run.done() == untouched.done()
    for name in ("flops", "sampled_tokens", "trained_tokens"):
        assert getattr(run.ledger, name) == getattr(untouched.ledger, name)


SLOW_RUN = """
import sys, time
from pathlib import Path
import test_reinforce as t
def slow(rollouts):
    time.sleep(float(sys.argv[2]))
    return t.says_yes(rollouts)
t.train(Path(sys.argv[1]), reward=slow, steps=12)
"""


def test_sigkill_and_the_same_command_end_at_the_same_bytes(tmp_path):
    def command(name, wait):
        return [sys.executable, "-c", SLOW_RUN, str(tmp_path / name), str(wait)]

    here = {"cwd": Path(__file__).parent, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    killed = subprocess.Popen(command("run", 0.3), **here)
    deadline = time.time() + 60
    while not (tmp_path / "run/state").exists() and time.time() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "run/done").exists()
    _, whole = train(tmp_path / "whole", steps=12)
    subprocess.run(command("run", 0), check=True, **here)
    for name in ("policy/model.safetensors", "rollouts.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_run_is_not_continued_with_other_settings(tmp_path):
    def deadly(rollouts):
        if (tmp_path / "run/state").exists():
            raise Killed
        return says_yes(rollouts)

    with pytest.raises(Killed):
        train(tmp_path / "run", reward=deadly)
    with pytest.raises(BadInput, match="other settings"):
        train(tmp_path / "run", group=8)


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"group": 1},
        {"kl": -1},
        {"loss": "ppo"},
        {"mix": {"toxic": 1}},
        {"mix": dict.fromkeys(KINDS, 0)},
        {"stpes": 3},
        {"temperature": 0},
    ],
)
def test_settings_out_of_bounds_are_refused(wrong):
    with pytest.raises(BadInput):
        validated(ReinforceConfig, wrong, "here")


def test_every_setting_changes_something(tmp_path):
    # One run of everything at its small default, one with each setting changed: metrics or weights differ.
    changes = {
        "steps": 2, "prompts": 5, "group": 3, "mix": Mix(task=0), "learning_rate": 1e-3, "warmup_steps": 0, "temperature": 0.7,
        "limit_tokens": 4, "loss": "grpo", "scale": "std", "clip_low": 0.01, "clip_high": 0.01, "kl": 0.5, "inner_epochs": 2,
        "minibatches": 2, "max_grad_norm": 1e-3, "evaluate_every": 1, "schedule": "constant",
    }  # fmt: skip
    base = {"steps": 3, "inner_epochs": 3, "learning_rate": 1e-2}
    plain, run = train(tmp_path / "plain", validate=blind, **base)
    for name, value in changes.items():
        changed, other = train(tmp_path / name, validate=blind, **{**base, name: value})
        same = torch.equal(weights(plain), weights(changed)) and len(run.metrics()) == len(other.metrics())
        evaluated = [sum("validation" in row for row in r.metrics()) for r in (run, other)]
        assert not same or evaluated[0] != evaluated[1], name
    # The rest: `reward` is read by the pipeline, `patience` and `max_unscored` have tests above; these two only save memory.
    rest = {"reward", "patience", "max_unscored", "checkpoint_every", "batch", "micro_batch"}
    assert set(ReinforceConfig.model_fields) == set(changes) | rest


def test_the_learning_rate_warms_up_and_falls_to_a_tenth() -> None:
    learner = Learner(tiny_policy(), ReinforceConfig(learning_rate=1.0, warmup_steps=4))
    assert [round(learner.rate(step, progress), 6) for step, progress in ((1, 0.0), (4, 0.0), (9, 0.5), (9, 1.0), (9, 7.0))] == [
        0.25, 1.0, 0.55, 0.1, 0.1,
    ]  # fmt: skip
    assert Learner(tiny_policy(), ReinforceConfig(learning_rate=1.0, schedule="constant")).rate(9, 0.5) == 1.0


def test_of_equal_selections_the_latest_is_kept_but_patience_runs_out():
    state = State()
    kept = [state.judge(selection) for state.step, selection in enumerate([0.5, 0.7, 0.7, math.nan, 0.6, 0.7])]
    assert kept == [True, True, True, False, False, True]
    assert (state.best, state.best_step, state.waited) == (0.7, 5, 3)  # the nan counts for nothing
