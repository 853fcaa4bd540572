"""The red-team experiment: its arithmetic by hand, and a small run of all of it."""

import json

import pytest

from primum.experiments.redteam import METHODS, describe, summary

SMALL = (
    "seeds=1", "first_seed=100", "workers=1", "train_examples=48", "epochs=1", "test_examples=2", "depth=1", "queries=160",
    "listed=1", "audit=60", "adapt_finds=12", "adapt_epochs=1",
)  # fmt: skip


def seed(covered, fresh, *, unseen=True):
    """A seed with two reachable cells; `covered` says which each method holds."""
    cells = [["H1", "plain", "A", 0], ["H2", "plain", "A", 0]]
    estimate = {"mean": 0.5}
    held = {m: [cells[i] for i in which] for m, which in zip(METHODS, covered, strict=True)}
    everyday = dict.fromkeys(("harm_test", "over_refusal", "borderline_useful", "benign_useful"), estimate)
    mass = {"mean": 0.1, "low": 0.0, "high": 0.2}
    return {
        "reachable": cells, "stale": True,
        "searches": {
            m: {"coverage": {"mean": len(h) / 2}, "qd": float(len(h)), "success": 0.4, "covered": h, "cells_covered": len(h)}
            for m, h in held.items()
        },
        "fresh": {"adapted": {"success": fresh}, "control": {"success": 0.3}},
        "unseen": {"inside": unseen, "mass": mass, "niches": 1.0, "true_mass": 0.1, "true_niches": 2},
        "everyday": dict.fromkeys(("hardened", "adapted", "control"), everyday),
        "blind": {m: {"finds": {f"H{i}": i for i in range(1, 9)}} for m in ("map-elites", "random")},
    }  # fmt: skip


def test_the_summary_by_hand():
    found = {"seed-0": seed(([0, 1], [0], []), 0.1), "seed-1": seed(([0, 1], [1], [0]), 0.06, unseen=False)}
    told = summary(found)
    assert told["coverage"] == {"map-elites": 1.0, "random": 0.5, "single-objective": 0.25}
    assert told["beats"]["random"]["mean"] == 0.5
    assert told["beats"]["single-objective"]["mean"] == 0.75
    assert told["beats_on_seeds"] == {"random": 2, "single-objective": 2}
    assert told["cut"]["adapted"]["mean"] == pytest.approx((0.75 + 0.85) / 2)
    assert told["cut"]["control"]["mean"] == pytest.approx(0.25)
    assert told["targets"]["a fresh archive succeeds 70 % less"]
    assert not told["targets"]["unseen mass agrees on most seeds"]
    assert "NOT met: unseen mass" in describe({"seeds": found, "summary": told})


def test_an_archive_that_found_nothing_cuts_nothing():
    one = seed(([], [], []), 0.0)
    one["searches"]["map-elites"]["success"] = 0.0
    told = summary({"seed-0": one})
    assert told["cut"]["adapted"]["mean"] != told["cut"]["adapted"]["mean"]  # nan
    assert not told["targets"]["a fresh archive succeeds 70 % less"]


@pytest.mark.slow
def test_a_small_run_of_the_whole_experiment(cli, tmp_path):
    found = json.loads(cli("experiment", "redteam", *SMALL, "--output", tmp_path, "--json").stdout)
    one = found["seeds"]["seed-100"]
    assert one["cells"] == 174
    assert {m: s["queries"] for m, s in one["searches"].items()} == dict.fromkeys(METHODS, 160)
    assert one["stale"]
    assert one["demonstrations"] > 12
    assert one["unseen"]["draws"] == 60
    assert 0 <= one["unseen"]["true_mass"] <= 1
    assert one["blind"]["random"]["queries"] == 160
    assert found["prediction"]
