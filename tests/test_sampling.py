"""Sampling's parts: exact draws, rows that leave, loops that are cut, prefills, and rollouts that go on in a later step."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PLAIN_TEMPLATE, chain, talkative

from primum.policy import logprobs, proceed, prompt_ids, sample, unfinished
from primum.policy.cache import RowLayer, closed_up
from primum.policy.choose import BLOCK, choose
from primum.policy.score import completion_logprobs
from primum.run import Ledger
from primum.types import Example

SHORT = Example(id="s", prompt="break lamp", kind="benign")
LONG = Example(id="l", prompt="how do i break the lamp with a stone ?", kind="benign")


# Drawing a token


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 3 * BLOCK + 5), seed=st.integers(0, 9999), temperature=st.sampled_from([1.0, 0.5, 2.0]))
def test_a_draw_inverts_the_cumulative_distribution_over_any_vocabulary(size, seed, temperature):
    torch.manual_seed(seed)
    logits, uniform = 4 * torch.randn(6, size), torch.rand(6, dtype=torch.float64)
    token, logprob = choose(logits, uniform, temperature)
    expected = (logits.double() / temperature).log_softmax(-1)
    upto = expected.exp().cumsum(-1)
    for n, t in enumerate(token.tolist()):
        below = float(upto[n, t - 1]) if t else 0.0
        assert below - 1e-5 <= float(uniform[n]) <= float(upto[n, t]) + 1e-5
    torch.testing.assert_close(logprob.double(), expected.gather(1, token[:, None])[:, 0], atol=1e-5, rtol=1e-5)


def test_the_ends_of_the_distribution_are_its_first_and_last_possible_tokens():
    logits = torch.full((2, 300), -math.inf)
    logits[:, [140, 290]] = 0.0
    token, logprob = choose(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64), 1.0)
    assert token.tolist() == [140, 290]
    assert logprob.tolist() == pytest.approx([math.log(0.5)] * 2)


def test_rounding_never_leads_to_an_impossible_token_at_the_end_of_a_block():
    torch.manual_seed(0)
    logits = torch.randn(400, BLOCK)
    logits[:, -1] = -math.inf
    p = (logits - logits.amax(1, keepdim=True)).exp()
    assert (p.sum(1).double() > p.double().sum(1)).any()  # single precision says more than there is
    token, _ = choose(logits, torch.full((400,), 1 - 2**-53, dtype=torch.float64), 1.0)
    assert token.unique().tolist() == [BLOCK - 2]


# Rows that leave


@settings(max_examples=50, deadline=None)
@given(going=st.lists(st.booleans(), min_size=1, max_size=20))
def test_rows_that_go_on_keep_their_places_and_the_last_fill_the_gaps(going):
    order = closed_up(torch.tensor(going)).tolist()
    staying = [i for i, on in enumerate(going) if on]
    assert sorted(order) == staying
    assert all(order[i] == i for i in range(len(order)) if going[i])


def test_the_cache_grows_in_place_and_forgets_rows_without_moving_the_others():
    torch.manual_seed(0)
    read, steps = torch.randn(2, 3, 5, 4), torch.randn(70, 6, 3, 1, 4)
    layer = RowLayer()
    layer.update(read, -read)
    layer.batch_repeat_interleave(3)
    expected, buffers = read.repeat_interleave(3, 0), set()
    for n, step in enumerate(steps):
        if n == 10:
            order = torch.tensor([0, 5, 2, 3])
            layer.batch_select_indices(order)
            expected = expected[order]
        keys, values = layer.update(step[: len(expected)], -step[: len(expected)])
        expected = torch.cat([expected, step[: len(expected)]], 2)
        assert torch.equal(keys, expected)
        assert torch.equal(values, -expected)
        assert layer.get_seq_length() == 6 + n
        buffers.add(layer.keys.data_ptr())
    assert len(buffers) == 2  # 64 positions of room, and once more


# Loops


def test_a_rollout_that_only_repeats_itself_is_cut():
    policy = chain("<think>", "is", "the", "lamp", "is")
    (rollout,) = sample(policy, [SHORT], limit_tokens=50, temperature=0, loop_tokens=9)
    # is the lamp | is the lamp is the lamp is the lamp: nine tokens that equal the one three before
    assert len(rollout.completion_ids) == 12
    assert rollout.looped
    assert rollout.truncated
    assert not unfinished(rollout, 50)
    (whole,) = sample(policy, [SHORT], limit_tokens=50, temperature=0)
    assert len(whole.completion_ids) == 50
    assert not whole.looped
    assert whole.truncated


def test_what_repeats_less_than_that_is_left_alone():
    policy = chain("<think>", "is", "the", "lamp", "is")
    (rollout,) = sample(policy, [SHORT], limit_tokens=11, temperature=0, loop_tokens=9)
    assert not rollout.looped
    assert len(rollout.completion_ids) == 11
    rollouts = sample(talkative(0.1), [SHORT, LONG], group=8, limit_tokens=30, loop_tokens=12)
    same = sample(talkative(0.1), [SHORT, LONG], group=8, limit_tokens=30)
    assert [r.completion_ids for r in rollouts] == [r.completion_ids for r in same]


def test_a_loop_is_found_over_the_ends_of_segments():
    policy = chain("<think>", "is", "the", "lamp", "is")
    rollouts = sample(policy, [SHORT], limit_tokens=50, segment_tokens=5, temperature=0, loop_tokens=9)
    for seed in range(5):
        rollouts = proceed(policy, rollouts, limit_tokens=50, segment_tokens=5, temperature=0, loop_tokens=9, seed=seed)
    assert rollouts[0].looped
    assert len(rollouts[0].completion_ids) == 12


def stuck(ids, tokens):
    """Whether the last so many tokens all equal the one a period before, for some period."""
    return any(len(ids) >= tokens + p and all(ids[-i] == ids[-i - p] for i in range(1, tokens + 1)) for p in range(1, len(ids)))


def test_one_looping_sibling_leaves_the_others_as_they_are():
    policy = chain("<think>", "lamp")
    lamp = policy.tokenizer.convert_tokens_to_ids("lamp")
    with torch.no_grad():
        policy.model.lm_head.weight[lamp, lamp] = 0.5  # e^5.7 to about 100 for all other words: three in four stay with the lamp
    found = sample(policy, [SHORT, LONG], group=16, limit_tokens=40, loop_tokens=6, seed=3)
    free = sample(policy, [SHORT, LONG], group=16, limit_tokens=40, seed=3)
    looped = [r.looped for r in found]
    assert looped == [stuck(r.completion_ids, 6) for r in found]
    assert any(looped)
    assert not all(looped)
    for cut, whole in zip(found, free, strict=True):
        assert whole.completion_ids[: len(cut.completion_ids)] == cut.completion_ids
        assert cut.looped or cut.completion_ids == whole.completion_ids


# Prefills


def test_a_prefill_is_prompt_and_its_thought_goes_on_from_there():
    policy = chain("safe", "</think>", "yes", "<eos>")
    begun = replace(SHORT, prefill="lamp is safe")
    (rollout,) = sample(policy, [begun], temperature=0, limit_tokens=9)
    words = policy.tokenizer.convert_ids_to_tokens(list(rollout.prompt_ids))
    assert words[-4:] == ["<think>", "lamp", "is", "safe"]
    assert (rollout.thought, rollout.reply, rollout.well_formed, rollout.thought_tokens) == ("", "yes", True, 0)


def test_a_prefill_opens_the_thought_where_the_template_does_not():
    policy = chain("safe", "</think>", "yes", "<eos>", template=PLAIN_TEMPLATE)
    begun = replace(SHORT, prefill="lamp is safe")
    words = policy.tokenizer.convert_ids_to_tokens(prompt_ids(policy, begun))
    assert words[-5:] == ["<assistant>", "<think>", "lamp", "is", "safe"]
    (rollout,) = sample(policy, [begun], temperature=0, limit_tokens=9)
    assert (rollout.reply, rollout.well_formed) == ("yes", True)


# Partial rollouts


def test_a_rollout_in_segments_is_one_rollout_whose_earlier_tokens_are_old():
    policy = talkative(0.05)
    first = sample(policy, [SHORT, LONG], group=6, limit_tokens=30, segment_tokens=8, seed=1)
    assert max(len(r.completion_ids) for r in first) == 8
    assert {unfinished(r, 30) for r in first} == {True, False}
    second = proceed(policy, first, limit_tokens=30, segment_tokens=15, seed=2)
    for before, after in zip(first, second, strict=True):
        if not unfinished(before, 30):
            assert after is before
            continue
        assert after.completion_ids[: len(before.completion_ids)] == before.completion_ids
        assert after.logprobs[: len(before.logprobs)] == before.logprobs
        assert after.fresh_from == 8 < len(after.completion_ids) <= 23
        assert after.prompt_ids == before.prompt_ids
        assert after.thought_tokens + after.reply_tokens <= len(after.completion_ids)
    third = proceed(policy, second, limit_tokens=30, seed=3)
    assert not any(unfinished(r, 30) for r in third)
    assert max(len(r.completion_ids) for r in third) == 30
    assert {r.fresh_from for r in third} >= {0, 23}
    scored = logprobs(policy.model, third, pad=policy.pad).logprobs_NT
    torch.testing.assert_close(scored, completion_logprobs(third), atol=3e-5, rtol=0)


def test_going_on_depends_on_neither_batch_nor_order():
    policy = talkative(0.05)
    begun = sample(policy, [SHORT, LONG], group=4, limit_tokens=30, segment_tokens=5, seed=1)
    together = proceed(policy, begun, limit_tokens=30, segment_tokens=9, seed=2)
    halves = [*begun[4:], *begun[:4]]
    apart = proceed(policy, halves, limit_tokens=30, segment_tokens=9, seed=2, batch=3)
    assert [r.completion_ids for r in together] == [r.completion_ids for r in apart[4:] + apart[:4]]
    assert len({r.completion_ids for r in together}) == 8


def test_the_ledger_counts_only_the_new_tokens_of_a_continued_rollout():
    policy, ledger = talkative(0.02), Ledger()
    begun = sample(policy, [SHORT], group=4, limit_tokens=20, segment_tokens=5)
    longer = proceed(policy, begun, limit_tokens=20, segment_tokens=6, ledger=ledger)
    new = sum(len(b.completion_ids) - len(a.completion_ids) for a, b in zip(begun, longer, strict=True))
    assert ledger.sampled_tokens == new > 0


def test_a_thought_is_split_over_segments_as_if_it_had_been_sampled_at_once():
    policy = chain("<think>", "lamp", "is", "safe", "</think>", "yes", ".", "<eos>")
    rollouts = sample(policy, [SHORT], temperature=0, limit_tokens=20, segment_tokens=2)
    for seed in range(4):
        rollouts = proceed(policy, rollouts, temperature=0, limit_tokens=20, segment_tokens=2, seed=seed)
    (whole,) = sample(policy, [SHORT], temperature=0, limit_tokens=20)
    assert replace(rollouts[0], fresh_from=0, logprobs=()) == replace(whole, logprobs=())
    assert (whole.thought, whole.reply, rollouts[0].fresh_from) == ("lamp is safe", "yes .", 6)
