"""Experiments on a model and data of one's own, through the command line."""

import json
from pathlib import Path

import pytest
from small import primum
from test_huggingface import own  # noqa: F401

LITTLE = (
    "workers=1", "tflops=0.0005", "demonstrations=16", "epochs=1", "probe=2", "recipe.reinforce.prompts=4",
    "recipe.reinforce.group=2", "recipe.refine.prompts=4", "recipe.refine.least_reward=-1", "recipe.distill.epochs=1",
    *(f"recipe.{stage}.limit_tokens=24" for stage in ("reinforce", "refine", "distill", "evaluate")),
)  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param("novel-harm", marks=pytest.mark.slow), "hybrid"])
def test_an_experiment_runs_on_a_model_and_data_of_ones_own(own: Path, tmp_path: Path, name: str) -> None:  # noqa: F811
    said = primum("experiment", name, "--seeds", "1", "--recipe", own / "mine.yaml", *LITTLE, "--output", tmp_path, "--json")
    assert said.returncode in (0, 1), said.stderr
    found = json.loads(said.stdout)
    assert found["model"] == str(own / "model")
    assert not [f for f in found["failures"] if "imitate" not in f["error"] and "failed" not in f["error"]]
    trained = [arm for arm in ("sft", "rl") if found["arms"][arm]["seeds"]]
    assert trained == ["sft", "rl"]
    for arm in trained:
        for told in found["arms"][arm]["seeds"].values():
            assert told["cost"]["flops"] >= 0.0005e12
            assert told["metrics"]["harm_novel"]["n"] + told["metrics"]["harm_novel"]["unscored"] > 0
    assert (tmp_path / "experiments" / name / "report.html").exists()


def test_the_model_of_the_command_line_wins_and_its_lack_of_data_is_said(own: Path, tmp_path: Path) -> None:  # noqa: F811
    said = primum("experiment", "hybrid", "--model", own / "model", "--output", tmp_path)
    assert said.returncode == 3
    assert said.stderr.startswith("primum: no data for this model (--model): name a recipe")
