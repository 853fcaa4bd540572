import json
import math
from collections import deque

import numpy as np
import pytest
import torch
from loop import SMALL, blind, brevity, chance_of_yes, countered, says_yes, train, weights
from tiny import tiny_policy

from primum.config import validate as validated
from primum.reinforce import ReinforceConfig
from primum.reinforce.config import Mix
from primum.reinforce.state import State
from primum.reinforce.update import Learner
from primum.reward.types import Rewards
from primum.types import KINDS, BadInput

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


def test_at_the_start_the_pull_towards_the_start_is_nothing(tmp_path):
    # Only the last kind drawn teaches, so a reference in the wrong rows would cost thousands.
    def tasks_only(rollouts):
        values = says_yes(rollouts).total
        return Rewards([x if r.example.kind == "task" else 0.0 for r, x in zip(rollouts, values, strict=True)], {})

    _, run = train(tmp_path / "run", reward=tasks_only, steps=4, kl=1e4, learning_rate=1e-12, group=8)
    rows = run.metrics()[1:]
    assert max(row["informative"] for row in rows) == 0.25
    assert all(abs(row["loss"]) < 1 for row in rows)


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
    keys = "step reward reward_harmful reward_borderline reward_benign reward_task kl entropy loss grad_norm clipped tokens"
    keys += " success_harmful success_borderline success_benign success_task thought_tokens reply_tokens truncated looped"
    keys += " prefilled unscored informative pending refilled replayed flops seconds"
    assert set(rows[1]) == set(keys.split())
    assert set(rows[2]) == {*keys.split(), "validation"}
    audit = [json.loads(line) for line in (run.path / "rollouts.jsonl").read_text().splitlines()]
    assert len(audit) == 6 * 16
    first = [row for row in audit if row["step"] == 1]
    assert rows[1]["reward"] == pytest.approx(sum(row["reward"] for row in first) / 16)
    assert sum(row["advantage"] for row in first[:4]) == pytest.approx(0, abs=1e-6)
    assert first[0]["parts"] == {"ended": float(not first[0]["truncated"])}
    flags = {"unscored": False, "replayed": False, "drawn": 1, "round": 0, "looped": False, "prefilled": False, "fresh_from": 0}
    assert flags.items() <= first[0].items()
    assert first[0]["informative"] == (len({row["reward"] for row in first[:4]}) > 1)


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

    _, run = train(tmp_path / "run", reward=half, steps=3, max_unscored=1.0)
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


def test_a_judge_that_is_dead_for_one_kind_of_prompt_stops_the_run(tmp_path):
    def deaf_to_harm(rollouts):
        return Rewards([math.nan if r.example.kind == "harmful" else float(i) for i, r in enumerate(rollouts)], {})

    with pytest.raises(BadInput, match="the reward left 100% of rollouts unscored on harmful prompts"):
        train(tmp_path / "run", reward=deaf_to_harm)  # a quarter of all rollouts
    train(tmp_path / "meant", reward=deaf_to_harm, max_unscored=1.0)


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


@pytest.mark.parametrize("number", [np.float32, np.float64, int, torch.tensor])
def test_parts_of_any_number_type_are_kept_and_go_through_a_checkpoint(tmp_path, number):
    def pays(rollouts):
        total = [number(x) for x in says_yes(rollouts).total]
        return Rewards(total, {"yes": list(total)})

    _, run = train(tmp_path / "odd", reward=pays, checkpoint_every=1, data={"replay_groups": 2})
    _, plain = train(tmp_path / "plain", checkpoint_every=1, data={"replay_groups": 2})
    assert [row["loss"] for row in run.metrics()[1:]] == [row["loss"] for row in plain.metrics()[1:]]
    row = json.loads((run.path / "rollouts.jsonl").read_text().splitlines()[0])
    assert row["parts"] == {"yes": row["reward"]}


class Hoarder:
    """Pays for "yes", and remembers things that cannot be kept from its second state on."""

    def __init__(self, kept):
        self.kept, self.asked = kept, 0

    def __call__(self, rollouts):
        return says_yes(rollouts)

    def state(self):
        self.asked += 1
        return {"kept": self.kept if self.asked > 1 else 0}

    def restore(self, state):
        self.kept = state["kept"]


@pytest.mark.parametrize(
    ("kept", "why"),
    [(deque([1]), "it holds a collections.deque"), (np.float64(1), "it holds a numpy"), (lambda: 1, "cannot be kept, ")],
)
def test_a_reward_whose_memory_cannot_be_read_again_is_refused_in_one_line(tmp_path, kept, why):
    with pytest.raises(BadInput, match="what the reward remembers cannot be kept") as caught:
        train(tmp_path / "run", reward=Hoarder(kept))
    assert why in str(caught.value)
    assert "(state() of the reward): return numbers, texts, tensors" in str(caught.value)
    saved = torch.load(tmp_path / "run" / "state", weights_only=True)
    assert saved["memories"]["reward"] == {"kept": 0}  # the last whole one stays


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


# Each setting, what it is changed to, and what else must be on for it to act.
CHANGES = [
    ("steps", 2, {}), ("prompts", 5, {}), ("group", 3, {}), ("mix", Mix(task=0), {}), ("learning_rate", 1e-3, {}),
    ("warmup_steps", 0, {}), ("schedule", "constant", {}), ("temperature", 0.7, {}), ("limit_tokens", 4, {}),
    ("segment_tokens", 3, {}), ("loop_tokens", 1, {}), ("loss", "grpo", {}), ("baseline", "leave_one_out", {}),
    ("scale", "std", {}), ("scale_floor", 5.0, {"scale": "std"}), ("credit", "split", {}), ("overlong_tokens", 4, {}),
    ("clip_low", 0.01, {}), ("clip_high", 0.01, {}), ("clip_worst", 1.001, {}), ("mirror", {"tau": 1.0}, {"loss": "mirror"}),
    ("mirror", {"partition": "log_z"}, {"loss": "mirror"}), ("mirror", {"iteration": 2}, {"loss": "mirror"}),
    ("kl", 0.5, {}), ("kl_estimator", "k2", {"kl": 1.0}), ("kl_in", "reward", {"kl": 1.0}), ("entropy", 0.1, {}),
    ("refresh_reference", 1, {}), ("inner_epochs", 2, {}), ("minibatches", 2, {}), ("lora_rank", 2, {}),
    ("precision", "bfloat16", {}), ("max_grad_norm", 1e-3, {}), ("evaluate_every", 1, {}), ("data", {"refill_rounds": 2}, {}),
    ("data", {"curriculum": 0.2}, {}), ("data", {"draw": "hard"}, {}), ("data", {"prefill_share": 1.0}, {}),
    ("data", {"replay_groups": 2}, {}),
    ("data", {"replay_groups": 1, "replay_keep": 1}, {"data": {"replay_groups": 1}, "steps": 8}),
    ("data", {"draw": "hard", "success_above": -1.0}, {"data": {"draw": "hard"}}),
    ("data", {"draw": "hard", "memory": 0.0}, {"data": {"draw": "hard"}, "steps": 12}),
    ("guard", {"max_tokens": 1.0}, {}), ("guard", {"min_tokens": 9.0}, {}), ("guard", {"max_kl": 1e-6}, {}),
    ("guard", {"min_entropy": 9.0}, {}), ("guard", {"max_entropy": 1.0}, {}),
    ("guard", {"max_tokens": 1.0, "rollbacks": 0}, {"guard": {"max_tokens": 1.0}}),
    ("guard", {"slower": 0.1, "max_kl": 1e-2}, {"guard": {"max_kl": 1e-2}}),
]  # fmt: skip


def halves(rollouts):
    """As `says_yes`, but the thought is paid for each different word."""
    return Rewards(says_yes(rollouts).total, {}, [float(len(set(r.thought.split()))) for r in rollouts])


@pytest.fixture(scope="module")
def plain_runs(tmp_path_factory):
    """The runs that the changed ones are compared with, each made once."""
    made = {}

    def run(**needed):
        key = repr(sorted(needed.items()))
        if key not in made:
            made[key] = outcome(tmp_path_factory.mktemp("plain"), **needed)
        return made[key]

    return run


def outcome(folder, **changes):
    """What a small run ends with: weights, and metrics without their costs."""
    base = {"steps": 3, "inner_epochs": 3, "learning_rate": 1e-2, "kl": 0.02}
    trained, run = train(folder / "run", validate=blind, reward=halves, corpus=countered(), **{**base, **changes})
    costs = ("seconds", "flops")
    return weights(trained), [{k: v for k, v in row.items() if k not in costs} for row in run.metrics()]


@pytest.mark.parametrize(("name", "value", "needed"), CHANGES, ids=[f"{name}={value}" for name, value, _ in CHANGES])
def test_every_setting_changes_something(tmp_path, plain_runs, name, value, needed):
    before, after = plain_runs(**needed), outcome(tmp_path, **{**needed, name: value})
    assert not torch.equal(before[0], after[0]) or before[1] != after[1]


def test_no_setting_is_left_out_of_the_test_above():
    # `reward` is read by the pipeline, `patience` and `max_unscored` have tests above; the others cost or save, no more.
    rest = {"reward", "patience", "max_unscored", "checkpoint_every", "batch", "micro_batch_tokens", "fast"}
    assert set(ReinforceConfig.model_fields) == {name for name, _, _ in CHANGES} | rest
    for name in ("data", "guard", "mirror"):
        changed = {field for setting, value, _ in CHANGES if setting == name for field in value}
        assert changed == set(type(getattr(SMALL, name)).model_fields)


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
