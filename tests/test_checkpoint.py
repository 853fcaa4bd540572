"""The tests' checkpoint behaves as a real R1-style one."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoint import make_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = ["Is green tea safe for a small child? It is a drink, so yes.", "小明有三个苹果。", "<think> 3 + 4 = 7 </think>"] * 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"), TEXTS, vocab=400, hidden=64, layers=2)


def test_the_prompt_opens_a_thought_and_earlier_thoughts_are_deleted(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "t</think>b"}, {"role": "user", "content": "c"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜><｜User｜>c<｜Assistant｜><think>\n"


def test_any_text_survives_the_tokenizer_and_the_tags_are_one_token(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "<think>\nüber 🍵 tea</think>\n\nyes 你"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert [ids.count(tokenizer.convert_tokens_to_ids(tag)) for tag in ("<think>", "</think>")] == [1, 1]


def test_equal_arguments_give_equal_files(folder: Path, tmp_path: Path) -> None:
    again = make_checkpoint(tmp_path, TEXTS, vocab=400, hidden=64, layers=2)
    names = sorted(f.name for f in folder.iterdir())
    assert [(again / name).read_bytes() for name in names] == [(folder / name).read_bytes() for name in names]
    other = make_checkpoint(tmp_path / "other", TEXTS, vocab=400, hidden=64, layers=2, seed=1)
    assert (other / "model.safetensors").read_bytes() != (folder / "model.safetensors").read_bytes()
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.model_type == "qwen3"
    assert model.get_input_embeddings().num_embeddings == len(AutoTokenizer.from_pretrained(folder))
