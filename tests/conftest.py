"""One small finished run of the real command line, which several files of tests read, and the command line in this process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from small import SETTINGS, Done, primum

from primum.cli import main

# Tests of public data read the folder beside the checkout where nobody names another.
PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "data"
if PUBLIC.is_dir():
    os.environ.setdefault("PRIMUM_DATA", str(PUBLIC))

# A shell's background job ignores Ctrl-C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Finished(NamedTuple):
    path: Path
    command: list[str]
    said: Done


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run directory, the command that made it, and what that printed. Not to be changed."""
    elsewhere = tmp_path_factory.mktemp("small")
    output = elsewhere / "my runs"
    command = ["run", *SETTINGS, "--output", str(output), "--name", "small"]
    said = primum(*command, cwd=elsewhere)
    assert said.returncode == 0, said.stderr
    return Finished(output / "small", command, said)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command line without the seconds a process takes to start; a crash is a crash."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["primum", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return Done(sys.argv, int(stop.value.code or 0), said.out, said.err)

    return call
