"""The verdict of all rules, bound to the hashes of what it rests on, sealed, and verified later."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from primum.config import differences, validate
from primum.evaluation import digest
from primum.gate.folder import Evaluation, difference
from primum.gate.rules import GateConfig, load_rules
from primum.gate.verdict import find
from primum.run import environment, plain, write_json
from primum.types import BadInput

FORM = 1
KEYS = {"gate", "passed", "rules", "require", "settings", "rules_file", "evaluation", "baseline", "notes", "seal"}
LUCK = ("seed", "batch")  # of sampling: what changes no number but by chance
UNKNOWN = "not known, asked over an endpoint"


def gate(config: GateConfig, rules: tuple[str, str], folder: Path, baseline: Path | None = None) -> dict[str, Any]:
    """Evidence: every rule's verdict, `passed` where all pass, and the hashes of all that was read. `rules`: file, SHA-256."""
    ours = Evaluation(folder)
    other = Evaluation(baseline) if baseline is not None else None
    found = [find(rule, config, ours, other, f"{rules[0]}, rule {i}") for i, rule in enumerate(config.rules, start=1)]
    pins = _pins(config, ours)
    told = {
        "gate": FORM, "passed": all(f.verdict == "passed" for f in found) and all(p["verdict"] == "passed" for p in pins),
        "rules": [f.to_json() for f in found], "require": pins, "settings": config.model_dump(),
        "rules_file": {"name": rules[0], "sha256": rules[1]},
        "evaluation": _of(ours), "baseline": _of(other) if other is not None else None, "notes": _notes(ours, other),
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "environment": environment(),
    }  # fmt: skip
    told = plain(told)
    return {**told, "seal": digest(told)}


def write_evidence(path: Path, told: dict[str, Any]) -> None:
    """The evidence as JSON; an older one there is replaced, anything else is refused."""
    if path.exists():
        try:
            read_evidence(path, whole=False)
        except BadInput:
            raise BadInput("something else than evidence lies here", str(path), "choose another --output") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the output's folder cannot be made, {error.strerror}", str(path), "choose another --output") from None
    write_json(path, told)


def read_evidence(path: Path, *, whole: bool = True) -> dict[str, Any]:
    """The evidence in a file. One that is missing, no evidence, or (`whole`) altered after it was written is bad input."""
    try:
        told = json.loads(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read the evidence, {error.strerror}", str(path), "name what --output wrote") from None
    except (ValueError, RecursionError):
        raise BadInput("this is no evidence of a gate", str(path), "name what --output wrote") from None
    if not isinstance(told, dict) or KEYS - set(told):
        raise BadInput("this is no evidence of a gate", str(path), "name what --output wrote")
    if whole and told["seal"] != digest({key: value for key, value in told.items() if key != "seal"}):
        raise BadInput("the evidence was altered after it was written", str(path), "run the gate again")
    return told


def verify(path: Path, folder: Path | None = None, baseline: Path | None = None, rules: Path | None = None) -> dict[str, Any]:
    """The evidence, if its seal holds, the files named here are those it rests on, and the same follows from them again."""
    told = read_evidence(path)
    if told["gate"] != FORM:
        raise BadInput(f"evidence of form {told['gate']}, and this primum reads {FORM}", str(path), "run the gate again")
    if rules is not None:
        config, sha = load_rules(rules)
        if sha != told["rules_file"]["sha256"] or plain(config.model_dump()) != told["settings"]:
            raise BadInput(f"these are not the rules that {path} rests on", str(rules), "run the gate again")
    for side, of in (("evaluation", folder), ("baseline", baseline)):
        if of is not None and told[side] is None:
            raise BadInput("this evidence has no baseline", str(path), "leave --baseline out")
        for name, sha in told[side]["files"].items() if of is not None else ():
            _same_bytes(of / name, sha, path)
    if folder is not None and (baseline is not None or told["baseline"] is None):
        settings = validate(GateConfig, told["settings"], str(path))
        again = gate(settings, (told["rules_file"]["name"], told["rules_file"]["sha256"]), folder, baseline)
        if gap := difference(_verdicts(told), _verdicts(again), "evidence"):
            raise BadInput(f"the evidence does not follow from the evaluation, {gap}", str(path), "run the gate again")
    return told


def _verdicts(told: dict[str, Any]) -> dict[str, Any]:
    """What another run of the gate must find again: all but wording, places, and when and where it ran."""
    rules = [{key: value for key, value in row.items() if key != "why"} for row in told["rules"]]
    sides = {side: {**(told[side] or {}), "folder": ""} for side in ("evaluation", "baseline")}
    return {"passed": told["passed"], "rules": rules, "require": told["require"], **sides}


def _same_bytes(file: Path, sha: str, evidence: Path) -> None:
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(f"cannot read what the evidence rests on, {error.strerror}", str(file), "name where it lies now") from None
    if found != sha:
        raise BadInput(f"this is not the file that {evidence} rests on", str(file), "run the gate again")


def _of(found: Evaluation) -> dict[str, Any]:
    told = found.told
    return {
        "folder": found.path, "model": told.model.name, "hashes": {**told.hashes.model_dump(), "weights": _weights(found)},
        "judge": told.judge.name, "judge_digests": told.judge.digests, "cards": told.judge.cards, "files": found.files,
    }  # fmt: skip


def _weights(found: Evaluation) -> str:
    return found.told.hashes.weights or UNKNOWN


def _pins(config: GateConfig, ours: Evaluation) -> list[dict[str, str]]:
    """Of each hash that is asked for: what was found, and whether it is the one."""
    hashes = {**ours.told.hashes.model_dump(), "weights": _weights(ours)}
    return [
        {"what": name, "wanted": wanted, "found": hashes[name],
         "verdict": "passed" if hashes[name].startswith(wanted) else "failed"}
        for name, wanted in config.require.model_dump().items() if wanted
    ]  # fmt: skip


def _notes(ours: Evaluation, baseline: Evaluation | None) -> list[str]:
    """What a reader should know beside the verdicts."""
    notes = [] if ours.told.hashes.weights else [f"weights: {UNKNOWN}; the server may have had any behind that name"]
    if baseline is not None:
        before, after = ({k: v for k, v in of.told.settings.sampling.items() if k not in LUCK} for of in (baseline, ours))
        notes += [f"sampled otherwise than the baseline, {line}" for line in differences(before, after)]
    return notes
