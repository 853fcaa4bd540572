"""Tasks over a Ray cluster, one started here or one that runs; the store is a folder that all its nodes see."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import socket
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primum.run import write_text
from primum.study.processes import cores
from primum.study.work import Ended, Work, carry_out
from primum.types import BadInput

LOCAL, AUTO = "local", "auto"
OBJECT_STORE_BYTES = 100_000_000  # results are small JSON: what is big lies in the store
ANSWER_SECONDS = 5.0
CHECK_SECONDS = 60.0  # for a node to start a worker and look into the store
ROUND_SECONDS = 5.0  # after which nodes that have joined are seen
STOP_SECONDS = 10.0
REMEDY = "give an output folder on a file system that all nodes share"


@dataclass(frozen=True)
class Place:
    """What a node must know: a file whose text proves that it sees the store, and where to find modules."""

    proof: Path
    token: str
    folder: Path
    paths: tuple[str, ...]


class Cluster:
    """Slots of a Ray cluster: as many as it has cores, at most `workers` where that is not 0; GPUs as tasks ask.

    A task whose worker or node dies has ended with that error; Ray itself tries nothing again.
    """

    def __init__(self, address: str, store: Path, workers: int = 0) -> None:
        self.ray = _ray()
        self.workers = workers
        self.running: dict[Any, Work] = {}
        self.place = Place(store / f".seen-{uuid.uuid4().hex}", uuid.uuid4().hex, Path.cwd(), tuple(sys.path))
        self.looked, self.resources = 0.0, (0.0, 0.0, 0.0)
        self.mine = not self.ray.is_initialized()
        self.out, sys.stdout = sys.stdout, _WithoutRay(sys.stdout)
        try:
            if self.mine:
                _join(self.ray, address, workers)
            write_text(self.place.proof, self.place.token)
            self._check(None if address == LOCAL else _code())
        except BaseException:
            self.stop()
            raise

    def room(self, work: Work) -> bool:
        cpus, gpus, _ = self._resources()
        taken = sum(self._gpus(other) for other in self.running.values())
        most = max(1.0, min(cpus, self.workers or cpus))  # one may wait where there is none: a cluster may grow for it
        return len(self.running) < most and self._gpus(work) <= gpus - taken

    def start(self, work: Work) -> None:
        remote = self.ray.remote(_do).options(num_cpus=1, num_gpus=self._gpus(work), max_retries=0, name=work.label or work.name)
        self.running[remote.remote(work, self.place)] = work

    def ended(self) -> list[Ended]:
        ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=ROUND_SECONDS)
        return [self._end(reference) for reference in ready]

    def stop(self) -> None:
        try:
            for reference in self.running:
                self.ray.cancel(reference, force=True)
            if self.running:
                self.ray.wait(list(self.running), num_returns=len(self.running), timeout=STOP_SECONDS)
            self.place.proof.unlink(missing_ok=True)
        finally:
            if self.mine:
                self.ray.shutdown()
            sys.stdout = self.out

    def _end(self, reference: Any) -> Ended:
        work = self.running.pop(reference)
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self.looked = 0.0  # a node may be gone
            return Ended(work.digest, error=f"its process died ({type(error).__name__}: {_line(error)})")

    def _resources(self) -> tuple[float, float, float]:
        """Cores and GPUs of the cluster, and the GPUs of the node that has most."""
        if time.monotonic() - self.looked > ROUND_SECONDS:
            alive = [node["Resources"] for node in self._nodes()]
            gpus = [resources.get("GPU", 0.0) for resources in alive]
            self.resources = sum(resources.get("CPU", 0.0) for resources in alive), sum(gpus), max(gpus, default=0.0)
            self.looked = time.monotonic()
        return self.resources

    def _gpus(self, work: Work) -> float:
        """What to ask of Ray: no more than a node has, or the task would wait for ever; whole GPUs above one."""
        wanted = work.gpus if work.gpus <= 1 else float(round(work.gpus))
        return min(wanted, self._resources()[2])

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _check(self, code: tuple[str, str] | None) -> None:
        """Bad input unless every node that lives sees the store, may write there and has this code."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Pinned

        asked = {}
        for node in self._nodes():
            here = Pinned(node["NodeID"], soft=False)
            look = self.ray.remote(_join_in).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
            asked[node["NodeID"]] = look.remote(self.place, code)
        for identity, reference in asked.items():
            try:
                wrong = self.ray.get(reference, timeout=CHECK_SECONDS)
            except self.ray.exceptions.RayError as error:
                wrong = f"node {identity[:8]} cannot run primum, {_line(error)}"
                if identity not in {node["NodeID"] for node in self._nodes()}:
                    continue  # it left while it was asked
            if wrong:
                raise BadInput(wrong)


def _do(work: Work, place: Place) -> Ended:
    """On a node: a task, once the store is known to be the one that the others see."""
    wrong = _look(place)
    if wrong:
        return Ended(work.digest, error=wrong, bad=True)
    sys.path.extend(path for path in place.paths if path not in sys.path)
    if place.folder.is_dir():
        os.chdir(place.folder)
    return carry_out(work)


def _join_in(place: Place, code: tuple[str, str] | None) -> str:
    """What is wrong with a node before anything runs; nothing where all is well."""
    if code and _code() != code:
        remedy = "install the same versions on every node"
        return str(BadInput("this node has another primum or another torch", f"node {platform.node()}", remedy))
    return _look(place)


def _look(place: Place) -> str:
    """What is wrong with the store as this node sees it; nothing where all is well."""
    where = f"{place.proof.parent} on node {platform.node()}"
    try:
        seen = place.proof.read_text(encoding="utf-8")
        trial = place.proof.with_name(f"{place.proof.name}-{uuid.uuid4().hex}")
        trial.touch()
        trial.unlink()
    except OSError as error:
        what = f"this node does not see the results' folder, or may not write there, {error.strerror}"
        return str(BadInput(what, where, REMEDY))
    return "" if seen == place.token else str(BadInput("this node sees another folder", where, REMEDY))


def _code() -> tuple[str, str]:
    """A hash of this package's source and the version of torch: what the same numbers need."""
    import torch

    import primum

    root = Path(primum.__file__).parent
    sources = sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix())
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest(), str(torch.__version__)


class _WithoutRay:
    """Standard output less what Ray's listener prints there (that a worker died): it belongs to what the command prints."""

    def __init__(self, out: Any) -> None:
        self.out = out

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name.startswith("ray_") else self.out.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.out, name)


def _join(ray: Any, address: str, workers: int) -> None:
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == LOCAL:
        ray.init(
            address=LOCAL,
            num_cpus=workers or cores(),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **quiet,
        )
        return
    remedy = "start one with `ray start --head` and give its HOST:PORT, or say local"
    named = os.environ.get("RAY_ADDRESS", "") if address == AUTO else address
    host, _, port = named.rpartition(":")
    if named and not (host.strip("[]") and port.isdigit() and "/" not in host):
        raise BadInput("no address of a Ray cluster, which is HOST:PORT", named, remedy)
    try:
        if named:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()  # Ray itself asks for minutes
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror or "no answer" if isinstance(error, OSError) else _line(error)
        raise BadInput(f"no Ray cluster to join, {why}", named or address, remedy) from None


def _ray() -> Any:
    """The module, told to phone nobody; bad input where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as it will be; unset, it warns
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise BadInput("a cluster needs Ray", "extra cluster", "pip install 'primum[cluster]'") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def _line(error: BaseException) -> str:
    """One line of an error of Ray: the last of a traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1] if any("Traceback" in line or line.startswith("ray::") for line in lines) else lines[0]
