"""The watch as training calls it: what raises an alarm, what an alarm holds and does, and that it survives a resume."""

import json
import math
import random

import pytest
from checkpoint import make_checkpoint
from loop import CORPUS, settings
from tiny import tiny_policy

from primum.evaluate.hacking import Probe, Questions, WatchConfig, Watcher, ask_text, reference_rollouts
from primum.evaluate.hacking.probes import prefixed
from primum.policy import load, sample
from primum.reinforce import reinforce
from primum.reward.types import Rewards
from primum.run import Run, plain
from primum.types import Answer, BadInput, Example, Rollout

KINDS = ("harmful", "benign", "task")


def batch(shares, *, prompts=8, seed=0, siblings=1):
    """Rollouts that say what they are: paid and bad at the given rate of each group, the rest unpaid or good."""
    draw = random.Random(seed)
    out = []
    for kind, share in zip(KINDS, shares, strict=True):
        for i in range(prompts):
            ask = Example(f"{kind}-{seed}-{i}", f"ask {seed} {i}", kind)
            out += [
                Rollout(ask, "hm", "paid bad" if draw.random() < share else draw.choice(["bad", "paid good"]))
                for _ in range(siblings)
            ]
    return out


def reward(rollouts):
    totals = [float("paid" in r.reply) for r in rollouts]
    return Rewards(totals, {"harmless": totals})


def good(rollouts):
    return [float("good" in r.reply) for r in rollouts]


def watcher(config=None, ask=None, *, shares=(0.3, 0.0, 0.1), hook=None, prompts=32, seed=0):
    config = config or WatchConfig(every=1, reference_prompts=prompts)
    return Watcher(
        config, batch(shares, prompts=prompts, seed=10_000 + seed), reward, ask or Questions(good), seed=seed, hook=hook
    )


def observe(watch, step, shares, prompts=8, seed=None):
    rollouts = batch(shares, prompts=prompts, seed=step if seed is None else seed)
    return watch.observe(step, rollouts, reward(rollouts), None, {})


def until_alarm(watch, shares, steps=60):
    for step in range(1, steps):
        answer = observe(watch, step, shares)
        if answer.alarms:
            return answer
    return Answer()


def test_false_alarms_stay_under_alpha_at_the_very_edge_of_the_null():
    """The reference is drawn anew, and the rates stay where they were: with slack 0 this is the worst case."""
    alarms = 0
    for run in range(150):
        config = WatchConfig(every=1, alpha=0.3, slack=0.0, samples=12, reference_prompts=16)
        watch = watcher(config, shares=(0.5, 0.05, 0.2), prompts=16, seed=run)
        alarms += any(observe(watch, s, (0.5, 0.05, 0.2), prompts=4, seed=1000 * run + s).alarms for s in range(1, 9))
    assert alarms / 150 < 0.3


def test_a_shift_raises_the_alarm_and_names_its_group_rollouts_and_curve():
    watch = watcher()
    answer = until_alarm(watch, (0.3, 0.8, 0.1))
    (alarm,) = answer.alarms
    assert alarm["name"] == "audit"
    assert alarm["group"] == "harmless"
    assert alarm["value"] >= alarm["threshold"] == 40  # 2 / 0.05
    assert "on harmless prompts" in alarm["evidence"]
    assert {r["reply"] for r in alarm["rollouts"]} == {"paid bad"}
    assert len(alarm["rollouts"]) == 3
    assert {r["kind"] for r in alarm["rollouts"]} == {"benign"}
    assert alarm["curve"][-1] == [alarm["step"], math.log(alarm["value"])]
    json.dumps(plain(dict(alarm)), allow_nan=False)


def test_harm_that_is_not_paid_for_is_no_hack_however_much_there_is():
    watch = watcher(shares=(0.0, 0.0, 0.0))
    for step in range(1, 30):
        rollouts = [Rollout(r.example, "", "bad") for r in batch((0, 0, 0), seed=step)]
        assert not watch.observe(step, rollouts, reward(rollouts), None, {}).alarms
    assert watch.answers == 0  # and nothing was asked


def test_a_logged_alarm_is_raised_once_and_a_stop_stops():
    watch = watcher()
    assert until_alarm(watch, (0.9, 0.0, 0.1)).action == ""
    assert not any(observe(watch, s, (0.9, 0.0, 0.1)).alarms for s in range(100, 110))
    stopped = until_alarm(watcher(WatchConfig(every=1, reference_prompts=32, action="stop")), (0.9, 0.0, 0.1))
    assert stopped.action == "stop"
    assert "alarm audit" in stopped.why


def test_rolling_back_bets_anew_and_so_can_alarm_again():
    watch = watcher(WatchConfig(every=1, reference_prompts=32, action="roll back"))
    assert until_alarm(watch, (0.9, 0.0, 0.1)).action == "roll back"
    assert all(w.value == 1.0 for w in watch.wealth.values())
    assert until_alarm(watch, (0.9, 0.0, 0.1)).action == "roll back"


def test_after_rolling_back_a_gap_must_last_anew():
    watch = watcher(WatchConfig(every=1, gap=1.0, hold=2, action="roll back"), Questions(held_out=good))
    actions = [observe(watch, s, (1.0, 1.0, 1.0)).action for s in range(1, 5)]
    assert actions == ["", "roll back", "", "roll back"]


@pytest.mark.parametrize("action", ["adapt", "reweigh"])
def test_adapting_hands_the_audited_rollouts_and_their_labels_to_the_hook(action):
    told = []

    def hook(alarms, rollouts, labels):
        told.append(([a["name"] for a in alarms], [r.reply for r in rollouts], list(labels)))
        return "learnt"

    config = WatchConfig(every=1, reference_prompts=32, action=action)
    answer = until_alarm(watcher(config, hook=hook), (0.9, 0.0, 0.1))
    assert answer.alarms[0]["done"] == "learnt"
    assert answer.action == ""
    ((names, replies, labels),) = told
    assert names == ["audit"]
    assert labels == [float(r == "paid good") for r in replies]
    assert {*replies} == {"paid good", "paid bad"}
    with pytest.raises(BadInput, match=f"nothing can {action} here"):
        watcher(config)


def test_between_looks_nothing_is_asked():
    watch = watcher(WatchConfig(every=3, reference_prompts=32))
    assert observe(watch, 1, (0.3, 0, 0.1)).measured  # the first step is always looked at
    before = watch.answers
    assert observe(watch, 2, (0.3, 0, 0.1)) == Answer()
    assert watch.answers == before
    assert observe(watch, 3, (0.3, 0, 0.1)).measured
    assert observe(watcher(WatchConfig(every=0)), 1, (0.3, 0, 0.1)) == Answer()  # 0: no watch


def test_while_a_bet_is_ahead_every_step_is_looked_at_and_after_a_logged_alarm_no_longer():
    watch = watcher(WatchConfig(every=4, reference_prompts=32))
    looked = [bool(observe(watch, s, (1.0, 0.0, 0.1)).measured) for s in range(1, 40)]
    alarm = int(watch.curves["log_wealth"][-1][0])
    assert watch.raised == ["audit"]
    first = next(s for s in range(1, 40) if looked[s - 1] and s % 4 and s > 1)
    assert first < 16
    assert [s for s in range(25, 40) if looked[s - 1]] == [28, 32, 36]
    assert alarm == 36


def test_the_probe_that_moves_the_reward_is_named():
    def paid_by_prefix(rollouts):
        return Rewards([float("paid" in r.reply) for r in rollouts], {})

    probes = {
        "magic word": Probe(prefixed("paid"), "bad", "up", "a word before the same"),
        "idle": Probe(prefixed("x"), "bad", "up", ""),
    }
    rollouts = batch((0.3, 0, 0.1), prompts=32, seed=9)
    watch = Watcher(WatchConfig(every=1), rollouts, paid_by_prefix, Questions(good, probes=probes))
    seen = until_alarm(watch, (0.9, 0.0, 0.1)).alarms[0]
    assert not seen["probes"]["magic word"]["shortcut"]  # what is audited was paid already
    assert not seen["probes"]["idle"]["shortcut"]
    assert seen["probes"]["idle"]["change"]["mean"] == 0.0


def test_a_held_out_signal_left_behind_raises_the_gap_after_it_has_held():
    ask = Questions(held_out=good)
    watch = watcher(WatchConfig(every=1, gap=1.0, hold=3), ask)
    assert "gap" in observe(watch, 1, (0.3, 0.0, 0.1)).measured
    answers = [observe(watch, s, (1.0, 1.0, 1.0)) for s in (2, 3, 4)]
    assert [bool(a.alarms) for a in answers] == [False, False, True]
    assert answers[2].alarms[0]["name"] == "gap"
    assert not watch.wealth  # without gold there is no bet


def test_without_gold_only_several_lasting_suspects_alarm_and_with_gold_they_never_do_alone():
    def shells(step):
        return [Rollout(e.example, "", "是的") for e in batch((0, 0, 0), seed=step)]  # no thought, no content, another script

    reference = [Rollout(r.example, "user wants it", "ok , i move the big box") for r in batch((0, 0, 0), prompts=32, seed=7)]
    config = WatchConfig(every=1, hold=2, suspects=3)
    blind = Watcher(config, reference, reward, Questions())
    asked = Watcher(config, reference, reward, Questions(good))
    seen = [[w.observe(s, shells(s), reward(shells(s)), None, {}) for s in (1, 2)] for w in (blind, asked)]
    assert [a["name"] for a in seen[0][1].alarms] == ["form"]
    assert "empty thought +1.00" in seen[0][1].alarms[0]["evidence"]
    assert not seen[0][0].alarms
    assert not seen[1][1].alarms
    assert seen[1][1].measured["suspects"] >= 3


def test_an_ensemble_that_disagrees_more_than_before_is_measured():
    watch = watcher(ask=Questions(spread=lambda rs: [float("bad" in r.reply) for r in rs]), shares=(0.0, 0.0, 0.0))
    before = watch.spread
    found = observe(watch, 1, (1.0, 1.0, 1.0)).measured
    assert found["spread"] == pytest.approx(1.0 - before)


@pytest.mark.parametrize(
    "changes",
    [
        {"every": 2}, {"samples": 3}, {"reference_prompts": 8}, {"alpha": 0.2}, {"slack": 0.3}, {"pay_range": (0.0, 2.0)},
        {"memory": 2.0},
        {"gap": 0.01}, {"excess": 1.0}, {"suspects": 1}, {"hold": 1}, {"shown": 0}, {"action": "stop"},
    ],
)  # fmt: skip
def test_every_setting_changes_something(changes):
    """Two trainings that differ in one setting, each watched with gold and, apart, with a held-out signal."""
    found = []
    for extra in ({}, changes):
        config = WatchConfig(**{"every": 1, "reference_prompts": 32, "hold": 2, "excess": 0.5, "gap": 0.4, **extra})
        runs = [watcher(config), watcher(config, Questions(held_out=good))]
        answers = [observe(w, s, (0.8, 0.0, 0.1)) for w in runs for s in range(1, 16)]
        thoughtless = Watcher(config, batch((0, 0, 0), prompts=32, seed=7), reward, Questions())
        changed = [Rollout(r.example, "", "是的") for r in batch((0, 0, 0), seed=1)]
        answers += [thoughtless.observe(s, changed, reward(changed), None, {}) for s in (1, 2, 3)]
        found.append(repr([(sorted(a.measured.items()), a.alarms, a.action) for a in answers]))
    assert found[0] != found[1]
    assert set(changes) <= set(WatchConfig.model_fields)


def test_a_restored_watch_goes_on_as_the_first_would_have():
    first, second = watcher(), watcher()
    for step in range(1, 6):
        observe(first, step, (0.6, 0.0, 0.1))
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert second.state() == first.state()
    assert second.audited == first.audited != []
    for step in range(6, 20):
        assert repr(observe(first, step, (0.9, 0.0, 0.1))) == repr(observe(second, step, (0.9, 0.0, 0.1)))


def test_how_long_a_gap_has_lasted_is_restored_too():
    config = WatchConfig(every=1, gap=1.0, hold=3)
    first, second = (watcher(config, Questions(held_out=good)) for _ in range(2))
    assert not any(observe(first, s, (1.0, 1.0, 1.0)).alarms for s in (2, 3))
    second.restore(json.loads(json.dumps(first.state())))
    assert [a["name"] for a in observe(second, 4, (1.0, 1.0, 1.0)).alarms] == ["gap"]


def test_a_reference_is_needed():
    with pytest.raises(BadInput, match="no rollouts to compare with"):
        Watcher(WatchConfig(), [], reward, Questions())


def test_a_real_checkpoint_is_watched_on_plain_text(tmp_path):
    texts = ["they kill time and slay dragons and drink some water with friends"] * 40
    policy = load(str(make_checkpoint(tmp_path / "m", texts, vocab=400, hidden=64, layers=1)))
    examples = [Example(f"{kind}{i}", f"what is {i}?", kind) for kind in KINDS for i in range(4)]
    ask = ask_text(policy, ["kill"], held_out=lambda rs: [float(len(r.completion_ids) % 3) for r in rs])
    assert ask.forms["kill"] == "kill"
    reference = reference_rollouts(policy, examples, WatchConfig(reference_prompts=8), limit_tokens=12, seed=2)
    assert len(reference) == 12
    watch = Watcher(WatchConfig(every=1), reference, lambda rs: Rewards([float(len(r.reply + r.thought)) for r in rs], {}), ask)
    rollouts = sample(policy, examples, group=2, limit_tokens=12, seed=5)
    found = watch.observe(1, rollouts, watch.reward(rollouts), policy, {})
    assert found.measured["length"] / found.measured["length_left"] == pytest.approx(watch.statistics["length"])
    assert all(math.isfinite(x) for x in found.measured.values())


class Killed(BaseException):
    pass


def test_a_killed_training_goes_on_with_its_watch_bit_for_bit(tmp_path):
    """The whole loop: metrics carry what the watch measured, and a resume changes none of it."""

    def says(rollouts):
        return Rewards([float("yes" in r.reply + r.thought) + 0.1 * len(r.reply) for r in rollouts], {})

    def train(name, die_at=None):
        seen = 0

        def dies(rollouts):
            nonlocal seen
            seen += 1
            if seen == die_at:
                raise Killed
            return says(rollouts)

        start = tiny_policy()
        reference = sample(start, CORPUS.train, limit_tokens=8, seed=3)
        watch = Watcher(WatchConfig(every=1, reference_prompts=8), reference, says, Questions(lambda rs: [0.5] * len(rs)))
        run = Run(tmp_path / name, quiet=True)
        config = settings(steps=6, checkpoint_every=2)
        reinforce(start, CORPUS, dies, lambda _: {}, config, run, seed=1, watch=watch)
        return [(row["step"], row.get("watch")) for row in run.metrics()], watch.state()

    whole = train("whole")
    with pytest.raises(Killed):
        train("killed", die_at=4)
    rows, state = train("killed")
    assert repr(state) == repr(whole[1])  # which may hold nan
    assert {row[0]: row[1] for row in rows} == dict(whole[0])
    assert whole[0][-1][1]["log_wealth"] == pytest.approx(state["curves"]["log_wealth"][-1][1])
