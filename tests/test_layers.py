"""Imports go one way, and two of them not at all."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "primum"
LAYERS = (
    ("types",), ("config", "stats", "beside", "ledger"), ("run", "agreement", "files", "significance", "sizes", "intervals"),
    ("charter",), ("policy", "microworld"),
    ("signals",), ("reward", "evaluate"), ("curate", "coldstart", "reinforce", "refine", "distill", "compare"),
    ("recipe",), ("policies",), ("evaluated",), ("battery",), ("score", "evaluation", "pipeline", "report", "bench"),
    ("comparison",), ("study",), ("calibrate", "gate", "experiments", "inspection"),
    ("commands",), ("cli",),
)  # fmt: skip
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# The reward may not see the judge that measures it, and nothing may see evaluation's judge but evaluation.
FORBIDDEN = {"reward": ("primum.microworld", "primum.evaluate"), "reinforce": ("primum.microworld", "primum.evaluate")}


def part(module: str) -> str:
    """The part a module belongs to: primum.policy.sample → policy."""
    return module.split(".")[1] if module.count(".") else ""


def imports() -> list[tuple[str, str]]:
    """Every import between modules of primum, as (importer, imported)."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(["primum", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("primum"):
                found += (
                    [(name, node.module or "")] if node.module != "primum" else [(name, f"primum.{a.name}") for a in node.names]
                )
            if isinstance(node, ast.Import):
                found += [(name, a.name) for a in node.names if a.name.startswith("primum.")]
    return found


def test_every_part_has_a_layer() -> None:
    parts = {p.stem if p.is_file() else p.name for p in SOURCE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts - {"__init__"} == set(LEVEL)


def test_imports_only_go_down_and_stages_never_import_each_other() -> None:
    wrong = [
        (a, b) for a, b in imports() if part(a) and part(b) in LEVEL and part(a) != part(b) and LEVEL[part(b)] >= LEVEL[part(a)]
    ]
    assert not wrong


@pytest.mark.parametrize("importer", FORBIDDEN)
def test_training_cannot_see_what_measures_it(importer: str) -> None:
    assert not [(a, b) for a, b in imports() if part(a) == importer and b.startswith(FORBIDDEN[importer])]
    assert any(part(a) == importer for a, _ in imports())
