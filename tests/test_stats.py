"""Intervals, against scipy and statsmodels where they compute the same thing, and where data run out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint

from primum.stats import Estimate, bonett_price, estimate, exactly, paired_difference, rare, stretched, student, wilson, worth

NAN = math.nan


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (0, 1), (3, 299), (2500, 5000)])
def test_wilson_is_scipys(k, n):
    peer = scipy_stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((peer.low, peer.high), abs=1e-12)


def test_wilson_is_statsmodels_of_whole_and_of_broken_counts():
    rng = np.random.default_rng(1)
    for _ in range(200):
        n = rng.integers(1, 500) * float(rng.choice([1.0, 0.37]))
        k = n * rng.random()
        assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


def test_no_data_has_no_interval():
    assert all(map(math.isnan, wilson(0, 0)))
    for values in ([], [NAN, NAN]):
        found = estimate(values)
        assert (found.n, found.unscored) == (0, len(values))
        assert math.isnan(found.mean)
    assert paired_difference([1.0, NAN], [NAN, 0.0], ["a", "b"]).unscored == 2


def test_unscored_values_move_neither_mean_nor_interval():
    values, names = [1.0, NAN, 0.0, 1.0, NAN], list("abcde")
    assert estimate(values, names) == Estimate(2 / 3, *wilson(2, 3), n=3, unscored=2)


def test_one_answer_per_prompt_gets_wilson_and_several_wilson_of_what_they_are_worth():
    values, once, twice = [0.0, 1.0] * 50, list(map(str, range(100))), [str(i // 2) for i in range(100)]
    assert (estimate(values, once).low, estimate(values, once).high) == wilson(50, 100)
    both = estimate(values, twice)  # one of each, every time: D = (50·1 + 1·2) / (50 + 1), 98.08 answers
    assert (both.low, both.high) == pytest.approx(wilson(50 * 51 / 52, 100 * 51 / 52))
    # by hand: sums 2, 2, 1, 0 of 2; mean 5/8; Σ(sum − 5/4)² = 2.75; D = 2.75 · 4/3 / 8 / (15/64) = 88/45
    found = estimate([1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0], list("aabbccdd"))
    size = 8 / ((2 * 88 / 45 + 2) / 3)  # two clusters are all 1, so two tell something
    assert (found.low, found.high) == pytest.approx(wilson(size * 5 / 8, size))


def test_the_design_effect_is_that_of_statsmodels_clustered_errors():
    rng = np.random.default_rng(2)
    for _ in range(20):
        names = rng.integers(0, 30, 200)
        x = (rng.random(200) < rng.beta(1, 2, 30)[names]).astype(float)
        peer = OLS(x, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": names}).bse[0]
        size = worth(x, names, doubt=0.0, least=0.0)
        assert size == pytest.approx(x.var() / peer**2)
        assert size > worth(x, names, doubt=1.0) > worth(x, names, doubt=9.0) > 200**2 / (np.bincount(names) ** 2).sum()


def test_copies_of_an_answer_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    alone = rng.random(60)
    names = [str(i) for i in range(60)]
    one, five = estimate(alone, names), estimate(np.repeat(alone, 5), np.repeat(names, 5))
    assert five.mean == pytest.approx(one.mean)
    assert (five.low, five.high) == pytest.approx((one.low, one.high))
    assert five.n == 300


def test_never_seen_is_not_impossible_however_often_each_prompt_was_sampled():
    found = estimate([0.0] * 400, [str(i // 4) for i in range(400)])
    assert (found.low, found.high) == wilson(0, 100)
    assert estimate([1.0] * 8, ["a", "b"] * 4).low == wilson(2, 2)[0]


def test_the_bootstrap_is_scipys_stretched_for_few_clusters():
    values = np.random.default_rng(1).gamma(2.0, size=80)
    for n in (80, 12):
        x = values[:n]
        peer = scipy_stats.bootstrap((x,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
        stretch = math.sqrt(n / (n - 1)) * scipy_stats.t.ppf(0.975, n - 1) / scipy_stats.norm.ppf(0.975)
        found = estimate(x)
        ends = [x.mean() + (end - x.mean()) * stretch for end in (peer.low, peer.high)]
        assert [found.low, found.high] == pytest.approx(ends, rel=0.03)


def test_students_quantile_is_scipys():
    for z, p in ((1.959963985, 0.975), (1.644853627, 0.95)):
        for freedom in (1, 2, 3, 4, 5, 9, 30, 1000):
            assert student(freedom, z) == pytest.approx(scipy_stats.t.ppf(p, freedom), rel=5e-3 if freedom > 2 else 1e-7)


def test_an_interval_is_widened_about_its_mean_and_never_leaves_it():
    factor = math.sqrt(2) * student(1) / 1.959963984540054
    assert stretched(0.5, 0.4, 0.7, 2, 1) == pytest.approx((0.5 - 0.1 * factor, 0.5 + 0.2 * factor))
    assert stretched(0.5, 0.6, 0.7, 9, 8)[0] == 0.5


def test_a_rare_share_is_never_held_impossible_beyond_what_was_seen():
    values = [0.25] + [0.0] * 39
    assert rare(np.array(values), np.arange(40))
    assert not rare(np.array([0.25] * 21 + [0.0] * 19), np.arange(40))  # more than half tell something
    assert not rare(np.array([0.25] * 20 + [0.0] * 80), np.arange(100))  # twenty do
    # D = (40 · 1/40 · Σ(x − 1/160)² / 39 / (1/160 − 1/160²) + 1) / 2, so 40 / D answers
    spread = (0.24375**2 + 39 * 0.00625**2) / 39 / (0.00625 - 0.00625**2)
    size = 40 / ((spread + 1) / 2)
    assert estimate(values).high == pytest.approx(wilson(size * 0.00625, size)[1])
    assert (estimate(values).low, estimate([v * 3 for v in values]).high > estimate(values).high) == (0.0, True)
    lengths = [0.0] * 39 + [400.0]
    assert estimate(lengths).high < 40  # no shares: nothing is known of what was not seen
    same = paired_difference([0.75] * 20, [0.75] * 20, [str(i) for i in range(20)])
    assert same.low == -same.high < -0.05


def test_the_bootstrap_repeats_with_its_seed():
    values = np.random.default_rng(1).random(30)
    assert estimate(values, seed=3) == estimate(values, seed=3) != estimate(values, seed=4)


def test_the_95_percent_interval_holds_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    held = [0, 0]
    for _ in range(300):
        base = rng.random(80) < 0.5
        safer = base & (rng.random(80) < 0.4)  # truth: 0.5 → 0.2
        gap = paired_difference(base.astype(float), safer.astype(float), list(map(str, range(80))))
        held[0] += gap.low <= -0.3 <= gap.high
        rates = np.repeat(rng.beta(2, 2, size=60), 4)
        found = estimate((rng.random(240) < rates).astype(float), [str(i // 4) for i in range(240)])
        held[1] += found.low <= 0.5 <= found.high
    assert 0.91 <= held[0] / 300 <= 0.99
    assert 0.90 <= held[1] / 300 <= 0.99


def test_a_paired_difference_is_b_minus_a_and_narrower_than_the_unpaired():
    names = [str(i) for i in range(100)]
    a, b = [1.0] * 60 + [0.0] * 40, [1.0] * 50 + [0.0] * 50
    gap = paired_difference(a, b, names)
    assert gap.mean == pytest.approx(-0.1)
    # By hand: up = 1/102, down = 11/102, half = 1.96 * sqrt((12/102 - (10/102)^2) / 102)
    half = 1.959963984540054 * math.sqrt((12 / 102 - (10 / 102) ** 2) / 102)
    assert (gap.low, gap.high) == pytest.approx((-10 / 102 - half, -10 / 102 + half))
    assert gap.high < 0


def test_arms_that_never_disagree_may_still_differ():
    gap = paired_difference([0.0] * 20, [0.0] * 20, [str(i // 2) for i in range(20)])
    assert gap.mean == 0.0
    assert gap.low == -gap.high < -0.1


def test_a_difference_of_lengths_is_bootstrapped_over_prompts():
    a = np.arange(40.0)
    gap = paired_difference(a, a + 3, [str(i // 2) for i in range(40)])
    assert (gap.mean, gap.low, gap.high) == (3.0, 3.0, 3.0)


def test_the_difference_of_two_shares_is_at_most_one():
    gap = paired_difference([0.9, 0.2], [0.0, 0.1], ["a", "b"])
    assert (gap.mean, gap.low, gap.high) == (-0.5, -1.0, 1.0)  # two prompts: t is 12.7
    lengths = paired_difference([9.0, 2.0], [0.0, 1.0], ["a", "b"])
    # one draw in four is the first prompt twice: low is −9 before it is stretched
    assert lengths.low == pytest.approx(-5 - 4 * math.sqrt(2) * 12.7062 / 1.959964, rel=1e-5)
    assert estimate([0.0, 5e-324, 0.0]).high > 0.5  # nothing that small is lost in a division by 0


def test_one_prompt_alone_has_no_interval_and_full_agreement_still_has_width():
    assert math.isnan(paired_difference([0.0, 1.0], [1.0, 1.0], ["a", "a"]).low)
    assert math.isnan(estimate([0.3]).high)
    healed = paired_difference([1.0] * 12, [0.0] * 12, [str(i // 3) for i in range(12)])  # 4 prompts, all the same way
    assert healed.mean == -1.0
    assert -1.0 <= healed.low < healed.high
    assert healed.high > -0.95


VALUES = st.one_of(
    st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=30), st.lists(st.floats(0, 1), min_size=1, max_size=30)
)


@given(VALUES, st.integers(1, 5), st.randoms(use_true_random=False))
def test_low_mean_high_are_in_order_and_rows_in_any(values, per_prompt, chance):
    names = [str(i // per_prompt) for i in range(len(values))]
    found = estimate(values, names)
    rows = list(zip(values, names, strict=True))
    chance.shuffle(rows)
    assert estimate([v for v, _ in rows], [n for _, n in rows]).to_json() == found.to_json()
    if math.isnan(found.low):  # one prompt alone, and neither all 0 nor all 1
        assert len(values) <= per_prompt
        return
    assert 0 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1


@given(VALUES)
def test_the_names_of_the_clusters_do_not_matter(values):
    renamed = [f"{(7 * i) % 31}" for i in range(len(values))]
    assert estimate(values, renamed).to_json() == estimate(values).to_json() == estimate(values[::-1]).to_json()


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), st.integers(1, 4))
def test_a_paired_difference_lies_in_its_interval_and_flips_with_its_arms(pairs, per_prompt):
    a, b = ([float(p[i]) for p in pairs] for i in (0, 1))
    names = [str(i // per_prompt) for i in range(len(pairs))]
    there, back = paired_difference(a, b, names), paired_difference(b, a, names)
    if math.isnan(there.low):
        assert len(pairs) <= per_prompt
        return
    assert there.low - 1e-9 <= there.mean <= there.high + 1e-9
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert paired_difference(a[::-1], b[::-1], names[::-1]) == there


def test_several_pairs_a_prompt_get_bonett_and_prices_interval_of_what_they_are_worth():
    # sums 2, 1, 0, 0 of 2; mean 3/8; Σ(sum − 3/4)² = 2.75; D = 2.75 · 4/3 / 8 / (15/64) = 88/45, towards 2 by 1/4 of 2 that tell
    a, b, names = [0.0] * 8, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], list("aabbccdd")
    n = 8 / ((2 * 88 / 45 + 0.25 * 2) / 2.25)
    up, down = (n * 3 / 8 + 1) / (n + 2), 1 / (n + 2)
    half = 1.959963984540054 * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    found = paired_difference(a, b, names)
    assert (found.low, found.high) == pytest.approx((up - down - half, up - down + half))
    assert bonett_price(np.subtract(b, a), np.array(names), z=1.0)[0] > found.low


def test_a_count_is_its_own_interval_and_nan_becomes_null():
    assert exactly(7.0).to_json() == {"mean": 7.0, "low": 7.0, "high": 7.0, "n": 1, "unscored": 0}
    assert estimate([NAN]).to_json() == {"mean": None, "low": None, "high": None, "n": 0, "unscored": 1}
