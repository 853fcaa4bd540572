"""The pages say what the code does: links, settings, commands, metrics and frequencies."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from primum.config import known_keys, load_recipe
from primum.evaluate import METRICS
from primum.microworld import CorpusConfig
from primum.recipe import Recipe, find_recipe
from primum.run import Ledger

ROOT = Path(__file__).parents[1]
PAGES = [page for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]) if page.name != "log.md"]
LOGGED = (
    "step", "reward", "reward_harmful", "reward_borderline", "reward_benign", "reward_task", "kl", "entropy", "loss", "grad_norm",
    "clipped", "tokens", "thought_tokens", "reply_tokens", "truncated", "looped", "prefilled", "unscored", "informative", "flops",
    "success_harmful", "success_borderline", "success_benign", "success_task", "pending", "refilled", "replayed", "rolled_back",
    "back_to", "seconds", "validation",
    "epoch", "harm", "over_refusal", "useful", "accuracy", "selection",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    dead = [t for t in targets if "://" not in t and not (page.parent / t).exists() and not t.endswith(".png")]
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_named_is_there(page: Path) -> None:
    known = {*known_keys(Recipe)}
    sections = {key for key in known if "." not in key}
    files = (".py", ".md", ".jsonl")
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*|: [^`]*)?`", page.read_text(encoding="utf-8"))
    unknown = [n for n in named if n.split(".")[0] in sections and n not in known and not n.endswith(files)]
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_run_shown_has_settings_that_load(page: Path) -> None:
    for command in runs(page.read_text(encoding="utf-8")):
        words = shlex.split(command, comments=True)
        for option in ("--name", "--output"):
            if option in words:
                del words[words.index(option) : words.index(option) + 2]
        settings = [word for word in words if not word.startswith("--")]
        path, overrides = find_recipe(settings)
        shipped = path is not None and path.parts[0] == "recipes"
        load_recipe(Recipe, ROOT / path if shipped and path else None, overrides)


def test_every_number_of_a_report_is_defined() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    names = [*METRICS, "harm_by_category", "over_refusal_by_category", *(f.name for f in fields(Ledger)), *LOGGED]
    assert not [name for name in names if f"`{name}`" not in page]


def test_the_frequencies_of_the_base_corpus_are_the_defaults() -> None:
    page = (ROOT / "docs" / "microworld.md").read_text(encoding="utf-8")
    found = {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", page, re.M)}
    assert found == CorpusConfig().model_dump()


def runs(text: str) -> Iterator[str]:
    """What follows `primum run` in code, continued lines joined; patterns of a command are left out."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for command in re.findall(r"(?:^|`)(?:\$ )?(?:\.venv/bin/)?primum run\b([^`\n]*)", joined, re.M):
        if not re.search(r"[\[…]", command.partition("#")[0].replace("='[", "")):
            yield command
