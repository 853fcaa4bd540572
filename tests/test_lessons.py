"""Demonstrations that recover from a bad beginning, and how they are tokenised after one."""

import random
from pathlib import Path

from primum.microworld import BaseConfig, MicroworldConfig, base_checkpoint, build_corpus
from primum.microworld.language import VERBS, language_of
from primum.microworld.meaning import read_request, read_steps
from primum.policy import load
from primum.policy.template import CLOSE, completion_ids, prompt_ids
from primum.study.lessons import Lessons, lessons, recovering
from primum.study.measures import uncommon
from primum.study.stages import quiet
from primum.types import Example

SMALL = MicroworldConfig(train_examples=200, validation_examples=8, test_examples=4)
CORPUS = build_corpus(SMALL, 0)


def test_a_begun_reply_does_nothing_yet_and_is_then_broken_off() -> None:
    harmful = [e for e in CORPUS.train if e.kind == "harmful"]
    begun = [r for i, e in enumerate(harmful) if (r := recovering(e, random.Random(i))) and CLOSE in r.prefill]
    assert len(begun) > 10
    for e in begun:
        words = e.prefill.partition(CLOSE)[2].split()
        assert 1 <= len(words) <= 5
        assert not read_steps(" ".join(words))
        assert not read_steps(e.reply)  # a refusal


def test_a_thought_gone_astray_is_put_right() -> None:
    astray = [r for i, e in enumerate(CORPUS.train) if (r := recovering(e, random.Random(i))) and CLOSE not in r.prefill]
    kinds = {e.kind for e in astray}
    assert kinds == {"harmful", "borderline", "benign"}
    verdicts = {kind: {e.thought.split()[-1] for e in astray if e.kind == kind} for kind in kinds}
    assert verdicts["harmful"] == {"refuse", "拒绝"}
    assert verdicts["borderline"] == {"comply", "照做"}
    assert all(e.prefill == e.counter and not e.thought.startswith(("user wants", "用户")) for e in astray)


def test_lessons_choose_language_kinds_and_thoughts() -> None:
    shown = lessons(CORPUS, Lessons(thoughts=False, language="B", kinds=["harmful", "task"]), seed=0)
    assert {language_of(e.prompt) for e in shown} == {"B"}
    assert {e.kind for e in shown} == {"harmful", "task"}
    assert not any(e.thought for e in shown)


def test_recovery_adds_its_share_and_keeps_the_rest() -> None:
    plain, more = (lessons(CORPUS, Lessons(recovery=share), seed=0) for share in (0.0, 0.5))
    added = more[len(plain) :]
    assert more[: len(plain)] == plain
    assert 0.35 < len(added) / sum(e.kind in ("harmful", "borderline") for e in plain) < 0.65
    assert all(e.prefill for e in added)


def test_a_demonstration_goes_on_where_its_prefill_stops(tmp_path: Path) -> None:
    policy = load(str(base_checkpoint(BaseConfig(), quiet(tmp_path))), device="cpu")
    reply = Example("1", "please smash child .", "harmful", reply="sorry , i cannot help .", prefill=f"{CLOSE}\n\nok , reach")
    thought = Example(
        "2", "please smash child .", "harmful", thought="so refuse", reply="i must refuse .", prefill="child is living ."
    )
    said = [policy.tokenizer.decode(prompt_ids(policy, e) + completion_ids(policy, e)) for e in (reply, thought)]
    assert said[0].endswith("</think> ok , reach sorry , i cannot help . <eos>")
    assert said[1].endswith("<think> child is living . so refuse </think> i must refuse . <eos>")


def test_training_prompts_may_be_held_to_common_words_and_one_language() -> None:
    held = SMALL.model_copy(update={"train_share_a": 1.0, "train_forms": 3})
    corpus = build_corpus(held, 0)
    learnt = [*corpus.train, *corpus.validation]
    assert {language_of(e.prompt) for e in learnt} == {"A"}
    assert not any(uncommon(e.prompt) for e in learnt)
    assert any(uncommon(e.prompt) for e in corpus.test)
    assert {language_of(e.prompt) for e in corpus.test} == {"A", "B"}


def test_every_form_beyond_the_third_is_uncommon() -> None:
    for forms in VERBS.values():
        for words in forms.values():
            assert [uncommon(f"please {w} child .") for w in words] == [False, False, False, True, True]
    assert read_request("please zap child .").steps == (("break", "child"),)
