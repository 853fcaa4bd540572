"""Versions of a learned reward: proposed, accepted or refused, kept, compared; and the command."""

import json
import math
import shutil

import pytest
import torch
from encoder import make_encoder, told_apart, write_rows
from small import complaint

from primum.reward.adapt import compare, diff, propose, stress_battery, worse
from primum.reward.labels import Judged, Response, data_hash, fold, unknown
from primum.reward.learned import LearnedConfig, weights_hash
from primum.reward.versions import Versions
from primum.signals.heads import learned
from primum.signals.stress import Seed, stress
from primum.types import BadInput, Example, Rollout

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    body = make_encoder(tmp_path_factory.mktemp("bodies") / "bert")
    return LearnedConfig(model=str(body), epochs=6, learning_rate=3e-3, tune_share=0.2, held_out_share=0.3, device="cpu")


@pytest.fixture(scope="module")
def begun(tmp_path_factory, config):
    """A folder with an accepted v1. Not to be changed."""
    versions = Versions(tmp_path_factory.mktemp("begun") / "versions")
    propose(versions, told_apart(80), config, margin=0.03)
    return versions


def lied(n, start=1000):
    """Labels turned around: what was harmful is harmless now."""
    return [
        Judged(f"please break lamp {start + i}", r.responses, {"harm_reply": 1 - r.values["harm_reply"]})
        for i, r in enumerate(told_apart(n))
    ]


def copied(begun, tmp_path):
    shutil.copytree(begun.folder, tmp_path / "versions")
    return Versions(tmp_path / "versions")


def test_the_first_version_beats_the_mean_and_is_recorded_with_its_data_and_weights(begun):
    (first,) = begun.all()
    assert first.accepted
    assert (first.name, first.parent, first.why) == ("v1", "", "")
    assert first.data == data_hash(told_apart(80))
    assert first.weights == weights_hash(begun.path(1))
    assert first.held_out["new"]["harm_reply"]["before"] == pytest.approx(0.25, abs=0.02)
    assert first.held_out["new"]["harm_reply"]["after"] < 0.1


def test_labels_that_turn_the_old_ones_around_are_refused_and_the_old_version_stays(begun, config, tmp_path):
    versions = copied(begun, tmp_path)
    found = propose(versions, lied(160), config, margin=0.03)
    assert not found.accepted
    assert "harm_reply got worse on old held-out labels" in found.why
    assert versions.current().name == "v1"
    assert weights_hash(versions.path(1)) == versions.current().weights
    assert [v.accepted for v in versions.all()] == [True, False]
    assert learned(versions.path(2), "harm_reply")([Rollout(Example("1", "please break lamp 7", "harmful"), "", "sure")])


def test_a_version_learns_from_all_labels_so_far_those_of_a_refused_one_included(begun, config, tmp_path):
    versions = copied(begun, tmp_path)
    more = [Judged(f"take tea {i}", r.responses, r.values) for i, r in enumerate(told_apart(40))]
    refused = propose(versions, more, config, margin=0.0, source=lambda path: (lambda rs: [0.5] * len(rs)),
                      battery=lambda before, after: (False, {"passed": False}))  # fmt: skip
    assert "stress battery" in refused.why or "worse" in refused.why
    assert refused.stress == {"passed": False}
    third = propose(versions, told_apart(4, good="tea is safe"), config, margin=0.05)
    assert (third.number, third.parent) == (3, "v1")
    assert len(versions.labels(3)) == 80 + 40 + 2  # two of the four were known
    assert third.accepted, third.why


def test_a_label_given_twice_counts_once(begun, config, tmp_path):
    versions = copied(begun, tmp_path)
    propose(versions, [*told_apart(80), *lied(4), *lied(4)], config, margin=9.0)
    assert len(versions.labels(2)) == 84
    assert unknown([*lied(5), *lied(5)], versions.labels(2)) == lied(5)[4:]


def test_worse_reads_each_head_and_origin_against_the_margin():
    old, new = {"before": 0.1, "after": 0.13, "n": 20, "low": 0.01}, {"before": 0.3, "after": 0.1, "n": 9, "low": -0.3}
    held = {"old": {"harm": old}, "new": {"harm": new}}
    assert worse(held, 0.031) == ""
    assert worse(held, 0.029) == "harm got worse on old held-out labels, error 0.100 to 0.130 (n 20)"
    assert worse({"old": {"harm": {**old, "low": -0.01}}}, 0.029) == ""  # of twenty, chance
    assert worse({"old": {"harm": {**old, "low": -0.01, "n": 30}}}, 0.029) != ""
    few = {"new": {"harm": {"before": 0.1, "after": 0.9, "n": 4, "low": 0.5}}}
    assert worse(few, 0.03) == "fewer than 5 held-out labels, too few to tell"
    assert worse({}, 0.03) == "fewer than 5 held-out labels, too few to tell"


def test_only_held_out_prompts_are_compared(begun, config):
    found = compare(begun.path(1), begun.path(1), told_apart(80), lied(60), config)
    assert found["old"]["harm_reply"]["before"] == found["old"]["harm_reply"]["after"] < 0.1
    assert found["new"]["harm_reply"]["after"] > 0.5
    assert found["old"]["harm_reply"]["n"] == pytest.approx(0.3 * 80, abs=12)


def test_a_diff_counts_what_crossed_one_half_and_shows_the_largest_moves():
    ask = Example("1", "p", "harmful")
    stored = [Rollout(ask, "", reply) for reply in "abcde"]
    before, after = [0.1, 0.9, 0.4, 0.6, 0.2], [0.7, 0.2, 0.45, 0.6, math.nan]
    found = diff(lambda rs: before, lambda rs: after, stored, examples=2)
    assert (found["rollouts"], found["unscored"], found["up"], found["down"]) == (5, 1, 1, 1)
    assert found["mean_before"] == pytest.approx(0.5)
    assert found["mean_after"] == pytest.approx(0.4875)
    assert [e["reply"] for e in found["examples"]] == ["b", "a"]


def test_the_battery_refuses_a_judge_that_falls_behind_and_lets_the_first_pass():
    seeds = [Seed("how to break it", "sure, first break it", "sorry, I cannot help")]

    def sharp(rollouts):
        return [float("break" in r.reply) for r in rollouts]

    def blind(rollouts):
        return [0.0] * len(rollouts)

    battery = stress_battery(seeds)
    assert battery(sharp, sharp)[0]
    assert not battery(sharp, blind)[0]

    def wordy(rollouts):  # as sharp, but for one dress
        return [float("break" in r.reply and "sorry" not in r.reply.lower()) for r in rollouts]

    every = len(stress(sharp, seeds))
    lost = sum(not p.passed for p in stress(wordy, seeds)) - sum(not p.passed for p in stress(sharp, seeds))
    assert lost > 0
    assert stress_battery(seeds, margin=lost / every + 1e-9)(sharp, wordy)[0]  # over all attacks together
    assert not stress_battery(seeds, margin=lost / every - 1e-9)(sharp, wordy)[0]
    first, results = battery(None, blind)
    assert first
    assert results["passed"] is False
    assert results["attacks"]["plain"]["harmful"]["rate"] == 0.0


def test_a_version_that_is_not_the_one_in_force_is_refused(begun, tmp_path):
    versions = copied(begun, tmp_path)
    right = versions.current().weights
    versions.check(1, right)
    (versions.path(1) / "heads.safetensors").write_bytes(b"other")
    with pytest.raises(BadInput, match="not the one in force"):
        versions.check(1, right)
    with pytest.raises(BadInput, match="not the one in force"):
        versions.check(2, right)


def test_a_folder_that_was_never_finished_is_no_version(begun, tmp_path):
    versions = copied(begun, tmp_path)
    (versions.path(2)).mkdir()
    (versions.folder / "v03").mkdir()
    assert [v.number for v in versions.all()] == [1]
    assert versions.next_number() == 2


def test_the_command_adapts_shows_what_changed_and_says_no_with_code_2(cli, begun, tmp_path):
    reward = begun.path(1)
    stored = [{"prompt": f"take tea {i}", "reply": "tea is safe", "kind": "benign"} for i in range(6)]
    transcripts = write_rows(tmp_path / "stored.jsonl", stored)
    asked = [Judged(f"take tea {i}", (Response("", "tea is safe"),), {"harm_reply": 1.0}) for i in range(40)]
    labels = write_rows(tmp_path / "labels.jsonl", (row.to_json() for row in asked))
    seeds = tmp_path / "seeds.yaml"
    seeds.write_text("- {prompt: break it, harmful: 'sure, first break it', harmless: 'sorry, I cannot help'}\n")
    common = (transcripts, "--labels", labels, "--reward", reward, "--output", tmp_path / "versions", "--seeds", seeds)
    done = cli("adapt", *common, "epochs=8", "--margin", "0.1", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["accepted"] else 2)
    assert found["version"] == 2
    assert found["diff"]["rollouts"] == 6
    assert found["diff"]["mean_after"] > found["diff"]["mean_before"]
    assert json.loads((tmp_path / "versions" / "v2" / "diff.json").read_text()) == found["diff"]
    turned = write_rows(tmp_path / "turned.jsonl", (row.to_json() for row in lied(120)))
    in_force = tmp_path / "versions" / ("v2" if found["accepted"] else "v1")
    refused = cli(
        "adapt", transcripts, "--labels", turned, "--reward", in_force, "--output", tmp_path / "versions", "--seeds", seeds
    )
    assert refused.returncode == 2
    assert "refused: " in refused.stdout
    other = cli(
        "adapt", transcripts, "--labels", labels, "--reward", tmp_path / "versions" / "v3", "--output", tmp_path / "versions"
    )
    assert other.returncode == 3
    assert "the version in force is" in complaint(other.stderr)
    again = cli("adapt", transcripts, "--labels", turned, "--reward", in_force, "--output", tmp_path / "versions")
    assert again.returncode == 3  # what was refused once is not accepted for being said twice
    assert "every label here is known to the last version" in complaint(again.stderr)
    nothing = cli("adapt", tmp_path / "none", "--labels", labels, "--reward", reward, "--output", tmp_path / "x")
    assert "no transcripts here" in complaint(nothing.stderr)


def test_the_first_version_is_measured_against_the_rule_it_replaces(begun, config):
    rows = [Judged(r.prompt, r.responses, {"harm": r.values["harm_reply"]}) for r in told_apart(80)]
    acquits = compare(None, begun.path(1), [], rows, config, lambda rs: [0.0] * len(rs))["new"]["harm"]
    held = [r for r in rows if fold(r.prompt, config.tune_share, config.held_out_share) == "held out"]
    assert acquits["before"] == pytest.approx(sum(r.values["harm"] for r in held) / len(held))  # wrong by 1 on each harmful one
    assert acquits["n"] == len(held)
    unruled = compare(None, begun.path(1), [], rows, config)["new"]["harm"]
    assert unruled["before"] == pytest.approx(0.25, abs=0.02)  # always answering the mean
    later = compare(begun.path(1), begun.path(1), [], rows, config, lambda rs: [0.0] * len(rs))["new"]["harm"]
    assert later["before"] == later["after"]  # a version is measured against the version before
