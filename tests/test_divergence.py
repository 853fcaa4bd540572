"""The divergences between a student's and its teacher's next-token distributions, and how the models are read for them."""

import math

import pytest
import torch
import torch.nn.functional as F
from distilled import plainly, pupil, sharp
from loop import CORPUS
from scipy.stats import entropy
from trl.trainer.distillation_trainer import _chunked_divergence_loss

from primum.distill.divergence import Head, States, divergence, divergences, read_states, teacher_states
from primum.policy import sample
from primum.policy.pack import plan

NAMES = ("reverse_kl", "forward_kl", "jsd")


LOG = math.log
BY_HAND = [
    ("reverse_kl", 0.5, LOG(2) / 2 + LOG(2 / 3) / 2),
    ("forward_kl", 0.5, LOG(1 / 2) / 4 + LOG(3 / 2) * 3 / 4),
    # m = (3/8, 5/8)
    ("jsd", 0.5, 0.5 * (LOG(2 / 3) / 4 + LOG(6 / 5) * 3 / 4) + 0.5 * (LOG(4 / 3) / 2 + LOG(4 / 5) / 2)),
    # m = 0.8·t + 0.2·s = (0.3, 0.7)
    ("jsd", 0.8, 0.8 * (LOG(5 / 6) / 4 + LOG(15 / 14) * 3 / 4) + 0.2 * (LOG(5 / 3) / 2 + LOG(5 / 7) / 2)),
]


@pytest.mark.parametrize(("kind", "beta", "expected"), BY_HAND)
def test_each_divergence_of_two_tokens_is_the_one_worked_out_by_hand(kind, beta, expected):
    student, teacher = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    assert float(divergence(student, teacher, kind, beta)) == pytest.approx(expected, abs=1e-6)


def test_the_divergences_are_scipys_and_torchs():
    student, teacher = (torch.log_softmax(torch.randn(5, 3, generator=torch.Generator().manual_seed(i)), -1) for i in (0, 1))
    p, q = student.exp().double().numpy(), teacher.exp().double().numpy()
    assert divergence(student, teacher, "reverse_kl").tolist() == pytest.approx(entropy(p, q, axis=1), abs=1e-6)
    assert divergence(student, teacher, "forward_kl").tolist() == pytest.approx(entropy(q, p, axis=1), abs=1e-6)
    theirs = F.kl_div(student, teacher, reduction="none", log_target=True).sum(1)  # torch writes KL(target‖input)
    assert torch.allclose(divergence(student, teacher, "forward_kl"), theirs, atol=1e-6)


@pytest.mark.parametrize("kind", NAMES)
def test_where_the_student_is_its_teacher_there_is_no_divergence_and_no_gradient(kind):
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = divergence(torch.log_softmax(logits, -1), torch.log_softmax(logits.detach(), -1), kind)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert found.abs().max() < 1e-6
    assert gradient.abs().max() < 1e-6


def test_divided_by_its_weight_the_jsd_ends_in_forward_and_in_reverse_kl():
    student, teacher = torch.tensor([0.5, 0.3, 0.2]).double().log(), torch.tensor([0.2, 0.2, 0.6]).double().log()
    near = {beta: float(divergence(student, teacher, "jsd", beta)) for beta in (1e-6, 1 - 1e-6)}
    assert near[1e-6] / 1e-6 == pytest.approx(float(divergence(student, teacher, "forward_kl")), rel=1e-3)
    assert near[1 - 1e-6] / 1e-6 == pytest.approx(float(divergence(student, teacher, "reverse_kl")), rel=1e-3)


def hidden_states(heads=(1.0, 0.0), sizes=(11, 11)):
    """A student of width 4 and a teacher of width 6 at 5 positions; the student's tensors have a gradient."""
    draw = torch.Generator().manual_seed(0)
    scale, cap = heads
    ours, ours_head = (torch.randn(n, 4, generator=draw, requires_grad=True) for n in (5, sizes[0]))
    theirs, theirs_head = (torch.randn(n, 6, generator=draw) for n in (5, sizes[1]))
    return States(ours, Head(ours_head, scale, cap)), States(theirs, Head(theirs_head, scale, cap))


@pytest.mark.parametrize(("kind", "beta"), [("reverse_kl", 1.0), ("forward_kl", 0.0), ("jsd", 0.3)])
@pytest.mark.parametrize("heads", [(1.0, 0.0), (0.5, 2.0)])
def test_loss_and_gradient_are_those_of_trls_distillation_trainer(kind, beta, heads):
    student, teacher = hidden_states(heads)
    settings = {"kind": kind} | ({"beta": beta} if kind == "jsd" else {})
    loss = divergences(student, teacher, temperature=0.7, **settings).mean()
    tensors = (student.rows_M, student.head.weight_VD)
    scale, cap = heads
    theirs, _, _ = _chunked_divergence_loss(
        student.rows_M[None], teacher.rows_M[None], student.head.weight_VD, teacher.head.weight_VD, torch.ones(1, 5), beta,
        student_logit_scale=scale, teacher_logit_scale=scale, student_final_logit_softcapping=cap or None,
        teacher_final_logit_softcapping=cap or None, temperature=0.7,
    )  # fmt: skip
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-5)
    logits = [States(states.logprobs(slice(None), 11, 1.0).detach(), None) for states in (student, teacher)]
    assert divergences(*logits, temperature=0.7, **settings).mean().item() == pytest.approx(loss.item(), rel=1e-5)
    for mine, other in zip(torch.autograd.grad(loss, tensors), torch.autograd.grad(theirs, tensors), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_computed_again_in_chunks_the_gradient_is_the_same(monkeypatch):
    found = []
    for keep, chunk in ((1 << 25, 1 << 22), (0, 16)):
        monkeypatch.setattr("primum.distill.divergence.KEEP", keep)
        monkeypatch.setattr("primum.distill.divergence.CHUNK", chunk)
        student, teacher = hidden_states()
        student = States(torch.cat([student.rows_M] * 8), student.head)  # 40 positions: three chunks of at least 16
        teacher = States(torch.cat([teacher.rows_M] * 8), teacher.head)
        each = divergences(student, teacher, kind="reverse_kl")
        found.append((each, torch.autograd.grad((each * torch.arange(40)).sum(), student.head.weight_VD)[0]))
    assert torch.allclose(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-4)


def test_what_only_a_padded_vocabulary_holds_counts_nothing():
    student, teacher = hidden_states(sizes=(11, 13))
    cut = States(teacher.rows_M, Head(teacher.head.weight_VD[:11]))
    assert torch.equal(*(divergences(student, other, kind="reverse_kl") for other in (teacher, cut)))


@pytest.mark.parametrize("fast", [True, False])
def test_the_states_are_those_of_each_rollout_read_alone(fast):
    policy, teacher = pupil(), sharp()
    rollouts = sample(policy, CORPUS.train[:5], group=3, limit_tokens=8, seed=3)
    rows = plan(policy.model, rollouts, tokens=10_000, shared=fast)
    assert len(rows) == 1
    assert fast == any(len(row) > 1 for row in rows[0])
    ours = read_states(policy, [rollouts[i] for row in rows[0] for i in row], renumber(rows[0]), fast=fast)
    theirs = teacher_states(teacher, rollouts, tokens=60, fast=fast)
    place = [i for row in rows[0] for i in row]
    for policy_, states, order in ((policy, ours, place), (teacher, theirs, list(range(len(rollouts))))):
        expected = torch.cat([plainly(policy_, rollouts[i], 0.8) for i in order])
        size = states.vocabulary
        assert torch.allclose(states.logprobs(slice(None), size, 0.8), expected, atol=1e-4)


def renumber(rows):
    number = iter(range(100))
    return [[next(number) for _ in row] for row in rows]
