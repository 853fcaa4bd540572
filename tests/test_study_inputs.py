"""A task's digest holds what is in the user's files, so that a changed file is other work."""

from pathlib import Path

import pytest

from primum.recipe import Recipe
from primum.study.inputs import contents, paths_in
from primum.study.plan import Plan


def test_a_changed_file_is_another_corpus_and_the_same_file_the_same(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    recipe = Recipe.model_validate({"curate": {"world": "files", "sources": [{"path": str(data), "kind": "benign"}]}})
    missing = Plan(recipe, 0).corpus().digest
    data.write_text('{"prompt": "a"}\n')
    first = Plan(recipe, 0).corpus().digest
    assert first not in (missing, Plan(recipe, 1).corpus().digest)
    data.write_text('{"prompt": "b"}\n')
    assert Plan(recipe, 0).corpus().digest not in (first, missing)
    data.write_text('{"prompt": "a"}\n')
    assert Plan(recipe, 0).corpus().digest == first


def test_other_weights_in_the_same_folder_are_another_base(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"0" * (5 << 20))
    recipe = Recipe(model=str(tmp_path))
    first = Plan(recipe, 0).base().digest
    for at in (0, (5 << 20) - 1):
        changed = bytearray(weights.read_bytes())
        changed[at] = 1
        weights.write_bytes(bytes(changed))
        assert Plan(recipe, 0).base().digest != first
    assert "inputs" not in Plan(Recipe(), 0).base().settings


def test_a_home_and_a_variable_are_filled_in_and_what_is_missing_is_left_to_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some.csv").write_text("prompt\n")
    monkeypatch.setenv("HERE", str(tmp_path))
    assert list(contents(["$HERE/some.csv", str(tmp_path / "none.csv"), "a-name-on-a-hub"])) == ["$HERE/some.csv"]


def test_a_path_is_known_without_a_slash_behind_a_variable_and_behind_what_says_who_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMPTS", str(tmp_path / "prompts.jsonl"))
    (tmp_path / "judge").mkdir()
    files = (tmp_path / "prompts.jsonl", tmp_path / "judge" / "weights")
    recipe = Recipe.model_validate({
        "curate": {"world": "files", "sources": [{"path": "$PROMPTS", "kind": "benign"}]},
        "judge": {"classifier": "judge"}, "reinforce": {"reward": "learned:judge#harm"},
    })  # fmt: skip
    digests = []
    for said in ("a", "b"):
        for file in files:
            file.write_text(said)
        plan = Plan(recipe, 0)
        corpus = Plan(Recipe(), 0).corpus()
        stages = plan.corpus(), plan.measure(plan.base(), corpus), Plan(recipe, 0).reinforce(plan.base(), corpus)
        digests.append([task.digest for task in stages])
    assert not set(digests[0]) & set(digests[1])
    assert list(contents(paths_in(["learned:judge#harm"]))) == ["judge"]


def test_a_changed_list_of_words_is_another_measurement_and_another_training(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    recipe = Recipe.model_validate({"reward": {"words": str(words)}, "judge": {"words": str(words)}})
    tasks = []
    for said in ("bomb", "poison"):
        words.write_text(said)
        plan = Plan(recipe, 0)
        tasks.append((plan.measure(plan.base(), plan.corpus()), plan.reinforce(plan.base(), plan.corpus()), plan.corpus()))
    assert [one.digest == other.digest for one, other in zip(*tasks, strict=True)] == [False, False, True]
