"""`primum findings`, and how `primum report` shows experiments: their pages, and one document of all that was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from primum.commands.options import Debug, wide_console


def findings(
    folder: Annotated[Path, typer.Argument(help="Folder of results, NAME.json each.")] = Path("docs/results"),
    output: Annotated[Path | None, typer.Option(help="Markdown file to write; else it is printed.")] = None,
    take: Annotated[
        Path | None, typer.Option(help="Folder of runs whose results are first copied into FOLDER, in short.")
    ] = None,
    debug: Debug = False,
) -> None:
    """What experiments found, as one Markdown document: verdicts, targets, tables, and what a micro-world can tell."""
    from primum.run import write_text
    from primum.study.findings import findings as written
    from primum.types import BadInput

    if take is not None:
        _take(take, folder)
    if not any(folder.glob("*.json")):
        raise BadInput("no results here", str(folder), "name a folder with result.json files, such as docs/results")
    text = written(folder)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        write_text(output, text)
    except OSError as error:
        raise BadInput(f"cannot write, {error.strerror}", str(output), "choose another --output") from None


def _take(runs: Path, folder: Path) -> None:
    """Copy the results in `runs` to NAME.json in `folder`, without what no page shows; all, or none where one is refused."""
    from primum.run import write_text
    from primum.study.write import results_in
    from primum.types import BadInput

    found = results_in(runs)
    if not found:
        raise BadInput("no results here", str(runs), "name runs/experiments, or the folder of one experiment in it")
    texts: dict[Path, str] = {}
    for path, told in found.items():
        kept = folder / f"{told['experiment']}.json"
        if kept in texts:
            raise BadInput(f"another result of {told['experiment']}", str(path), "name the folder of one of them")
        texts[kept] = _short(told, path, kept)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kept, text in texts.items():
            write_text(kept, text)
    except OSError as error:
        raise BadInput(f"cannot write, {error.strerror}", str(folder), "choose another folder") from None


def _short(told: dict[str, Any], path: Path, kept: Path) -> str:
    """A result as it is kept; a toy, or one of fewer seeds than is kept, would lose what is there."""
    from primum.types import BadInput

    few, seeds, settings = _size(lambda: told, path)
    _, there, others = _size(lambda: json.loads(kept.read_text(encoding="utf-8")), kept) if kept.is_file() else ({}, 0, settings)
    if settings.get("quick"):
        raise BadInput("a quick run says nothing worth keeping", str(path), "run it without --quick")
    if settings != others:
        raise BadInput("the kept result has other settings", str(path), f"keep it elsewhere, or remove {kept}")
    if seeds < there:
        raise BadInput(f"{seeds} whole seeds or folds, the kept result has {there}", str(path), f"join them, --with {kept}")
    return json.dumps(few, ensure_ascii=False) + "\n"


def _size(read: Callable[[], Any], path: Path) -> tuple[dict[str, Any], int, dict[str, Any]]:
    """A result in short, how many seeds or folds it has whole, and the settings that are not the usual ones."""
    from primum.study.judged import complete
    from primum.study.write import small
    from primum.types import BadInput

    try:
        told = read()
        return small(told), len(complete(told)), dict(told["settings"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"not a whole result, {type(error).__name__}: {error}"
        raise BadInput(what, str(path), "run it again, or remove it") from None


def show_experiments(path: Path, found: dict[Path, dict[str, Any]], as_json: bool) -> None:
    """Write the pages of experiments, then print the results as JSON (a list where there are several), or their verdicts."""
    from primum.study.write import write_experiments

    page = write_experiments(path, found)
    if as_json:
        documents = list(found.values())
        typer.echo(json.dumps(documents[0] if path in found else documents, ensure_ascii=False))
        return
    out = wide_console()
    for folder, told in found.items():
        out.print(f"{told['experiment']}: {told.get('verdict') or 'no verdict'} ({folder})", highlight=False, markup=False)
    out.print(f"report: {page}", highlight=False, soft_wrap=True)
