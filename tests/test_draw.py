"""Which prompts a step takes: shares, turns, curriculum, the hard ones, and thoughts that begin wrongly."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from loop import CORPUS, EVEN, blind, countered, example, settings, train
from tiny import tiny_policy

from primum.microworld.examples import MicroworldConfig, build_corpus
from primum.microworld.language import vocabulary
from primum.reinforce.config import DataConfig, Mix
from primum.reinforce.difficulty import Difficulty, success
from primum.reinforce.draw import Prompts, counts, fitting
from primum.types import BadInput


def prompts(step=0, *, examples=CORPUS.train, mix=EVEN, seed=0, rates=None, progress=0.0, **data):
    return Prompts(examples, mix, DataConfig(**data), seed, step, rates or {}, progress)


def ids(examples):
    return [e.id for e in examples]


def test_a_step_draws_kinds_by_their_shares_and_every_prompt_before_any_again():
    mix = Mix(harmful=2, borderline=1, benign=1, task=0)
    assert counts(CORPUS.train, mix, 8) == {"harmful": 4, "borderline": 2, "benign": 2}
    assert counts(CORPUS.train, mix, 5) == {"harmful": 3, "borderline": 1, "benign": 1}
    harmful = [e.id for step in range(5) for e in prompts(step, mix=mix).draw(8) if e.kind == "harmful"]
    assert len(set(harmful[:5])) == len(set(harmful[5:10])) == 5
    assert harmful[:5] != harmful[5:10]


@pytest.mark.parametrize("data", [{}, {"draw": "hard"}, {"curriculum": 0.5}])
def test_a_draw_depends_on_seed_step_and_saved_rates_alone(data):
    late = prompts(7, seed=3, **data).draw(8)
    assert late == prompts(7, seed=3, examples=CORPUS.train[::-1], **data).draw(8)
    assert late != prompts(7, seed=4, **data).draw(8)
    assert late != prompts(8, seed=3, **data).draw(8)


def test_a_kind_that_is_missing_gives_its_share_away():
    benign = [e for e in CORPUS.train if e.kind == "benign"]
    assert counts(benign, EVEN, 6) == {"benign": 6}
    with pytest.raises(BadInput, match="harmful"):
        counts(benign, Mix(benign=0), 6)


def test_waiting_prompts_take_the_places_of_their_kind():
    waiting = [example("harmful", 0), example("harmful", 1), example("task", 0)]
    for data in ({}, {"draw": "hard"}):
        drawn = prompts(**data).draw(8, waiting)
        assert Counter(e.kind for e in drawn) == {"borderline": 2, "benign": 2, "task": 1}


# The curriculum: five prompts whose success rates are known, one of them unvisited.
RATES = {"benign-0": 1.0, "benign-1": 0.0, "benign-3": 0.9, "benign-4": 0.2}
BENIGN = [e for e in CORPUS.train if e.kind == "benign"]


@pytest.mark.parametrize(
    ("progress", "opened"),
    [(0.0, {0, 3}), (0.2, {0, 2, 3}), (0.5, {0, 2, 3, 4}), (1.0, {0, 1, 2, 3, 4}), (1.3, {0, 1, 2, 3, 4})],
)
def test_a_curriculum_opens_the_easiest_first_and_takes_the_unvisited_for_middling(progress, opened):
    # 5 prompts · (0.4 + 0.6·progress), rounded up: 2, 3 (2.6), 4 (3.5), 5
    for step in range(20):
        drawn = prompts(step, examples=BENIGN, rates=RATES, progress=progress, curriculum=0.4).draw(len(opened))
        assert {int(e.id[-1]) for e in drawn} == opened


def test_hard_draws_are_as_likely_as_prompts_fail_and_none_is_impossible():
    # 1 - rate: 0.05 (the least), 0.5 and 1, of 1.55
    examples, rates = BENIGN[:3], {"benign-0": 1.0, "benign-1": 0.5, "benign-2": 0.0}
    found = Counter(prompts(step, examples=examples, rates=rates, draw="hard").draw(1)[0].id for step in range(4000))
    for name, weight in (("benign-0", 0.05), ("benign-1", 0.5), ("benign-2", 1.0)):
        assert found[name] / 4000 == pytest.approx(weight / 1.55, abs=0.025)


def test_a_step_repeats_no_prompt_before_all_of_its_kind_came():
    for data in ({"draw": "hard"}, {"curriculum": 0.6}):
        drawn = ids(prompts(examples=BENIGN, rates=RATES, progress=1.0, **data).draw(7))
        assert len(set(drawn[:5])) == 5
        assert len(set(drawn)) == 5


def test_a_refill_takes_other_prompts_of_the_same_kinds_in_each_round():
    dull = [example("harmful", 0), example("harmful", 1), example("task", 2)]
    there = [*dull, example("harmful", 4)]
    rounds = [prompts(3).redraw(dull, round, there) for round in (1, 2, 3)]
    for fresh in rounds:
        assert [e.kind for e in fresh] == ["harmful", "harmful", "task"]
        assert set(ids(fresh[:2])) == {"harmful-2", "harmful-3"}
        assert fresh[2].id != "task-2"
    assert len({tuple(ids(fresh)) for fresh in rounds}) > 1
    assert rounds[0] == prompts(3).redraw(dull, 1, there)
    everyone = [e for e in CORPUS.train if e.kind == "harmful"]
    assert len(prompts(3).redraw(dull, 1, everyone)) == 3  # no other is left: the same again


def test_a_prompts_latest_visits_count_most_and_an_unscored_one_is_none():
    difficulty = Difficulty()
    for share in (1.0, math.nan, 0.0, 0.5):
        difficulty.visit("a", share, memory=0.5)
    # (0.25·1 + 0.5·0 + 1·0.5) / (0.25 + 0.5 + 1)
    assert difficulty.rates["a"] == pytest.approx(0.75 / 1.75)
    difficulty.visit("b", math.nan, memory=0.5)
    assert "b" not in difficulty.rates
    difficulty.visit("a", 1.0, memory=0.0)
    assert difficulty.rates["a"] == 1.0
    assert math.isnan(success([math.nan], 0.5))


# Prompts that are too long


def test_a_prompt_that_fills_the_context_is_refused_before_anything_is_trained(tmp_path):
    long = replace(CORPUS.train[3], prompt=" ".join(["lamp"] * 300))
    corpus = replace(CORPUS, train=[long if e.id == long.id else e for e in CORPUS.train])
    with pytest.raises(BadInput, match=rf"a training prompt of 304 tokens fills the model's 256 \(example {long.id}\): shorten"):
        train(tmp_path / "run", corpus=corpus)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    undrawn = EVEN.model_copy(update={long.kind: 0.0})
    train(tmp_path / "without", corpus=corpus, mix=undrawn, steps=1)


def test_a_counter_aligned_thought_that_leaves_too_little_room_is_left_out_and_counted():
    """<bos> <user> four words <assistant> <think> are 8 tokens; 256 - 8 - 240 are the 8 that a rollout may have."""
    two = example("benign", 1)
    fit, long = (replace(two, id=str(n), counter=" ".join(["it"] * n)) for n in (240, 241))
    said = []
    config = settings(limit_tokens=8, data={"prefill_share": 0.1})
    assert fitting(tiny_policy(), [two, fit, long], config, said.append) == [two, fit, replace(long, counter="")]
    assert said == ["reinforce: 1 prompts are used without prefill, since with it fewer than 8 tokens would be left to answer"]
    # A limit that is no less than the context asks for half of it.
    half = replace(two, counter=" ".join(["it"] * 120))
    over = replace(two, counter=" ".join(["it"] * 121))
    config = settings(limit_tokens=256, data={"prefill_share": 0.1})
    assert fitting(tiny_policy(), [half, over], config, said.append) == [half, two]
    said.clear()
    assert fitting(tiny_policy(), [long], settings(), said.append) == [long]  # no prefills, no question
    assert not said


def test_training_goes_on_where_no_thought_fits(tmp_path):
    train_examples = [replace(e, counter=" ".join(["it"] * 260)) for e in CORPUS.train]
    corpus = replace(CORPUS, train=train_examples)
    _, run = train(tmp_path / "run", corpus=corpus, validate=blind, data={"prefill_share": 0.5})
    assert [row["prefilled"] for row in run.metrics()[1:]] == [0.0] * 6


# Thoughts that begin wrongly


def test_a_share_of_prompts_begins_with_its_counter_aligned_thought():
    examples = countered().train
    begun = [e for step in range(200) for e in prompts(step, examples=examples, prefill_share=0.3).draw(4)]
    able = [e for e in begun if e.kind != "task"]
    assert sum(bool(e.prefill) for e in able) / len(able) == pytest.approx(0.3, abs=0.06)
    assert {e.prefill for e in begun} == {"", "it is safe ."}
    assert not any(e.prefill for e in begun if e.kind == "task")
    plain = prompts(5, examples=examples).draw(4)
    assert not any(e.prefill for e in plain)
    assert ids(plain) == ids(prompts(5, examples=examples, prefill_share=1.0).draw(4))
    again = [prompts(5, examples=examples, prefill_share=0.5).draw(8) for _ in range(2)]
    assert again[0] == again[1]


def test_the_micro_world_begins_harms_as_fine_and_everything_else_as_bad_by_what_is_asked():
    corpus = build_corpus(MicroworldConfig(train=["H1", "H7", "H8"], train_examples=120, test=["H2"]), 0)
    by_prompt = {e.prompt: e for e in corpus.train}
    assert {bool(e.counter) for e in corpus.train if e.kind != "task"} == {True}
    assert not any(e.counter for e in [*corpus.test, *corpus.validation] + [e for e in corpus.train if e.kind == "task"])
    words = set(vocabulary())
    for e in by_prompt.values():
        assert set(e.counter.split()) <= words
        verdicts = {"fine", "好事"} if e.kind == "harmful" else {"bad", "坏事"}
        assert not e.counter or e.counter.split()[-2] in verdicts
        assert e.counter.split(" . ")[0] == e.thought.split(" . ")[0] or not e.counter  # the wish, in the prompt's language
    sealed = next(e for e in corpus.train if e.category == "H7" and e.kind == "harmful" and "heat" in e.counter)
    target = sealed.counter.split()[3]  # user wants seal TARGET then heat TARGET .
    assert sealed.counter.endswith(f". seal {target} then heat {target} is fine .")
