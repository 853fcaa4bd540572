"""`primum evaluate`: one model, its suites, every sample readable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primum.commands.options import Debug, Json, console, wide_console
from primum.types import BadInput

SHOWN = 16  # groups in one line

if TYPE_CHECKING:
    from primum.evaluated import Model
    from primum.evaluation import EvaluationConfig


def evaluate(
    settings: Annotated[
        list[str] | None, typer.Argument(help="A YAML file, and key=value such as model=PATH suites=[harm,task] limit=100")
    ] = None,
    endpoint: Annotated[str, typer.Option(help="Address of an OpenAI-compatible server to ask instead of a local model.")] = "",
    model: Annotated[str, typer.Option(help="With --endpoint: the name the server knows the model by.")] = "",
    output: Annotated[Path, typer.Option(help="Folder of the result; the same command goes on from it.")] = Path("evaluation"),
    inspect_log: Annotated[bool, typer.Option("--inspect-log", help="Also write OUTPUT/logs/*.eval for Inspect.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the resolved settings and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a model on suites. Exit code 2 where a suite fails, since too much of it could not be judged."""
    import yaml

    from primum.comparison import write_page
    from primum.evaluated import ROLLOUTS, has_kept
    from primum.evaluation import EvaluationConfig
    from primum.evaluation import evaluate as measure
    from primum.inspection import log_writer
    from primum.run import Run, plain

    config = _settings(EvaluationConfig, settings or [], endpoint, model)
    if print_config:
        typer.echo(yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True), nl=False)
        return
    write_logs = log_writer() if inspect_log else None
    run = Run(output, console(as_json), quiet=quiet or as_json)
    try:
        with run.alone():
            asked, identity, world = _model(config, endpoint, output)
            found = plain(measure(asked, config, run, identity=identity, world=world))
            write_page([output], output / "report.html")
            if write_logs is not None:
                write_logs(found, output)
            (output / ROLLOUTS).unlink(missing_ok=True)  # every suite has its own by now
    except (BadInput, OSError):
        if not has_kept(output):
            run.withdraw()
        raise
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _show(found, output)
    if found["failed"]:
        raise typer.Exit(2)


def _settings(kind: type[EvaluationConfig], given: list[str], endpoint: str, model: str) -> EvaluationConfig:
    """The settings of a file, of key=value, and of the two options."""
    from primum.config import load_recipe

    path = Path(given[0]) if given and "=" not in given[0] else None
    pairs = given[1:] if path else list(given)
    lost = [word for word in pairs if "=" not in word] or ([given[0]] if path is not None and not path.is_file() else [])
    if lost:
        raise BadInput(
            f"'{lost[0]}' is no setting and no file", "command line", "write key=value, such as model=PATH or suites=[harm,task]"
        )
    if model and not endpoint:
        raise BadInput(
            "--model is the name a server knows", "command line", "give --endpoint URL, or model=PATH for a local model"
        )
    if endpoint and not model and not any(word.startswith("model=") for word in pairs) and path is None:
        raise BadInput("a server has no model of its own choice", "command line", "give --model NAME, as it knows the model")
    if endpoint:
        pairs += [f"endpoint.url={json.dumps(endpoint)}", *([f"model={json.dumps(model)}"] if model else [])]
    return load_recipe(kind, path, pairs)


def _model(config: EvaluationConfig, endpoint: str, output: Path) -> tuple[Model, dict[str, Any], bool]:
    """What is sampled, what identifies it, and whether the micro-world asks."""
    from primum.evaluate.remote import Remote
    from primum.evaluated import ANSWERS, Served, local

    if not endpoint:
        return local(config.model, config.world, output)
    asked = config.endpoint.model_copy(update={"model": config.model})
    served = Served(Remote(asked, output / ANSWERS), f"{config.model} at {endpoint}")
    return served, {"endpoint": endpoint}, config.world == "microworld"


def _show(found: dict[str, Any], output: Path) -> None:
    from rich.table import Table

    out = wide_console()
    for name, told in found["suites"].items():
        table = Table("metric", "mean", "95 % interval", "n", "unscored", title=f"{name}: {told['asks']}", title_justify="left")
        for metric, value in told["metrics"].items():
            table.add_row(metric.replace("_", " "), *_cells(value))
        out.print(table)
        for what in ("outcomes", "outcomes_of_thoughts"):
            counts = ", ".join(f"{outcome} {n}" for outcome, n in told[what].items())
            out.print(f"{what.replace('_', ' ')}: {counts}", highlight=False)
        for group in (key for key in told if key.startswith("by_")):
            if shown := _groups(told[group]):
                out.print(f"{group.replace('_', ' ')}: {shown}", highlight=False)
        for metric, value in told["corrected"].items():
            mean, interval, n, _ = _cells(value)
            line = f"{metric.replace('_', ' ')}: {mean} [{interval}] behind the judge's {value['raw']:.3f}, {n} meanings"
            out.print(f"corrected for the errors of {value['signal']}, {line}", highlight=False)
    for card in found["judge"]["cards"]:
        out.print(card["beside"], highlight=False, markup=False)
        for line in card["advice"]:
            out.print(f"  {line}", highlight=False, markup=False)
    out.print(f"judge: {found['judge']['name']}; every sample: {output}/report.html", highlight=False)
    for line in found["warnings"]:
        out.print(line, style="yellow", highlight=False, markup=False)
    for name in found["failed"]:
        share = found["suites"][name]["unscored"]
        out.print(f"FAILED {name}: {share:.1%} of its rollouts could not be judged", highlight=False)


def _groups(found: dict[str, dict[str, Any]]) -> str:
    """The suite's first number by group, the highest first."""
    rows = [(name, value) for name, told in found.items() for value in told.values() if value["mean"] is not None]
    rows.sort(key=lambda row: -row[1]["mean"])
    shown = [f"{name} {value['mean']:.3f} (n {value['n']})" for name, value in rows[:SHOWN]]
    return ", ".join(shown) + (f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")


def _cells(value: dict[str, Any]) -> list[str]:
    if value["mean"] is None:
        return ["–", "–", str(value["n"]), str(value["unscored"])]
    ends = "–" if value["low"] is None else f"{value['low']:.3f} to {value['high']:.3f}"
    return [f"{value['mean']:.3f}", ends, str(value["n"]), str(value["unscored"])]
