"""The command line. Exit codes: 0 good, 1 crash, 2 did not pass, 3 bad input, 130 stopped by Ctrl-C."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

import typer
from rich.console import Console

from primum.commands.adapt import adapt
from primum.commands.compare import compare
from primum.commands.evaluate import evaluate
from primum.commands.experiment import experiment
from primum.commands.findings import findings, show_experiments
from primum.commands.forecast import forecast
from primum.commands.gate import gate
from primum.commands.judge import judge
from primum.commands.options import Debug, Json, console, wide_console
from primum.commands.redteam import novelty, redteam
from primum.commands.reward import reward
from primum.commands.score import score
from primum.types import CANNOT_WRITE, BadInput

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
world = typer.Typer(no_args_is_help=True, help="The embedded micro-world: look at it, or train its base model anew.")
app.add_typer(world, name="microworld")
benches = typer.Typer(no_args_is_help=True, help="Measure this package: a step of RL, also against TRL, and the rule signals.")
app.add_typer(benches, name="bench")
app.add_typer(judge, name="judge")
app.add_typer(reward, name="reward")
app.command()(experiment)
app.command()(findings)
app.command()(evaluate)
app.command()(compare)
app.command()(gate)
app.command()(adapt)
app.command()(forecast)
app.command()(redteam)
app.command()(novelty)
app.command()(score)


@app.command()
def run(
    settings: Annotated[
        list[str] | None, typer.Argument(help="A recipe (a YAML file, or quickstart) and key=value overrides.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the run directories.")] = Path("runs"),
    name: Annotated[str, typer.Option(help="Name of the run directory; default: the recipe's name and its overrides.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove an earlier run of this name first.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the resolved recipe and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Curate, train every arm, compare them, and write the report. A stopped run goes on where it was."""
    import yaml

    from primum.config import load_recipe
    from primum.pipeline import pipeline
    from primum.recipe import Recipe, check, find_recipe
    from primum.run import Run

    path, overrides = find_recipe(settings or [])
    recipe = load_recipe(Recipe, path, overrides)
    if print_config:
        typer.echo(yaml.safe_dump(recipe.model_dump(), sort_keys=False, allow_unicode=True), nl=False)
        return
    folder = output / (name or _run_name(path, overrides))
    check(recipe)
    if fresh and folder.exists():
        _remove_run(folder)
    directory = Run(folder, console(as_json), quiet=quiet or as_json)
    try:
        with directory.alone():
            pipeline(recipe, directory)
    except (BadInput, OSError):
        directory.withdraw()
        raise
    _show(directory, as_json)


@app.command()
def report(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, an experiment's, or a folder of these.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write report.html, report.md and report.json of a run again, and print the summary; of an experiment the first two."""
    from primum.run import Run
    from primum.study.write import results_in

    if found := results_in(path):
        show_experiments(path, found, as_json)
        return
    if not (path / "config.json").exists():
        raise BadInput("this is no run directory, it has no config.json", str(path), "name one, such as runs/quickstart")
    _show(Run(path, console(as_json)), as_json)


@app.command(hidden=True)
def alone(path: Path, parent: int) -> None:
    """Train the RL-only arm of a begun run, for as long as the process that asked lives."""
    from primum.beside import die_with_parent
    from primum.pipeline import alone as train
    from primum.run import Run

    die_with_parent(parent)
    train(Run(path, console(True), quiet=True))


@world.command()
def show(
    count: Annotated[int, typer.Option(min=1, help="Examples of each kind.")] = 3,
    seed: int = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print what the micro-world is made of: rules, examples, and documents of the base corpus."""
    from primum.microworld.show import describe, describe_text

    found = describe(count, seed)
    typer.echo(json.dumps(found, ensure_ascii=False, indent=1) if as_json else describe_text(found))


@world.command()
def build(
    path: Annotated[Path, typer.Argument(help="Folder to write the checkpoint to.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value settings, such as size=M steps=3000 corpus.format_share=0.001")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a base model of the micro-world and save it as a Hugging Face folder."""
    from primum.config import load_recipe
    from primum.microworld import BaseConfig, train_base
    from primum.run import Run, read_json

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BadInput("the folder is there already", str(path), "name a new one")
    config = load_recipe(BaseConfig, None, settings or [])
    train_base(config, path, Run(path.absolute().parent, console(as_json)))
    noted = read_json(path / "primum.json")
    typer.echo(
        json.dumps({"path": str(path), **noted})
        if as_json
        else f"{path}: loss {noted['final_loss']:.3f} after {config.steps} steps"
    )


@benches.command()
def rl(
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="key=value settings, such as model=PATH sizes=large,small steps=5 repeats=2 precision=bfloat16"),
    ] = None,
    against: Annotated[str, typer.Option(help="Also run this trainer, in turn with ours, and compare: trl.")] = "",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Time one step of reinforcement learning: sampling, update, memory; beside TRL also ratios and parity."""
    from primum.bench import BenchConfig, bench_rl, bench_table
    from primum.config import load_recipe

    config = load_recipe(BenchConfig, None, settings or [])
    found = bench_rl(config, against, console(as_json).print)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    wide_console().print(bench_table(found))


@benches.command(name="signals")
def bench_the_signals(
    settings: Annotated[list[str] | None, typer.Argument(help="key=value settings, such as rollouts=4000 repeats=3")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Time the rule signals: rollouts a second on one core, for short and long texts."""
    from primum.bench.signals import SignalsConfig, bench_signals, signals_table
    from primum.config import load_recipe

    found = bench_signals(load_recipe(SignalsConfig, None, settings or []), console(as_json).print)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    wide_console().print(signals_table(found))


def main() -> None:
    """Run the command; turn bad input into one line and exit code 3."""
    debug = "--debug" in sys.argv
    try:
        code = app(standalone_mode=False)
        if code == 130:  # typer's answer to Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except BadInput as error:
        _fail(str(error), debug, 3)
    except (typer.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would only add a traceback to the way out
        going_on = " ".join(sys.argv[1:2]) in ("run", "evaluate", "compare", "redteam", "experiment")
        _fail("stopped; the same command goes on from here" if going_on else "stopped", debug, 130)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        _fail(
            f"cannot write, {error.strerror} ({error.filename or 'disk'}): free some space or choose another --output", debug, 3
        )
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is None:
            raise
        if not usage():  # a command without its subcommand has printed its help
            sys.exit(0)
        _fail(usage(), debug, 3)


def _fail(line: str, debug: bool, code: int) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    Console(stderr=True).print(f"primum: {line}", style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)


def _run_name(path: Path | None, overrides: list[str]) -> str:
    """The recipe's name, and its overrides as far as a folder's name can say them.

    >>> _run_name(None, ["reinforce.reward=keyword"])
    'quickstart-reinforce.reward=keyword'
    """
    said = "-".join([path.stem if path else "quickstart", *overrides])
    name = re.sub(r"[^\w.=+-]+", "_", said, flags=re.ASCII)
    if name == said and len(name) <= 100:
        return name
    return f"{name[:90]}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"  # what the name lost still tells runs apart


def _remove_run(folder: Path) -> None:
    import shutil

    from primum.run import Run

    if not (folder / "config.json").exists():
        raise BadInput("--fresh removes only run directories, and this has no config.json", str(folder), "remove it yourself")
    with Run(folder).alone():
        shutil.rmtree(folder)


def _show(directory: Any, as_json: bool) -> None:
    """Write the report, then print it as JSON or as a table with its path."""
    from primum.report import summary_table, write_report
    from primum.run import read_json

    page = write_report(directory.path)
    found = read_json(directory.path / "report.json")
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    out = wide_console()
    out.print(summary_table(found))
    out.print(f"report: {page}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
