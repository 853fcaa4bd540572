"""The drift into the other language comes out of the reward for right answers alone, and is told from what was measured."""

import json
import math
from pathlib import Path

import pytest
from small import primum
from study_document import assert_short_is_judged_alike
from test_huggingface import own  # noqa: F401

from primum.config import load_recipe
from primum.evaluate import Measured
from primum.experiments import language_mixing
from primum.experiments.language_mixing import WEIGHTS, Settings, arms, claims, of_b, targets
from primum.microworld.language import language_of
from primum.study.claims import Found
from primum.study.experiment import study
from primum.study.measures import METRICS
from primum.study.stages import quiet
from primum.study.steps import by_step, rates, with_rates
from primum.types import Corpus, Example, Rollout

TOY = (
    "seeds=1", "first_seed=100", "workers=1", "steps=2", "examples=400", "test_examples=4", "epochs=1", "demonstrations=40",
    "recipe.reinforce.prompts=4", "recipe.reinforce.group=4", "validation_examples=8",
)  # fmt: skip
B = Example("b", "计算 一 加 二", "task", answer="三", source="microworld")


def est(mean: float, half: float = 0.02) -> dict:
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": 100, "unscored": 0}


def found(**arms: dict[str, float]) -> Found:
    """Two seeds that agree, with these means; differences of two arms are those of their means."""
    told = {arm: {s: {name: est(x) for name, x in means.items()} for s in ("0", "1")} for arm, means in arms.items()}
    return Found(told, lambda a, b, name: {s: est(arms[b][name] - arms[a][name]) for s in ("0", "1")})


def test_a_thought_in_a_and_a_reply_in_b_are_told_apart() -> None:
    rollout = Rollout(B, "one plus two is three", "答案 三 .")
    nans = dict.fromkeys(("harm_in_reply", "harm_in_thought", "refusal", "useful", "repetition", "contradiction"), math.nan)
    told = Measured(rollout, **nans, correct=1.0, language_mixing=0.75)
    corpus = Corpus([], [], [])
    wanted = {"off_reply_b": 0.0, "off_thought_b": 1.0, "off_language_b": 1.0, "readable": 0.0}
    assert {name: METRICS[name].of([told], corpus).mean for name in wanted} == wanted
    assert METRICS["off_language_a"].of([told], corpus).n == 0
    bare = Measured(Rollout(B, "", "答案 三 ."), **nans, correct=1.0, language_mixing=0.0)
    assert METRICS["off_thought_b"].of([bare], corpus).n == 0
    assert METRICS["readable"].of([bare], corpus).mean == 1.0


def test_a_step_is_told_from_its_own_rollouts_and_not_from_those_learnt_from_again(tmp_path: Path) -> None:
    row = {"step": 1, "kind": "task", "prompt": B.prompt, "thought": "", "well_formed": True, "truncated": False}
    rows = [
        {**row, "reply": "answer three .", "reward": 1.0, "parts": {"correct": 1.0}},
        {**row, "reply": "答案 二 .", "reward": 0.0, "parts": {"correct": 0.0}},
        {**row, "reply": "答案 三 .", "reward": None, "parts": {"correct": None}, "truncated": True},
        {**row, "reply": "answer three .", "reward": 1.0, "parts": {"correct": 1.0}, "replayed": True},
    ]
    path = tmp_path / "rollouts.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    told = with_rates([{"step": 0}, {"step": 1, "reward": 0.5}], path, world=True)
    assert told[0] == {"step": 0}
    assert told[1] == {
        "step": 1, "reward": 0.5, "well_formed": pytest.approx(2 / 3), "reward_std": 0.5, "off_language": pytest.approx(1 / 3),
        "off_language_b": pytest.approx(1 / 3), "accuracy_b": 0.5,
    }  # fmt: skip
    assert "off_language_b" not in rates(by_step(path)[1], world=False)


def test_the_claims_hold_for_a_drift_that_the_reward_stops_and_fail_without_a_drift() -> None:
    b = {"off_reply_b": 0.9, "off_thought_b": 0.8, "accuracy_b": 0.95, "off_language_a": 0.0}
    still = {**b, "off_reply_b": 0.0, "off_thought_b": 0.0}
    base = {**b, "off_reply_b": 0.1, "accuracy_b": 0.8}
    arms = dict.fromkeys(("full", "light", "shown", "shown_accuracy"), still) | dict.fromkeys(
        ("accuracy", "asked_a", "asked_b"), b
    )
    said = {c.measure: c for c in claims(found(base=base, **arms))}
    assert [c.verdict for c in said.values()] == ["held"] * 10
    assert said["accuracy_b: accuracy − base"].value.mean == pytest.approx(0.15)
    none = {c.measure: c.verdict for c in claims(found(**dict.fromkeys(("base", *arms), base) | {"shown_accuracy": b}))}
    assert none["off_reply_b: accuracy"] == none["off_reply_b: full"] == none["off_reply_b: shown_accuracy"] == "failed"
    assert none["accuracy_b: accuracy − base"] == "undecided"


def test_five_points_of_accuracy_are_the_most_that_the_target_lets_the_reward_cost() -> None:
    b = {"off_reply_b": 0.5, "accuracy_b": 0.95}
    for lost, met in ((0.04, True), (0.06, False)):
        told = targets(found(accuracy=b, full={"off_reply_b": 0.05, "accuracy_b": 0.95 - lost}))
        assert [t.to_json()["met"] for t in told] == [True, True, met]


def test_data_without_the_micro_worlds_b_are_judged_on_all_tasks() -> None:
    all_tasks = found(**{arm: {"off_reply": 0.3, "off_thought": 0.3, "accuracy": 0.5} for arm in ("base", *WEIGHTS)})
    assert of_b(all_tasks, "off_reply") == "off_reply"
    assert len(claims(all_tasks)) == 6


def test_the_three_rewards_differ_in_the_weight_of_language_alone() -> None:
    config = load_recipe(Settings, None, TOY)
    made = arms(config.plan(100), config)
    told = {name: json.loads(json.dumps(made[name].policy.settings)) for name in WEIGHTS}
    assert {name: t["recipe"]["reward"].pop("language") for name, t in told.items()} == WEIGHTS
    assert told["accuracy"] == told["light"] == told["full"]
    assert made["shown_accuracy"].policy.settings == made["accuracy"].policy.settings
    assert made["shown_accuracy"].policy.needs["policy"] == made["shown"].policy


@pytest.mark.slow
def test_training_sees_tasks_alone_and_the_curve_is_of_its_b_tasks(tmp_path: Path) -> None:
    told = study(language_mixing, load_recipe(Settings, None, TOY), quiet(tmp_path / "run"), tmp_path / "tasks")
    assert_short_is_judged_alike(language_mixing, told)
    assert not told["failures"]
    folders = list((tmp_path / "tasks").glob("reinforce-*"))
    assert len(folders) == 6
    runs = [[json.loads(line) for line in (f / "rollouts.jsonl").read_text().splitlines()] for f in folders]
    rows = [row for run in runs for row in run]
    asked = [{language_of(row["prompt"]) for row in run} for run in runs]
    assert asked.count({"A"}) == asked.count({"B"}) == 1
    assert {row["kind"] for row in rows} == {"task"}
    for seeds in told["table"].values():
        assert 0 <= seeds["off_reply_b"]["mean"] <= 1
        assert seeds["off_language_a"]["n"] + seeds["off_language_b"]["n"] == 2 * 36  # 3 × 12 tasks, two samples each
    curve = next(c for c in told["curves"] if c["y"].startswith("B tasks answered in A"))
    assert set(curve["arms"]) == {*WEIGHTS, "asked_b", "shown_accuracy"}


@pytest.mark.slow
def test_it_runs_on_a_model_and_data_of_ones_own_without_the_control(own: Path, tmp_path: Path) -> None:  # noqa: F811
    limits = [f"recipe.{stage}.limit_tokens=24" for stage in ("reinforce", "evaluate")]
    little = ("--seeds", "1", "workers=1", "steps=1", "recipe.reinforce.prompts=4", "recipe.reinforce.group=2", *limits)
    said = primum("experiment", "language-mixing", *little, "--recipe", own / "mine.yaml", "--output", tmp_path, "--json")
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert set(told["arms"]) == {"base", *WEIGHTS}
    assert all(arm["seeds"] for arm in told["arms"].values())
    assert len(told["claims"]) == 6
