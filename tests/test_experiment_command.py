"""`primum experiment`: what it refuses before any work, what it joins, what `all` does where an experiment cannot be done."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from study_document import document
from typer.testing import CliRunner

from primum.cli import app
from primum.commands.experiment import STUDIES, _asked, _new
from primum.experiments import hybrid
from primum.study import experiment, judged, settings
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


def earlier(path: Path, **changes: Any) -> Path:
    """A result of hybrid on seeds 3 and 4, as the command leaves it."""
    seeds = {"3": {"metrics": {}, "cost": {}, "extra": {}}, "4": {"metrics": {}, "cost": {}, "extra": {}}}
    arms = {name: {"label": label, "about": "", "seeds": seeds} for name, label in hybrid.ARMS.items()}
    gaps = [("sft_all", "rl", "harm_novel"), ("base", "hybrid", "accuracy")]
    gaps += [(arm, "hybrid", "harm_novel") for arm in ("sft", "sft_all", "sft_recovery", "rl", "sft_rl")]
    pairs = [{"a": a, "b": b, "metric": m, "seeds": {}} for a, b, m in gaps]
    _, config = _asked("hybrid", [], "", None)
    told = document() | settings.asks(hybrid, config) | {"arms": arms, "pairs": pairs, "seeds": ["3", "4"], "failures": []}
    path.write_text(json.dumps(told | changes), encoding="utf-8")
    return path


def test_seeds_that_an_earlier_result_has_whole_are_not_trained_again(done: Done, tmp_path: Path) -> None:
    path = earlier(tmp_path / "e.json")
    found, _ = said("hybrid", "--seeds", "3", "first_seed=2", "--with", str(path))
    assert str(found.exception).startswith(f"has seeds 3, 4 already ({path})")
    assert "first_seed=5" in str(found.exception)
    assert done == []
    lacks = [{"label": "RL", "name": "n", "error": "e", "attempts": 2, "seeds": ["4"]}]
    assert said("hybrid", "--seeds", "1", "first_seed=4", "--with", str(earlier(path, failures=lacks)))[0].exit_code != 3
    assert [config.first_seed for _, config in done] == [4]


def test_a_fold_that_lacks_an_arm_is_not_whole_nor_is_its_seed_refused(tmp_path: Path) -> None:
    none: dict[str, Any] = {"metrics": {}, "cost": {}, "extra": {}}
    units = ["0/H3", "0/H7", "1/H1", "1/H8"]
    arms = {"a": {"seeds": dict.fromkeys(units, none)}, "b": {"seeds": dict.fromkeys(units[1:], none)}}
    whole = judged.complete({"seeds": units, "failures": [], "arms": arms})
    assert whole == {"0/H7", "1/H1", "1/H8"}
    _, config = _asked("novel-harm", ["first_seed=0", "seeds=1"], "", None)
    _new(config, set(units), whole, tmp_path)
    _, config = _asked("novel-harm", ["first_seed=0", "seeds=2"], "", None)
    with pytest.raises(BadInput, match="has seed 1 already"):
        _new(config, set(units), whole, tmp_path)


def test_an_earlier_result_in_the_same_folder_is_lost_by_no_failure_to_join(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs/experiments/hybrid"
    folder.mkdir(parents=True)
    path = earlier(folder / "result.json")
    before = path.read_bytes()
    once = judged.joined

    def fails(module: Any, documents: Any) -> Any:
        if len(documents) > 1:
            raise BadInput("cannot be joined", "--with", "")
        return once(module, documents)

    monkeypatch.setattr(judged, "joined", fails)
    found, _ = said("hybrid", "--seeds", "1", "first_seed=5", "--with", str(path))
    assert "cannot be joined" in str(found.exception)
    assert path.read_bytes() == before
    assert json.loads((folder / "new.json").read_text())["experiment"] == "hybrid"


def test_a_joined_result_tells_commands_that_join_and_the_fewest_prompts_of_a_curve(tmp_path: Path) -> None:
    first = json.loads(earlier(tmp_path / "e.json").read_text())
    first["curves"] = [{**first["curves"][0], "n": 19}]
    other = {**first, "seeds": ["5"], "command": "primum experiment hybrid --seeds 1 first_seed=5"}
    other["curves"] = [{**first["curves"][0], "n": 11}]
    told = judged.joined(hybrid, [first, other])
    assert told["curves"][0]["n"] == 11
    assert told["command"].split("; ") == [first["command"], f"{other['command']} --with runs/experiments/hybrid/result.json"]


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"tasks": {"0 base": "0"}}, "the same settings, but other tasks"), ({"tasks": None}, "the same settings, but other tasks"),
    ({"arms": {"base": {"label": "b"}}}, "not a whole result, KeyError: 'seeds'"), ({"arms": {}}, "no result of an experiment"),
    ({"pairs": []}, "no difference harm_novel"), ({"pairs": 3}, "not a whole result, TypeError"),
])  # fmt: skip
def test_what_cannot_be_joined_is_refused_before_training(done: Done, tmp_path: Path, changes: Any, complaint: str) -> None:
    path = earlier(tmp_path / "e.json", **changes)
    found, _ = said("hybrid", "--seeds", "1", "first_seed=5", "--with", str(path))
    assert isinstance(found.exception, BadInput)
    assert complaint in str(found.exception)
    assert done == []


def test_other_rates_in_the_code_are_other_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    _, config = _asked("hybrid", [], "", None)
    before = settings.asks(hybrid, config)
    monkeypatch.setitem(hybrid.RATES, "after", 2e-4)
    after = settings.asks(hybrid, config)
    assert {key for key in before if before[key] != after[key]} == {"tasks"}
    assert [name for name in before["tasks"] if before["tasks"][name] != after["tasks"][name]] == [
        "0 sft_rl", "0 hybrid", "0 distilled",
    ]  # fmt: skip


def test_a_failure_is_told_unless_another_result_has_its_seed_whole() -> None:
    lacks = {"label": "RL", "name": "n", "error": "e", "attempts": 2}
    none: dict[str, Any] = {"metrics": {}, "cost": {}, "extra": {}}

    def told(units: list[str], *failures: dict[str, Any], without: str = "") -> dict[str, Any]:
        return {"seeds": units, "failures": list(failures),
                "arms": {a: {"seeds": {u: none for u in units if (a, u) != ("b", without)}} for a in "ab"}}  # fmt: skip

    first = told(["0", "1"], {**lacks, "seeds": ["1"]}, without="1")
    assert judged._failures([first, told(["2"])]) == first["failures"]
    assert judged._failures([first, told(["1"])]) == []
    besides = told(["0", "1"], {**lacks, "seeds": ["1"]})  # every arm is measured, something besides is not
    assert judged._failures([besides]) == besides["failures"]
    older = told(["0", "1"], lacks, without="1")  # does not say of which seeds
    assert judged._failures([older, told(["1"])]) == older["failures"]


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


def test_what_is_tuned_for_the_embedded_model_is_neither_another_models_nor_laid_over_what_the_recipe_says() -> None:
    usual = {"learning_rate": 5e-4, "kl": 0.0}
    for given, kept in (
        ([], usual), (["recipe.reinforce.learning_rate=1e-5"], {"kl": 0.0}), (["recipe.reinforce.group=4"], usual),
        (["recipe.model=folder"], {}),
    ):  # fmt: skip
        assert _asked("culture", given, "", None)[1].usual("reinforce", usual) == kept
    told = ["recipe.reinforce.group=4", "recipe.reinforce.prompts=8"]
    rl = _asked("hybrid", told, "", None)[1].plan(3).recipe.reinforce
    assert (rl.group, rl.prompts, rl.learning_rate, rl.mix) == (4, 8, 3e-4, settings.SAFETY_RL["mix"])
    assert hybrid.rate(_asked("hybrid", told, "", None)[1], "alone") == {"learning_rate": 6e-4}


def test_a_budget_that_is_meant_for_the_embedded_model_is_told_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "check", lambda recipe: (None, []))
    monkeypatch.setattr(experiment, "arms_of", lambda module, config, seed: {})
    for given, told in ((["recipe.model=m"], True), (["recipe.model=m", "tflops=9"], False), ([], False)):
        _, warnings = experiment.planned(*_asked("hybrid", given, "", None))
        assert ("is what the embedded model needs" in " ".join(warnings)) is told


def test_the_command_that_does_it_again_survives_a_shell() -> None:
    module, config = _asked("culture", ["locales=[en, fr]", "named=-(..)$", "first_seed=4", "seeds=2"], "", None)
    assert settings.command(module, config) == (
        "primum experiment culture --seeds 2 first_seed=4 'locales=[\"en\", \"fr\"]' 'named=-(..)$'"
    )
    module, config = _asked("reward-hacking", ["first_seed=0"], "", None)
    assert "first_seed=0" in settings.command(module, config)


@pytest.mark.parametrize("told", ["=1", "yes", "[a-z]+", "null", "a: b", "plain", "", "0x1f", "2026-11-29"])
def test_a_text_is_written_so_that_it_is_read_as_that_text(told: str) -> None:
    module, config = _asked("culture", [f"recipe.judge.harmful_label={json.dumps(told)}"], "", None)
    words = shlex.split(settings.command(module, config))
    assert _asked(words[2], [w for w in words[5:] if "=" in w], "", None)[1] == config.model_copy(update={"seeds": 3})


def test_settings_that_no_experiment_reads_are_told() -> None:
    module, config = _asked("hybrid", ["recipe.seed=4", "recipe.curate.microworld.test_examples=9", "seeds=1"], "", None)
    _, notes = experiment.planned(module, config)
    assert "Settings of the recipe that experiments do not read: seed, curate.microworld.test_examples." in notes
