"""Verdicts already paid for, on disk: one line each, whole or not there."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from primum.types import BadInput

Verdict = dict[str, float]


class Cache:
    """Verdicts by key in a JSONL file that is only ever appended to; "" keeps them in memory.

    Each line is written in one call, so a kill leaves at most one torn line, which is passed over, and
    several processes may share a file. A full disk loses the line, not the verdict.
    """

    def __init__(self, path: Path | None) -> None:
        self._known: dict[str, Verdict] = {}
        self._lock = threading.Lock()
        self._path = path
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_bytes() if path.exists() else b""
            if text and not text.endswith(b"\n"):
                self._append(b"\n")  # a torn last line must not swallow the next one
        except OSError as error:
            raise BadInput(f"cannot keep judgements, {error.strerror}", str(path), "choose another cache folder") from None
        for line in text.split(b"\n"):
            self._take(line)

    def get(self, key: str) -> Verdict | None:
        with self._lock:
            return self._known.get(key)

    def put(self, key: str, verdict: Verdict) -> None:
        with self._lock:
            self._known[key] = verdict
            if self._path is not None:
                try:
                    self._append(json.dumps({"key": key, "answers": verdict}).encode() + b"\n")
                except OSError:  # the judgement stands; it is only not kept
                    pass

    def _append(self, line: bytes) -> None:
        assert self._path is not None
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            self._known[str(row["key"])] = {str(k): float(v) for k, v in row["answers"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):  # torn or foreign
            pass
