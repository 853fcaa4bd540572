"""Every task once, as soon as it can be, whatever dies: in this process and in several."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from rich.console import Console
from study_tasks import calls

from primum.run import Run
from primum.study import Failure, Outcome, Task, run_tasks
from primum.study.processes import Processes
from primum.study.schedule import _Board
from primum.types import BadInput

BOTH = pytest.mark.parametrize("workers", [1, 2], ids=["here", "processes"])


def task(function: str, needs: dict[str, Task] | None = None, label: str = "", gpus: float = 0, **settings: Any) -> Task:
    return Task(f"study_tasks:{function}", settings, needs or {}, label, gpus)


def arms(**settings: Any) -> list[Task]:
    """Two arms that begin with the same small net."""
    shared = task("prefix", steps=20, label="prefix")
    return [task("arm", {"policy": shared}, steps=20, rate=rate, label=f"arm {rate}", **settings) for rate in (0.02, 0.1)]


def done(wanted: list[Task], path: Path, heard: StringIO | None = None, **options: Any) -> Outcome:
    run = Run(path / "run", Console(file=heard or StringIO(), width=1000))
    return run_tasks(wanted, path / "store", run, **{"workers": 1, **options})


def began(path: Path, *tasks: Task) -> list[int]:
    """How often each task was begun."""
    return [len(calls(path / "store" / one.name)) for one in tasks]


def wait_for(true: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_same_numbers_here_and_in_processes_and_a_shared_prefix_once(tmp_path: Path) -> None:
    wanted = arms()
    torch.manual_seed(5)  # the caller's random numbers are not the tasks'
    random.seed(5)
    here = done(wanted, tmp_path / "here")
    apart = done(wanted, tmp_path / "apart", workers=2)
    assert here.results == apart.results
    assert list(here.results) == [wanted[0].needs["policy"].digest, *(one.digest for one in wanted)]
    first, second = (here.results[one.digest] for one in wanted)
    assert first["loss"] != second["loss"]
    assert first["threads"] == 1
    for path in (tmp_path / "here", tmp_path / "apart"):
        assert began(path, wanted[0].needs["policy"], *wanted) == [1, 1, 1]
    processes = {calls(tmp_path / "apart/store" / one.name)[0] for one in (wanted[0].needs["policy"], *wanted)}
    assert len(processes) == 3
    assert os.getpid() not in processes
    assert calls(tmp_path / "here/store" / wanted[0].name) == [os.getpid()]


def test_the_callers_threads_are_left_as_they_were(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert done([task("around", threads=3)], tmp_path).results.popitem()[1]["threads"] == 3
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@BOTH
def test_what_is_done_is_read_by_later_calls_and_other_experiments(tmp_path: Path, workers: int) -> None:
    base = task("add", number=1)
    first = done([base], tmp_path, workers=workers)
    top = task("add", {"policy": base}, number=5)
    heard = StringIO()
    found = done([top], tmp_path, heard, workers=workers)
    assert found.results[top.digest]["sum"] == 6
    assert found.results[base.digest] == first.results[base.digest]
    assert first.results[base.digest]["nan"] is None
    assert done([top, base], tmp_path).results == found.results
    assert began(tmp_path, base, top) == [1, 1]
    assert heard.getvalue().startswith(f"2/2 {top.name}: 0.")


def test_the_folder_tells_what_was_done(tmp_path: Path) -> None:
    base = task("add", number=1)
    top = task("add", {"policy": base}, number=5, label="the top")
    done([top], tmp_path)
    kept = json.loads((tmp_path / "store" / top.name / "task.json").read_text())
    assert kept.pop("git")
    assert kept == {"does": "study_tasks:add", "settings": {"number": 5}, "needs": {"policy": base.name}, "label": "the top"}
    assert json.loads((tmp_path / "store" / top.name / "result.json").read_text())["sum"] == 6


def test_half_of_a_task_is_left_for_it_and_no_result_is_no_result(tmp_path: Path) -> None:
    one = task("fail", times=1, how="raise")
    folder = tmp_path / "store" / one.name
    folder.mkdir(parents=True)
    (folder / "calls").write_text("1\n")  # from a process that was killed
    (folder / "result.json.part").write_text('{"sum"')
    assert done([one], tmp_path, retries=0).results[one.digest] == {"sum": 7}
    assert began(tmp_path, one) == [2]


@BOTH
def test_a_task_that_fails_once_is_tried_again(tmp_path: Path, workers: int) -> None:
    one, heard = task("fail", times=1, how="raise", label="the one"), StringIO()
    found = done([one], tmp_path, heard, workers=workers)
    assert found.results[one.digest] == {"sum": 7}
    assert found.failures == []
    assert "the one: ValueError: no root of -1; once more" in heard.getvalue()
    assert not (tmp_path / "store" / one.name / "error.txt").exists()


@BOTH
def test_a_failure_and_what_needs_it_are_reported_and_all_else_goes_on(tmp_path: Path, workers: int) -> None:
    bad = task("fail", times=9, how="raise", label="bad")
    above = task("add", {"policy": bad, "other": task("add", number=3)}, number=1, label="above")
    top = task("add", {"policy": above}, number=1)
    good = task("add", number=2)
    heard = StringIO()
    found = done([top, good], tmp_path, heard, workers=workers, retries=2)
    assert found.failures == [
        Failure("bad", bad.name, "ValueError: no root of -1", 3),
        Failure("above", above.name, "needs bad, which failed", 0),
        Failure(top.name, top.name, "needs above, which failed", 0),
    ]
    assert sorted(result["sum"] for result in found.results.values()) == [2, 3]
    assert began(tmp_path, bad, above, top, good) == [3, 0, 0, 1]
    assert 'raise ValueError("no root' in (tmp_path / "store" / bad.name / "error.txt").read_text()
    assert "5/5" in heard.getvalue()
    assert "6/5" not in heard.getvalue()


@BOTH
@pytest.mark.parametrize(("how", "error"), [("exit", "SystemExit: 4"), ("list", "TypeError: study_tasks:fail returned list")])
def test_an_exit_and_a_result_that_is_none_fail_the_task_only(tmp_path: Path, workers: int, how: str, error: str) -> None:
    found = done([task("fail", times=9, how=how), task("add", number=1)], tmp_path, workers=workers, retries=0)
    assert len(found.results) == 1
    assert found.failures[0].error.startswith(error)


def test_a_function_that_is_not_there_fails_its_task(tmp_path: Path) -> None:
    found = done([Task("study_tasks:nothing", {}), Task("no_such_module:f", {})], tmp_path, workers=2)
    assert [failure.error.partition(":")[0] for failure in found.failures] == ["AttributeError", "ModuleNotFoundError"]


def test_a_killed_process_costs_one_try_of_one_task(tmp_path: Path) -> None:
    killed, beside = task("fail", times=1, how="kill", wait_seconds=0.5), task("add", number=1, wait_seconds=2)
    heard = StringIO()
    found = done([killed, beside], tmp_path, heard, workers=2)
    assert found.results[killed.digest] == {"sum": 7}
    assert began(tmp_path, killed, beside) == [2, 1]
    assert "its process died (signal 9, Killed); once more" in heard.getvalue()
    always = task("fail", times=9, how="kill")
    assert done([always], tmp_path, workers=2).failures == [
        Failure(always.name, always.name, "its process died (signal 9, Killed)", 2)
    ]


@BOTH
def test_bad_input_ends_everything_with_its_line_and_is_not_tried_again(tmp_path: Path, workers: int) -> None:
    bad, long = task("fail", times=9, how="bad", wait_seconds=1), task("add", number=1, wait_seconds=1000)
    with pytest.raises(BadInput, match=r"^no such model \(x/y\): name a folder$"):
        done([bad, long], tmp_path, workers=workers)
    assert began(tmp_path, bad, long) == [1, workers - 1]
    assert not [process for process in calls(tmp_path / "store" / long.name) if lives(process)]


def test_what_most_need_goes_first_then_the_earliest_wanted(tmp_path: Path) -> None:
    lone = [task("add", number=n) for n in (1, 2)]
    base = task("add", number=3)
    above = [task("add", {"policy": base}, number=n) for n in (4, 5)]
    found = done([lone[0], above[1], lone[1], above[0]], tmp_path)
    assert list(found.results) == [one.digest for one in (lone[0], base, above[1], lone[1], above[0])]  # as needed, not as done
    first = sorted(found.results, key=lambda digest: found.results[digest]["begun"])
    assert first == [one.digest for one in (base, lone[0], above[1], lone[1], above[0])]


def test_as_many_run_at_once_as_there_are_slots(tmp_path: Path) -> None:
    found = done([task("add", number=n, wait_seconds=1) for n in range(5)], tmp_path, workers=2)
    edges = [(r["begun"], 1) for r in found.results.values()] + [(r["ended"], -1) for r in found.results.values()]
    steps = [step for _, step in sorted(edges)]
    assert max(sum(steps[:n]) for n in range(len(steps) + 1)) == 2


def test_a_task_starts_as_soon_as_its_own_needs_are_done(tmp_path: Path) -> None:
    slow, quick = task("add", number=1, wait_seconds=4), task("add", number=2)
    after = task("add", {"policy": quick}, number=3)
    found = done([slow, after], tmp_path, workers=2)
    assert found.results[after.digest]["ended"] < found.results[slow.digest]["ended"]


def test_processes_have_the_callers_folder_and_variables_and_their_words_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRIMUM_SAID", "so")
    one, two = task("around"), task("fail", times=9, how="kill")
    path = Path()  # a relative store
    found = done([one, two], path, workers=2, retries=0)
    result = found.results[one.digest]
    assert (result["folder"], result["PRIMUM_SAID"], result["threads"]) == (str(tmp_path), "so", 1)
    assert result["given"] == str(tmp_path / "store" / one.name)
    assert capfd.readouterr() == ("", "")
    again = done([task("fail", times=9, how="print")], path, workers=2, retries=0)
    assert (path / "store" / again.failures[0].name / "output.txt").exists()
    # A task may empty its folder: what it was is written again, and no lock is lost.
    assert (path / "store" / one.name / "task.json").exists()
    assert (path / "store/.locks" / one.name).exists()


def gpu_tasks(path: Path, slots: Processes, gpus: list[float]) -> tuple[list[str], float]:
    """What CUDA_VISIBLE_DEVICES was for tasks that ask so much and take 1 s, 1.5 s, …, and how long all took."""
    tasks = [task("around", number=n, wait_seconds=1 + n / 2, gpus=share) for n, share in enumerate(gpus)]
    outcome, begun, advanced = Outcome(), time.monotonic(), list[int]()
    try:
        _Board(tasks, tasks, outcome, 0, Run(path, Console(quiet=True)), advanced.append, path).work_off(slots)
    finally:
        slots.stop()
    assert sum(advanced) == len(tasks)
    return [outcome.results[one.digest]["CUDA_VISIBLE_DEVICES"] for one in tasks], time.monotonic() - begun


@pytest.mark.slow
def test_gpus_are_given_in_turn_and_no_more_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,9")
    found, _ = gpu_tasks(tmp_path / "a", Processes(4, gpus=["7", "9"]), [1, 1, 0])
    assert found == ["7", "9", "7,9"]
    found, seconds = gpu_tasks(tmp_path / "b", Processes(4, gpus=["7"]), [1, 1, 1])
    assert found == ["7"] * 3
    assert seconds >= 4.5
    found, _ = gpu_tasks(tmp_path / "c", Processes(4, gpus=["7", "9"]), [0.5, 0.5, 0.5, 0.5])
    assert sorted(found) == ["7", "7", "9", "9"]
    found, _ = gpu_tasks(tmp_path / "f", Processes(4, gpus=["7", "9"]), [0.5, 0.5])
    assert sorted(found) == ["7", "9"]
    found, _ = gpu_tasks(tmp_path / "e", Processes(4, gpus=["7"]), [0.3, 0.1, 1])  # 1 - 0.3 - 0.1 + 0.3 + 0.1 < 1 in floats
    assert found == ["7"] * 3
    found, _ = gpu_tasks(tmp_path / "d", Processes(4, gpus=["7", "9"]), [4])
    assert found == ["7,9"]


def test_where_there_is_no_gpu_who_asks_for_one_runs_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_tasks(tmp_path, Processes(2), [1, 1])[0] == ["", ""]


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_schedule import *
print(len(done({wanted}, Path({path!r}), workers={workers}{more}).results), flush=True)
"""  # no `if __name__ == "__main__"`: processes do not begin with the program that asked for them


def begin(wanted: str, path: Path, workers: int, more: str = "") -> subprocess.Popen[str]:
    """A program of its own that runs tasks."""
    text = SCRIPT.format(tests=str(Path(__file__).parent), wanted=wanted, path=str(path), workers=workers, more=more)
    script = path.parent / f"script-{uuid.uuid4().hex}.py"
    script.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stopped_run_leaves_no_process_and_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "run"
    first, long, family = task("add", number=1), task("fail", how="wait", times=1, wait_seconds=1000), task("parent")
    wanted = "[task('add', number=1), task('fail', how='wait', times=1, wait_seconds=1000), task('parent')]"
    running = begin(wanted, path, 2)
    folders = [path / "store" / one.name for one in (first, long, family)]
    wait_for(lambda: (folders[0] / "result.json").exists() and calls(folders[1]) and (folders[2] / "child").exists())
    wait_for(lambda: (folders[2] / "child").read_text())
    started = [calls(folders[1])[0], calls(folders[2])[0], int((folders[2] / "child").read_text())]
    children = {*started, *(child.pid for child in psutil.Process(running.pid).children(recursive=True))}
    assert all(lives(process) for process in started)
    running.send_signal(how)
    running.wait(60)
    wait_for(lambda: not [child for child in children if lives(child)], 30)
    if how == signal.SIGINT:
        assert "KeyboardInterrupt" in (running.stderr.read() if running.stderr else "")
    found = done([first, long], path, workers=2)
    assert found.results[long.digest] == {"sum": 7}
    assert began(path, first, long) == [1, 2]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["here", "processes"])
def test_two_runs_at_once_share_what_they_both_want(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "run"
    shared = task("add", number=1, wait_seconds=3)
    text = "task('add', number=1, wait_seconds=3)"
    runs = [begin(f"[{text}, task('add', {{'a': {text}}}, number={n})]", path, workers) for n in (2, 3)]
    assert [run.communicate(timeout=120)[0] for run in runs] == ["2\n", "2\n"]
    own = task("add", {"a": shared}, number=2)
    assert began(path, shared, own) == [1, 1]
    assert done([own], path).results[own.digest]["sum"] == 3
