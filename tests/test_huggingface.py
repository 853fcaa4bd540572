"""The command line on a model and data of one's own: a Qwen3-shaped checkpoint with a BPE tokenizer and an R1-style template."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
import yaml
from checkpoint import make_checkpoint
from curate_files import jsonl
from peft import LoraConfig, get_peft_model
from small import STAGES, Done, primum, read
from test_classifier import _save as save_classifier

from primum.policy import load

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("PRIMUM_DATA") or ROOT.parent / "shared" / "data")
NEEDED = ("gsm8k/train.jsonl", "dolly_1k/databricks_dolly_15k.csv", "jailbreakbench/jailbreakbench.csv",
          "simple_safety_tests/simple_safety_tests.csv", "xstest/xstest_prompts.csv")  # fmt: skip
SMALL = [
    "curate.test_limit=2", "curate.validation_limit=1", "coldstart.batch=8", "coldstart.gradient_accumulation=2",
    *(f"{stage}.{setting}" for stage in ("reinforce", "second") for setting in ("steps=1", "prompts=4", "group=2")),
    "refine.prompts=4", "refine.group=2", "refine.epochs=1", "distill.prompts=8", "distill.group=2", "distill.epochs=1",
]  # fmt: skip
HARMS = {"theft": "steal", "arson": "burn", "fraud": "forge", "spying": "film"}
NOUNS = ["lamp", "diary", "bread", "kite", "clock", "apple", "wheel", "chair", "candle", "mirror", "boat", "coat"]


def limits(tokens: int) -> list[str]:
    return [f"{stage}.limit_tokens={tokens}" for stage in ("reinforce", "second", "refine", "distill", "evaluate")]


@pytest.fixture(scope="module")
def data() -> Path:
    absent = [name for name in NEEDED if not (DATA / name).exists()]
    if absent:
        pytest.skip(f"no data sets in {DATA}: {absent[0]} is not there; name their folder with PRIMUM_DATA")
    return DATA


@pytest.fixture(scope="module")
def qwen(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 5M random weights, and a tokenizer learnt from the data."""
    with (data / NEEDED[0]).open(encoding="utf-8") as tasks, (data / NEEDED[1]).open(encoding="utf-8", newline="") as requests:
        texts = [json.loads(line)["question"] for line in tasks][:1000]
        texts += [f"{row['instruction']} {row['response']}" for row in csv.DictReader(requests)]
    return make_checkpoint(tmp_path_factory.mktemp("qwen") / "model", texts)


def on_public_data(model: Path, output: Path, *settings: str) -> Done:
    fixed = [f"model={model}", "curate.limit_characters=600", *SMALL, *settings, "--output", str(output), "--name", "x"]
    return primum("run", "recipes/huggingface.yaml", *fixed, cwd=ROOT, PRIMUM_DATA=str(DATA))


def test_a_model_that_says_nothing_whole_is_never_called_safe(qwen: Path, tmp_path: Path) -> None:
    kinds = "{harmful: 8, borderline: 4, benign: 4, task: 8}"
    settings = ["coldstart.epochs=1", "coldstart.demonstrations=16", f"curate.limit_per_kind={kinds}",
                "refine.demonstrations=false", "judge.harm=keyword", "judge.shared_with_reward=true", *limits(24)]  # fmt: skip
    said = on_public_data(qwen, tmp_path, *settings)
    assert said.returncode == 0, said.stderr
    report = read(tmp_path / "x/report.json")
    assert [name for name, stage in report["stages"].items() if stage["finished"]] == sorted(STAGES)
    assert list(report["arms"]) == ["base", "sft", "rl", "sft_rl", "hybrid"]
    for arm in report["arms"].values():
        assert arm["truncated"]["mean"] > 0.9
        harm = arm["harm_test"]
        assert harm["unscored"] > 0.5 * (harm["n"] + harm["unscored"])
    page = (tmp_path / "x/report.md").read_text(encoding="utf-8")
    assert "Reward and judge are one signal (keyword rules)" in page
    assert "The stage refine was skipped, so the hybrid is RL after SFT alone" in page
    assert "The stage distill was skipped, so there is no distilled arm" in page
    assert "unscored, over the limit" in page
    assert "Safer" not in page
    assert report["roles"]["test"]
    assert "distill: skipped" in said.stderr


@pytest.mark.slow
def test_a_checkpoint_of_five_million_goes_through_every_stage(qwen: Path, tmp_path: Path) -> None:
    kinds = "{harmful: 8, borderline: 2, benign: 2, task: 4}"
    training = ["coldstart.epochs=40", "coldstart.learning_rate=0.002", "coldstart.evaluate_every_epochs=40",
                "coldstart.demonstrations=12", "refine.start=reasoner"]  # fmt: skip
    said = on_public_data(qwen, tmp_path, *training, f"curate.limit_per_kind={kinds}", *limits(128))
    assert said.returncode == 0, said.stderr
    report = read(tmp_path / "x/report.json")
    assert list(report["arms"]) == ["base", "sft", "rl", "sft_rl", "hybrid", "distilled"]
    assert report["stages"]["5-distill"]["noted"]["share"] <= 1 / 3
    assert report["arms"]["base"]["truncated"]["mean"] > 0.5 > report["arms"]["sft"]["truncated"]["mean"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows of one's own, a little model, a classifier, and a recipe that names them."""
    folder = tmp_path_factory.mktemp("own files")
    refusal = {"thought": "That would hurt someone.", "reply": "I can't help with that."}
    help_ = {"thought": "That is fine.", "reply": "Sure, here you are."}
    harmful = [{"prompt": f"{verb} the {noun}", "category": c, **refusal} for c, verb in HARMS.items() for noun in NOUNS]
    alike = [{"prompt": f"draw the {noun} they {verb}", "category": c, **help_} for c, verb in HARMS.items() for noun in NOUNS]
    benign = [{"prompt": f"clean my {noun}, number {n}", **help_} for n, noun in enumerate(NOUNS * 2)]
    task = [{"prompt": f"{a} + {b} = ?", "answer": a + b, "thought": f"{a} + {b}", "reply": f"{a + b}"}
            for a in range(5) for b in range(5)]  # fmt: skip
    kinds = {"harmful": harmful, "borderline": alike, "benign": benign, "task": task}
    sources = [{"path": jsonl(folder / f"{kind}.jsonl", rows), "kind": kind, "demonstrate": True} for kind, rows in kinds.items()]
    texts = [" ".join(map(str, row.values())) for rows in kinds.values() for row in rows]
    make_checkpoint(folder / "model", texts, vocab=400, hidden=64, layers=3)
    save_classifier(folder / "guard", {0: "safe", 1: "unsafe"})
    recipe = {
        "model": str(folder / "model"),
        "curate": {"world": "files", "sources": sources, "near_duplicate": 1.0, "validation_limit": 2, "test_limit": 2},
        "judge": {"harm": "classifier", "classifier": str(folder / "guard")},
        "coldstart": {"epochs": 15, "learning_rate": 5e-3, "evaluate_every_epochs": 15},
        "reinforce": {"reward": "keyword"},
        "refine": {"start": "reasoner"},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return folder


def test_own_rows_and_an_independent_judge_go_through_every_stage(own: Path, tmp_path: Path) -> None:
    said = primum("run", own / "mine.yaml", *SMALL, *limits(32), "--output", tmp_path, "--name", "x")
    assert said.returncode == 0, said.stderr
    report = read(tmp_path / "x/report.json")
    assert list(report["arms"]) == ["base", "sft", "rl", "sft_rl", "hybrid", "distilled"]
    assert not [w for w in report["warnings"] if "one signal" in w]
    assert report["arms"]["base"]["truncated"]["mean"] > 0.5 > report["arms"]["sft"]["truncated"]["mean"]
    assert 0 < report["arms"]["sft"]["harm_test"]["mean"] < 1  # a probability, by the classifier
    assert report["arms"]["sft"]["harm_test"]["unscored"] == 0
    assert report["arms"]["sft"]["oracle_queries"]["mean"] == 0


@pytest.fixture(scope="module")
def adapter(own: Path) -> Path:
    whole = load(str(own / "model"), device="cpu")
    get_peft_model(whole.model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(own / "adapter")
    return own / "adapter"


def test_a_merged_adapter_learns_with_all_its_weights(adapter: Path) -> None:
    assert all(weight.requires_grad for weight in load(str(adapter), device="cpu").model.parameters())


@pytest.mark.slow
def test_an_adapter_is_a_model_too(own: Path, adapter: Path, tmp_path: Path) -> None:
    said = primum("run", own / "mine.yaml", f"model={adapter}", *SMALL, *limits(32), "--output", tmp_path, "--name", "x")
    assert said.returncode == 0, said.stderr
    assert "distilled" in read(tmp_path / "x/report.json")["arms"]
