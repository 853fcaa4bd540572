"""The policy that is named: the micro-world's base, a folder, a hub name, or a run's last trained one."""

from __future__ import annotations

from pathlib import Path

from primum.config import validate
from primum.microworld import BaseConfig, base_checkpoint
from primum.policy import Policy, load
from primum.policy.model import is_local
from primum.recipe import Recipe, rewarded_by
from primum.run import Run, last_policy, read_json
from primum.types import BadInput


def policy_of(model: str, *, device: str = "auto", dtype: str = "auto") -> tuple[Policy, Path | None, list[str]]:
    """The policy, the folder of its weights where it has one, and the harm signals of the rewards known to have trained it.

    These are in the words of `Judge.source`.
    """
    if model == "microworld":
        folder = base_checkpoint(BaseConfig(), Run(Path("."), quiet=True))
        return load(str(folder), device=device, dtype=dtype), folder, []
    path = Path(model)
    if not (path / "1-curate").exists():
        return load(model, device=device, dtype=dtype), path if is_local(model) else None, []
    chosen = last_policy(path)
    if chosen is None:
        raise BadInput("this run has no trained policy yet", model, "let it finish, or name a model folder")
    return load(str(chosen), device=device, dtype=dtype), chosen, rewards_of(path)


def rewards_of(path: Path) -> list[str]:
    """The harm signals that the rewards of a run asked, in the words of `Judge.source`."""
    return sorted(rewarded_by(validate(Recipe, read_json(path / "config.json"), str(path))))
