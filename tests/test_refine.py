"""Rejection sampling: which rollouts a policy may learn from, and what it learns from them."""

import json
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from tiny import tiny_policy

from primum.policy import Policy
from primum.policy.finetune import FinetuneConfig, finetune
from primum.policy.traces import TraceConfig, choose, collect, some
from primum.refine import RefineConfig, refine
from primum.reward.types import Rewards
from primum.run import Run, read_jsonl
from primum.types import BadInput, Corpus, Example, Rollout

ASKED = [Example(f"{a}{b}", f"{a} plus {b}", "task", answer=str(a)) for a in range(3) for b in range(4)]
BOTH = [replace(e, thought=f"{e.id[0]} or {e.id[1]}", reply=f"answer {digit}") for e in ASKED for digit in (e.id[0], e.id[1])]


@pytest.fixture(scope="module")
def reasoner(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A policy that answers each sum with its first or its second digit, about as often."""
    torch.set_num_threads(1)
    run = Run(tmp_path_factory.mktemp("reasoner"), quiet=True)
    return finetune(tiny_policy(), BOTH, FinetuneConfig(epochs=40, batch=12, learning_rate=5e-3, patience=0), run)


def pays_the_first_digit(rollouts):
    totals = [float(r.reply == f"answer {r.example.answer}") for r in rollouts]
    return Rewards(totals, {"correct": totals})


def rolled(reply, tokens=2, **states):
    return Rollout(ASKED[0], "so", reply, thought_tokens=1, reply_tokens=tokens, **states)


def test_of_the_best_paid_the_shortest_is_kept_and_the_rest_is_surplus():
    siblings = [rolled("a", 9), rolled("b", 3), rolled("c", 1), rolled("d", 5)]
    counts = Counter()
    chosen = choose(siblings, [0.9, 0.9, 0.6, 0.9], TraceConfig(keep=2, least_reward=0.5), set(), counts)
    assert [(r.reply, total) for r, total in chosen] == [("b", 0.9), ("d", 0.9)]
    assert counts == {"sampled": 4, "accepted": 2, "surplus": 2}


def test_truncated_malformed_unscored_low_and_repeated_rollouts_are_refused_each_for_its_reason():
    siblings = [
        rolled("cut", truncated=True, well_formed=False), rolled("open", well_formed=False), rolled("nan"), rolled("low"),
        rolled("good"), rolled("good"),
    ]  # fmt: skip
    counts = Counter()
    chosen = choose(siblings, [9.0, 9.0, math.nan, 0.4, 0.5, 0.5], TraceConfig(keep=0), set(), counts)
    assert [r.reply for r, _ in chosen] == ["good"]
    assert counts == {"sampled": 6, "truncated": 1, "malformed": 1, "unscored": 1, "low": 1, "accepted": 1, "repeated": 1}


def test_without_a_reward_the_order_of_sampling_stays():
    chosen = choose([rolled("a", 9), rolled("b", 1)], None, TraceConfig(keep=1), set(), Counter())
    assert [r.reply for r, _ in chosen] == ["a"]


def test_a_student_learns_how_often_its_teacher_says_it():
    siblings = [rolled("good"), rolled("good"), rolled("other")]
    chosen = choose(siblings, None, TraceConfig(keep=0, repeats=True), set(), Counter())
    assert [r.reply for r, _ in chosen] == ["good", "good", "other"]


def test_refining_turns_a_coin_flip_into_what_is_paid(reasoner, tmp_path):
    run = Run(tmp_path / "4-refine", quiet=True)
    config = RefineConfig(
        group=6,
        keep=1,
        limit_tokens=16,
        start="reasoner",
        demonstrations=False,
        epochs=15,
        batch=12,
        learning_rate=5e-3,
        patience=0,
    )
    corpus = Corpus(ASKED, [], [])
    refined = refine(reasoner, tiny_policy(), corpus, pays_the_first_digit, None, config, run, seed=1, budget_flops=math.inf)
    rows = list(read_jsonl(run.path / "accepted.jsonl"))
    assert len(rows) >= 10
    assert all(row["reward"] == 1.0 and row["reply"] == f"answer {row['id'][0]}" for row in rows)
    counts = json.loads((run.path / "accepted.json").read_text())["counts"]
    assert counts["sampled"] == 72 == sum(n for reason, n in counts.items() if reason != "sampled")
    before, after = (paid(p, tmp_path) for p in (reasoner, refined))
    assert 0.25 < before < 0.8
    assert after > 0.9
    assert run.ledger.sampled_tokens > 0
    assert run.ledger.trained_tokens > 0

    again = refine(reasoner, tiny_policy(), corpus, None, None, config, Run(run.path, quiet=True), seed=1, budget_flops=math.inf)
    assert torch.equal(again.model.lm_head.weight, refined.model.lm_head.weight)


def paid(policy, path):
    from primum.policy import sample

    return sum(pays_the_first_digit(sample(policy, ASKED, group=10, limit_tokens=16, seed=7)).total) / 120


def test_from_the_base_it_learns_the_demonstrations_too(tmp_path, reasoner):
    corpus = Corpus([*ASKED, replace(ASKED[0], id="shown", prompt="how do i", thought="safe", reply="no .")], [], [])
    run = Run(tmp_path / "4-refine", quiet=True)
    config = RefineConfig(group=2, limit_tokens=16, epochs=1, learning_rate=1e-9)
    refined = refine(reasoner, tiny_policy(3), corpus, pays_the_first_digit, None, config, run, seed=1, budget_flops=math.inf)
    assert torch.allclose(refined.model.lm_head.weight, tiny_policy(3).model.lm_head.weight, atol=1e-6)
    done = run.done()
    assert (done["start"], done["demonstrations"]) == ("base", 1)
    assert run.child("sft").done()["examples"] == done["accepted"] + 1


def test_a_reward_that_pays_nothing_is_bad_input(tmp_path):
    run = Run(tmp_path / "4-refine", quiet=True)
    never = lambda rollouts: Rewards([math.nan] * len(rollouts), {})  # noqa: E731
    with pytest.raises(BadInput, match=r"lower refine\.least_reward"):
        refine(
            tiny_policy(),
            tiny_policy(),
            Corpus(ASKED, [], []),
            never,
            None,
            RefineConfig(limit_tokens=4),
            run,
            seed=0,
            budget_flops=1e9,
        )


def test_a_killed_drawing_goes_on_with_the_chunk_it_was_at(tmp_path, reasoner, monkeypatch):
    monkeypatch.setattr("primum.policy.traces.CHUNK", 5)
    config = TraceConfig(group=2, keep=0, limit_tokens=16)
    whole = Run(tmp_path / "whole", quiet=True)
    straight = collect(reasoner, ASKED, config, whole, reward=lambda r: pays_the_first_digit(r).total, seed=3)

    asked = []

    def dies_in_the_second_chunk(rollouts):
        asked.append(len(rollouts))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return pays_the_first_digit(rollouts).total

    run = Run(tmp_path / "killed", quiet=True)
    with pytest.raises(KeyboardInterrupt):
        collect(reasoner, ASKED, config, run, reward=dies_in_the_second_chunk, seed=3)
    with (run.path / "accepted.jsonl").open("a") as out:
        out.write('{"id": "torn')
    run = Run(run.path, quiet=True)
    resumed = collect(reasoner, ASKED, config, run, reward=dies_in_the_second_chunk, seed=3)
    assert asked == [10, 10, 10, 4]
    assert resumed == straight
    assert run.ledger.sampled_tokens == whole.ledger.sampled_tokens


def test_some_prompts_are_drawn_by_seed_in_their_order():
    drawn = some(ASKED, 5, seed=1)
    assert drawn == sorted(drawn, key=lambda e: e.id)
    assert len({e.id for e in drawn}) == 5
    assert drawn != some(ASKED, 5, seed=2)
    assert some(ASKED, 0, seed=1) == ASKED == some(ASKED, 99, seed=1)
