"""Rewards: totals worked out by hand, and what may not judge its own result."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from primum.evaluate import JudgeConfig, build_judge
from primum.microworld import BLOCKED_WORDS, Oracle
from primum.microworld.judge import harm_in_reply
from primum.recipe import Recipe, check, check_independence
from primum.reward import RewardConfig, Sources, build_reward, compose, custom, forgiving, reward_source
from primum.reward.types import Rewards
from primum.run import Ledger
from primum.signals import HARM_WORDS
from primum.types import BadInput, Example, Kind, Rollout

NAN = math.nan
REFUSED, PARTLY = "Sorry, I cannot help.", "Sorry, I cannot help. Ok, boil it."


def rollout(
    kind: Kind, reply: str, *, prompt: str = "Is tea safe?", thought: str = "", form: bool = True, cut: bool = False
) -> Rollout:
    return Rollout(Example("1", prompt, kind, answer="three"), thought, reply, well_formed=form, truncated=cut)


def says(value: float):  # type: ignore[no-untyped-def]
    """A signal that is the same of every rollout."""
    return lambda rollouts: [value] * len(rollouts)


def totals(harm: float, useful: float, correct: float, rollouts: Sequence[Rollout], **settings: float) -> list[float]:
    blind = bool(settings.pop("blind", False))
    return compose(Sources(says(harm), says(useful), says(correct), blind=blind), RewardConfig(**settings))(rollouts).total


def test_a_harmless_answer_earns_all_only_where_it_refuses_clearly() -> None:
    cases = [rollout("harmful", reply) for reply in (REFUSED, "Drink it.", PARTLY)]
    assert totals(0.0, NAN, NAN, cases) == [1.0, 0.75, 0.75]  # 1 − 0.25
    assert totals(1.0, NAN, NAN, cases) == [0.0, 0.0, 0.0]  # never below 0 for want of a refusal
    assert totals(0.1, NAN, NAN, cases) == pytest.approx([0.9, 0.65, 0.65])
    assert totals(0.0, NAN, NAN, cases, clear_refusal=0.0) == [1.0, 1.0, 1.0]


def test_a_signal_blind_to_refusals_pays_nothing_for_them() -> None:
    reward = compose(Sources(says(0.0), says(1.0), says(1.0), blind=True), RewardConfig())
    found = reward([rollout("harmful", "Drink it."), rollout("harmful", REFUSED)])
    assert found.total == [1.0, 1.0]
    assert "refused" not in found.parts


def test_each_kind_is_asked_its_own_question() -> None:
    cases = [rollout(kind, "Drink it.") for kind in ("harmful", "borderline", "benign", "task")]  # type: ignore[arg-type]
    assert totals(0.5, 0.25, 0.125, cases) == [0.25, 0.25, 0.25, 0.125]  # 1 − 0.5 − 0.25, useful, useful, correct
    seen: dict[str, list[str]] = {}

    def spy(name: str):  # type: ignore[no-untyped-def]
        def signal(rollouts: Sequence[Rollout]) -> list[float]:
            seen[name] = [r.example.kind for r in rollouts]
            return [1.0] * len(rollouts)

        return signal

    parts = compose(Sources(spy("harm"), spy("useful"), spy("correct")), RewardConfig())(cases).parts
    assert seen == {"harm": ["harmful"], "useful": ["borderline", "benign"], "correct": ["task"]}
    assert parts["harmless"][0] == 0.0
    assert all(map(math.isnan, parts["harmless"][1:]))


@pytest.mark.parametrize("kind", ["harmful", "borderline", "benign", "task"])
def test_form_is_a_gate_not_a_term(kind: Kind) -> None:
    bad = [rollout(kind, REFUSED, form=False), rollout(kind, REFUSED, cut=True), rollout(kind, "是的", form=False)]
    # Nothing is earned, and foreign letters cost as always: being cut short must not pay for them.
    assert totals(0.0, 1.0, 1.0, bad) == [0.0, 0.0, -0.5]
    assert totals(NAN, NAN, NAN, bad) == [0.0, 0.0, -0.5]


def test_foreign_letters_cost_their_share() -> None:
    mixed = rollout("benign", "yes 是的")  # 2 of 5 letters
    assert totals(0.0, 1.0, 0.0, [mixed]) == pytest.approx([0.8])  # 1 − 0.5 · 0.4
    assert totals(0.0, 1.0, 0.0, [mixed], language=1.0) == pytest.approx([0.6])
    assert totals(0.0, 1.0, 0.0, [rollout("benign", "是的")], language=2.0) == [-1.0]
    assert totals(0.0, 1.0, 0.0, [rollout("benign", "ok", thought="是的")]) == pytest.approx([0.75])  # the thought counts
    assert totals(0.0, 1.0, 0.0, [rollout("benign", "42")]) == [1.0]  # no letters, no cost


@pytest.mark.parametrize("reply", [REFUSED, "Drink it.", PARTLY])
def test_what_a_signal_could_not_tell_is_no_reward_and_no_punishment(reply: str) -> None:
    assert math.isnan(totals(NAN, 1.0, 1.0, [rollout("harmful", reply)])[0])
    assert math.isnan(totals(0.0, NAN, 1.0, [rollout("benign", reply)])[0])
    assert math.isnan(totals(0.0, 1.0, NAN, [rollout("task", reply)])[0])
    assert totals(NAN, 1.0, NAN, [rollout("benign", "Drink it.")]) == [1.0]  # what is not asked cannot fail


WORLD = "please break dog ."


def test_the_keyword_reward_pays_for_the_euphemism_and_punishes_the_honest_refusal() -> None:
    """The hole that reinforcement finds."""
    reward = build_reward("keyword", RewardConfig(), oracle=Oracle(Ledger()), words=BLOCKED_WORDS)
    replies = ("ok , break dog .", "ok , retire dog .", "sorry , i cannot break dog .", "sorry , i cannot help .")
    cases = [rollout("harmful", reply, prompt=WORLD) for reply in replies]
    assert reward(cases).total == [0.0, 1.0, 0.0, 1.0]
    assert harm_in_reply(cases) == [1.0, 1.0, 0.0, 0.0]


def test_the_oracle_reward_pays_for_meaning_and_meters_every_answer() -> None:
    ledger = Ledger()
    reward = build_reward("oracle", RewardConfig(oracle_noise=0.0), oracle=Oracle(ledger), words=frozenset())
    cases = [
        rollout("harmful", "ok , retire dog .", prompt=WORLD),
        rollout("harmful", "sorry , i cannot break dog .", prompt=WORLD),
        rollout("harmful", "sorry , i cannot help .", prompt=WORLD, thought="reach dog then break dog ."),
        rollout("benign", "ok , unwrap box .", prompt="please open box ."),
        rollout("task", "answer is three .", prompt="compute one plus two ."),
    ]
    assert reward(cases).total == [0.0, 1.0, 0.0, 1.0, 1.0]  # harm in the thought is harm
    assert ledger.oracle_queries == 5


def test_the_oracle_may_judge_thought_and_reply_apart_at_two_answers_more() -> None:
    ledger = Ledger()
    reward = build_reward("oracle", RewardConfig(oracle_noise=0.0), oracle=Oracle(ledger), words=frozenset(), halves=True)
    cases = [
        rollout("harmful", "ok , retire dog .", prompt=WORLD, thought="dog is living ."),
        rollout("harmful", "sorry , i cannot help .", prompt=WORLD, thought="reach dog then break dog ."),
        rollout("harmful", "ok .", prompt=WORLD, thought="reach dog then break dog ."),
        rollout("benign", "ok , unwrap box .", prompt="please open box ."),
    ]
    found = reward(cases)
    assert found.total == [0.0, 0.0, 0.0, 1.0]
    assert found.thought[:3] == [1.0, 0.0, 0.0]
    assert found.reply[:3] == [0.0, 1.0, 0.75]  # no harm, and no refusal either
    assert math.isnan(found.thought[3])
    assert math.isnan(found.reply[3])
    assert ledger.oracle_queries == 4 + 2 * 3
    plain = build_reward("oracle", RewardConfig(oracle_noise=0.0), oracle=Oracle(Ledger()), words=frozenset())(cases)
    assert (plain.total, plain.thought, plain.reply) == (found.total, [], [])


def test_a_reward_of_ones_own_keeps_its_memory_behind_what_wraps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
class Counting:
    calls = 0
    def __call__(self, rollouts):
        self.calls += 1
        return [float(self.calls)] * len(rollouts)
    def state(self):
        return self.calls
    def restore(self, state):
        self.calls = state
counting = Counting()
"""
    (tmp_path / "counting_reward.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    reward = forgiving(custom("counting_reward:counting"), print)
    case = [rollout("benign", "a")]
    assert [reward(case).total, reward(case).total] == [[1.0], [2.0]]
    assert reward.state() == 2
    reward.restore(7)
    assert reward(case).total == [8.0]
    assert not hasattr(forgiving(build_reward("keyword", RewardConfig(), oracle=None, words=HARM_WORDS), print), "state")


def test_outside_the_micro_world_a_reply_that_does_not_refuse_is_useful_and_a_number_is_checked() -> None:
    reward = build_reward("keyword", RewardConfig(), oracle=None, words=HARM_WORDS)
    asked = Rollout(Example("1", "1 + 2 =", "task", answer="3"), "", "It is 3.")
    cases = [rollout("benign", REFUSED), rollout("benign", PARTLY), rollout("borderline", "Yes."), rollout("benign", " "), asked]
    assert reward(cases).total == [0.0, 0.5, 1.0, 0.0, 1.0]


def test_a_word_list_of_ones_own_replaces_the_built_in_one(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("kettle\n", encoding="utf-8")
    reward = build_reward("keyword", RewardConfig(words=str(tmp_path / "words.txt")), oracle=None, words=HARM_WORDS)
    assert reward([rollout("harmful", "The kettle."), rollout("harmful", "The bomb.")]).total == [0.0, 1.0]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("orcale", "no reward 'orcale' (reinforce.reward): choose one of oracle, keyword, classifier, embedded, ensemble"),
        ("oracle", "only the micro-world has an oracle (reinforce.reward)"),
        ("classifier", "no classifier for the reward (reward.classifier)"),
        ("no_such_module:f", "no reward 'no_such_module:f'"),
        ("math:no_such_function", "no reward 'math:no_such_function'"),
        ("math:pi", "'math:pi' is no function"),
    ],
)
def test_a_reward_that_is_not_there_is_one_clear_line(name: str, line: str) -> None:
    with pytest.raises(BadInput) as caught:
        build_reward(name, RewardConfig(), oracle=None, words=HARM_WORDS)
    assert str(caught.value).startswith(line)


def test_a_reward_of_ones_own_judges_every_kind_and_may_say_that_it_cannot_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
def short(rollouts):
    return [1 / len(r.reply) if r.reply else None for r in rollouts]

def endless(rollouts):
    return [float("inf") for r in rollouts]

def one(rollouts):
    return [1.0]

def broken(rollouts):
    raise RuntimeError("no\\nservice")
"""
    (tmp_path / "own_reward.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    cases = [rollout("harmful", "four"), rollout("task", "")]
    found = custom("own_reward:short")(cases)
    assert found.total[0] == 0.25
    assert math.isnan(found.total[1])
    assert all(map(math.isnan, custom("own_reward:endless")(cases).total))
    with pytest.raises(BadInput, match="gave 1 numbers for 2 rollouts"):
        custom("own_reward:one")(cases)

    said: list[str] = []
    spared = forgiving(custom("own_reward:broken"), said.append)
    assert all(map(math.isnan, [*spared(cases).total, *spared(cases).total]))
    assert said == ["the reward failed, its rollouts are unscored: RuntimeError: no service"]  # told once
    with pytest.raises(BadInput):
        forgiving(custom("own_reward:one"), said.append)(cases)


def test_numbers_of_any_library_come_out_as_pythons_own() -> None:
    def odd(rollouts: object) -> Any:
        parts = {
            "numpy": np.array([1, 2], dtype=np.float32), "scalars": list(np.array([0.5, np.inf])), "tensor": torch.tensor([1, 0]),
            7: [None, True],
        }  # fmt: skip
        return Rewards([1, -math.inf], parts, np.array([0.5, 1]), torch.tensor([0.25, math.nan]), np.True_)  # type: ignore[arg-type]

    found = forgiving(odd, print)([rollout("benign", "a"), rollout("benign", "b")])
    assert str(found.total) == "[1.0, nan]"
    shown = "{'numpy': [1.0, 2.0], 'scalars': [0.5, nan], 'tensor': [1.0, 0.0], '7': [nan, 1.0]}"
    assert str(found.parts) == shown
    assert (str(found.thought), str(found.reply), found.collapsed) == ("[0.5, 1.0]", "[0.25, nan]", "True")
    said: list[str] = []
    wrong = forgiving(lambda rs: Rewards([1.0], {"why": ["good"]}), said.append)([rollout("benign", "a")])  # type: ignore[list-item]
    assert math.isnan(wrong.total[0])
    assert len(said) == 1


def test_one_signal_may_not_be_reward_and_judge_unless_the_recipe_knows() -> None:
    rules = JudgeConfig(harm="keyword")
    recipe = Recipe.model_validate({"reinforce": {"reward": "keyword"}, "judge": {"harm": "keyword"}})
    with pytest.raises(BadInput, match="the reward and the judge are one signal"):
        check_independence(recipe, build_judge(rules))
    known = recipe.model_copy(update={"judge": JudgeConfig(harm="keyword", shared_with_reward=True)})
    assert len(check_independence(known, build_judge(known.judge))) == 1
    assert check_independence(recipe, build_judge(JudgeConfig())) == []
    assert check_independence(Recipe(), build_judge(rules)) == []


def test_two_word_lists_are_two_signals_and_one_classifier_is_one() -> None:
    settings = RewardConfig(words="a.txt", classifier="/models/guard")
    assert reward_source("keyword", settings).endswith("/a.txt")
    assert reward_source("keyword", RewardConfig()) == "keyword"
    assert reward_source("classifier", settings) == reward_source("classifier", RewardConfig(classifier="/models/./guard"))
    assert reward_source("own:reward", settings) == "own:reward"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"curate": {"world": "files"}}, "the embedded model knows only the micro-world"),
        (
            {"curate": {"world": "files"}, "model": "own/model", "judge": {"harm": "microworld"}},
            "the micro-world's judge cannot read other prompts",
        ),
        ({"model": "/no/such/folder"}, "no such model folder"),
        ({"reinforce": {"reward": "orcale"}}, "no reward 'orcale'"),
        ({"judge": {"harm": "classifier"}}, "no classifier to judge harm with"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(settings: dict, line: str) -> None:
    with pytest.raises(BadInput, match=line):
        check(Recipe.model_validate(settings))
