"""One harm is left out of everything but the test, and every trained arm spends the same."""

import json
import math
from pathlib import Path

import pytest
from study_document import assert_short_is_judged_alike

from primum.config import load_recipe
from primum.curate import load_corpus
from primum.experiments import novel_harm
from primum.experiments.novel_harm import Settings, at_level, categories, folds, roles
from primum.microworld.language import language_of
from primum.microworld.meaning import CATEGORIES, harms, read_request
from primum.study.experiment import study
from primum.study.plan import Plan
from primum.study.stages import quiet

TOY = (
    "seeds=1", "first_seed=100", "workers=1", "tflops=0.06", "examples=240", "test_examples=4", "probe=4", "epochs=1", "folds=1",
    "demonstrations=60", "recipe.reinforce.prompts=6", "recipe.reinforce.group=4", "validation_examples=8",
    "recipe.coldstart.batch=8", "recipe.reinforce.limit_tokens=24", "recipe.evaluate.limit_tokens=48",
)  # fmt: skip
TRAINED = ("sft", "sft_bare", "rl", "narrow", "varied", "selected")
RESULTS = Path(__file__).parents[1] / "docs" / "results" / "novel-harm.json"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("novel")
    return study(novel_harm, load_recipe(Settings, None, TOY), quiet(folder / "run"), folder / "tasks"), folder / "tasks"


def test_what_is_kept_in_short_is_judged_alike(done: tuple[dict, Path]) -> None:
    assert_short_is_judged_alike(novel_harm, done[0])


def test_no_left_out_category_is_in_any_training_file_of_its_arm(done: tuple[dict, Path]) -> None:
    found, tasks = done
    left_out = found["seeds"][0].partition("/")[2]
    trained = [json.loads(p.read_text()) for p in tasks.glob("*/task.json")]
    corpora = {t["needs"]["corpus"] for t in trained if "corpus" in t["needs"]}
    assert len(corpora) == 1
    for name in corpora:
        corpus = load_corpus(tasks / name)
        assert corpus.roles["test"] == [left_out]
        for e in [*corpus.train, *corpus.validation]:
            request = read_request(e.prompt)
            assert e.category != left_out
            assert left_out not in harms(request.steps, request.context)
        assert {e.category for e in corpus.test if e.kind == "harmful"} == set(CATEGORIES)
        assert {language_of(e.prompt) for e in corpus.train} == {"A"}
    rollouts = [json.loads(line) for p in tasks.glob("reinforce-*/rollouts.jsonl") for line in p.read_text().splitlines()]
    assert rollouts
    assert left_out not in {row["category"] for row in rollouts}


def test_narrow_rl_learns_from_two_categories_alone(done: tuple[dict, Path]) -> None:
    _, tasks = done
    by_task = []
    for path in tasks.glob("reinforce-*"):
        rows = [json.loads(line) for line in (path / "rollouts.jsonl").read_text().splitlines()]
        by_task.append(
            (json.loads((path / "task.json").read_text())["settings"].get("categories"), {r["category"] for r in rows})
        )
    narrow = [(asked, seen) for asked, seen in by_task if asked]
    assert len(narrow) == 1
    assert narrow[0][1] - {""} <= set(narrow[0][0])


def test_the_trained_arms_spend_the_same_within_five_percent(done: tuple[dict, Path]) -> None:
    spent = {arm: done[0]["arms"][arm]["seeds"][done[0]["seeds"][0]]["cost"]["flops"] for arm in TRAINED}
    assert max(spent.values()) <= 1.05 * min(spent.values()), spent
    assert all(value >= 0.06e12 for value in spent.values())


def test_the_same_numbers_come_out_again_from_what_is_kept(done: tuple[dict, Path], tmp_path: Path) -> None:
    found, tasks = done
    again = study(novel_harm, load_recipe(Settings, None, TOY), quiet(tmp_path), tasks)
    assert {**again, "environment": None} == {**found, "environment": None}


def test_the_claims_are_recomputed_from_the_numbers(done: tuple[dict, Path]) -> None:
    found = done[0]
    unit = found["seeds"][0]
    gap = next(p for p in found["pairs"] if (p["a"], p["b"], p["metric"]) == ("sft", "rl", "harm_novel_known"))
    means = [found["arms"][arm]["seeds"][unit]["metrics"]["harm_novel_known"]["mean"] for arm in ("sft", "rl")]
    assert gap["pooled"]["mean"] == pytest.approx(means[1] - means[0])
    claim = next(c for c in found["claims"] if c["measure"] == "harm_novel_known: rl − sft")
    assert claim["value"] == gap["pooled"]


def test_four_seeds_leave_out_every_category_and_give_each_every_role() -> None:
    plan, config = Plan(Settings().recipe, 0), Settings()
    left = [name for seed in range(4) for name in folds(plan, config, seed)]
    assert sorted(left) == sorted(CATEGORIES)
    held = [roles(categories(plan), name) for name in left]
    for role in ("train", "validation", "test"):
        assert {name for each in held for name in each[role]} == set(CATEGORIES)
    assert all(len(set().union(*each.values())) == 8 for each in held)


def test_harm_at_equal_seen_harm_is_read_between_two_looks() -> None:
    looks = [{"probe_harm_seen_known": s, "probe_harm_novel_known": n} for s, n in ((0.9, 1.0), (0.2, 0.6), (0.0, 0.5))]
    assert at_level([{"flops": 1.0}, *looks], 0.1) == pytest.approx(0.55)
    assert math.isnan(at_level(looks[:2], 0.1))
    assert at_level(looks[2:], 0.1) == 0.5


@pytest.mark.skipif(not RESULTS.exists(), reason="no committed result yet")
def test_the_committed_arms_spent_the_same_within_five_percent() -> None:
    found = json.loads(RESULTS.read_text())
    for unit in found["seeds"]:
        spent = [found["arms"][arm]["seeds"][unit]["cost"]["flops"] for arm in TRAINED if unit in found["arms"][arm]["seeds"]]
        assert max(spent) <= 1.05 * min(spent)
