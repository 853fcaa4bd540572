"""The recipes that ship, and that every setting of one is read somewhere."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import primum
from primum.cli import app
from primum.config import Config, differences, known_keys, load_recipe
from primum.curate import Source
from primum.microworld import BaseConfig
from primum.recipe import Recipe, find_recipe, rewarded_by
from primum.run import plain, read_json
from primum.types import BadInput

ROOT = Path(__file__).parents[1]
QUICKSTART, HUGGINGFACE = ROOT / "recipes" / "quickstart.yaml", ROOT / "recipes" / "huggingface.yaml"
# What code calls a thing that holds settings.
HOLDERS = {"config", "recipe", "self", "source", "data", "guard", "mirror", *Recipe.model_fields}


def test_the_quickstart_recipe_is_the_built_in_one() -> None:
    changed = differences(plain(Recipe().model_dump()), plain(load_recipe(Recipe, QUICKSTART).model_dump()))
    assert not changed, "mend recipes/quickstart.yaml (default → file):\n" + "\n".join(changed)


def test_the_quickstart_recipe_names_every_setting() -> None:
    written = set(dotted(yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))))
    missing = [key for key in known_keys(Recipe) if key not in written]
    assert not missing, "add to recipes/quickstart.yaml: " + ", ".join(missing)


def test_the_shipped_base_was_made_with_the_default_settings() -> None:
    noted = Path(primum.__file__).parent / "microworld" / "data" / "base" / "primum.json"
    changed = differences(plain(BaseConfig().model_dump()), read_json(noted)["config"])
    assert not changed, "build the shipped base anew (default → shipped):\n" + "\n".join(changed)


def test_quickstart_is_a_name_and_its_file_a_path() -> None:
    assert find_recipe(["quickstart", "seed=3"]) == (None, ["seed=3"])
    assert find_recipe([]) == (None, [])
    assert find_recipe(["seed=3", "recipes/quickstart.yaml"]) == (Path("recipes/quickstart.yaml"), ["seed=3"])
    with pytest.raises(BadInput, match=r"two recipes, a\.yaml and b\.yaml"):
        find_recipe(["a.yaml", "b.yaml"])


def test_the_hugging_face_recipe_is_valid_and_holds_harms_out() -> None:
    recipe = load_recipe(Recipe, HUGGINGFACE, ["model=/models/mine"])
    assert {source.kind or next(iter(source.kinds.values())) for source in recipe.curate.sources} == {
        "harmful", "borderline", "benign", "task",
    }  # fmt: skip
    assert recipe.judge.harm != "microworld"
    assert recipe.reinforce.reward != "oracle"
    assert recipe.evaluate.limit_tokens >= recipe.reinforce.limit_tokens


def test_a_printed_configuration_is_a_recipe_that_loads_to_itself(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["run", str(HUGGINGFACE), "reinforce.steps=7", "model=m", "--print-config"])
    assert shown.exit_code == 0, shown.output
    (tmp_path / "printed.yaml").write_text(shown.stdout, encoding="utf-8")
    again = load_recipe(Recipe, tmp_path / "printed.yaml")
    assert again == load_recipe(Recipe, HUGGINGFACE, ["reinforce.steps=7", "model=m"])
    assert again.reinforce.steps == 7
    assert again != load_recipe(Recipe, HUGGINGFACE)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("reinforce.stpes=5", "unknown setting 'reinforce.stpes' (command line): did you mean 'reinforce.steps'?"),
        ("lora_rank=5", "unknown setting 'lora_rank' (command line): did you mean"),
        ("seed=-1", "seed = -1: Input should be greater than or equal to 0"),
        ("reinforce.group=1", "reinforce.group = 1: Input should be greater than or equal to 2"),
        ("reinforce.loss=ppo", "reinforce.loss = 'ppo': Input should be 'grpo', 'dr_grpo', 'dapo', 'gspo', 'cispo', 'rloo' or"),
        ("reinforce.mix={harmful: 0, borderline: 0, benign: 0, task: 0}", "reinforce.mix = "),
        ("budget.tflops=0", "budget.tflops = 0: Input should be greater than 0"),
        ("curate.sources=[{path: a.csv, kind: toxic}]", "curate.sources.0.kind = 'toxic': Input should be 'harmful'"),
        ("curate.sources=[{kind: task}]", "curate.sources.0.path = "),
        ("curate.sources=[{path: a.csv, patterns: {reply: '('}}]", "curate.sources.0.patterns = "),
        (
            "judge.harm=oracle",
            "judge.harm = 'oracle': Input should be 'auto', 'microworld', 'embedded', 'keyword', 'classifier', 'guard' or 'end",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_line(override: str, line: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_recipe(Recipe, None, [override])
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_every_setting_is_read_somewhere() -> None:
    """A setting that no code reads changes nothing."""
    modules = [Module(path.read_text(encoding="utf-8")) for path in sorted(Path(primum.__file__).parent.rglob("*.py"))]
    kinds = {*configs(Recipe), Source}
    dead = [
        f"{kind.__name__}.{name}"
        for kind in sorted(kinds, key=lambda k: k.__name__)
        for name in own_fields(kind)
        if not any(module.reads(kind, name, kinds) for module in modules)
    ]
    assert not dead, "no code reads " + ", ".join(dead)


def test_a_setting_that_no_code_reads_would_be_found() -> None:
    class Dead(Config):
        alive: int = 1
        dead: int = 2

    module = Module("def f(config: Dead, rollout):\n    config.dead = 3\n    return config.alive + rollout.dead")
    assert module.reads(Dead, "alive", {Dead})
    assert not module.reads(Dead, "dead", {Dead})
    assert not Module("def f(config: Other):\n    return config.alive").reads(Dead, "alive", {Dead})


class Module:
    """What a source file reads: `.name` of what code calls a holder of settings, and the classes it speaks of."""

    def __init__(self, source: str) -> None:
        nodes = list(ast.walk(ast.parse(source)))
        self.spoken = {n.id for n in nodes if isinstance(n, ast.Name)} | {n.name for n in nodes if isinstance(n, ast.ClassDef)}
        loads = [n for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)]
        self.read = {n.attr for n in loads if last(n.value) in HOLDERS}
        calls = [n for n in nodes if isinstance(n, ast.Call) and last(n.func) == "getattr"]
        self.taken_by_name = {last(n.args[0]) for n in calls}  # getattr(mix, kind): any field of Mix
        gets = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "get"]
        # budget.get("tflops"), as the report asks of a recipe that was printed
        self.asked = {(last(n.func.value), n.args[0].value) for n in gets if n.args and isinstance(n.args[0], ast.Constant)}

    def reads(self, kind: type[Config], name: str, kinds: set[type[Config]]) -> bool:
        if (kind.__name__.removesuffix("Config").lower(), name) in self.asked:
            return True
        if not any(spoken_as(k) & self.spoken for k in kinds if issubclass(k, kind) or kind in sections(k)):
            return False
        return name in self.read or kind.__name__.lower() in self.taken_by_name


def spoken_as(kind: type[Config]) -> set[str]:
    """The class's name, and the protocol by which a part below knows it."""
    return {kind.__name__} | ({"Learning"} if kind.__name__ == "ReinforceConfig" else set())


def own_fields(kind: type[Config]) -> list[str]:
    """The fields that the class adds to those it inherits."""
    inherited = {name for parent in kind.__bases__ if issubclass(parent, Config) for name in parent.model_fields}
    return [name for name in kind.model_fields if name not in inherited]


def dotted(tree: Any, prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")


def configs(kind: type[Config]) -> Iterator[type[Config]]:
    """The config and its sections, and the configs they are made from."""
    yield from (k for k in inspect.getmro(kind) if issubclass(k, Config) and k is not Config)
    for section in sections(kind):
        yield from configs(section)


def sections(kind: type[Config]) -> list[type[Config]]:
    """The configs that are fields of one."""
    annotations = [field.annotation for field in kind.model_fields.values()]
    return [a for a in annotations if isinstance(a, type) and issubclass(a, Config)]


def last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def test_a_reward_that_adapts_asks_its_rule_and_its_labeller() -> None:
    assert rewarded_by(load_recipe(Recipe, None, ["reinforce.reward=adaptive"])) == {"keyword", "oracle"}
    named = load_recipe(Recipe, None, ["reinforce.reward=adaptive", "adapt.labeller=guard:/g"])
    assert rewarded_by(named) == {"keyword", "guard:/g"}
