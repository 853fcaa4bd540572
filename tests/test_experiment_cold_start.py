"""A cold start is judged by the RL steps it saves, and the raw base differs from the one that ships in its format alone."""

import json
from pathlib import Path

import pytest
from small import primum
from study_document import assert_short_is_judged_alike
from test_huggingface import own  # noqa: F401

from primum.config import load_recipe
from primum.experiments import cold_start
from primum.experiments.cold_start import SIZES, Settings, arms, numbers, reached, saved, targets
from primum.study.claims import Found
from primum.study.experiment import study
from primum.study.graph import Task
from primum.study.plan import Arm
from primum.study.stages import quiet

TOY = (
    "seeds=1", "first_seed=100", "workers=1", "quick=true", "raw_steps=4", "updates=1", "examples=400", "test_examples=4",
    "steps=80", "recipe.base.size=XS",
    "recipe.base.steps=4", "recipe.base.batch=8", "recipe.reinforce.prompts=4", "recipe.reinforce.group=4",
)  # fmt: skip


def est(mean: float) -> dict:
    return {"mean": mean, "low": mean, "high": mean, "n": 1, "unscored": 0}


def found(**arms: dict[str, float]) -> Found:
    """One seed with these numbers."""
    told = {arm: {"0": {name: est(x) for name, x in means.items()}} for arm, means in arms.items()}
    return Found(told, lambda a, b, name: {"0": est(arms[b][name] - arms[a][name])} if name in arms[a] else {})


def rl() -> Arm:
    """An arm of RL after a cold start."""
    task = Task("primum.study.stages:reinforce", {}, {"policy": Task("primum.study.stages:coldstart", {})})
    return Arm("", task, task)


def told(arm: Arm, rewards: list[float]) -> dict:
    """What its tasks return where RL had these mean rewards, a TFLOP each, after a cold start of two."""
    log = [{"step": 0, "flops": 0.0}]
    log += [
        {"step": i + 1, "flops": (i + 1) * 1e12, "reward": r, "kl": 0.1 * i, "entropy": 1.0 - 0.1 * i, "reward_std": 0.5,
         "well_formed": 0.2 + 0.1 * i}
        for i, r in enumerate(rewards)
    ]  # fmt: skip
    before = {"spent": {"flops": 2e12}, "own": {"flops": 2e12}, "log": [{"epoch": 1, "flops": 2e12}]}
    spent = len(rewards) * 1e12
    return {
        arm.policy.needs["policy"].digest: before,
        arm.policy.digest: {"spent": {"flops": spent + 2e12}, "own": {"flops": spent}, "log": log},
    }


def test_the_target_is_reached_by_five_steps_together_and_the_demonstrations_cost_counts() -> None:
    rewards = [0.9, 0.1, 0.7, 0.7, 0.7, 0.7, 0.7, 0.9]
    arm = rl()
    found = numbers(arm, told(arm, rewards))
    assert found["steps_to_target"] == 7
    assert found["tflops_to_target"] == pytest.approx(9.0)
    assert found["reached"] == 1.0
    assert found["well_formed_start"] == pytest.approx(0.2)
    assert found["kl_peak"] == pytest.approx(0.7)
    assert found["entropy_end"] == pytest.approx(0.5)


def test_an_arm_that_never_gets_there_counts_with_all_its_steps() -> None:
    arm = rl()
    found = numbers(arm, told(arm, [0.5] * 8))
    assert (found["steps_to_target"], found["reached"]) == (8.0, 0.0)
    assert reached([{"step": 1, "reward": 1.0}]) is None


def test_what_is_saved_is_a_bound_where_an_arm_never_got_there() -> None:
    def ratio(raw: tuple[float, float], cold: tuple[float, float]) -> tuple[float, str]:
        both = {name: {"steps_to_target": s, "reached": r} for name, (s, r) in (("raw", raw), ("cold_150", cold))}
        told = saved(found(**both), "steps_to_target", "cold_150")
        return told.mean, told.bound

    assert ratio((90.0, 1.0), (30.0, 1.0)) == (3.0, "")
    assert ratio((100.0, 0.0), (20.0, 1.0)) == (5.0, "at least")
    assert ratio((40.0, 1.0), (100.0, 0.0)) == (0.4, "at most")
    assert ratio((100.0, 0.0), (100.0, 0.0)) == (1.0, "unclear")


def test_three_times_the_steps_are_what_the_target_asks_for() -> None:
    for raw, met in ((90.0, True), (87.0, False)):
        both = {"raw": {"steps_to_target": raw, "reached": 1.0}, "cold_150": {"steps_to_target": 30.0, "reached": 1.0}}
        assert [t.to_json()["met"] for t in targets(found(**both))] == [met]


def test_the_raw_base_differs_from_the_one_that_ships_in_its_format_alone() -> None:
    config = load_recipe(Settings, None, ())
    made = arms(config.plan(100), config)
    raw = made["base"].policy.settings["recipe"]["base"]
    ships = made["ready"].policy.needs["policy"].settings["recipe"]["base"]
    assert {k for k in raw if raw[k] != ships[k]} == {"corpus"}
    assert {k for k in raw["corpus"] if raw["corpus"][k] != ships["corpus"][k]} == {"format_share"}
    assert arms(config.plan(101), config)["base"].policy.digest == made["base"].policy.digest


@pytest.mark.slow
def test_every_arm_does_the_same_rl_and_its_numbers_come_from_it(tmp_path: Path) -> None:
    config = load_recipe(Settings, None, TOY)
    made = arms(config.plan(100), config)
    trained = ["raw", *(f"cold_{n}" for n in SIZES), "ready"]
    assert all(made[name].policy.settings == made["raw"].policy.settings for name in trained)
    found = study(cold_start, config, quiet(tmp_path / "run"), tmp_path / "tasks")
    assert_short_is_judged_alike(cold_start, found)
    assert not found["failures"]
    for name in trained:
        metrics = found["arms"][name]["seeds"]["100"]["metrics"]
        assert metrics["steps_to_target"]["mean"] == 10 or metrics["reached"]["mean"] == 1
        assert 0 <= metrics["well_formed_start"]["mean"] <= 1
    assert "steps_to_target" not in found["arms"]["shown_150"]["seeds"]["100"]["metrics"]
    assert {c["title"] for c in found["curves"]} >= {"Form", "Spread of rewards", "Reward"}
    assert len(found["claims"]) == 10


@pytest.mark.slow
def test_it_runs_on_a_model_and_data_of_ones_own_without_the_control(own: Path, tmp_path: Path) -> None:  # noqa: F811
    limits = [f"recipe.{stage}.limit_tokens=24" for stage in ("reinforce", "evaluate")]
    little = ("--seeds", "1", "workers=1", "steps=1", "updates=1", "recipe.reinforce.prompts=4", "recipe.reinforce.group=2")
    said = primum("experiment", "cold-start", *little, *limits, "--recipe", own / "mine.yaml", "--output", tmp_path, "--json")
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert "ready" not in found["arms"]
    assert all(arm["seeds"] for arm in found["arms"].values())
    assert len(found["claims"]) == 9
