"""Runs of the command line that are killed at a chosen moment, each forked from one process that has imported everything.

python tests/killed.py '{"arguments": ["run", …], "kills": [["SIGKILL", "3-alone/state", 2], …]}'

A kill is a signal, a piece of a path, and which of the file operations on such paths (opening
for writing, renaming, removing) it comes just before. Prints how each run ended: an exit code,
or minus the signal. A last element [null, piece, 0] kills nothing and counts the operations.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from typing import Any

CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.mkdir"}


def watch(name: str | None, piece: str, number: int, seen: Counter[str]) -> None:
    """Signal this process just before the given file operation."""

    def hook(event: str, details: tuple[Any, ...]) -> None:
        if event not in CHANGES or not details or piece not in str(details[0]):
            return
        if event == "open" and not set(str(details[1] or "")) & set("wax+"):
            return
        seen[piece] += 1
        if name and seen[piece] == number:
            os.kill(os.getpid(), signal.Signals[name])

    sys.addaudithook(hook)


def fork(arguments: list[str], name: str | None, piece: str, number: int) -> int:
    """How the command ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    from primum.cli import main

    seen: Counter[str] = Counter()
    sys.argv = ["primum", *arguments]
    os.dup2(2, 1)
    watch(name, piece, number, seen)
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if name is None:
        print(f"operations: {seen[piece]}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    plan = json.loads(sys.argv[1])
    import primum.pipeline
    import primum.policy.trainer
    import primum.report  # noqa: F401

    print(json.dumps([fork(plan["arguments"], *kill) for kill in plan["kills"]]))


if __name__ == "__main__":
    main()
