"""Seeds pooled, and verdicts computed from intervals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import confint_proportions_2indep

from primum.stats import wilson
from primum.study.claims import Bound, Claim, Found, Pooled, Sense, Target, apart, pooled, verdict


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


def test_differences_that_are_all_above_nought_may_still_be_none() -> None:
    """Clipped at 0, like shares, their interval would let every claim of a rise hold."""
    seeds = {"0": told(0.05, 0.04), "1": told(0.5, 0.1), "2": told(0.9, 0.05)}
    found = Found({"a": {}, "b": {}}, lambda a, b, m: seeds).gap("a", "b", "harm")
    assert found.low == pytest.approx(0.4833 - 4.3027 * 0.4252 / math.sqrt(3), abs=0.001)
    assert Claim("c", "m", found, "above", 0.0).verdict == "undecided"
    rises = {"a": {seed: {"rise": one, "harm": one} for seed, one in seeds.items()}}
    assert Found(rises, lambda a, b, m: {}, signed=("rise",)).value("a", "rise").low < 0
    assert Found(rises, lambda a, b, m: {}).value("a", "harm").low == 0.0


def test_answers_that_nobody_could_score_count_on_either_side() -> None:
    seeds = {str(i): {**told(0.02, 0.02, n=90), "unscored": 10} for i in range(3)}
    found = pooled(seeds)
    assert (found.n, found.unscored, found.missing) == (270, 30, 0.1)
    assert found.whole().low == pytest.approx(0.9 * found.low)
    assert found.whole().high == pytest.approx(0.9 * found.high + 0.1)
    claim = Claim("c", "m", found, "below", 0.1)
    assert found.high < 0.1 < claim.to_json()["value"]["high"]
    assert claim.verdict == "undecided"
    assert Target("t", found, "below", 0.1).met is False  # 0.9 × 0.02 + 0.1
    assert Target("t", found, "below", 0.12).met is True
    gaps = pooled({s: {**t, "mean": -0.3, "low": -0.4, "high": -0.2} for s, t in seeds.items()}, signed=True)
    assert gaps.whole().high == pytest.approx(0.9 * gaps.high + 0.1)
    tokens = pooled({"0": {**told(30.0, 2.0), "unscored": 5}, "1": told(31.0, 2.0)})
    assert tokens.whole() == tokens  # nobody knows how long a response could have been


@pytest.mark.parametrize(
    ("bound", "sense", "limit", "said"),
    [("at most", "below", 0.5, "held"), ("at most", "above", 0.5, "failed"), ("at least", "below", 0.5, "undecided"),
     ("at least", "above", 0.5, "undecided"), ("at least", "above", 0.1, "held"), ("at least", "below", 0.1, "failed"),
     ("at most", "above", 0.1, "undecided"), ("unclear", "below", 0.5, "undecided"), ("", "below", 0.5, "held")],
)  # fmt: skip
def test_a_bound_settles_only_what_lies_on_its_side(bound: Bound, sense: Sense, limit: float, said: str) -> None:
    value = Pooled(0.3, 0.2, 0.4, 3, 3, bound=bound)
    assert Claim("c", "m", value, sense, limit).verdict == said
    assert Target("t", value, sense, limit).met is {"held": True, "failed": False, "undecided": None}[said]


def test_a_number_known_on_one_side_of_some_seeds_says_so() -> None:
    found = Found({"a": {"0": {}, "1": {}, "2": {}}}, lambda a, b, m: {})
    numbers: dict[str, tuple[float, Bound]] = {"0": (1.0, ""), "1": (3.0, "at least"), "2": (math.nan, "at most")}
    told = found.bounded(lambda seed: numbers[seed])
    assert (told.mean, told.seeds, told.bound) == (2.0, 2, "at least")  # what is not known bounds nothing
    assert told.to_json()["bound"] == "at least"


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_numbers_of_different_prompts_differ_by_newcombes_interval(a: int, more_a: int, b: int, more_b: int) -> None:
    counts = ((a, a + more_a), (b, b + more_b))
    shares = [{"mean": k / n, "low": wilson(k, n)[0], "high": wilson(k, n)[1], "n": n} for k, n in counts]
    found = apart(*shares)
    low, high = confint_proportions_2indep(b, b + more_b, a, a + more_a, method="newcomb", compare="diff")
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert apart({"mean": None}, shares[0])["mean"] is None


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
