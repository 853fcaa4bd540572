"""The small encoder of the experiment with ties: tokenizer, masked pre-training, one head, three losses."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from primum.reward.losses import pair_loss, rating_loss, tie_loss
from primum.signals.heads import Heads, encode, pooled

if TYPE_CHECKING:
    from primum.experiments.ties import Pair, Settings

Said = tuple[str, str]  # prompt and answer
MASKED = 0.15


class Texts:
    """Every answer in token ids, by prompt and answer; the tokenizer knows the training texts alone."""

    def __init__(self, pairs: Sequence[Pair], train: Sequence[Pair], config: Settings) -> None:
        self.tokenizer = make_tokenizer((t for p in train for t in (p.prompt, p.chosen, p.rejected)), config.vocabulary)
        said = {(p.prompt, answer) for p in pairs for answer in (p.chosen, p.rejected)}
        self.ids = {s: encode(self.tokenizer, s[0], s[1], "reply", config.limit_tokens)[0] for s in sorted(said)}


def make_tokenizer(texts: Iterator[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer with BERT's marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from primum.experiments.ties import MARKS

    inner = Tokenizer(models.BPE(unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=list(MARKS), initial_alphabet=alphabet, show_progress=False),
    )
    pad, unk, cls, sep, mask = MARKS
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=pad, unk_token=unk, cls_token=cls, sep_token=sep, mask_token=mask
    )


def fresh_encoder(tokenizer: Any, config: Settings, seed: int) -> Heads:
    """A BERT of random weights drawn from `seed`, with one head that says nothing yet."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")  # a GPU's faster products; a CPU has none
    place = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    size = BertConfig(
        vocab_size=len(tokenizer), hidden_size=config.hidden, num_hidden_layers=config.layers,
        num_attention_heads=max(1, config.hidden // 32), intermediate_size=4 * config.hidden,
        max_position_embeddings=config.limit_tokens + 2, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
    )  # fmt: skip
    body = BertModel(size, add_pooling_layer=False).to(place)
    weight, bias = torch.zeros(1, config.hidden, device=place), torch.zeros(1, device=place)
    return Heads(body, tokenizer, ("preferred",), weight, bias, "mean", config.limit_tokens, {"preferred": (1.0, 0.0)})


def pretrain(model: Heads, texts: Texts, train: Sequence[Pair], config: Settings, seed: int) -> None:
    """Let the encoder guess masked tokens of the training texts; its own embeddings are the output."""
    sequences = [texts.ids[s] for p in train for s in ((p.prompt, p.chosen), (p.prompt, p.rejected))]
    optimiser = torch.optim.AdamW(model.body.parameters(), lr=2 * config.learning_rate)
    draw, noise = random.Random(f"mlm-{seed}"), torch.Generator().manual_seed(seed)
    total = config.mlm_epochs * math.ceil(len(sequences) / config.batch)
    model.body.train()
    step = 0
    for _ in range(config.mlm_epochs):
        for some in batches(sequences, config.batch, draw):
            _pace(optimiser, 2 * config.learning_rate, step, total)
            step += 1
            _step(optimiser, _masked_loss(model, some, noise), list(model.body.parameters()))
    model.body.eval()


def train_arm(
    start: Heads, texts: Texts, train: Sequence[Pair], ties: Sequence[tuple[Said, Said]], arm: str, config: Settings, seed: int
) -> Heads:
    """A copy of the encoder trained by one loss; every arm sees the same pairs in the same order, one of them ties besides."""
    model = copy.deepcopy(start)
    weights = [model.weight_KD.requires_grad_(), model.bias_K.requires_grad_()]
    body = list(model.body.parameters())
    optimiser = torch.optim.AdamW([{"params": body}, {"params": weights}], lr=config.learning_rate, weight_decay=0.01)
    torch.manual_seed(seed)
    draw, extra = random.Random(f"pairs-{seed}"), random.Random(f"with-{seed}")
    rows = [((p.prompt, p.chosen), (p.prompt, p.rejected)) for p in train]
    total = config.epochs * math.ceil(len(rows) / config.batch)
    each = round(config.batch * len(ties) / len(rows)) if arm == "ties" else 0
    model.body.train()
    step = 0
    for _ in range(config.epochs):
        for some in batches(rows, config.batch, draw):
            _pace(optimiser, config.learning_rate, step, total)
            step += 1
            drawn = extra.sample(list(ties), min(each, len(ties)))
            outcome = torch.tensor([1.0] * len(some) + [0.5] * len(drawn), device=model.weight_KD.device)
            one, other = _values(model, texts, [*some, *drawn])
            _step(optimiser, arm_loss(arm, one, other, outcome, config.k), [*body, *weights])
    model.body.eval()
    return model


def arm_loss(arm: str, one: Tensor, other: Tensor, outcome: Tensor, k: float) -> Tensor:
    """The loss of an arm on pairs of values; regression takes the chosen for 1, the rejected for 0."""
    if arm == "ties":
        return tie_loss(one - other, outcome, k)
    if arm == "bradley_terry":
        return pair_loss(one - other, outcome)
    return rating_loss(one, outcome) + rating_loss(other, 1 - outcome)


def hits(model: Heads, texts: Texts, pairs: Sequence[Pair], config: Settings) -> list[float]:
    """1 where the chosen answer has the higher value, 0.5 where both have one."""
    out: list[float] = []
    rows = [((p.prompt, p.chosen), (p.prompt, p.rejected)) for p in pairs]
    with torch.inference_mode():
        for start in range(0, len(rows), config.batch):
            one, other = _values(model, texts, rows[start : start + config.batch])
            out += [0.5 if a == b else float(a > b) for a, b in zip(one.tolist(), other.tolist(), strict=True)]
    return out


def batches(rows: Sequence[Any], size: int, draw: random.Random) -> Iterator[list[Any]]:
    """All rows once, in an order that `draw` makes."""
    order = list(rows)
    draw.shuffle(order)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _values(model: Heads, texts: Texts, rows: Sequence[tuple[Said, Said]]) -> tuple[Tensor, Tensor]:
    sequences = [texts.ids[said] for side in (0, 1) for said in (row[side] for row in rows)]
    value = (pooled(model, sequences) @ model.weight_KD.T + model.bias_K)[:, 0]
    return value[: len(rows)], value[len(rows) :]


def _masked_loss(model: Heads, sequences: Sequence[Sequence[int]], noise: torch.Generator) -> Tensor:
    """Cross-entropy of masked tokens, guessed by the likeness of states and embeddings."""
    width, device = max(map(len, sequences)), model.weight_KD.device
    pad, mask = model.tokenizer.pad_token_id, model.tokenizer.mask_token_id
    ids_NT = torch.tensor([[*s, *[pad] * (width - len(s))] for s in sequences])
    chosen_NT = (torch.rand(ids_NT.shape, generator=noise) < MASKED) & (ids_NT != pad)
    chosen_NT[0, 1] = True  # at least one
    seen_NT = torch.where(chosen_NT, mask, ids_NT).to(device)
    hidden_NTD = model.body(input_ids=seen_NT, attention_mask=(ids_NT != pad).long().to(device)).last_hidden_state
    logits_MV = hidden_NTD[chosen_NT.to(device)] @ model.body.get_input_embeddings().weight.T
    return torch.nn.functional.cross_entropy(logits_MV, ids_NT[chosen_NT].to(device))


def _pace(optimiser: torch.optim.Optimizer, rate: float, step: int, total: int) -> None:
    """Warm up over a tenth, then down to a tenth."""
    factor = min((step + 1) / max(1, total // 10), max(0.1, 1 - step / total))
    for group in optimiser.param_groups:
        group["lr"] = rate * factor


def _step(optimiser: torch.optim.Optimizer, loss: Tensor, weights: list[Tensor]) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimiser.step()
