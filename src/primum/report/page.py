"""The whole page in one file: styles, plots, script and samples inside, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from primum.report import alarms, sections, sections_run
from primum.report.markup import Markup, join, tag

LINKS = (("verdict", "Verdict"), ("results", "Results"), ("categories", "Categories"), ("tradeoffs", "Trade-offs"),
         ("steps", "Steps"), ("training", "Training"), ("hacking", "Hacking"), ("alarms", "Alarms"), ("cost", "Cost"),
         ("samples", "Samples"), ("reproduce", "Repeat"), ("reading", "Reading"))  # fmt: skip


def page(report: dict[str, Any], chosen: dict[str, Any]) -> str:
    """The report as one HTML document; `chosen` are the samples it embeds."""
    script = _asset("page.js")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        tag("title", f"{report['name']} · Primum report"),
        tag("style", Markup(_asset("page.css"))),
    )
    main = tag("main", *_sections(report, chosen), id="main")
    body = tag(
        "body", tag("a", "Skip to the results", href="#main", class_="skip"), _header(report), _links(), main, _footer(report)
    )
    return "<!doctype html>\n" + tag("html", head, join(body, tag("script", Markup(script))), lang="en") + "\n"


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


def _asset(name: str) -> str:
    return files("primum.report").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Forbids every load, and every script but this page's own."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


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


def _links() -> Markup:
    items = [tag("li", tag("a", name, href=f"#{id_}")) for id_, name in LINKS]
    button = tag("button", "◐", type="button", id="theme", hidden=True, aria_label="Theme: auto")
    return tag("div", tag("nav", tag("ul", *items), aria_label="Sections"), button, class_="bar")


def _footer(report: dict[str, Any]) -> Markup:
    return tag(
        "footer",
        tag(
            "p", f"Written by primum report from the run directory {report['name']}; report.json holds every number on this page."
        ),
    )
