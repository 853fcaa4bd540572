"""The command line: what a finished run prints and leaves, and how bad input ends."""

from __future__ import annotations

import json
import re
import resource
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Finished
from small import ENVIRONMENT, PRIMUM, SETTINGS, STAGES, Done, complaint, primum, read
from tiny import tiny_policy

from primum.policy import save

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


# Bad input: one line, exit code 3, nothing left behind


@pytest.fixture(scope="session")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("little") / "model"
    save(tiny_policy(), folder)
    return folder


def source(path: Path, **settings: object) -> list[str]:
    """The settings for one file of benign prompts."""
    fixed = ["curate.world=files", "judge.harm=keyword", "judge.shared_with_reward=true", "reinforce.reward=keyword"]
    return [*fixed, f"curate.sources=[{json.dumps({'path': str(path), 'kind': 'benign', **settings})}]"]


def refused(cli: Cli, tmp_path: Path, *settings: str | Path) -> str:
    """Why the run was refused, once it is sure that nothing was left behind."""
    said = cli("run", *settings, "--output", tmp_path / "runs")
    assert said.returncode == 3, said.stderr
    assert said.stdout == ""
    assert not (tmp_path / "runs").exists()
    return complaint(said.stderr)


RECIPES = {
    "model=nowhere": "no such model folder (nowhere)",
    "distill.student=nowhere": "no such model folder (nowhere)",
    "model=tests": "no config.json in the model folder (tests)",
    "seed=many": "seed = 'many': Input should be a valid integer",
    "reinforce.steps=-1": "reinforce.steps = -1",
    "reinforce=3": "reinforce = 3",
    "reinforce.loss=ppo": "reinforce.loss = 'ppo': Input should be 'grpo', 'dr_grpo' or 'dapo'",
    "seed=[": "cannot read the value in 'seed=['",
    "curate.microworld.train=[H9]": "no harm category 'H9'",
    "curate.world=files": "the embedded model knows only the micro-world (model)",
    "judge.harm=classifier": "no classifier to judge harm with (judge.classifier)",
    "reinforce.reward=classifier": "no classifier for the reward (reward.classifier)",
    "reinforce.reward=praise": "no reward 'praise' (reinforce.reward)",
    "reinforce.reward=no_such_module:praise": "No module named 'no_such_module'",
    "reinforce.reward=json:praise": "module 'json' has no attribute 'praise'",
    "reinforce.reward=json:__name__": "'json:__name__' is no function",
    "nowhere.yaml": "no such recipe (nowhere.yaml)",
}


@pytest.mark.parametrize("setting", RECIPES)
def test_a_wrong_setting_is_one_line(cli: Cli, tmp_path: Path, setting: str) -> None:
    assert RECIPES[setting] in refused(cli, tmp_path, setting)


def test_two_recipes_or_one_that_is_none_are_refused(cli: Cli, tmp_path: Path) -> None:
    assert "two recipes, a.yaml and b.yaml" in refused(cli, tmp_path, "a.yaml", "b.yaml")
    for name, content in {"broken": b"seed: [1", "latin": b"model: caf\xe9", "list": b"- 1", "folder": None}.items():
        path = tmp_path / f"{name}.yaml"
        path.mkdir() if content is None else path.write_bytes(content)
        assert str(path) in refused(cli, tmp_path, path)


def test_a_reward_may_not_judge_itself_unless_it_is_said(cli: Cli, tmp_path: Path) -> None:
    same = ["judge.harm=keyword", "reinforce.reward=keyword"]
    assert "set judge.shared_with_reward=true" in refused(cli, tmp_path, *same)
    assert cli("run", *same, "judge.shared_with_reward=true", "--print-config").returncode == 0


def test_bad_data_is_named_with_its_place(cli: Cli, tmp_path: Path, little: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("question,reply\nwhat is tea ?,a drink\n")
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'{"prompt": "tea"}\n{"prompt": "caf\xe9"}\n')
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    model = f"model={little}"
    assert "no column 'prompt'" in refused(cli, tmp_path, model, *source(rows))
    assert "no column 'qestion' (" in refused(cli, tmp_path, model, *source(rows, columns={"prompt": "qestion"}))
    assert f"({empty}): give a file" in refused(cli, tmp_path, model, *source(empty))
    assert f"({bad}, line 2)" in refused(cli, tmp_path, model, *source(bad))
    assert "no such file" in refused(cli, tmp_path, model, *source(tmp_path / "absent.jsonl"))


def test_a_model_without_a_chat_template_or_with_torn_weights_is_refused(cli: Cli, tmp_path: Path, little: Path) -> None:
    bare, torn = (shutil.copytree(little, tmp_path / name) for name in ("bare", "torn"))
    (bare / "chat_template.jinja").unlink()
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert f"the model has no chat template ({bare})" in refused(cli, tmp_path, f"model={bare}")
    assert f"({torn})" in refused(cli, tmp_path, f"model={torn}")


def test_only_with_debug_does_bad_input_show_its_traceback(cli: Cli, tmp_path: Path) -> None:
    shown = cli("run", "model=nowhere", "--debug", "--output", tmp_path / "runs")
    assert shown.returncode == 3
    assert "Traceback" in shown.stderr
    assert shown.stderr.splitlines()[-1].startswith("primum: no such model folder")


def test_an_output_that_cannot_be_written_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", Path("/proc/primum")):
        said = cli("run", "--output", folder, "--name", "x")
        assert said.returncode == 3
        assert f"({folder / 'x'})" in complaint(said.stderr)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    command = [PRIMUM, "run", *SETTINGS, "--output", str(tmp_path), "--name", "x"]
    said = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, preexec_fn=small_files)
    assert said.returncode == 3, said.stderr
    assert complaint(said.stderr).endswith("free some space")
    assert [str(p) for p in tmp_path.rglob("*") if "part" in p.suffix or p.name == "policy"] == []
    assert (tmp_path / "x/1-curate/done").exists()


# Rewards of one's own

REWARDS = """
import math
calls = 0

def nothing(rollouts):
    return [math.nan] * len(rollouts)

def raises(rollouts):
    raise RuntimeError("no\\nreward today")

def short(rollouts):
    return [1.0]

def moody(rollouts):
    global calls
    calls += 1
    if calls % 3 == 0:
        raise KeyError("mood")
    return [None if i % 8 == 0 else float("inf") if i % 8 == 1 else len(r.reply) % 7 / 7 for i, r in enumerate(rollouts)]
"""


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nothing", "the reward left 100% of rollouts unscored (reinforce, step 2): mend the reward"),
        ("raises", "the reward left 100% of rollouts unscored (reinforce, step 2): mend the reward"),
        ("short", "the reward gave 1 numbers for 64 rollouts (rewards_of_mine:short): return one number for each"),
    ],
)
def test_a_reward_without_numbers_ends_the_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    (tmp_path / "rewards_of_mine.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    said = cli("run", *SETTINGS, "coldstart.epochs=1", f"reinforce.reward=rewards_of_mine:{name}", "--name", "x")
    assert said.returncode == 3
    assert complaint(said.stderr).startswith(line)
    assert ("the reward failed, its rollouts are unscored: RuntimeError: no reward today\n" in said.stderr) == (name == "raises")
    assert not (tmp_path / "runs/x/3-alone/done").exists()


def test_a_reward_that_fails_now_and_then_is_counted_and_gets_to_the_report(tmp_path: Path) -> None:
    (tmp_path / "rewards_of_mine.py").write_text(REWARDS)
    patient = ["reinforce.max_unscored=1", "second.max_unscored=1", "reinforce.reward=rewards_of_mine:moody"]
    said = primum("run", *SETTINGS, *patient, "--name", "x", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "the reward failed, its rollouts are unscored: KeyError: 'mood'" in said.stderr
    steps = [json.loads(line) for line in (tmp_path / "runs/x/3-reinforce/metrics.jsonl").read_text().splitlines()][1:]
    assert [step["unscored"] for step in steps] == [0.25, 0.25, 1.0]
    assert list(read(tmp_path / "runs/x/report.json")["arms"]) == ARMS


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
