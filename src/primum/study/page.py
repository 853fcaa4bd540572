"""An experiment's result as one self-contained page: what was asked, predicted and found, with its intervals and its cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from primum.report.document import document
from primum.report.markup import Markup, join, tag
from primum.report.sections import behind, section, table
from primum.run import plain, write_text
from primum.study import page_plots, page_samples, page_table, plots
from primum.study.page_words import (
    READING,
    claimed,
    could_show,
    full,
    measure_words,
    number,
    rests_on,
    seeds_words,
    sign,
    unit_of,
)
from primum.study.reading import is_result, read_result
from primum.study.result import Claim, Result

__all__ = ["is_result", "page", "write_page"]


def write_page(found: Mapping[str, Any], path: Path) -> Path:
    """Write the page of an experiment's result.json to `path`, whole or not at all; the path."""
    write_text(path, page(found).encode("utf-8", "replace").decode())
    return path


def page(found: Mapping[str, Any]) -> str:
    """The page as HTML. What the document lacks is left out; all its text stays text."""
    result = read_result(found)
    looks = plots.looks(result.arms)
    made = {
        "verdict": ("Verdict", _verdict(result)),
        "targets": ("Targets", _targets(result)),
        "arms": ("Arms", _arms(result, looks)),
        "results": ("Results", page_table.results(result, looks)),
        "tradeoff": ("Trade-off", page_plots.tradeoff(result, looks)),
        "curves": ("Training", page_plots.curves(result, looks)),
        "pairs": ("Seeds", page_plots.pairs(result, looks)),
        "samples": ("Answers", page_samples.samples(result, looks)),
        "cost": ("Cost", page_table.cost(result, looks)),
        "notes": ("Notes", _notes(result)),
        "repeat": ("Repeat", _repeat(result)),
    }
    kept = [(id_, name, body) for id_, (name, body) in made.items() if body is not None]
    footer = "Written from the experiment's result.json, which holds every number on this page."
    return document(
        f"{result.name} · Primum experiment", _header(result), [(id_, name) for id_, name, _ in kept],
        [body for _, _, body in kept], footer, styles=("page.css", "study.css"),
    )  # fmt: skip


def badge(verdict: str) -> Markup:
    """A verdict with its sign, so that colour is not alone in telling it."""
    return tag("span", sign(verdict), " ", verdict or "no verdict", class_=f"verdict {READING.get(verdict, 'odd')}")


def _header(found: Result) -> Markup:
    env = found.environment
    facts = [
        found.model, seeds_words(found.seeds), f"{len(found.arms)} arms", f"primum {env['primum']}" if env.get("primum") else "",
        f"revision {env['git']}" if env.get("git") else "",
    ]  # fmt: skip
    return tag(
        "header",
        tag("p", "Primum experiment", class_="kicker"),
        tag("h1", found.name),
        tag("p", found.question, class_="headline") if found.question else None,
        tag("p", badge(found.verdict), class_="outcome"),
        tag("p", " · ".join(f for f in facts if f), class_="facts"),
    )


def _verdict(found: Result) -> Markup:
    predicted = tag("blockquote", tag("b", "Predicted, before the run"), tag("p", found.prediction)) if found.prediction else None
    claims = [tag("div", tag("dt", badge(c.verdict)), tag("dd", c.text, _evidence(found, c))) for c in found.claims]
    lead = (
        "Computed from intervals, not written: a claim held, or failed, where the whole 95\u202f% interval lies on one side of "
        "its limit, and is undecided otherwise; answers that nobody could score widen it, as if they lay at either end. "
        "Intervals are of single claims: of twenty, about one misses."
    )
    none = None if claims else tag("p", "No claim was computed in this experiment.", class_="absent")
    return section("verdict", "What was predicted, and what came out", lead, predicted, tag("dl", *claims, class_="claims"), none)


def _evidence(found: Result, claim: Claim) -> Markup:
    unit, difference = unit_of(found, claim)
    measured = measure_words(found, claim)
    value = full(unit, claim.value, difference=difference)
    line = f"{measured + ': ' if measured else ''}{value} ({rests_on(claim.value)}); {claimed(found, claim)}"
    more = could_show(found, claim)
    return join(tag("small", line), tag("small", more) if more else None)


def _targets(found: Result) -> Markup | None:
    if not found.targets:
        return None
    rows = [tag("div", tag("dt", badge(t.verdict)), tag("dd", t.text, _reached(found, t))) for t in found.targets]
    met = sum(t.verdict == "met" for t in found.targets)
    lead = (
        f"Figures that the project set itself: {met} of {len(found.targets)} met. A target is met where the mean over seeds "
        "reaches it; its interval may reach over the limit."
    )
    return section("targets", "Targets", lead, tag("dl", *rows, class_="claims"))


def _reached(found: Result, target: Claim) -> Markup:
    unit, difference = unit_of(found, target)
    sense = {"below": "at most ", "above": "at least "}.get(target.sense, "")
    wanted = f"asked: {sense}{number(unit, target.limit, difference=difference)}"
    value = (
        f"{full(unit, target.value, difference=difference)} ({rests_on(target.value)}); " if target.value.mean is not None else ""
    )
    return tag("small", value + wanted)


def _arms(found: Result, looks: Mapping[str, str]) -> Markup | None:
    if not found.arms:
        return None
    return section(
        "arms", "Arms", "What was done in each; marker and colour are the same in every plot.", page_plots.legend(found, looks)
    )


def _notes(found: Result) -> Markup | None:
    others = page_table.extras(found)
    if not (found.notes or found.failures or others):
        return None
    parts: list[object] = [tag("ul", *(tag("li", n) for n in found.notes), class_="limits")] if found.notes else []
    if found.failures:
        rows: list[list[object]] = [[task or "–", error or "–", attempts or "–"] for task, error, attempts in found.failures]
        heads: list[object] = ["Task", "Error", "Attempts"]
        said = tag("p", "What did not finish is in no number above; nor is what needed it.", class_="said")
        parts += [tag("aside", tag("h3", "Failed"), said, table("Failures", heads, rows), class_="doubts")]
    return section("notes", "Notes", None, *parts, others)


def _repeat(found: Result) -> Markup:
    command = tag(
        "pre", tag("code", found.command or "not recorded"), tabindex="0", aria_label="Reproduction command", class_="command"
    )
    settings = yaml.safe_dump(json.loads(json.dumps(plain(found.settings), default=str)), sort_keys=False, allow_unicode=True)
    behind_ = (
        behind("Settings", tag("pre", tag("code", settings), tabindex="0", aria_label="Settings")) if found.settings else None
    )
    env = found.environment
    packages = env.get("packages")
    facts = {**{k: v for k, v in env.items() if k != "packages"}, **(packages if isinstance(packages, Mapping) else {})}
    rows: list[list[object]] = [[str(k), str(v)] for k, v in facts.items() if v is not None]
    versions = behind("Environment", table("Environment", ["What", "Which"], rows)) if rows else None
    lead = "The same command on the same revision, versions and machine gives the same numbers, in however many processes."
    return section("repeat", "Repeat it", lead, command, behind_, versions)
