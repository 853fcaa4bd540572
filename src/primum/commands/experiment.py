"""`primum experiment NAME`: a question, its prediction, and what came out."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from primum.commands.options import Debug, Json, console
from primum.types import BadInput

EXPERIMENTS = ("reward-hacking", "planted-hacks", "redteam", "constraints", "ties")


def experiment(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(EXPERIMENTS)}.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value settings, such as seeds=2")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the run directories.")] = Path("runs"),
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the settings and stop.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ask one question of the system, with seeds and intervals. A stopped experiment goes on where it was."""
    import yaml

    from primum.config import load_recipe
    from primum.run import Run, plain, write_json

    if name not in EXPERIMENTS:
        raise BadInput(f"no experiment '{name}'", "command line", f"choose one of {', '.join(EXPERIMENTS)}")
    module: Any = importlib.import_module(f"primum.experiments.{name.replace('-', '_')}")
    config = load_recipe(module.Settings, None, settings or [])
    if print_config:
        typer.echo(yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True), nl=False)
        return
    run = Run(output / "experiments" / name, console(as_json), quiet=as_json)
    with run.alone():
        _claim(run, config.model_dump())
        run.say(f"{module.QUESTION}\nPredicted: {module.PREDICTION}")
        found = {
            "experiment": name,
            "question": module.QUESTION,
            "prediction": module.PREDICTION,
            **module.experiment(config, run),
        }
        write_json(run.path / "result.json", found)
    typer.echo(json.dumps(plain(found), ensure_ascii=False) if as_json else module.describe(found))


def _claim(run: Any, settings: dict[str, Any]) -> None:
    """Make the directory this experiment's with these settings, or refuse one begun with others."""
    from primum.config import differences
    from primum.run import environment, plain, read_json, write_json

    path = run.path / "config.json"
    wanted = plain(settings)
    if path.exists():
        changed = differences(read_json(path), wanted)
        if changed:
            what = f"this experiment was begun with other settings, {'; '.join(changed[:3])}"
            raise BadInput(what, str(run.path), "choose another --output, or remove the folder")
        return
    write_json(run.path / "environment.json", environment())
    write_json(path, wanted)
