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
    assert "1 met, 1 not met, 1 not known." in text
    assert [row[3] for row in rows(text, "Target")] == ["**not met**", "met", "not known"]


def test_another_asking_beside_an_experiments_result_is_shown_and_not_counted_again(folder: Path) -> None:
    (folder / "hybrid-again.json").write_text((folder / "hybrid.json").read_text(encoding="utf-8"), encoding="utf-8")
    text = findings(folder)
    assert [row[0] for row in rows(text, "Experiment")][1:] == ["[hybrid](#hybrid)", "[hybrid-again](#hybrid-again)"]
    assert "2 undecided. Neither they nor the targets count hybrid-again: asked again" in text
    assert "1 met, 1 not met, 1 not known." in text
    assert len(rows(text, "Target")) == 3


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


def test_results_are_taken_in_short_and_judged_from_what_was_kept(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from primum.cli import app
    from primum.experiments import hybrid
    from primum.study.judged import again

    def told(mean: float) -> dict[str, Any]:
        return {"mean": mean, "low": mean - 1 / 30, "high": mean + 1 / 30, "n": 60, "unscored": 0}

    names = ("harm_novel", "accuracy", "forced_prefix", "never_shown")
    seeds = {s: {"metrics": {n: told(0.1 + int(s) / 30) for n in names}, "cost": {}, "extra": {}} for s in ("0", "1", "2")}
    whole = document() | {"arms": {arm: {"label": arm, "about": "", "seeds": seeds} for arm in hybrid.ARMS}}
    pairs = [{"a": a, "b": b, "metric": m, "seeds": dict.fromkeys(seeds, told(0.0))}
             for a in hybrid.ARMS for b in hybrid.ARMS for m in names]  # fmt: skip
    whole = again(hybrid, whole | {"pairs": pairs, "seeds": list(seeds), "failures": [], "config": {"share": 1 / 3}})
    whole["environment"] = {"git": "abc", "command": "primum experiment hybrid --output /home/me"}
    (tmp_path / "runs/hybrid").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "runs/hybrid/result.json").write_text(json.dumps(whole), encoding="utf-8")
    done = CliRunner().invoke(app, ["findings", str(tmp_path / "docs"), "--take", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    kept = json.loads((tmp_path / "docs/hybrid.json").read_text(encoding="utf-8"))
    assert set(kept["arms"]["sft"]["seeds"]["0"]["metrics"]) == {"harm_novel", "accuracy", "forced_prefix"}
    assert kept["arms"]["sft"]["seeds"]["1"]["metrics"]["accuracy"]["mean"] == 0.133333
    assert kept["environment"] == {"git": "abc"}  # not the command as typed, with somebody's folders
    assert kept["config"] == whole["config"]  # what joining compares is not rounded
    said = [(c["measure"], c["verdict"], c["value"]["mean"]) for c in again(hybrid, kept)["claims"]]
    assert said == [(c["measure"], c["verdict"], pytest.approx(c["value"]["mean"], abs=1e-5)) for c in whole["claims"]]
    assert "## hybrid" in done.output
    before = (tmp_path / "docs/hybrid.json").read_bytes()
    (tmp_path / "runs/other").mkdir()
    for text, complaint in (
        (json.dumps(whole | {"settings": {"tflops": 2.5, "quick": True}}), "a quick run"),
        (json.dumps(whole | {"settings": {}}), "other settings"),
        (json.dumps(whole | {"seeds": ["0"]}), "1 whole seeds or folds, the kept result has 3"),
        (json.dumps(whole | {"failures": [{"label": "RL", "error": "e", "seeds": ["2"]}]}), "2 whole seeds or folds"),
        (json.dumps(whole | {"arms": {"sft": {"label": "SFT"}}}), "not a whole result"),
        (json.dumps(whole | {"notes": ["newer"]}), "another result of hybrid"),
    ):
        (tmp_path / "runs/other/result.json").write_text(text, encoding="utf-8")
        runs = tmp_path / ("runs" if "another" in complaint else "runs/other")
        refused = CliRunner().invoke(app, ["findings", str(tmp_path / "docs"), "--take", str(runs)])
        assert complaint in str(refused.exception)
        assert (tmp_path / "docs/hybrid.json").read_bytes() == before
    good = whole | {"experiment": "culture", "notes": ["newer"]}
    (tmp_path / "runs/a").mkdir()
    (tmp_path / "runs/a/result.json").write_text(json.dumps(good), encoding="utf-8")
    refused = CliRunner().invoke(app, ["findings", str(tmp_path / "docs"), "--take", str(tmp_path / "runs")])
    assert "another result of hybrid" in str(refused.exception)
    assert not (tmp_path / "docs/culture.json").exists()  # none where one is refused
    (tmp_path / "docs/culture.json").write_text("{", encoding="utf-8")
    refused = CliRunner().invoke(app, ["findings", str(tmp_path / "docs"), "--take", str(tmp_path / "runs/a")])
    assert "not a whole result, JSONDecodeError" in str(refused.exception)
    assert "docs/culture.json" in str(refused.exception)
