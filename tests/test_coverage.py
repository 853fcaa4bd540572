"""How often the 95 % intervals hold the truth: 93 to 97 times in 100, or more where the data are thin.

Wilson's is counted exactly, over every number of successes; the rest is simulated with fixed seeds, so the bounds are
widened by two standard errors of the simulation. Figures: docs/statistics.md.
"""

import math
from functools import cache
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from primum.intervals import _middle, iqm, rogan_gladen
from primum.significance import equivalent
from primum.stats import estimate, paired_difference, wilson

pytestmark = pytest.mark.slow


def between(held, runs, low=0.93, high=0.97):
    """The share of runs whose interval held the truth lies between, allowing for the luck of so many runs."""
    slack = 2 * math.sqrt(0.05 * 0.95 / runs)
    return low - slack <= held / runs <= high + slack


@pytest.mark.parametrize("n", [100, 200, 400])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.35, 0.5])
def test_one_answer_a_prompt(n, rate):
    held = [low <= rate <= high for low, high in (wilson(k, n) for k in range(n + 1))]
    assert 0.93 <= binom.pmf(np.arange(n + 1), n, rate)[held].sum() <= 0.97


@pytest.mark.parametrize(("n", "gained", "lost", "most"), [
    (100, 0.05, 0.15, 0.97), (200, 0.02, 0.05, 0.97), (400, 0.01, 0.1, 0.97), (400, 0.0, 0.3, 0.97),
    (100, 0.02, 0.02, 1.0),  # four pairs differ: wider than need be
])  # fmt: skip
def test_one_pair_a_prompt(n, gained, lost, most):
    @cache
    def interval(up, down):
        after, before = [1.0] * up + [0.0] * (n - up), [0.0] * up + [1.0] * down + [0.0] * (n - up - down)
        return paired_difference(before, after, [str(i) for i in range(n)])

    drawn = np.random.default_rng(0).multinomial(n, [gained, lost, 1 - gained - lost], size=4000).tolist()
    held = sum(interval(up, down).low <= gained - lost <= interval(up, down).high for up, down, _ in drawn)
    assert between(held, 4000, high=most)


def clustered(prompts, sizes, rate, alike, runs):
    """Runs of 0/1 outcomes of two policies, b milder by two fifths; `alike` is the correlation of one prompt's samples."""
    rng = np.random.default_rng(1)
    spare = 1 / alike - 1 if alike else 0.0
    for _ in range(runs):
        names = np.repeat(np.arange(prompts), rng.choice(sizes, prompts))
        rates = (rng.beta(rate * spare, (1 - rate) * spare, prompts) if alike else np.full(prompts, rate))[names]
        a, b = rng.random(len(rates)) < rates, rng.random(len(rates)) < 0.6 * rates
        yield a.astype(float), b.astype(float), names


def outcomes_held(prompts, sizes, rate, alike, runs):
    """How often the intervals of a's rate and of b − a hold the truth."""
    held = [0, 0]
    for a, b, names in clustered(prompts, sizes, rate, alike, runs):
        found, gap = estimate(a, names), paired_difference(a, b, names)
        held[0] += found.low <= rate <= found.high
        held[1] += gap.low <= -0.4 * rate <= gap.high
    return held


@pytest.mark.parametrize("sizes", [(2,), (4,), (8,), (1, 2, 4, 8)])
@pytest.mark.parametrize("prompts", [25, 50, 100, 200])
def test_several_answers_a_prompt(prompts, sizes):
    for rate, alike in product((0.05, 0.2, 0.5), (0.0, 0.3, 0.5, 0.7)):
        thin = prompts < 50 or prompts * rate < 3  # then wider than need be where the answers of a prompt are not alike
        for held in outcomes_held(prompts, sizes, rate, alike, 2000):
            assert between(held, 2000, high=1.0 if thin else 0.97), (rate, alike, held)


@pytest.mark.parametrize(("prompts", "sizes", "rate", "alike"), [
    (100, (4,), 0.2, 0.3), (100, (4,), 0.5, 0.5), (50, (8,), 0.05, 0.5), (50, (8,), 0.2, 0.7), (200, (1, 2, 4, 8), 0.2, 0.5),
])  # fmt: skip
def test_the_90_percent_interval_of_a_verdict_on_outcomes(prompts, sizes, rate, alike):
    held = 0
    for a, b, names in clustered(prompts, sizes, rate, alike, 2000):
        found = equivalent(a, b, names, margin=0.1)
        held += found.low <= -0.4 * rate <= found.high
    assert between(held, 2000, low=0.87, high=0.95)


def numbers_held(draw, truth, runs=500):
    rng = np.random.default_rng(4)
    found = (estimate(draw(rng)) for _ in range(runs))
    return sum(e.low <= truth <= e.high for e in found)


@pytest.mark.parametrize("prompts", [3, 5, 10, 20, 50])
def test_numbers_of_few_prompts(prompts):
    assert between(numbers_held(lambda rng: rng.normal(100.0, 20.0, prompts), 100.0), 500)


def shares(rate, alike, prompts):
    """Each prompt's share of 8 samples."""
    spare = 1 / alike - 1
    return lambda rng: rng.binomial(8, rng.beta(rate * spare, (1 - rate) * spare, prompts)) / 8


@pytest.mark.parametrize(("prompts", "rate", "alike", "most"), [
    (10, 0.5, 0.3, 0.97), (25, 0.2, 0.3, 0.97), (100, 0.2, 0.3, 0.97), (100, 0.05, 0.5, 0.97), (200, 0.05, 0.3, 0.97),
    (25, 0.05, 0.5, 1.0), (25, 0.02, 0.3, 1.0), (50, 0.05, 0.3, 1.0), (100, 0.02, 0.3, 1.0),  # few prompts have any
])  # fmt: skip
def test_shares_of_samples(prompts, rate, alike, most):
    assert between(numbers_held(shares(rate, alike, prompts), rate), 500, high=most)


@pytest.mark.parametrize(("shape", "prompts", "least"), [(2.0, 20, 0.92), (2.0, 50, 0.93), (0.5, 20, 0.86), (0.5, 100, 0.92)])
def test_skewed_numbers_of_few_prompts_are_held_less_often(shape, prompts, least):
    assert between(numbers_held(lambda rng: rng.gamma(shape, size=prompts), shape), 500, low=least)


@pytest.mark.parametrize(("se", "sp"), [(0.9, 0.95), (0.75, 0.9), (0.7, 0.7)])
@pytest.mark.parametrize(("n", "calibration"), [(200, 100), (400, 100), (400, 200)])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.5])
def test_a_rate_behind_a_judge(n, calibration, se, sp, rate):
    assert between(judged(n, calibration, se, sp, rate), 3000)


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.05])
def test_a_rare_rate_behind_a_very_good_judge_is_held_more_often_not_less(rate):
    assert judged(200, 100, 0.95, 0.99, rate) / 3000 >= 0.96


def judged(n, calibration, se, sp, rate, runs=3000):
    rng = np.random.default_rng(2)
    counts = (
        rng.binomial(size, p, runs) for size, p in ((n, rate * se + (1 - rate) * (1 - sp)), (calibration, se), (calibration, sp))
    )
    held = 0
    for k, hits, passes in zip(*(c.tolist() for c in counts), strict=True):
        found = rogan_gladen(k, n, sensitivity=(hits, calibration), specificity=(passes, calibration))
        held += found.low <= rate <= found.high
    return held


def seeds_held(tasks, seeds, apart, *, shared, together, runs):
    """How often the IQM's interval holds the truth; `shared`: half of a score's luck is its run's."""
    rng = np.random.default_rng(3)
    base = np.linspace(0.5 - apart, 0.5 + apart, tasks)[:, None]

    def draw(n):
        luck = rng.standard_normal((tasks, n))
        return base + 0.05 * ((luck + rng.standard_normal((1, n))) / math.sqrt(2) if shared else luck)

    truth = _middle(draw(200_000 // tasks).reshape(1, -1))[0]
    found = (iqm(draw(seeds).tolist(), together=together) for _ in range(runs))
    return sum(e.low <= truth <= e.high for e in found)


@pytest.mark.parametrize(("tasks", "seeds", "apart"), [(1, 10, 0.0), (4, 5, 0.3), (4, 10, 0.3), (8, 3, 0.3), (8, 5, 0.05)])
def test_an_iqm_of_seeds(tasks, seeds, apart):
    assert between(seeds_held(tasks, seeds, apart, shared=False, together=False, runs=500), 500)


def test_an_iqm_of_runs_that_were_asked_every_task_must_be_told_so():
    assert between(seeds_held(8, 5, 0.05, shared=True, together=True, runs=500), 500)
    assert seeds_held(8, 5, 0.05, shared=True, together=False, runs=500) / 500 < 0.8
