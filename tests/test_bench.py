"""The bench: the same work in two processes by turns, ratios with honest intervals, and parity that a wrong engine fails."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from scipy import stats
from small import ENVIRONMENT, PRIMUM, Done, complaint, primum

from primum.bench import BenchConfig, bench_table
from primum.bench.ours import settings, shifted
from primum.bench.pairs import _Worker
from primum.bench.peer import gradients_apart
from primum.bench.ratios import ratio, t95
from primum.bench.work import make_policy, make_prompts, reward
from primum.config import load_recipe
from primum.policy import prompt_ids
from primum.types import BadInput

Cli = Callable[..., Done]
WORLD = str(Path(__file__).parents[1] / "src/primum/microworld/data/base")
SHORT = ("prompts=3", "group=4", "cap=12", "threads=1")
PARITY = ("parity_logprob", "parity_loss", "parity_grad", "parity_grad_angle")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the real command says of the tiny size against TRL."""
    said = primum("bench", "rl", "sizes=tiny", *SHORT, "steps=2", "repeats=2", "--against", "trl", "--json")
    assert (said.returncode, said.stderr) == (0, ""), said.stderr
    return json.loads(said.stdout)


# Against TRL


def test_both_engines_compute_the_same_on_the_same_rollouts(found: dict[str, Any]) -> None:
    row = found["sizes"]["tiny"]
    assert all(abs(row[key]) < 1e-4 for key in PARITY), row
    assert row["parity_logprob"] > 0  # two ways of computing, not one compared with itself


def test_every_ratio_is_theirs_over_ours_within_its_interval(found: dict[str, Any]) -> None:
    row = found["sizes"]["tiny"]
    ours, theirs = (row["engines"][engine] for engine in ("primum", "trl"))
    sides = {name: [[s[f"seconds_{name}"] for s in e["steps"]] for e in (theirs, ours)] for name in ("step", "sample", "update")}
    sides["memory"] = [theirs["peaks_mib"], ours["peaks_mib"]]
    assert {name: len(side) for name, (side, _) in sides.items()} == {"step": 4, "sample": 4, "update": 4, "memory": 2}
    for name, (a, b) in sides.items():
        value = row[f"ratio_{name}"]
        assert value["value"] == pytest.approx(math.prod(x / y for x, y in zip(a, b, strict=True)) ** (1 / len(a)))
        assert value["low"] < value["value"] < value["high"]
        assert value["n"] == len(a)


def test_both_engines_did_the_same_work_and_a_step_is_its_parts(found: dict[str, Any]) -> None:
    row = found["sizes"]["tiny"]
    embedding, attention, feed_forward, norms = 64 * 32, 4 * 32 * 32, 3 * 32 * 96, 32 + 32 + 32 + 32 + 32
    assert row["params"] == embedding + attention + feed_forward + norms
    ours, theirs = (row["engines"][engine]["steps"] for engine in ("primum", "trl"))
    assert [s["prompt_tokens"] for s in ours] == [s["prompt_tokens"] for s in theirs]
    assert len({s["prompt_tokens"] for s in ours}) == 4  # every step of both repeats has prompts of its own
    for step in (*ours, *theirs):
        assert step["rollouts"] == 3 * 4
        assert 12 <= step["completion_tokens"] <= 12 * 12
        assert step["seconds_step"] == pytest.approx(step["seconds_sample"] + step["seconds_update"])
        assert min(step["seconds_sample"], step["seconds_update"]) > 0
        assert 50 < step["peak_mib"] < 4000
    assert {e["threads"] for e in row["engines"].values()} == {1}


def test_the_table_says_what_the_json_says(found: dict[str, Any]) -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(bench_table(found))
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    row = found["sizes"]["tiny"]
    step = row["ratio_step"]
    assert f"tiny, ratio {step['value']:.1f}× [{step['low']:.1f}, {step['high']:.1f}]" in text
    assert f"tiny, trl {row['engines']['trl']['seconds_step']:.3g} {row['engines']['trl']['seconds_sample']:.3g}" in text
    assert f"n 4 steps; on the same rollouts the engines agree: log-probabilities to {row['parity_logprob']:.1g}" in text


@pytest.mark.slow
def test_a_model_of_ones_own_is_measured_through_its_own_template_and_end_tokens() -> None:
    said = primum("bench", "rl", f"model={WORLD}", *SHORT, "steps=1", "repeats=1", "--against", "trl", "--json")
    assert (said.returncode, said.stderr) == (0, ""), said.stderr
    found = json.loads(said.stdout)
    assert list(found["sizes"]) == ["model"]
    row = found["sizes"]["model"]
    assert all(abs(row[key]) < 1e-3 for key in PARITY), row
    assert row["ratio_memory"]["value"] > 0
    assert row["ratio_memory"]["low"] is row["ratio_memory"]["high"] is None  # one pair of processes tells no spread
    prompts = [row["engines"][engine]["prompt_tokens"] for engine in ("primum", "trl")]
    assert prompts[0] == prompts[1] > 40


def test_a_gradient_that_differs_is_told_by_its_length_and_its_direction() -> None:
    theirs = {"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}
    apart = gradients_apart(theirs, {name: 2 * x for name, x in theirs.items()})
    assert (apart["parity_grad"], apart["parity_grad_angle"]) == pytest.approx((1.0, 0.0))
    turned = gradients_apart(theirs, {"a": torch.tensor([-4.0]), "b": torch.tensor([3.0])})
    assert (turned["parity_grad"], turned["parity_grad_angle"]) == pytest.approx((math.sqrt(2), 1.0))
    assert math.isnan(gradients_apart(theirs, {})["parity_grad"])


def test_without_trl_the_way_to_get_it_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    said = cli("bench", "rl", "--against", "trl")
    assert said.returncode == 3
    assert complaint(said.stderr) == "TRL is not installed (--against trl): pip install 'trl>=1.16,<1.17'"


# The work


def test_the_made_up_model_and_prompts_are_the_yardsticks() -> None:
    config = BenchConfig(steps=2, prompts=8)
    policy = make_policy(config, "small")
    assert policy.stops == {1, *range(4, 17)}  # a fortieth of 512 words, and the end token
    prompts = make_prompts(config, "small", policy, repeat=0)
    assert len(prompts) == 3 * 8
    first = prompts[0].prompt.split()
    assert prompt_ids(policy, prompts[0]) == [int(word[1:]) + 4 for word in first]  # no template around it
    lengths = [len(e.prompt.split()) for e in prompts]
    assert 40 <= min(lengths) < 70 < 130 < max(lengths) <= 160
    assert all(256 <= int(word[1:]) < 508 for e in prompts for word in e.prompt.split())
    assert make_prompts(config, "small", policy, repeat=1) != prompts == make_prompts(config, "small", policy, repeat=0)
    other = make_policy(BenchConfig(), "small").model.state_dict()
    assert all(torch.equal(x, other[name]) for name, x in policy.model.state_dict().items())
    assert reward([0, 7, 8, 14, 13]) == 3.0


def test_our_engine_learns_as_trl_does_by_default() -> None:
    config = settings(BenchConfig(cap=32))
    assert (config.loss, config.scale, config.scale_floor, config.kl, config.learning_rate) == ("dapo", "std", 0.0, 0.0, 1e-5)
    assert config.clip_low == config.clip_high == 0.2
    assert config.limit_tokens == 32
    assert shifted([-1.0] * 6) == pytest.approx((-1.0, -0.9, -1.1, -0.6, -1.4, -1.0))


def test_a_prompt_that_leaves_no_room_for_a_completion_is_refused() -> None:
    config = BenchConfig(cap=400)
    policy = make_policy(config, "tiny")
    with pytest.raises(BadInput, match=r"a prompt of 1\d\d tokens and 400 more do not fit into the model's 512"):
        make_prompts(config, "tiny", policy, repeat=0)


@pytest.mark.parametrize(
    ("setting", "said"),
    [("sizes=tiny,tyni", "'tiny', 'small', 'large' or 'huge'"), ("sizes=", "sizes"), ("steps=0", "steps"), ("group=1", "group"),
     ("stepz=3", "mean 'steps'?"), ("precision=int8", "'float32' or 'bfloat16'"), ("model=/none", "no such model folder")],
)  # fmt: skip
def test_a_wrong_setting_is_one_line(cli: Cli, setting: str, said: str) -> None:
    answer = cli("bench", "rl", setting)
    assert answer.returncode == 3
    assert said in complaint(answer.stderr)


def test_sizes_are_names_with_commas_each_of_them_once() -> None:
    assert load_recipe(BenchConfig, None, ["sizes=small, large,small"]).rows == ("small", "large")
    assert load_recipe(BenchConfig, None, ["sizes=tiny", "model=here"]).rows == ("model",)


# The interval


def test_a_ratio_is_the_geometric_mean_with_students_interval_on_logarithms() -> None:
    found = ratio([8.0, 2.0], [1.0, 1.0])
    spread = 2**12.7062  # logarithms ln 4 ± ln 2, whose standard error is ln 2
    assert (found["value"], found["low"], found["high"]) == pytest.approx((4.0, 4 / spread, 4 * spread), rel=1e-4)
    assert ratio([6.0, 3.0, 1.5], [2.0, 1.0, 0.5]) == pytest.approx({"value": 3.0, "low": 3.0, "high": 3.0, "n": 3})
    assert ratio([0.0, 8.0], [2.0, 1.0]) == {"value": pytest.approx(8.0), "low": None, "high": None, "n": 1}
    assert ratio([0.0], [2.0]) == {"value": None, "low": None, "high": None, "n": 0}


def test_students_t_is_scipys() -> None:
    for freedom in range(1, 61):
        assert t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.002)


# Processes


def children(parent: int) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except FileNotFoundError:
        return []


def wait_for(true: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (value := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return value


def gone(pid: int) -> bool:
    """Whether the process has ended, unburied ones included."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds children in /proc")
@pytest.mark.parametrize(
    ("sign", "whom", "code", "said"),
    [(signal.SIGKILL, "worker", 3, "killed by signal 9"), (signal.SIGINT, "bench", 130, "stopped"),
     (signal.SIGKILL, "bench", -9, "")],
    ids=["a worker dies", "Ctrl-C", "the bench dies"],
)  # fmt: skip
def test_whatever_ends_the_bench_leaves_no_process_behind(sign: int, whom: str, code: int, said: str, tmp_path: Path) -> None:
    command = [PRIMUM, "bench", "rl", "sizes=tiny", *SHORT, "steps=1000", "--json"]
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path)}
    bench = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    try:
        (worker,) = wait_for(lambda: children(bench.pid))
        os.kill(worker if whom == "worker" else bench.pid, sign)
        _, errors = bench.communicate(timeout=60)
    finally:
        bench.kill()
    assert bench.returncode == code
    assert wait_for(lambda: gone(worker))
    if said:
        assert said in complaint(errors)
        assert not list(tmp_path.iterdir())


def test_a_process_that_crashes_is_told_by_what_it_said_last(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", "print('half a line', end='', flush=True); raise ValueError('no such thing')"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    with pytest.raises(BadInput, match="the process of trl ended, exit code 1, ValueError: no such thing") as caught:
        _Worker("trl", "tiny", process, log).listen()
    assert "Traceback" in str(caught.value.__cause__)
    process.communicate()
