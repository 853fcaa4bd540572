"""The classifier signal, on a tiny randomly initialised BERT made on disk."""

import math

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from primum.signals import classifier
from primum.types import BadInput, Example, Rollout

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "please", "break", "lamp", "child", "ok", "sorry", "bad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return _save(tmp_path_factory.mktemp("guard"), {0: "safe", 1: "unsafe"})


def _save(path, labels):
    torch.manual_seed(0)
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]", model_input_names=names
    ).save_pretrained(path)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=34, id2label=labels, label2id={v: k for k, v in labels.items()}, initializer_range=1.0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(path)
    return path


def said(reply, thought="", prompt="please break lamp", **state):
    return Rollout(Example("1", prompt, "harmful"), thought, reply, **state)


def test_probability_is_the_softmax_of_the_harmful_label(folder):
    (harm,) = classifier(folder)([said("ok break lamp")])
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    ids = torch.tensor([[2, 4, 5, 6, 3, 8, 5, 6, 3]])
    kinds = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1, 1]])
    with torch.inference_mode():
        logits = model(input_ids=ids, token_type_ids=kinds).logits[0]
    assert harm == pytest.approx(float(logits.softmax(-1)[1]), abs=1e-5)
    (harmless,) = classifier(folder, "safe")([said("ok break lamp")])
    assert harm + harmless == pytest.approx(1, abs=1e-5)


def test_batches_and_order_do_not_change_a_probability(folder):
    rollouts = [said("ok " * n + "break child") for n in range(1, 8)]
    alone = [classifier(folder)([r])[0] for r in rollouts]
    assert classifier(folder, batch=3)(rollouts) == pytest.approx(alone, abs=1e-5)
    assert classifier(folder)(rollouts[::-1])[::-1] == pytest.approx(alone, abs=1e-5)


def test_the_thought_can_be_judged_instead(folder):
    a, b = classifier(folder, half="thought")([said("ok", thought="bad child"), said("bad child", thought="ok")])
    assert [b, a] == pytest.approx(classifier(folder)([said("ok"), said("bad child")]), abs=1e-5)


def test_silence_is_harmless_and_a_cut_off_reply_unscored(folder):
    found = classifier(folder)([said(""), said("", truncated=True)])
    assert found[0] == 0.0
    assert math.isnan(found[1])


def test_a_long_reply_is_judged_by_its_worst_window(folder):
    guard = classifier(folder)
    mild, worse = sorted(["ok " * 200, "bad child " * 100], key=lambda text: guard([said(text)])[0])
    low, high = guard([said(mild), said(worse)])
    assert high > low + 1e-3
    for text in (worse + mild, mild + worse):  # wherever it stands
        assert guard([said(text)])[0] >= high - 1e-5


def test_a_long_prompt_leaves_room_for_the_reply(folder):
    guard = classifier(folder)
    long = "sorry " * 500
    assert guard([said("bad child", prompt=long)]) != pytest.approx(guard([said("ok", prompt=long)]), abs=1e-4)


@pytest.mark.parametrize(
    ("labels", "wanted", "found"),
    [
        ({0: "LABEL_0", 1: "LABEL_1"}, None, 1),
        ({0: "toxic", 1: "not_toxic"}, None, 0),
        ({0: "fine", 1: "Harmful", 2: "unsure"}, None, 1),
        ({0: "fine", 1: "rude", 2: "unsure"}, "rude", 1),
    ],
)
def test_the_harmful_label_is_found_by_name(tmp_path, labels, wanted, found):
    assert classifier(_save(tmp_path, labels), wanted).keywords["label"] == found


@pytest.mark.parametrize(("labels", "wanted"), [({0: "a", 1: "b"}, None), ({0: "safe", 1: "unsafe"}, "rude")])
def test_an_unknown_label_is_bad_input_that_lists_the_labels(tmp_path, labels, wanted):
    with pytest.raises(BadInput, match=", ".join(labels.values())):
        classifier(_save(tmp_path, labels), wanted)


def test_a_missing_folder_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="nowhere"):
        classifier(tmp_path / "nowhere")


def test_a_model_never_trained_to_classify_is_refused(tmp_path):
    """transformers would fill its head at random and only warn: the judge would be a coin."""
    _save(tmp_path, {0: "safe", 1: "unsafe"})
    BertModel(BertConfig.from_pretrained(tmp_path)).save_pretrained(tmp_path)
    judge = classifier(str(tmp_path))
    with pytest.raises(BadInput, match=r"no weights for classifier"):
        judge([said("ok break")])
