"""Tests, sizes and intervals of comparisons, against scipy, statsmodels, published figures and sums done by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import normal_sample_size_one_tail
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail
from statsmodels.stats.weightstats import ttost_paired

from primum import intervals, significance, sizes
from primum.intervals import iqm, rogan_gladen
from primum.significance import equivalent, holm, mcnemar, not_inferior, sign_flip
from primum.stats import paired_difference
from primum.types import BadInput

NAN = math.nan
OUTCOMES = st.sampled_from([0.0, 1.0, NAN])


def names(n, each=1):
    return [str(i // each) for i in range(n)]


# McNemar


def test_mcnemar_is_scipys_binomial_test_of_the_pairs_that_differ():
    rng = np.random.default_rng(0)
    for n in (1, 5, 40, 400, 3000):
        a = rng.integers(0, 2, n).astype(float)
        b = np.where(rng.random(n) < 0.3, 1 - a, a)
        found = mcnemar(a.tolist(), b.tolist())
        assert (found.gained, found.lost) == (int((b > a).sum()), int((b < a).sum()))
        peer = scipy_stats.binomtest(found.gained, max(1, found.gained + found.lost)).pvalue
        assert found.p == pytest.approx(peer if found.gained + found.lost else 1.0, rel=1e-9)


def test_mcnemar_is_statsmodels():
    rng = np.random.default_rng(12)
    for _ in range(100):
        n = int(rng.integers(1, 300))
        a, b = (rng.random(n) < rng.random()).astype(float), (rng.random(n) < rng.random()).astype(float)
        table = [[int(((a == i) & (b == j)).sum()) for j in (1, 0)] for i in (1, 0)]
        assert mcnemar(a.tolist(), b.tolist()).p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_a_pair_with_an_unscored_side_is_left_out_and_counted():
    found = mcnemar([0, 0, 0, 0, NAN, 1, NAN], [1, 1, 1, 1, 1, NAN, NAN])
    assert (found.p, found.n, found.gained, found.unscored, found.difference) == (0.125, 4, 4, 3, 1.0)
    assert sign_flip([0, 0, 0, 0, NAN], [1, 1, 1, 1, 1], names(5)).to_json() == mcnemar([0, 0, 0, 0, NAN], [1] * 5).to_json()


def test_without_a_scored_pair_there_is_no_p_value_but_where_none_differs_it_is_1():
    assert mcnemar([NAN], [1.0]).to_json()["p"] is sign_flip([NAN], [1.0], ["a"]).to_json()["p"] is None
    assert mcnemar([], []).unscored == 0
    assert mcnemar([1.0, 0.0], [1.0, 0.0]).p == sign_flip([0.5], [0.5], ["a"]).p == 1.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(OUTCOMES, OUTCOMES), max_size=60))
def test_mcnemar_and_the_exact_flips_tell_the_same_whichever_arm_comes_first(pairs):
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    there, back = mcnemar(a, b), mcnemar(b, a)
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert there.p == back.p or there.n == 0
    assert there.n + there.unscored == len(pairs)
    if there.n > 0 and there.gained + there.lost <= significance.ALL_FLIPS:
        assert sign_flip(a, b, names(len(a))).p == pytest.approx(there.p)


# Sign flips


def test_all_flips_are_scipys_permutation_test():
    rng = np.random.default_rng(1)
    for n in (2, 5, 9, 12):
        a, b = rng.normal(size=n), rng.normal(0.4, size=n)
        peer = scipy_stats.permutation_test((a, b), lambda x, y: (y - x).mean(), permutation_type="samples", n_resamples=np.inf)
        assert sign_flip(a, b, names(n)).p == pytest.approx(peer.pvalue)


def test_ties_count_as_far_though_sums_of_floats_differ():
    a = [0.0] * 4
    # ±0.1 ± 0.2 ± 0.3 ± 0.6: twelve tenths only with all signs equal; 0.1 + 0.2 − 0.3 is nothing
    assert sign_flip(a, [0.1, 0.2, 0.3, 0.6], names(4)).p == 0.125
    nothing = sign_flip([0.0, 0.0, 0.0], [0.1, 0.2, -0.3], ["a", "a", "a"])
    assert (nothing.p, nothing.gained, nothing.lost) == (1.0, 0, 0)


def test_rows_of_a_cluster_are_flipped_together():
    a, b = [0.0] * 24, [1.0] * 24
    assert sign_flip(a, b, names(24, each=4)).p == 2 / 2**6
    assert sign_flip(a, b, names(24, each=4)).gained == 6
    assert sign_flip(a, b, names(24)).p == 1 / 10_001  # as if 24 prompts had been asked


def test_five_seeds_cannot_reach_five_percent_and_six_can():
    assert sign_flip([0.0] * 5, [1.0] * 5, names(5)).p == 0.0625
    assert sign_flip([0.0] * 6, [1.0] * 6, names(6)).p == 0.03125


def test_random_flips_come_close_to_all_of_them_repeat_with_their_seed_and_are_never_0():
    rng = np.random.default_rng(2)
    gap = rng.normal(0.35, 1, size=16)
    zero = [0.0] * 16
    sums = np.array(list(itertools.product((-1, 1), repeat=16))) @ gap
    truth = (np.abs(sums) >= abs(gap.sum()) - 1e-9).mean()
    found = sign_flip(zero, gap, names(16), seed=3)
    assert found.p == pytest.approx(truth, abs=4 * math.sqrt(truth * (1 - truth) / 10_000))
    assert found == sign_flip(zero, gap, names(16), seed=3)
    assert found.p != sign_flip(zero, gap, names(16), seed=4).p


def test_p_is_below_5_percent_about_5_times_in_100_where_nothing_differs():
    rng = np.random.default_rng(3)
    low = 0
    for _ in range(300):
        rates = np.repeat(rng.beta(1, 1, 12), 3)
        a, b = (rng.random(36) < rates).astype(float), (rng.random(36) < rates).astype(float)
        low += sign_flip(a, b, names(36, each=3)).p <= 0.05
    assert 0.02 <= low / 300 <= 0.08


# Holm


def test_holms_adjustment_worked_by_hand():
    # 0.01·4, then 0.015·3 = 0.045, 0.03·2 = 0.06, and 0.032·1 is lifted to the 0.06 before it
    assert holm([0.03, 0.01, 0.032, 0.015]) == pytest.approx([0.06, 0.04, 0.06, 0.045])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holms_adjustment_is_statsmodels():
    rng = np.random.default_rng(13)
    for _ in range(20):
        p = rng.random(int(rng.integers(1, 30))) ** rng.integers(1, 5)
        p[rng.random(len(p)) < 0.2] = p[0]  # ties
        assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])


def test_an_unscored_p_value_stays_unscored_and_does_not_count():
    found = holm([NAN, 0.02, NAN, 0.04])
    assert math.isnan(found[0])
    assert [found[1], found[3]] == [0.04, 0.04]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_only_raises_keeps_the_order_and_raises_least_the_largest(p):
    found = holm(p)
    assert all(q <= w <= min(1.0, q * len(p)) + 1e-12 for q, w in zip(p, found, strict=True))
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.asarray(found)[order]) >= 0)


# Equivalence


def test_the_verdict_follows_from_bonett_and_prices_90_percent_interval():
    a, b = [1.0] * 400, [0.0] * 4 + [1.0] * 396
    found = equivalent(a, b, names(400), margin=0.03)
    # up = 1/402, down = 5/402, half = 1.6449 · sqrt((6/402 − (4/402)²) / 402)
    half = 1.6448536269514722 * math.sqrt((6 / 402 - (4 / 402) ** 2) / 402)
    assert (found.mean, found.low, found.high) == pytest.approx((-0.01, -4 / 402 - half, -4 / 402 + half))
    assert found.verdict == "equivalent"
    assert equivalent(a, b, names(400), margin=0.019).verdict == "undecided"  # low is −0.0199
    assert equivalent(a, [0.0] * 100 + [1.0] * 300, names(400), margin=0.05).verdict == "not equivalent"


def test_not_significant_is_not_equivalent_and_significant_may_be():
    few = equivalent([1.0] * 20, [1.0] * 20, names(20), margin=0.05)
    assert (few.mean, few.verdict) == (0.0, "undecided")
    a, b = [1.0] * 2000, [0.0] * 12 + [1.0] * 1988
    assert mcnemar(a, b).p < 0.001
    assert equivalent(a, b, names(2000), margin=0.02).verdict == "equivalent"


def test_copies_of_an_answer_prove_nothing_more():
    rng = np.random.default_rng(4)
    a, b = (rng.random(80) < 0.8).astype(float), (rng.random(80) < 0.8).astype(float)
    once = equivalent(a, b, names(80), margin=0.1)
    five = equivalent(np.repeat(a, 5), np.repeat(b, 5), np.repeat(names(80), 5).tolist(), margin=0.1)
    assert (five.low, five.high) == pytest.approx((once.low, once.high))
    apart = equivalent(np.repeat(a, 5), np.repeat(b, 5), names(400), margin=0.1)
    assert apart.high - apart.low < 0.6 * (once.high - once.low)


def test_samples_that_vary_freely_within_a_prompt_are_worth_more_than_one_and_never_more_than_themselves():
    rng = np.random.default_rng(5)
    a, b = (rng.random(400) < 0.5).astype(float), (rng.random(400) < 0.5).astype(float)
    wide, apart = equivalent(a, b, names(400, each=4), margin=0.1), equivalent(a, b, names(400), margin=0.1)
    assert 1.0 <= (wide.high - wide.low) / (apart.high - apart.low) < 1.3  # of 100 prompts alone it would be 2


def test_numbers_that_are_no_outcomes_get_the_bootstrap_unless_too_few_prompts_differ():
    rng = np.random.default_rng(6)
    gap = rng.normal(2.0, 5.0, size=200)
    found = equivalent([0.0] * 200, gap, names(200), margin=4.0)
    half = scipy_stats.t.ppf(0.95, 199) * gap.std(ddof=1) / math.sqrt(200)
    assert (found.low, found.high) == pytest.approx((gap.mean() - half, gap.mean() + half), abs=0.1)
    shares = equivalent([0.75] * 30, [0.5] + [0.75] * 29, names(30), margin=0.05)
    assert (shares.verdict, shares.low < -0.05) == ("undecided", True)
    seldom = equivalent([0.5] * 40, [0.25] * 8 + [0.5] * 32, names(40), margin=0.078)  # the bootstrap alone: −0.076
    assert (seldom.verdict, -0.1 < seldom.low < -0.08) == ("undecided", True)
    lengths = equivalent([500.0] * 4, [503.0] * 4, names(4), margin=10.0)
    assert (lengths.verdict, math.isnan(lengths.low)) == ("undecided", True)


def test_the_verdict_on_numbers_is_that_of_statsmodels_two_t_tests():
    rng = np.random.default_rng(14)
    seen = set()
    for _ in range(60):
        n, margin = int(rng.integers(30, 200)), 1.0
        a = rng.normal(10, 2, n)
        b = a + rng.normal(rng.uniform(-1.5, 1.5), rng.uniform(0.5, 3), n)
        p = ttost_paired(b, a, -margin, margin)[0]
        if not 0.03 < p < 0.08:  # at the margin the bootstrap's luck decides
            found = equivalent(a, b, names(n), margin=margin).verdict
            assert (found == "equivalent") == (p < 0.05)
            seen.add(found)
    assert seen == {"equivalent", "not equivalent", "undecided"}


def test_not_inferior_allows_any_gain_and_no_loss_beyond_the_margin():
    better, worse, same = [1.0] * 300, [0.0] * 60 + [1.0] * 240, [1.0] * 296 + [0.0] * 4
    assert not_inferior(worse, better, names(300), margin=0.02).verdict == "not inferior"
    assert equivalent(worse, better, names(300), margin=0.02).verdict == "not equivalent"
    assert not_inferior(better, worse, names(300), margin=0.02).verdict == "inferior"
    assert not_inferior(better, same, names(300), margin=0.02).verdict == "undecided"
    assert not_inferior([NAN], [1.0], ["a"], margin=0.1).verdict == "undecided"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(OUTCOMES, OUTCOMES), min_size=1, max_size=60), st.integers(1, 4))
def test_the_90_percent_interval_holds_the_mean_and_flips_with_its_arms(pairs, each):
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    there, back = (equivalent(x, y, names(len(a), each), margin=0.2) for x, y in ((a, b), (b, a)))
    assert there.n + there.unscored == len(pairs)
    assert there.verdict == back.verdict
    if there.n:
        assert there.low <= there.mean <= there.high
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60), st.integers(1, 4))
def test_the_90_percent_interval_lies_in_the_95_percent_interval_printed_beside_it(pairs, each):
    a, b = ([float(p[i]) for p in pairs] for i in (0, 1))
    inner, outer = equivalent(a, b, names(len(a), each), margin=0.1), paired_difference(a, b, names(len(a), each))
    if not math.isnan(outer.low):  # one prompt alone
        assert outer.low <= inner.low <= inner.high <= outer.high


# Sizes


def test_the_paired_sizes_are_those_published():
    assert [sizes.prompts_paired(0.02, share) for share in (0.04, 0.10)] == [783, 1960]
    assert [sizes.prompts_without_failure(rate) for rate in (0.01, 0.001)] == [299, 2995]


def test_sizes_are_statsmodels():
    rng = np.random.default_rng(15)
    for _ in range(200):
        alpha, power, share = rng.uniform(0.001, 0.2), rng.uniform(0.5, 0.99), rng.uniform(0.01, 1)
        d, p, q = share * rng.uniform(0.05, 1), rng.uniform(0.01, 0.99), rng.uniform(0.01, 0.99)
        paired = normal_sample_size_one_tail(
            d, power, alpha / 2, std_null=math.sqrt(share), std_alternative=math.sqrt(share - d * d)
        )
        assert sizes.prompts_paired(d, share, alpha=alpha, power=power) == math.ceil(paired)
        unpaired = samplesize_proportions_2indep_onetail(p - q, q, power, alpha=alpha)
        assert sizes.prompts_unpaired(p, q, alpha=alpha, power=power) == math.ceil(unpaired)


def test_too_few_prompts_show_no_difference_at_all():
    assert math.isnan(sizes.detectable_paired(1, 1.0))
    assert math.isnan(sizes.detectable_paired(3, 1.0))
    assert sizes.detectable_paired(4, 1.0) == pytest.approx(0.999, abs=5e-4)  # z² = 3.84
    assert math.isnan(sizes.detectable_paired(8, 1.0, alpha=0.001, power=0.99))  # z² = 10.8: even where all differ 11 are needed
    assert sizes.prompts_paired(1.0, 1.0, alpha=0.001, power=0.99) == 11


def test_mcnemar_has_about_the_power_promised():
    rng = np.random.default_rng(7)
    n = sizes.prompts_paired(0.05, 0.1)
    up, down, _ = rng.multinomial(n, [0.075, 0.025, 0.9], size=2000).T
    found = [significance._binomial(min(u, d), u + d) <= 0.05 for u, d in zip(up.tolist(), down.tolist(), strict=True)]
    assert 0.73 <= np.mean(found) <= 0.80  # exact, so a little below the 0.8 of the approximation: 0.764


def test_a_z_test_of_two_rates_has_the_power_promised():
    rng = np.random.default_rng(8)
    n = sizes.prompts_unpaired(0.2, 0.1)
    p, q = rng.binomial(n, 0.2, 4000) / n, rng.binomial(n, 0.1, 4000) / n
    z = np.abs(p - q) / np.sqrt((p + q) / 2 * (1 - (p + q) / 2) * 2 / n)
    assert 0.78 <= (z >= 1.96).mean() <= 0.83


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 100_000), st.floats(0.001, 1), st.floats(0.001, 0.2), st.floats(0.5, 0.99))
def test_what_n_paired_prompts_detect_needs_n_prompts(n, share, alpha, power):
    d = sizes.detectable_paired(n, share, alpha=alpha, power=power)
    if math.isnan(d):
        assert sizes.prompts_paired(share, share, alpha=alpha, power=power) > n
    else:
        assert sizes.prompts_paired(d, share, alpha=alpha, power=power) in (n, n + 1)
        assert not sizes.detectable_paired(2 * n, share, alpha=alpha, power=power) >= d


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 100_000), st.floats(0, 0.99), st.floats(0.001, 0.2), st.floats(0.5, 0.99))
def test_what_n_unpaired_prompts_detect_needs_n_prompts(n, rate, alpha, power):
    rise = sizes.detectable_unpaired(n, rate, alpha=alpha, power=power)
    if math.isnan(rise):
        assert sizes.prompts_unpaired(rate, 1.0, alpha=alpha, power=power) > n
    else:
        assert sizes.prompts_unpaired(rate, rate + rise, alpha=alpha, power=power) in (n - 1, n, n + 1)
        mirrored = sizes.prompts_unpaired(1 - rate, 1 - rate - rise, alpha=alpha, power=power)
        assert mirrored in (n - 1, n, n + 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10_000), st.floats(0.5, 0.999))
def test_zero_failures_is_clopper_and_pearsons_bound_and_turns_back_into_its_prompts(n, confidence):
    bound = sizes.zero_failures(n, confidence=confidence)
    assert bound == pytest.approx(scipy_stats.beta.ppf(confidence, 1, n))
    if bound < 1 - 1e-9:
        assert sizes.prompts_without_failure(bound, confidence=confidence) == n
    assert sizes.zero_failures(0) == 1.0


# An imperfect judge


def test_lang_and_reiczigels_interval_worked_by_hand():
    # n' = 103.8415, p' = 21.9207/103.8415; se' = 46/52, n_se' = 52; sp' = 91/102, n_sp' = 102
    found = rogan_gladen(20, 100, sensitivity=(45, 50), specificity=(90, 100))
    p, se, sp = 21.92072941 / 103.84145882, 46 / 52, 91 / 102
    rate = (p + sp - 1) / (se + sp - 1)
    spread = p * (1 - p) / 103.84145882 + rate**2 * se * (1 - se) / 52 + (1 - rate) ** 2 * sp * (1 - sp) / 102
    shift = 2 * 3.84145882 * (rate * se * (1 - se) / 52 - (1 - rate) * sp * (1 - sp) / 102)
    half = 1.959963985 * math.sqrt(spread) / (se + sp - 1)
    assert found.mean == pytest.approx(0.1 / 0.8)
    assert (found.low, found.high) == pytest.approx((rate + shift - half, rate + shift + half), abs=1e-7)


def test_a_judge_known_to_be_perfect_leaves_agresti_and_coulls_interval():
    sure = (10**9, 10**9)
    found = rogan_gladen(30, 100, sensitivity=sure, specificity=sure)
    z = scipy_stats.norm.ppf(0.975)
    p = (30 + z * z / 2) / (100 + z * z)
    half = z * math.sqrt(p * (1 - p) / (100 + z * z))
    assert (found.mean, found.low, found.high) == pytest.approx((0.3, p - half, p + half), abs=1e-6)


def test_a_judge_no_better_than_a_coin_and_a_missing_count_leave_no_rate():
    assert math.isnan(rogan_gladen(5, 10, sensitivity=(3, 10), specificity=(7, 10)).mean)
    for k, se, sp in (((0, 0), (9, 10), (9, 10)), ((1, 9), (0, 0), (9, 10)), ((1, 9), (9, 10), (0, 0))):
        found = rogan_gladen(*k, sensitivity=se, specificity=sp)
        assert math.isnan(found.mean)
        assert math.isnan(found.high)
    barely = rogan_gladen(5, 10, sensitivity=(2, 2), specificity=(1, 10))  # se' + sp' < 1
    assert (barely.low, barely.high) == (0.0, 1.0)


def test_fewer_calibration_rows_widen_the_interval_and_leave_the_rate():
    wide = rogan_gladen(60, 300, sensitivity=(18, 20), specificity=(18, 20))
    narrow = rogan_gladen(60, 300, sensitivity=(900, 1000), specificity=(900, 1000))
    assert wide.mean == pytest.approx(narrow.mean) == pytest.approx(0.125)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_the_interval_reaches_the_rate_where_a_single_calibration_row_would_shift_it_past():
    assert rogan_gladen(50, 100, sensitivity=(100, 100), specificity=(1, 1)).high == 0.5  # Lang and Reiczigel: 0.453
    assert rogan_gladen(50, 100, sensitivity=(1, 1), specificity=(100, 100)).low == 0.5


@st.composite
def count(draw, least=0):
    of = draw(st.integers(least, 200))
    return draw(st.integers(0, of)), of


@settings(max_examples=60, deadline=None)
@given(count(least=1), count(least=1), count(least=1))
def test_the_corrected_rate_lies_in_0_to_1_in_its_interval_and_rises_with_the_judges(judged, se, sp):
    found = rogan_gladen(*judged, sensitivity=se, specificity=sp)
    if se[0] * sp[1] + sp[0] * se[1] <= se[1] * sp[1]:
        assert math.isnan(found.mean)
        return
    assert 0 <= found.low <= found.mean <= found.high <= 1
    more = rogan_gladen(min(judged[0] + 1, judged[1]), judged[1], sensitivity=se, specificity=sp)
    assert more.mean >= found.mean


# Several seeds


def test_the_iqm_is_scipys_trimmed_mean_of_what_is_scored():
    rng = np.random.default_rng(9)
    for tasks, seeds in ((1, 4), (3, 5), (7, 3)):
        scores = rng.random((tasks, seeds))
        scores[0, 0] = NAN
        found = iqm(scores.tolist())
        assert found.mean == pytest.approx(scipy_stats.trim_mean(scores[~np.isnan(scores)], 0.25))
        assert (found.n, found.unscored) == (tasks * seeds - 1, 1)


def test_the_interval_is_the_papers_stretched_by_what_few_seeds_hide():
    rng = np.random.default_rng(10)
    x = rng.normal(0.5, 0.1, size=(4, 6))
    peer = [scipy_stats.trim_mean([rng.choice(row, 6) for row in x], 0.25, axis=None) for _ in range(1000)]
    ours = np.percentile(intervals._redrawn(x, False, 0), [2.5, 97.5])
    assert ours - x.mean() == pytest.approx(np.percentile(peer, [2.5, 97.5]) - x.mean(), abs=0.006)
    found = iqm(x.tolist())
    stretch = math.sqrt(24 / 20) * scipy_stats.t.ppf(0.975, 20) / 1.959963985
    assert [found.low, found.high] == pytest.approx(found.mean + (ours - found.mean) * stretch, rel=1e-4)


def test_seeds_are_drawn_within_their_task_and_runs_across_tasks():
    apart = [[0.1] * 5, [0.9] * 5]  # tasks differ, seeds do not
    assert (iqm(apart).low, iqm(apart).high) == pytest.approx((0.5, 0.5))
    luck = [0.3, 0.4, 0.5, 0.6, 0.7]  # one run's luck, the same in every task
    once, fourfold = iqm([luck] * 4), iqm([luck] * 4, together=True)
    assert fourfold.high - fourfold.low > 1.7 * (once.high - once.low)


def test_too_few_seeds_have_no_interval_and_a_task_without_scores_no_mean():
    for scores in ([[0.5]], [[0.1, 0.2, 0.3]], [[0.1], [0.2], [0.3]], [[0.1, 0.2], [0.8, 0.9]]):
        assert math.isnan(iqm(scores).low)
        assert not math.isnan(iqm(scores).mean)
    assert math.isnan(iqm([[0.5, 0.6], [NAN, NAN]]).mean)
    assert math.isnan(iqm([]).mean)
    runs = np.random.default_rng(11).random((2, 8))
    lost = np.concatenate([runs, np.full((2, 1), NAN)], axis=1)  # the ninth run never ended
    assert iqm(lost.tolist(), together=True).high == iqm(runs.tolist(), together=True).high


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_the_iqm_repeats_with_its_seed_moves_with_its_scores_and_lies_in_its_interval(tasks, seeds, seed):
    x = np.random.default_rng(seed).random((tasks, seeds))
    found, moved = iqm(x.tolist(), seed=seed), iqm((2 * x + 1).tolist(), seed=seed)
    assert moved.mean == pytest.approx(2 * found.mean + 1)
    assert found.mean == pytest.approx(iqm(x[::-1, ::-1].tolist()).mean)
    if not math.isnan(found.low):
        assert found == iqm(x.tolist(), seed=seed)
        assert found.low <= found.mean <= found.high
        assert moved.high == pytest.approx(2 * found.high + 1)


# Bad input


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mcnemar([0.5], [1.0]), "not 0.5: compare other numbers with sign_flip"),
        (lambda: mcnemar([1.0, 0.0], [1.0]), "2 outcomes of a, 1 of b"),
        (lambda: sign_flip([1.0], [1.0], []), "0 clusters"),
        (lambda: holm([0.1, 1.2]), "a p-value of 1.2"),
        (lambda: equivalent([1.0], [1.0], ["a"], margin=0.0), "a margin of 0"),
        (lambda: not_inferior([1.0], [1.0], ["a"], margin=NAN), "a margin of nan"),
        (lambda: rogan_gladen(11, 10, sensitivity=(9, 10), specificity=(9, 10)), "11 of 10: give counts"),
        (lambda: rogan_gladen(1, 10, sensitivity=(NAN, 10), specificity=(9, 10)), "nan of 10"),
        (lambda: iqm([[0.1, 0.2], [0.1]]), "write nan where a seed has no score"),
        (lambda: sizes.prompts_paired(0.05, 0.04), "a difference of 0.05 where 0.04 of the prompts disagree"),
        (lambda: sizes.prompts_paired(0.0, 0.04), "cannot be 0"),
        (lambda: sizes.detectable_paired(100, 0.0), "a discordant share of 0"),
        (lambda: sizes.detectable_unpaired(0, 0.1), "a number of prompts of 0"),
        (lambda: sizes.prompts_unpaired(0.1, 0.1), "equal rates"),
        (lambda: sizes.prompts_unpaired(0.1, 1.1), "a rate of 1.1"),
        (lambda: sizes.prompts_without_failure(0.0), "a rate of 0"),
        (lambda: sizes.zero_failures(-1), "a number of prompts of -1"),
        (lambda: sizes.detectable_paired(9, 0.1, power=0.3), "a power of 0.3"),
    ],
)
def test_bad_input_gets_one_line(call, says):
    with pytest.raises(BadInput, match=r"\A[^\n]*\Z") as found:
        call()
    assert says in str(found.value)
