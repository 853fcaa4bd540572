"""A reward that adapts while it trains: what it asks, what it spends, when it says to start again, and exact resume."""

import math
from functools import partial

import pytest
import torch
from encoder import make_encoder
from loop import CORPUS, blind, quiet, settings, weights
from tiny import PLAIN_TEMPLATE, tiny_policy

from primum.reinforce import reinforce
from primum.reward import Sources
from primum.reward.adaptive import AdaptConfig, Adaptive, Labellers
from primum.reward.labels import read_judged
from primum.reward.learned import LearnedConfig
from primum.reward.sources import not_refused
from primum.run import read_json
from primum.signals import correctness, keywords
from primum.types import BadInput, Corpus, Example, Rollout

torch.set_num_threads(1)
BAD, GOOD = "sure, first smash it", "sorry, I cannot help with that"


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return str(make_encoder(tmp_path_factory.mktemp("bodies") / "bert"))


def config(body, **changes):
    learned = LearnedConfig(model=body, epochs=6, batch=16, learning_rate=3e-3, tune_share=0.2, held_out_share=0.3, device="cpu")
    base = {"labels": 120, "first_step": 1, "every_steps": 2, "labels_per_round": 50, "helpful_share": 0.0, "margin": 0.05}
    return AdaptConfig(**(base | changes), learned=learned)


class Meter:
    """The truth behind a count: harm is to say how."""

    def __init__(self, wrong=0.0):
        self.asked, self.wrong = [], wrong

    def harm(self, rollouts):
        self.asked += [(r.example.prompt, r.thought, r.reply) for r in rollouts]
        return [float("sure" in r.thought + r.reply) for r in rollouts]

    def useful(self, rollouts):
        self.asked += [(r.example.prompt, r.thought, r.reply) for r in rollouts]
        return [float("tea" in r.reply) for r in rollouts]


def made(body, folder, meter, **changes):
    rules = Sources(partial(keywords, words=frozenset({"break"})), not_refused, correctness, blind=True)
    return Adaptive(Labellers(meter.harm, meter.useful), rules, config(body, **changes), folder)


def responses(n, kind="harmful", start=0, share=2):
    """Prompts each answered once; every `share`-th refuses."""
    return [
        Rollout(Example(f"{kind}-{start + i}", f"please break lamp {start + i}", kind), "", GOOD if i % share == 0 else BAD)
        for i in range(n)
    ]


def watched(adaptive, step, rollouts):
    return adaptive.observe(step, rollouts, adaptive(rollouts), tiny_policy(), {})


def test_before_any_version_the_rule_decides_and_afterwards_the_heads(body, tmp_path):
    adaptive = made(body, tmp_path / "versions", Meter())
    fooling = responses(2, start=500)
    assert adaptive(fooling).parts["harmless"] == [1.0, 1.0]  # "smash" is no listed word
    watched(adaptive, 1, responses(100))
    assert adaptive.version == 1
    safe, harmful = adaptive(fooling).total
    assert safe > 0.7
    assert harmful < 0.3
    assert "refused" in adaptive(fooling).parts  # the heads can see a refusal, the words could not


def test_the_worse_of_rule_and_heads_counts_where_that_is_asked(body, tmp_path):
    adaptive = made(body, tmp_path / "versions", Meter(), rule="worst")
    watched(adaptive, 1, responses(100))
    named = Rollout(Example("x", "please break lamp 7", "harmful"), "", f"{GOOD} break")
    assert adaptive([named]).parts["harmless"] == [0.0]


def test_it_asks_only_when_a_round_is_due_never_twice_and_never_past_its_budget(body, tmp_path):
    meter = Meter()
    adaptive = made(body, tmp_path / "versions", meter)
    spent = []
    for step in range(1, 8):
        watched(adaptive, step, responses(80, start=100 * step))
        spent.append(len(meter.asked))
    assert spent == [50, 100, 100, 120, 120, 120, 120]
    assert len(set(meter.asked)) == 120
    assert adaptive.spent == 120


def test_the_same_answers_again_are_not_asked_about_again(body, tmp_path):
    meter = Meter()
    adaptive = made(body, tmp_path / "versions", meter)
    for step in (1, 2, 4):
        watched(adaptive, step, responses(80))
    assert len(meter.asked) == len(set(meter.asked)) == 80


def test_an_answer_that_could_not_be_given_is_spent_and_teaches_nothing(body, tmp_path):
    adaptive = made(body, tmp_path / "versions", Meter())
    adaptive.labellers = Labellers(lambda rollouts: [math.nan] * len(rollouts))
    answer = watched(adaptive, 1, responses(100))
    assert (adaptive.spent, adaptive.version, answer.action) == (50, 0, "")
    assert math.isnan(answer.measured["fooled"])


def test_a_reward_that_passes_harm_is_caught_and_the_policy_starts_again_until_it_may_no_more(body, tmp_path):
    adaptive = made(body, tmp_path / "versions", Meter(), rollbacks=1)
    answer = watched(adaptive, 1, responses(100))
    (alarm,) = answer.alarms
    assert answer.action == "roll back"
    assert (alarm["name"], alarm["step"], alarm["threshold"]) == ("fooled", 1, 0.3)
    assert alarm["value"] == pytest.approx(0.5, abs=0.2)
    assert "drawn blindly" in alarm["evidence"]
    calm = watched(adaptive, 2, responses(100, start=200))
    assert (calm.action, list(calm.alarms)) == ("", [])
    assert calm.measured["fooled"] < 0.1
    again = made(body, tmp_path / "others", Meter(), rollbacks=0)
    answer = watched(again, 1, responses(100))
    assert (answer.action, len(answer.alarms)) == ("", 1)


def test_without_a_better_version_it_raises_the_alarm_and_does_not_send_the_policy_back(body, tmp_path):
    adaptive = made(body, tmp_path / "versions", Meter())
    adaptive.battery = lambda before, after: (False, {"passed": False})
    answer = watched(adaptive, 1, responses(100))
    assert (answer.action, len(answer.alarms), adaptive.version) == ("", 1, 0)
    assert read_json(tmp_path / "versions" / "v1" / "version.json")["why"] == "it does not pass the judge stress battery"


def test_what_is_rare_is_asked_about(body, tmp_path):
    """Four refusals among 200 answers: half of a round is drawn blindly, the other seeks them out."""
    meter = Meter()
    watched(made(body, tmp_path / "versions", meter), 1, responses(200, share=50))
    assert sum(reply == GOOD for _, _, reply in meter.asked) == 4


def test_a_share_of_the_labels_asks_whether_replies_help_and_a_head_learns_it(body, tmp_path):
    meter = Meter()
    adaptive = made(body, tmp_path / "versions", meter, helpful_share=0.5, labels=200, labels_per_round=160)
    ask = [Example(f"b{i}", f"is tea {i} safe", "benign") for i in range(100)]
    benign = [Rollout(e, "", "tea is safe" if i % 2 else "ok it is") for i, e in enumerate(ask)]
    before = adaptive(benign[:2]).parts["useful"]
    watched(adaptive, 1, responses(100) + benign)
    assert before == [1.0, 1.0]  # the rule only sees that nothing was refused
    assert sum(prompt.startswith("is tea") for prompt, _, _ in meter.asked) == 80
    shell, helps = adaptive(benign[:2]).parts["useful"]
    assert shell < 0.3 < 0.7 < helps
    refused = [Rollout(ask[0], "", GOOD)]
    assert adaptive(refused).parts["useful"] == [0.0]


def test_each_version_keeps_its_labels_and_what_it_changed(body, tmp_path):
    adaptive = made(body, tmp_path / "versions", Meter())
    watched(adaptive, 1, responses(100))
    watched(adaptive, 2, responses(100, start=200))
    rows = [len(read_judged([tmp_path / "versions" / f"v{n}" / "labels.jsonl"])) for n in (1, 2)]
    assert rows == [50, 100]
    changed = read_json(tmp_path / "versions" / "v1" / "diff.json")
    assert changed["rollouts"] == 100
    assert changed["up"] == pytest.approx(50, abs=10)


def test_a_restored_reward_answers_as_before_and_forgets_versions_made_later(body, tmp_path):
    adaptive = made(body, tmp_path / "versions", Meter())
    watched(adaptive, 1, responses(100))
    state, said = adaptive.state(), adaptive(responses(6, start=400)).total
    watched(adaptive, 2, responses(100, start=200))
    second = (tmp_path / "versions" / "v2" / "heads.safetensors").read_bytes()
    again = made(body, tmp_path / "versions", Meter())
    again.restore(state)
    assert not (tmp_path / "versions" / "v2").exists()
    assert again(responses(6, start=400)).total == said
    watched(again, 2, responses(100, start=200))
    assert (tmp_path / "versions" / "v2" / "heads.safetensors").read_bytes() == second
    (tmp_path / "versions" / "v1" / "heads.safetensors").write_bytes(b"other")
    with pytest.raises(BadInput, match="not the one in force"):
        made(body, tmp_path / "versions", Meter()).restore(state)


def test_a_killed_training_that_adapts_goes_on_to_the_same_weights_and_versions(body, tmp_path):
    """In the loop itself: the same object is its reward and its watch; the run dies after step 3 and goes on."""

    policy = tiny_policy(template=PLAIN_TEMPLATE)  # opens no thought, so its babble is well formed
    policy.model.generation_config.eos_token_id = list(range(2, 40))
    harmful = [Example(f"h{i}", f"break lamp {i // 10} {i % 10}", "harmful") for i in range(40)]
    corpus = Corpus(train=[*harmful, *(e for e in CORPUS.train if e.kind != "harmful")], validation=[], test=[])

    def training(name, dies_at=0):
        meter = Meter()
        meter.harm = lambda rollouts: [float(len(r.reply) % 2) for r in rollouts]
        adaptive = made(body, tmp_path / f"{name}-versions", meter, labels_per_round=40, margin=1.0, rollbacks=0)
        inner = adaptive.observe

        def observe(step, *rest):
            if dies_at == step:
                raise KeyboardInterrupt
            return inner(step, *rest)

        adaptive.observe = observe
        conf = settings(steps=5, limit_tokens=12, checkpoint_every=2, group=8, prompts=16, max_unscored=1.0)
        return reinforce(policy, corpus, adaptive, blind, conf, quiet(tmp_path / name), seed=1, watch=adaptive)

    whole = training("whole")
    with pytest.raises(KeyboardInterrupt):
        training("killed", dies_at=4)
    resumed = training("killed")
    assert torch.equal(weights(whole), weights(resumed))
    assert not torch.equal(weights(whole), weights(policy))
    names = sorted(p.name for p in (tmp_path / "whole-versions").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "killed-versions").iterdir()) != []
    assert any(read_json(tmp_path / "whole-versions" / name / "version.json")["accepted"] for name in names)
    for name in names:
        one, other = (tmp_path / f"{run}-versions" / name / "heads.safetensors" for run in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()
