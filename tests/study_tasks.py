"""Small tasks that tests of the scheduler give it; what they note in their folders says how often they ran."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from primum.run import read_json
from primum.types import BadInput

Needs = dict[str, Path]
Settings = dict[str, Any]


def begin(folder: Path) -> int:
    """Note that this process does the task here; how often it has begun in this folder."""
    with (folder / "calls").open("a") as out:
        out.write(f"{os.getpid()}\n")
    return len(calls(folder))


def calls(folder: Path) -> list[int]:
    """The processes that began a task in a folder, one for each time."""
    return [int(line) for line in (folder / "calls").read_text().split()] if (folder / "calls").exists() else []


def prefix(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Fit a small net: what two arms begin with."""
    begin(folder)
    return _fit(_net(), settings["steps"], 0.05, folder)


def arm(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Go on from a prefix with another rate."""
    begin(folder)
    net = _net()
    net.load_state_dict(torch.load(needs["policy"] / "net.pt"))
    time.sleep(settings.get("wait_seconds", 0))
    return _fit(net, settings["steps"], settings["rate"], folder)


def _net() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.Tanh(), torch.nn.Linear(256, 1))


def _fit(net: torch.nn.Sequential, steps: int, rate: float, folder: Path) -> dict[str, Any]:
    inputs = torch.randn(2000, 64)
    noise = torch.from_numpy(np.random.randn(2000, 1)).float() * random.random()
    for _ in range(steps):
        loss = (net(inputs) - inputs.sin().sum(1, keepdim=True) - noise).square().mean()
        net.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weight in net.parameters():
                assert weight.grad is not None
                weight -= rate * weight.grad
    torch.save(net.state_dict(), folder / "net.pt")
    total = sum(weight.double().sum().item() for weight in net.parameters())
    return {"loss": loss.item(), "total": total, "threads": torch.get_num_threads()}


def add(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The settings' number and those of the needs together, after a while."""
    begun = time.time()
    begin(folder)
    time.sleep(settings.get("wait_seconds", 0))
    total = settings["number"] + sum(read_json(path / "result.json")["sum"] for path in needs.values())
    return {"sum": total, "begun": begun, "ended": time.time(), "nan": float("nan")}


def fail(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Fail the first `times` times: an exception, an exit, a kill, or input that the user must mend."""
    if begin(folder) <= settings["times"]:
        time.sleep(settings.get("wait_seconds", 0))
        if settings["how"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if settings["how"] == "exit":
            raise SystemExit(4)
        if settings["how"] == "bad":
            raise BadInput("no such model", "x/y", "name a folder")
        if settings["how"] == "list":
            return []  # type: ignore[return-value]
        raise ValueError("no root\nof -1")
    return {"sum": 7}


def around(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """What a task finds around it."""
    print("said on standard output", flush=True)
    for item in folder.iterdir():
        item.unlink()
    time.sleep(settings.get("wait_seconds", 0))
    names = ("CUDA_VISIBLE_DEVICES", "PRIMUM_SAID")
    said = {name: os.environ.get(name) for name in names}
    return {"threads": torch.get_num_threads(), "folder": os.getcwd(), "given": str(folder), **said}


def parent(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Start a process of its own and wait for ever."""
    begin(folder)
    child = subprocess.Popen(["sleep", "1000"])
    (folder / "child").write_text(str(child.pid))
    child.wait()
    return {}
