"""Every public file, damaged in every way that files get damaged: refused in one line, or nothing that is read has changed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from small import Done

from primum.evaluate.public import PUBLIC, load_set
from primum.evaluate.public_digests import PUBLISHED
from primum.evaluate.public_labelled import LABELLED, load_labelled
from primum.evaluate.public_templates import load_templates
from primum.types import BadInput

DATA = Path(os.environ.get("PRIMUM_DATA", ""))
pytestmark = pytest.mark.skipif("PRIMUM_DATA" not in os.environ, reason="PRIMUM_DATA names no folder of public data")
MGSM = [f"mgsm:mgsm/mgsm_{code}.tsv" for code in ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")]
CONFUSION = [
    f"language_confusion:language_confusion/test_sets/{name}.csv"
    for name in ("crosslingual/complex_prompts/ja", "crosslingual/okapi/fr", "monolingual/aya/ar")
]
SMALL = [
    "coconot:coconot/coconot_contrast_eval.jsonl", "gptfuzzer_templates:gptfuzzer/GPTFuzzer.csv",
    "gptfuzzer:gptfuzzer/question_list.csv", "harmbench:harmbench/harmbench_behaviors_text_val.csv",
    "jailbreakbench:jailbreakbench/jailbreakbench.csv", "jailbreakbench:jailbreakbench/jailbreakbench_benign.csv",
    "math500:math/math500.jsonl", *MGSM[:2], "openai_rbr:openai_rbr_gold/train.jsonl",
    "simple_safety_tests:simple_safety_tests/simple_safety_tests.csv", "xstest:xstest/xstest_prompts.csv",
    "xstest:xstest/xstest_v2_completions_llama2new.csv", "xstest_replies:xstest/xstest_v2_completions_mistralinstruct.csv",
    *CONFUSION[1:],
]  # fmt: skip
LARGE = [
    "coconot:coconot/coconot_pref.jsonl", "coconot_pref:coconot/coconot_pref.jsonl", "dolly:dolly_1k/databricks_dolly_15k.csv",
    "gptfuzzer_replies:gptfuzzer/train.csv", "gsm8k:gsm8k/test.jsonl", "gsm8k:gsm8k/train.jsonl",
    "hh_rlhf:hh_rlhf_harmless/test.jsonl.gz", "math:math/math_train.jsonl", *MGSM[2:], "multijail:multijail/MultiJail.csv",
    "star1:star1/STAR-1.json", "xstest_replies:xstest/xstest_v2_completions_llama2new.csv", CONFUSION[0],
]  # fmt: skip
FILES = [*SMALL, *LARGE]
# A cut within the last cell of the last row changes nothing that is read of these.
LAST_CELL_UNREAD = ("jailbreakbench:jailbreakbench/jailbreakbench.csv", "xstest:xstest/xstest_v2_completions_llama2new.csv")
every_file = pytest.mark.parametrize("spec", [*SMALL, *(pytest.param(spec, marks=pytest.mark.slow) for spec in LARGE)])


class Table(NamedTuple):
    """What a file holds: the names of its columns (none for MGSM) and the cells of each row."""

    header: list[str]
    rows: list[list[Any]]

    def written(self, name: str) -> bytes:
        if ".json" not in name:
            out = io.StringIO(newline="")
            if name.endswith(".tsv"):
                out.write("".join("\t".join(row) + "\n" for row in self.rows))
            else:
                csv.writer(out).writerows([self.header, *self.rows])
            return out.getvalue().encode()
        rows = [dict(zip(self.header, row, strict=True)) for row in self.rows]
        whole = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows)
        return packed(whole.encode(), name)


def packed(data: bytes, name: str) -> bytes:
    return gzip.compress(data, 1) if name.endswith(".gz") else data


def plain(spec: str) -> bytes:
    path = DATA / spec.partition(":")[2]
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def table_of(spec: str) -> Table:
    text = plain(spec).decode("utf-8-sig")
    if ".json" in spec:
        found = json.loads(text) if spec.endswith(".json") else [json.loads(line) for line in text.split("\n") if line.strip()]
        return Table(list(found[0]), [[row[key] for key in found[0]] for row in found])
    if spec.endswith(".tsv"):
        return Table([], [line.split("\t") for line in text.split("\n") if line])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    return Table(rows[0], [row for row in rows[1:] if row])


def read(spec: str) -> list[tuple[Any, ...]]:
    """Everything that the named loader reads, in no order; repeated prompts are numbered in the order they come."""
    name = spec.partition(":")[0]
    if name in PUBLIC:
        return sorted((e.prompt, e.kind, e.category, e.answer, e.source) for e in load_set(spec))
    if name in LABELLED:
        found = load_labelled(spec)
        return sorted(
            (r.example.prompt, r.reply, r.example.category, y) for r, y in zip(found.rollouts, found.labels or [], strict=True)
        )
    return sorted(load_templates(spec))


def outcome(spec: str, data: bytes, folder: Path) -> list[tuple[Any, ...]] | None:
    """What is read of the damaged file; None where it is refused in one line that names it."""
    name, _, file = spec.partition(":")
    path = folder / Path(file).name
    path.write_bytes(data)
    try:
        return read(f"{name}:{path}")
    except BadInput as error:
        line = str(error)
    assert "\n" not in line
    assert path.name in line
    return None


def cuts(spec: str) -> Iterator[bytes]:
    """The beginning of the file: shares of it, all but the last letters, inside a letter of several bytes and a quoted cell."""
    data, name = plain(spec), spec.partition(":")[2]
    end = len(data.rstrip())
    last = max((i for i, byte in enumerate(data) if byte >= 0xC0), default=0)
    places = {
        *(int(end * share) for share in (0.001, 0.25, 0.5, 0.75, 0.99)),
        end - 2,
        end - 5,
        last + 1,
        data.rfind(b'"', 0, end - 1) + 2,
    }
    yield from (packed(data[:place], name) for place in places if 1 < place < end - 1)
    if name.endswith(".gz"):
        whole = (DATA / name).read_bytes()
        yield from (whole[: int(len(whole) * share)] for share in (0.0005, 0.3, 0.9, 0.9999))


@every_file
def test_a_file_cut_anywhere_is_refused(spec: str, tmp_path: Path) -> None:
    found = [outcome(spec, data, tmp_path) for data in cuts(spec)]
    kept = [read(f"{spec.partition(':')[0]}:{DATA / spec.partition(':')[2]}")] if spec in LAST_CELL_UNREAD else []
    assert [rows for rows in found if rows is not None and rows not in kept] == []


@every_file
def test_a_file_that_lost_or_gained_rows_is_refused(spec: str, tmp_path: Path) -> None:
    found = table_of(spec)
    n = len(found.rows)
    for kept in (
        found.rows[1:],
        found.rows[:-1],
        found.rows[: n // 2],
        [*found.rows[:3], *found.rows[4:]],
        [*found.rows, found.rows[0]],
    ):
        assert outcome(spec, found._replace(rows=kept).written(spec), tmp_path) is None


@every_file
def test_a_file_in_another_encoding_is_refused(spec: str, tmp_path: Path) -> None:
    text = plain(spec).decode("utf-8-sig")
    name = spec.partition(":")[2]
    whole = read(f"{spec.partition(':')[0]}:{DATA / name}")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        assert outcome(spec, packed(text.encode(encoding), name), tmp_path) is None
    for encoding in ("latin-1", "cp1252", "gb18030"):
        data = text.encode(encoding, "ignore")
        if not text.isascii():
            assert outcome(spec, packed(data, name), tmp_path) in (None, whole), encoding
    garbled = (text.encode().decode(encoding, "replace") for encoding in ("latin-1", "cp1252", "ascii"))
    for wrong in (*garbled, text.encode("ascii", "replace").decode(), text.encode("ascii", "ignore").decode()):
        assert outcome(spec, packed(wrong.encode(), name), tmp_path) in (None, whole)


@every_file
def test_cells_that_moved_under_other_columns_are_refused_where_they_are_read(spec: str, tmp_path: Path) -> None:
    found = table_of(spec)
    if not found.header:
        moved = found._replace(rows=[row[::-1] for row in found.rows])
        assert outcome(spec, moved.written(spec), tmp_path) is None
        return
    whole = outcome(spec, found.written(spec), tmp_path)
    assert whole is not None
    turned = [*found.header[1:], found.header[0]]
    assert outcome(spec, found._replace(header=turned).written(spec), tmp_path) is None
    pairs = list(combinations(range(len(found.header)), 2))
    for a, b in random.Random(0).sample(pairs, min(len(pairs), 10)):
        header = list(found.header)
        header[a], header[b] = header[b], header[a]
        assert outcome(spec, found._replace(header=header).written(spec), tmp_path) in (None, whole), (
            found.header[a],
            found.header[b],
        )


@every_file
def test_rows_in_another_order_are_the_same_examples_but_of_mgsm(spec: str, tmp_path: Path) -> None:
    found = table_of(spec)
    mixed = found._replace(rows=random.Random(0).sample(found.rows, len(found.rows)))
    name, _, file = spec.partition(":")
    assert outcome(spec, mixed.written(spec), tmp_path) == (None if name == "mgsm" else read(f"{name}:{DATA / file}"))


@every_file
def test_a_cell_of_another_row_is_refused_where_it_is_read(spec: str, tmp_path: Path) -> None:
    found = table_of(spec)
    whole = read(f"{spec.partition(':')[0]}:{DATA / spec.partition(':')[2]}")
    refused = 0
    for column in range(len(found.rows[0])):
        rows = [list(row) for row in found.rows]
        rows[1][column], rows[-1][column] = rows[-1][column], rows[1][column]
        told = outcome(spec, found._replace(rows=rows).written(spec), tmp_path)
        refused += told is None
        assert told in (None, whole), column
    assert refused or spec in CONFUSION  # of which only the prompt is kept, so a swap is another order


def test_every_file_with_a_digest_is_among_those_damaged() -> None:
    names = {spec.partition(":")[0] for spec in FILES}
    assert {source.partition("/")[0] for source in PUBLISHED} == names
    assert len(PUBLISHED) == 105


def test_the_command_line_refuses_a_damaged_set_with_exit_code_3(tmp_path: Path, cli: Any) -> None:
    path = tmp_path / "val.csv"
    path.write_bytes((DATA / "harmbench/harmbench_behaviors_text_val.csv").read_bytes()[:-40])
    said: Done = cli(
        "evaluate", "suites=[harm]", f"sets.harm=[harmbench:{path}]", "world=files", "--output", str(tmp_path / "out")
    )
    assert said.returncode == 3
    assert said.stderr.count("\n") == 1
    assert str(path) in said.stderr
    assert not (tmp_path / "out").exists()
