"""Sampling: prompts are read once, siblings continue together from a key-value cache, finished rows leave."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from primum.policy.cache import RowLayer, closed_up, repeat_rows, row_cache, select_rows
from primum.policy.choose import Loops, choose
from primum.policy.model import Policy, context_limit, forward_flops
from primum.policy.products import quick_products
from primum.policy.template import CLOSE, OPEN, begins_in_thought, opens_thought, prompt_ids, split, thought_ends
from primum.run import Ledger
from primum.types import BadInput, Example, Rollout

Progress = Callable[[int], Any]


@dataclass(slots=True)
class _Prompt:
    """Tokens to be continued once for each of its siblings' random seeds: where it stood, its room, and what it said before."""

    place: int
    example: Example
    ids: list[int]
    limit: int
    seeds: list[int]
    begun: Rollout | None = None


def sample(
    policy: Policy,
    examples: Sequence[Example],
    *,
    group: int = 1,
    temperature: float = 1.0,
    limit_tokens: int = 64,
    segment_tokens: int = 0,
    loop_tokens: int = 0,
    seed: int = 0,
    batch: int = 256,
    ledger: Ledger | None = None,
    progress: Progress | None = None,
) -> list[Rollout]:
    """`group` rollouts of each example, siblings adjacent, in the order of `examples`.

    No top-p, no top-k: they would bias importance ratios. Temperature 0 takes the likeliest
    token, and then the log-probabilities are those at temperature 1. What is drawn depends on
    the weights, `seed`, the example's id and the sibling's number alone, so neither `batch`
    nor the order matters (up to rounding). A prompt near the model's context limit gets
    fewer than `limit_tokens`. `segment_tokens` stops every rollout after so many, for `proceed`
    to go on with; `loop_tokens` stops one that has only repeated itself for so many. The ledger
    takes tokens, FLOPs and its part's time; the whole's time is the caller's.
    """
    prompts = _prompts(policy, examples, group, min(limit_tokens, segment_tokens or limit_tokens), seed)
    found = _sampled(policy, prompts, temperature, loop_tokens, max(1, batch // group), ledger, progress)
    return [rollout for siblings in found for rollout in siblings]


def proceed(
    policy: Policy,
    rollouts: Sequence[Rollout],
    *,
    temperature: float = 1.0,
    limit_tokens: int = 64,
    segment_tokens: int = 0,
    loop_tokens: int = 0,
    seed: int = 0,
    batch: int = 256,
    ledger: Ledger | None = None,
) -> list[Rollout]:
    """The same rollouts, each one that is unfinished longer by at most `segment_tokens`; 0 goes to the limit.

    `fresh_from` is set to the length they had.
    """
    seen: Counter[str] = Counter()
    prompts = []
    for place, rollout in enumerate(rollouts):
        sibling, seen[rollout.example.id] = seen[rollout.example.id], seen[rollout.example.id] + 1
        if not unfinished(rollout, limit_tokens):
            continue
        ids = [*rollout.prompt_ids, *rollout.completion_ids]
        room = min(limit_tokens - len(rollout.completion_ids), context_limit(policy.model) - len(ids))
        if room < 1:
            continue
        room = min(room, segment_tokens or room)
        seeds = [_seed(seed, rollout.example.id, sibling)]
        prompts.append(_Prompt(place, rollout.example, ids, room, seeds, rollout))
    longer = _sampled(policy, prompts, temperature, loop_tokens, batch, ledger, None)
    out = list(rollouts)
    for prompt, (rollout,) in zip(prompts, longer, strict=True):
        out[prompt.place] = rollout
    return out


def unfinished(rollout: Rollout, limit_tokens: int) -> bool:
    """Whether `proceed` could make the rollout longer."""
    return rollout.truncated and not rollout.looped and len(rollout.completion_ids) < limit_tokens


def _sampled(
    policy: Policy, prompts: list[_Prompt], temperature: float, loop_tokens: int, per_batch: int, ledger: Ledger | None,
    progress: Progress | None,
) -> list[list[Rollout]]:  # fmt: skip
    """Every prompt's siblings, in the order of the prompts; prompts of similar length are read together."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
    found: list[list[Rollout]] = [[] for _ in prompts]
    reader, ledger = _Reader(policy), ledger or Ledger()
    for first in range(0, len(order), per_batch):
        chosen = order[first : first + per_batch]
        chunk = [prompts[i] for i in chosen]
        group = len(chunk[0].seeds)
        with ledger.clock("sample"):
            with quick_products(policy.model, len(chunk) * max(group, len(chunk[-1].ids))):
                completions = _complete(policy, chunk, temperature, loop_tokens)
            rollouts = reader.rollouts([p for p in chunk for _ in range(group)], completions)
        for n, i in enumerate(chosen):
            found[i] = rollouts[n * group : (n + 1) * group]
        _charge(ledger, policy.model, chunk, [len(ids) for ids, _, _ in completions])
        if progress is not None:
            progress(len(rollouts))
    return found


def _prompts(policy: Policy, examples: Sequence[Example], group: int, limit_tokens: int, seed: int) -> list[_Prompt]:
    """The prompts with their tokens; an example that comes twice continues its siblings' numbers."""
    most = context_limit(policy.model)
    seen: Counter[str] = Counter()
    prompts = []
    for place, example in enumerate(examples):
        ids = prompt_ids(policy, example)
        if len(ids) >= most:
            remedy = "shorten or drop it, or take a model with a longer context"
            raise BadInput(f"a prompt of {len(ids)} tokens fills the model's {most}", f"example {example.id}", remedy)
        siblings = range(seen[example.id] * group, (seen[example.id] + 1) * group)
        seen[example.id] += 1
        seeds = [_seed(seed, example.id, sibling) for sibling in siblings]
        prompts.append(_Prompt(place, example, ids, min(limit_tokens, most - len(ids)), seeds))
    return prompts


def _seed(seed: int, name: str, sibling: int) -> int:
    """A 63-bit number that is the same in every process."""
    digest = hashlib.blake2b(f"{seed}\n{name}\n{sibling}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@torch.inference_mode()
def _complete(
    policy: Policy, prompts: list[_Prompt], temperature: float, loop_tokens: int
) -> list[tuple[list[int], list[float], bool]]:
    """Token ids and log-probabilities of every sibling of every prompt, end token included, and whether it was cut as a loop."""
    group, device = len(prompts[0].seeds), policy.device
    limits_N = torch.tensor([p.limit for p in prompts for _ in range(group)], device=device)
    limit = int(limits_N.max())
    uniforms_NT = _uniforms([s for p in prompts for s in p.seeds], limit).to(device)
    stops = torch.tensor(sorted(policy.stops), device=device)
    ids_NT = torch.full((len(limits_N), limit), policy.pad, device=device)
    logprobs_NT = torch.zeros(len(limits_N), limit, device=device)
    lengths_N = torch.zeros_like(limits_N)
    looped_N = torch.zeros_like(limits_N, dtype=torch.bool)
    rows = torch.arange(len(limits_N), device=device)
    said = [[] if p.begun is None else list(p.begun.completion_ids) for p in prompts for _ in range(group)]
    loops = Loops(said, loop_tokens, device) if 0 < loop_tokens < limit + max(map(len, said)) else None
    decoder = _Decoder(policy, [p.ids for p in prompts], group)
    for step in range(limit):
        token_n, logprob_n = choose(decoder.logits, uniforms_NT[rows, step], temperature)
        ids_NT[rows, step], logprobs_NT[rows, step], lengths_N[rows] = token_n, logprob_n, step + 1
        going = torch.isin(token_n, stops, invert=True) & (limits_N[rows] > step + 1)
        if loops is not None:
            looped_n = loops.caught(token_n, rows) & going
            looped_N[rows], going = looped_n, going & ~looped_n
        keep = closed_up(going)
        if len(keep) == 0:
            break
        if len(keep) < len(rows):
            decoder.keep(keep)
            rows, token_n = rows[keep], token_n[keep]
        decoder.advance(token_n)
    ids, logprobs, looped = ids_NT.tolist(), logprobs_NT.tolist(), looped_N.tolist()
    return [(ids[i][:n], logprobs[i][:n], looped[i]) for i, n in enumerate(lengths_N.tolist())]


def _uniforms(seeds: list[int], limit: int) -> Tensor:
    """One row of numbers in [0, 1) for each seed."""
    generator = torch.Generator()
    return torch.stack([torch.rand(limit, generator=generator.manual_seed(s), dtype=torch.float64) for s in seeds])


class _Decoder:
    """The model in the middle of a batch: next-token logits, and the cache behind them."""

    def __init__(self, policy: Policy, prompts: list[list[int]], group: int) -> None:
        self.model, device = policy.model, policy.device
        longest = max(map(len, prompts))
        gaps = [longest - len(ids) for ids in prompts]
        ids_PT = torch.tensor([[policy.pad] * gap + ids for gap, ids in zip(gaps, prompts, strict=True)], device=device)
        # Rows of one length need no mask, and attention without a mask is the fast kernel.
        self.gap_N1 = torch.tensor(gaps, device=device)[:, None] if any(gaps) else None
        self.length = longest
        self.cache = row_cache(self.model)
        # Where every layer looks at all that was before, the mask of a step is plain; else the model makes it.
        self.alike = self.model.config._attn_implementation == "sdpa" and all(type(x) is RowLayer for x in self.cache.layers)
        self.logits = self._forward(ids_PT).repeat_interleave(group, 0)
        if group > 1:
            repeat_rows(self.cache, len(prompts), group)
            self.gap_N1 = None if self.gap_N1 is None else self.gap_N1.repeat_interleave(group, 0)

    def advance(self, token_N: Tensor) -> None:
        """Read one more token of every row."""
        self.length += 1
        self.logits = self._forward(token_N[:, None])

    def keep(self, rows: Tensor) -> None:
        """Forget every row but these."""
        select_rows(self.cache, rows)
        self.gap_N1 = None if self.gap_N1 is None else self.gap_N1[rows]

    def _forward(self, ids_NT: Tensor) -> Tensor:
        extra: dict[str, Tensor] = {}
        if self.gap_N1 is not None:
            place_T = torch.arange(self.length, device=ids_NT.device)
            seen_NT = place_T >= self.gap_N1
            extra["attention_mask"] = seen_NT[:, None, None] if self.alike and ids_NT.shape[1] == 1 else seen_NT.long()
            extra["position_ids"] = (place_T[self.length - ids_NT.shape[1] :] - self.gap_N1).clamp_(min=0)
        out = self.model(input_ids=ids_NT, past_key_values=self.cache, use_cache=True, logits_to_keep=1, **extra)
        return out.logits[:, -1]


class _Reader:
    """Turns token ids into rollouts."""

    def __init__(self, policy: Policy) -> None:
        self.tokenizer, self.stops = policy.tokenizer, policy.stops
        self.opened = opens_thought(policy.tokenizer)
        # Some tokenizers call the think tags special; they are text here.
        tags = {policy.tokenizer.convert_tokens_to_ids(tag) for tag in (OPEN, CLOSE)} - {policy.tokenizer.unk_token_id, None}
        self.hidden = set(policy.tokenizer.all_special_ids) - tags

    def rollouts(self, prompts: list[_Prompt], completions: list[tuple[list[int], list[float], bool]]) -> list[Rollout]:
        return [self._rollout(p, *completion) for p, completion in zip(prompts, completions, strict=True)]

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode([i for i in ids if i not in self.hidden], skip_special_tokens=False)

    def _rollout(self, prompt: _Prompt, ids: list[int], logprobs: list[float], looped: bool) -> Rollout:
        if prompt.begun is not None:
            ids, logprobs = [*prompt.begun.completion_ids, *ids], [*prompt.begun.logprobs, *logprobs]
        text, opened = self._text(ids), begins_in_thought(prompt.example, self.opened)
        stopped = ids[-1] in self.stops
        said = ids[:-1] if stopped else ids
        halves = split(text, opened=opened)
        start, end = thought_ends(text, opened=opened)
        thought_tokens = self._tokens_within(said, text, start)
        reply_tokens = len(said) - (self._tokens_within(said, text, end) if end > start else thought_tokens)
        before = 0 if prompt.begun is None else len(prompt.begun.completion_ids)
        return Rollout(
            prompt.example, halves.thought, halves.reply, truncated=not stopped, well_formed=halves.well_formed,
            thought_tokens=thought_tokens, reply_tokens=reply_tokens, prompt_ids=tuple(prompt.ids[: len(prompt.ids) - before]),
            completion_ids=tuple(ids), logprobs=tuple(logprobs), fresh_from=before, looped=looped,
        )  # fmt: skip

    def _tokens_within(self, ids: list[int], text: str, chars: int) -> int:
        """How many leading tokens spell no more than the first `chars` characters."""
        if chars >= len(text):
            return len(ids)
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if len(self._text(ids[:middle])) <= chars else (low, middle - 1)
        return low


def _charge(ledger: Ledger, model: Any, prompts: list[_Prompt], lengths: list[int]) -> None:
    """Book a batch: each prompt is read once, each completion token once."""
    group = len(prompts[0].seeds)
    starts = [len(p.ids) for p in prompts for _ in range(group)]
    read, sampled = sum(len(p.ids) for p in prompts), sum(lengths)
    seen = sum(len(p.ids) ** 2 / 2 for p in prompts) + sum(n * (start + n / 2) for start, n in zip(starts, lengths, strict=True))
    ledger.charge("sample", flops=forward_flops(model, read + sampled, seen / max(1, read + sampled)), tokens=sampled)
