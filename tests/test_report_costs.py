"""What a report says of costs: by stage, by part of a stage, and in money where an hour has a price."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import fake_run
import pytest

from primum.report import collect, write_report


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run.write(tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "toy"))


def rows(run: Path) -> list[str]:
    """The rows of the page's tables as a reader sees them."""
    page = write_report(run).read_text(encoding="utf-8")
    found = re.findall(r"<tr>.*?</tr>", page, flags=re.S)
    return [" ".join(html.unescape(re.sub(r"<[^>]*>", " ", row)).replace("\u202f", " ").split()) for row in found]


def lines(run: Path) -> list[str]:
    return (run / "report.md").read_text(encoding="utf-8").replace("\u202f", " ").splitlines()


def price(run: Path, per_hour: object) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "budget": {"price_per_hour": per_hour}}))


def test_each_part_of_a_stage_says_what_it_took(copied: Path) -> None:
    seen = rows(copied)
    assert "RL after SFT, scoring 2.00 TFLOP 1 700 000 12 s" in seen
    assert "RL after SFT, update 9.00 TFLOP 1 400 000 80 s" in seen
    assert "| RL after SFT, evaluation | 1.00 TFLOP | 200 000 | 11 s |" in lines(copied)
    assert not [row for row in seen if row.startswith("RL alone, update")]  # its ledger does not tell


def test_of_peaks_the_highest_counts_and_an_unknown_one_is_no_zero(copied: Path) -> None:
    assert "Comparison 6-compare 2.20 TFLOP 410 000 0 5 600 33 s 640" in rows(copied)
    assert next(row for row in rows(copied) if row.startswith("Whole run")).endswith("501 s 812")
    assert next(row for row in rows(copied) if row.startswith("RL alone 3-alone")).endswith("188 s –")


def test_the_price_is_that_of_the_hours(copied: Path) -> None:
    assert {stage["price"] for stage in collect(copied)["stages"].values()} == {None}
    assert not [row for row in rows(copied) if "Price" in row]
    price(copied, 7.2)
    assert collect(copied)["stages"]["3-reinforce"]["price"] == pytest.approx(171 / 3600 * 7.2)
    assert next(row for row in rows(copied) if row.startswith("Whole run")).endswith("812 1.002")
    assert next(row for row in lines(copied) if row.startswith("| RL after SFT |")).endswith("| 812 | 0.342 |")


@pytest.mark.parametrize("bad", [{"sample": 3}, [1], {"sample": {"flops": "much", "tokens": None}}, {"unheard": {"flops": 1}}])
def test_damaged_parts_count_as_absent(copied: Path, bad: object) -> None:
    done = copied / "3-reinforce/done"
    content = json.loads(done.read_text())
    content["ledger"]["parts"] = bad
    done.write_text(json.dumps(content))
    price(copied, "dear")
    assert not [row for row in rows(copied) if re.match(r"RL after SFT, .*\d", row)]
