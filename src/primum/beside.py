"""A command of primum's own running beside this one, on the core a small model leaves idle."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(*arguments: str) -> Iterator[Callable[[], object]]:
    """Run `primum ARGUMENTS` silently in a process of its own; yields the function that waits for it.

    It is a head start, not a promise: whatever ends it early, the caller does what is left and
    says what is wrong. It never outlives this process or the block. No arguments: no process.
    """
    if not arguments:
        yield lambda: None
        return
    command = [sys.executable, "-m", "primum.cli", *arguments]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield child.wait
    finally:
        child.kill()
        child.wait()


def die_with_parent(parent: int, every_seconds: float = 0.2) -> None:
    """End this process when process `parent` is gone, as after SIGKILL; at once where it has gone already."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every_seconds)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
