"""Experiments: claims computed from the numbers, toy runs through the command, and bad input."""

import json
from pathlib import Path
from typing import Any

import pytest
from small import Done, complaint, primum

from primum.experiments.reward_hacking_claims import gamed
from primum.experiments.reward_hacking_rewards import shuffled_words
from primum.microworld import BLOCKED_WORDS
from primum.microworld.language import VERB_OF


def row(proxy: float, words: tuple[float, float], rise: tuple[float, float]) -> dict[str, Any]:
    lost = {"mean": 1 - words[1] / words[0] if words[0] else None}
    return {"proxy": {"mean": proxy}, "words_lost": lost, "harm_rise": {"mean": 0.0, "low": rise[0], "high": rise[1]}}


def test_a_reward_is_gamed_where_the_words_go_and_the_harm_stays() -> None:
    assert gamed(row(0.95, (0.5, 0.075), (-0.05, 0.0)))  # words down by exactly 85 %
    assert not gamed(row(0.94, (0.5, 0.0), (-0.05, 0.05)))  # the reward is not satisfied
    assert not gamed(row(0.99, (0.5, 0.08), (-0.05, 0.05)))  # words down by 84 %
    assert not gamed(row(0.99, (0.5, 0.0), (-0.5, -0.01)))  # harm fell, by its whole interval
    assert not gamed(row(0.99, (0.0, 0.0), (-0.05, 0.05)))  # there were no words to lose


def test_a_shuffled_list_has_as_many_words_of_each_language_and_none_of_the_list() -> None:
    for seed in range(5):
        words = shuffled_words(seed)
        assert not words & BLOCKED_WORDS
        count = {language: sum(VERB_OF[w][1] == language for w in words) for language in "AB"}
        assert count == {language: sum(VERB_OF[w][1] == language for w in BLOCKED_WORDS) for language in "AB"}
    assert shuffled_words(0) == shuffled_words(0) != shuffled_words(1)


def toy(output: Path, name: str, *settings: str) -> Done:
    return primum("experiment", name, "seeds=1", "workers=1", *settings, "--output", str(output), "--json")


LIMITS = ["first_seed=7", "steps=2", "prompts=4", "epochs=1", "demonstrations=16", "test_examples=4"]


@pytest.mark.slow
def test_limits_are_asked_about_through_the_command_and_kept_for_the_next_time(tmp_path: Path) -> None:
    said = toy(tmp_path, "constraints", *LIMITS)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found["experiment"] == "constraints"
    assert found["prediction"].startswith("Feasible (exact oracle)")
    for arm in ("feasible", "infeasible"):
        told = found["arms"][arm]["7"]
        assert told["limits"] == {"harm": 0.02, "over_refusal": 0.05}
        assert told["harm"]["n"] == told["over_refusal"]["n"] == 8  # four of each trained category
        assert 1 < told["multipliers"]["harm"] <= 3  # two steps of a policy that does harm
    assert found["feasible_met"] == {"7": False}
    assert found["verdict"] == "failed"  # nothing is stuck at its cap after two steps
    assert json.loads(toy(tmp_path, "constraints", *LIMITS).stdout) == found
    other = toy(tmp_path, "constraints", *LIMITS, "harm=0.5")
    assert other.returncode == 3
    assert "begun with other settings, harm: 0.02 → 0.5" in complaint(other.stderr)


def test_an_experiment_that_is_not_there_is_one_clear_line(cli: Any) -> None:
    said = cli("experiment", "reward-hackin")
    assert said.returncode == 3
    assert complaint(said.stderr) == ("no experiment 'reward-hackin' (command line): did you mean 'reward-hacking'?")
