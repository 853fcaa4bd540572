"""docs/findings.md is what the committed results say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from study_document import document

from primum.study.findings import findings

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    second = document() | {"experiment": "reward-hacking", "verdict": "failed", "targets": [], "notes": ["odd <b> | note"]}
    old = {"experiment": "ties", "question": "Do ties help?", "prediction": "never shown", "all": {}}
    odd: dict[str, Any] = {"experiment": "planted", "arms": {"a": {"1": {}}}, "verdict": "held"}
    for name, told in {"ties": old, "hybrid": document(), "reward-hacking-2": second, "planted": odd, "list": [1]}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")
    return tmp_path


def rows(text: str, head: str) -> list[list[str]]:
    """The cells of the first table whose head begins so."""
    table = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table[2:]]


@pytest.mark.skipif(not (DOCS / "findings.md").exists(), reason="no docs/findings.md yet")
def test_the_page_in_the_docs_is_that_of_the_committed_results() -> None:
    assert (DOCS / "findings.md").read_text(encoding="utf-8") == findings(DOCS / "results")


def test_failed_claims_are_in_bold_and_no_others(folder: Path) -> None:
    chapter = findings(folder).split("\n## hybrid\n")[1].split("\n## ")[0]
    assert "- **failed: SFT costs a third of RL or less.** tflops: “SFT alone” / “RL alone”: 0.75 [0.6, 0.9]" in chapter
    assert "- held: SFT ends with less harm than the base." in chapter
    assert "- undecided: RL ends with more harm than SFT." in chapter
    assert "a distance of 64.0 points from the limit" in chapter
    assert "| harm on unseen categories at most 0.10 | 0.2 [0.1, 0.3] | **not met** |" in chapter


def test_the_summary_counts_claims_and_the_targets_are_counted(folder: Path) -> None:
    text = findings(folder)
    assert rows(text, "Experiment") == [
        ["[reward-hacking-2](#reward-hacking-2)", "Does SFT &amp; RL end with &lt; harm?", "**failed**",
         "1 held, 1 failed, 1 undecided", "3", "abc123def456"],
        ["[hybrid](#hybrid)", "Does SFT &amp; RL end with &lt; harm?", "held in part",
         "1 held, 1 failed, 1 undecided", "3", "abc123def456"],
    ]  # fmt: skip
    assert "Of 6 claims: 2 held, 2 failed, 2 undecided." in text
    assert "1 met, 1 not met, 1 not measured." in text
    assert [row[3] for row in rows(text, "Target")] == ["**not met**", "met", "not measured"]


def test_results_of_another_form_show_their_question_and_verdict_alone(folder: Path) -> None:
    text = findings(folder)
    assert rows(text, "Result") == [
        ["[planted.json](results/planted.json)", "–", "held"],
        ["[ties.json](results/ties.json)", "Do ties help?", "–"],
    ]
    assert "never shown" not in text


def test_arms_and_costs_are_told_in_tables(folder: Path) -> None:
    chapter = findings(folder).split("\n## hybrid\n")[1]
    assert rows(chapter, "Arm") == [
        ["Base", "80.0 [55.0, 105.0]", "80.0 [75.0, 85.0]"],
        ["SFT alone", "20.0 [10.0, 30.0]", "80.0 [70.0, 90.0]"],
        ["RL alone (2 of 3 seeds)", "30.0, 9 unscored", "90.0 [85.0, 95.0]"],
    ]
    assert rows(chapter[chapter.index("What each arm cost") :], "Arm")[1] == [
        "SFT alone",
        "1.5",
        "2\u202f000",
        "1\u202f000",
        "0",
        "10",
    ]
    assert "```\nprimum experiment hybrid --seeds 3\n```" in chapter
    assert "**Failed after 2 attempts:** rl, seed 2: RuntimeError: no memory" in chapter


def test_text_of_a_result_starts_no_markup(folder: Path) -> None:
    assert "- odd &lt;b&gt; \\| note" in findings(folder)


def test_what_the_small_world_cannot_tell_stands_before_every_number(folder: Path) -> None:
    text = findings(folder)
    assert 0 < text.index("What it cannot tell") < text.index("## Summary") < text.index("## Targets") < text.index("## hybrid")


def test_the_same_files_give_the_same_text(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    again = tmp_path_factory.mktemp("again")
    for path in sorted(folder.glob("*.json"), reverse=True):
        (again / path.name).write_bytes(path.read_bytes())
    assert findings(again) == findings(folder)
