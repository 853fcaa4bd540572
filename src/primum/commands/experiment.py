"""`primum experiment NAME`: a question, its prediction, and what came out."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from primum.commands.options import Debug, Json, console
from primum.types import BadInput

STUDIES = (
    "reward-hacking", "novel-harm", "cold-start", "hybrid", "safe-distillation", "contextual-harm", "auto-data",
    "language-mixing", "verbosity", "culture", "brittleness",
)  # fmt: skip
OTHERS = ("planted-hacks", "redteam", "constraints", "ties")
EXPERIMENTS = (*STUDIES, *OTHERS)
Asked = tuple[str, Any, Any]  # an experiment's name, module and settings


def experiment(
    name: Annotated[str, typer.Argument(help=f"all, or one of {', '.join(EXPERIMENTS)}.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value settings, such as tflops=2 first_seed=3")] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds; 0: the experiment's own number.")] = 0,
    model: Annotated[str, typer.Option(help="Start from this model: a folder or a hub name, with --recipe naming data.")] = "",
    recipe: Annotated[Path | None, typer.Option(help="YAML recipe: data, judge, reward, stages.")] = None,
    earlier: Annotated[list[Path] | None, typer.Option("--with", help="A result.json of other seeds, to be joined.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="An eighth of the work or less: does it run?")] = False,
    output: Annotated[Path, typer.Option(help="Folder of the run directories.")] = Path("runs"),
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the settings and stop.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ask one question of the system, with seeds and intervals. A stopped experiment goes on where it was."""
    names = STUDIES if name == "all" else (name,)
    given = [*(settings or []), *([f"seeds={seeds}"] if seeds else []), *(["quick=true"] if quick else [])]
    asked = [(each, *_asked(each, given, model, recipe)) for each in names]
    if print_config:
        _print_settings(asked[0][2] if len(asked) == 1 else {each: config for each, _, config in asked})
        return
    if earlier and len(asked) > 1:
        raise BadInput("--with joins the results of one experiment", "command line", "name the experiment, not all")
    others = _earlier(earlier, *asked[0]) if earlier else []
    found, refused = _each(asked, output / "experiments", as_json, others)
    if as_json:
        from primum.run import plain

        typer.echo(json.dumps(plain(found[0] if len(asked) == 1 else found), ensure_ascii=False))
    if refused:
        raise refused[0]
    if any(told.get("failures") for told in found):
        raise typer.Exit(1)


def _each(
    asked: Sequence[Asked], folder: Path, as_json: bool, earlier: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[BadInput]]:
    """The documents of the experiments, one after another; of several, one that the input does not fit is told and left out."""
    found, refused = [], []
    for name, module, config in asked:
        try:
            told = _done(name, module, config, folder, as_json, earlier)
        except BadInput as error:
            if len(asked) == 1:
                raise
            refused.append(error)
            typer.echo(f"{name} is left out: {error}", err=True)
            continue
        found.append(told)
        if not as_json:
            typer.echo(_described(module, told, folder / name))
    return found, refused


def _asked(name: str, settings: list[str], model: str, recipe: Path | None) -> tuple[Any, Any]:
    """The experiment's module, and its settings: the command line's over the recipe's over its own."""
    from primum.config import load_recipe, nearest, read_yaml
    from primum.recipe import Recipe

    if name not in EXPERIMENTS:
        near = nearest(name, list(EXPERIMENTS))
        remedy = f"did you mean '{near}'?" if near else f"choose all, or one of {', '.join(EXPERIMENTS)}"
        raise BadInput(f"no experiment '{name}'", "command line", remedy)
    module: Any = importlib.import_module(f"primum.experiments.{name.replace('-', '_')}")
    study = name in STUDIES
    if not study and (model or recipe or "quick=true" in settings):
        raise BadInput(f"{name} knows only the embedded world", "command line", "leave out --model, --recipe and --quick")
    if not (model or recipe):
        return module, load_recipe(module.Settings, None, settings)
    load_recipe(Recipe, recipe)  # a mistake in the file is told of the file
    under = (read_yaml(recipe) if recipe else {}) | ({"model": model} if model else {})
    config = load_recipe(module.Settings, None, settings, {"recipe": under})
    if model not in ("", "microworld") and not recipe and config.recipe.curate.world == "microworld":
        raise BadInput("no data for this model", "--model", "name a recipe that has some, --recipe FILE (docs/huggingface.md)")
    return module, config


def _earlier(paths: list[Path], name: str, module: Any, config: Any) -> list[dict[str, Any]]:
    """Results of other seeds, which asked what this experiment asks and can be joined."""
    from primum.run import read_json
    from primum.study.judged import alike, complete, joined
    from primum.study.reading import is_result
    from primum.study.settings import asks

    if name not in STUDIES:
        raise BadInput(f"the results of {name} cannot be joined", "--with", "ask for all seeds at once")
    found: list[dict[str, Any]] = []
    for path in paths:
        told = read_json(path) if path.is_file() else None
        if not isinstance(told, dict) or not is_result(told):
            raise BadInput("no result of an experiment", str(path), "name the result.json of other seeds")
        alike(asks(module, config), told)
        try:
            joined(module, [*found, told])
        except (KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"not a whole result, {type(error).__name__}: {error}", str(path), "name an unchanged one") from None
        _new(config, set(map(str, told["seeds"])), complete(told), path)
        found.append(told)
    return found


def _new(config: Any, units: set[str], whole: set[str], path: Path) -> None:
    """Refuse to train seeds that an earlier result has whole: of two, the first one's numbers would count."""
    there, lacking = ({int(unit.partition("/")[0]) for unit in found} for found in (units, units - whole))
    both = sorted((there - lacking) & set(range(config.first_seed, config.first_seed + config.seeds)))
    if both:
        said = f"has seed{'s' if len(both) > 1 else ''} {', '.join(map(str, both))} already"
        raise BadInput(said, str(path), f"ask for others, first_seed={max(there) + 1}")


def _done(name: str, module: Any, config: Any, folder: Path, as_json: bool, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """The experiment's document, written into its folder; a study's page beside it."""
    from primum.run import Run, write_json
    from primum.study.experiment import planned, study
    from primum.study.settings import lasting

    if name in STUDIES:
        from primum.study.judged import joined
        from primum.study.write import write_experiments

        planned(module, config)  # what cannot be done is refused before the folder is this experiment's
    run = Run(folder / name, console(as_json), quiet=as_json)
    with run.alone():
        run.say(f"{name}: {module.QUESTION}\nPredicted: {module.PREDICTION}")
        _claim(run, lasting(config))
        if name not in STUDIES:
            about = {"experiment": name, "question": module.QUESTION, "prediction": module.PREDICTION}
            found = {**about, **module.experiment(config, run)}
            write_json(run.path / "result.json", found)
            return found
        found = study(module, config, run, folder / "tasks")
        if earlier:
            write_json(run.path / "new.json", found)  # should joining fail; result.json may be the earlier one
            found = joined(module, [*earlier, found])
        write_json(run.path / "result.json", found)
        (run.path / "new.json").unlink(missing_ok=True)
        write_experiments(run.path, {run.path: found})
        return found


def _described(module: Any, found: dict[str, Any], folder: Path) -> str:
    if hasattr(module, "describe"):
        return str(module.describe(found))
    from primum.study.describe import describe

    return describe(found, folder)


def _print_settings(config: Any) -> None:
    import yaml

    tree = {k: v.model_dump() for k, v in config.items()} if isinstance(config, dict) else config.model_dump()
    typer.echo(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), nl=False)


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
