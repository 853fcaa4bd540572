"""`primum experiment`: what it refuses before any work, what it joins, what `all` does where an experiment cannot be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from study_document import document
from typer.testing import CliRunner

from primum.cli import app
from primum.commands.experiment import STUDIES, _asked
from primum.study import experiment, settings
from primum.types import BadInput

Done = list[tuple[str, Any]]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Done:
    """The experiments that were carried out, with their settings; nothing is trained."""
    asked: Done = []

    def study(module: Any, config: Any, run: Any, store: Path) -> dict[str, Any]:
        asked.append((settings.name_of(module), config))
        return document() | settings.asks(module, config) | {"failures": []}

    monkeypatch.setattr(experiment, "study", study)
    monkeypatch.chdir(tmp_path)
    return asked


def said(*words: str) -> tuple[Any, str]:
    found = CliRunner().invoke(app, ["experiment", *words])
    return found, f"{found.stdout}{found.stderr}"


def test_results_to_join_are_looked_at_before_anything_is_trained(done: Done, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    for name, text, complaint in (
        ("hybrid", None, "no result of an experiment"), ("hybrid", "[1]", "no result of an experiment"),
        ("hybrid", json.dumps(document() | {"experiment": "culture"}), "results of different experiments"),
        ("all", json.dumps(document()), "joins the results of one experiment"), ("ties", "{}", "cannot be joined"),
    ):  # fmt: skip
        other.unlink(missing_ok=True)
        if text is not None:
            other.write_text(text, encoding="utf-8")
        found, _ = said(name, "--with", str(other))
        assert isinstance(found.exception, BadInput)
        assert complaint in str(found.exception)
    assert done == []
    assert not (tmp_path / "runs").exists()


def test_settings_on_the_command_line_overrule_the_recipe_and_the_recipe_the_experiment(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("reinforce: {limit_tokens: 100, group: 6}\n", encoding="utf-8")
    _, config = _asked("hybrid", ["recipe.reinforce.limit_tokens=24"], "", recipe)
    assert (config.recipe.reinforce.limit_tokens, config.recipe.reinforce.group) == (24, 6)
    recipe.write_text("reinforce: {limit_token: 100}\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"r\.yaml.*limit_tokens"):
        _asked("hybrid", [], "", recipe)


def test_a_bad_setting_does_not_make_the_folder_that_experiments(done: Done, tmp_path: Path) -> None:
    found, _ = said("contextual-harm", "contextual=[H9]")
    assert isinstance(found.exception, BadInput)
    assert not (tmp_path / "runs").exists()
    assert said("contextual-harm", "contextual=[H8]")[0].exit_code == 0


def test_all_goes_on_past_an_experiment_that_cannot_be_done_and_ends_with_bad_input(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(module: Any, config: Any) -> Any:
        if settings.name_of(module) == "contextual-harm":
            raise BadInput("which categories?", "contextual", "name some")
        return {}, []

    monkeypatch.setattr(experiment, "planned", planned)
    found, text = said("all")
    assert "contextual-harm is left out: which categories?" in text
    assert isinstance(found.exception, BadInput)
    assert [name for name, _ in done] == [name for name in STUDIES if name != "contextual-harm"]
    assert (tmp_path / "runs/experiments/brittleness/report.html").exists()


def test_a_budget_is_refused_where_no_arm_has_one(done: Done) -> None:
    found, _ = said("cold-start", "tflops=2")
    assert isinstance(found.exception, BadInput)
    assert "unknown setting 'tflops'" in str(found.exception)


def test_the_command_that_does_it_again_survives_a_shell() -> None:
    module, config = _asked("culture", ["locales=[en, fr]", "named=-(..)$", "first_seed=4", "seeds=2"], "", None)
    assert settings.command(module, config) == (
        "primum experiment culture --seeds 2 first_seed=4 'locales=[\"en\", \"fr\"]' 'named=-(..)$'"
    )
    module, config = _asked("reward-hacking", ["first_seed=0"], "", None)
    assert "first_seed=0" in settings.command(module, config)


def test_settings_that_no_experiment_reads_are_told() -> None:
    module, config = _asked("hybrid", ["recipe.seed=4", "recipe.curate.microworld.test_examples=9", "seeds=1"], "", None)
    _, notes = experiment.planned(module, config)
    assert "Settings of the recipe that experiments do not read: seed, curate.microworld.test_examples." in notes
