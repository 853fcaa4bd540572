"""Seeds pooled, and verdicts computed from intervals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from primum.study.claims import Claim, Found, Pooled, Target, pooled, verdict


def told(mean: float, half: float = 0.0, n: int = 10) -> dict:
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n}


@given(st.lists(st.floats(0, 1), min_size=3, max_size=8))
def test_seeds_alone_give_students_interval(means: list[float]) -> None:
    found = pooled({str(i): told(m) for i, m in enumerate(means)})
    centre, error = sum(means) / len(means), scipy_stats.sem(means)
    low, high = scipy_stats.t.interval(0.95, len(means) - 1, loc=centre, scale=error) if error > 0 else (centre, centre)
    assert found.mean == pytest.approx(centre)
    assert (found.low, found.high) == (pytest.approx(max(0, low), abs=0.01), pytest.approx(min(1, high), abs=0.01))


def test_seeds_that_agree_by_chance_leave_the_prompts_doubt() -> None:
    found = pooled({"0": told(0.1, 0.03), "1": told(0.1, 0.04)})
    assert found.high - found.mean == pytest.approx(0.025)  # √(0.03² + 0.04²) / 2


def test_folds_of_a_seed_are_one_draw() -> None:
    folds = pooled({"0/H1": told(0.0), "0/H2": told(0.4), "1/H3": told(0.2), "1/H4": told(0.2)})
    assert (folds.seeds, folds.n, folds.mean) == (2, 40, pytest.approx(0.2))
    assert folds.high - folds.low == pytest.approx(0.0)  # both seeds mean 0.2


def test_shares_stay_between_none_and_all_and_one_seed_keeps_its_own_interval() -> None:
    assert (pooled({"0": told(0.0), "1": told(0.1)}).low, pooled({"0": told(1.0), "1": told(0.5)}).high) == (0.0, 1.0)
    assert pooled({"0": told(-0.5), "1": told(0.9)}).low == -1.0
    assert pooled({"0": told(0.0, n=1), "1": told(0.9, n=1)}).low < -1
    skewed = pooled({"0": {"mean": 0.0, "low": 0.0, "high": 0.1, "n": 30}})
    assert (skewed.low, skewed.high) == (0.0, 0.1)


def test_one_seed_without_prompts_has_no_interval_and_settles_nothing() -> None:
    found = pooled({"0": told(3.0, n=1)})
    assert (found.mean, math.isnan(found.low), math.isnan(found.high)) == (3.0, True, True)
    assert Claim("c", "m", found, "below", 4.0).verdict == "undecided"


def test_an_unscored_seed_is_no_seed() -> None:
    assert pooled({"0": told(0.1), "1": {"mean": None, "low": None, "high": None, "n": 0}}).seeds == 1
    assert math.isnan(pooled({}).mean)


@pytest.mark.parametrize(
    ("low", "high", "sense", "said"),
    [(0.0, 0.09, "below", "held"), (0.11, 0.2, "below", "failed"), (0.05, 0.15, "below", "undecided"),
     (0.11, 0.2, "above", "held"), (0.0, 0.09, "above", "failed"), (0.05, 0.15, "above", "undecided"),
     (math.nan, math.nan, "below", "undecided")],
)  # fmt: skip
def test_a_claim_holds_or_fails_only_with_its_whole_interval(low: float, high: float, sense: str, said: str) -> None:
    assert Claim("c", "m", Pooled((low + high) / 2, low, high, 3, 9), sense, 0.1).verdict == said  # type: ignore[arg-type]


def test_what_an_undecided_claim_could_have_shown() -> None:
    claim = Claim("c", "m", Pooled(0.0, -0.1, 0.1, 3, 9), "below", 0.0)
    assert claim.detectable == pytest.approx(0.1 * (1.95996 + 0.84162) / 1.95996, rel=1e-4)


def test_a_target_is_met_by_its_mean_and_unknown_without_one() -> None:
    assert Target("t", Pooled(0.1, 0.0, 0.3, 3, 9), "below", 0.1).to_json()["met"] is True
    assert Target("t", Pooled(0.11, 0.0, 0.3, 3, 9), "below", 0.1).to_json()["met"] is False
    assert Target("t", Pooled(math.nan, math.nan, math.nan, 0, 0), "above", 0.1).to_json()["met"] is None


def claim(low: float, high: float) -> Claim:
    return Claim("c", "m", Pooled((low + high) / 2, low, high, 3, 9), "below", 0.0)


HELD, FAILED, OPEN = claim(-2, -1), claim(1, 2), claim(-1, 1)


@pytest.mark.parametrize(
    ("claims", "said"),
    [([HELD, HELD], "held"), ([HELD, FAILED], "held in part"), ([HELD, OPEN], "held in part"), ([FAILED, OPEN], "failed"),
     ([OPEN], "undecided"), ([], "undecided")],
)  # fmt: skip
def test_the_verdict_on_all_claims(claims: list[Claim], said: str) -> None:
    assert verdict(claims) == said


def test_a_gap_is_asked_once_and_only_over_seeds_that_have_both() -> None:
    asked = []

    def differ(a: str, b: str, metric: str) -> dict:
        asked.append((a, b, metric))
        return {"0": told(0.2)}

    found = Found({"a": {}, "b": {}}, differ)
    assert (found.gap("a", "b", "harm").mean, found.gap("a", "b", "harm").seeds) == (0.2, 1)
    assert asked == [("a", "b", "harm")]
