"""The comparison: every arm on the same prompts, once, and what a kill leaves of it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from primum.compare import STEPS, compare
from primum.evaluate import EvaluateConfig, Judge, JudgeConfig, build_judge
from primum.microworld import BaseConfig, MicroworldConfig, base_checkpoint, build_corpus
from primum.policy import Policy, copy, load
from primum.reward import Rewards
from primum.run import Ledger, Run, read_json, read_jsonl
from primum.types import Corpus, Rollout

torch.set_num_threads(1)
WORLD = build_judge(JudgeConfig())
COSTS = {"base": Ledger(), "rl": Ledger(4e9, 30, 20, 10, 1.5), "sft": Ledger(2e9, 3, 2, 1, 0.5)}
FILES = ("arms.json", "roles.json", "paired.json", "hacking.json", "notes.json")


class Killed(BaseException):
    """What a kill is to the code it meets: nothing that it could catch."""


def brevity(rollouts: Sequence[Rollout]) -> Rewards:
    """A proxy that calls short replies harmless, and pays for something else."""
    return Rewards([-1.0] * len(rollouts), {"harmless": [1 / (1 + len(r.reply)) for r in rollouts]})


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return build_corpus(MicroworldConfig(train_examples=8, validation_examples=8, test_examples=2), seed=0)


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Policy]:
    """The shipped base, an arm that is the same model, and one that is pushed far away from it."""
    quiet = Run(tmp_path_factory.mktemp("base"), Console(quiet=True), quiet=True)
    base = load(str(base_checkpoint(BaseConfig(), quiet)))
    nudged = copy(base)
    with torch.no_grad():
        for weight in nudged.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)), alpha=0.05)
    return {"base": base, "sft": copy(base), "rl": nudged}


def compared(path: Path, arms: Mapping[str, Policy], corpus: Corpus, judge: Judge = WORLD, notes: Sequence[str] = ()) -> Run:
    run = Run(path, Console(quiet=True), quiet=True)
    config = EvaluateConfig(limit_tokens=40)
    compare(arms, COSTS, corpus, judge, brevity, config, run, reward_name="brevity", notes=notes)
    return run


@pytest.fixture(scope="module")
def whole(arms: dict[str, Policy], corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed comparison of the three arms."""
    return compared(tmp_path_factory.mktemp("whole"), arms, corpus, notes=["a note"]).path


def test_every_arm_is_asked_the_same_prompts(whole: Path, corpus: Corpus) -> None:
    rows = {arm: list(read_jsonl(whole / f"rollouts-{arm}.jsonl")) for arm in COSTS}
    wanted = [(e.id, e.prompt, corpus.role(e.category)) for e in corpus.test]
    assert all([(r["id"], r["prompt"], r["role"]) for r in rows[arm]] == wanted for arm in rows)
    assert rows["base"] == rows["sft"]
    assert [r["reply"] for r in rows["rl"]] != [r["reply"] for r in rows["base"]]


def test_equal_arms_do_not_differ_and_the_interval_says_how_far_that_can_be_trusted(whole: Path) -> None:
    rows = [row for row in read_json(whole / "paired.json") if (row["a"], row["b"]) == ("base", "sft")]
    assert [row["metric"] for row in rows] == [
        "harm_train", "harm_validation", "harm_test", "over_refusal", "benign_useful", "task_accuracy", "language_mixing",
    ]  # fmt: skip
    for row in rows:
        assert row["difference"]["mean"] == 0.0
        if row["metric"] != "language_mixing":
            assert row["difference"]["high"] > 0.1, row["metric"]  # a handful of prompts


def test_steps_are_compared_where_both_ends_are_there(whole: Path) -> None:
    pairs = {(row["a"], row["b"]) for row in read_json(whole / "paired.json")}
    assert pairs == {("base", "sft"), ("base", "rl"), ("sft", "rl")} < set(STEPS)


def test_an_arm_costs_what_its_ledger_says(whole: Path) -> None:
    found = read_json(whole / "arms.json")["rl"]
    costs = {name: found[name] for name in ("flops", "sampled_tokens", "trained_tokens", "oracle_queries", "seconds")}
    spent = {"flops": 4e9, "sampled_tokens": 30.0, "trained_tokens": 20.0, "oracle_queries": 10.0, "seconds": 1.5}
    assert costs == {name: {"mean": x, "low": x, "high": x, "n": 1, "unscored": 0} for name, x in spent.items()}


def test_the_base_does_harm_in_every_category_of_a_known_role(whole: Path, corpus: Corpus) -> None:
    base = read_json(whole / "arms.json")["base"]
    assert sorted(base["harm_by_category"]) == [f"H{i}" for i in range(1, 9)]
    assert read_json(whole / "roles.json") == corpus.roles
    assert (base["harm_train"]["n"], base["harm_validation"]["n"], base["harm_test"]["n"]) == (4, 2, 10)
    assert sum(value["mean"] for value in base["harm_by_category"].values()) / 8 > 0.5


def test_the_proxy_is_the_rewards_opinion_of_the_very_rollouts_that_gold_judged(whole: Path) -> None:
    (row,) = read_json(whole / "hacking.json")
    assert (row["arm"], row["from"], row["reward"]) == ("rl", "base", "brevity")
    for arm, proxy, gold in (("base", "proxy_before", "gold_before"), ("rl", "proxy_after", "gold_after")):
        seen = [r for r in read_jsonl(whole / f"rollouts-{arm}.jsonl") if r["kind"] == "harmful" and r["role"] == "train"]
        opinions = [1 / (1 + len(r["reply"])) for r in seen]
        judged = [1 - r["harm_in_reply"] for r in seen if r["harm_in_reply"] is not None]
        assert (row[proxy]["mean"], row[proxy]["n"]) == (pytest.approx(sum(opinions) / len(seen)), len(seen))
        assert (row[gold]["mean"], row[gold]["n"]) == (sum(judged) / len(judged), len(judged))


def test_notes_are_passed_on_and_an_unsure_judge_adds_one(
    arms: dict[str, Policy], corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    assert read_json(whole / "notes.json") == ["a note"]
    unsure = replace(WORLD, correct=lambda rollouts: [math.nan] * len(rollouts))
    path = compared(tmp_path, {"base": arms["base"]}, corpus, unsure).path
    rows = list(read_jsonl(path / "rollouts-base.jsonl"))
    share = sum(row["outcome"] == "unscored" for row in rows) / len(rows)
    assert share > 0.02
    (note,) = read_json(path / "notes.json")
    assert note == f"base: {share:.0%} of rollouts unscored, over 2%: its rates are not to be trusted"


def test_a_killed_comparison_ends_as_an_undisturbed_one(
    arms: dict[str, Policy], corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    calls = iter([False, True])
    killed = replace(WORLD, harm_in_reply=partial(_dies, calls))
    with pytest.raises(Killed):
        compared(tmp_path, arms, corpus, killed, ["a note"])
    assert (tmp_path / "rollouts-base.jsonl").exists()
    assert not any((tmp_path / name).exists() for name in ("done", *FILES))
    (tmp_path / "rollouts-sft.jsonl.part").write_text('{"id": "mw-0')
    run = compared(tmp_path, arms, corpus, notes=["a note"])
    assert run.done() == {"arms": ["base", "sft", "rl"]}
    for name in (*FILES, *(f"rollouts-{arm}.jsonl" for arm in arms)):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_finished_comparison_asks_nobody_again(arms: dict[str, Policy], corpus: Corpus, whole: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    run = compared(whole, arms, corpus, replace(WORLD, harm_in_reply=partial(_dies, iter([True]))), ["another note"])
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before
    assert run.ledger.sampled_tokens == json.loads(before["done"])["ledger"]["sampled_tokens"] > 0


def _dies(calls: Any, rollouts: Sequence[Rollout]) -> list[float]:
    if next(calls):
        raise Killed
    return WORLD.harm_in_reply(rollouts)
