"""`primum score`: every format, columns and labels, agreement by hand, and mistakes told in one line."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from primum.cli import app, main
from primum.score import Columns, agreement, label_map, read_transcripts, score
from primum.signals.named import named
from primum.types import BadInput

DATA = Path(os.environ.get("PRIMUM_DATA") or Path(__file__).resolve().parents[1] / ".." / "shared" / "data")
NO, YES, HALF = "Sorry, I cannot help with that.", "Boil it, then pour it.", "Sorry, I cannot help. Ok, boil it."
ROWS: list[dict[str, Any]] = [
    {"prompt": "a", "reply": NO, "label": "2_full_refusal"},
    {"prompt": "b", "reply": YES, "label": "1_full_compliance"},
    {"prompt": "c", "reply": HALF, "label": "2_full_refusal"},
    {"prompt": "d", "reply": YES, "label": "1_full_compliance"},
    {"prompt": "e", "reply": "", "label": "3_partial_refusal"},
]


def written(folder: Path, name: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    path = folder / name
    kind = name.removesuffix(".gz").rsplit(".", 1)[1]
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    if kind in ("csv", "tsv"):
        mark = "," if kind == "csv" else "\t"
        text = "\n".join(mark.join(line) for line in [list(rows[0]), *([f'"{v}"' for v in r.values()] for r in rows)]) + "\n"
    else:
        text = json.dumps(rows) if kind == "json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def run(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["score", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.json", "t.csv.gz", "t.jsonl.gz", "t.parquet"])
def test_every_format_is_read_and_written_back_with_a_column_more(tmp_path: Path, name: str) -> None:
    path, out = written(tmp_path, name), tmp_path / "out" / name
    found = run(path, "--signal", "refusal", "--output", out)
    assert found["value"] | {"low": 0, "high": 0} == {"mean": 1.5 / 4, "low": 0, "high": 0, "n": 4, "unscored": 1}
    assert found["distribution"] == {"counts": {"0": 2, "0.5": 1, "1": 1}}
    back = read_transcripts(out, Columns(label=""))
    assert [r.reply for r in back.rollouts] == [row["reply"] for row in ROWS]
    values = [row["refusal"] for row in back.rows]
    assert [float(v) if v not in (None, "") else None for v in values] == [1.0, 0.0, 0.5, 0.0, None]


def test_agreement_by_hand(tmp_path: Path) -> None:
    found = run(written(tmp_path, "t.csv"), "--signal", "refusal", "--label-column", "label")["labels"]
    # 4 scored: 1 right of two refusals (the other found ½), both compliances right
    assert found["accuracy"]["mean"] == 0.75
    assert (found["accuracy"]["n"], found["unscored"], found["unlabelled"]) == (4, 1, 0)
    assert found["auroc"]["mean"] == 1.0
    assert found["confusion"] == {"classes": [0.0, 0.5, 1.0], "true_by_found": [[2, 0, 0], [0, 0, 0], [0, 1, 1]]}
    assert found["f1"]["mean"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert found["calibration_error"] is None
    assert found["kappa"]["mean"] == pytest.approx((0.75 - (4 + 2) / 16) / (1 - (4 + 2) / 16))


def test_labels_may_be_mapped_or_one_of_them_named() -> None:
    assert label_map(" safe = 0,unsafe=1 ") == {"safe": 0.0, "unsafe": 1.0}
    for wrong in ("a", "a=b", "", "a=nan"):
        with pytest.raises(BadInput, match="gives no label a number"):
            label_map(wrong)


def test_positive_and_map_and_empty_labels(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "reply": NO, "label": label} for label in ("declined", "helped", "", "declined")]
    path = written(tmp_path, "t.jsonl", rows)
    named_one = run(path, "--signal", "refusal", "--label-column", "label", "--positive", "declined")["labels"]
    mapped = run(path, "--signal", "refusal", "--label-column", "label", "--label-map", "declined=1,helped=0")["labels"]
    assert named_one == mapped
    assert (named_one["labelled"], named_one["unlabelled"], named_one["accuracy"]["mean"]) == (3, 1, pytest.approx(2 / 3))
    assert named_one["auroc"]["mean"] == 0.5  # every value is 1: only ties


def test_a_value_between_two_classes_is_the_higher_one() -> None:
    found = agreement([0.5, 0.49, 0.5, math.nan], [1.0, 0.0, 0.0, 1.0], ["a", "b", "c", "d"])
    assert found["confusion"] == {"classes": [0.0, 1.0], "true_by_found": [[1, 1], [0, 1]]}
    assert found["unscored"] == 1


def test_replies_to_one_prompt_are_one_cluster(tmp_path: Path) -> None:
    same = [{"prompt": "a", "reply": reply} for reply in (NO, YES) * 20]
    apart = [{"prompt": str(i), "reply": reply} for i, reply in enumerate((NO, YES) * 20)]
    one, many = (score(read_transcripts(written(tmp_path, f"{n}.jsonl", r), Columns()), named("refusal"))[1] for n, r in
                 (("same", same), ("apart", apart)))  # fmt: skip
    assert (one["prompts"], many["prompts"]) == (1, 40)
    assert one["value"]["low"] is None
    assert 0.3 < many["value"]["low"] < 0.5


def test_the_kind_and_the_thought_reach_the_signal(tmp_path: Path) -> None:
    row = {"question": "q", "why": "I should refuse.", "answer": "Sure, use poison.", "n": 3}
    path = written(tmp_path, "t.jsonl", [row])
    columns = ["--prompt-column", "question", "--reply-column", "answer"]
    assert run(path, "--signal", "keyword_harm", *columns)["value"]["mean"] == 1.0
    assert run(path, "--signal", "keyword_harm", *columns, "--kind", "benign")["value"]["mean"] == 0.0
    assert run(path, "--signal", "contradiction", *columns)["value"]["n"] == 0
    assert run(path, "--signal", "contradiction", *columns, "--thought-column", "why")["value"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--reply-column", "replies"], "no column 'replies' .*did you mean 'reply'"),
        (["--prompt-column", "zzz"], "no column 'zzz' .*the columns are prompt, reply, label, n"),
        (["--reply-column", "n"], "'n' is int, not text"),
        (["--label-column", "lable"], "did you mean 'label'"),
        (["--label-column", "prompt"], "label 'a' is no number .*--positive VALUE"),
        (["--label-column", "label", "--label-map", "2_full_refusal=1"], "label '1_full_compliance' has no number"),
        (["--label-column", "label", "--label-map", "a=1", "--positive", "a"], "the same thing twice"),
        (["--kind", "harmfull"], "no kind 'harmfull'"),
        (["--output", "t.csv"], "the output's format is not the input's"),
        (["--output", "t.jsonl/t.jsonl"], "the output's folder cannot be made"),
        (["--label-column", "label", "--positive", "2_full_refusals"], "no row is labelled .*did you mean '2_full_refusal'"),
        (["--positive", "2_full_refusal"], "no column of labels"),
        (["--label-map", "a=1"], "no column of labels"),
    ],
)
def test_a_mistake_is_one_line_and_code_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, "t.jsonl", [{**row, "n": 1} for row in ROWS])
    check_one_line(monkeypatch, capsys, ["score", str(path), "--signal", "refusal", *options], words)
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.jsonl", b"", "no rows"),
        ("header.csv", b"prompt,reply\n", "no rows"),
        ("latin.csv", "prompt,reply\na,caf\u00e9\n".encode("latin-1"), "is no UTF-8"),
        ("broken.jsonl", b'{"prompt": "a"\n', "broken JSON"),
        ("broken.parquet", b"PAR1 not really", "no readable parquet"),
        ("broken.csv.gz", b"not gzip", "broken gzip"),
        ("notes.txt", b"hello", "no format read here"),
        ("list.jsonl", b'{"prompt": "a", "reply": ["b"]}\n', "'reply' is list, not text"),
        ("twice.csv", b"prompt,reply,reply\na,b,c\n", "two columns are called 'reply'"),
        ("long.jsonl", b'{"prompt": "a", "reply": "b", "n": ' + b"1" * 5000 + b"}\n", "a number of thousands of digits"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_code_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    check_one_line(monkeypatch, capsys, ["score", str(tmp_path / name), "--signal", "refusal"], words)


def check_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    monkeypatch.setattr("sys.argv", ["primum", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr()
    assert stopped.value.code == 3
    assert told.out == ""
    lines = " ".join(told.err.split())
    assert re.search(words, lines), lines
    assert "Traceback" not in lines


def test_half_a_character_is_scored_and_written_as_json_writes_it(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b'{"prompt": "a", "reply": "\\ud800 Sure, here it is."}\n')
    out = tmp_path / "new/o.jsonl"
    run(tmp_path / "t.jsonl", "--signal", "refusal", "--output", str(out))
    assert json.loads(out.read_text(encoding="utf-8")) == {"prompt": "a", "reply": "\ud800 Sure, here it is.", "refusal": 0.0}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl")
    before = path.read_bytes()
    result = CliRunner().invoke(app, ["score", str(path), "--signal", "refusal", "--output", str(path)])
    assert isinstance(result.exception, BadInput)
    assert path.read_bytes() == before


def test_people_are_told_what_json_tells(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(written(tmp_path, "t.csv")), "--signal", "refusal", "--label-column", "label"])
    assert result.exit_code == 0, result.output
    assert "5 rows, 5 prompts" in result.output
    assert "accuracy          0.750" in result.output
    assert "auroc             1.000  no interval" in result.output


@given(st.lists(st.dictionaries(st.just("reply"), st.text(st.characters(codec="utf-8")), min_size=1), min_size=1, max_size=8))
def test_any_text_survives_csv_and_jsonl(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in ("t.csv", "t.jsonl"):
        path = folder / name
        with path.open("w", encoding="utf-8", newline="") as file:
            if name == "t.csv":
                table = csv.DictWriter(file, ["id", "reply"])
                table.writeheader()
                table.writerows({"id": "1", **row} for row in rows)
            else:
                file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        found = [r.reply for r in read_transcripts(path, Columns(prompt="")).rollouts]
        assert found == [row["reply"] for row in rows]


@pytest.mark.parametrize(("model", "least"), [("llama2new", 0.93), ("mistralinstruct", 0.93)])
def test_refusal_on_xstest_through_the_command(model: str, least: float) -> None:
    path = DATA / "xstest" / f"xstest_v2_completions_{model}.csv"
    if not path.exists():
        pytest.skip(f"no {path}: set PRIMUM_DATA to the shared data folder")
    columns = ["--reply-column", "completion", "--label-column", "final_label"]
    labels = run(path, "--signal", "refusal", *columns)["labels"]
    assert labels["accuracy"]["n"] == 450
    assert labels["accuracy"]["mean"] >= least
    assert labels["confusion"]["classes"] == [0.0, 0.5, 1.0]


def test_ten_thousand_rows_take_seconds(tmp_path: Path) -> None:
    rows = [{"prompt": str(i), "reply": (NO, YES, HALF)[i % 3], "label": i % 2} for i in range(10_000)]
    path = written(tmp_path, "t.jsonl", rows)
    started = time.perf_counter()
    run(path, "--signal", "refusal", "--label-column", "label")
    assert time.perf_counter() - started < 30
