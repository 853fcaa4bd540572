"""Harms that the context decides: parted by meaning, four rewards that differ in who judges harm, and what labels they had."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoint import make_checkpoint
from curate_files import sources
from study_document import assert_short_is_judged_alike

from primum.config import load_recipe, merge, validate
from primum.curate import load_corpus
from primum.experiments import contextual_harm
from primum.experiments.contextual_harm import Settings, ratio
from primum.experiments.contextual_harm_tasks import evenly, held_things, part
from primum.microworld import MicroworldConfig, build_corpus
from primum.microworld.meaning import read_request
from primum.run import plain, read_examples
from primum.study.claims import Found
from primum.study.experiment import study
from primum.study.lessons import Lessons, lessons
from primum.study.probe import probe_prompts
from primum.study.stages import quiet
from primum.types import BadInput, Corpus, Example

TOY = (
    "seeds=1", "first_seed=100", "workers=1", "tflops=0.045", "examples=280", "test_examples=6", "probe=2", "demonstrations=60",
    "epochs=1", "prompts=6", "labels=30", "rounds=2", "recipe.reinforce.group=4", "recipe.adapt.first_step=1",
    "recipe.adapt.every_steps=2", "recipe.adapt.learned.epochs=1", "recipe.reward.stress=skip", "recipe.evaluate.limit_tokens=32",
)  # fmt: skip


def things(e: Example) -> set[str]:
    return {thing for _, thing in read_request(e.prompt).steps}


def world() -> Corpus:
    roles = {"train": ["H1", "H2", "H5", "H7", "H8"], "validation": ["H4"], "test": []}
    return build_corpus(MicroworldConfig(**roles, train_examples=800, validation_examples=8, test_examples=40), 100)


def test_what_the_context_decides_is_tested_on_things_that_training_never_names_there() -> None:
    corpus = part(world(), ["H7", "H8"], 100)
    assert corpus.roles == {"train": ["H1", "H2", "H5"], "validation": ["H4"], "test": [], "contextual": ["H7", "H8"]}
    mine = [[e for e in split if e.category in ("H7", "H8")] for split in (corpus.train, corpus.test)]
    trained, tested = (set().union(*map(things, split)) for split in mine)
    assert all(
        {e.category for e in split if e.kind == kind} == {"H7", "H8"} for split in mine for kind in ("harmful", "borderline")
    )
    assert not trained & tested
    assert tested <= held_things(100)
    kept = [e for e in world().train if e.category not in ("H7", "H8")]
    assert [e for e in corpus.train if e.category not in ("H7", "H8")] == kept


def test_prompts_from_files_are_parted_by_their_split_alone() -> None:
    rows = [Example(str(i), "please seal box then heat box .", "harmful", category="H7", source="mine") for i in range(2)]
    corpus = part(Corpus(rows[:1], [], rows[1:], {"train": ["H7", "x"]}), ["H7"], 0)
    assert (len(corpus.train), len(corpus.test), corpus.role("H7"), corpus.role("x")) == (1, 1, "contextual", "train")


def test_rl_draws_as_many_contextual_prompts_as_other_harms() -> None:
    corpus = part(world(), ["H7", "H8"], 100)
    drawn = evenly(corpus, 100)
    for kind in ("harmful", "borderline"):
        shares = [sum(e.kind == kind and (e.category in ("H7", "H8")) == mine for e in drawn) for mine in (True, False)]
        assert shares[0] == shares[1] > 0
    assert [sum(e.kind == kind for e in drawn) for kind in ("benign", "task")] == [200, 200]


def test_a_cold_start_can_leave_out_categories_and_their_look_alikes() -> None:
    shown = lessons(world(), Lessons(without=["H7", "H8"]), seed=0)
    assert {e.category for e in shown} == {"", "H1", "H2", "H5"}
    assert len(shown) == sum(e.category not in ("H7", "H8") for e in world().demonstrations)


def found(**harm: list[float]) -> Found:
    arms = {arm: {str(i): {"harm_contextual": {"mean": x}} for i, x in enumerate(values)} for arm, values in harm.items()}
    return Found(arms, lambda a, b, m: {})


def test_the_ratio_leaves_out_seeds_on_which_the_rule_does_no_harm() -> None:
    told = ratio(found(keyword=[0.4, 0.5, 0.0], adaptive=[0.1, 0.3, 0.0]))
    assert told.mean == pytest.approx((0.25 + 0.6) / 2)
    assert told.seeds == 2
    assert math.isnan(ratio(found(keyword=[0.0], adaptive=[0.2])).mean)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("contextual")
    return study(contextual_harm, load_recipe(Settings, None, TOY), quiet(folder / "run"), folder / "tasks"), folder / "tasks"


def test_what_is_kept_in_short_is_judged_alike(done: tuple[dict, Path]) -> None:
    assert_short_is_judged_alike(contextual_harm, done[0])


def test_a_curve_tells_how_many_prompts_of_its_own_kind_were_asked(done: tuple[dict, Path]) -> None:
    told, tasks = done
    made = next(tasks.glob("parted-*"))
    asked = probe_prompts(load_corpus(made), load_recipe(Settings, None, TOY).plan(100, contextual_harm.PROBE).probe)
    counts = {c["title"]: c["n"] for c in told["curves"]}
    assert counts["Over-refusal"] == sum(e.kind == "borderline" for e in asked)
    roles = load_corpus(made).role
    harm = sum(e.kind == "harmful" and roles(e.category) == "contextual" for e in asked)
    assert counts["Implicit and contextual harm"] == harm < counts["Over-refusal"]


def arm(told: dict, name: str) -> dict:
    return told["arms"][name]["seeds"]["100"]


def test_every_reward_is_measured_and_its_labels_are_counted(done: tuple[dict, Path]) -> None:
    told, tasks = done
    assert not told["failures"]
    assert {name: arm(told, name)["metrics"]["labels"]["mean"] for name in ("cold", "keyword", "learned", "labeller")} == {
        "cold": 0.0, "keyword": 0.0, "learned": 30.0, "labeller": 0.0
    }  # fmt: skip
    assert 10 <= arm(told, "adaptive")["metrics"]["labels"]["mean"] <= 30
    (judge,) = tasks.glob("judge-*/result.json")
    assert json.loads(judge.read_text())["own"]["oracle_queries"] == 30
    for name in ("cold", "keyword", "adaptive"):
        assert {"harm_contextual", "harm_implicit", "harm_in_context", "over_refusal_contextual"} <= set(
            arm(told, name)["metrics"]
        )


def test_who_judges_harm_is_all_that_the_oracle_is_asked_besides(done: tuple[dict, Path]) -> None:
    """Every response to a prompt that is not harmful is one answer, in every arm; harm is asked of the oracle as labels alone."""
    told, tasks = done
    asked = {}
    for path in (found.parent for found in tasks.glob("reinforce-*/rollouts.jsonl")):
        rows = [json.loads(line) for line in (path / "rollouts.jsonl").read_text().splitlines()]
        source = json.loads((path / "task.json").read_text())["settings"]["source"]
        kinds = [row["kind"] for row in rows]
        own = json.loads((path / "result.json").read_text())["own"]["oracle_queries"]
        asked[source] = own - sum(kind != "harmful" for kind in kinds)
        assert {"H7", "H8"} & {row["category"] for row in rows}
        if source == "labeller":
            assert asked[source] == kinds.count("harmful") > 0
    assert asked["keyword"] == asked["learned"] == 0
    assert asked["adaptive"] == arm(told, "adaptive")["metrics"]["labels"]["mean"]


def test_no_test_prompt_of_the_context_is_about_a_thing_that_rl_saw_there(done: tuple[dict, Path]) -> None:
    _, tasks = done
    corpora = [path.parent for path in tasks.glob("parted-*/test.jsonl")]
    assert len(corpora) == 2
    tested = {t for e in read_examples(corpora[0] / "test.jsonl") if e.category in ("H7", "H8") for t in things(e)}
    for path in tasks.glob("reinforce-*/rollouts.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        seen = {t for r in rows if r["category"] in ("H7", "H8") for _, t in read_request(r["prompt"]).steps}
        assert seen
        assert not seen & tested


FILES = {
    "model": "", "seed": 0, "reinforce": {"reward": "keyword", "group": 2, "limit_tokens": 60},
    "adapt": {"labeller": "keyword", "first_step": 1, "every_steps": 1, "learned": {"epochs": 1}}, "reward": {"stress": "skip"},
    "evaluate": {"limit_tokens": 12}, "coldstart": {"batch": 8, "learning_rate": 5e-3},
}  # fmt: skip


@pytest.fixture(scope="module")
def with_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "data").mkdir()
    given = [s.model_dump(mode="json") for s in sources(folder / "data", harms=("theft", "arson"), n=12)]
    texts = [line for s in given for line in Path(s["path"]).read_text().splitlines()]
    model = make_checkpoint(folder / "model", texts, vocab=400, hidden=64, layers=1)

    def settings(**changes: object) -> Settings:
        recipe = {**FILES, "model": str(model), "curate": {"world": "files", "sources": given, "near_duplicate": 1.0}}
        small = {"seeds": 1, "first_seed": 100, "workers": 1, "tflops": 0.1, "demonstrations": 24, "epochs": 12, "prompts": 4}
        tree = merge(plain(Settings().model_dump()), {**small, "labels": 60, "rounds": 2, "probe": 2, "recipe": recipe})
        return validate(Settings, merge(tree, changes), "test")

    return settings


@pytest.mark.slow
def test_a_checkpoint_and_files_are_asked_the_same(with_files: Callable[..., Settings], tmp_path: Path) -> None:
    told = study(contextual_harm, with_files(contextual=["theft"]), quiet(tmp_path / "run"), tmp_path / "tasks")
    assert not told["failures"]
    assert set(told["arms"]) == set(contextual_harm.ARMS)
    assert all("harm_contextual" in arm(told, name)["metrics"] for name in told["arms"])
    assert {e.category for e in read_examples(next(tmp_path.glob("tasks/parted-*/train.jsonl"))) if e.kind == "harmful"} == {
        "theft", "arson"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "name some, not all, of arson, theft"),
        ({"contextual": ["spying"]}, "name some, not all, of arson, theft"),
        ({"contextual": ["theft", "arson"]}, "name some, not all, of arson, theft"),
        ({"contextual": ["theft"], "recipe": {"adapt": {"labeller": ""}}}, "nobody to label"),
        ({"contextual": ["theft"], "recipe": {"judge": {"harm": "keyword"}}}, "the labeller and the judge are one signal"),
    ],
)
def test_what_files_must_tell_is_asked_for_in_one_line(
    with_files: Callable[..., Settings], changes: dict, said: str, tmp_path: Path
) -> None:
    config = with_files(**changes)
    with pytest.raises(BadInput, match=said):
        contextual_harm.arms(config.plan(100), config)
