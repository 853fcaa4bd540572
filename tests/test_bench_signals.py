"""The bench of signals: distinct rollouts of stated lengths, every signal timed on each, as a table and as JSON."""

import json
from io import StringIO

import pytest
from rich.console import Console

from primum.bench.signals import DEAR, FORMULAS, RULES, SignalsConfig, bench_signals, signals_table
from primum.bench.texts import formulas_of, rollouts_of
from primum.signals import correctness, language_mixing, refusal
from primum.types import KINDS

JUDGED = ("all with keyword judge", "all with embedded judge")


@pytest.fixture(scope="module")
def found():
    return bench_signals(SignalsConfig(rollouts=64, repeats=2), lambda line: None)


def test_every_signal_is_timed_on_every_length(found):
    for row in found["lengths"].values():
        assert set(row["signals"]) == {*RULES, *DEAR, *JUDGED}
        for speed in row["signals"].values():
            assert speed["n"] == 2
            assert 0 < speed["low"] <= speed["per_second"] <= speed["high"]
    assert set(found["formulas"]["signals"]) == {FORMULAS}


def test_the_lengths_are_stated_and_differ(found):
    middles = [row["reply_characters"][1] for row in found["lengths"].values()]
    assert middles == sorted(middles)
    assert middles[0] < 100 < middles[1] < 1000 < middles[2]


def test_the_table_has_a_row_for_each_signal(found):
    out = Console(file=StringIO(), width=200)
    out.print(signals_table(found))
    shown = out.file.getvalue()
    assert all(name in shown for name in (*RULES, *DEAR, *JUDGED, "paragraph: characters of thought", FORMULAS))


@pytest.mark.parametrize("length", ["microworld", "paragraph", "page"])
def test_no_two_rollouts_are_alike_and_another_seed_gives_others(length):
    some, others = rollouts_of(length, 400, seed=1), rollouts_of(length, 400, seed=2)
    assert len({(r.thought, r.reply) for r in some + others}) == 800
    assert rollouts_of(length, 400, seed=1) == some
    assert {r.example.kind for r in some} == set(KINDS)


def test_made_up_prose_refuses_mixes_nothing_and_solves_half_its_tasks():
    rollouts = rollouts_of("paragraph", 256, seed=3)
    refused = refusal(rollouts)
    assert 0.15 < sum(x >= 0.5 for x in refused) / 256 < 0.4
    assert sum(language_mixing([r for r in rollouts if r.example.kind != "task"])) == 0
    solved = [x for x in correctness(rollouts) if x == x]
    assert len(solved) == 64
    assert 0.3 < sum(solved) / 64 < 0.7


def test_formulas_are_right_in_another_form():
    rollouts = formulas_of(8, seed=1)
    assert correctness(rollouts) == [1.0] * 8
    assert len({r.reply for r in rollouts}) == 8


def test_the_command_prints_json_and_nothing_else(cli):
    said = cli("bench", "signals", "rollouts=8", "repeats=1", "--json")
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert told["settings"]["rollouts"] == 8
    assert {"lengths", "formulas", "environment", "note"} < set(told)


def test_a_setting_that_is_none_is_refused(cli):
    said = cli("bench", "signals", "rollout=8")
    assert said.returncode == 3
    assert "did you mean 'rollouts'" in said.stderr
