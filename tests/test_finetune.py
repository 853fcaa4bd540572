"""Supervised fine-tuning: what is learned, what is kept, and what a kill costs."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import PLAIN_TEMPLATE, tiny_policy

from primum.coldstart import ColdstartConfig, coldstart, draw
from primum.policy import copy, forward_flops, load, prompt_ids, sample
from primum.policy.finetune import FinetuneConfig, finetune, resume, tokenise
from primum.run import Run
from primum.types import BadInput, Example

SHOWN = [
    Example(str(i), f"how do i {verb} the {noun}", "benign", thought=f"{noun} is safe", reply=f"{verb} it with {noun} .")
    for i, (verb, noun) in enumerate((v, n) for v in ("break", "hide", "watch", "take") for n in ("lamp", "stone", "door", "tea"))
]
QUICK = FinetuneConfig(epochs=3, batch=8, patience=0, learning_rate=3e-3)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "stage", quiet=True)


def weights(policy):
    return torch.cat([p.detach().flatten().float() for p in policy.model.parameters()])


@pytest.mark.parametrize(("template", "learned"), [
    (None, "lamp is safe </think> break it with lamp . <eos>"),
    (PLAIN_TEMPLATE, "<think> lamp is safe </think> break it with lamp . <eos>"),
])  # fmt: skip
def test_the_loss_covers_thought_reply_and_end_and_nothing_of_the_prompt(template, learned):
    policy = tiny_policy(template=template) if template else tiny_policy()
    rows, dropped = tokenise(policy, SHOWN[:1], 64)
    ids = [i for i, label in zip(rows[0]["input_ids"], rows[0]["labels"], strict=True) if label != -100]
    assert dropped == 0
    assert [label for label in rows[0]["labels"] if label != -100] == ids
    assert policy.tokenizer.decode(ids).split() == learned.split()
    assert rows[0]["input_ids"][: -len(ids)] == prompt_ids(policy, SHOWN[0])


def test_words_that_only_prompts_hold_get_no_gradient(run):
    policy = tiny_policy()
    tuned = finetune(policy, SHOWN, replace_config(QUICK, epochs=8), run)
    prompt = torch.tensor([prompt_ids(policy, SHOWN[0])])
    before, after = (p.model(prompt).logits[0].log_softmax(-1) for p in (policy, tuned))
    how, lamp = policy.tokenizer.convert_tokens_to_ids(["how", "lamp"])
    assert after[-1, lamp] > before[-1, lamp] + 1
    assert after[1, how] < before[1, how]  # after <bos> <user> the prompt says "how": not learned


def test_the_first_loss_is_the_mean_over_completion_tokens(run):
    policy = tiny_policy()
    finetune(policy, SHOWN[:4], FinetuneConfig(epochs=1, batch=4), run)
    rows, _ = tokenise(policy, SHOWN[:4], 64)
    nats = []
    for row in rows:
        logprobs = policy.model(torch.tensor([row["input_ids"]])).logits[0].detach().log_softmax(-1)
        nats += [-float(logprobs[t - 1, label]) for t, label in enumerate(row["labels"]) if label != -100]
    assert run.metrics()[0]["loss"] == pytest.approx(sum(nats) / len(nats), rel=1e-4)


def test_the_policy_given_stays_and_the_one_returned_learns_the_demonstrations(run):
    policy = tiny_policy()
    before = weights(policy)
    tuned = finetune(policy, SHOWN, FinetuneConfig(epochs=40, batch=8, learning_rate=5e-3), run)
    assert torch.equal(weights(policy), before)
    replies = [r.reply for r in sample(tuned, SHOWN, temperature=0.0)]
    assert sum(reply == e.reply for reply, e in zip(replies, SHOWN, strict=True)) >= 14
    assert "forward" not in tuned.model.__dict__
    assert torch.equal(weights(tuned), weights(load(str(run.path / "policy"), device="cpu")))
    assert not (run.path / "trainer").exists()


def test_a_copy_taken_while_validating_answers_with_its_own_weights(run):
    def validate(policy):
        twin = copy(policy)
        with torch.no_grad():
            for p in twin.model.parameters():
                p.zero_()
        assert not twin.model(torch.tensor([[1, 2, 3]])).logits.any()
        return {"selection": 1.0}

    finetune(tiny_policy(), SHOWN[:4], FinetuneConfig(epochs=1, batch=4), run, validate=validate)


def test_the_best_epoch_is_kept_and_patience_ends_the_rest(run):
    seen = []

    def validate(policy):
        seen.append(weights(policy))
        return {"selection": [0.2, 0.9, 0.5, math.nan, 0.99][len(seen) - 1]}

    tuned = finetune(tiny_policy(), SHOWN, replace_config(QUICK, epochs=9, patience=2), run, validate=validate)
    assert len(seen) == 4  # 0.5 and nan are two evaluations without a better one
    assert torch.equal(weights(tuned), seen[1])
    assert run.done() == {"examples": 16, "dropped": 0, "epochs": 4, "best_epoch": 2, "selection": 0.9}
    assert [line["validation"]["selection"] for line in run.metrics()] == [0.2, 0.9, 0.5, None]


def test_validation_comes_every_second_epoch_and_at_the_end(run):
    finetune(tiny_policy(), SHOWN, replace_config(QUICK, evaluate_every_epochs=2), run, validate=lambda p: {"selection": 0.5})
    assert [line["epoch"] for line in run.metrics() if "validation" in line] == [2, 3]


def test_the_ledger_counts_three_forwards_over_tokens_that_are_not_padding(run):
    policy = tiny_policy()
    finetune(policy, SHOWN, FinetuneConfig(epochs=2, batch=16, patience=0), run)
    lengths = [len(row["input_ids"]) for row in tokenise(policy, SHOWN, 64)[0]]
    assert run.ledger.trained_tokens == 2 * sum(lengths)
    looked_back = sum(n * (n + 1) / 2 for n in lengths) / sum(lengths)
    assert run.ledger.flops == pytest.approx(2 * 3 * forward_flops(policy.model, sum(lengths), looked_back))


def test_training_stops_when_the_budget_is_spent(run):
    policy = tiny_policy()
    lengths = sum(len(row["input_ids"]) for row in tokenise(policy, SHOWN, 64)[0])
    epoch = 3 * forward_flops(policy.model, lengths, 8)
    finetune(policy, SHOWN, FinetuneConfig(epochs=50, batch=4, patience=0), run, budget_flops=2.4 * epoch)
    assert run.metrics()[-1]["step"] in (10, 11)  # of 4 an epoch
    assert 2.4 * epoch <= run.ledger.flops < 2.8 * epoch


def test_demonstrations_longer_than_the_limit_are_dropped_and_counted(run):
    long = replace(SHOWN[0], id="long", thought="so " * 40)
    finetune(tiny_policy(), [*SHOWN[:3], long], FinetuneConfig(epochs=1, max_tokens=30), run)
    assert (run.done()["examples"], run.done()["dropped"]) == (3, 1)
    with pytest.raises(BadInput, match="longer than 30"):
        tokenise(tiny_policy(), [long], 30)


def test_a_loss_that_is_no_number_is_bad_input_and_leaves_no_model(run):
    policy = tiny_policy()
    policy.model.lm_head.weight.data[5] = math.nan
    with pytest.raises(BadInput, match=r"not a finite number.*learning_rate"):
        finetune(policy, SHOWN, QUICK, run)
    assert not (run.path / "policy").exists()
    assert run.done() is None


@pytest.mark.parametrize("saves_memory", [{"gradient_accumulation": 4}, {"gradient_checkpointing": True}])
def test_what_saves_memory_gives_the_same_weights(tmp_path, saves_memory):
    plain, saving = (
        finetune(tiny_policy(), SHOWN, replace_config(QUICK, **changes), Run(tmp_path / str(len(changes)), quiet=True))
        for changes in ({}, saves_memory)
    )
    assert torch.allclose(weights(plain), weights(saving), atol=2e-5)


def test_lora_leaves_a_whole_model_whose_embeddings_are_the_old_ones(run):
    pytest.importorskip("peft")
    policy = tiny_policy()
    seen = []

    def validate(tuned):
        seen.append(tuned.model(torch.tensor([[1, 4, 9]])).logits.detach())
        return {"selection": -len(seen)}

    tuned = finetune(policy, SHOWN, replace_config(QUICK, lora_rank=4, learning_rate=1e-2), run, validate=validate)
    assert type(tuned.model) is type(policy.model)
    assert torch.equal(tuned.model.model.embed_tokens.weight, policy.model.model.embed_tokens.weight)
    assert not torch.allclose(tuned.model.model.layers[0].mlp.up_proj.weight, policy.model.model.layers[0].mlp.up_proj.weight)
    assert torch.allclose(tuned.model(torch.tensor([[1, 4, 9]])).logits, seen[0], atol=1e-5)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from tiny import tiny_policy
from test_finetune import QUICK, SHOWN, replace_config
from primum.policy.finetune import finetune
from primum.run import Run
epochs = []
def validate(policy):
    epochs.append(1)
    if len(epochs) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {{"selection": 1.0 / len(epochs)}}
finetune(tiny_policy(), SHOWN, replace_config(QUICK, epochs=5), Run(Path({path!r}), quiet=True), validate=validate)
"""


def test_a_killed_training_goes_on_after_its_last_whole_epoch_and_ends_the_same(tmp_path):
    config = replace_config(QUICK, epochs=5)
    first = Run(tmp_path / "first", quiet=True)
    only_first = finetune(tiny_policy(), SHOWN, config, first, validate=lambda p: {"selection": -float(len(first.metrics()))})
    trained_in_one_epoch = first.ledger.trained_tokens // 5
    uncut = finetune(tiny_policy(), SHOWN, config, Run(tmp_path / "uncut", quiet=True))

    path = tmp_path / "killed"
    script = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
    shutil.copytree(path, tmp_path / "again")
    count = Counter()

    def validate(policy):
        count["epochs"] += 1
        return {"selection": 0.01 * count["epochs"]}

    run = Run(path, quiet=True)
    resumed = finetune(tiny_policy(), SHOWN, config, run, validate=validate)
    assert count["epochs"] == 3  # epochs 3, 4 and 5
    assert [line["epoch"] for line in run.metrics()] == [1, 2, 3, 4, 5]
    assert torch.equal(weights(resumed), weights(only_first))  # kept across the kill
    assert run.ledger.trained_tokens == 5 * trained_in_one_epoch

    # The same, with later epochs the better ones: the last weights equal those of an uncut run, bit for bit.
    scores = iter([2.0, 3.0, 4.0])
    later = finetune(
        tiny_policy(), SHOWN, config, Run(tmp_path / "again", quiet=True), validate=lambda p: {"selection": next(scores)}
    )
    assert torch.equal(weights(later), weights(uncut))


def test_a_torn_checkpoint_is_known_by_its_sizes(tmp_path):
    class Stop(Exception):
        pass

    calls = Counter()

    def validate(policy):
        calls["n"] += 1
        if calls["n"] == 2:
            raise Stop
        return {"selection": 0.5}

    run = Run(tmp_path / "stage", quiet=True)
    with pytest.raises(Stop):
        finetune(tiny_policy(), SHOWN, QUICK, run, validate=validate)
    whole = next(p for p in (run.path / "trainer").glob("checkpoint-*") if (p / "primum.json").exists())
    training = json.loads((whole / "primum.json").read_text())["state"]["fingerprint"]
    assert resume(run, training)[0].epoch == 1
    shutil.copytree(run.path, tmp_path / "other")
    assert resume(Run(tmp_path / "other"), "of other data")[1] is None
    optimizer = whole / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-100])
    state, folder = resume(run, training)
    assert (state.epoch, folder) == (0, None)
    calls["n"] = 9
    finetune(tiny_policy(), SHOWN, QUICK, run, validate=validate)
    assert run.done()["epochs"] == 3
    assert [line["epoch"] for line in run.metrics()] == [1, 2, 3]


def test_a_finished_cold_start_is_not_run_again(run):
    config = ColdstartConfig(epochs=1, batch=8)
    first = coldstart(tiny_policy(), SHOWN, None, config, run, seed=0, budget_flops=math.inf)
    lines = len(run.metrics())
    again = coldstart(tiny_policy(), SHOWN, None, config, Run(run.path, quiet=True), seed=0, budget_flops=math.inf)
    assert torch.equal(weights(first), weights(again))
    assert len(run.metrics()) == lines == 1


def test_a_cold_start_without_demonstrations_names_the_remedy(run):
    bare = [replace(e, reply="") for e in SHOWN]
    with pytest.raises(BadInput, match="give examples that have a reply"):
        coldstart(tiny_policy(), bare, None, ColdstartConfig(), run, seed=0, budget_flops=math.inf)


def test_demonstrations_are_drawn_evenly_over_the_kinds():
    many = [
        replace(SHOWN[0], id=f"{kind}{i}", kind=kind)
        for kind, n in (("harmful", 50), ("benign", 50), ("task", 4))
        for i in range(n)
    ]
    assert Counter(e.kind for e in draw(many, 24, seed=1)) == {"harmful": 10, "benign": 10, "task": 4}
    assert draw(many, 24, seed=1) == draw(many, 24, seed=1) != draw(many, 24, seed=2)


def replace_config(config: FinetuneConfig, **changes) -> FinetuneConfig:
    return config.model_validate({**config.model_dump(), **changes})


def test_half_precision_weights_learn_from_steps_smaller_than_their_rounding(run):
    policy = tiny_policy()
    policy.model.to(torch.bfloat16)
    config = replace_config(QUICK, learning_rate=1e-4, epochs=20, schedule="constant", warmup_share=0.0, weight_decay=0.0)
    tuned = finetune(policy, SHOWN, config, run)
    assert tuned.model.dtype == torch.bfloat16
    norms = [p for name, p in tuned.model.named_parameters() if "norm" in name]  # all 1: bfloat16 steps there are 1/256 or 1/128
    assert any((p != 1).any() for p in norms)
