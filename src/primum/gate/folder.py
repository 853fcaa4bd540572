"""A finished evaluation, read again with suspicion: its numbers must follow from the rollouts kept beside them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, field_validator

from primum.config import nearest
from primum.evaluate.cards import Cards
from primum.evaluate.measure import Measured
from primum.evaluate.suites import SUITES, Suite, summarise_suite
from primum.evaluation import digest
from primum.run import plain
from primum.types import BadInput

NEAR = 1e-9  # relative: what another machine's arithmetic may differ by


class _Hashes(BaseModel):
    weights: str | None
    config: str
    judge: str
    data: str


class _Model(BaseModel):
    name: str


class _Judge(BaseModel):
    name: str
    digests: dict[str, str]
    cards: list[dict[str, Any]]


class _Settings(BaseModel):
    max_unscored: float
    cards: list[str]
    sampling: dict[str, Any]


class _Suite(BaseModel):
    prompts: int
    rollouts: int
    metrics: dict[str, dict[str, Any]]
    unscored: float | None
    samples: str
    outcomes: dict[str, int]
    corrected: dict[str, Any]


class _Told(BaseModel):
    """What a gate reads of evaluation.json; more may stand there."""

    model: _Model
    judge: _Judge
    hashes: _Hashes
    settings: _Settings
    suites: dict[str, dict[str, Any]]
    failed: list[str]

    @field_validator("suites")
    @classmethod
    def _whole(cls, suites: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for told in suites.values():
            _Suite.model_validate(told)
        return suites


class Evaluation:
    """The folder of an evaluation. `files` are the SHA-256 of what was read of it, by name."""

    def __init__(self, path: Path) -> None:
        self.path, self.files = path, dict[str, str]()
        self._measured: dict[str, list[Measured]] = {}
        raw = self._bytes("evaluation.json", "name a folder that `primum evaluate` has finished")
        try:
            tree = json.loads(raw)
            self.told = _Told.model_validate(tree)
        except ValidationError as error:
            key = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise BadInput(f"this is no evaluation, see '{key}'", self._where("evaluation.json"), "evaluate again") from None
        except (ValueError, RecursionError):
            raise BadInput("no readable JSON", self._where("evaluation.json"), "evaluate again") from None
        for name, of in (("config", tree["settings"]), ("judge", self.told.judge.digests)):
            if getattr(self.told.hashes, name) != digest(of):
                self._altered("evaluation.json", f"hashes.{name} is not that of what it names")

    def suite(self, name: str, where: str) -> Suite:
        """The suite of this name; one that was not asked, or is none, is bad input."""
        if name in SUITES and name in self.told.suites:
            return SUITES[name]
        near = nearest(name, list(self.told.suites))
        remedy = f"did you mean '{near}'?" if near else f"{self.path} asked {', '.join(self.told.suites)}"
        raise BadInput(f"the evaluation asked no suite '{name}'", where, remedy)

    def measured(self, suite: Suite) -> list[Measured]:
        """The suite's rollouts. Bad input where evaluation.json does not tell what follows from them."""
        if suite.name not in self._measured:
            self._measured[suite.name] = self._checked(suite)
        return self._measured[suite.name]

    def unscored(self, suite: Suite) -> float:
        """The share of the suite's rollouts that gold could not judge; nan where there are none."""
        share = self.told.suites[suite.name]["unscored"]
        return math.nan if share is None else float(share)

    def corrected(self, suite: Suite) -> dict[str, Any]:
        """The suite's rates put right, by the judges' cards where the evaluation found them."""
        cards = Cards(self.told.settings.cards, self.told.judge.digests)
        if gap := difference(self.told.judge.cards, plain(cards.to_json()), "judge.cards"):
            self._altered("evaluation.json", f"the judge's card is another now, {gap}")
        found = plain(cards.corrected(suite, self.measured(suite)))
        if gap := difference(self.told.suites[suite.name]["corrected"], found, "corrected"):
            self._altered("evaluation.json", f"{suite.name}: {gap}")
        return dict(found)

    def _checked(self, suite: Suite) -> list[Measured]:
        name = f"{suite.name}/samples.jsonl"
        rows = self._rows(name)
        try:
            found = plain(summarise_suite(suite, rows))
        except KeyError as error:
            raise BadInput(f"the rollouts lack {error}", self._where(name), "evaluate again") from None
        if gap := difference(*_shared(self.told.suites[suite.name], found), suite.name):
            self._altered(name, gap)
        if (suite.name in self.told.failed) == (self.unscored(suite) <= self.told.settings.max_unscored):
            self._altered(name, f"{suite.name} stands wrongly in or out of 'failed'")
        if self.files[name] != self.told.suites[suite.name]["samples"]:
            self._altered(name, "its hash is not the one noted")
        return rows

    def _rows(self, name: str) -> list[Measured]:
        text = self._bytes(name, "evaluate again").decode("utf-8", "surrogatepass")
        rows = []
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                rows.append(Measured.from_row(json.loads(line)))
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
                raise BadInput(
                    "this line is no judged rollout", f"{self._where(name)}, line {number}", "evaluate again"
                ) from None
        return rows

    def _bytes(self, name: str, remedy: str) -> bytes:
        try:
            data = (self.path / name).read_bytes()
        except OSError as error:
            raise BadInput(f"cannot read {name}, {error.strerror}", str(self.path), remedy) from None
        self.files[name] = hashlib.sha256(data).hexdigest()
        return data

    def _where(self, name: str) -> str:
        return str(self.path / name)

    def _altered(self, name: str, what: str) -> None:
        remedy = "it was edited, or written by another version of primum; evaluate again"
        raise BadInput(f"the evaluation does not agree with itself, {what}", self._where(name), remedy)


def paired_rows(suite: Suite, ours: Evaluation, baseline: Evaluation) -> list[tuple[Measured, Measured]]:
    """(baseline, ours) of each rollout. Bad input where they answered other prompts, or another judge judged."""
    old, new = baseline.told.judge.digests, ours.told.judge.digests
    if changed := [name for name in suite.gold if old.get(name) != new.get(name)]:
        what = f"the baseline's {', '.join(changed)} was judged by another judge, or another version of it"
        raise BadInput(what, str(baseline.path), "evaluate both with the same")
    before, after = baseline.measured(suite), ours.measured(suite)
    if [_asked(m) for m in before] != [_asked(m) for m in after]:
        what = f"the baseline answered other prompts of '{suite.name}' ({len(before)} rollouts, and {len(after)} here)"
        raise BadInput(what, str(baseline.path), "evaluate both with the same sets, limit, seed and samples")
    return list(zip(before, after, strict=True))


def _asked(m: Measured) -> tuple[str, ...]:
    """What a rollout answers. The turns before hold the model's own words and are left out."""
    e = m.rollout.example
    return e.id, e.prompt, e.kind, e.category, e.answer, e.prefill, e.plain, e.cluster


def _shared(a: dict[str, Any], b: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both tell of a suite, metric by metric: another version of primum may tell more."""
    names = [name for name in a["metrics"] if name in b["metrics"]]
    keys = [key for key in a if key in b and key != "metrics"]
    old, new = ({**{key: of[key] for key in keys}, **{name: of["metrics"][name] for name in names}} for of in (a, b))
    return old, new


def difference(told: Any, found: Any, at: str) -> str:
    """Where two plain trees first differ beyond rounding, in words, or ""."""
    if isinstance(told, dict) and isinstance(found, dict):
        keys: Sequence[Any] = [*found, *(key for key in told if key not in found)]
        return next((d for key in keys if (d := difference(told.get(key), found.get(key), f"{at}.{key}"))), "")
    if isinstance(told, list) and isinstance(found, list) and len(told) == len(found):
        return next((d for i, pair in enumerate(zip(told, found, strict=True)) if (d := difference(*pair, f"{at}.{i}"))), "")
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (told, found))
    if told == found or (numbers and math.isclose(told, found, rel_tol=NEAR, abs_tol=1e-12)):
        return ""
    return f"{at} is {json.dumps(told)[:60]}, and {json.dumps(found)[:60]} computed again"
