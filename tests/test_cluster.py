"""Tasks over Ray: two nodes on this machine, of which workers and one node die."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from study_tasks import calls
from test_schedule import arms, began, begin, done, lives, task, wait_for

import primum
from primum.study import Failure, Outcome
from primum.types import BadInput

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes with a core each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    try:
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        yield cluster
    finally:
        cluster.shutdown()


def over(nodes: Any, wanted: list[Any], path: Path, heard: StringIO | None = None, **options: Any) -> Outcome:
    try:
        return done(wanted, path, heard, cluster=nodes.address, workers=0, **options)
    finally:
        assert not ray.is_initialized()
        assert not list((path / "store").glob(".seen*"))


def test_two_nodes_give_the_numbers_of_this_process_and_do_a_shared_prefix_once(
    tmp_path: Path, nodes: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = arms(wait_seconds=2)
    found = over(nodes, wanted, tmp_path / "ray")
    assert found.results == done(wanted, tmp_path / "here").results
    assert began(tmp_path / "ray", wanted[0].needs["policy"], *wanted) == [1, 1, 1]
    processes = [calls(tmp_path / "ray/store" / one.name)[0] for one in wanted]
    assert len({process for process in processes if process != os.getpid()}) == 2  # at the same time, a core of each node
    assert capfd.readouterr().out == ""


def test_failures_are_tried_again_and_reported_and_all_else_goes_on(
    tmp_path: Path, nodes: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    bad, once = task("fail", times=9, how="raise", label="bad"), task("fail", times=1, how="kill", label="once")
    above, heard = task("add", {"policy": bad}, number=1, label="above"), StringIO()
    found = over(nodes, [above, once], tmp_path, heard)
    assert found.failures == [
        Failure("bad", bad.name, "ValueError: no root of -1", 2),
        Failure("above", above.name, "needs bad, which failed", 0),
    ]
    assert found.results == {once.digest: {"sum": 7}}
    assert began(tmp_path, bad, above, once) == [2, 0, 2]
    assert "once: its process died (WorkerCrashedError" in heard.getvalue()
    assert capfd.readouterr().out == ""  # Ray would print there that a worker died


def test_killing_a_worker_loses_nothing(tmp_path: Path, nodes: Any) -> None:
    first, long = task("add", number=1), task("fail", times=1, how="wait", wait_seconds=1000)
    top = task("add", {"policy": long, "other": first}, number=1)
    folder = tmp_path / "store" / long.name

    def kill() -> None:
        wait_for(lambda: calls(folder))
        os.kill(calls(folder)[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = over(nodes, [top], tmp_path)
    killer.join()
    assert found.failures == []
    assert found.results[top.digest]["sum"] == 9
    assert began(tmp_path, first, long, top) == [1, 2, 1]


@pytest.mark.slow
def test_a_node_that_goes_loses_nothing(tmp_path: Path, nodes: Any) -> None:
    quick = task("add", number=1)
    wanted = [task("fail", times=1, how="wait", number=n, wait_seconds=8) for n in range(2)]
    top = task("add", {"a": wanted[0], "b": wanted[1], "c": quick}, number=1)
    leaving, heard = next(iter(nodes.worker_nodes)), StringIO()

    def leave() -> None:
        wait_for(lambda: all(calls(tmp_path / "store" / one.name) for one in wanted))
        nodes.remove_node(leaving, allow_graceful=False)

    remover = threading.Thread(target=leave)
    remover.start()
    try:
        found = over(nodes, [top], tmp_path, heard, retries=2)
    finally:
        remover.join()
        nodes.add_node(num_cpus=1, object_store_memory=80_000_000)
    assert found.failures == []
    assert heard.getvalue().count("its process died") == 1
    assert found.results[top.digest]["sum"] == 16
    assert began(tmp_path, quick, top) == [1, 1]


@pytest.mark.slow
def test_bad_input_ends_everything_with_its_line(tmp_path: Path, nodes: Any) -> None:
    bad, long = task("fail", times=9, how="bad", wait_seconds=5), task("add", number=1, wait_seconds=1000)
    with pytest.raises(BadInput, match=r"^no such model \(x/y\): name a folder$"):
        over(nodes, [bad, long], tmp_path)
    assert began(tmp_path, bad, long) == [1, 1]
    wait_for(lambda: not [process for process in calls(tmp_path / "store" / long.name) if lives(process)], 30)


def test_a_store_that_is_lost_on_the_way_ends_it_and_names_the_node(tmp_path: Path, nodes: Any) -> None:
    one = task("add", number=1, wait_seconds=1)
    above = task("add", {"a": one}, number=1)

    def lose() -> None:
        wait_for(lambda: calls(tmp_path / "store" / one.name))
        for proof in (tmp_path / "store").glob(".seen*"):
            proof.unlink()

    loser = threading.Thread(target=lose)
    loser.start()
    with pytest.raises(BadInput, match=f"does not see .*{tmp_path}/store on node .*a file system that all nodes share"):
        over(nodes, [above], tmp_path)
    loser.join()
    assert began(tmp_path, one, above) == [1, 0]


def may_mount() -> bool:
    """Whether this system lets us make a node that sees other files."""
    command = ["unshare", "--mount", "true"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def third_node(nodes: Any, before: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Another node, started by a shell after `before`."""
    ray_command = Path(sys.executable).parent / "ray"
    start = f"{ray_command} start --address={nodes.address} --num-cpus=1 --object-store-memory=80000000 --block"
    shell = ["unshare", "--mount", "sh", "-c"] if before else ["sh", "-c"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    node = subprocess.Popen([*shell, f"{before or 'true'} && exec {start}"], env={**os.environ, **(environment or {})}, **silent)
    try:
        wait_for(lambda: node.poll() is not None or len(alive(nodes)) == 3)
        yield
    finally:
        for process in [*psutil.Process(node.pid).children(recursive=True), node]:
            process.kill()
        node.wait()
        wait_for(lambda: len(alive(nodes)) == 2)


@pytest.mark.slow
@pytest.mark.skipif(not may_mount(), reason="needs the right to mount")
def test_a_node_that_sees_another_folder_is_named_before_anything_runs(tmp_path: Path, nodes: Any) -> None:
    (tmp_path / "store").mkdir()
    one = task("add", number=1)
    with (
        third_node(nodes, f"mount -t tmpfs none {tmp_path}/store"),
        pytest.raises(BadInput, match=f"does not see .*{tmp_path}/store on node"),
    ):
        over(nodes, [one], tmp_path)
    assert began(tmp_path, one) == [0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "line"), [("x = 1", "another primum"), ("raise ImportError", "cannot run primum, .*ImportError")]
)
def test_a_node_with_other_code_is_refused(tmp_path: Path, nodes: Any, change: str, line: str) -> None:
    shutil.copytree(Path(primum.__file__).parent, tmp_path / "other/primum")
    with (tmp_path / "other/primum/__init__.py").open("a") as out:
        out.write(change)
    one = task("add", number=1)
    with third_node(nodes, "", {"PYTHONPATH": str(tmp_path / "other")}), pytest.raises(BadInput, match=line):
        over(nodes, [one], tmp_path)
    assert began(tmp_path, one) == [0]


def alive(nodes: Any) -> list[Any]:
    return [node for node in nodes.global_state.node_table() if node["Alive"]]


@pytest.mark.slow
def test_stopping_a_cluster_of_its_own_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run"
    first, long = task("add", number=1), task("fail", how="wait", times=1, wait_seconds=1000)
    running = begin("[task('add', number=1), task('fail', how='wait', times=1, wait_seconds=1000)]", path, 2, ", cluster='local'")
    wait_for(lambda: (path / "store" / first.name / "result.json").exists() and calls(path / "store" / long.name))
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) > 3
    running.send_signal(signal.SIGINT)
    said, wrong = running.communicate(timeout=60)
    assert (said, wrong.count("KeyboardInterrupt")) == ("", 1)
    wait_for(lambda: not [child for child in children if lives(child.pid)], 60)
    found = done([first, long], path, cluster="local", workers=2)
    assert found.results[long.digest] == {"sum": 7}
    assert began(path, first, long) == [1, 2]
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("nonsense", "no address of a Ray cluster, which is HOST:PORT"),
        ("ray://host:10001", "no address of a Ray cluster, which is HOST:PORT"),
        ("127.0.0.1:1", "no Ray cluster to join, Connection refused (127.0.0.1:1): start one with"),
    ],
)
def test_an_address_where_no_cluster_answers_is_bad_input(tmp_path: Path, address: str, line: str) -> None:
    out = sys.stdout
    with pytest.raises(BadInput) as caught:
        done([task("add", number=1)], tmp_path, cluster=address)
    assert str(caught.value).startswith(line)
    assert sys.stdout is out


def test_without_ray_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from pathlib import Path
from primum.run import Run
from primum.study import Task, run_tasks
try:
    run_tasks([Task("m:f", {{}})], Path({str(tmp_path / "store")!r}), Run(Path({str(tmp_path / "run")!r})), cluster="local")
except Exception as error:
    print(type(error).__name__, error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said == "BadInput a cluster needs Ray (extra cluster): pip install 'primum[cluster]'\n"
