"""Bad input ends in one line and exit code 3, with nothing half-written; a reward of one's own may fail."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from small import ENVIRONMENT, PRIMUM, SETTINGS, Done, complaint, primum, read
from tiny import tiny_policy

from primum.policy import save

Cli = Callable[..., Done]


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
    "reinforce.loss=ppo": "reinforce.loss = 'ppo': Input should be 'grpo', 'dr_grpo', 'dapo', 'gspo', 'cispo', 'rloo' or",
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
        ("nothing", "the reward left 100% of rollouts unscored on "),
        ("raises", "the reward left 100% of rollouts unscored on "),
        ("short", "the reward gave 1 numbers for 32 rollouts (rewards_of_mine:short): return one number for each"),
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


@pytest.mark.slow
def test_a_reward_that_fails_now_and_then_is_counted_and_gets_to_the_report(tmp_path: Path) -> None:
    (tmp_path / "rewards_of_mine.py").write_text(REWARDS)
    patient = ["reinforce.max_unscored=1", "second.max_unscored=1", "reinforce.reward=rewards_of_mine:moody", "watch.every=0"]
    said = primum("run", *SETTINGS, *patient, "--name", "x", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "the reward failed, its rollouts are unscored: KeyError: 'mood'" in said.stderr
    steps = [json.loads(line) for line in (tmp_path / "runs/x/3-reinforce/metrics.jsonl").read_text().splitlines()][1:]
    assert [step["unscored"] for step in steps] == [0.25, 0.25, 1.0]
    assert list(read(tmp_path / "runs/x/report.json")["arms"])[-1:] == ["distilled"]
