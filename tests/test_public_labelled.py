"""Labelled replies, pairs and templates by name; AIME in its copies."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small import Done

from primum.evaluate.public import load_set
from primum.evaluate.public_labelled import LABELLED, RBR, load_labelled
from primum.evaluate.public_templates import load_templates
from primum.types import BadInput

DATA = Path(os.environ.get("PRIMUM_DATA", ""))
DOCS = Path(__file__).parents[1] / "docs" / "public_sets.md"
needs_data = pytest.mark.skipif("PRIMUM_DATA" not in os.environ, reason="PRIMUM_DATA names no folder of public data")
SAID = {"role": "assistant", "content": "No."}
TURNS = [{"role": "user", "content": "Hi."}, SAID, {"role": "user", "content": "Tie it?"}]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def refused(load: Any, spec: str) -> str:
    with pytest.raises(BadInput) as caught:
        load(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_data
@pytest.mark.parametrize(
    ("spec", "labels"),
    [
        ("coconot_pref:coconot/coconot_pref.jsonl", {0: 927, 1: 927}),
        ("gptfuzzer_replies:gptfuzzer/train.csv", {0: 4466, 1: 1694}),
        ("hh_rlhf:hh_rlhf_harmless/test.jsonl.gz", {0: 2312, 1: 2312}),
        ("openai_rbr:openai_rbr_gold/train.jsonl", {0: 334, 1: 17}),
        ("openai_rbr:openai_rbr_gold/train.jsonl?label=apology", {0: 245, 1: 106}),
        ("xstest_replies:xstest/xstest_v2_completions_llama2new.csv", {0: 176, 0.5: 44, 1: 230}),
        ("xstest_replies:xstest/xstest_v2_completions_mistralinstruct.csv", {0: 374, 0.5: 27, 1: 49}),
    ],
)
def test_a_labelled_file_loads_with_its_published_counts(spec: str, labels: dict[float, int]) -> None:
    name, _, path = spec.partition(":")
    found = load_labelled(f"{name}:{DATA / path}")
    assert Counter(found.labels) == labels
    assert len(found.rollouts) == sum(labels.values())
    assert {r.example.source for r in found.rollouts} == {name}


@needs_data
def test_the_templates_each_hold_a_place_for_what_is_asked() -> None:
    found = load_templates(f"{DATA}/gptfuzzer/GPTFuzzer.csv")
    assert len({name for name, _ in found}) == len({text for _, text in found}) == 77
    assert all(text.count("{ask}") == 1 and "[INSERT PROMPT HERE]" not in text for _, text in found)
    assert load_templates(f"gptfuzzer_templates:{DATA}/gptfuzzer/GPTFuzzer.csv") == found


def test_a_template_without_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,text\n0,"Say {x}: [INSERT PROMPT HERE]!"\n')
    assert load_templates(f"{path}?partial=true") == [("gptfuzzer_templates/0", "Say {x}: {ask}!")]
    assert "1 rows, published gptfuzzer_templates has 77" in refused(load_templates, str(path))
    path.write_text("id,text\n0,Say it!\n")
    assert "does not stand there once" in refused(load_templates, f"{path}?partial=true")
    path.write_text("id,text\n0,[INSERT PROMPT HERE]\n0,So: [INSERT PROMPT HERE]\n")
    assert "occurs twice" in refused(load_templates, f"{path}?partial=true")
    path.write_text("id,words\n0,[INSERT PROMPT HERE]\n")
    assert "no column 'text'" in refused(load_templates, f"{path}?partial=true")


def test_a_pair_shares_a_meaning_and_its_preferred_reply_is_labelled_0(tmp_path: Path) -> None:
    row = {"chosen": "\n\nHuman: Tie?\n\nAssistant: Why?", "rejected": "\n\nHuman: Tie!\n\nAssistant: So."}
    found = load_labelled(f"hh_rlhf:{lines(tmp_path / 'a.jsonl.gz', [row])}?partial=true")
    assert [(r.example.prompt, r.reply) for r in found.rollouts] == [
        ("Human: Tie?\n\nAssistant:", "Why?"),
        ("Human: Tie!\n\nAssistant:", "So."),
    ]
    assert (found.labels, len({r.example.cluster for r in found.rollouts})) == ([0.0, 1.0], 1)
    bad = lines(tmp_path / "b.jsonl", [row | {"rejected": "Human: Tie!"}])
    assert "'rejected' is no dialogue" in refused(load_labelled, f"hh_rlhf:{bad}?partial=true")


def test_a_proposition_is_the_label_of_a_conversation(tmp_path: Path) -> None:
    told = dict.fromkeys(RBR, False) | {"judgement": True}
    row = {"category": "H-C", "response_type": "Comply", "prompt": TURNS, "completion": [SAID], "propositions": told}
    path = lines(tmp_path / "a.jsonl", [row])
    found = load_labelled(f"openai_rbr:{path}?partial=true&label=judgement")
    (r,) = found.rollouts
    assert (r.example.prompt, r.reply, found.labels) == ("user: Hi.\n\nassistant: No.\n\nuser: Tie it?", "No.", [1.0])
    assert load_labelled(f"openai_rbr:{path}?partial=true").labels == [0.0]
    assert "did you mean 'judgement'" in refused(load_labelled, f"openai_rbr:{path}?partial=true&label=judgment")
    lost = lines(tmp_path / "b.jsonl", [row, row | {"propositions": {}}, {"category": "H-C"}])
    assert "does not say whether 'disallowed_content'" in refused(load_labelled, f"openai_rbr:{lost}?partial=true")
    torn = lines(tmp_path / "c.jsonl", [row, row | {"completion": "No."}])
    assert "'completion' is no list of messages" in refused(load_labelled, f"openai_rbr:{torn}?partial=true")


def test_labels_of_no_meaning_are_refused(tmp_path: Path) -> None:
    row = {"id": 1, "prompt": "Tie?", "type": "homonyms", "completion": "No.", "final_label": "refused"}
    assert "'final_label' is 'refused'" in refused(
        load_labelled, f"xstest_replies:{lines(tmp_path / 'a.jsonl', [row])}?partial=true"
    )
    row = {"question": "Tie?", "Response": "No.", "label": 2}
    assert "'label' is '2'" in refused(load_labelled, f"gptfuzzer_replies:{lines(tmp_path / 'b.jsonl', [row])}?partial=true")
    row = {"question": "Tie?", "Response": " ", "label": 1}
    assert "no text in 'Response'" in refused(
        load_labelled, f"gptfuzzer_replies:{lines(tmp_path / 'c.jsonl', [row])}?partial=true"
    )
    assert "has no label 'x'" in refused(load_labelled, f"gptfuzzer_replies:{tmp_path / 'c.jsonl'}?label=x")


def test_a_judge_is_calibrated_on_a_labelled_set_by_its_name(tmp_path: Path, cli: Any) -> None:
    rows = [
        {"id": i, "prompt": f"Stop {i}?", "type": kind, "completion": reply, "final_label": label}
        for i, (kind, reply, label) in enumerate(
            [
                ("homonyms", "Sure, press the button.", "1_full_compliance"),
                ("contrast_homonyms", "I can't help.", "2_full_refusal"),
            ]
        )
    ]
    spec = f"xstest_replies:{lines(tmp_path / 'x.jsonl', rows)}?partial=true"
    said: Done = cli("judge", "calibrate", spec, "--signal", "refusal", "--json")
    card = json.loads(said.stdout)
    assert (card["overall"]["accuracy"]["mean"], card["rows"], card["kind"]) == (1.0, 2, "borderline, harmful")
    assert list(card["categories"]) == ["contrast_homonyms", "homonyms"]
    assert json.loads(cli("score", spec, "--signal", "refusal", "--json").stdout)["labels"]["accuracy"]["mean"] == 1.0
    for command, words in (
        (("judge", "calibrate", spec, "--signal", "refusal", "--positive", "yes"), "columns, kinds and labels of xstest_replies"),
        (
            ("judge", "calibrate", spec, "--signal", "refusal", "--category-column", "type"),
            "categories of xstest_replies are known",
        ),
        (("score", spec, "--signal", "refusal", "--output", str(tmp_path / "y.jsonl")), "cannot be written back"),
        (("score", spec.replace("replies", "reply"), "--signal", "refusal"), "did you mean 'xstest_replies:'"),
    ):
        said = cli(*command)
        assert said.returncode == 3
        assert words in said.stderr


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"ID": "2024-I-1", "Problem": "1+1?", "Solution": "One and one.", "Answer": 2}, "2"),
        ({"id": 60, "problem": "1+1?", "solution": "It is \\boxed{2}.", "answer": "033", "url": "u", "year": "2024"}, "33"),
        ({"id": 0, "problem": "1+1?", "solution": "\\boxed{204}", "url": "u"}, "204"),
        ({"ID": "1983-1", "Year": 1983, "Problem Number": 1, "Question": "1+1?", "Answer": "000", "Part": ""}, "0"),
    ],
)
def test_aime_is_read_in_its_copies(row: dict[str, Any], answer: str, tmp_path: Path) -> None:
    (found,) = load_set(f"aime:{lines(tmp_path / 'a.jsonl', [row])}?partial=true")
    assert (found.prompt, found.answer, found.kind) == ("1+1?", answer, "task")


@pytest.mark.parametrize("answer", ["1000", "-1", "2.5", "12 apples", "x", "\\boxed{1"])
def test_an_answer_that_aime_cannot_have_is_refused(answer: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"problem": "1+1?", "answer": answer}])
    assert "is no whole number from 0 to 999" in refused(load_set, f"aime:{path}?partial=true")


def test_aime_has_thirty_problems_a_year(tmp_path: Path) -> None:
    rows = [{"problem": f"{i}+1?", "answer": i + 1} for i in range(30)]
    assert len(load_set(f"aime:{lines(tmp_path / 'a.jsonl', rows)}")) == 30
    assert "29 rows, published aime has 30 (a year)" in refused(load_set, f"aime:{lines(tmp_path / 'b.jsonl', rows[1:])}")


def test_every_labelled_set_is_on_the_page_with_its_count_and_licence() -> None:
    rows = {
        line.split("|")[1].strip(" `"): line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    }
    for name, known in LABELLED.items():
        for words in (known.licence, f"{known.rows:,}", known.asks, *(f"`{column}`" for column in known.columns)):
            assert words in rows[name], (name, words)
    assert "77" in rows["gptfuzzer_templates"]
