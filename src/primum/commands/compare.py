"""`primum compare`: two or more models on the same prompts, and what may be said of their differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primum.commands.options import Debug, Json, console, wide_console
from primum.types import BadInput

if TYPE_CHECKING:
    from primum.comparison import Arm
    from primum.comparison.arms import Named
    from primum.evaluation import EvaluationConfig


def compare(
    arms: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH | NAME=PATH[,PATH…] …",
            help="Folders of primum evaluate, one run directory, or model folders with settings such as suites=[harm,task].",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of comparison.json, .html and .md.")] = Path("comparison"),
    baseline: Annotated[str, typer.Option(help="The arm that the others are compared with; default: the first.")] = "",
    margin: Annotated[float, typer.Option(help="The largest loss of accuracy and usefulness that would not matter.")] = 0.02,
    allow_different_judges: Annotated[
        bool, typer.Option("--allow-different-judges", help="Compare what different judges said, with a warning.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare models on the same prompts: paired differences with intervals, tests and what could have been seen; one page."""
    from primum import comparison
    from primum.config import known_keys
    from primum.evaluation import EvaluationConfig
    from primum.run import write_json, write_text

    keys = set(known_keys(EvaluationConfig))
    settings = [word for word in arms if not Path(word).exists() and "=" in word and word.partition("=")[0] in keys]
    _check_settings(arms, keys)
    told = comparison.named([word for word in arms if word not in settings])
    compared = _arms(told, settings, output, quiet or as_json, as_json)
    if len(compared) < 2:
        raise BadInput("one arm alone", "command line", "name two or more; primum evaluate tells of a single model")
    found = comparison.compare(compared, baseline=baseline, margin=margin, allow_judges=allow_different_judges)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write here, {error.strerror}", str(output), "choose another --output") from None
    write_json(output / "comparison.json", found)
    write_text(output / "comparison.md", comparison.markdown(found))
    page = comparison.write(found, compared, output / "comparison.html")
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _show(found, page)


def _check_settings(words: Sequence[str], keys: set[str]) -> None:
    """Refuse what is neither an arm nor a setting but nearly a setting: NAME=PATH where no path is and NAME is like a key."""
    from primum.config import nearest

    for word in words:
        name, equals, rest = word.partition("=")
        if not equals or name in keys or Path(word).exists() or any(Path(path).exists() for path in rest.split(",")):
            continue
        if near := nearest(name, sorted(keys)):
            raise BadInput(f"no setting '{name}' and no folder '{rest}'", "command line", f"did you mean '{near}='?")


def _arms(told: Sequence[Named], settings: list[str], output: Path, quiet: bool, as_json: bool) -> list[Arm]:
    """The arms that the words stand for; models are evaluated first."""
    from primum.comparison import Arm, arms_of_runs, read_evaluation

    runs = [arm for arm in told if arm.kind == "run"]
    models = [path for arm in told if arm.kind == "model" for path in arm.paths]
    if settings and not models:
        raise BadInput("settings are for models yet to be evaluated", settings[0], "leave them out, or name model folders")
    if runs and len(told) > 1:
        remedy = "name one run (its arms are compared; RUN,RUN for seeds), or a policy in it such as RUN/5-distill/sft/policy"
        raise BadInput("a run is compared by itself", str(runs[0].paths[0]), remedy)
    if runs:
        return arms_of_runs(runs[0].paths)
    made = []
    for arm in told:
        places = arm.paths
        if arm.kind == "model":
            config = _config(settings, models)
            folders = [output / (arm.name if len(places) == 1 else f"{arm.name}-{i}") for i in range(1, len(places) + 1)]
            places = tuple(
                _evaluated(model, config, place, quiet, as_json) for model, place in zip(arm.paths, folders, strict=True)
            )
        made.append(Arm(arm.name, tuple(read_evaluation(place) for place in places)))
    return made


def _config(settings: list[str], models: Sequence[Path]) -> EvaluationConfig:
    """The same settings for all; beside the micro-world's own base model all are asked the micro-world's prompts."""
    from primum.config import load_recipe
    from primum.evaluation import EvaluationConfig

    config = load_recipe(EvaluationConfig, None, settings)
    if config.world == "auto" and Path("microworld") in models:
        return config.model_copy(update={"world": "microworld"})
    return config


def _evaluated(model: Path, config: EvaluationConfig, folder: Path, quiet: bool, as_json: bool) -> Path:
    """The folder of the model's evaluation, which goes on where it was."""
    from primum.evaluated import ROLLOUTS, has_kept, local
    from primum.evaluation import evaluate
    from primum.run import Run

    run = Run(folder, console(as_json), quiet=quiet)
    try:
        with run.alone():
            asked, identity, world = local(str(model), config.world, folder)
            evaluate(asked, config.model_copy(update={"model": str(model)}), run, identity=identity, world=world)
            (folder / ROLLOUTS).unlink(missing_ok=True)  # every suite has its own by now
    except (BadInput, OSError):
        if not has_kept(folder):
            run.withdraw()
        raise
    return folder


def _show(found: dict[str, Any], page: Path) -> None:
    from primum.comparison import paired_table, seeds_words

    out = wide_console()
    for table in paired_table(found):
        out.print(table)
    for card in found["cards"]:
        out.print(card["beside"], highlight=False, markup=False)
    for line in [*seeds_words(found), *(f"note: {caution}" for caution in found["cautions"])]:
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    out.print(f"page: {page}", highlight=False, soft_wrap=True)
