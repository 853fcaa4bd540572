"""A process of the bench that holds one engine and does a step when it is told to.

Commands come in and answers go out as lines of JSON; whatever libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from primum.bench.config import BenchConfig
from primum.beside import die_with_parent
from primum.types import BadInput


def work(engine: str, size: str, repeat: int, config: dict[str, Any], scratch: str, parent: int) -> None:
    """Serve until nobody asks any more. It never outlives process `parent`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    die_with_parent(parent)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**found: Any) -> None:
        out.write(json.dumps(found) + "\n")
        out.flush()

    try:
        import torch

        made = BenchConfig.model_validate(config)
        if made.threads:
            torch.set_num_threads(made.threads)
        if engine == "trl":
            from primum.bench.peer import serve
        else:
            from primum.bench.ours import serve
        serve(made, size, repeat, Path(scratch), _commands(), answer)
    except BadInput as error:
        answer(error=str(error))


def _commands() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


if __name__ == "__main__":
    work(**json.loads(sys.argv[1]))
