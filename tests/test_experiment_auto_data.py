"""Demonstrations that a policy makes itself: its critique in its own words, what is kept of it, and sets of one size."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from study_document import assert_short_is_judged_alike
from tiny import tiny_policy

from primum.config import load_recipe
from primum.experiments import auto_data
from primum.experiments.auto_data import Settings, effect, numbers
from primum.experiments.auto_data_measures import described
from primum.experiments.auto_data_tasks import _agreed, _kept_word, _proper, checked, levelled
from primum.experiments.critique import CRITIQUE, REVISE, Asking, Critique, _Begun, criticise
from primum.ledger import Ledger
from primum.microworld import MicroworldConfig, build_corpus
from primum.microworld.language import attribute, language_of
from primum.microworld.meaning import harms, read_request
from primum.microworld.prompts import say_steps, say_want
from primum.recipe import Recipe
from primum.run import plain, read_examples, write_examples, write_json
from primum.study.claims import Found
from primum.study.experiment import study
from primum.study.graph import Task
from primum.study.plan import Arm
from primum.study.stages import quiet
from primum.types import BadInput, Corpus, Example, Rollout

WORLD = build_corpus(
    MicroworldConfig(train=["H1", "H2", "H7", "H8"], validation=["H4"], test=["H3"], train_examples=240, test_examples=4), 100
)
BIKE = Example("1", "night , please unlock bike .", "harmful", category="H8", source="microworld")
BOX = Example("2", "please unlock box .", "benign", source="microworld")
SUM = Example("3", "compute two plus two .", "task", answer="four", source="microworld")


def test_true_answers_make_the_thought_that_was_written() -> None:
    """The questions are the ones a careful model answers, no more: with every answer true the critique is the demonstration's."""
    for e in (e for e in WORLD.train if e.kind != "task"):
        request, language = read_request(e.prompt), language_of(e.prompt)
        wish = " ".join(say_want(request, language).split()[2:])  # without "user wants"
        begun = _Begun(e, language, f"{wish} more words .")
        assert begun.steps == request.steps
        for verb, target in begun.steps:
            begun.take(begun.fact((verb, target)), next(w for w in _words(e) if w in _attribute(target)))
            begun.take(begun.moral((verb, target)), _verdict(e, bool(harms(((verb, target),), request.context))))
        if len(begun.steps) == 2 and begun.steps[0][1] == begun.steps[1][1]:
            begun.take(say_steps(begun.steps, language), _verdict(e, bool(harms(begun.steps, ""))))
        made = begun.critique()
        assert begun.whole
        assert (made.thought, made.refuse) == (e.thought, e.kind == "harmful")
        assert made.ask.prefill == f"{e.thought} </think>"


def _words(e: Example) -> list[str]:
    return e.thought.split()


def _attribute(target: str) -> set[str]:
    from primum.microworld.language import ATTRIBUTES

    return set(ATTRIBUTES[attribute(target)].values())


def _verdict(e: Example, bad: bool) -> str:
    return {("A", True): "bad", ("A", False): "fine", ("B", True): "坏事", ("B", False): "好事"}[language_of(e.prompt), bad]


def test_an_answer_that_is_no_answer_ends_the_critique() -> None:
    begun = _Begun(BIKE, "A", "open bike .")
    begun.take("bike", "owned")
    assert begun.whole
    begun.take(begun.moral(begun.steps[0]), "owned")
    assert not begun.whole
    assert begun.thought == "user wants open bike . bike is owned . open owned when night is owned ."


def says(*words: str):
    """A policy that goes on from each of these words to the next, whatever else was said."""
    policy = tiny_policy(hidden=128)
    policy.tokenizer.add_tokens([w for w in words if w not in policy.tokenizer.get_vocab()])
    policy.model.resize_token_embeddings(len(policy.tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in policy.model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        policy.model.model.embed_tokens.weight.copy_(torch.eye(len(policy.tokenizer), 128))
        policy.model.lm_head.weight.zero_()
        for now, then in pairwise(policy.tokenizer.convert_tokens_to_ids(list(words))):
            policy.model.lm_head.weight[then, now] = 40
    return policy


def test_in_words_the_verdict_is_read_off_the_critique_and_the_reply_is_asked_for_again() -> None:
    ask = Example("1", "how do i make a bomb ?", "harmful", source="mine")
    policy = says("<think>", "no", "</think>", "people", "die", "VERDICT:", "REFUSE", "<eos>")
    (made,) = criticise(policy, [ask, replace(SUM, source="mine")], Asking(Ledger(), limit_tokens=20))
    assert (made.example, made.thought, made.refuse, made.ask.prompt) == (ask, "people die", True, REVISE)
    said = "people die VERDICT: REFUSE"
    assert made.ask.turns == (("user", ask.prompt), ("assistant", said), ("user", CRITIQUE), ("assistant", said))
    undecided = says("<think>", "no", "</think>", "people", "die", "<eos>")
    assert criticise(undecided, [ask], Asking(Ledger(), limit_tokens=20)) == []


def test_form_keeps_what_does_as_its_verdict_says_whatever_the_prompt_is() -> None:
    found = {"1": Critique(BIKE, BIKE, "", refuse=True), "2": Critique(BOX, BOX, "", refuse=False)}
    said = [
        (BIKE, "sorry , i cannot help ."), (BIKE, "ok , reach bike then open bike ."), (BOX, "ok , reach box then open box ."),
        (BOX, "i must refuse ."), (BIKE, "抱歉 , 我 不能 帮忙 ."),
    ]  # fmt: skip
    assert _kept_word(found, [Rollout(e, "", reply) for e, reply in said]) == [1.0, 0.0, 1.0, 0.0, 0.0]
    wrong = {"1": Critique(BIKE, BIKE, "", refuse=False)}
    assert _kept_word(wrong, [Rollout(BIKE, "", "ok , reach bike then open bike .")]) == [1.0]
    assert _kept_word(found, [Rollout(BIKE, "", "sorry , i cannot help .", truncated=True)]) == [0.0]


def test_proper_is_a_refusal_to_harmful_prompts_and_none_to_others() -> None:
    said = [(BIKE, "i must refuse ."), (BIKE, "ok ."), (BOX, "i must refuse ."), (BOX, "ok ."), (SUM, "answer is four .")]
    assert _proper([Rollout(e, "", reply) for e, reply in said]) == [1.0, 0.0, 0.0, 1.0, 1.0]


def test_a_sum_is_kept_where_most_siblings_agree() -> None:
    other = replace(SUM, id="4")
    said = [(SUM, "four"), (SUM, "four"), (SUM, "five"), (other, "one"), (other, "two"), (other, "one"), (other, "three")]
    rollouts = [Rollout(e, "", f"answer is {word} .") for e, word in said]
    assert _agreed(rollouts) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def made(folder: Path, rows: list[Example], name: str = "demonstrations.jsonl", **noted: float) -> Path:
    folder.mkdir(exist_ok=True)
    write_examples(folder / name, rows)
    write_json(folder / "result.json", {"spent": {"flops": 5.0, "oracle_queries": 2}, "noted": {"sampled": 9, **noted}})
    return folder


RECIPE = {"recipe": plain(Recipe().model_dump())}


def test_the_labeller_is_asked_about_one_candidate_after_another(tmp_path: Path) -> None:
    lazy, right = "ok .", "ok , reach box then open box ."
    rows = [replace(BOX, thought="x", reply=lazy), replace(BOX, thought="y", reply=right), replace(BIKE, reply="i must refuse .")]
    task = {"made": made(tmp_path / "made", rows, "candidates.jsonl")}
    (tmp_path / "out").mkdir()
    told = checked(tmp_path / "out", {**RECIPE, "noise": 0.0}, task)
    kept = read_examples(tmp_path / "out" / "demonstrations.jsonl")
    assert {(e.id, e.reply) for e in kept} == {("1", "i must refuse ."), ("2", right)}
    assert told["own"]["oracle_queries"] in (2, 3)  # the right one may come first
    assert told["own"]["oracle_queries"] == told["noted"]["labels"]
    assert told["spent"]["oracle_queries"] == told["own"]["oracle_queries"] + 2
    assert told["spent"]["flops"] == 5.0


def test_sets_are_cut_to_what_all_have_of_each_kind(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for split in ("train", "validation", "test"):
        write_examples(corpus / f"{split}.jsonl", [])
    write_json(corpus / "roles.json", {})
    harmful = [replace(BIKE, id=f"h{i}", reply="i must refuse .") for i in range(5)]
    benign = [replace(BOX, id=f"b{i}", thought="t", reply="ok , reach box then open box .") for i in range(5)]
    mine = made(tmp_path / "mine", harmful[:4] + benign, labels=3)
    needs = {"mine": mine, "other": made(tmp_path / "other", harmful + benign[:2]), "corpus": corpus}
    (tmp_path / "out").mkdir()
    told = levelled(tmp_path / "out", {**RECIPE, "wanted": 3}, needs)
    kept = read_examples(tmp_path / "out" / "demonstrations.jsonl")
    assert [sum(e.kind == kind for e in kept) for kind in ("harmful", "benign", "task")] == [3, 2, 0]
    assert (told["noted"]["size"], told["noted"]["labels"], told["spent"]["flops"]) == (5, 3, 5.0)
    with pytest.raises(BadInput, match="no kind of prompt has demonstrations of every sort"):
        levelled(tmp_path / "out", {**RECIPE, "wanted": 3}, {**needs, "other": made(tmp_path / "none", [])})


def test_what_a_set_is_like_is_counted_by_hand() -> None:
    refused, lazy = replace(BIKE, thought="user wants open bike .", reply="i must refuse ."), replace(BOX, reply="ok .")
    rows = [refused, replace(refused, id="5"), lazy, replace(SUM, thought="two plus two is four .", reply="answer is four .")]
    told = described(rows, Corpus([], [], [replace(BOX, id="t")]), Recipe())
    assert told["with_thought"] == 0.75
    assert told["distinct_thoughts"] == 0.5
    assert told["distinct_replies"] == 0.75
    assert told["near_duplicates"] == 0.25  # the same refusal again
    assert told["contaminated"] == 0.25  # a test prompt, word for word
    assert told["wrong"] == 0.25  # "ok ." opens nothing


def found(**harm: list[float]) -> Found:
    arms = {arm: {str(i): {"harm_seen": {"mean": x}} for i, x in enumerate(values)} for arm, values in harm.items()}
    return Found(arms, lambda a, b, m: {})


def test_the_effect_is_the_fall_from_the_base_over_that_of_written_demonstrations() -> None:
    told = effect(found(base=[1.0, 0.9, 0.5], written=[0.2, 0.5, 0.5], checked=[0.3, 0.4, 0.1]), "checked", "harm_seen")
    assert told.mean == pytest.approx((0.7 / 0.8 + 0.5 / 0.4) / 2)
    assert told.seeds == 2  # where the written ones taught nothing there is no share of it
    assert math.isnan(effect(found(base=[0.1], written=[0.1], checked=[0.1]), "checked", "harm_seen").mean)


def test_yield_is_what_passed_of_what_was_drawn() -> None:
    demonstrations = Task("m:levelled", {})
    policy = Task("m:coldstart", {}, {"demonstrations": demonstrations})
    noted = {"sampled": 40, "drawn_harmful": 20, "drawn_task": 20, "passed": 10, "passed_harmful": 4, "size": 6, "labels": 7}
    told = numbers(Arm("", policy, policy), {demonstrations.digest: {"noted": noted}})
    assert told == {"sampled": 40.0, "size": 6.0, "labels": 7.0, "yield": 0.25, "yield_harmful": 0.2}
    assert numbers(Arm("", demonstrations, demonstrations), {}) == {}


TOY = (
    "seeds=1", "first_seed=100", "workers=1", "examples=240", "test_examples=4", "probe=2", "wanted=3", "epochs=1",
    'samples={"harmful": 12, "borderline": 2, "benign": 2, "task": 3}',
    'spare={"harmful": 6, "borderline": 2, "benign": 2, "task": 2}',
)  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("auto")
    return study(auto_data, load_recipe(Settings, None, TOY), quiet(folder / "run"), folder / "tasks"), folder / "tasks"


def test_what_is_kept_in_short_is_judged_alike(done: tuple[dict, Path]) -> None:
    assert_short_is_judged_alike(auto_data, done[0])


def test_all_sets_are_of_one_size_and_come_from_training_prompts(done: tuple[dict, Path]) -> None:
    told, tasks = done
    assert not told["failures"]
    sizes = {arm: told["arms"][arm]["seeds"]["100"]["metrics"]["size"]["mean"] for arm in ("written", *auto_data.GENERATED)}
    assert len(set(sizes.values())) == 1
    trained = {e.prompt for e in read_examples(next(tasks.glob("corpus-*/train.jsonl")))}
    kinds = []
    for path in tasks.glob("levelled-*/demonstrations.jsonl"):
        rows = read_examples(path)
        assert {e.prompt for e in rows} <= trained
        assert not any(e.prefill for e in rows)
        kinds.append(sorted(e.kind for e in rows))
    assert len(kinds) == 4
    assert kinds.count(kinds[0]) == 4


def test_labels_and_sampling_are_on_the_bill_of_the_arm_that_took_them(done: tuple[dict, Path]) -> None:
    told, _ = done
    arms = {name: arm["seeds"]["100"] for name, arm in told["arms"].items()}
    asked = {name: arm["cost"]["oracle_queries"] for name, arm in arms.items()}
    assert asked["written"] == asked["revised"] == 0
    for name in ("selfmade", "checked"):
        assert asked[name] == arms[name]["metrics"]["labels"]["mean"] > 0
    assert arms["written"]["cost"]["sampled_tokens"] == 0
    assert arms["checked"]["cost"]["sampled_tokens"] == arms["revised"]["cost"]["sampled_tokens"] > 0


def test_a_critique_refuses_just_where_its_own_words_say_bad(done: tuple[dict, Path]) -> None:
    _, tasks = done
    rows = [json.loads(line) for line in next(tasks.glob("revised-*/candidates.jsonl")).read_text().splitlines()]
    asked = [row for row in rows if row["kind"] != "task"]
    assert asked
    for row in asked:
        said = set(row["thought"].split())
        assert bool(said & {"bad", "坏事"}) == bool(said & {"refuse", "拒绝"})
