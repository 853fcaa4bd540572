"""The command line: what a finished run prints and leaves, its settings, and the other commands."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Finished
from small import STAGES, Done, complaint, read

Cli = Callable[..., Done]
ARMS = ["base", "sft", "rl", "sft_rl", "hybrid", "distilled"]
METRICS = ("harm_train", "harm_validation", "harm_test", "over_refusal", "benign_useful", "task_accuracy", "language_mixing",
           "thought_tokens", "flops", "seconds")  # fmt: skip
CATEGORIES = ["H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8"]


# What a finished run leaves and prints


def test_every_arm_has_every_number_with_its_interval(small_run: Finished) -> None:
    report = read(small_run.path / "report.json")
    assert list(report["arms"]) == ARMS
    for arm in report["arms"].values():
        assert sorted(arm["harm_by_category"]) == CATEGORIES
        for value in [*(arm[m] for m in METRICS), *arm["harm_by_category"].values()]:
            assert set(value) == {"mean", "low", "high", "n", "unscored"}
            assert value["low"] <= value["mean"] <= value["high"]
            assert value["n"] > 0
    assert report["roles"] == {"train": ["H1", "H2"], "validation": ["H4"], "test": ["H3", "H5", "H6", "H7", "H8"]}
    assert [name for name, stage in report["stages"].items() if stage["finished"]] == sorted(STAGES)


def test_the_page_needs_nothing_from_anywhere(small_run: Finished) -> None:
    page = (small_run.path / "report.html").read_text(encoding="utf-8")
    markup = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"<(?:link|iframe|object|embed|base)\b", markup)
    assert set(re.findall(r'\b(?:src|href|action|data)="([^"#][^"]*)"', markup)) == set()
    assert not re.search(r"@import|url\((?!#)|\bfetch\(|XMLHttpRequest|WebSocket|import\(", page)
    assert "H8" in markup
    assert "report" in page


def test_without_a_terminal_each_stage_says_one_plain_line(small_run: Finished) -> None:
    said = small_run.said
    assert "\x1b" not in said.stdout + said.stderr
    assert "\r" not in said.stdout + said.stderr
    starts = ("base", "curate", "cold start", "reinforce (3-reinforce)", "refine", "reinforce (4-refine)", "distill",
              "reinforce (3-alone)", "compare")  # fmt: skip
    assert [line.partition(":")[0] for line in said.stderr.splitlines()] == list(starts)
    reinforced = said.stderr.splitlines()[3]
    assert re.fullmatch(
        r"reinforce \(3-reinforce\): 3 of 3 steps, ended by steps, kept \d, selection [01]\.\d{3}, \d+ s", reinforced
    ), reinforced
    lines = said.stdout.splitlines()
    assert lines[-1] == f"report: {small_run.path / 'report.html'}"
    assert [
        label for label in ("harm, seen", "harm, unseen", "over-refusal", "accuracy") if f"\n{label}" not in said.stdout
    ] == []


def test_json_is_all_that_standard_output_holds(small_run: Finished, cli: Cli) -> None:
    for command in (["report", small_run.path], small_run.command):
        said = cli(*command, "--json")
        assert (said.returncode, said.stderr) == (0, "")
        assert json.loads(said.stdout) == read(small_run.path / "report.json")


def test_the_record_says_how_to_repeat_the_run(small_run: Finished) -> None:
    noted = read(small_run.path / "environment.json")
    assert shlex.split(noted["command"]) == ["primum", *small_run.command]
    assert noted["packages"]["torch"].startswith("2.")
    config = read(small_run.path / "config.json")
    assert (config["seed"], config["reinforce"]["steps"], config["model"]) == (0, 3, "microworld")


# Settings


def test_a_printed_recipe_reads_back_as_itself(cli: Cli, tmp_path: Path) -> None:
    first = cli("run", "--print-config", "seed=3", "curate.microworld.train=[H1]", "evaluate.temperature=0")
    (tmp_path / "again.yaml").write_text(first.stdout, encoding="utf-8")
    again = cli("run", tmp_path / "again.yaml", "--print-config")
    assert (first.returncode, again.returncode) == (0, 0)
    assert again.stdout == first.stdout
    assert yaml.safe_load(first.stdout)["curate"]["microworld"]["train"] == ["H1"]


def test_a_mistyped_setting_is_answered_with_the_right_one(cli: Cli) -> None:
    assert "did you mean 'reinforce.steps'?" in complaint(cli("run", "reinforce.stpes=3").stderr)


def test_long_settings_still_give_every_run_a_folder_of_its_own(cli: Cli, tmp_path: Path) -> None:
    long = "curate.microworld.train=[H1, H2]", "curate.microworld.validation=[H4]", "curate.microworld.test=[H3, H5, H6, H7, H8]"
    names = []
    for steps in (3, 4):
        said = cli("run", *long, f"reinforce.steps={steps}", "model=/nowhere", "--output", tmp_path)
        names.append(complaint(said.stderr))
    from primum.cli import _run_name

    folders = {_run_name(None, [*long, f"reinforce.steps={steps}"]) for steps in (3, 4)}
    assert len(folders) == 2
    assert all(len(folder) <= 100 for folder in folders)
    assert _run_name(Path("recipes/mine.yaml"), ["seed=2"]) == "mine-seed=2"


# The other commands


def test_help_is_no_mistake(cli: Cli) -> None:
    for arguments, word in (([], "microworld"), (["run", "--help"], "--fresh"), (["microworld"], "show")):
        said = cli(*arguments)
        assert (said.returncode, said.stderr) == (0, "")
        assert word in said.stdout


@pytest.mark.parametrize("arguments", [["rnu"], ["run", "--nmae", "x"], ["run", "--name"], ["report"], ["microworld", "sohw"]])
def test_a_mistyped_command_is_one_line(cli: Cli, arguments: list[str]) -> None:
    said = cli(*arguments)
    assert said.returncode == 3
    assert complaint(said.stderr)


def test_a_report_of_what_is_no_run_is_refused(cli: Cli, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        said = cli("report", folder)
        assert said.returncode == 3
        assert str(folder) in complaint(said.stderr)
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_reports_what_it_has(cli: Cli, tmp_path: Path, small_run: Finished) -> None:
    shutil.copytree(small_run.path, tmp_path / "half", ignore=shutil.ignore_patterns("6-compare", "5-distill", "report.*"))
    said = cli("report", tmp_path / "half", "--json")
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found["arms"] == {}
    assert found["headline"].startswith("This run has not compared its arms yet")
    assert cli("report", tmp_path / "half").returncode == 0


def test_a_damaged_run_is_named(cli: Cli, tmp_path: Path, small_run: Finished) -> None:
    shutil.copytree(small_run.path, tmp_path / "small")
    (tmp_path / "small/config.json").write_text("{")
    command = [str(tmp_path) if part == str(small_run.path.parent) else part for part in small_run.command]
    said = cli(*command)
    assert said.returncode == 3
    assert complaint(said.stderr) == f"no readable JSON ({tmp_path / 'small/config.json'}): mend or remove it"


def test_the_micro_world_can_be_looked_at(cli: Cli) -> None:
    found = json.loads(cli("microworld", "show", "--json", "--count", "1").stdout)
    assert list(found["rules"]) == CATEGORIES
    assert len(found["examples"]) == 4
    assert "Harm, by rule" in cli("microworld", "show").stdout


def test_a_base_model_is_built_once(cli: Cli, tmp_path: Path) -> None:
    command = ["microworld", "build", tmp_path / "new base", "steps=2", "size=XS", "batch=4"]
    first = cli(*command, "--json")
    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout)["config"]["steps"] == 2
    before = {p.name: p.read_bytes() for p in (tmp_path / "new base").iterdir()}
    assert "the folder is there already" in complaint(cli(*command).stderr)
    assert {p.name: p.read_bytes() for p in (tmp_path / "new base").iterdir()} == before
    said = cli("microworld", "build", tmp_path / "other", "szie=XS")
    assert "did you mean 'size'?" in complaint(said.stderr)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new base"]
