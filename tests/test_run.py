"""A run directory: what it remembers, and what a kill leaves of it."""

import json
import math
import os
from pathlib import Path

import pytest
from rich.console import Console

from primum.ledger import Ledger, Spent
from primum.run import Run, plain, read_examples, read_jsonl, rollout_row, write_examples, write_json, write_jsonl, write_text
from primum.stats import Estimate
from primum.types import BadInput, Example, Rollout

ODD = "one\u2028two\u2029three\x85four\x0bfive\r\nsix 是 🍵"


def quiet(path: Path) -> Run:
    return Run(path, Console(quiet=True), quiet=True)


def test_a_finished_stage_gives_back_what_it_noted_and_what_it_cost(tmp_path: Path) -> None:
    stage = quiet(tmp_path).child("2-coldstart")
    assert stage.done() is None
    stage.ledger.flops = 7.0
    stage.ledger.charge("update", flops=2.0, tokens=5)
    stage.finish(best=3, selection=math.nan)
    again = quiet(tmp_path).child("2-coldstart")
    assert again.done() == {"best": 3, "selection": None}
    assert again.ledger == Ledger(flops=9.0, trained_tokens=5, parts={"update": Spent(2.0, 5)})


def test_fresh_removes_files_and_folders_but_not_the_stage(tmp_path: Path) -> None:
    stage = quiet(tmp_path / "stage")
    (stage.path / "best").mkdir()
    (stage.path / "best" / "weights").write_text("x")
    stage.log(step=1)
    stage.fresh()
    assert list(stage.path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write here"):
        quiet(tmp_path / "file" / "run")


def test_a_torn_last_line_of_metrics_is_dropped_and_an_earlier_one_is_not_forgiven(tmp_path: Path) -> None:
    run = quiet(tmp_path)
    assert run.metrics() == []
    run.log(step=1, loss=math.nan)
    run.log(step=2, kl=math.inf, validation={"harm": math.nan})
    with (tmp_path / "metrics.jsonl").open("a") as out:
        out.write('{"step": 3, "lo')
    assert run.metrics() == [{"step": 1, "loss": None}, {"step": 2, "kl": None, "validation": {"harm": None}}]
    with pytest.raises(BadInput, match=r"metrics\.jsonl, line 3"):
        list(read_jsonl(tmp_path / "metrics.jsonl"))
    with (tmp_path / "metrics.jsonl").open("a") as out:
        out.write('\n{"step": 4}\n')
    with pytest.raises(BadInput, match="line 3"):
        run.metrics()


def test_odd_line_ends_in_a_models_text_survive(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"reply": ODD}, {"reply": "next"}])
    assert list(read_jsonl(path)) == [{"reply": ODD}, {"reply": "next"}]
    assert "\u2028" in path.read_text(encoding="utf-8")
    examples = [Example("1", ODD, "task", answer="3", thought=ODD, reply=ODD), Example("2", "b", "benign", twin="1")]
    write_examples(path, examples)
    assert read_examples(path) == examples


def test_an_absent_or_empty_file_has_no_rows(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "empty.jsonl", [])
    assert list(read_jsonl(tmp_path / "empty.jsonl")) == list(read_jsonl(tmp_path / "absent.jsonl")) == []


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "done"
    write_json(path, {"a": 1})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "x" * 100_000 + "\ud800")
    assert json.loads(path.read_text()) == {"a": 1}

    def rows():  # type: ignore[no-untyped-def]
        yield {"a": 2}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(path, rows())
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_reader_of_the_old_file_sees_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, [1, 2])
    with path.open() as reader:
        write_json(path, [3])
        assert json.load(reader) == [1, 2]
    assert json.loads(path.read_text()) == [3]


def test_a_kill_before_the_rename_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "arms.json"
    write_json(path, [1])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, [1, 2])
    assert json.loads(path.read_text()) == [1]


def test_plain_is_strict_json() -> None:
    value = {1: (math.nan, math.inf, 2.5), "path": Path("a/b"), "e": Estimate(math.nan, math.nan, math.nan, 0, 3), "n": None}
    found = plain(value)
    assert found == {
        "1": [None, None, 2.5],
        "path": "a/b",
        "e": {"mean": None, "low": None, "high": None, "n": 0, "unscored": 3},
        "n": None,
    }
    json.dumps(found, allow_nan=False)


def test_a_rollout_row_is_readable_and_holds_no_token_ids() -> None:
    rollout = Rollout(Example("7", "ask", "harmful", "H1"), "hm", "no", True, False, 4, 2, (1, 2), (3, 4), (-0.5, -0.1))
    assert rollout_row(rollout, step=3, reward=math.nan) == {
        "id": "7", "kind": "harmful", "category": "H1", "prompt": "ask", "thought": "hm", "reply": "no", "truncated": True,
        "well_formed": False, "thought_tokens": 4, "reply_tokens": 2, "step": 3, "reward": None,
    }  # fmt: skip


def test_a_child_talks_on_its_parents_terminal_and_a_file_gets_no_bar(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as out:
        run = Run(tmp_path / "run", Console(file=out, width=20))
        child = run.child("1-curate")
        child.say("a line [of text] that is longer than the terminal is wide")
        with child.progress("curate", 3) as advance:
            advance(2, "note")
    assert (tmp_path / "log").read_text() == "a line [of text] that is longer than the terminal is wide\n"
