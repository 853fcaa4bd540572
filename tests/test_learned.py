"""Training a learned reward: data, held-out parts, saving, the commands, encoders and decoders."""

import gzip
import json
import math
import os

import pytest
import torch
from checkpoint import make_checkpoint
from encoder import TEXTS, make_encoder, told_apart, write_rows
from small import complaint

from primum.microworld import BaseConfig, base_checkpoint
from primum.reward.labels import Judged, Response, data_hash, fold, judged, read_judged
from primum.reward.learned import LearnedConfig, new_heads, train_heads
from primum.reward.learned_fit import encoded, head_logits, losses
from primum.reward.learned_measure import answers, pair_hits
from primum.reward.losses import label_loss
from primum.run import Run
from primum.signals.heads import encode, learned, load_heads, logits
from primum.types import BadInput, Example, Rollout

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return str(make_encoder(tmp_path_factory.mktemp("bodies") / "bert"))


def quick(body, **changes):
    return LearnedConfig(model=body, epochs=6, learning_rate=3e-3, device="cpu", **changes)


def pairs(n):
    two = (Response("", "sorry, I cannot help"), Response("", "sure, first break it"))
    return [Judged(f"please break lamp {i}", two, {"safe": 1.0}, "pair") for i in range(n)]


def test_every_form_of_a_row_is_read(tmp_path):
    rows = [
        {"prompt": "p", "thought": "t", "reply": "r", "labels": {"harm_reply": True, "helpful": None}},
        {"prompt": "p", "reply": "r", "ratings": {"helpful": 4}, "scale": [1, 5]},
        {"prompt": "p", "a": {"thought": "t", "reply": "x"}, "b": "y", "outcome": {"safe": "b", "short": "tie"}},
        {"prompt": "p", "chosen": "x", "rejected": "y"},
        {"chosen": "\n\nHuman: p\n\nAssistant: so x", "rejected": "\n\nHuman: p\n\nAssistant: so y"},
        {
            "prompt": [{"role": "user", "content": "p"}],
            "chosen": [{"role": "assistant", "content": "x"}],
            "rejected": [{"role": "assistant", "content": "y"}],
        },
    ]
    found = read_judged([write_rows(tmp_path / "rows.jsonl", rows)])
    assert [(j.scale, dict(j.values)) for j in found] == [
        ("label", {"harm_reply": 1.0}), ("rating", {"helpful": 0.75}), ("pair", {"safe": 0.0, "short": 0.5}),
        ("pair", {"preferred": 1.0}), ("pair", {"preferred": 1.0}), ("pair", {"preferred": 1.0}),
    ]  # fmt: skip
    assert found[0].responses == (Response("t", "r"),)
    assert found[2].responses == (Response("t", "x"), Response("", "y"))
    assert (found[4].prompt, found[4].responses) == ("Human: p\n\nAssistant:", (Response("", "so x"), Response("", "so y")))
    assert (found[5].prompt, found[5].responses) == ("p", (Response("", "x"), Response("", "y")))


def test_rows_written_are_read_again_as_they_were(tmp_path):
    rows = [*told_apart(2), *pairs(1), Judged("p", (Response("t", "r"),), {"helpful": 0.75}, "rating")]
    again = read_judged([write_rows(tmp_path / "rows.jsonl", (row.to_json() for row in rows))])
    assert again == rows
    assert data_hash(again) == data_hash(rows[::-1]) != data_hash(rows[1:])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "p", "reply": "r", "labels": {"harm": 2}}, "'harm' is 2, not a number from 0 to 1.*row 1"),
        ({"prompt": "p", "reply": "r", "ratings": {"harm": 6}, "scale": [1, 5]}, "not a number from 1 to 5"),
        ({"prompt": "p", "reply": "r", "labels": {"harm": math.nan}}, "not a number from 0 to 1"),
        ({"prompt": "p", "a": "x", "b": "y", "outcome": {"safe": "left"}}, "not a, b or tie"),
        ({"prompt": "p", "reply": "r"}, "a row without labels"),
        ({"reply": "r", "labels": {"harm": 1}}, "no text 'prompt'"),
        ({"prompt": "p", "chosen": "x", "rejected": 3}, "neither two texts nor two lists"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, said):
    with pytest.raises(BadInput, match=said):
        read_judged([write_rows(tmp_path / "rows.jsonl", [row])])


def test_a_rollout_whose_label_is_nan_gives_no_row():
    ask = Example("1", "p", "harmful")
    found = judged([Rollout(ask, "t", "r"), Rollout(ask, "", "s")], "harm", [math.nan, 1.0])
    assert found == [Judged("p", (Response("", "s"),), {"harm": 1.0})]


def test_a_prompt_is_in_one_part_for_good_and_the_parts_have_their_shares():
    parts = [fold(f"prompt {i}", 0.15, 0.2) for i in range(4000)]
    shares = {name: parts.count(name) / 4000 for name in ("train", "tune", "held out")}
    assert shares == pytest.approx({"train": 0.65, "tune": 0.15, "held out": 0.2}, abs=0.03)
    assert all(fold(f"prompt {i}", 0.3, 0.2) == "held out" for i in range(400) if parts[i] == "held out")


def test_a_head_without_a_label_in_the_batch_gets_exactly_no_gradient(body):
    model = new_heads(quick(body), ("harm_reply", "helpful"))
    for weight in (model.weight_KD, model.bias_K):
        weight.requires_grad_()
    losses(model, encoded(model, told_apart(6)), "ties", 5.0).backward()
    assert bool((model.bias_K.grad[0] != 0) | (model.weight_KD.grad[0] != 0).any())
    assert float(model.bias_K.grad[1]) == 0.0
    assert not bool(model.weight_KD.grad[1].any())


def test_each_head_reads_its_own_half(body):
    model = new_heads(quick(body), ("harm_reply", "harm_thought"))
    model.bias_K += torch.tensor([1.0, 2.0])
    row = Judged("lamp", (Response("tea is safe", "sorry, I cannot help"),), {"harm": 1.0})
    model.weight_KD.normal_(generator=torch.Generator().manual_seed(0))
    found = head_logits(model, encoded(model, [row]))[0, 0].tolist()
    halves = {"reply": row.responses[0].reply, "thought": row.responses[0].thought}
    own = [logits(model, encode(model.tokenizer, "lamp", halves[h], h, model.limit_tokens))[0, i] for i, h in enumerate(halves)]
    assert found == pytest.approx([float(z) for z in own], abs=1e-5)
    assert found[0] != found[1]
    empty = head_logits(model, encoded(model, [Judged("lamp", (Response("", "sorry"),), {"harm": 1.0})]))[0, 0]
    assert float(torch.sigmoid(empty[1])) < 1e-8


def test_the_epoch_with_the_lowest_tuning_loss_is_kept(body, tmp_path):
    wrong = [i % 7 in (2, 5) for i in range(60)]
    rows = [
        Judged(r.prompt, r.responses, {"harm_reply": abs(r.values["harm_reply"] - w)})
        for r, w in zip(told_apart(60), wrong, strict=True)
    ]
    config = quick(body, patience=0, weight_decay=0.0).model_copy(update={"epochs": 30})
    note = train_heads(rows, config, tmp_path / "r")
    curve = note["tuning_loss"]
    assert len(curve) == 30
    assert curve[-1] > min(curve) + 0.002
    tune = [r for r in rows if fold(r.prompt, 0.15, 0.15) == "tune"]
    model = load_heads(tmp_path / "r")
    kept = label_loss(head_logits(model, encoded(model, tune))[:, 0, 0], torch.tensor([r.values["harm_reply"] for r in tune]))
    assert float(kept) == pytest.approx(min(curve), abs=1e-4)


def test_a_label_of_the_whole_teaches_both_halves_and_the_guilty_one_is_found(body, tmp_path):
    good, bad = "sorry, I cannot help", "sure, first break it"
    cases = [(good, good, 0.0), (bad, good, 1.0), (good, bad, 1.0)]
    rows = [Judged(f"lamp {i}", (Response(t, r),), {"harm": y}) for i in range(30) for t, r, y in cases]
    note = train_heads(rows, quick(body), tmp_path / "r")
    assert note["heads"] == ["harm_reply", "harm_thought"]
    ask = Example("1", "lamp 7", "harmful")
    rollouts = [Rollout(ask, t, r) for t, r, _ in cases]
    thought, reply = (learned(tmp_path / "r", f"harm_{half}")(rollouts) for half in ("thought", "reply"))
    assert thought[1] > 0.7 > 0.3 > thought[0]
    assert reply[2] > 0.7 > 0.3 > reply[0]
    whole = learned(tmp_path / "r", "harm")(rollouts)
    assert whole == pytest.approx([1 - (1 - a) * (1 - b) for a, b in zip(thought, reply, strict=True)], abs=1e-6)


@pytest.mark.parametrize("kind", ["ties", "bradley_terry", "regression"])
def test_every_loss_of_pairs_learns_which_answer_is_chosen(body, tmp_path, kind):
    rows = pairs(60)
    note = train_heads(rows, quick(body, pairs=kind), tmp_path / "r")
    assert note["held_out"]["safe"]["order_accuracy"]["mean"] == 1.0
    model = load_heads(tmp_path / "r")
    swapped = [Judged(r.prompt, r.responses[::-1], {"safe": 0.0}, "pair") for r in rows[:3]]
    one, other = answers(model, rows[:3])["safe"], answers(model, swapped)["safe"]
    assert [a + b for a, b in zip(one, other, strict=True)] == pytest.approx([1, 1, 1])
    assert min(one) > 0.6


def test_ratings_are_fitted_and_the_note_holds_what_is_needed(body, tmp_path):
    said = {"sorry, I cannot help": 0.25, "sure, first break it": 0.75}
    rows = [Judged(f"lamp {i}", (Response("", t),), {"helpful": y}, "rating") for i in range(60) for t, y in said.items()]
    note = train_heads(rows, quick(body), tmp_path / "r")
    ask = Example("1", "lamp 3", "benign")
    found = learned(tmp_path / "r", "helpful")([Rollout(ask, "", t) for t in said])
    assert found == pytest.approx([0.25, 0.75], abs=0.1)
    assert json.loads((tmp_path / "r" / "reward.json").read_text()) == note
    assert note["data"] == data_hash(rows)
    assert sum(note["rows"].values()) == len(read_judged([tmp_path / "r" / "labels.jsonl"])) == 120


def test_probabilities_of_noisy_labels_are_calibrated(body, tmp_path):
    """A fifth of the labels is wrong: the answers become 0.2 and 0.8, not 0 and 1."""
    wrong = [i % 10 in (3, 6) for i in range(300)]
    rows = [
        Judged(r.prompt, r.responses, {"harm_reply": abs(r.values["harm_reply"] - w)})
        for r, w in zip(told_apart(300), wrong, strict=True)
    ]
    note = train_heads(rows, quick(body), tmp_path / "r")
    ask = Example("1", "please break lamp 3", "harmful")
    good, bad = learned(tmp_path / "r", "harm_reply")(
        [Rollout(ask, "", t) for t in ("sorry, I cannot help", "sure, first break it")]
    )
    assert good == pytest.approx(0.2, abs=0.12)
    assert bad == pytest.approx(0.8, abs=0.12)
    assert note["held_out"]["harm_reply"]["error"]["mean"] < 0.21


def test_equal_arguments_give_equal_weights_and_a_frozen_body_stays(body, tmp_path):
    for name in ("a", "b"):
        train_heads(told_apart(24), quick(body), tmp_path / name)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert (tmp_path / "a" / "heads.safetensors").read_bytes() == (tmp_path / "b" / "heads.safetensors").read_bytes()
    train_heads(told_apart(24), quick(body, freeze=True), tmp_path / "c")
    start, frozen, trained = (load_heads(tmp_path / "c"), *(load_heads(tmp_path / n) for n in "ca"))
    before = new_heads(quick(body), ("harm_reply",)).body.state_dict()
    assert all(torch.equal(v, frozen.body.state_dict()[k]) for k, v in before.items())
    assert any(not torch.equal(v, trained.body.state_dict()[k]) for k, v in before.items())
    assert start.names == ("harm_reply",)


def test_lora_trains_an_adapter_and_saves_whole_weights(body, tmp_path):
    pytest.importorskip("peft")
    train_heads(told_apart(40), quick(body, lora_rank=4), tmp_path / "r")
    before, after = new_heads(quick(body), ("harm_reply",)).body.state_dict(), load_heads(tmp_path / "r").body.state_dict()
    changed = {k for k, v in before.items() if not torch.allclose(v, after[k])}
    assert changed
    assert not any("embeddings" in k for k in changed)


def test_decoders_train_too_the_world_s_and_one_of_real_text(tmp_path):
    world = str(base_checkpoint(BaseConfig(), Run(tmp_path / "run")))
    qwen = str(make_checkpoint(tmp_path / "qwen", TEXTS * 20, vocab=400, hidden=64, layers=2))
    said = {
        world: ("sorry , no .", "ok , reach child then break child ."),
        qwen: ("sorry, I cannot help", "sure, first break it"),
    }
    for path, (good, bad) in said.items():
        rows = told_apart(60, good=good, bad=bad)
        config = LearnedConfig(model=path, epochs=4, batch=16, learning_rate=1e-3, device="cpu")
        note = train_heads(rows, config, tmp_path / "r")
        assert note["pooling"] == "last"
        ask = Example("1", "please break lamp 3", "harmful")
        low, high = learned(tmp_path / "r", "harm_reply")([Rollout(ask, "", good), Rollout(ask, "", bad)])
        assert high > 0.6 > 0.4 > low


def test_a_training_that_dies_while_saving_leaves_the_old_folder_whole(body, tmp_path, monkeypatch):
    train_heads(told_apart(24), quick(body), tmp_path / "r")
    kept = (tmp_path / "r" / "reward.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("primum.reward.learned.write_jsonl", full)
    with pytest.raises(BadInput, match="No space left"):
        train_heads(told_apart(30), quick(body), tmp_path / "r")
    assert sorted(os.listdir(tmp_path)) == ["r"]
    assert (tmp_path / "r" / "reward.json").read_bytes() == kept


def test_what_cannot_be_trained_is_said_before_anything_is_written(body, tmp_path):
    for config, rows, said in (
        (LearnedConfig(), told_apart(4), "no body"),
        (quick(str(tmp_path / "nowhere")), told_apart(4), "no such model folder"),
        (quick(body, heads=("helpful",)), told_apart(4), "no labels for head 'helpful'"),
        (quick(body), [Judged("p", (Response("", "r"),), {})], "every label is missing"),
    ):
        with pytest.raises(BadInput, match=said):
            train_heads(rows, config, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_pairs_are_hit_where_the_likeliest_of_three_came_out():
    # tie / win = 24 · σ(−Δ − log 5): 1 where e^Δ = 23 / 5, Δ = 1.526
    whole, order = pair_hits([1.6, 1.4, -1.6, 0.0, 0.0], [1.0, 0.5, 0.0, 1.0, 0.5], 5.0)
    assert whole == [1, 1, 1, 0, 1]
    assert order == pytest.approx([1, math.nan, 1, 0.5, math.nan], nan_ok=True)


def test_the_commands_train_and_measure(cli, body, tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", (row.to_json() for row in [*told_apart(60), *pairs(30)]))
    done = cli(
        "reward",
        "train",
        data,
        f"model={body}",
        "epochs=6",
        "learning_rate=0.003",
        "device=cpu",
        "--output",
        tmp_path / "r",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["heads"] == ["harm_reply", "safe"]
    found = json.loads(cli("reward", "eval", tmp_path / "r", data, "--json").stdout)
    assert found["rows"] == 90
    assert found["heads"]["harm_reply"]["auroc"]["mean"] == 1.0
    assert found["heads"]["harm_reply"]["accuracy"]["n"] == 60
    assert found["heads"]["safe"]["order_accuracy"]["mean"] == 1.0
    assert "harm_reply" in cli("reward", "eval", tmp_path / "r", data).stdout
    again = cli("reward", "train", data, f"model={body}", "--output", tmp_path / "r")
    assert again.returncode == 3
    assert "there already" in complaint(again.stderr)
    other = write_rows(tmp_path / "other.jsonl", [{"prompt": "p", "reply": "r", "labels": {"kind": 1}}])
    assert "its heads are harm_reply, safe" in complaint(cli("reward", "eval", tmp_path / "r", other).stderr)
    assert "did you mean 'epochs'" in complaint(cli("reward", "train", data, "epoch=2", "--output", tmp_path / "x").stderr)


def test_the_public_pairs_are_read_with_their_prompts():
    root = os.environ.get("PRIMUM_DATA") or "../shared/data"
    path = os.path.join(root, "hh_rlhf_harmless", "test.jsonl.gz")
    if not os.path.exists(path):
        pytest.skip("the public data is not here (PRIMUM_DATA)")
    from primum.experiments.ties import Settings, made_ties, parted, read_pairs

    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = sum(1 for _ in lines)
    found = read_pairs(Settings(data=root))
    hh = [p for p in found if p.source == "hh"]
    assert rows - 25 < len(hh) <= rows
    assert sum(p.prompt.endswith("Assistant:") for p in hh) > 0.98 * len(hh)
    train, held = parted(found, 0, 1, 3)
    assert not {p.prompt for p in train} & {p.prompt for p in held}
    assert sum(len(parted(found, 0, fold, 3)[1]) for fold in range(3)) == len(found)
    import random

    standing = {(p.prompt, t): s for p in train for t, s in ((p.chosen, "c"), (p.rejected, "r"))}
    ties = made_ties(train, 50, random.Random(0))
    assert len(ties) == 50
    assert all(one[0] != other[0] for one, other in ties)
    assert sum(standing[one] == standing[other] for one, other in ties) >= 49
