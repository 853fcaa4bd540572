"""On-policy distillation: the divergences, what a student learns, and how a run ends, resumes and is refused."""

import math
from dataclasses import replace

import pytest
import torch
from checkpoint import make_checkpoint
from distilled import plainly, pupil, sharp
from loop import CORPUS, blind, quiet, weights
from tiny import PLAIN_TEMPLATE, chain, tiny_policy

from primum.distill import OnPolicyConfig, distill_on_policy
from primum.distill.divergence import divergence, divergences, teacher_states
from primum.distill.prompts import counts, draw
from primum.distill.training import Training as OnPolicyTraining
from primum.policy import copy, load, sample
from primum.policy.finetune import FinetuneConfig, finetune
from primum.policy.learner import scoring_flops
from primum.types import KINDS, BadInput, Corpus, Example

SMALL = OnPolicyConfig(
    steps=6,
    prompts=4,
    group=2,
    divergence="reverse_kl",
    limit_tokens=8,
    learning_rate=3e-3,
    warmup_steps=2,
    evaluate_every=2,
    checkpoint_every=2,
    patience=0,
)
HELD_OUT = [
    Example(f"held-{i}", p, "benign") for i, p in enumerate(("is tea safe", "break the child", "two plus three equals ?"))
]
NAMES = ("reverse_kl", "forward_kl", "jsd")


class Killed(BaseException):
    """Stands in for a kill: nothing in the loop catches it."""


def train(path, *, teacher=None, student=None, corpus=CORPUS, validate=None, budget=math.inf, seed=1, **changes):
    run = quiet(path)
    config = OnPolicyConfig(**{**SMALL.model_dump(), **changes})
    trained = distill_on_policy(
        teacher or sharp(), student or pupil(), corpus, validate, config, run, seed=seed, budget_flops=budget
    )
    return trained, run


def kl_on(teacher, student, examples, kind="reverse_kl"):
    """The mean divergence over tokens that the student says on these prompts."""
    rollouts = sample(student, examples, group=16, limit_tokens=8, seed=99)
    ours, theirs = (teacher_states(p, rollouts) for p in (student, teacher))
    return divergences(ours, theirs, kind=kind).mean().item()


def length(policy):
    """A selection that likes short rollouts."""
    return {"selection": -sum(len(r.completion_ids) for r in sample(policy, HELD_OUT, group=8, limit_tokens=8, seed=5))}


# prompts


def test_each_prompt_comes_once_before_any_comes_twice():
    drawn = [e.id for step in range(1, 6) for e in draw(CORPUS.train, {}, 4, seed=7, step=step)]
    assert sorted(drawn) == sorted(e.id for e in CORPUS.train)
    again = [e.id for step in range(6, 11) for e in draw(CORPUS.train, {}, 4, seed=7, step=step)]
    assert sorted(again) == sorted(drawn)
    assert again != drawn


def test_a_step_has_the_shares_of_the_kinds_and_none_of_a_kind_without_one():
    shares = {"harmful": 1.0, "task": 3.0}
    for step in (1, 2, 3):
        drawn = [e.kind for e in draw(CORPUS.train, shares, 8, seed=7, step=step)]
        assert {kind: drawn.count(kind) for kind in KINDS} == {"harmful": 2, "borderline": 0, "benign": 0, "task": 6}
    assert counts(CORPUS.train, {"harmful": 1.0, "benign": 1.0, "task": 1.0}, 4) == {"harmful": 2, "benign": 1, "task": 1}
    with pytest.raises(BadInput, match="no training prompt of a kind with a share"):
        counts([e for e in CORPUS.train if e.kind == "task"], {"harmful": 1.0}, 4)
    with pytest.raises(ValueError, match="one share must be more than 0"):
        OnPolicyConfig(kinds={"harmful": 0.0})


# learning


@pytest.mark.parametrize("kind", NAMES)
def test_the_student_nears_its_teacher_also_where_it_was_not_trained(tmp_path, kind):
    teacher, student = sharp(), pupil()
    changes = {"divergence": kind, "steps": 40, "prompts": 8, "learning_rate": 5e-3}
    trained, run = train(tmp_path / "run", teacher=teacher, student=student, **changes)
    before, after = (kl_on(teacher, p, HELD_OUT, kind) for p in (student, trained))
    assert after < 0.5 * before
    told = [row["divergence"] for row in run.metrics() if row["step"]]
    assert sum(told[-5:]) < 0.5 * sum(told[:5])


def test_a_step_descends_the_mean_over_the_tokens_of_the_student_s_own_rollouts(tmp_path):
    """One step at a constant rate moves every weight as AdamW does on the loss written out plainly."""
    teacher, student = sharp(), pupil()
    changes = {"steps": 1, "warmup_steps": 0, "schedule": "constant", "temperature": 0.8, "max_grad_norm": 100.0}
    trained, run = train(tmp_path / "run", teacher=teacher, student=student, micro_batch_tokens=40, **changes)
    plain = copy(student)
    drawn = draw(CORPUS.train, {}, 4, seed=1, step=1)
    rollouts = sample(plain, drawn, group=2, temperature=0.8, limit_tokens=8, seed=1_000_004)
    each = []
    for rollout in rollouts:
        ids = torch.tensor([[*rollout.prompt_ids, *rollout.completion_ids]])
        logits = plain.model(ids).logits[0, len(rollout.prompt_ids) - 1 : -1]
        each.append(divergence(torch.log_softmax(logits / 0.8, -1), plainly(teacher, rollout, 0.8), "reverse_kl"))
    loss = torch.cat(each).mean()
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in plain.model.parameters()]).norm()
    torch.optim.AdamW(plain.model.parameters(), lr=3e-3, betas=(0.9, 0.99), weight_decay=0.0).step()
    row = run.metrics()[-1]
    assert row["divergence"] == pytest.approx(loss.item(), rel=1e-5)
    assert row["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
    moved = (weights(trained) - weights(student)).abs().mean()
    assert (weights(trained) - weights(plain)).abs().mean() < 0.01 * moved


def test_rollouts_that_never_end_teach_too(tmp_path):
    """A student that repeats one word hears at every token that it should end, though no rollout is whole."""
    trained, run = train(tmp_path / "run", teacher=ending(), student=repeating(0.02), steps=30, learning_rate=0.02)
    assert run.metrics()[1]["truncated"] == 1.0
    assert all(not r.truncated for r in sample(trained, HELD_OUT, limit_tokens=8))


def test_a_student_that_is_certain_learns_from_forward_kl_alone(tmp_path):
    """Reverse KL weighs what the teacher would say by the student's chance of saying it: 0."""
    student = repeating(1.0)
    for kind, moves in (("reverse_kl", False), ("forward_kl", True)):
        trained, _ = train(tmp_path / kind, teacher=ending(), student=student, steps=3, divergence=kind)
        assert torch.equal(weights(trained), weights(student)) != moves


def ending():
    """A policy that ends whatever came before."""
    policy = chain("a", "<eos>")
    with torch.no_grad():
        policy.model.lm_head.weight[policy.tokenizer.eos_token_id] = 40
    return policy


def repeating(share):
    """A policy that says "a" for ever; its logit is this share of 452."""
    policy = chain("<think>", "a", "a")
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(share)
    return policy


def test_a_teacher_that_is_the_student_has_nothing_to_say(tmp_path):
    policy = pupil()
    trained, run = train(tmp_path / "run", teacher=policy, student=policy, steps=2)
    assert max(abs(row["divergence"]) for row in run.metrics()[1:]) < 1e-6
    assert trained.model is not policy.model


def test_teacher_and_student_stay_as_they_are(tmp_path):
    teacher, student = sharp(), pupil()
    before = weights(teacher), weights(student)
    trained, _ = train(tmp_path / "run", teacher=teacher, student=student)
    assert torch.equal(weights(teacher), before[0])
    assert torch.equal(weights(student), before[1])
    assert not torch.equal(weights(trained), before[1])


def test_every_setting_changes_something(tmp_path):
    changes = {
        "steps": 5, "prompts": 3, "group": 3, "kinds": {"task": 1.0}, "divergence": "jsd", "temperature": 0.5, "limit_tokens": 5,
        "learning_rate": 1e-3, "warmup_steps": 0, "schedule": "constant", "max_grad_norm": 0.01,
    }  # fmt: skip
    plain, _ = train(tmp_path / "plain")
    for name, value in changes.items():
        assert not torch.equal(weights(train(tmp_path / name, **{name: value})[0]), weights(plain)), name
    skewed = [train(tmp_path / f"beta-{beta}", divergence="jsd", beta=beta)[0] for beta in (0.5, 0.9)]
    assert not torch.equal(*map(weights, skewed))
    costs = {"batch": 3, "micro_batch_tokens": 30, "fast": False}  # of time or memory
    for name, value in costs.items():
        assert torch.allclose(weights(train(tmp_path / name, **{name: value})[0]), weights(plain), atol=1e-3), name
    elsewhere = {"loop_tokens", "lora_rank", "evaluate_every", "patience", "checkpoint_every"}
    assert set(OnPolicyConfig.model_fields) == {*changes, *costs, *elsewhere, "beta"}


def test_a_rollout_that_only_repeats_itself_is_cut(tmp_path):
    _, run = train(tmp_path / "run", student=repeating(1.0), steps=1, limit_tokens=60, loop_tokens=8)
    assert run.metrics()[-1]["tokens"] < 20


def test_an_adapter_learns_and_is_merged(tmp_path):
    student = sharp(2)
    teacher = copy(student)  # another head could not be learnt: the adapter leaves it as it is
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in teacher.model.model.layers:
            layer.mlp.down_proj.weight.add_(torch.randn(64, 128, generator=noise), alpha=0.1)
    changes = {"steps": 30, "prompts": 8, "lora_rank": 8, "learning_rate": 1e-2}
    trained, run = train(tmp_path / "run", teacher=teacher, student=student, **changes)
    assert kl_on(teacher, trained, HELD_OUT) < 0.6 * kl_on(teacher, student, HELD_OUT)
    assert not hasattr(trained.model, "merge_and_unload")
    assert torch.equal(weights(load(str(run.path / "policy"))), weights(trained))
    assert torch.equal(trained.model.lm_head.weight, student.model.lm_head.weight)


# selection, budget, cost


def test_the_policy_that_validates_best_is_kept(tmp_path):
    selections = iter([0.1, 0.5, 0.4, 0.3])
    seen = []

    def falling(policy):
        seen.append(weights(policy))
        return {"selection": next(selections)}

    trained, run = train(tmp_path / "run", validate=falling)
    assert torch.equal(weights(trained), seen[1])
    assert run.done()["best_step"] == 2
    assert [row["validation"]["selection"] for row in run.metrics() if "validation" in row] == [0.1, 0.5, 0.4, 0.3]
    assert torch.equal(weights(load(str(run.path / "policy"))), seen[1])


def test_without_a_selection_the_last_policy_is_kept(tmp_path):
    last, _ = train(tmp_path / "none")
    unread, run = train(tmp_path / "blind", validate=blind)
    assert torch.equal(weights(last), weights(unread))
    assert run.done()["selection"] is None


def test_patience_ends_a_run_that_gets_no_better(tmp_path):
    _, run = train(tmp_path / "run", validate=lambda _: {"selection": 0.0}, steps=40, patience=2)
    assert run.done()["ended"] == "patience"
    assert (run.done()["steps"], run.done()["best_step"]) == (4, 4)  # of equals the latest


def test_the_budget_ends_it_at_the_first_step_that_reaches_it(tmp_path):
    _, whole = train(tmp_path / "whole")
    flops = [row["flops"] for row in whole.metrics()]
    _, run = train(tmp_path / "run", budget=flops[3] - 1)
    assert run.done()["ended"] == "budget"
    assert run.done()["steps"] == 3
    untouched, run = train(tmp_path / "nothing", budget=0.0)
    assert run.done()["steps"] == 0
    assert torch.equal(weights(untouched), weights(pupil()))


def test_the_ledger_has_what_was_sampled_what_the_teacher_read_and_three_passes_of_the_student(tmp_path):
    teacher, student = sharp(), pupil()
    _, run = train(tmp_path / "run", teacher=teacher, student=student, steps=1)
    rollouts = sample(student, draw(CORPUS.train, {}, 4, seed=1, step=1), group=2, limit_tokens=8, seed=1_000_004)
    tokens = sum(len(r.completion_ids) for r in rollouts)
    parts = run.ledger.parts
    assert {name: parts[name].tokens for name in ("sample", "score", "update")} == dict.fromkeys(
        ("sample", "score", "update"), tokens
    )
    siblings = [rollouts[i : i + 2] for i in range(0, 8, 2)]
    assert parts["sample"].flops == pytest.approx(sum(scoring_flops(student.model, two) for two in siblings))
    assert parts["score"].flops == pytest.approx(scoring_flops(teacher.model, rollouts))
    assert parts["update"].flops == pytest.approx(3 * scoring_flops(student.model, rollouts))
    assert run.ledger.flops == sum(part.flops for part in parts.values())
    assert all(parts[name].seconds > 0 for name in ("sample", "score", "update"))
    rows = [row for row in run.path.joinpath("rollouts.jsonl").read_text().splitlines() if row]
    assert len(rows) == 8


# kills


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_killed_run_goes_on_to_the_very_same_weights_and_records(tmp_path, at):
    whole, untouched = train(tmp_path / "whole", validate=length)
    calls = []

    def deadly(policy):
        calls.append(1)
        if len(calls) == at:
            raise Killed
        return length(policy)

    with pytest.raises(Killed):
        train(tmp_path / "run", validate=deadly)
    torch.manual_seed(at)  # a new process has other random numbers
    resumed, run = train(tmp_path / "run", validate=length)
    assert torch.equal(weights(resumed), weights(whole))
    assert timeless(run) == timeless(untouched)
    assert (run.path / "rollouts.jsonl").read_bytes() == (untouched.path / "rollouts.jsonl").read_bytes()
    assert run.done() == untouched.done()
    assert (run.ledger.flops, run.ledger.trained_tokens) == (untouched.ledger.flops, untouched.ledger.trained_tokens)
    assert not (run.path / "state").exists()


def timeless(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.metrics()]


def test_a_run_killed_between_checkpoints_does_the_steps_since_again(tmp_path, monkeypatch):
    whole, _ = train(tmp_path / "whole", checkpoint_every=4, evaluate_every=99)
    steps = []
    real = OnPolicyTraining.step

    def deadly(self):
        steps.append(self.state.step)
        if len(steps) == 6:
            raise Killed
        return real(self)

    monkeypatch.setattr(OnPolicyTraining, "step", deadly)
    with pytest.raises(Killed):
        train(tmp_path / "run", checkpoint_every=4, evaluate_every=99)
    resumed, run = train(tmp_path / "run", checkpoint_every=4, evaluate_every=99)
    assert steps == [0, 1, 2, 3, 4, 5, 4, 5]
    assert torch.equal(weights(resumed), weights(whole))
    assert [row["step"] for row in run.metrics()] == [0, 1, 2, 3, 4, 5, 6]


def test_a_finished_run_is_read_and_not_run_again(tmp_path):
    trained, run = train(tmp_path / "run")
    again, same = train(tmp_path / "run", teacher=pupil(7))  # not even looked at
    assert torch.equal(weights(again), weights(trained))
    assert same.ledger.flops == run.ledger.flops > 0


def test_an_unfinished_run_with_another_teacher_is_refused(tmp_path):
    def deadly(_):
        raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "run", validate=lambda p: length(p) if not (tmp_path / "run" / "state").exists() else deadly(p))
    with pytest.raises(BadInput, match="an unfinished run with other settings"):
        train(tmp_path / "run", teacher=sharp(9))


# refusals


def test_a_pair_that_cannot_read_each_other_is_refused(tmp_path):
    other = pupil()
    other.tokenizer = tiny_policy(3).tokenizer
    other.tokenizer.add_tokens(["one-more"])
    with pytest.raises(BadInput, match="different tokenizers"):
        train(tmp_path / "a", student=other)
    plain = tiny_policy(2, template=PLAIN_TEMPLATE)
    with pytest.raises(BadInput, match="write a prompt in different tokens"):
        train(tmp_path / "b", student=plain)
    stopping = sharp()
    stopping.model.generation_config.eos_token_id = [2, 9]
    with pytest.raises(BadInput, match=r"does not end where its teacher does, at to"):
        train(tmp_path / "c", teacher=stopping)
    wide = pupil()
    wide.model.resize_token_embeddings(wide.model.config.vocab_size + 8)
    with pytest.raises(BadInput, match="the teacher can read"):
        train(tmp_path / "d", student=wide)
    short = sharp()
    short.model.config.max_position_embeddings = 12
    with pytest.raises(BadInput, match="the teacher reads 12"):
        train(tmp_path / "e", teacher=short)
    with pytest.raises(BadInput, match="no prompts to distil on"):
        train(tmp_path / "f", corpus=Corpus([], [], []))
    assert not any(tmp_path.glob("*/state"))


def test_a_loss_that_is_no_number_ends_it_with_a_remedy(tmp_path):
    broken = sharp()
    with torch.no_grad():
        broken.model.lm_head.weight[5] = math.nan
    with pytest.raises(BadInput, match=r"the loss is not a number \(on_policy, step 1\): lower on_policy\.learning_rate"):
        train(tmp_path / "run", teacher=broken, fast=False)


# any checkpoint


def test_a_qwen3_checkpoint_with_a_byte_level_tokenizer_learns_what_its_teacher_says(tmp_path):
    texts = [e.prompt for e in CORPUS.train] + ["it is safe . take tea instead ."] * 20
    folders = {n: make_checkpoint(tmp_path / f"layers-{n}", texts, vocab=330, hidden=64, layers=n, seed=n) for n in (1, 2)}
    student, whole = (load(str(folders[n])) for n in (1, 2))
    shown = [replace(e, thought="it is safe .", reply="take tea instead .") for e in CORPUS.train]
    config = FinetuneConfig(epochs=12, batch=4, learning_rate=5e-3, patience=0)
    teacher = finetune(whole, shown, config, quiet(tmp_path / "sft"))
    changes = {"steps": 150, "prompts": 6, "learning_rate": 5e-3, "group": 1, "limit_tokens": 24, "divergence": "forward_kl"}
    trained, run = train(tmp_path / "run", teacher=teacher, student=student, **changes)
    before, after = (kl_on(teacher, p, HELD_OUT) for p in (student, trained))
    assert after < 0.2 * before
    assert {r.reply for r in sample(trained, HELD_OUT, temperature=0.0, limit_tokens=24)} == {"take tea instead ."}
    assert trained.model.config.model_type == "qwen3"
    assert torch.equal(weights(load(str(run.path / "policy"))), weights(trained))
