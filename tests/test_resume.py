"""A killed run goes on where it was: the same command ends in the same files as a run that was never killed."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Finished
from small import ENVIRONMENT, SETTINGS, STAGES, Done, complaint, content, done_marks, read

# A moment within each stage: the piece of a path, and before which file operation on such a path the kill comes.
# RL writes its state at the start and after each of three steps: an opening and a renaming, later also one of the state before.
# The sixth operation opens the second step's file; before the eighth the old state is aside and the new one not yet in its place.
MOMENTS = [
    ("small/1-curate/", 3),
    ("small/2-coldstart/metrics.jsonl", 2),
    ("small/3-reinforce/state", 8),
    ("small/4-refine/sft/accepted.json", 2),
    ("small/4-refine/sft/sft/metrics.jsonl", 1),
    ("small/4-refine/rl/state", 6),
    ("small/5-distill/sft/metrics.jsonl", 2),
    ("small/3-alone/state", 6),
    ("small/6-compare/rollouts-", 3),
]
Kill = tuple[str | None, str, int]


def killed(command: list[str], kills: list[Kill]) -> tuple[list[int], str]:
    """How each run of the command ended, and what all of them said."""
    plan = json.dumps({"arguments": command, "kills": kills})
    program = [sys.executable, str(Path(__file__).with_name("killed.py")), plan]
    said = subprocess.run(program, env=ENVIRONMENT, capture_output=True, text=True, timeout=1200)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout), said.stderr


def moved(small_run: Finished, output: Path) -> list[str]:
    """The command of the finished run, for another folder."""
    return ["run", *SETTINGS, "--output", str(output), "--name", small_run.path.name]


def test_a_run_killed_in_every_stage_ends_as_one_that_never_was(small_run: Finished, tmp_path: Path) -> None:
    kills: list[Kill] = [("SIGKILL", *moment) for moment in MOMENTS]
    ended, said = killed(moved(small_run, tmp_path), [*kills, (None, "small/", 0)])
    assert ended == [*[-9] * len(MOMENTS), 0], said
    ours, theirs = content(tmp_path / "small"), content(small_run.path)
    assert [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)] == []
    # No stage was gone through twice: each said that it was finished once.
    starts = (
        "curate",
        "cold start",
        "reinforce (3-alone)",
        "reinforce (3-reinforce)",
        "refine",
        "reinforce (4-refine)",
        "distill",
    )
    finished = Counter(line.partition(":")[0] for line in said.splitlines() if line.startswith(starts))
    assert len(finished) == 7
    assert set(finished.values()) == {1}


def test_reinforcement_learning_that_is_compared_was_no_standstill(small_run: Finished) -> None:
    for stage in ("3-alone", "3-reinforce", "4-refine/rl"):
        lines = content(small_run.path)[f"{stage}/metrics.jsonl"]
        assert [line["step"] for line in lines] == [0, 1, 2, 3]
        assert all(line["grad_norm"] > 0 for line in lines[1:])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_run_killed_at_any_three_moments_ends_as_one_that_never_was(small_run: Finished, tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed).sample(range(1, 420), 3)
    ended, said = killed(moved(small_run, tmp_path), [*(("SIGKILL", "small/", n) for n in moments), (None, "small/", 0)])
    assert set(ended) <= {-9, 0}, said
    assert ended[-1] == 0, said
    assert content(tmp_path / "small") == content(small_run.path), moments


@pytest.mark.slow
def test_an_arm_trained_beside_is_the_same(small_run: Finished, tmp_path: Path) -> None:
    command = [part for part in moved(small_run, tmp_path) if part != "threads=1"]
    ended, said = killed(command, [("SIGKILL", "small/4-refine/sft/accepted.json", 2), (None, "small/", 0)])
    assert ended == [-9, 0], said
    ours, theirs = content(tmp_path / "small"), content(small_run.path)
    assert ours.pop("config.json") == theirs.pop("config.json") | {"threads": 0}
    assert [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)] == []


def test_an_arm_trained_beside_dies_with_its_run(tmp_path: Path) -> None:
    command = ["run", *SETTINGS[1:], "reinforce.steps=500", "--output", str(tmp_path), "--name", "small"]
    assert SETTINGS[0] == "threads=1"
    assert killed(command, [("SIGKILL", "small/2-coldstart/metrics.jsonl", 1)])[0] == [-9]
    until = time.monotonic() + 20  # the arm takes longer than that, and looks for its parent five times a second
    while any(str(tmp_path) in line for line in running()):
        assert time.monotonic() < until
        time.sleep(0.1)


def running() -> list[str]:
    """The command line of every process, where the system shows them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_ctrl_c_leaves_one_line_and_a_run_that_resumes(small_run: Finished, tmp_path: Path) -> None:
    command = moved(small_run, tmp_path)
    interrupts: list[Kill] = [("SIGINT", "small/2-coldstart/metrics.jsonl", 2), ("SIGINT", "small/3-reinforce/state", 6)]
    ended, said = killed(command, interrupts)
    assert ended == [130, 130], said
    assert "Traceback" not in said
    assert said.count("primum: stopped; the same command goes on from here") == 2
    marks = done_marks(tmp_path / "small")
    assert list(marks) == ["1-curate/done", "2-coldstart/done"]
    steps = [json.loads(line)["step"] for line in (tmp_path / "small/3-reinforce/metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2]


def test_the_same_command_again_repeats_no_stage(small_run: Finished, cli: Callable[..., Done]) -> None:
    marks, before = done_marks(small_run.path), content(small_run.path)
    again = cli(*small_run.command)
    assert again.returncode == 0
    assert done_marks(small_run.path) == marks
    assert [mark for mark in marks if mark.count("/") == 1] == [f"{stage}/done" for stage in STAGES]
    assert content(small_run.path) == before
    assert again.stdout == small_run.said.stdout
    assert again.stderr == "every stage is finished: the report is written again\n"


def test_another_setting_in_the_same_directory_is_refused_by_name(small_run: Finished, cli: Callable[..., Done]) -> None:
    before = content(small_run.path)
    other = cli(*small_run.command, "reinforce.steps=4", "seed=9")
    assert other.returncode == 3
    said = complaint(other.stderr)
    assert "reinforce.steps: 3 → 4" in said
    assert "seed: 0 → 9" in said
    assert content(small_run.path) == before


def test_fresh_removes_nothing_before_the_new_settings_are_checked(tmp_path: Path, cli: Callable[..., Done]) -> None:
    run = tmp_path / "small"
    run.mkdir()
    (run / "config.json").write_text("{}")
    refused = cli("run", "--fresh", "model=nowhere", "--output", tmp_path, "--name", "small")
    assert (refused.returncode, (run / "config.json").exists()) == (3, True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    refused = cli("run", "--fresh", *SETTINGS, "--output", tmp_path, "--name", "other")
    assert (refused.returncode, (tmp_path / "other" / "thesis.txt").read_text()) == (3, "mine")
    assert read(run / "config.json") == {}
