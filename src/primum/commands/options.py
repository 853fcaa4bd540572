"""Options and small things that commands share."""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from rich.console import Console


def _alone(as_json: bool) -> bool:
    """With --json no warning is printed either."""
    logging.getLogger("primum").setLevel(logging.CRITICAL if as_json else logging.NOTSET)
    return as_json


Json = Annotated[bool, typer.Option("--json", callback=_alone, help="Print JSON on standard output, nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of bad input.")]


def console(as_json: bool) -> Console:
    """Where a command talks to the person at the terminal: standard error, and nowhere with --json."""
    return Console(stderr=True, quiet=as_json)


def wide_console() -> Console:
    """Standard output; a file has no edge to wrap at."""
    out = Console()
    if not out.is_terminal:
        out.width = max(out.width, 120)
    return out
