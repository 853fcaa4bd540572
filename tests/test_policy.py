import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import PLAIN_TEMPLATE, R1_TEMPLATE, chain, talkative, tiny_policy
from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

from primum.policy import Policy, completion_ids, copy, forward_flops, load, logprobs, prompt_ids, sample, save
from primum.policy.choose import choose
from primum.policy.score import completion_logprobs
from primum.run import Ledger
from primum.types import BadInput, Example, Rollout

SHORT = Example(id="s", prompt="break lamp", kind="benign")
LONG = Example(id="l", prompt="how do i break the lamp with a stone ?", kind="benign")
TOLD = Example(id="t", prompt="break lamp", kind="benign", thought="lamp is safe", reply="yes . then stop")


def weights(policy):
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


# Templates


def test_the_prompt_ends_inside_an_open_thought():
    policy = tiny_policy()
    assert policy.tokenizer.convert_ids_to_tokens(prompt_ids(policy, SHORT)) == [
        "<bos>",
        "<user>",
        "break",
        "lamp",
        "<assistant>",
        "<think>",
    ]


def test_a_demonstration_keeps_the_thought_that_the_template_would_delete():
    policy = tiny_policy()
    told = policy.tokenizer.convert_ids_to_tokens(completion_ids(policy, TOLD))
    assert told == ["lamp", "is", "safe", "</think>", "yes", ".", "then", "<unk>", "<eos>"]


def test_a_demonstration_opens_its_thought_where_the_prompt_does_not():
    policy = tiny_policy(template=PLAIN_TEMPLATE)
    tokens = policy.tokenizer.convert_ids_to_tokens
    assert tokens(prompt_ids(policy, TOLD))[-1] == "<assistant>"
    assert tokens(completion_ids(policy, TOLD))[:5] == ["<think>", "lamp", "is", "safe", "</think>"]
    silent = Example(id="n", prompt="break lamp", kind="benign", reply="yes")
    assert tokens(completion_ids(policy, silent)) == ["yes", "<eos>"]
    assert tokens(completion_ids(tiny_policy(), silent)) == ["</think>", "yes", "<eos>"]


# Sampling


def test_what_is_sampled_depends_on_neither_batch_nor_order():
    policy = talkative(0.2)
    whole = sample(policy, [SHORT, LONG, TOLD], group=5, limit_tokens=12, seed=7)
    alone = sample(policy, [LONG], group=5, limit_tokens=12, seed=7)
    backwards = sample(policy, [TOLD, LONG, SHORT], group=5, limit_tokens=12, seed=7, batch=1)
    assert "".join(r.example.id for r in whole) == "ssssslllllttttt"
    assert [r.completion_ids for r in whole[5:10]] == [r.completion_ids for r in alone]
    assert [r.completion_ids for r in whole] == [r.completion_ids for r in backwards[10:] + backwards[5:10] + backwards[:5]]
    assert len({len(r.completion_ids) for r in whole}) > 5
    assert whole != sample(policy, [SHORT, LONG, TOLD], group=5, limit_tokens=12, seed=8)


def test_an_example_that_comes_twice_is_sampled_afresh():
    first, second = sample(tiny_policy(), [SHORT, SHORT], limit_tokens=12)
    assert first.completion_ids != second.completion_ids


def test_greedy_takes_the_likeliest_token_each_time():
    policy = tiny_policy()
    rollouts = sample(policy, [SHORT, LONG], temperature=0, limit_tokens=8)
    for rollout in rollouts:
        ids = torch.tensor([rollout.prompt_ids + rollout.completion_ids])
        best = policy.model(ids).logits[0, len(rollout.prompt_ids) - 1 : -1].argmax(-1)
        assert best.tolist() == list(rollout.completion_ids)


def test_tokens_come_with_the_models_frequencies():
    # The first token alone: 4,000 draws against the softmax at temperature 0.5, three standard errors.
    policy = tiny_policy()
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(8)
        logits = policy.model(torch.tensor([prompt_ids(policy, SHORT)])).logits[0, -1]
    expected = torch.softmax(logits / 0.5, -1)
    drawn = torch.tensor([r.completion_ids[0] for r in sample(policy, [SHORT], group=4000, limit_tokens=1, temperature=0.5)])
    for token in expected.topk(3).indices:
        p = float(expected[token])
        assert abs(float((drawn == token).float().mean()) - p) < 3 * math.sqrt(p * (1 - p) / 4000)


def test_an_impossible_token_is_never_drawn():
    never = -math.inf
    logits = torch.tensor([[never, 0.0, never], [0.0, never, 0.0], [never, 0.0, never]])
    tokens, found = choose(logits, torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64), 1.0)
    assert tokens.tolist() == [1, 2, 1]
    assert found.tolist() == pytest.approx([0.0, math.log(0.5), 0.0])


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampling_keeps_the_log_probabilities_that_scoring_finds(temperature):
    policy = talkative(0.1)
    rollouts = sample(policy, [SHORT, LONG], group=4, limit_tokens=20, temperature=temperature)
    scored = logprobs(policy.model, rollouts, pad=policy.pad, temperature=temperature, tokens=60)
    torch.testing.assert_close(scored.logprobs_NT, completion_logprobs(rollouts), atol=2e-5, rtol=0)
    assert scored.mask_NT.sum(1).tolist() == [len(r.completion_ids) for r in rollouts]


def scripted(text, template=R1_TEMPLATE):
    """A policy whose next word depends on the last alone: it says `text`, and then stops."""
    return chain("<think>" if template == R1_TEMPLATE else "<assistant>", *text.split(), "<eos>", template=template)


def test_a_rollout_is_split_and_counted_by_halves():
    (rollout,) = sample(scripted("lamp is safe </think> yes ."), [SHORT], limit_tokens=20, temperature=0)
    assert (rollout.thought, rollout.reply) == ("lamp is safe", "yes .")
    assert (rollout.thought_tokens, rollout.reply_tokens, len(rollout.completion_ids)) == (3, 2, 7)
    assert rollout.well_formed
    assert not rollout.truncated


def test_a_rollout_cut_off_is_truncated_and_all_thought():
    (rollout,) = sample(scripted("lamp is safe </think> yes ."), [SHORT], limit_tokens=3, temperature=0)
    assert (rollout.thought, rollout.reply, rollout.truncated, rollout.well_formed) == ("lamp is safe", "", True, False)
    assert (rollout.thought_tokens, rollout.reply_tokens) == (3, 0)


def test_without_a_thought_everything_is_reply():
    (rollout,) = sample(scripted("yes .", PLAIN_TEMPLATE), [SHORT], limit_tokens=9, temperature=0)
    assert (rollout.thought, rollout.reply, rollout.well_formed) == ("", "yes .", True)
    assert (rollout.thought_tokens, rollout.reply_tokens) == (0, 2)


def test_every_end_token_of_the_checkpoint_ends_a_rollout():
    policy = scripted("lamp is safe </think> yes .")
    policy.model.generation_config.eos_token_id = [policy.tokenizer.eos_token_id, policy.tokenizer.convert_tokens_to_ids("yes")]
    (rollout,) = sample(policy, [SHORT], limit_tokens=20, temperature=0)
    assert policy.tokenizer.convert_ids_to_tokens(rollout.completion_ids)[-1] == "yes"
    assert not rollout.truncated


def test_the_context_limit_shortens_the_rollout_and_refuses_a_prompt_that_fills_it():
    policy = tiny_policy()
    policy.model.config.max_position_embeddings = len(prompt_ids(policy, LONG)) + 2
    short, long = sample(policy, [SHORT, LONG], limit_tokens=9)
    assert (len(short.completion_ids), len(long.completion_ids)) == (9, 2)
    policy.model.config.max_position_embeddings = len(prompt_ids(policy, LONG))
    with pytest.raises(BadInput, match="example l"):
        sample(policy, [LONG])


def test_the_ledger_reads_each_prompt_once_and_counts_every_token():
    policy, ledger = tiny_policy(), Ledger()
    rollouts = sample(policy, [SHORT], group=4, limit_tokens=5, ledger=ledger)
    sampled = sum(len(r.completion_ids) for r in rollouts)
    assert ledger.sampled_tokens == sampled
    linear = 2 * (sum(p.numel() for p in policy.model.parameters()) - policy.model.model.embed_tokens.weight.numel())
    assert linear * (6 + sampled) < ledger.flops < 1.1 * linear * (6 + sampled)


def test_forward_flops_by_hand():
    # 2 layers, width 64, intermediate 128, 2 of 4 key-value heads, and the head; norms 5 · 64
    model = tiny_policy().model
    vocabulary = model.config.vocab_size
    weights = 2 * (64 * 64 * 2 + 2 * 64 * 32 + 3 * 64 * 128) + 5 * 64 + 64 * vocabulary
    assert forward_flops(model, 10, 7) == 10 * (2 * weights + 4 * 2 * 64 * 7)


# Scoring


def test_scoring_is_the_softmax_of_the_tokens_that_follow():
    policy = tiny_policy()
    a = Rollout(SHORT, "", "", prompt_ids=(1, 6), completion_ids=(7, 8, 9))
    b = Rollout(SHORT, "", "", prompt_ids=(1, 6, 7, 8), completion_ids=(9,))
    scored = logprobs(policy.model, [a, b], pad=policy.pad)
    full = policy.model(torch.tensor([[1, 6, 7, 8, 9]])).logits[0].log_softmax(-1)
    expected = torch.stack([full[1, 7], full[2, 8], full[3, 9]])
    torch.testing.assert_close(scored.logprobs_NT[0], expected)
    torch.testing.assert_close(scored.logprobs_NT[1], torch.stack([full[3, 9], torch.zeros(()), torch.zeros(())]))
    assert scored.mask_NT.tolist() == [[True, True, True], [True, False, False]]


def test_scoring_in_small_batches_gives_the_same_gradient():
    policy = tiny_policy()
    rollouts = sample(policy, [SHORT, LONG], group=3, limit_tokens=9)
    grads = []
    for tokens in (1, 8192):
        policy.model.zero_grad()
        logprobs(policy.model, rollouts, pad=policy.pad, tokens=tokens).logprobs_NT.square().sum().backward()
        grads.append(policy.model.lm_head.weight.grad.clone())
    torch.testing.assert_close(*grads)
    assert grads[0].abs().max() > 0


# Loading and saving


def test_a_saved_policy_comes_back_bit_for_bit(tmp_path):
    policy = tiny_policy(3)
    save(policy, tmp_path / "a")
    save(policy, tmp_path / "a")  # in its own place again
    again = load(str(tmp_path / "a"), device="cpu")
    assert torch.equal(weights(policy), weights(again))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert prompt_ids(again, LONG) == prompt_ids(policy, LONG)
    assert sample(again, [LONG], seed=1) == sample(policy, [LONG], seed=1)
    assert not again.model.training


def test_a_copy_has_weights_of_its_own():
    policy = tiny_policy()
    other = copy(policy)
    with torch.no_grad():
        other.model.lm_head.weight.zero_()
    assert policy.model.lm_head.weight.abs().max() > 0


def test_an_adapter_is_merged_into_its_base(tmp_path):
    peft = pytest.importorskip("peft")
    policy = tiny_policy()
    save(policy, tmp_path / "base")
    adapted = peft.get_peft_model(
        load(str(tmp_path / "base"), device="cpu").model, peft.LoraConfig(r=2, target_modules=["q_proj"])
    )
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    adapted.save_pretrained(tmp_path / "adapter")
    merged = load(str(tmp_path / "adapter"), device="cpu")
    ids = torch.tensor([prompt_ids(policy, LONG)])
    torch.testing.assert_close(merged.model(ids).logits, adapted(ids).logits, atol=1e-4, rtol=1e-4)
    assert (merged.model(ids).logits - policy.model(ids).logits).abs().max() > 1e-3
    settings = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    (tmp_path / "adapter/adapter_config.json").write_text(
        json.dumps(settings | {"base_model_name_or_path": str(tmp_path / "gone")})
    )
    with pytest.raises(BadInput, match="gone"):
        load(str(tmp_path / "adapter"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: (d / "config.json").unlink(), "no config.json"),
        (lambda d: (d / "chat_template.jinja").unlink(), "no chat template"),
        (lambda d: (d / "model.safetensors").unlink(), "cannot load the model"),
        (lambda d: (d / "model.safetensors").write_bytes(b"torn"), "cannot load the model"),
        (lambda d: (d / "config.json").write_text("{"), "cannot load the model"),
        (lambda d: (d / "tokenizer.json").write_text("{"), "cannot load the tokenizer"),
        (lambda d: (d / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}'), "no end token"),
    ],
)
def test_a_folder_that_holds_no_chat_model_is_refused_in_one_line(tmp_path, spoil, said):
    save(tiny_policy(), tmp_path / "m")
    spoil(tmp_path / "m")
    with pytest.raises(BadInput) as caught:
        load(str(tmp_path / "m"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_lacks_a_weight_is_refused_not_filled_up(tmp_path):
    save(tiny_policy(), tmp_path / "m")
    kept = load_file(tmp_path / "m/model.safetensors")
    del kept["model.layers.1.mlp.up_proj.weight"]
    save_file(kept, tmp_path / "m/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"1 weights are missing, such as model\.layers\.1\.mlp\.up_proj"):
        load(str(tmp_path / "m"))


@pytest.mark.parametrize("path", ["nowhere", "./nowhere", "/nowhere/at/all", "runs/x/policy"])
def test_what_looks_like_a_path_is_never_looked_up_on_the_hub(path, monkeypatch):
    def no_socket(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", no_socket)
    with pytest.raises(BadInput, match="no such model folder"):
        load(path)


def test_a_file_is_no_model_folder(tmp_path):
    (tmp_path / "m").write_text("")
    with pytest.raises(BadInput, match="folder"):
        load(str(tmp_path / "m"))


def test_an_unknown_number_type_is_refused(tmp_path):
    save(tiny_policy(), tmp_path / "m")
    with pytest.raises(BadInput, match="float7"):
        load(str(tmp_path / "m"), dtype="float7")


def test_a_tokenizer_without_padding_uses_the_end_token():
    policy = tiny_policy()
    policy.tokenizer.pad_token = None
    assert policy.pad == policy.tokenizer.eos_token_id
    assert len(sample(policy, [SHORT, LONG], limit_tokens=4)) == 2


def qwen(vocabulary):
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, head_dim=16,
            num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True, eos_token_id=2, pad_token_id=0,
        )
    )  # fmt: skip


def gpt2(vocabulary):
    config = GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.5)
    return GPT2LMHeadModel(config)


@pytest.mark.parametrize("build", [qwen, gpt2])
def test_other_architectures_sample_what_they_score(build):
    like = tiny_policy()
    torch.manual_seed(0)
    policy = Policy(build(len(like.tokenizer)).eval(), like.tokenizer, "other")
    rollouts = sample(policy, [SHORT, LONG], group=4, limit_tokens=10)
    scored = logprobs(policy.model, rollouts, pad=policy.pad).logprobs_NT
    torch.testing.assert_close(scored, completion_logprobs(rollouts), atol=5e-5, rtol=0)
    assert forward_flops(policy.model, 1, 0) == 2 * sum(
        p.numel() for p in policy.model.parameters()
    )  # tied: the table is the head
