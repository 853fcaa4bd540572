"""What `primum report` writes of experiments: a page and Markdown beside each result.json, and a page that lists several."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from primum.report.document import document
from primum.report.markup import join, tag
from primum.report.sections import section, table
from primum.run import read_json, write_text
from primum.study.markdown import markdown
from primum.study.page import badge, write_page
from primum.study.page_words import seeds_words
from primum.study.reading import is_result, read_result
from primum.types import BadInput


def results_in(path: Path) -> dict[Path, dict[str, Any]]:
    """The experiments' results at `path`: its own, or those of the folders in it; empty where there are none."""
    folders = [path] if (path / "result.json").exists() else sorted(p.parent for p in path.glob("*/result.json"))
    found = {folder: read_json(folder / "result.json") for folder in folders}
    return {folder: document for folder, document in found.items() if is_result(document)}


def write_experiments(path: Path, found: Mapping[Path, dict[str, Any]]) -> Path:
    """Write report.html and report.md of each result, and where they are those of folders in `path` a page that lists them; the
    page to look at."""
    try:
        for folder, result in found.items():
            write_text(folder / "report.md", markdown(result).encode("utf-8", "replace").decode())
            write_page(result, folder / "report.html")
        if path not in found:
            write_text(path / "report.html", index(path, found).encode("utf-8", "replace").decode())
    except OSError as error:
        raise BadInput(f"cannot write the report, {error.strerror}", str(path), "free space or mend the permissions") from None
    return path / "report.html"


def small(found: Mapping[str, Any]) -> dict[str, Any]:
    """A result to be committed: numbers to six digits, of metrics those that the page shows or a claim is made of, and not the
    command line as typed, which may name folders of one machine (`command` does it again). It is judged and joined as the whole
    one is."""
    pareto = found.get("pareto") or {}
    kept = {
        *found.get("shown", ()),
        *found.get("used", ()),
        *pareto.values(),
        *(pair["metric"] for pair in found.get("pairs", ())),
    }
    few = {**found, "metrics": _of(found.get("metrics", {}), kept)}
    if isinstance(where := found.get("environment"), Mapping):
        few["environment"] = {name: value for name, value in where.items() if name != "command"}
    few["table"] = {arm: _of(told, kept) for arm, told in found.get("table", {}).items()}
    few["arms"] = {
        arm: {**told, "seeds": {unit: {**seed, "metrics": _of(seed["metrics"], kept)} for unit, seed in told["seeds"].items()}}
        for arm, told in found["arms"].items()
    }
    exact = {name: found[name] for name in ("settings", "config", "tasks") if name in found}  # compared when results are joined
    return {**_rounded(few), **exact}


def _of(told: Mapping[str, Any], kept: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name in kept}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def index(path: Path, found: Mapping[Path, dict[str, Any]]) -> str:
    """The page that lists the experiments in `path`, each with its question and verdict, and links to their pages."""
    rows: list[list[object]] = []
    for folder, told in found.items():
        r = read_result(told)
        link = tag(
            "a", r.name if r.name == folder.name else join(r.name, f" ({folder.name})"), href=f"{quote(folder.name)}/report.html"
        )
        rows.append([link, r.question or "–", badge(r.verdict), seeds_words(r.seeds), str(r.environment.get("git") or "–")])
    heads: list[object] = ["Experiment", "Question", "Verdict", "Seeds", "Revision"]
    title = "Experiments"
    header = tag("header", tag("p", "Primum experiments", class_="kicker"), tag("h1", path.resolve().name))
    lead = "Verdicts are computed from intervals; each page tells them claim by claim."
    body = section("experiments", title, lead, table("The experiments of this folder", heads, rows))
    footer = "Written by primum report from the result.json of each folder."
    return document(
        f"{path.resolve().name} · Primum experiments",
        header,
        [("experiments", title)],
        [body],
        footer,
        styles=("page.css", "study.css"),
    )
