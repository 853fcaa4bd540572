"""Splits: no held-out harm is trained on, and every stratum keeps its share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate_files import files, jsonl, prompt, quiet, sources
from hypothesis import given, settings
from hypothesis import strategies as st

from primum.curate import Source, curate
from primum.curate.splits import choose_roles, settled, split_examples
from primum.types import Example

WISHES = ("auto", "train", "validation", "test")


KINDS = ("harmful", "borderline", "benign")
ROWS = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("abcdefg"), st.sampled_from(WISHES)), max_size=80)


@given(ROWS, st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_no_held_out_harm_is_ever_trained_on(rows: list[tuple[Any, str, str]], seed: int) -> None:
    examples = [Example(id=str(i), prompt=f"p{i}", kind=kind, category=c, source="s") for i, (kind, c, _) in enumerate(rows)]
    asked = {str(i): wish for i, (_, _, wish) in enumerate(rows)}
    categories = sorted({e.category for e in examples if e.kind == "harmful"})
    roles = choose_roles(categories, {}, seed)
    assert sorted(c for names in roles.values() for c in names) == categories
    splits, dropped = split_examples(examples, roles, asked, {"test": (0.2, 5), "validation": (0.1, 3)}, seed)
    placed = [e.id for part in splits.values() for e in part]
    assert len(placed) == len(set(placed)) == len(examples) - dropped
    for e in (e for split in ("train", "validation") for e in splits[split] if e.kind != "benign"):
        assert e.category not in roles["test"]
    assert not [e for e in splits["train"] if e.kind != "benign" and e.category in roles["validation"]]
    # A source's own split is never loosened either.
    assert all(WISHES.index(asked[e.id]) <= WISHES.index(split) for split, part in splits.items() for e in part)


def test_roles_are_about_a_quarter_and_a_fifth() -> None:
    sizes = {
        n: tuple(len(r) for r in choose_roles([str(i) for i in range(n)], {}, seed=3).values()) for n in (0, 1, 2, 3, 4, 5, 14)
    }
    assert sizes == {0: (0, 0, 0), 1: (1, 0, 0), 2: (1, 0, 1), 3: (1, 1, 1), 4: (2, 1, 1), 5: (3, 1, 1), 14: (7, 3, 4)}
    assert choose_roles(list("abcdefgh"), {}, seed=0) != choose_roles(list("abcdefgh"), {}, seed=1)


def test_sources_with_splits_of_their_own_settle_the_roles(tmp_path: Path) -> None:
    base = sources(tmp_path, harms=("theft", "arson"))
    unseen = jsonl(tmp_path / "unseen.jsonl", [{"prompt": prompt("spying", i), "category": "Spying"} for i in range(9)])
    trained = [base[0].model_copy(update={"split": "train"}), *base[1:], Source(path=unseen, kind="harmful", split="test")]
    corpus = curate(files(tmp_path, sources=trained), quiet(tmp_path / "run"))
    assert corpus.roles == {"train": ["arson", "theft"], "validation": [], "test": ["Spying"]}
    assert sum(e.kind == "harmful" for e in corpus.train) == 40
    assert sum(e.category == "Spying" for e in corpus.test) == 9


def test_one_source_marked_train_keeps_its_harm_in_training() -> None:
    rows = [
        ("theft", "train"),
        ("theft", "auto"),
        ("arson", "auto"),
        ("arson", "test"),
        ("fraud", "validation"),
        ("fraud", "test"),
    ]
    examples = [Example(id=str(i), prompt=f"p{i}", kind="harmful", category=c) for i, (c, _) in enumerate(rows)]
    found = settled(examples, {str(i): wish for i, (_, wish) in enumerate(rows)})
    assert found == {"theft": "train", "fraud": "validation"}


def test_test_leaves_validation_a_harm_where_few_are_free() -> None:
    roles = choose_roles(list("abcdefgh"), dict.fromkeys("abcdef", "train"), seed=0)
    assert sorted(roles["validation"] + roles["test"]) == ["g", "h"]
    assert len(roles["validation"]) == 1
