"""The model that a command is given: the micro-world's base, a folder, a hub name, or a run's last trained policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from primum.commands.options import console
from primum.types import BadInput

if TYPE_CHECKING:
    from primum.policy import Policy

STAGES = ("5-distill", "4-refine", "3-reinforce", "2-coldstart")


def policy_of(model: str) -> tuple[Policy, Path | None, list[str]]:
    """The policy, the folder of its weights where it has one, and the harm signals of the rewards known to have trained it."""
    from primum.microworld import BaseConfig, base_checkpoint
    from primum.policy import load
    from primum.policy.model import is_local
    from primum.run import Run

    if model == "microworld":
        folder = base_checkpoint(BaseConfig(), Run(Path("."), console(True), quiet=True))
        return load(str(folder)), folder, []
    path = Path(model)
    if not (path / "1-curate").exists():
        return load(model), path if is_local(model) else None, []
    chosen = next((path / stage / "policy" for stage in STAGES if (path / stage / "policy" / "config.json").exists()), None)
    if chosen is None:
        raise BadInput("this run has no trained policy yet", model, "let it finish, or name a model folder")
    return load(str(chosen)), chosen, trained_by(path)


def trained_by(path: Path) -> list[str]:
    """The harm signals that the rewards of a run asked, in the words of a red team's judge."""
    return sorted({"oracle": "microworld", "embedded": "embedded_harm"}.get(source, source) for source in rewards_of(path))


def rewards_of(path: Path) -> list[str]:
    """The harm signals that the rewards of a run directory asked, in the words of `Judge.source`; none of another folder."""
    from primum.config import validate
    from primum.recipe import Recipe, rewarded_by
    from primum.run import read_json

    if not (path / "1-curate").exists():
        return []
    return sorted(rewarded_by(validate(Recipe, read_json(path / "config.json"), str(path))))
