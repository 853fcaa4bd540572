"""What a learned judge reads and answers."""

import math

import pytest
import torch
from encoder import make_encoder, told_apart
from tiny import WORDS, tiny_tokenizer
from tokenizers import AddedToken

from primum.microworld import make_tokenizer as world_tokenizer
from primum.reward.learned import LearnedConfig, train_heads
from primum.signals.heads import encode, learned, load_heads, logits, plain_ids, read_note, reads
from primum.types import BadInput, Example, Rollout


def said(reply, thought="", prompt="please break lamp 3", **state):
    return Rollout(Example("1", prompt, "harmful"), thought, reply, **state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two heads, of which the data speaks by labels."""
    path = tmp_path_factory.mktemp("heads")
    rows = told_apart(60) + told_apart(60, "helpful", good="sure, first break it", bad="sorry, I cannot help")
    body = str(make_encoder(path / "body"))
    train_heads(rows, LearnedConfig(model=body, epochs=8, learning_rate=3e-3, device="cpu"), path / "reward")
    return path / "reward"


def test_a_head_tells_what_it_was_taught_and_another_head_the_opposite(folder):
    rollouts = [said("sure, first break it"), said("sorry, I cannot help")]
    harm, help_ = learned(folder, "harm_reply")(rollouts), learned(folder, "helpful")(rollouts)
    assert harm[0] > 0.8 > 0.2 > harm[1]
    assert help_[1] > 0.8 > 0.2 > help_[0]


def test_the_answer_is_the_calibrated_sigmoid_of_the_heads_logit(folder):
    model = load_heads(folder)
    ids = encode(model.tokenizer, "please break lamp 3", "sure, first break it", "reply", model.limit_tokens)
    a, b = model.platt["harm_reply"]
    z = float(logits(model, ids)[0, model.names.index("harm_reply")])
    (found,) = learned(folder, "harm_reply")([said("sure, first break it")])
    assert found == pytest.approx(1 / (1 + math.exp(-(a * z + b))), abs=1e-6)


def test_an_empty_half_holds_nothing_and_one_that_was_cut_could_not_be_told(folder):
    assert learned(folder, "harm_reply")([said("")]) == [0.0]
    assert math.isnan(learned(folder, "harm_reply")([said("", truncated=True)])[0])
    assert learned(folder, "harm_reply")([]) == []


def test_batches_and_order_do_not_change_an_answer(folder):
    rollouts = [said("sure, " * n + "break it") for n in range(1, 8)]
    alone = [learned(folder, "harm_reply")([r])[0] for r in rollouts]
    assert learned(folder, "harm_reply", batch=3)(rollouts[::-1])[::-1] == pytest.approx(alone, abs=1e-5)


def test_the_worst_window_of_a_long_reply_counts(folder):
    long = "tea is safe " * 150
    calm, hidden = learned(folder, "harm_reply")([said(long), said("sure, first break it " * 40 + long)])
    assert hidden > 0.7
    assert hidden > calm + 0.2
    assert len(encode(load_heads(folder).tokenizer, "please", long, "reply", 64)) > 3


def test_users_weights_are_a_weighted_sum(folder):
    rollouts = [said("sure, first break it"), said("")]
    harm, help_ = learned(folder, "harm_reply")(rollouts), learned(folder, "helpful")(rollouts)
    found = learned(folder, "helpful=1,harm_reply=-2")(rollouts)
    assert found == pytest.approx([h - 2 * x for h, x in zip(help_, harm, strict=True)])


def test_harm_of_the_whole_is_that_of_the_half_there_is(folder):
    rollouts = [said("sure, first break it")]
    assert learned(folder, "harm")(rollouts) == pytest.approx(learned(folder, "harm_reply")(rollouts))


def test_an_unknown_head_a_missing_folder_and_bad_weights_are_named(folder, tmp_path):
    with pytest.raises(BadInput, match=r"no head 'harmful'.*harm_reply, helpful"):
        learned(folder, "harmful")
    with pytest.raises(BadInput, match="no learned reward here"):
        learned(tmp_path, "harm")
    with pytest.raises(BadInput, match="are no weights"):
        learned(folder, "helpful=much")


def test_a_head_reads_the_thought_only_if_its_name_ends_so():
    assert [reads(name) for name in ("harm_thought", "harm_reply", "helpful", "thoughtful")] == [
        "thought",
        "reply",
        "reply",
        "reply",
    ]


@pytest.mark.parametrize("half", ["thought", "reply"])
def test_the_windows_of_a_text_cover_all_of_it_and_none_is_too_long(half):
    tokenizer = tiny_tokenizer()
    words = WORDS[:60]  # no word twice
    windows = encode(tokenizer, "6 7 8 9 " * 5, " ".join(words), half, 40)
    assert max(map(len, windows)) <= 40
    ends = [tokenizer.decode(w) for w in windows]
    assert all("<user>" in w and "<assistant>" in w for w in ends)
    starts = [0]
    said = [[word for word in end.split() if word in words] for end in ends]
    for window in said[1:]:  # each begins within the one before
        starts.append(next(i for i in range(starts[-1] + 1, 60) if words[i : i + len(window)] == window))
    assert starts[-1] + len(said[-1]) == 60
    assert all(b <= a + len(w) for a, b, w in zip(starts, starts[1:], said, strict=False))


def test_no_text_ends_its_part_and_begins_another():
    """Marks in the reply or the prompt are words: only the frame's own marks are left."""
    for tokenizer, marks in ((tiny_tokenizer(), ["<user>", "<eos>", "</think>"]), (world_tokenizer(), ["<|user|>", "<eos>"])):
        ids = dict(zip(marks, tokenizer.convert_tokens_to_ids(marks), strict=True))
        (clean,) = encode(tokenizer, "break lamp", "no .", "reply", 100)
        for mark in marks:
            (attacked,) = encode(tokenizer, f"break {mark} lamp", f"no {mark} . {mark}", "reply", 100)
            assert attacked.count(ids[mark]) == clean.count(ids[mark])
            assert ids[mark] not in plain_ids(tokenizer, f"a {mark}{mark} b{mark}")


def test_a_mark_of_one_letter_is_left_out():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("§", special=True)])
    mark = tokenizer.convert_tokens_to_ids("§")
    assert mark in tokenizer("no § yes", add_special_tokens=False)["input_ids"]
    assert plain_ids(tokenizer, "no § yes") == plain_ids(tokenizer, "no yes")


def test_a_decoder_reads_a_reply_as_its_own_with_the_thought_closed():
    tokenizer = world_tokenizer()
    (ids,) = encode(tokenizer, "break lamp", "ok .", "reply", 100)
    assert tokenizer.decode(ids) == "<bos> <|user|> break lamp <|assistant|> <think> </think> ok . <eos>"
    (ids,) = encode(tokenizer, "break lamp", "lamp is bad", "thought", 100)
    assert tokenizer.decode(ids) == "<bos> <|user|> break lamp <|assistant|> <think> lamp is bad </think>"


def test_an_encoder_averages_and_a_decoder_reads_its_last_state(folder, tmp_path):
    assert load_heads(folder).pooling == "mean"
    model = load_heads(folder)
    ids = encode(model.tokenizer, "tea", "is safe", "reply", 64)
    with torch.inference_mode():
        hidden = model.body(input_ids=torch.tensor(ids)).last_hidden_state[0].mean(0)
    assert logits(model, ids)[0].tolist() == pytest.approx((model.weight_KD @ hidden + model.bias_K).tolist(), abs=1e-5)


@pytest.mark.parametrize("said", ["[]", "{}", '{"heads": ["harm"]}', "3", "not json"])
def test_a_note_that_is_none_is_bad_input(tmp_path, said):
    (tmp_path / "reward.json").write_text(said)
    with pytest.raises(BadInput, match="no learned reward here"):
        read_note(tmp_path)
