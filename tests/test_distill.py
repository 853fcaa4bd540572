"""Distillation: how small the student is, what it starts from, and what it takes over."""

import math

import pytest
import torch
from tiny import tiny_policy, tiny_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from primum.distill import DistillConfig, distill, make_student
from primum.policy import Policy, copy, sample, save
from primum.policy.finetune import FinetuneConfig, finetune
from primum.policy.shrink import parameters, principal, shrink
from primum.run import Run, read_jsonl
from primum.types import BadInput, Corpus, Example

SHOWN = [
    Example(verb + noun, f"how do i {verb} the {noun}", "benign", thought=f"{noun} is safe", reply=f"{verb} it with {noun} .")
    for verb in ("break", "hide", "watch", "take") for noun in ("lamp", "stone", "door", "tea")
]  # fmt: skip
CORPUS = Corpus(SHOWN, [], [])


def made(model_class, config_class, **sizes) -> Policy:
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    ends = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return Policy(model_class(config_class(vocab_size=260, **ends, **sizes)).eval(), tokenizer, "made")


def llama(**changes) -> Policy:
    sizes = {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    }
    return made(LlamaForCausalLM, LlamaConfig, max_position_embeddings=256, **sizes | changes)


def qwen() -> Policy:
    return made(
        Qwen3ForCausalLM, Qwen3Config, hidden_size=64, intermediate_size=192, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, tie_word_embeddings=True, max_position_embeddings=256,
    )  # fmt: skip


def gpt2() -> Policy:
    return made(GPT2LMHeadModel, GPT2Config, n_layer=4, n_embd=64, n_head=4, n_positions=256)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    torch.set_num_threads(1)
    run = Run(tmp_path_factory.mktemp("teacher"), quiet=True)
    return finetune(llama(), SHOWN, FinetuneConfig(epochs=30, batch=8, learning_rate=3e-3, patience=0), run)


@pytest.mark.parametrize("make", [tiny_policy, llama, qwen, gpt2, lambda: llama(num_key_value_heads=1)])
def test_a_student_has_at_most_a_third_of_the_parameters_and_at_least_half_of_what_it_may_have(make):
    whole = make()
    student = shrink(whole, SHOWN[:2])
    assert 1 / 6 < parameters(student) / parameters(whole) <= 1 / 3
    assert all(math.isfinite(float(p.detach().sum())) for p in student.model.parameters())
    (rollout,) = sample(student, SHOWN[:1], limit_tokens=8)
    assert len(rollout.completion_ids) > 0


def test_the_student_of_the_default_micro_world_model_keeps_two_of_four_layers():
    config = shrink(llama(), []).model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (2, 96, 3)


@pytest.mark.parametrize("make", [llama, qwen])
def test_at_full_size_the_projection_changes_no_answer(make):
    whole = make()
    with torch.no_grad():
        for name, weight in whole.model.named_parameters():
            if "layernorm" in name:
                weight.uniform_(0.5, 2.0)
    wide = whole.model.config
    same = shrink(whole, SHOWN, share=1.0, layers=wide.num_hidden_layers, hidden=wide.hidden_size)
    ids = torch.tensor([[1, 4, 9, 30, 12, 7]])
    assert torch.allclose(same.model(ids).logits, whole.model(ids).logits, atol=1e-4)


def test_dead_neurons_are_the_first_to_go():
    whole = llama()
    with torch.no_grad():
        for layer in whole.model.model.layers:
            layer.mlp.up_proj.weight[:90] = 0
    for layer in shrink(whole, SHOWN[:2]).model.model.layers:
        assert layer.mlp.up_proj.weight.norm(dim=1).min() > 0


def test_the_principal_directions_are_orthonormal_and_hold_the_most_power(teacher):
    basis = principal(teacher, SHOWN, 128)
    assert torch.allclose(basis.T @ basis, torch.eye(128, dtype=torch.float64), atol=1e-9)
    rows = teacher.model.model.embed_tokens.weight.detach().double()[6:30]
    assert (rows @ basis[:, :40]).norm() > (rows @ basis[:, -40:]).norm()


def test_starting_from_the_teacher_is_better_than_from_random_weights(teacher, tmp_path):
    losses = {}
    for name, student in (("projected", shrink(teacher, SHOWN)), ("random", shrink(teacher, []))):
        run = Run(tmp_path / name, quiet=True)
        finetune(student, SHOWN, FinetuneConfig(epochs=8, batch=8, patience=0), run)
        losses[name] = run.metrics()[-1]["loss"]
    assert losses["projected"] < 0.7 * losses["random"]


def test_nothing_smaller_than_the_smallest_model_fits():
    with pytest.raises(BadInput, match=r"raise distill\.share"):
        shrink(tiny_policy(), [], share=0.001)


def test_the_student_repeats_its_teacher_and_a_finished_distillation_is_not_run_again(teacher, tmp_path):
    config = DistillConfig(group=2, temperature=0.0, limit_tokens=24, epochs=20, batch=8, learning_rate=3e-3, patience=0)
    student = make_student(teacher, CORPUS, config, seed=0)
    run = Run(tmp_path / "5-distill", quiet=True)
    tuned = distill(teacher, student, CORPUS, None, config, run, seed=0, budget_flops=math.inf)
    said, taught = (sample(p, SHOWN, temperature=0.0, limit_tokens=24) for p in (tuned, teacher))
    assert sum(a.reply == b.reply and a.thought == b.thought for a, b in zip(said, taught, strict=True)) >= 14
    assert run.done()["share"] == pytest.approx(parameters(student) / parameters(teacher))
    assert run.ledger.sampled_tokens > 0
    assert run.ledger.trained_tokens > 0

    traces = len(list(read_jsonl(run.path / "accepted.jsonl")))
    assert traces == 32  # of equal siblings both stay
    again = distill(teacher, student, CORPUS, None, config, Run(run.path, quiet=True), seed=0, budget_flops=math.inf)
    assert torch.equal(again.model.lm_head.weight, tuned.model.lm_head.weight)
    assert len(list(read_jsonl(run.path / "accepted.jsonl"))) == traces


def test_a_student_of_ones_own_is_loaded_with_its_own_tokenizer(tmp_path):
    own = tiny_policy(5)
    save(own, tmp_path / "own")
    student = make_student(tiny_policy(), CORPUS, DistillConfig(student=str(tmp_path / "own")), seed=0)
    assert torch.equal(student.model.lm_head.weight, own.model.lm_head.weight)


def test_a_teacher_that_never_closes_its_thought_teaches_nothing(tmp_path):
    mute = copy(tiny_policy())
    with torch.no_grad():
        mute.model.lm_head.weight.zero_()
        mute.model.lm_head.weight[9] = 1.0
    run = Run(tmp_path / "5-distill", quiet=True)
    with pytest.raises(BadInput, match=r"raise distill\.limit_tokens"):
        distill(mute, tiny_policy(), CORPUS, None, DistillConfig(limit_tokens=3), run, seed=0, budget_flops=1e9)
