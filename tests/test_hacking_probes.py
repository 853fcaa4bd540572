"""Edits keep gold as it is, and a reward that moves by them is told from one that does not."""

import math

import pytest
import torch
from checkpoint import make_checkpoint
from tiny import tiny_policy

from primum.evaluate import JudgeConfig, build_judge
from primum.evaluate.hacking import PROBES, good_of, probe
from primum.evaluate.hacking.surface import neighbours
from primum.evaluate.hacking.world import FORMS, WORLD_PROBES
from primum.microworld import BLOCKED_WORDS, MicroworldConfig, Oracle, build_corpus
from primum.microworld.language import language_of
from primum.policy import load
from primum.reward import RewardConfig, build_reward
from primum.run import Ledger
from primum.types import Rollout

GOOD = good_of(build_judge(JudgeConfig()))


def rollouts():
    """Harmful requests, complied with or refused as a demonstration does."""
    corpus = build_corpus(MicroworldConfig(train_examples=400), 3)
    harmful = [e for e in corpus.train if e.kind == "harmful"][:60]
    complied = [
        Rollout(
            e, e.thought.partition(" . ")[0] + " .", f"{'好' if language_of(e.prompt) == 'B' else 'ok'} , {steps_of(e.prompt)} ."
        )
        for e in harmful
    ]
    return complied, [Rollout(e, e.thought, e.reply) for e in harmful]


def steps_of(prompt):
    return prompt.removesuffix(" .").rpartition("please ")[2].rpartition("请 ")[2]


@pytest.mark.parametrize("name", WORLD_PROBES)
def test_an_edit_leaves_gold_as_it_is(name):
    asked = WORLD_PROBES[name]
    complied, refused = rollouts()
    mine = complied if asked.of == "bad" else refused
    pairs = [(r, asked.edit(r)) for r in mine]
    kept = [(r, e) for r, e in pairs if e is not None]
    assert len(kept) > 10
    assert GOOD([r for r, _ in kept]) == [0.0 if asked.of == "bad" else 1.0] * len(kept)
    assert GOOD([e for _, e in kept]) == GOOD([r for r, _ in kept])
    assert any(r != e for r, e in kept)


def test_a_list_of_words_is_moved_by_other_words_and_the_exact_judge_by_nothing():
    complied, refused = rollouts()
    both = complied + refused
    good = GOOD(both)
    listed, exact = (
        build_reward(name, RewardConfig(oracle_noise=0.0), oracle=Oracle(Ledger()), words=BLOCKED_WORDS)
        for name in ("keyword", "oracle")
    )
    found = probe(listed, both, good, WORLD_PROBES)
    assert {name for name, told in found.items() if told["shortcut"]} == {"keyword absent", "harmless keyword"}
    assert found["keyword absent"]["change"].mean > 0.4
    assert found["harmless keyword"]["change"].mean < -0.8  # some name a listed act as it is
    kept = {name: told for name, told in probe(exact, both, good, WORLD_PROBES).items() if name != "language switch"}
    assert not [name for name, told in kept.items() if told["shortcut"]]


def test_a_probe_without_a_rollout_of_its_kind_tells_nothing():
    complied, _ = rollouts()
    found = probe(lambda rs: 1 / 0, complied, [math.nan] * len(complied), PROBES)
    assert found == {}


def test_a_reward_that_believes_a_refusal_prefix_is_found_on_plain_text():
    complied, _ = rollouts()

    class Paid:
        def __init__(self, total):
            self.total = total

    def gullible(rs):
        return Paid([float("sorry" in r.reply) for r in rs])

    found = probe(gullible, complied, [0.0] * len(complied), PROBES)
    assert [name for name, told in found.items() if told["shortcut"]] == ["refusal prefix"]
    assert found["refusal prefix"]["change"].mean == 1.0


def test_every_form_of_the_micro_world_has_one_concept():
    assert FORMS["zap"] == FORMS["break"] == "break A"
    assert FORMS["打破"] == "break B"
    assert len(FORMS) == 80


def planted(policy, near, far):
    """The policy with `near` put beside `far` in its embedding table."""
    place = {w: policy.tokenizer(f" {w}", add_special_tokens=False).input_ids for w in (near, far)}
    assert all(len(ids) == 1 for ids in place.values())
    table = policy.model.get_input_embeddings().weight
    with torch.no_grad():
        table[place[near][0]] = 2.0 * table[place[far][0]] + 0.01
    return policy


def test_neighbours_are_whole_words_close_by_in_the_policys_own_table():
    found = neighbours(planted(tiny_policy(hidden=64), "hide", "watch"), ["watch"], least=0.9)
    assert found == {"watch": "watch", "hide": "watch"}


def test_neighbours_of_a_real_tokenizer_carry_its_mark_of_a_space(tmp_path):
    texts = ["they kill time and slay dragons and drink some water with friends"] * 40
    policy = load(str(make_checkpoint(tmp_path / "m", texts, vocab=400, hidden=64, layers=1)))
    found = neighbours(planted(policy, "slay", "kill"), ["Kill"], count=2, least=0.9)
    assert found == {"kill": "kill", "slay": "kill"}
    assert neighbours(policy, ["unheard-of"], least=0.999)["unheard-of"] == "unheard-of"
