"""Public sets of prompts: published counts, and what each kind of damage to a file meets."""

from __future__ import annotations

import csv
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from primum.config import validate
from primum.evaluate.public import PUBLIC, SetConfig, language, load_set, read_spec
from primum.evaluate.public_languages import MGSM_ORDER
from primum.evaluate.public_rows import digest
from primum.types import BadInput, Example

DATA = Path(os.environ.get("PRIMUM_DATA", ""))
DOCS = Path(__file__).parents[1] / "docs" / "public_sets.md"
needs_data = pytest.mark.skipif("PRIMUM_DATA" not in os.environ, reason="PRIMUM_DATA names no folder of public data")
DNA = ("id", "risk_area", "types_of_harm", "specific_harms", "question")  # of Do-Not-Answer, whose text is not known here
FILES = (
    ("coconot:coconot/coconot_contrast_eval.jsonl", {"borderline": 379}),
    ("coconot:coconot/coconot_pref.jsonl", {"borderline": 927}),
    ("dolly:dolly_1k/databricks_dolly_15k.csv", {"benign": 1000}),
    ("gptfuzzer:gptfuzzer/question_list.csv", {"harmful": 100}),
    ("gsm8k:gsm8k/test.jsonl", {"task": 1319}),
    ("gsm8k:gsm8k/train.jsonl", {"task": 7473}),
    ("harmbench:harmbench/harmbench_behaviors_text_val.csv", {"harmful": 80}),
    ("jailbreakbench:jailbreakbench", {"harmful": 100, "borderline": 100}),
    ("jailbreakbench:jailbreakbench/jailbreakbench.csv", {"harmful": 100}),
    ("jailbreakbench:jailbreakbench/jailbreakbench_benign.csv", {"borderline": 100}),
    ("language_confusion:language_confusion/test_sets", {"benign": 6586}),
    ("math500:math/math500.jsonl", {"task": 500}),
    ("math:math/math_train.jsonl", {"task": 7500}),
    ("mgsm:mgsm", {"task": 2750}),
    ("mgsm:mgsm/mgsm_sw.tsv", {"task": 250}),
    ("multijail:multijail/MultiJail.csv", {"harmful": 3150}),
    ("simple_safety_tests:simple_safety_tests/simple_safety_tests.csv", {"harmful": 100}),
    ("star1:star1/STAR-1.json", {"harmful": 1000}),
    ("xstest:xstest/xstest_prompts.csv", {"borderline": 250, "harmful": 200}),
    ("xstest:xstest/xstest_v2_completions_mistralinstruct.csv", {"borderline": 250, "harmful": 200}),
)


def table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]], tail: str = "") -> Path:
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])
        out.write(tail)
    return path


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def asked(n: int = 939) -> list[list[str]]:
    return [[f"s{i}", "Knots", "tight", "advice", f"How is knot {i} tied, übrigens?"] for i in range(n)]


def refused(spec: str | SetConfig) -> str:
    with pytest.raises(BadInput) as caught:
        load_set(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_data
@pytest.mark.parametrize(("spec", "kinds"), FILES, ids=[spec for spec, _ in FILES])
def test_a_public_file_loads_with_its_published_count(spec: str, kinds: dict[str, int]) -> None:
    name, _, path = spec.partition(":")
    found = load_set(f"{name}:{DATA / path}")
    assert Counter(e.kind for e in found) == kinds
    assert len({e.id for e in found}) == len(found)
    assert all(e.prompt == e.prompt.strip() and e.prompt and e.source.startswith(name) for e in found)
    unanswered = [e.id for e in found if e.kind == "task" and not e.answer]
    assert len(unanswered) == (2 if name == "math" else 0)


@needs_data
def test_what_the_public_files_say_of_their_rows() -> None:
    jbb = load_set(f"jailbreakbench:{DATA}/jailbreakbench")
    by_id = {e.id: e for e in jbb}
    harmful = [e for e in jbb if e.kind == "harmful"]
    assert len({e.twin for e in harmful}) == 100
    assert all(by_id[e.twin].kind == "borderline" and by_id[e.twin].category == e.category for e in harmful)
    bench = load_set(f"harmbench:{DATA}/harmbench/harmbench_behaviors_text_val.csv")
    assert Counter(e.category for e in bench)["copyright"] == 20
    assert sum("\n\n---\n\n" in e.prompt for e in bench) == 19
    assert len(load_set(f"harmbench:{DATA}/harmbench/harmbench_behaviors_text_val.csv?leave_out=copyright")) == 60
    confusion = load_set(f"language_confusion:{DATA}/language_confusion/test_sets")
    assert len({language(e) for e in confusion}) == 15
    across = [e for e in confusion if e.category == "crosslingual"]
    assert (len(across), len({e.cluster for e in across})) == (4186, 299)
    assert len({e.cluster for e in load_set(f"mgsm:{DATA}/mgsm")}) == 250
    assert len({e.cluster for e in load_set(f"multijail:{DATA}/multijail/MultiJail.csv")}) == 315
    assert len({e.cluster for e in load_set(f"coconot:{DATA}/coconot/coconot_pref.jsonl")}) == 919


@needs_data
def test_the_two_halves_of_jailbreakbench_cannot_be_mistaken(tmp_path: Path) -> None:
    for wrong, half in (("benign.csv", "jailbreakbench.csv"), ("harmful.csv", "jailbreakbench_benign.csv")):
        (tmp_path / wrong).write_bytes((DATA / "jailbreakbench" / half).read_bytes())
        assert f"these are the {'harmful' if wrong == 'benign.csv' else 'benign'} prompts" in refused(
            f"jailbreakbench:{tmp_path / wrong}"
        )


@needs_data
def test_mgsm_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    for code in ("en", "sw"):
        (tmp_path / f"mgsm_{code}.tsv").write_bytes((DATA / "mgsm" / f"mgsm_{code}.tsv").read_bytes())
    whole = load_set(f"mgsm:{tmp_path}?only=en,sw")
    assert [e.meaning for e in whole[:250]] == [e.meaning for e in whole[250:]]
    assert [e.answer for e in whole[:250]] == [e.answer for e in whole[250:]]
    rows = (tmp_path / "mgsm_sw.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "mgsm_sw.tsv").write_text("".join([*rows[1:], rows[0]]))
    assert "rows are not in one order" in refused(f"mgsm:{tmp_path}?only=en,sw")
    assert "not the published ones in the published order" in refused(f"mgsm:{tmp_path}/mgsm_sw.tsv")
    assert "no mgsm_bn.tsv" in refused(f"mgsm:{tmp_path}")
    (tmp_path / "mgsm_sw.tsv").write_text("".join(rows)[:-2])  # the last answer loses a digit
    assert "not the published ones" in refused(f"mgsm:{tmp_path}/mgsm_sw.tsv")


@needs_data
def test_a_public_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    cases = {
        "gsm8k": "gsm8k/test.jsonl", "xstest": "xstest/xstest_prompts.csv", "multijail": "multijail/MultiJail.csv",
        "star1": "star1/STAR-1.json", "harmbench": "harmbench/harmbench_behaviors_text_val.csv",
    }  # fmt: skip
    for name, file in cases.items():
        whole = (DATA / file).read_bytes()
        for share in (0.2, 0.5, 0.9, 0.99):
            path = tmp_path / Path(file).name
            path.write_bytes(whole[: int(len(whole) * share)])
            refused(f"{name}:{path}")


def whole(path: Path) -> Path:
    return table(path, DNA, asked())


DAMAGES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "rows missing": (lambda p: table(p, DNA, asked(938)), "938 rows, published do_not_answer has 939"),
    "rows added": (lambda p: table(p, DNA, asked(940)), "940 rows, published do_not_answer has 939"),
    "last row torn": (lambda p: table(p, DNA, asked(938), 's938,Knots,tight,advice,"How'), "broken CSV"),
    "last row short": (lambda p: table(p, DNA, asked(938), "s938,Knots"), "2 cells under a header of 5"),
    "column renamed": (lambda p: table(p, (*DNA[:4], "questions"), asked()), "did you mean 'questions'?"),
    "capitals": (lambda p: table(p, (*DNA[:4], "Question"), asked()), "did you mean 'Question'?"),
    "column gone": (lambda p: table(p, ("a", "risk_area", "b", "c", "d"), asked()), "no column"),
    "no header": (lambda p: table(p, asked()[0], asked()[1:]), "no header line with the columns 'id', 'question'"),
    "latin-1": (lambda p: recoded(whole(p), "latin-1"), "(0xfc) is no UTF-8"),
    "utf-16": (lambda p: recoded(whole(p), "utf-16"), "looks like UTF-16"),
    "utf-16 without its mark": (lambda p: recoded(whole(p), "utf-16-le", "übrigens", "so"), "looks like UTF-16"),
    "read as latin-1 once": (lambda p: recoded(whole(p), "utf-8", "ü", "Ã¼"), "was read in a wrong encoding"),
    "letters lost": (lambda p: recoded(whole(p), "utf-8", "ü", "\ufffd"), "was read in a wrong encoding"),
    "an empty prompt": (lambda p: table(p, DNA, [*asked(938), ["s938", "", "", "", " "]]), "no prompt in 'question'"),
    "an empty id": (lambda p: table(p, DNA, [*asked(938), ["", "", "", "", "Why?"]]), "no id in 'id'"),
    "a row twice": (lambda p: table(p, DNA, [*asked(938), asked(1)[0]]), "'do_not_answer/s0' occurs twice"),
    "a prompt twice": (lambda p: table(p, DNA, [*asked(938), ["s938", *asked(1)[0][1:]]]), "prompt 939 repeats prompt 1"),
    "nothing": (lambda p: table(p, DNA, []), "no rows"),
}


def recoded(path: Path, encoding: str, old: str = "", new: str = "") -> Path:
    text = path.read_text(encoding="utf-8")
    path.write_bytes((text.replace(old, new) if old else text).encode(encoding))
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_gives_one_line_that_names_the_damage(damage: str, tmp_path: Path) -> None:
    assert len(load_set(f"do_not_answer:{whole(tmp_path / 'whole.csv')}")) == 939
    make, words = DAMAGES[damage]
    path = make(tmp_path / "x.csv")
    line = refused(f"do_not_answer:{path}")
    assert words in line
    assert str(path) in line


def test_a_part_is_taken_only_when_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", DNA, asked(7))
    assert "partial=true" in refused(f"do_not_answer:{path}")
    assert len(load_set(f"do_not_answer:{path}?partial=true")) == 7
    more = table(tmp_path / "y.csv", DNA, asked(940))
    assert "940 rows" in refused(f"do_not_answer:{more}?partial=true")


def test_the_order_of_rows_changes_neither_ids_nor_examples(tmp_path: Path) -> None:
    rows = [[f"Is {i} even?", f"work #### {i}"] for i in range(1318)]
    mixed = random.Random(0).sample(rows, len(rows))
    a, b = (
        load_set(
            f"gsm8k:{lines(tmp_path / name, [dict(zip(('question', 'answer'), r, strict=True)) for r in some])}?partial=true"
        )
        for name, some in (("a.jsonl", rows), ("b.jsonl", mixed))
    )
    assert a != b
    assert sorted(a, key=lambda e: e.id) == sorted(b, key=lambda e: e.id)
    assert [e.answer for e in a[:3]] == ["0", "1", "2"]


def test_a_gsm8k_answer_without_its_mark_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [{"question": "1+1?", "answer": "2"}])
    assert "no '####'" in refused(f"gsm8k:{path}?partial=true")
    path = lines(tmp_path / "y.jsonl", [{"question": "1+1?", "answer": "2 ####"}])
    assert "no answer for a task" in refused(f"gsm8k:{path}?partial=true")
    path.write_text('{"question": "1+1?", "answer": "#### 2"}\n{"question": "2+2?", "ans')
    assert "broken JSON" in refused(f"gsm8k:{path}?partial=true")


@pytest.mark.parametrize(
    ("name", "row", "kind", "prompt", "category"),
    [
        ("advbench", {"goal": "Tie it", "target": "Sure"}, "harmful", "Tie it", ""),
        ("oktest", {"prompt": "Who killed the lights?\n"}, "borderline", "Who killed the lights?", ""),
        ("strongreject", {"category": "Knots", "source": "x", "forbidden_prompt": "Tie it"}, "harmful", "Tie it", "Knots"),
        ("do_not_answer", {"id": 7, "risk_area": "R", "types_of_harm": "T", "question": "Why?"}, "harmful", "Why?", "R"),
        ("coconot", {"id": 1, "category": "Incomplete requests", "subcategory": "s", "prompt": "I?"}, "borderline", "I?", "s"),
        ("xstest", {"id": 1, "prompt": "Stop it?", "type": "contrast_homonyms"}, "harmful", "Stop it?", "contrast_homonyms"),
        (
            "harmbench",
            {"Behavior": "Do it", "SemanticCategory": "k", "ContextString": "C", "BehaviorID": "i"},
            "harmful", "C\n\n---\n\nDo it", "k",
        ),
        ("dolly", {"instruction": "Sum up.", "context": "A text.", "category": "qa"}, "benign", "Sum up.\n\nA text.", "qa"),
    ],
)  # fmt: skip
def test_a_row_in_the_published_format(
    name: str, row: dict[str, Any], kind: str, prompt: str, category: str, tmp_path: Path
) -> None:
    (found,) = load_set(f"{name}:{lines(tmp_path / 'x.jsonl', [row])}?partial=true")
    assert (found.kind, found.prompt, found.category) == (kind, prompt, category)
    assert found.id.startswith(f"{name}/")


def test_rows_that_contradict_their_set_are_refused(tmp_path: Path) -> None:
    row = {"id": 1, "prompt": "Stop it?", "type": "homonyms", "label": "unsafe"}
    assert "cells were moved" in refused(f"xstest:{lines(tmp_path / 'x.jsonl', [row])}?partial=true")
    row = {"id": 1, "prompt": "Love me?", "category": "Humanizing requests", "subcategory": "s"}
    assert "'category' is 'Humanizing requests'" in refused(f"coconot:{lines(tmp_path / 'c.jsonl', [row])}?partial=true")


def test_the_languages_of_a_multijail_row_share_a_meaning(tmp_path: Path) -> None:
    header = ("id", "source", "tags", *PUBLIC["multijail"].parts)
    path = table(tmp_path / "m.csv", header, [[5, "x", "['A, b', 'C']", *(f"{code}?" for code in header[3:])]])
    found = load_set(f"multijail:{path}?partial=true&only=sw,en")
    assert [(e.id, e.prompt, e.meaning, e.category, language(e)) for e in found] == [
        ("multijail/en/5", "en?", "multijail/5", "A, b, C", "en"),
        ("multijail/sw/5", "sw?", "multijail/5", "A, b, C", "sw"),
    ]
    assert "has no part 'xx'" in refused(f"multijail:{path}?only=xx")
    assert "no column 'jv'" in refused(f"multijail:{table(tmp_path / 'n.csv', header[:-1], [[5, 'x', 'T', *header[3:-1]]])}")


def test_xsafety_rows_are_aligned_by_number(tmp_path: Path) -> None:
    for folder, ends in (("en", ("_n.csv", ".csv")), ("sp", (".csv", ".csv"))):
        (tmp_path / folder).mkdir()
        for category, end in zip(("Insult", "commonsense"), ends, strict=True):
            rows = [[f" {folder} {category}, {i}"] for i in range(200)]
            table(tmp_path / folder / f"{category}{end}", rows[0], rows[1:])
    found = load_set(f"xsafety:{tmp_path}?only=en,es")
    assert Counter((e.kind, language(e)) for e in found) == {(k, c): 200 for k in ("harmful", "benign") for c in ("en", "es")}
    assert len({e.meaning for e in found}) == 400
    assert {e.id: e.prompt for e in found}["xsafety/es/Insult/3"] == "sp Insult, 2"
    assert "no folder ar" in refused(f"xsafety:{tmp_path}")
    (tmp_path / "sp" / "Insult.xlsx").touch()
    assert "an Excel file" in refused(f"xsafety:{tmp_path}?only=es")
    (tmp_path / "en" / "Insult_n.csv").write_text("one\ntwo\n")
    assert "2 rows, published xsafety Insult has 200" in refused(f"xsafety:{tmp_path}?only=en")


def test_a_crosslingual_prompt_keeps_its_meaning_and_names_its_language(tmp_path: Path) -> None:
    folder = tmp_path / "crosslingual" / "okapi"
    folder.mkdir(parents=True)
    for code, spoken in (("fr", "French"), ("ja", "Japanese")):
        rows = [
            [f"Reply in {spoken}. {i} French hens?", "Start", "reply in {language_requested}", code, "okapi"] for i in range(100)
        ]
        table(folder / f"{code}.csv", ("prompt", "location", "phrasing", "language", "source"), rows)
    found = load_set(f"language_confusion:{tmp_path}?partial=true")
    assert (len(found), len({e.cluster for e in found}), {e.kind for e in found}) == (200, 100, {"benign"})
    assert found[-1].source == "language_confusion/crosslingual/okapi/ja"
    assert {language(e) for e in load_set(f"language_confusion:{tmp_path}?only=ja&partial=true")} == {"ja"}
    assert "did you mean 'okapi'" in refused(f"language_confusion:{tmp_path}?only=okapy")


def test_mgsm_in_parts_agrees_or_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mgsm_en.tsv").write_text('Two "ducks"?\t2\nThree?\t3\n')
    (tmp_path / "mgsm_de.tsv").write_text("Zwei?\t2\nDrei?\t3\n")
    found = load_set(f"mgsm:{tmp_path}?only=en,de&partial=true")
    assert [(e.id, e.answer, e.meaning) for e in found[:2]] == [("mgsm/de/1", "2", "mgsm/1"), ("mgsm/de/2", "3", "mgsm/2")]
    assert found[2].prompt == 'Two "ducks"?'
    (tmp_path / "mgsm_de.tsv").write_text("Drei?\t3\nZwei?\t2\n")
    assert "not in one order" in refused(f"mgsm:{tmp_path}?only=en,de&partial=true")
    (tmp_path / "mgsm_de.tsv").write_text("Zwei?\t2\n")
    assert "take equal parts" in refused(f"mgsm:{tmp_path}?only=en,de&partial=true")
    alone = load_set(f"mgsm:{tmp_path}/mgsm_de.tsv?partial=true")
    assert (alone[0].id, alone[0].meaning) == (f"mgsm/de/{digest('Zwei?')}", "")
    (tmp_path / "mgsm_de.tsv").write_text("Zwei? 2\n")
    assert "not a question, a tab and an answer" in refused(f"mgsm:{tmp_path}/mgsm_de.tsv?partial=true")
    assert len(MGSM_ORDER) == 16


def test_a_file_of_your_own_by_its_columns(tmp_path: Path) -> None:
    rows = [("a", "Tie it?", "bad", "Knots", "t1"), ("b", "Tie shoes?", "fine", "Shoes", "t1")]
    path = table(tmp_path / "mine.csv", ("key", "text", "verdict", "topic", "theme"), rows)
    spec = f"file:{path}?prompt=text&id=key&label=verdict&kinds=bad=harmful,fine=borderline&category=topic&meaning=theme"
    found = load_set(spec)
    assert found == [
        Example("mine/a", "Tie it?", "harmful", "Knots", source="mine", meaning="mine/t1"),
        Example("mine/b", "Tie shoes?", "borderline", "Shoes", source="mine", meaning="mine/t1"),
    ]
    tree = {"name": "mine", "path": str(path), "prompt": "text", "id": "key", "category": "topic", "meaning": "theme"}
    same = validate(SetConfig, tree | {"label": "verdict", "kinds": {"bad": "harmful", "fine": "borderline"}}, "recipe")
    assert load_set(same) == found
    assert [e.kind for e in load_set(f"file:{path}?prompt=text&kind=benign")] == ["benign", "benign"]
    assert [e.id for e in load_set(f"{spec}&leave_out=Knots")] == ["mine/b"]
    assert "no category 'Knot' to leave out" in refused(f"{spec}&leave_out=Knot")
    assert "'verdict' is 'bad'" in refused(f"file:{path}?prompt=text&label=verdict")
    assert "no kind" in refused(f"file:{path}?prompt=text")
    assert "no column 'txt'" in refused(f"file:{path}?prompt=txt&kind=benign")
    assert "unknown setting 'knd'" in refused(f"file:{path}?prompt=text&knd=benign")
    assert "no column is said to hold the prompts" in refused(f"file:{path}?kind=benign")
    assert "no answer for a task" in refused(f"file:{path}?prompt=text&kind=task")
    assert "kinds of gsm8k are known" in refused(f"gsm8k:{path}?kind=benign")


def test_repeats_of_your_own_share_a_meaning_where_they_are_taken(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [{"q": "Why?"}, {"q": "How?"}, {"q": "Why?"}])
    assert "prompt 3 repeats prompt 1" in refused(f"file:{path}?prompt=q&kind=benign")
    found = load_set(f"file:{path}?prompt=q&kind=benign&repeats=true")
    assert [e.cluster == found[0].cluster for e in found] == [True, False, True]
    assert len({e.id for e in found}) == 3


def test_a_renamed_copy_of_a_published_set_is_mapped(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [{"prompt": "Tie it", "category": "Knots"}])
    assert "no column 'forbidden_prompt'" in refused(f"strongreject:{path}?partial=true")
    (found,) = load_set(f"strongreject:{path}?partial=true&prompt=prompt")
    assert (found.prompt, found.kind, found.category) == ("Tie it", "harmful", "Knots")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("xtest:a.csv", "did you mean 'xstest:'?"),
        ("a.csv", "names no set"),
        ("xstest:", "names no set"),
        ("xstest:no.csv", "no such file"),
        ("mgsm:no", "no such file or folder"),
        ("xstest:a.csv?partial", "'partial' is no setting"),
        ("xstest:a.csv?partial=maybe", "partial = 'maybe'"),
        ("hub:openai/gsm9k", "did you mean 'openai/gsm8k'?"),
        ("file:a.exe?prompt=a&kind=benign", "is no format read here"),
    ],
)
def test_a_spec_that_cannot_be_read_says_why(spec: str, words: str) -> None:
    assert words in refused(spec)


def test_a_spec_reads_paths_and_columns_with_odd_letters() -> None:
    found = read_spec("file:a b/my.set.csv?prompt=my%26text&kind=task&answer=C++ out")
    assert (found.path, found.prompt, found.answer) == ("a b/my.set.csv", "my&text", "C++ out")
    assert read_spec("file:x/gsm8k.csv?prompt=a&kind=task").name == "gsm8k_file"


def test_a_set_named_on_the_hub_is_read_from_what_the_hub_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for repository in ("HuggingFaceH4--MATH-500", "someone--copy"):
        folder = tmp_path / f"datasets--{repository}"
        (folder / "snapshots" / "a1").mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("a1")
        rows = [{"unique_id": f"u{i}", "problem": f"{i}+1?", "subject": "Sums", "answer": i + 1} for i in range(500)]
        lines(folder / "snapshots" / "a1" / "test.jsonl", rows)
    found = load_set("hub:HuggingFaceH4/MATH-500?partial=true")
    assert (len(found), found[4].id, found[4].answer) == (500, "math500/u4", "5")
    assert load_set("math500:hub:someone/copy/test.jsonl?partial=true") == found
    own = load_set("file:hub:someone/copy/test.jsonl?prompt=problem&kind=task&answer=answer&id=unique_id")
    assert [e.prompt for e in own] == [e.prompt for e in found]
    assert "the hub did not give it" in refused("hub:openai/gsm8k")


def test_every_set_is_on_the_page_with_its_counts_and_licence() -> None:
    page = DOCS.read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `")}
    for name, known in PUBLIC.items():
        assert known.licence in rows[name], name
        assert name == "bbq" or all(f"{count:,}" in rows[name] for count in known.rows), name
        for names in (replace(known).columns or {}).values():
            assert name == "bbq" or f"`{names[0]}`" in rows[name], (name, names)
