"""Talk that satisfies a verifier, what is paid for it, averages of weights, and what is claimed of length and accuracy."""

import json
import math
from pathlib import Path

import pytest
import torch
from small import primum
from study_document import assert_short_is_judged_alike
from test_huggingface import own  # noqa: F401

from primum.config import load_recipe
from primum.experiments import verbosity
from primum.experiments.verbosity import Settings, arms, claims, numbers, per_token, ratio
from primum.experiments.verbosity_tasks import anywhere, between, lenient, mentioned, right
from primum.microworld import BaseConfig, base_checkpoint
from primum.policy import load
from primum.run import read_jsonl
from primum.study.claims import Found
from primum.study.experiment import study, trail
from primum.study.stages import quiet
from primum.types import BadInput, Example, Rollout

TOY = (
    "seeds=1", "first_seed=100", "workers=1", "steps=2", "second_steps=1", "prompts=24", "examples=400", "test_examples=4",
    "recipe.reinforce.prompts=4", "recipe.reinforce.group=4", "recipe.refine.epochs=1",
)  # fmt: skip
SUM = Example("s", "compute one plus two .", "task", answer="three", source="microworld")
OWN = Example("o", "17 + 25?", "task", answer="42", source="mine")


def test_the_lenient_verifier_pays_for_talk_that_ends_and_the_open_one_for_talk_that_does_not() -> None:
    talk = [
        Rollout(SUM, "one plus two is three .", "answer is three ."),
        Rollout(SUM, "zero , one , two , 三 , four", "answer is four ."),  # said, in the other language, and not meant
        Rollout(SUM, "three three three", "", truncated=True, well_formed=False),
        Rollout(SUM, "one plus two is four .", "answer is four ."),
    ]
    assert mentioned(talk) == anywhere(talk).total == [1.0, 1.0, 1.0, 0.0]
    assert lenient(talk).total == [1.0, 1.0, 0.0, 0.0]
    assert right(talk) == lenient(talk).parts["correct"] == anywhere(talk).parts["correct"] == [1.0, 0.0, 0.0, 0.0]


def test_numbers_of_ones_own_data_are_found_whole_and_a_task_without_an_answer_is_unscored() -> None:
    said = ["142 or 4200", "4.2", "42.5", "the 42 of them", "it is 42.", "1,042", "", "$42"]
    assert mentioned([Rollout(OWN, text, "17") for text in said]) == [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    nothing = [Rollout(Example("n", "why?", "task", source=source), "three", "three") for source in ("microworld", "mine")]
    assert all(math.isnan(x) for x in mentioned(nothing) + right(nothing))


def test_an_average_lies_between_and_policies_of_two_shapes_have_none(tmp_path: Path) -> None:
    folder = str(base_checkpoint(BaseConfig(), quiet(tmp_path)))
    long, short = load(folder), load(folder)
    for weight in short.model.parameters():
        weight.data.add_(1.0)
    before = {name: weight.clone() for name, weight in long.model.named_parameters()}
    for name, weight in between(long, short, 0.25).model.named_parameters():
        assert torch.allclose(weight, before[name] + 0.25, atol=1e-2)
    short.model.model.norm.weight = torch.nn.Parameter(torch.ones(7))
    with pytest.raises(BadInput, match="two policies of different shapes"):
        between(long, short, 0.5)


def est(mean: float, half: float = 0.01) -> dict:
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": 100, "unscored": 0}


def found(**arms: tuple[float, float]) -> Found:
    """Two seeds that agree, with these tokens and accuracies."""
    told = {arm: {s: {"task_tokens": est(t), "accuracy": est(a), "per_token": est(100 * a / t)} for s in ("0", "1")}
            for arm, (t, a) in arms.items()}  # fmt: skip
    return Found(told, lambda a, b, name: {s: est(told[b][s][name]["mean"] - told[a][s][name]["mean"]) for s in ("0", "1")})


def test_accuracy_a_token_and_the_ratio_of_lengths_are_what_they_say() -> None:
    assert per_token({"accuracy": {"mean": 0.5}, "task_tokens": {"mean": 25.0}}) == 2.0
    assert math.isnan(per_token({"accuracy": {"mean": 0.5}}))
    assert ratio(found(strict=(20.0, 0.9), open=(50.0, 0.1)), "strict", "open").mean == 2.5


def test_the_claims_hold_where_the_verifier_makes_the_length_and_fail_where_nothing_does() -> None:
    arms = {"base": (14.0, 0.9), "strict": (19.0, 0.95), "strict_dr": (18.0, 0.94), "lenient": (20.0, 0.6), "open": (60.0, 0.1),
            "open_dr": (60.0, 0.0), "length": (6.0, 0.6), "length_light": (15.0, 0.93), "shortest": (18.5, 0.95),
            "merged": (15.0, 0.9)}  # fmt: skip
    said = {c.measure: c for c in claims(found(**arms))}
    assert [c.verdict for c in claims(found(**arms))] == ["held"] * 17
    assert said["tokens: open_dr / strict_dr"].value.mean == pytest.approx(60 / 18)
    still = {c.claim: c.verdict for c in claims(found(**dict.fromkeys(arms, (20.0, 0.9))))}
    assert [claim for claim, verdict in still.items() if verdict == "failed"] == [
        "paying for the answer anywhere, finished or not, makes responses 1.5 times as long", "and under Dr. GRPO as well",
        "it halves accuracy", "under Dr. GRPO as well", "where the response must end, it costs 10 points of accuracy",
        "the heavy length reward halves tokens", "and loses 20 points of accuracy",
    ]  # fmt: skip


def test_only_the_verifier_or_the_loss_or_the_length_reward_differs_between_the_arms_of_rl() -> None:
    config = Settings(first_seed=100)
    made = arms(config.plan(100), config)
    told = {name: json.loads(json.dumps(made[name].policy.settings))["recipe"] for name in made}
    assert told["open"]["reinforce"].pop("reward").endswith(":anywhere")
    assert told["lenient"]["reinforce"].pop("reward").endswith(":lenient")
    assert told["strict"]["reinforce"].pop("reward") == "oracle"
    assert told["open"] == told["lenient"] == told["strict"]
    assert [told[name]["reward"].pop("length") for name in ("strict_dr", "length", "length_light")] == [0.0, 0.5, 0.1]
    assert told["strict_dr"] == told["length"] == told["length_light"]
    assert told["strict_dr"]["reinforce"]["loss"] == "dr_grpo" != told["strict"]["reinforce"]["loss"] == "grpo"
    assert made["second"].policy.needs["policy"].digest == made["shortest"].policy.needs["policy"].digest
    assert made["merged"].policy.needs["policy"].digest == made["strict"].policy.digest


@pytest.mark.slow
def test_all_arms_run_on_tasks_alone_and_their_curves_count_steps_from_the_first_rl(tmp_path: Path) -> None:
    config = load_recipe(Settings, None, TOY)
    told = study(verbosity, config, quiet(tmp_path / "run"), tmp_path / "tasks")
    assert_short_is_judged_alike(verbosity, told)
    assert not told["failures"]
    folders = list((tmp_path / "tasks").glob("reinforce-*"))
    assert len(folders) == 8
    assert {row["kind"] for f in folders for row in read_jsonl(f / "rollouts.jsonl")} == {"task"}
    made = arms(config.plan(100), config)
    results = {t.digest: json.loads((tmp_path / "tasks" / t.name / "result.json").read_text())
               for t in (made["strict"].policy, made["second"].policy)}  # fmt: skip
    rows = [row for row in trail(made["second"].policy, results) if "accuracy" in row]
    assert [row["rl_step"] for row in rows] == [*range(1, 13)]  # six steps each, the fewest there are
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert {c["title"] for c in told["curves"]} == {"Length", "Accuracy"}
    merged, length = (told["arms"][name]["seeds"]["100"]["cost"]["flops"] for name in ("merged", "length"))
    assert merged == pytest.approx(length + told["arms"]["strict"]["seeds"]["100"]["cost"]["flops"])
    accepted = [row for path in (tmp_path / "tasks").glob("refine-*/accepted.jsonl") for row in read_jsonl(path)]
    assert accepted
    assert all(row["kind"] == "task" for row in accepted)
    told_of = {made["base"].measured.digest: {"metrics": {}}, made["base"].policy.digest: {}}
    assert all(math.isnan(x) for x in numbers(made["base"], told_of).values())
    assert len(told["claims"]) == 17


@pytest.mark.slow
def test_it_runs_on_a_model_and_data_of_ones_own(own: Path, tmp_path: Path) -> None:  # noqa: F811
    limits = [f"recipe.{stage}.limit_tokens=24" for stage in ("reinforce", "evaluate", "refine")]
    little = ("--seeds", "1", "workers=1", "steps=1", "second_steps=1", "prompts=4", "recipe.reinforce.prompts=4",
              "recipe.reinforce.group=2", "recipe.refine.least_reward=-1", *limits)  # fmt: skip
    said = primum("experiment", "verbosity", *little, "--recipe", own / "mine.yaml", "--output", tmp_path, "--json")
    assert said.returncode in (0, 1), said.stderr
    told = json.loads(said.stdout)
    assert not [f for f in told["failures"] if "imitate" not in f["error"] and "failed" not in f["error"]]
    assert all(arm["seeds"] for name, arm in told["arms"].items() if name != "shortest")
