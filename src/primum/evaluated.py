"""What can be evaluated: a policy in this process, or a model behind an endpoint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import psutil
import torch

from primum.evaluate import EvaluateConfig
from primum.evaluate.redteam import fingerprint
from primum.evaluate.remote import Remote
from primum.ledger import Ledger
from primum.microworld.tokenizer import speaks
from primum.policies import policy_of
from primum.policy import Policy, sample
from primum.run import read_jsonl
from primum.types import Example, Rollout

PIECE = 4  # batches that are sampled before they are kept
ROLLOUTS, ANSWERS = "rollouts.jsonl", "answers.jsonl"
HALVES = ("thought", "reply", "truncated", "well_formed", "thought_tokens", "reply_tokens", "looped")
World = Literal["auto", "microworld", "files"]


class Model(Protocol):
    """Whatever can be sampled. None is a rollout that was never answered."""

    name: str

    def takes(self, example: Example) -> bool:
        """Whether it can be asked this at all."""
        ...

    def sample(self, examples: Sequence[Example], config: EvaluateConfig, advance: Any) -> Sequence[Rollout | None]: ...


@dataclass
class Local:
    """A policy in this process. `keep` is a JSONL file of rollouts: what was sampled before a stop is not sampled again."""

    policy: Policy
    name: str
    keep: Path | None = None

    def takes(self, example: Example) -> bool:
        return True

    def sample(self, examples: Sequence[Example], config: EvaluateConfig, advance: Any) -> Sequence[Rollout | None]:
        """Piece by piece, some batches each; no piece depends on another, nor on where sampling stopped."""
        rows = min(config.batch, rows_that_fit(self.policy, examples, config.limit_tokens))
        size, known = max(1, PIECE * rows // config.samples), read_kept(self.keep)
        found: list[Rollout] = []
        for piece in (examples[i : i + size] for i in range(0, len(examples), size)):
            key = _key(piece, config)
            if key in known:
                found += [Rollout(e, **halves) for e, halves in zip(_each(piece, config.samples), known[key], strict=True)]
                advance(len(piece) * config.samples)
                continue
            sampled = sample(
                self.policy, piece, group=config.samples, temperature=config.temperature, limit_tokens=config.limit_tokens,
                seed=config.seed, batch=rows, ledger=Ledger(), progress=advance,
            )  # fmt: skip
            if self.keep is not None:
                _append(self.keep, {"key": key, "rollouts": [{k: getattr(r, k) for k in HALVES} for r in sampled]})
            found += sampled
        return found


@dataclass
class Served:
    """A model behind an endpoint."""

    remote: Remote
    name: str

    def takes(self, example: Example) -> bool:
        """A begun thought or reply only where the server is said to go on with one."""
        return not example.prefill or self.remote.config.continue_final

    def sample(self, examples: Sequence[Example], config: EvaluateConfig, advance: Any) -> Sequence[Rollout | None]:
        return self.remote.sample(
            examples, samples=config.samples, temperature=config.temperature, limit_tokens=config.limit_tokens, seed=config.seed,
            progress=advance,
        )  # fmt: skip


def rows_that_fit(policy: Policy, examples: Sequence[Example], limit_tokens: int) -> int:
    """Rows whose keys and values take up half of the memory that is free, were each as long as it may get; at least 1.

    A power of two, so that a little more or less memory after a stop changes nothing.
    """
    config, weight = policy.model.config.get_text_config(), next(policy.model.parameters())
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    of_token = 2 * config.num_hidden_layers * heads * width * weight.element_size()
    longest = max((len(e.prompt) + sum(len(text) for _, text in e.turns) for e in examples), default=0)  # characters: at least
    rows = max(1, int(free_bytes(weight.device) / 2 / (of_token * (longest + limit_tokens))))
    return 1 << (rows.bit_length() - 1)


def free_bytes(device: torch.device) -> int:
    """Memory that is free where the weights lie."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else int(psutil.virtual_memory().available)


def read_kept(path: Path | None) -> dict[str, list[dict[str, Any]]]:
    """The rollouts of each piece in a file, by its key. A last line that a kill has torn is cut off."""
    if path is None or not path.exists():
        return {}
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        os.truncate(path, end)
    return {row["key"]: row["rollouts"] for row in read_jsonl(path)}


def has_kept(folder: Path) -> bool:
    """Whether rollouts or a server's answers lie there that the same command goes on from."""
    return any((folder / name).exists() and (folder / name).stat().st_size > 0 for name in (ROLLOUTS, ANSWERS))


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8", errors="replace") as out:
        out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _key(examples: Sequence[Example], config: EvaluateConfig) -> str:
    drawn = [config.samples, config.temperature, config.limit_tokens, config.seed, config.batch]
    told = json.dumps([drawn, [e.to_json() for e in examples]], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _each(examples: Sequence[Example], samples: int) -> list[Example]:
    return [e for e in examples for _ in range(samples)]


def local(model: str, world: World, output: Path) -> tuple[Local, dict[str, Any], bool]:
    """The policy that is named, what identifies it, and whether the micro-world asks: "auto" where it speaks its languages.

    Its rollouts are kept in `output` until the evaluation there has finished.
    """
    policy, _, rewards = policy_of(model)
    asked = world == "microworld" or (world == "auto" and speaks(policy.tokenizer))
    return Local(policy, model, output / ROLLOUTS), {"weights": fingerprint(policy), "rewards": rewards}, asked
