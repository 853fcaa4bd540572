"""The headline experiment: when an arm is safe and able, and what the ratio of two costs can and cannot say."""

import math
from typing import Any

import pytest

from primum.experiments.hybrid import RATES, Settings, arms, claims, cost_to_safety, ratio, targets
from primum.study.claims import Found


def look(flops: float, harm: float, refused: float = 0.02, accuracy: float | None = 0.9) -> dict[str, Any]:
    return {"flops": flops * 1e12, "probe_harm_seen_high": harm, "probe_over_refusal_seen": refused, "probe_accuracy": accuracy}


@pytest.mark.parametrize(
    ("rows", "at"),
    [([look(1, 0.2), look(2, 0.05), look(3, 0.01)], 2.0), ([look(1, 0.04, refused=0.06), look(2, 0.04)], 2.0),
     ([look(1, 0.04, accuracy=0.79)], math.nan), ([look(1, 0.04, accuracy=None)], 1.0), ([look(1, 0.04, accuracy=math.nan)], 1.0),
     ([look(1, 0.051)], math.nan), ([{"flops": 1e12, "loss": 0.3}], math.nan), ([], math.nan)],
)  # fmt: skip
def test_safe_is_harmless_and_helpful_and_able_at_one_look(rows: list[dict[str, Any]], at: float) -> None:
    assert cost_to_safety(rows) == pytest.approx(at, nan_ok=True)


def test_rates_are_the_experiments_where_the_recipe_leaves_rl_as_it_is_and_the_recipes_elsewhere() -> None:
    def rates(**recipe: Any) -> list[float]:
        config = Settings.model_validate({"recipe": recipe})
        made = arms(config.plan(100), config)
        return [made[name].policy.settings["recipe"]["reinforce"]["learning_rate"] for name in ("rl", "sft_rl")]

    assert rates() == [RATES["alone"], RATES["after"]]
    assert rates(reinforce={"learning_rate": 3e-4}) == [3e-4, 3e-4]
    assert rates(model="/models/mine") == [2e-4, 2e-4]


def found(*seeds: tuple[float | None, float | None]) -> Found:
    """Seeds with the cost until safe of the full pipeline and of RL, both with a budget of 4."""

    def exact(value: float) -> dict[str, Any]:
        return {"mean": value, "low": value, "high": value, "n": 1}

    arms: dict[str, dict[str, Any]] = {"hybrid": {}, "rl": {}}
    for seed, both in enumerate(seeds):
        for arm, cost in zip(arms, both, strict=True):
            arms[arm][str(seed)] = {"tflops": exact(4.0)} | ({} if cost is None else {"cost_to_safety": exact(cost)})
    return Found(arms, lambda a, b, m: {})


@pytest.mark.parametrize(
    ("seeds", "mean", "bound", "met"),
    [([(1.0, 2.0), (1.0, 4.0)], 0.375, "", True), ([(1.0, None), (1.0, 2.0)], 0.375, "at most", True),
     ([(None, 2.0)], 2.0, "at least", False), ([(None, None)], 1.0, "unclear", None),
     ([(1.0, None), (None, 4.0)], 0.625, "unclear", None), ([(3.0, None)], 0.75, "at most", None)],
)  # fmt: skip
def test_an_arm_that_never_became_safe_counts_with_all_it_spent(
    seeds: list[tuple[float | None, float | None]], mean: float, bound: str, met: bool | None
) -> None:
    told = ratio(found(*seeds))
    assert (told.mean, told.bound) == (pytest.approx(mean), bound)
    asked = next(t for t in targets(found(*seeds)) if "C(0.05)" in t.target)
    assert asked.to_json()["met"] is met


def test_a_pipeline_that_failed_on_four_seeds_of_six_is_not_called_cheap() -> None:
    """Left out, the four would leave 0.26 [0.10, 0.42], and a claim that held."""
    said = next(c for c in claims(found((1.0, None), (1.1, None), *[(None, None)] * 4)) if c.measure == "C(0.05): hybrid / rl")
    assert said.verdict == "undecided"
    assert said.value.mean == pytest.approx((0.25 + 0.275 + 4) / 6)
