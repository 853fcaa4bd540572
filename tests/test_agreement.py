"""Agreement with labels, against numbers worked out by hand, and scipy where it computes the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from primum.agreement import accuracy, auroc, calibration_error, confusion, f1, kappa

NAN = math.nan
# truth 0: 6 found 0, 2 found ½, 0 found 1; truth ½: 1, 2, 1; truth 1: 0, 1, 7
TRUTH = [0.0] * 8 + [0.5] * 4 + [1.0] * 8
FOUND = [0.0] * 6 + [0.5] * 2 + [0.0, 0.5, 0.5, 1.0] + [0.5] + [1.0] * 7


def test_three_classes_by_hand() -> None:
    assert confusion(FOUND, TRUTH) == ([0.0, 0.5, 1.0], [[6, 2, 0], [1, 2, 1], [0, 1, 7]])
    assert accuracy(FOUND, TRUTH).mean == 15 / 20
    # F1: 12/(8+7), 4/(4+5), 14/(8+8)
    assert f1(FOUND, TRUTH).mean == pytest.approx((12 / 15 + 4 / 9 + 14 / 16) / 3)
    chance = (8 * 7 + 4 * 5 + 8 * 8) / 400
    assert kappa(FOUND, TRUTH).mean == pytest.approx((0.75 - chance) / (1 - chance))


def test_f1_of_two_classes_is_that_of_the_positive_one() -> None:
    # 3 hits, 1 false alarm, 2 misses
    assert f1([1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 1, 1, 0]).mean == pytest.approx(6 / 9)
    assert math.isnan(f1([0, 0], [0, 0]).mean) is False  # no class 1 at all: F1 of class 0, the only one there is
    assert f1([0, 0], [1, 1]).mean == 0.0


def test_unscored_rows_are_counted_and_are_no_class() -> None:
    for measure in (accuracy, f1, kappa, auroc):
        whole, less = measure([1, 0, 1, 0], [1, 0, 0, 0]), measure([1, NAN, 0, 1, 0, 1], [1, 1, 0, 0, 0, NAN])
        assert (less.mean, less.n, less.unscored) == (whole.mean, 4, 2)


def test_an_interval_is_as_wide_as_delongs() -> None:
    rng = np.random.default_rng(3)
    up, down = rng.normal(1.0, 1.0, 150), rng.normal(0.0, 1.0, 250)
    wins = (up[:, None] > down[None, :]).astype(float)
    error = math.sqrt(wins.mean(1).var(ddof=1) / 150 + wins.mean(0).var(ddof=1) / 250)  # DeLong et al. 1988
    found = auroc([*up, *down], [1.0] * 150 + [0.0] * 250)
    assert found.mean == pytest.approx(wins.mean())
    assert (found.high - found.low) / (2 * 1.959964 * error) == pytest.approx(1.0, abs=0.08)  # at 90 % it would be 0.84


def test_ties_count_half() -> None:
    # pairs (1, 0): 0.4>0.1, 0.4=0.4, 0.9>0.1, 0.9>0.4 → 3.5 of 4
    assert auroc([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1]).mean == 3.5 / 4
    assert auroc([5.0] * 6, [0, 1, 0, 1, 1, 1]).mean == 0.5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_auroc_is_the_mann_whitney_u(rows: list[tuple[int, bool]]) -> None:
    score, truth = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], float)
    found = auroc(score.tolist(), truth.tolist()).mean
    if truth.min() == truth.max():
        assert math.isnan(found)
        return
    u = mannwhitneyu(score[truth == 1], score[truth == 0]).statistic
    assert found == pytest.approx(u / (truth.sum() * (1 - truth).sum()))
    assert auroc((-score).tolist(), truth.tolist()).mean == pytest.approx(1 - found)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=30))
def test_agreement_is_symmetric_and_bounded(rows: list[tuple[float, float]]) -> None:
    found, truth = [r[0] for r in rows], [r[1] for r in rows]
    for measure in (accuracy, kappa, f1):
        one, other = measure(found, truth), measure(truth, found)
        assert one.mean == pytest.approx(other.mean, nan_ok=True)
        assert math.isnan(one.mean) or -1 <= one.mean <= 1
        assert math.isnan(one.low) or one.low <= one.high


def test_siblings_widen_the_interval_as_much_as_fewer_prompts_do() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 60).astype(float)
    found = np.where(rng.random(60) < 0.8, truth, 1 - truth)
    names = [str(i) for i in range(60)]
    once = kappa(found.tolist(), truth.tolist(), names)
    copied = kappa(np.repeat(found, 9).tolist(), np.repeat(truth, 9).tolist(), list(np.repeat(names, 9)))
    as_if_new = kappa(np.repeat(found, 9).tolist(), np.repeat(truth, 9).tolist())
    assert (copied.low, copied.high) == (once.low, once.high)
    assert as_if_new.high - as_if_new.low < 0.5 * (once.high - once.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # scores of positives N(1, 1), of the others N(0, 1): AUROC = Φ(1/√2)
    true_auroc = 0.5 * (1 + math.erf(0.5))
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(100):
        truth = np.arange(120) % 2
        found = auroc((rng.normal(size=120) + truth).tolist(), truth.tolist())
        hits += found.low <= true_auroc <= found.high
    assert 88 <= hits <= 100


def test_where_nothing_varies_there_is_no_interval_rather_than_one_without_width() -> None:
    perfect = kappa([0, 1] * 20, [0, 1] * 20)
    assert perfect.mean == 1.0
    assert math.isnan(perfect.low)
    assert accuracy([0, 1] * 20, [0, 1] * 20).low == pytest.approx(0.9124, abs=1e-4)  # Wilson, 40 of 40
    one_prompt = auroc([0.1, 0.9, 0.2], [0, 1, 1], ["a", "a", "a"])
    assert one_prompt.mean == 1.0
    assert math.isnan(one_prompt.high)


def test_no_scored_row_is_no_number() -> None:
    for measure in (accuracy, f1, kappa, auroc, calibration_error):
        nothing = measure([NAN, NAN], [1, 0])
        assert math.isnan(nothing.mean)
        assert (nothing.n, nothing.unscored) == (0, 2)


def test_calibration_error_by_hand() -> None:
    # bin 0.8–0.9: scores .8 and .9−, shares ½: |0.85−0.5|·2/4; bin 0.1–0.2: |0.1−0|·2/4
    assert calibration_error([0.81, 0.89, 0.1, 0.1], [1, 0, 0, 0]).mean == pytest.approx(0.35 / 2 + 0.1 / 2)
    assert calibration_error([1.0, 0.0], [1, 0]).mean == 0.0
