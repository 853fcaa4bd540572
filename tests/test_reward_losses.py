"""The losses of a learned reward, by hand and by their laws."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from primum.reward.losses import label_loss, pair_loss, rating_loss, tie_loss, tie_probabilities, whole

GAPS = st.floats(-20, 20)
WIDTHS = st.floats(1.1, 20)
NAN = math.nan


def one(x):
    return torch.tensor([float(x)], dtype=torch.double)


@given(GAPS, WIDTHS)
def test_win_lose_and_tie_sum_to_one(gap, k):
    assert float(sum(tie_probabilities(one(gap), k))) == pytest.approx(1, abs=1e-9)


@given(GAPS, WIDTHS)
def test_swapping_the_sides_swaps_win_and_lose_and_keeps_the_tie(gap, k):
    win, lose, tie = (float(p) for p in tie_probabilities(one(gap), k))
    assert [float(p) for p in tie_probabilities(one(-gap), k)] == pytest.approx([lose, win, tie])


@given(GAPS, WIDTHS)
def test_the_loss_with_ties_is_minus_the_log_of_the_probability_of_what_came_out(gap, k):
    for outcome, p in zip((1.0, 0.0, 0.5), tie_probabilities(one(gap), k), strict=True):
        assert float(tie_loss(one(gap), one(outcome), k)) == pytest.approx(-math.log(float(p)), abs=1e-7)


@given(GAPS, st.sampled_from([0.0, 0.5, 1.0]))
def test_swapping_the_sides_flips_the_sign_of_the_gradient(gap, outcome):
    for loss in (tie_loss, pair_loss):
        a, b = one(gap).requires_grad_(), one(-gap).requires_grad_()
        loss(a, one(outcome)).backward()
        loss(b, one(1 - outcome)).backward()
        assert float(a.grad) == pytest.approx(-float(b.grad), abs=1e-12)


def test_the_losses_are_those_worked_out_by_hand():
    assert float(tie_loss(one(0), one(1))) == pytest.approx(math.log(6))  # σ(−log 5) = 1/6
    assert float(tie_loss(one(0), one(0.5))) == pytest.approx(math.log(1.5))  # 24/36
    assert float(tie_loss(one(math.log(5)), one(1))) == pytest.approx(math.log(2))
    assert float(pair_loss(one(math.log(3)), one(1))) == pytest.approx(math.log(4 / 3))
    assert float(pair_loss(one(math.log(3)), one(0))) == pytest.approx(math.log(4))
    assert float(rating_loss(torch.tensor([0.5, 1.0]), torch.tensor([0.0, NAN]))) == pytest.approx(0.25)
    assert float(label_loss(one(math.log(3)), one(1))) == pytest.approx(math.log(4 / 3))
    assert float(label_loss(one(math.log(3)), one(0.5))) == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)


@pytest.mark.parametrize("loss", [tie_loss, pair_loss, rating_loss, label_loss])
def test_a_missing_label_gives_its_head_exactly_no_gradient_and_does_not_dilute_the_others(loss):
    said = torch.tensor([0.3, math.inf, -0.7], requires_grad=True)
    truth = torch.tensor([1.0, NAN, 0.0])
    found = loss(said, truth)
    found.backward()
    assert said.grad[1] == 0.0
    assert bool((said.grad[[0, 2]] != 0).all())
    assert float(found) == pytest.approx(float(loss(torch.tensor([0.3, -0.7]), torch.tensor([1.0, 0.0]))))
    nothing = torch.zeros(2, requires_grad=True)
    loss(nothing, torch.tensor([NAN, NAN])).backward()
    assert nothing.grad.tolist() == [0.0, 0.0]


def test_a_tie_teaches_the_loss_with_ties_alone():
    gap = one(2.0).requires_grad_()
    pair_loss(gap, one(0.5)).backward()
    assert float(gap.grad) == 0.0
    tie_loss(gap, one(0.5)).backward()
    assert float(gap.grad) > 0.5  # towards a smaller gap


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=4))
def test_harm_of_the_whole_is_one_minus_the_chance_that_no_half_is_harmful(logits):
    none = math.prod(1 - 1 / (1 + math.exp(-z)) for z in logits)
    found = torch.sigmoid(whole(torch.tensor([logits], dtype=torch.double)))
    assert float(found) == pytest.approx(1 - none, abs=1e-6)


def test_one_half_alone_keeps_its_logit_and_extremes_stay_finite():
    assert whole(torch.tensor([[-3.0]])).tolist() == [-3.0]
    far = torch.tensor([[-60.0, -60.0], [60.0, 60.0]], requires_grad=True)
    found = whole(far)
    found.sum().backward()
    assert bool(torch.isfinite(found).all())
    assert bool(torch.isfinite(far.grad).all())
