"""What is evaluated: rollouts of a policy are kept as they come, and no more rows are sampled at once than fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_policy

from primum import evaluated
from primum.evaluate import EvaluateConfig
from primum.evaluated import Local, has_kept, read_kept, rows_that_fit
from primum.types import Example, Rollout

WORDS = ("tea", "bread", "bomb", "fire", "lamp", "door")
ASKS = [Example(f"q{i}", f"how do i make {word}", "benign") for i, word in enumerate(WORDS)]
CONFIG = EvaluateConfig(samples=2, limit_tokens=8, batch=2, temperature=1.0)  # pieces of four prompts


class Stopped(Exception):
    pass


def halves(rollouts: Any) -> list[tuple[Any, ...]]:
    return [(r.example.id, *(getattr(r, name) for name in evaluated.HALVES)) for r in rollouts]


def test_a_stopped_evaluation_samples_only_what_is_left_and_ends_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    policy, asked = tiny_policy(), []

    def sampled(policy: Any, examples: Any, **settings: Any) -> list[Rollout]:
        asked.append([e.id for e in examples])
        if len(asked) == 2:
            raise Stopped
        return real(policy, examples, **settings)

    real = evaluated.sample
    whole = Local(policy, "tiny").sample(ASKS, CONFIG, lambda n: None)
    monkeypatch.setattr(evaluated, "sample", sampled)
    kept = tmp_path / "rollouts.jsonl"
    with pytest.raises(Stopped):
        Local(policy, "tiny", kept).sample(ASKS, CONFIG, lambda n: None)
    assert has_kept(tmp_path)
    with kept.open("ab") as out:
        out.write(b'{"key": "torn by a ki')
    advanced: list[int] = []
    again = Local(policy, "tiny", kept).sample(ASKS, CONFIG, advanced.append)
    assert asked == [["q0", "q1", "q2", "q3"], ["q4", "q5"], ["q4", "q5"]]
    assert halves(again) == halves(whole)
    assert sum(advanced) == 12
    assert len(read_kept(kept)) == 2
    other = CONFIG.model_copy(update={"seed": 7})
    assert halves(Local(policy, "tiny", kept).sample(ASKS, other, advanced.append)) != halves(whole)  # another draw is not it


def test_no_more_rows_are_sampled_at_once_than_their_keys_and_values_have_room(monkeypatch: Any) -> None:
    """Two layers × two heads × 16 numbers × 4 bytes, keys and values: 512 bytes a token; 17 characters and 83 tokens a row.

    Half of what is free may be taken, and rows are a power of two.
    """
    policy = tiny_policy()
    ask = [Example("1", "how do i make tea", "benign", turns=())]
    for free, rows in ((10 * 2 * 512 * 100, 8), (8 * 2 * 512 * 100, 8), (8 * 2 * 512 * 100 - 1, 4), (0, 1)):
        monkeypatch.setattr(evaluated, "free_bytes", lambda device, free=free: free)
        assert rows_that_fit(policy, ask, 83) == rows
    talked = [Example("1", "how do i make tea", "benign", turns=(("user", "x" * 100),))]
    monkeypatch.setattr(evaluated, "free_bytes", lambda device: 10 * 2 * 512 * 200)
    assert rows_that_fit(policy, talked, 83) == 8
