"""The user's own files that a task's result depends on, by what is in them: a changed file makes another task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from primum.files import expand
from primum.types import BadInput

PART = 1 << 20  # bytes at either end of a large file that are read


def paths_in(settings: Any) -> Iterator[str]:
    """The texts among the settings that may be paths: any; of "guard:PATH" and "learned:PATH#HEAD", the path."""
    if isinstance(settings, Mapping):
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            yield from paths_in(value)
    elif isinstance(settings, str) and settings:
        yield settings
        if (rest := settings.partition(":")[2].partition("#")[0]) not in ("", "."):
            yield rest


def contents(names: Iterable[str]) -> dict[str, str]:
    """16 hexadecimal digits for each name that is a file, or a folder (the files in it); what does not exist is left out, its
    reader says so. Of a file above 2 MiB the size and a MiB at either end are told apart, so that weights take no time."""
    return {name: found for name in names if (found := _told(name))}


def _told(name: str) -> str:
    try:
        path = expand(name)
        inside = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path] if path.is_file() else []
        told = [f"{p.name} {_digest(p, p.stat().st_size, p.stat().st_mtime_ns)}" for p in inside]
    except (BadInput, OSError, ValueError):  # no path after all, or one that its reader will complain about
        return ""
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16] if told else ""


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        if size <= 2 * PART:
            return hashlib.sha256(file.read()).hexdigest()
        first = file.read(PART)
        file.seek(-PART, 2)
        return hashlib.sha256(b"%d" % size + first + file.read()).hexdigest()
