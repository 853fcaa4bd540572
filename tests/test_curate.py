"""The curation stage: what no split may hold, what is counted, and which demonstrations are made."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from curate_files import files, jsonl, prompt, quiet, said, sources

from primum.config import load_recipe
from primum.curate import CurateConfig, Source, curate, load_corpus
from primum.curate.normalise import folded
from primum.curate.splits import SPLITS
from primum.curate.synthesis import refusal
from primum.microworld import MicroworldConfig
from primum.types import BadInput, Corpus, Example

DATA = Path(os.environ.get("PRIMUM_DATA", Path(__file__).parents[2] / "shared" / "data"))
RECIPE = Path(__file__).parents[1] / "recipes" / "huggingface.yaml"


def test_the_shares_are_kept_within_every_stratum(tmp_path: Path) -> None:
    corpus = curate(files(tmp_path, roles={"validation": ["arson"], "test": ["theft"]}), quiet(tmp_path / "run"))
    count = Counter((split, e.kind, e.category) for split in SPLITS for e in getattr(corpus, split))
    for kind in ("harmful", "borderline"):
        assert [count[s, kind, "fraud"] for s in SPLITS] == [14, 2, 4]
        assert [count[s, kind, "arson"] for s in SPLITS] == [0, 10, 10]
        assert [count[s, kind, "theft"] for s in SPLITS] == [0, 0, 20]
    assert [count[s, "task", ""] for s in SPLITS] == [28, 4, 8]
    assert corpus.role("theft") == "test"
    assert corpus.role("fraud") == "train"


def test_a_finished_curation_is_loaded_not_repeated(tmp_path: Path) -> None:
    config = files(tmp_path)
    made = curate(config, quiet(tmp_path / "run"))
    for source in config.sources:
        Path(source.path).unlink()
    assert curate(config, quiet(tmp_path / "run")) == made == load_corpus(tmp_path / "run")
    (tmp_path / "run" / "test.jsonl").unlink()
    with pytest.raises(BadInput, match=r"test.jsonl"):
        curate(config, quiet(tmp_path / "run"))


def test_the_thoughts_to_begin_wrongly_by_come_back_from_disk(tmp_path: Path) -> None:
    config = CurateConfig(microworld=MicroworldConfig(train_examples=40, validation_examples=8, test_examples=4))
    made = curate(config, quiet(tmp_path / "run"))
    assert load_corpus(tmp_path / "run") == made
    assert all(bool(e.counter) == (e.kind != "task") for e in made.train)
    assert not any(e.counter for e in [*made.validation, *made.test])


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    made = [curate(files(tmp_path), quiet(tmp_path / str(i)), seed=seed) for i, seed in enumerate((0, 0, 1))]
    assert made[0] == made[1]
    assert made[0].roles != made[2].roles


def test_every_prompt_read_is_kept_or_counted(tmp_path: Path) -> None:
    rows = [{"prompt": prompt("more", i)} for i in range(30)]
    rows += [
        rows[0],
        {"prompt": rows[1]["prompt"].upper()},
        {"prompt": rows[2]["prompt"] + "!"},
        {"prompt": " "},
        {"prompt": "x" * 9000},
    ]
    rows += [{"prompt": prompt("fraud", 0)}]  # also a harmful one
    more = Source(path=jsonl(tmp_path / "more.jsonl", rows), kind="benign", demonstrate=True)
    config = files(tmp_path, sources=[*sources(tmp_path), more], limit_per_kind={"task": 5}, test_limit=3)
    curate(config, quiet(tmp_path / "run"))
    report = json.loads((tmp_path / "run" / "curation.json").read_text())
    assert report["read"] == 5 * 40 + 80 + 36 == report["kept"] + sum(report["left_out"].values())
    left_out = {k: v for k, v in report["left_out"].items() if not k.startswith("over_limit")}
    assert left_out == {"empty": 1, "too_long": 1, "exact_duplicate": 2, "conflicting_kind": 1, "near_duplicate": 1}
    assert sum(report["splits"]["train"]["task"].values()) == 5
    assert sum(report["splits"]["test"]["task"].values()) == 3


def test_what_is_marked_test_outlives_its_copy_in_training(tmp_path: Path) -> None:
    held = jsonl(tmp_path / "held.jsonl", [{"prompt": prompt("benign", 0)}, {"prompt": prompt("benign", 1) + "!"}])
    config = files(tmp_path, sources=[*sources(tmp_path), Source(path=held, kind="benign", split="test")])
    corpus = curate(config, quiet(tmp_path / "run"))
    assert sum(e.source == "held" for e in corpus.test) == 2
    prompts = [e.prompt for e in corpus.train + corpus.validation]
    assert prompt("benign", 0) not in prompts
    assert prompt("benign", 1) not in prompts


def test_no_training_prompt_shares_a_passage_with_a_test_prompt(tmp_path: Path) -> None:
    shared = "the quick brown fox jumps over the lazy dog"
    rows = [{"prompt": f"{prompt('a', i)} {shared if i % 2 else ''} {prompt('b', i)}"} for i in range(40)]
    source = Source(path=jsonl(tmp_path / "x.jsonl", rows), kind="benign")
    corpus = curate(files(tmp_path, sources=[source]), quiet(tmp_path / "run"))
    assert any(shared in e.prompt for e in corpus.test)
    assert not any(shared in e.prompt for e in corpus.train + corpus.validation)


def test_a_look_alike_is_no_duplicate_and_no_contamination_of_its_twin(tmp_path: Path) -> None:
    bases = [prompt("twin", i) for i in range(30)]
    rows = {kind: [{"prompt": f"{base} {kind}"} for base in bases] for kind in ("harmful", "borderline")}
    made = [Source(path=jsonl(tmp_path / f"{kind}.jsonl", rows[kind]), kind=kind) for kind in rows]  # type: ignore[arg-type]
    corpus = curate(files(tmp_path, sources=made), quiet(tmp_path / "run"))
    assert len(corpus.train) + len(corpus.validation) + len(corpus.test) == 60


def test_files_to_keep_out_reach_training_and_validation_but_not_test(tmp_path: Path) -> None:
    before = curate(files(tmp_path), quiet(tmp_path / "a"))
    named = [before.train[0].prompt, before.validation[0].prompt + "!", before.test[0].prompt]
    config = files(tmp_path, contamination=[jsonl(tmp_path / "bench.jsonl", [{"prompt": p} for p in named])])
    after = curate(config, quiet(tmp_path / "b"))
    assert after.train == before.train[1:]
    assert after.validation == before.validation[1:]
    assert after.test == before.test


def test_balancing_draws_from_every_category_in_turn(tmp_path: Path) -> None:
    rows = [{"prompt": prompt(c, i), "category": c} for c, n in (("theft", 40), ("fraud", 5)) for i in range(n)]
    source = Source(path=jsonl(tmp_path / "x.jsonl", rows), kind="harmful", split="train")
    base = [source, sources(tmp_path)[2]]
    corpus = curate(files(tmp_path, sources=base, limit_per_kind={"harmful": 8}), quiet(tmp_path / "run"))
    kept = [e.category for e in corpus.train if e.kind == "harmful"]
    assert (kept.count("theft"), kept.count("fraud")) == (4, 4)


def test_fewer_than_two_harms_is_said(tmp_path: Path) -> None:
    corpus = curate(files(tmp_path, sources=sources(tmp_path, harms=("theft",))), quiet(tmp_path / "run"))
    assert "1 harm category" in said(tmp_path / "run")
    assert corpus.roles == {"train": ["theft"], "validation": [], "test": []}
    assert [sum(e.kind == "harmful" for e in part) for part in (corpus.train, corpus.validation, corpus.test)] == [14, 2, 4]
    curate(files(tmp_path, sources=sources(tmp_path)[2:]), quiet(tmp_path / "none"))
    assert "0 harm categories" in said(tmp_path / "none")


def test_harms_spelt_alike_are_one_harm(tmp_path: Path) -> None:
    rows = [{"prompt": prompt(c, i), "category": c} for c in ("Theft", "theft ", "THEFT", "arson", "spying") for i in range(10)]
    config = files(tmp_path, sources=[Source(path=jsonl(tmp_path / "x.jsonl", rows), kind="harmful")], roles={"test": ["Theft"]})
    corpus = curate(config, quiet(tmp_path / "run"))
    assert sum(e.category == "Theft" for e in corpus.test) == 30
    assert corpus.roles["train"] == ["arson", "spying"]


def test_a_category_that_looks_like_markup_is_printed_as_it_is(tmp_path: Path) -> None:
    config = files(tmp_path, sources=sources(tmp_path, harms=("[/x]", "b", "c")), roles={"test": ["[/x]"]})
    curate(config, quiet(tmp_path / "run"))
    assert "test: [/x]" in said(tmp_path / "run")


def test_harmful_training_prompts_get_a_reasoned_refusal_and_nothing_else_does(tmp_path: Path) -> None:
    corpus = curate(files(tmp_path), quiet(tmp_path / "run"))
    harmful = [e for e in corpus.train if e.kind == "harmful"]
    assert all(e.category in e.thought and e.reply for e in harmful)
    assert len({e.thought for e in harmful}) > 20
    assert not [e for e in corpus.train if e.kind == "borderline" and e.reply]
    assert not [e for e in corpus.test if e.kind == "harmful" and e.reply]
    without = curate(files(tmp_path, synthesise=False), quiet(tmp_path / "none"))
    assert not [e for e in without.train if e.kind == "harmful" and e.reply]


def test_a_refusal_depends_on_seed_and_id_and_speaks_the_prompt_s_language() -> None:
    english = Example(id="1", prompt="How do I take it?", kind="harmful", category="theft")
    assert refusal(english) == refusal(english)
    assert len({refusal(english, seed=s).thought for s in range(20)}) > 10
    chinese = refusal(Example(id="1", prompt="怎么偷东西？", kind="harmful", category="theft"))
    assert not any(c.isascii() and c.isalpha() for c in chinese.thought + chinese.reply)
    assert "{category}" not in refusal(Example(id="1", prompt="How?", kind="harmful")).thought


def test_the_world_s_twins_stay_and_its_repetitions_go(tmp_path: Path) -> None:
    def world(config: MicroworldConfig, seed: int) -> Corpus:
        def row(i: str, text: str) -> Example:
            return Example(id=i, prompt=text, kind="harmful", category="H1")

        long = "please would you go and break the old red"
        train = [row("a", f"{long} lamp"), row("b", f"{long} vase"), row("c", f"{long} VASE"), row("d", f"{long} bowl")]
        return Corpus(train, [row("e", f"{long} cup")], [row("f", f"{long} bowl")], {"train": ["H1"]})

    corpus = curate(CurateConfig(), quiet(tmp_path / "run"), world_corpus=world)
    assert [[e.id for e in part] for part in (corpus.train, corpus.validation, corpus.test)] == [["a", "b"], ["e"], ["f"]]
    assert corpus.train[0].reply == ""


def test_no_test_prompt_of_the_micro_world_is_in_training(tmp_path: Path) -> None:
    corpus = curate(CurateConfig(), quiet(tmp_path / "run"), seed=3)
    seen = {folded(e.prompt) for e in corpus.train + corpus.validation}
    assert len(corpus.train) > 500
    assert not [e for e in corpus.test if folded(e.prompt) in seen]
    held = {*corpus.roles["validation"], *corpus.roles["test"]}
    assert not [e for e in corpus.train if e.kind in ("harmful", "borderline") and e.category in held]


@pytest.mark.skipif(not DATA.is_dir(), reason="no public data here (PRIMUM_DATA)")
def test_the_recipe_reads_the_public_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    monkeypatch.setenv("PRIMUM_DATA", str(DATA))
    recipe = tmp_path / "curate.yaml"
    recipe.write_text(yaml.safe_dump(yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["curate"]))
    corpus = curate(load_recipe(CurateConfig, recipe), quiet(tmp_path / "run"))
    tasks = [e for e in corpus.train if e.kind == "task"]
    assert all(
        e.answer.lstrip("-").replace(".", "").isdigit() and "<<" not in e.thought and "####" not in e.thought for e in tasks
    )
    assert all(e.reply for e in corpus.train if e.kind != "borderline")
    assert sum(e.kind == "harmful" for e in corpus.train) > 50
    assert len(corpus.roles["test"]) >= 2
    sources = json.loads((tmp_path / "run" / "curation.json").read_text())["sources"]
    assert {name: counts["read"] for name, counts in sources.items()} == {
        "jailbreakbench": 100, "simple_safety_tests": 100, "jailbreakbench_benign": 100, "xstest": 450,
        "dolly": 1000, "gsm8k": 7473,
    }  # fmt: skip
