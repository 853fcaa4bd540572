"""Recipes: files, overrides, and every mistake met with its line and its remedy."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from primum.config import Config, differences, known_keys, load_recipe, nearest
from primum.evaluation import EvaluationConfig
from primum.types import BadInput


class Inner(Config):
    steps: int = Field(10, ge=1)
    loss: Literal["a", "b"] = "a"


class Extra(Config):
    depth: int = 1


class Whole(Config):
    seed: int = 0
    name: str = "x"
    roles: dict[str, list[str]] = Field(default_factory=dict)
    inner: Inner = Inner()
    other: Extra | None = None


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_override_beats_the_file_and_the_file_beats_the_default(tmp_path: Path) -> None:
    path = file(tmp_path, "seed: 1\ninner: {steps: 3, loss: b}\n")
    found = load_recipe(Whole, path, ["inner.steps=4", "seed=2", "inner.steps=5"])
    assert found == Whole(seed=2, inner=Inner(steps=5, loss="b"))


def test_values_are_read_as_yaml() -> None:
    found = load_recipe(Whole, None, ["name=", "roles={test: [fraud]}", "other.depth=2", "inner.steps=1_000"])
    assert (found.name, found.roles, found.other, found.inner.steps) == ("", {"test": ["fraud"]}, Extra(depth=2), 1000)


def test_a_value_may_hold_an_equals_sign() -> None:
    assert load_recipe(Whole, None, ["name=a=b"]).name == "a=b"


def test_a_list_on_the_command_line_may_hold_sets_with_their_settings() -> None:
    """As docs/suites.md writes them; YAML's own lists take no question mark."""
    wanted = ["aime:a.csv", "mgsm:m?only=sw", "gsm8k:g.jsonl?partial=true"]
    for given in (
        "[aime:a.csv,mgsm:m?only=sw,gsm8k:g.jsonl?partial=true]",
        "[aime:a.csv, mgsm:m?only=sw, gsm8k:g.jsonl?partial=true]",
    ):
        assert load_recipe(EvaluationConfig, None, [f"sets.task={given}"]).sets == {"task": wanted}
    quoted = load_recipe(EvaluationConfig, None, ['sets.task=["mgsm:m?only=sw,bn"]'])
    assert quoted.sets == {"task": ["mgsm:m?only=sw,bn"]}


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    assert load_recipe(Whole, file(tmp_path, "# nothing yet\n")) == Whole()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("inner.stpes=5", "unknown setting 'inner.stpes' (command line): did you mean 'inner.steps'?"),
        ("steps=5", "unknown setting 'steps' (command line): did you mean 'inner.steps'?"),
        ("qqqq=5", "unknown setting 'qqqq' (command line): the settings are "),
        ("inner.steps=0", "inner.steps = 0: Input should be greater than or equal to 1 (command line)"),
        ("inner.steps=many", "inner.steps = 'many': Input should be a valid integer"),
        ("inner.steps=1.5", "inner.steps = 1.5: Input should be a valid integer"),
        ("inner.loss=c", "inner.loss = 'c': Input should be 'a' or 'b'"),
        ("inner=5", "inner = 5: Input should be a valid dictionary"),
        ("inner.steps", "'inner.steps' is no setting (command line): write key=value"),
        ("=5", "'=5' is no setting"),
        ("roles=[a", "cannot read the value in 'roles=[a'"),
    ],
)
def test_a_mistake_at_the_command_line_is_one_clear_line(override: str, line: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_recipe(Whole, None, [override])
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_an_override_below_a_plain_value_is_refused() -> None:
    with pytest.raises(BadInput, match=r"'seed\.x=2' goes below a plain value"):
        load_recipe(Whole, None, ["seed=1", "seed.x=2"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"- seed\n", "a recipe is a mapping of settings"),
        (b"seed: [1\n", "cannot read the recipe"),
        (b"name: \xff\n", "cannot read the recipe"),
        (b"sead: 1\n", "unknown setting 'sead'"),
    ],
)
def test_a_broken_file_is_one_clear_line_that_names_it(tmp_path: Path, text: bytes, line: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text)
    with pytest.raises(BadInput) as caught:
        load_recipe(Whole, path)
    assert str(caught.value).startswith(line)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such recipe"):
        load_recipe(Whole, tmp_path / "absent.yaml")


def test_a_config_cannot_be_changed_once_made() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Whole().seed = 3  # type: ignore[misc]


def test_every_key_is_known_by_its_dotted_name() -> None:
    keys = ["seed", "name", "roles", "inner", "inner.steps", "inner.loss", "other", "other.depth"]
    assert list(known_keys(Whole)) == keys


def test_the_nearest_key_is_the_one_of_that_last_name_where_spelling_does_not_help() -> None:
    assert nearest("steps", ["inner.seed", "a.very.long.path.to.steps"]) == "a.very.long.path.to.steps"
    assert nearest("zzz", ["seed"]) == ""


def test_differences_name_what_is_in_one_tree_only() -> None:
    assert differences({"a": 1, "b": {"c": [1]}}, {"b": {"c": [1], "d": 2}}) == ["a: 1 → None", "b.d: None → 2"]
