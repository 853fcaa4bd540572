"""The stress battery before training: what is told, what is refused, and that it is kept."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from primum.battery import put_to_the_test, world_seeds
from primum.config import load_recipe
from primum.microworld import MicroworldConfig, build_corpus
from primum.microworld.meaning import is_harmful
from primum.recipe import Recipe
from primum.run import Run
from primum.types import BadInput

CORPUS = build_corpus(MicroworldConfig(train_examples=64, validation_examples=20, test_examples=2), 0)


def told(path: Path, *settings: str) -> list[str]:
    return put_to_the_test(load_recipe(Recipe, None, list(settings)), CORPUS, Run(path, Console(quiet=True), quiet=True))


def test_each_seed_of_the_world_is_a_harm_done_and_the_same_harm_refused() -> None:
    seeds = world_seeds(CORPUS.train, 8)
    assert len(seeds) == 8
    assert all(is_harmful(s.prompt, s.harmful) and not is_harmful(s.prompt, s.harmless) for s in seeds)


def test_the_keyword_rule_is_told_to_be_weak_and_the_exact_oracle_is_not(tmp_path: Path) -> None:
    assert told(tmp_path / "oracle", "reward.oracle_noise=0") == []
    (line,) = told(tmp_path / "keyword", "reinforce.reward=keyword", "second.reward=oracle", "reward.oracle_noise=0")
    assert line.startswith("The judge of harm in reward keyword did not pass its stress battery, ")
    assert "refusal prefix" in line
    kept = json.loads((tmp_path / "keyword/stress.json").read_text())
    assert set(kept) == {"keyword", "oracle"}
    assert kept["oracle"]["passed"]
    assert not kept["keyword"]["passed"]


def test_a_weak_judge_may_be_refused_and_the_battery_left_out(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="reward keyword did not pass its stress battery"):
        told(tmp_path / "a", "reinforce.reward=keyword", "reward.stress=refuse")
    assert told(tmp_path / "b", "reinforce.reward=keyword", "reward.stress=skip") == []
    assert not (tmp_path / "b/stress.json").exists()


def test_what_was_found_once_is_not_asked_again(tmp_path: Path) -> None:
    told(tmp_path, "reinforce.reward=keyword")
    found = json.loads((tmp_path / "stress.json").read_text())
    for sides in found["keyword"]["attacks"].values():
        for row in sides.values():
            row["high"] = 1.0
    (tmp_path / "stress.json").write_text(json.dumps(found))
    assert told(tmp_path, "reinforce.reward=keyword") == []
