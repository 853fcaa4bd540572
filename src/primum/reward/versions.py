"""The versions of a learned reward: a folder each, none ever changed, the accepted ones and why the others were not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primum.reward.labels import Judged, read_judged
from primum.reward.learned import weights_hash
from primum.run import read_json, write_json
from primum.types import BadInput


@dataclass(frozen=True)
class Version:
    """One version: what it was made from, how it did, and whether it is in force after its parent."""

    number: int
    parent: str
    data: str
    weights: str
    held_out: Mapping[str, Any]
    stress: Mapping[str, Any]
    accepted: bool
    why: str

    @property
    def name(self) -> str:
        return f"v{self.number}"

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.number, "parent": self.parent, "data": self.data, "weights": self.weights,
            "held_out": dict(self.held_out), "stress": dict(self.stress), "accepted": self.accepted, "why": self.why,
        }  # fmt: skip


FIELDS = ("parent", "data", "weights", "held_out", "stress", "accepted", "why")


class Versions:
    """The versions in a folder, v1, v2, …, each a learned reward with its version.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        return self.folder / f"v{number}"

    def all(self) -> list[Version]:
        """In order; a folder without its version.json was never finished and is none."""
        found = []
        for path in self.folder.glob("v*"):
            if re.fullmatch(r"v[1-9]\d*", path.name) and (path / "version.json").exists():
                row = read_json(path / "version.json")
                found.append(Version(row["version"], *(row[k] for k in FIELDS)))
        return sorted(found, key=lambda v: v.number)

    def current(self) -> Version | None:
        """The latest accepted one."""
        return next((v for v in reversed(self.all()) if v.accepted), None)

    def next_number(self) -> int:
        return max((v.number for v in self.all()), default=0) + 1

    def record(self, version: Version) -> None:
        """Say how the trained folder of this number fared: from now on it is a version."""
        write_json(self.path(version.number) / "version.json", version.to_json())

    def labels(self, number: int) -> list[Judged]:
        """What this version was trained and measured on."""
        return read_judged([self.path(number) / "labels.jsonl"])

    def check(self, number: int, weights: str) -> None:
        """Refuse a version whose weights are not those that were in force."""
        path = self.path(number)
        if not (path / "version.json").exists() or weights_hash(path) != weights:
            remedy = "put the version back that the run used, or begin the run anew"
            raise BadInput("this version of the reward is not the one in force when the run stopped", str(path), remedy)
