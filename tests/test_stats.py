"""Intervals, against scipy where it computes the same thing, and where data run out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from primum.stats import Estimate, estimate, exactly, paired_difference, wilson

NAN = math.nan


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (0, 1), (3, 299), (2500, 5000)])
def test_wilson_is_scipys(k, n):
    peer = scipy_stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((peer.low, peer.high), abs=1e-12)


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


def test_one_answer_per_prompt_gets_wilson_and_several_the_bootstrap_over_prompts():
    values, once, twice = [0.0, 1.0] * 50, list(map(str, range(100))), [str(i // 2) for i in range(100)]
    assert (estimate(values, once).low, estimate(values, once).high) == wilson(50, 100)
    both = estimate(values, twice)  # every prompt has one of each: nothing varies between prompts
    assert (both.low, both.high) == (0.5, 0.5)


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


def test_the_bootstrap_is_scipys():
    values = np.random.default_rng(1).gamma(2.0, size=80)
    peer = scipy_stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    found = estimate(values)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), rel=0.03)


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


def test_one_prompt_alone_has_no_interval_and_full_agreement_still_has_width():
    assert math.isnan(paired_difference([0.0, 1.0], [1.0, 1.0], ["a", "a"]).low)
    assert math.isnan(estimate([0.3]).high)
    healed = paired_difference([1.0] * 12, [0.0] * 12, [str(i // 3) for i in range(12)])  # 4 prompts, all the same way
    assert healed.mean == -1.0
    assert -1.0 <= healed.low < healed.high
    assert healed.high > -0.95


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 5))
def test_low_mean_high_are_in_order(values, per_prompt):
    found = estimate(values, [str(i // per_prompt) for i in range(len(values))])
    if math.isnan(found.low):  # one prompt alone, and neither all 0 nor all 1
        assert len(values) <= per_prompt
        return
    assert found.low - 1e-9 <= found.high
    assert found.low >= -1e-9
    assert found.high <= 1 + 1e-9


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_a_paired_difference_lies_in_its_interval_and_flips_with_its_arms(pairs):
    a, b = ([float(p[i]) for p in pairs] for i in (0, 1))
    names = list(map(str, range(len(pairs))))
    there, back = paired_difference(a, b, names), paired_difference(b, a, names)
    assert there.low - 1e-9 <= there.mean <= there.high + 1e-9
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_a_count_is_its_own_interval_and_nan_becomes_null():
    assert exactly(7.0).to_json() == {"mean": 7.0, "low": 7.0, "high": 7.0, "n": 1, "unscored": 0}
    assert estimate([NAN]).to_json() == {"mean": None, "low": None, "high": None, "n": 0, "unscored": 1}
