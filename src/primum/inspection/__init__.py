"""Inspect: the suites as its tasks, our policies as its models, our results as its logs. docs/inspect.md

Nothing outside this package imports `inspect_ai`, and this file does not either: it is an extra, and takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from primum.types import BadInput


def log_writer() -> Callable[[dict[str, Any], Path], list[Path]]:
    """What writes an evaluation's logs; bad input where Inspect is not installed."""
    try:
        from primum.inspection.log import write_logs
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "inspect_ai":
            raise
        raise BadInput("Inspect is not installed", "--inspect-log", "pip install primum[inspect]") from None
    return write_logs
