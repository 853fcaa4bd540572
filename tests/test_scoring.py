"""Scoring completions: the head in chunks, siblings in one row, and the test that both are exact."""

import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_policy, tiny_tokenizer
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)  # fmt: skip

from primum.policy import Policy, head, logprobs, sample
from primum.policy.adapter import adapted, merged, switched_off
from primum.policy.head import Head, chosen_logprobs
from primum.policy.pack import plan, row_length
from primum.policy.score import completion_logprobs
from primum.policy.selftest import arithmetic, check_sampling, fast_is_exact, precision_holds
from primum.types import BadInput, Example, Rollout

ASK = Example("a", "how do i take the lamp", "benign")
LONGER = Example("b", "is it bad to break the stone door with the child and then watch", "benign")


def rollout(prompt, said):
    return Rollout(ASK, "", "", prompt_ids=tuple(prompt), completion_ids=tuple(said))


# The head


def by_hand(hidden, weight, token, scale, cap, temperature):
    """Log-probabilities and entropies the plain way."""
    z = hidden @ weight.T * scale
    z = (cap * torch.tanh(z / cap) if cap else z) / temperature
    every = z.log_softmax(-1)
    return every.gather(1, token[:, None])[:, 0], -(every.exp() * every).sum(-1)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 40), size=st.integers(2, 60), scale=st.sampled_from([1.0, 0.125, 3.0]),
    cap=st.sampled_from([0.0, 5.0]), temperature=st.sampled_from([1.0, 0.6]), keep=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_the_head_in_chunks_has_the_values_and_gradients_of_the_whole_table(count, size, scale, cap, temperature, keep, seed):
    torch.manual_seed(seed)
    hidden, weight = torch.randn(count, 6).requires_grad_(), torch.randn(size, 6).requires_grad_()
    token, pull = torch.randint(size, (count,)), torch.randn(2, count)
    grads = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "CHUNK", 17 * size)
        patch.setattr(head, "KEEP", 1 << 20 if keep else 0)
        found = chosen_logprobs(hidden, Head(weight, scale, cap), token, temperature=temperature, entropy=True)
        for logprob, entropy in (found, by_hand(hidden, weight, token, scale, cap, temperature)):
            grads.append(torch.autograd.grad((logprob * pull[0] + entropy * pull[1]).sum(), [hidden, weight]))
            grads[-1] += (logprob.detach(), entropy.detach())
    for ours, expected in zip(*grads, strict=True):
        torch.testing.assert_close(ours, expected, atol=2e-4, rtol=2e-4)


def test_the_head_without_entropy_has_the_same_log_probabilities_and_a_second_backward_pass_too():
    torch.manual_seed(0)
    hidden, weight, token = torch.randn(5, 6).requires_grad_(), torch.randn(9, 6), torch.arange(5)
    logprob, none = chosen_logprobs(hidden, Head(weight), token)
    assert none is None
    torch.testing.assert_close(logprob, by_hand(hidden, weight, token, 1.0, 0.0, 1.0)[0])
    first, again = (torch.autograd.grad(logprob.sum(), hidden, retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(first, again)


def test_a_head_that_nothing_trains_gets_no_gradient():
    hidden, weight = torch.randn(3, 4).requires_grad_(), torch.randn(7, 4)
    chosen_logprobs(hidden, Head(weight), torch.tensor([0, 1, 2]))[0].sum().backward()
    assert weight.grad is None
    assert hidden.grad is not None


# Rows


def test_siblings_share_a_row_and_rows_of_like_length_share_a_pass():
    policy = tiny_policy()
    rollouts = [rollout(range(5), range(n)) for n in (3, 4, 5)] + [rollout(range(9), range(2)), rollout([1, 2], [3] * 40)]
    passes = plan(policy.model, rollouts, tokens=30, shared=True)
    assert passes == [[[3], [0, 1, 2]], [[4]]]  # 10 and 14 positions twice 14 are 28; 41 are a pass of their own
    assert [row_length(rollouts, row) for rows in passes for row in rows] == [10, 14, 41]
    assert plan(policy.model, rollouts, tokens=10_000, shared=False) == [[[0], [1], [2], [3], [4]]]  # lengths 7, 8, 9, 10, 41


def test_long_siblings_part_where_looking_at_each_other_costs_more_than_the_prompt():
    policy = tiny_policy(hidden=64)
    policy.model.config.max_position_embeddings = 10_000
    rollouts = [rollout(range(4), [7] * 4000) for _ in range(2)]
    assert plan(policy.model, rollouts, tokens=8500, shared=True) == [[[0], [1]]]
    rollouts = [rollout([7] * 400, range(10)) for _ in range(3)]
    assert plan(policy.model, rollouts, tokens=8500, shared=True) == [[[0, 1, 2]]]


def test_no_shared_row_is_longer_than_a_pass_or_the_context():
    policy = tiny_policy()
    rollouts = [rollout(range(20), range(11)) for _ in range(5)]
    assert plan(policy.model, rollouts, tokens=40, shared=True) == [[[4]], [[0, 1]], [[2, 3]]]  # 20 + 10 + 10 fill 40
    policy.model.config.max_position_embeddings = 50
    rows = [row for rows in plan(policy.model, rollouts, tokens=1000, shared=True) for row in rows]
    assert sorted(rows) == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize(("grad", "alive"), [(False, 1), (True, 4)])
def test_probabilities_are_kept_only_for_a_backward_pass(grad, alive):
    hidden, weight, token = torch.randn(64, 4).requires_grad_(), torch.randn(9, 4), torch.zeros(64, dtype=torch.long)
    made, freed, most = [], [], []

    def watched(*given, real=head._softmax):
        found = real(*given)
        weakref.finalize(found[0], freed.append, 1)
        made.append(1)
        most.append(len(made) - len(freed))
        return found

    with pytest.MonkeyPatch.context() as patch, torch.set_grad_enabled(grad):
        patch.setattr(head, "CHUNK", 16 * 9)
        patch.setattr(head, "_softmax", watched)
        chosen_logprobs(hidden, Head(weight), token)
    assert len(made) == 4
    assert max(most) <= alive + 1
    assert grad == (max(most) == 4)


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=9), tokens=st.integers(1, 80))
def test_whatever_the_lengths_and_passes_shared_rows_score_as_single_ones_do(lengths, tokens):
    policy = tiny_policy()
    draw = torch.Generator().manual_seed(len(lengths))
    prompts = [torch.randint(60, (n,), generator=draw).tolist() for n in (1, 4, 7)]
    rollouts = [rollout(prompts[p], torch.randint(60, (n,), generator=draw).tolist()) for p, n in lengths]
    with torch.no_grad():
        shared = logprobs(policy.model, rollouts, pad=policy.pad, tokens=tokens, entropy=True)
        single = logprobs(policy.model, rollouts, pad=policy.pad, tokens=10_000, fast=False, entropy=True)
    torch.testing.assert_close(shared.logprobs_NT, single.logprobs_NT, atol=2e-5, rtol=0)
    torch.testing.assert_close(shared.entropy_NT, single.entropy_NT, atol=2e-5, rtol=0)
    assert shared.mask_NT.sum(1).tolist() == [n for _, n in lengths]


def test_a_sibling_does_not_see_the_one_before_it():
    policy = tiny_policy()
    one, other = ([rollout([1, 6], said), rollout([1, 6], [9, 9, 9])] for said in ([7, 8], [20, 30]))
    assert len(plan(policy.model, one, tokens=100, shared=True)[0]) == 1
    a, b = (logprobs(policy.model, rollouts, pad=policy.pad).logprobs_NT[1] for rollouts in (one, other))
    torch.testing.assert_close(a, b)


# Models

SHAPE = {
    "vocab_size": len(tiny_tokenizer()), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0,
}  # fmt: skip
MODELS = {
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=16, sliding_window=12, final_logit_softcapping=3.0)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=12)),
    "cohere": lambda: CohereForCausalLM(CohereConfig(**SHAPE)),
    "granite": lambda: GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=4.0)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=SHAPE["vocab_size"], n_embd=64, n_layer=2, n_head=4, n_positions=256)),
}


def policy_of(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.15)  # so that a wrong mask shows
    return Policy(model, tiny_tokenizer(), name)


@pytest.mark.parametrize("name", MODELS)
def test_sampling_plain_scoring_and_shared_rows_agree_on_every_kind_of_model(name):
    policy = policy_of(name)
    assert fast_is_exact(policy, temperature=0.8) == ""
    check_sampling(policy)
    rollouts = sample(policy, [ASK, LONGER], group=4, limit_tokens=20)
    with torch.no_grad():
        fast, plain = (logprobs(policy.model, rollouts, pad=policy.pad, fast=fast) for fast in (True, False))
    torch.testing.assert_close(plain.logprobs_NT, completion_logprobs(rollouts), atol=3e-5, rtol=0)
    torch.testing.assert_close(fast.logprobs_NT, plain.logprobs_NT, atol=3e-5, rtol=0)


def test_a_model_whose_head_is_more_than_a_matrix_falls_back():
    torch.manual_seed(0)
    biased = Policy(PhiForCausalLM(PhiConfig(**SHAPE)).eval(), tiny_tokenizer(), "phi")
    assert "no plain matrix" in fast_is_exact(biased)


def test_a_model_that_passes_something_on_from_row_to_row_falls_back():
    policy = tiny_policy()
    policy.model.model.layers[0].register_forward_hook(lambda module, args, out: out.cumsum(1) * 0.1)  # recurrent, in effect
    assert "log-probabilities differ" in fast_is_exact(policy)
    assert logprobs(policy.model, [rollout([1], [7])], pad=0, fast=False).mask_NT.all()


def test_a_model_whose_head_has_a_gradient_of_its_own_falls_back():
    policy = tiny_policy()
    policy.model.lm_head.register_forward_hook(lambda module, args, out: 3 * out - 2 * out.detach())
    assert "gradient differs" in fast_is_exact(policy)


def test_a_model_that_cannot_continue_from_its_cache_is_refused():
    policy = tiny_policy()
    policy.model.model.embed_tokens.register_forward_hook(lambda module, args, out: out + 0.5 * (out.shape[1] > 1))
    with pytest.raises(BadInput, match="disagree"):
        check_sampling(policy)


# Precision


def test_bfloat16_arithmetic_rounds_and_stays_near():
    policy = tiny_policy()
    assert precision_holds(policy, "bfloat16") == ""
    rollouts = sample(policy, [ASK], group=4, limit_tokens=8)
    with torch.no_grad():
        exact = logprobs(policy.model, rollouts, pad=policy.pad).logprobs_NT
        with arithmetic(policy, "bfloat16"):
            rough = logprobs(policy.model, rollouts, pad=policy.pad).logprobs_NT
        with arithmetic(policy, "auto"):
            assert torch.equal(exact, logprobs(policy.model, rollouts, pad=policy.pad).logprobs_NT)
    assert 0 < float((rough - exact).abs().max()) < 0.05


def test_a_model_that_bfloat16_distorts_keeps_its_own_precision():
    policy = tiny_policy()
    with torch.no_grad():
        policy.model.lm_head.weight *= 400  # logits in the hundreds, which bfloat16 knows to whole numbers
    assert "differ" in precision_holds(policy, "bfloat16")


# Adapters


def test_an_adapter_changes_nothing_at_first_and_switching_it_off_gives_the_start_back():
    policy = tiny_policy()
    trained = adapted(policy, 4, seed=1)
    rollouts = sample(policy, [ASK], group=2, limit_tokens=8)
    before = logprobs(policy.model, rollouts, pad=policy.pad).logprobs_NT
    torch.testing.assert_close(logprobs(trained.model, rollouts, pad=policy.pad).logprobs_NT, before)
    assert fast_is_exact(trained) == ""
    with torch.no_grad():
        for name, weight in trained.model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.05)
    after = logprobs(trained.model, rollouts, pad=policy.pad).logprobs_NT
    assert (after - before).abs().max() > 1e-3
    with switched_off(trained) as bare:
        torch.testing.assert_close(logprobs(bare.model, rollouts, pad=policy.pad).logprobs_NT, before)
    whole = merged(trained)
    torch.testing.assert_close(logprobs(whole.model, rollouts, pad=policy.pad).logprobs_NT, after, atol=1e-5, rtol=0)
    assert not hasattr(whole.model, "merge_and_unload")
    assert hasattr(trained.model, "merge_and_unload")
    assert merged(policy) is policy
    assert {n for n, p in trained.model.named_parameters() if p.requires_grad} == {
        n for n, _ in trained.model.named_parameters() if "lora_" in n
    }


def test_an_adapters_random_half_is_drawn_from_its_seed_and_leaves_the_global_stream_alone():
    state = torch.random.get_rng_state()
    a, b, c = (dict(adapted(tiny_policy(), 2, seed=s).model.named_parameters()) for s in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    drawn = [name for name in a if "lora_A" in name]
    assert drawn
    assert all(torch.equal(a[n], b[n]) and not torch.equal(a[n], c[n]) for n in drawn)


def test_the_gradient_of_an_adapter_flows_through_the_fast_path():
    trained = adapted(tiny_policy(), 2)
    rollouts = sample(trained, [ASK], group=3, limit_tokens=6)
    logprobs(trained.model, rollouts, pad=trained.pad).logprobs_NT.sum().backward()
    grads = {n: p.grad for n, p in trained.model.named_parameters()}
    assert all((g is not None) == ("lora_" in n) for n, g in grads.items())
    assert all(math.isfinite(float(g.norm())) and float(g.norm()) > 0 for n, g in grads.items() if "lora_B" in n)
