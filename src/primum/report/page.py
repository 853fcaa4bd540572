"""The whole page in one file: styles, plots, script and samples inside, nothing loaded from anywhere."""

from __future__ import annotations

from typing import Any

from primum.report import alarms, sections, sections_run
from primum.report.document import document
from primum.report.markup import Markup, tag

LINKS = (("verdict", "Verdict"), ("results", "Results"), ("categories", "Categories"), ("tradeoffs", "Trade-offs"),
         ("steps", "Steps"), ("training", "Training"), ("hacking", "Hacking"), ("alarms", "Alarms"), ("cost", "Cost"),
         ("samples", "Samples"), ("reproduce", "Repeat"), ("reading", "Reading"))  # fmt: skip


def page(report: dict[str, Any], chosen: dict[str, Any]) -> str:
    """The report as one HTML document; `chosen` are the samples it embeds."""
    footer = f"Written by primum report from the run directory {report['name']}; report.json holds every number on this page."
    return document(f"{report['name']} · Primum report", _header(report), LINKS, _sections(report, chosen), footer)


def _sections(report: dict[str, Any], chosen: dict[str, Any]) -> list[Markup]:
    return [
        sections.verdict(report),
        sections.results(report),
        sections.categories(report),
        sections.tradeoffs(report),
        sections.steps(report),
        sections_run.training(report),
        sections_run.hacking(report),
        alarms.watched(report),
        sections_run.cost(report),
        sections_run.samples(chosen),
        sections_run.reproduce(report),
        sections_run.reading(report),
    ]


def _header(report: dict[str, Any]) -> Markup:
    env = report["environment"]
    facts = [
        report["created"],
        f"seed {report['seed']}" if report["seed"] is not None else None,
        f"primum {env['primum']}" if env.get("primum") else None,
        f"revision {env['git']}" if env.get("git") else None,
    ]
    line = tag("p", " · ".join(f for f in facts if f), class_="facts")
    return tag(
        "header",
        tag("p", "Primum report", class_="kicker"),
        tag("h1", report["name"]),
        tag("p", report["headline"], class_="headline"),
        line,
    )
