"""The arrows: what each arm may spend, and that the ledger adds up."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Finished
from small import SETTINGS, Done, read

from primum.policies import policy_of
from primum.recipe import Recipe, find_recipe
from primum.run import TRAINED, last_policy, read_jsonl

STEPS_OF = {
    "base": (),
    "sft": ("2-coldstart",),
    "rl": ("3-alone",),
    "sft_rl": ("2-coldstart", "3-reinforce"),
    "hybrid": ("2-coldstart", "3-reinforce", "4-refine"),
    "distilled": ("2-coldstart", "3-reinforce", "4-refine", "5-distill"),
}
LONG = ["reinforce.steps=60", "second.steps=60", "coldstart.patience=0", "refine.patience=0", "reinforce.reward=keyword"]


def spent(run: Path, stage: str) -> dict[str, float]:
    return read(run / stage / "done")["ledger"]


def largest_step(run: Path) -> float:
    """The most that one line of any stage's log cost: a step of RL with its evaluation, or an epoch, here of one update."""
    logs = [[line["flops"] for line in read_jsonl(path)] for path in run.rglob("metrics.jsonl")]
    return max(b - a for log in logs for a, b in pairwise([0.0, *log]))


def test_the_policy_of_a_run_is_the_last_one_it_trained(small_run: Finished, tmp_path: Path) -> None:
    found = [path.parent for path in small_run.path.rglob("policy/config.json")]
    assert {small_run.path / stage for stage in TRAINED} | {small_run.path / "3-alone/policy"} == set(found)
    assert last_policy(small_run.path) == small_run.path / "5-distill/sft/policy"
    assert policy_of(str(small_run.path))[1] == small_run.path / "5-distill/sft/policy"
    for stage in TRAINED[1:3]:
        (tmp_path / stage).mkdir(parents=True)
        (tmp_path / stage / "config.json").touch()
    assert last_policy(tmp_path) == tmp_path / "4-refine/rl/policy"
    assert last_policy(tmp_path / "4-refine") is None


def test_an_arm_costs_what_the_stages_behind_it_cost(small_run: Finished) -> None:
    arms = read(small_run.path / "6-compare/arms.json")
    for arm, stages in STEPS_OF.items():
        for count in ("flops", "sampled_tokens", "trained_tokens", "oracle_queries", "seconds"):
            total = sum(spent(small_run.path, stage)[count] for stage in stages)
            assert arms[arm][count]["mean"] == pytest.approx(total), (arm, count)
    assert arms["hybrid"]["oracle_queries"]["mean"] > arms["sft"]["oracle_queries"]["mean"] > 0


def test_a_stage_costs_what_its_log_says(small_run: Finished) -> None:
    for stage in ("2-coldstart", "3-alone", "3-reinforce"):
        log = list(read_jsonl(small_run.path / stage / "metrics.jsonl"))
        # A step of RL is logged before its evaluation, and the first line is an evaluation alone.
        beyond = spent(small_run.path, stage)["flops"] - log[-1]["flops"]
        assert beyond == 0 if stage == "2-coldstart" else 0 < beyond < 2 * log[0]["flops"]
        assert all(a["flops"] < b["flops"] for a, b in pairwise(log))
    rejection, again = (spent(small_run.path, f"4-refine/{part}") for part in ("sft", "rl"))
    assert spent(small_run.path, "4-refine")["flops"] == rejection["flops"] + again["flops"]
    assert rejection["sampled_tokens"] > 0 < rejection["trained_tokens"]


@pytest.mark.parametrize(("tflops", "epochs"), [(0.08, 2), (0.03, 60)])
def test_no_arm_spends_more_than_the_budget_and_a_step(
    cli: Callable[..., Done], tmp_path: Path, tflops: float, epochs: int
) -> None:
    settings = [*SETTINGS, *LONG, f"budget.tflops={tflops}", f"coldstart.epochs={epochs}"]
    said = cli("run", *settings, "--output", tmp_path, "--name", "x")
    assert said.returncode == 0, said.stderr
    run, budget = tmp_path / "x", tflops * 1e12
    arms = read(run / "6-compare/arms.json")
    step = largest_step(run)
    assert step < budget / 2
    for arm in ("sft", "rl", "hybrid"):
        assert arms[arm]["flops"]["mean"] < budget + step, arm
    assert spent(run, "3-alone")["flops"] >= budget  # the test means something: the steps alone would have gone on
    assert read(run / "3-alone/done")["ended"] == "budget"
    hacked = read(run / "report.json")["hacking"]
    assert [(h["arm"], h["from"], h["reward"]) for h in hacked] == [("rl", "base", "keyword"), ("sft_rl", "sft", "keyword")]
    if epochs == 60:
        assert arms["sft"]["flops"]["mean"] >= budget
        assert read(run / "3-reinforce/done")["steps"] == 0
        assert "skipped" in read(run / "4-refine/done")
        rows = [(run / f"6-compare/rollouts-{arm}.jsonl").read_text(encoding="utf-8") for arm in ("sft_rl", "hybrid")]
        assert rows[0] == rows[1]


def test_settings_are_told_from_the_recipe(tmp_path: Path) -> None:
    assert find_recipe(["seed=2", "quickstart"]) == (None, ["seed=2"])
    named = tmp_path / "a=b.yaml"
    named.write_text("seed: 4")
    assert find_recipe([str(named), "seed=2"]) == (named, ["seed=2"])
    assert json.loads(Recipe(seed=2).model_dump_json())["seed"] == 2
