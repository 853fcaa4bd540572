"""A defender is scored only on attacks found after it was frozen: who was attacked, when, and the check."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from primum.evaluate.redteam.archive import resume
from primum.evaluate.redteam.target import Target, Tried, fingerprint
from primum.policy import Policy
from primum.run import read_json, write_json
from primum.types import BadInput

META, LOG = "redteam.json", "tried.jsonl"


def claim(folder: Path, policy: Policy, settings: dict[str, Any]) -> dict[str, Any]:
    """Note in the archive's folder whom it attacks, with what settings, and since when; another target or setting is refused."""
    path = folder / META
    wanted = {"target": fingerprint(policy), "settings": settings}
    if not path.exists():
        write_json(path, {**wanted, "begun": time.time()})
    noted: dict[str, Any] = read_json(path)
    if {k: noted[k] for k in wanted} != wanted:
        what = "this archive was begun on another policy or with other settings"
        raise BadInput(what, str(folder), "choose another --output, or --replay it")
    return noted


def frozen_at(folder: Path) -> float:
    """When a saved policy got its weights, in seconds since 1970: the newest change of a weight file.

    A copy is younger than what it copies: it can only make an archive too old, never too young.
    """
    times = [p.stat().st_mtime for name in ("*.safetensors", "*.bin") for p in folder.glob(name)]
    if not times:
        raise BadInput("no weights to tell when this policy was frozen", str(folder), "save it with save_pretrained")
    return max(times)


def check_found_after(folder: Path, policy: Policy, frozen: float, *, regression: bool = False) -> str:
    """A warning, or "" where the archive's attacks were all found after the defender was frozen; older ones are refused
    unless `regression`.

    An archive that attacked this very policy was. Any other was where its search began later. A defender could have
    been trained on an older one, so what it says of the defender is no evidence of robustness.
    """
    noted = read_json(folder / META)
    if noted["target"] == fingerprint(policy) or float(noted["begun"]) >= frozen:
        return ""
    what = "this archive is older than the defender, which may have been trained on it"
    if not regression:
        raise BadInput(what, str(folder), "attack it anew, or --regression to see only whether old attacks still work")
    return f"{what}: a regression check, no evidence of robustness"


def replay(folder: Path, target: Target, samples: int, seed: int, threshold: float) -> list[Tried]:
    """The archive's successes asked of another policy, with fresh samples."""
    archive, _, _ = resume(folder / LOG)
    return target.asked([t.attack for t in archive.successes(threshold)], samples, seed)
