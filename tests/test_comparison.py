"""`primum compare`: differences worked out by hand, what may be claimed, seeds, and a page that holds every sample."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_run
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from primum.cli import app
from primum.comparison import Arm, Evaluated, compare, markdown, read_evaluation, write_page
from primum.comparison.arms import read_run
from primum.comparison.metrics import better, claimed
from primum.comparison.page import page
from primum.comparison.pairs import kept_words, shared, verdict
from primum.comparison.pareto import front, tradeoff
from primum.comparison.samples import packed
from primum.evaluate import Measured
from primum.evaluate.suites import SUITES
from primum.evaluation import EvaluationConfig, evaluate
from primum.intervals import iqm
from primum.run import Run, plain
from primum.significance import equivalent, not_inferior, sign_flip
from primum.sizes import detectable_paired
from primum.types import BadInput, Example, Rollout

HOSTILE = "</script><script>alert(1)</script><img src=http://x onerror=alert(2)> \"'&\u2028"
NAN = math.nan


def harmful(number: int, harm: float, *, meaning: str = "", prompt: str = "", reply: str = "r", **changes: Any) -> Measured:
    example = Example(f"h{number}", prompt or f"ask {number}", "harmful", "H1", meaning=meaning)
    return Measured(Rollout(example, "t", reply, **changes), harm, 0.0, 1 - harm, NAN, NAN, 0.0, 0.0, NAN)


def task(number: int, correct: float) -> Measured:
    return Measured(Rollout(Example(f"t{number}", f"{number} + 1", "task"), "t", "r"), NAN, NAN, 0.0, NAN, correct, 0.0, 0.0, NAN)


def evaluated(rows: dict[str, list[Measured]], **changes: Any) -> Evaluated:
    made = {"judge": "exact", "digests": {"harm_in_reply": "j"}, "sampling": {"temperature": 0.6}, "data": "d"}
    return Evaluated(Path("somewhere"), rows, **{**made, **changes})


def harms(values: Sequence[float], **changes: Any) -> Evaluated:
    return evaluated({"harm": [harmful(i, v) for i, v in enumerate(values)]}, **changes)


def arms(**seeds: Evaluated | list[Evaluated]) -> list[Arm]:
    return [Arm(name, tuple(s) if isinstance(s, list) else (s,)) for name, s in seeds.items()]


def row(found: dict[str, Any], suite: str = "harm", metric: str = "harm", arm: str = "safe") -> dict[str, Any]:
    return next(r for r in found["pairs"] if (r["suite"], r["metric"], r["b"]) == (suite, metric, arm))


def unpacked(html: str) -> list[dict[str, Any]]:
    """The prompts that a page holds."""
    parts = re.findall(r'<script type="text/plain" class="rollouts-part">([A-Za-z0-9+/=]*)</script>', html)
    return [item for part in parts for item in json.loads(gzip.decompress(base64.b64decode(part)))]


def test_a_difference_its_test_and_holm_are_those_worked_out_by_hand() -> None:
    base = evaluated({"harm": [harmful(i, 1.0) for i in range(10)], "task": [task(i, i < 8) for i in range(10)]})
    safe = evaluated({"harm": [harmful(i, float(i >= 8)) for i in range(10)], "task": [task(i, i < 8) for i in range(10)]})
    found = compare(arms(base=base, safe=safe))
    harm = row(found)
    assert (harm["before"], harm["after"], harm["difference"]["mean"]) == (1.0, 0.2, -0.8)
    assert (harm["test"], harm["gained"], harm["lost"], harm["p"]) == ("McNemar", 0, 8, 2 / 2**8)
    assert found["family"] == 2  # harm and accuracy; safe, refused, lengths are described only
    assert harm["holm"] == 2 * 2 / 2**8
    assert harm["verdict"] == "better"
    accuracy = row(found, "task", "accuracy")
    assert (accuracy["p"], accuracy["holm"], accuracy["difference"]["mean"]) == (1.0, 1.0, 0.0)
    assert accuracy["verdict"].startswith("no difference shown (could have seen ")
    assert accuracy["kept"]["verdict"] == "undecided"  # ten prompts cannot tell 2 points
    assert row(found, "harm", "safe")["verdict"] == ""


def test_a_significant_difference_below_what_the_design_can_see_is_not_claimed() -> None:
    base, safe = harms([1.0] * 6 + [0.0] * 294), harms([0.0] * 300)
    found = row(compare(arms(base=base, safe=safe)))
    assert found["holm"] == 2 / 2**6  # 0.031
    least = detectable_paired(300, 1.0) ** 2
    assert found["detectable"] == pytest.approx(least)
    assert 0.02 < least < 0.027
    assert found["verdict"] == "not claimed: smaller than this design can see (2.6 points)"
    more = row(compare(arms(base=harms([1.0] * 9 + [0.0] * 291), safe=safe)))
    assert (round(more["difference"]["mean"], 9), more["verdict"]) == (-0.03, "better")


@pytest.mark.parametrize(
    ("difference", "p", "least", "side", "said"),
    [
        (-0.2, 0.01, 0.1, "lower", "better"),
        (0.2, 0.01, 0.1, "lower", "worse"),
        (0.2, 0.01, 0.1, "higher", "better"),
        (0.05, 0.01, 0.1, "higher", "not claimed: smaller than this design can see (x)"),
        (0.05, 0.01, NAN, "higher", "not claimed: too few to see any"),
        (0.2, 0.05, 0.1, "higher", "no difference shown (could have seen x or more)"),
        (0.2, 0.5, NAN, "higher", "no difference shown (too few to see any)"),
        (NAN, NAN, NAN, "higher", "not measured"),
    ],
)
def test_what_may_be_said(difference: float, p: float, least: float, side: str, said: str) -> None:
    assert verdict(difference, p, least, side, "x") == said


def test_a_rise_beyond_the_margin_has_kept_it_and_a_fall_has_not() -> None:
    low, high, names = [0.0] * 400, [1.0] * 400, [str(i) for i in range(400)]

    def said(a: list[float], b: list[float]) -> str:
        return kept_words(equivalent(a, b, names, margin=0.02), not_inferior(a, b, names, margin=0.02))

    assert said(low, low) == "kept within 2 points"
    assert said(low, high) == "kept: at most 2 points lower"
    assert said(high, low) == "not kept"
    assert said(low, [1.0, *low[1:]][:400]) == "kept within 2 points"
    assert (
        kept_words(equivalent(low[:9], low[:9], names[:9], margin=0.02), not_inferior([0], [0], ["a"], margin=0.02))
        == "undecided"
    )


def test_what_is_claimed_about_has_a_better_side() -> None:
    assert [s for s in SUITES if not better(s, next(iter(SUITES[s].metrics)))] == ["style"]  # no length is the right one
    assert claimed("harm", "harm")
    assert not claimed("style", "tokens")
    assert not claimed("harm", "reply_tokens")
    assert better("benign", "refused") == "lower"
    assert better("harm", "refused") == better("harm", "thought_tokens") == ""


def test_only_shared_prompts_are_compared_and_the_others_are_counted() -> None:
    base = evaluated({"harm": [harmful(i, 1.0) for i in range(6)]})
    others = [harmful(i, 0.0) for i in range(2, 7)]
    others[0] = harmful(2, 0.0, prompt="the same id in other words")
    found = shared(*arms(base=base, safe=evaluated({"harm": others})), "harm")
    assert [(m.rollout.example.id, n.harm_in_reply) for m, n in found.pairs] == [("h3", 0.0), ("h4", 0.0), ("h5", 0.0)]
    assert (found.left_a, found.left_b) == (3, 2)
    told = compare(arms(base=base, safe=evaluated({"harm": others}, data="e")))
    assert row(told)["difference"]["n"] == 3
    assert "safe was asked other prompts than base: only the shared ones are compared" in told["cautions"]
    assert "harm: 3 rollouts of base and 2 of safe have no counterpart" in told["cautions"]
    with pytest.raises(BadInput, match="share no prompt"):
        compare(arms(base=base, safe=evaluated({"harm": [harmful(99, 0.0)]})))


def test_siblings_are_paired_in_their_order_and_meanings_are_exchanged_together() -> None:
    before, after = [1.0, 1.0, 0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0, NAN]
    numbers, meanings = [0, 0, 0, 1, 1, 2], ["m", "m", "m", "n", "n", "o"]
    sides = [
        evaluated({"harm": [harmful(i, v, meaning=m) for i, v, m in zip(numbers, values, meanings, strict=True)]})
        for values in (before, after)
    ]
    found = row(compare(arms(base=sides[0], safe=sides[1])))
    test = sign_flip(before, after, meanings)
    assert (found["test"], found["p"], found["gained"], found["lost"]) == ("sign flips", test.p, 0, 2)
    assert (found["difference"]["n"], found["difference"]["unscored"], found["meanings"]) == (5, 1, 2)
    assert found["difference"]["mean"] == -3 / 5


def test_seeds_have_their_means_their_iqm_and_a_test_of_their_own() -> None:
    base = harms([1.0] * 8)
    seeds = [harms([1.0] * k + [0.0] * (8 - k)) for k in (0, 0, 1, 1, 2, 2)]
    found = compare(arms(base=base, safe=seeds))
    told = found["seeds"]["safe"]
    assert told["means"] == [{"suite": "harm", "metric": "harm", "values": [0.0, 0.0, 0.125, 0.125, 0.25, 0.25]}]
    assert told["iqm"] == plain(iqm([[1.0, 1.0, 0.875, 0.875, 0.75, 0.75]], together=True))
    assert told["iqm"]["mean"] == 0.875  # the middle four of six
    assert told["across"] == [{"suite": "harm", "metric": "harm", "difference": -0.875, "p": 2 / 2**6, "seeds": 6}]
    pooled = row(found)
    assert (pooled["difference"]["n"], pooled["meanings"]) == (48, 8)  # 6 seeds of 8 prompts
    assert pooled["difference"]["mean"] == -0.875
    assert found["cautions"] == ["one seed (base): the luck of training is not in these intervals"]
    five = compare(arms(base=base, safe=seeds[:5]))
    assert five["seeds"]["safe"]["across"][0]["p"] == 2 / 2**5
    assert "safe has 5 seeds: a test over seeds needs 6 to reach p < 0.05" in five["cautions"]


def test_seeds_of_both_sides_are_paired_where_they_are_as_many_and_crossed_where_not() -> None:
    a, b = [harms([1.0, 1.0]), harms([1.0, 0.0])], [harms([0.0, 1.0]), harms([0.0, 0.0])]
    assert len(shared(*arms(a=a, b=b), "harm").pairs) == 4
    crossed = compare(arms(a=a, b=[*b, harms([1.0, 1.0])]))
    assert row(crossed, arm="b")["difference"]["n"] == 12
    assert crossed["seeds"]["b"]["across"] == []
    assert [s["means"][0]["values"] for s in crossed["seeds"].values()] == [[1.0, 0.5], [0.5, 0.0, 1.0]]


def test_numbers_over_the_samples_of_one_model_are_not_told_of_several_seeds() -> None:
    one = evaluated({"contextual": [replace(harmful(0, 0.0), useful=1.0)]})
    alone, several = compare(arms(a=one))["arms"]["a"], compare(arms(a=[one, one]))["arms"]["a"]
    assert set(alone["suites"]["contextual"]["metrics"]) - set(several["suites"]["contextual"]["metrics"]) == {"both_right"}


def test_different_judges_are_refused_and_other_differences_are_said() -> None:
    base = harms([1.0] * 4, weights="w")
    with pytest.raises(BadInput, match="different judges of harm_in_reply"):
        compare(arms(base=base, safe=harms([0.0] * 4, digests={"harm_in_reply": "other"})))
    lone = compare(arms(base=base, safe=evaluated({"harm": [harmful(0, 0.0)], "task": [task(0, 1.0)]})))
    assert lone["cautions"][0] == "only one of base and safe was asked task: that is not compared"
    other = harms(
        [0.0] * 4,
        digests={"harm_in_reply": "k"},
        sampling={"temperature": 0},
        failed=["harm"],
        weights="w",
        warnings=["harm: 97% cut"],
    )
    said = compare(arms(base=base, safe=other), allow_judges=True)["cautions"]
    assert said[:5] == [
        "base and safe were judged by different judges of harm_in_reply: a difference may be the judges'",
        "safe was sampled otherwise than base: temperature: 0.6 → 0",
        "safe: the suite harm failed, too much of it could not be judged",
        "safe, harm: 97% cut",
        "base and safe have the same weights: they are one model sampled twice",
    ]


def test_the_baseline_can_be_chosen_and_must_be_an_arm() -> None:
    both = arms(base=harms([1.0] * 8), safe=harms([0.0] * 8))
    found = compare(both, baseline="safe")
    assert row(found, arm="base")["difference"]["mean"] == 1.0
    assert markdown(found).startswith("# base against safe\n")
    with pytest.raises(BadInput, match="did you mean 'safe'"):
        compare(both, baseline="saf")
    with pytest.raises(BadInput, match="a margin of 0"):
        compare(both, margin=0)


def test_an_arm_is_dominated_where_another_is_as_good_on_all_three_and_better_on_one() -> None:
    def arm(harm: float, refusal: float, accuracy: float) -> dict[str, Any]:
        numbers = {"harm": {"harm": harm}, "borderline": {"over_refusal": refusal}, "task": {"accuracy": accuracy}}
        return {"suites": {s: {"metrics": {m: {"mean": v} for m, v in told.items()}} for s, told in numbers.items()}}

    found = tradeoff(
        {
            "a": arm(0.5, 0.0, 0.9),
            "b": arm(0.1, 0.2, 0.8),
            "c": arm(0.1, 0.3, 0.8),
            "d": arm(0.6, 0.1, 0.95),
            "e": arm(0.1, 0.2, 0.8),
        }
    )
    assert {name: point["dominated_by"] for name, point in found.items()} == {"a": [], "b": [], "c": ["b", "e"], "d": [], "e": []}
    assert front(found, "over_refusal", "harm") == ["a", "b", "e"]  # d is beaten on these two: its accuracy keeps it
    assert front(found, "accuracy", "harm") == ["b", "c", "e", "a", "d"]


def hostile_arms() -> list[Arm]:
    rows = [harmful(i, float(i % 2), reply=f"{HOSTILE} {i}") for i in range(40)]
    return arms(base=evaluated({"harm": rows}), safe=evaluated({"harm": [harmful(i, 0.0, prompt=f"ask {i}") for i in range(40)]}))


def test_the_page_holds_every_sample_and_loads_nothing() -> None:
    both = hostile_arms()
    html = page(compare(both), both)
    items = unpacked(html)
    assert [item["id"] for item in items] == [f"h{i}" for i in range(40)]
    assert [(r["arm"], r["seed"], r["thought"], r["reply"]) for r in items[7]["rollouts"]] == [
        (0, 0, "t", f"{HOSTILE} 7"), (1, 0, "t", "r"),
    ]  # fmt: skip
    assert items[7]["rollouts"][0]["outcome"] == "complied, harmful"
    assert "default-src &#x27;none&#x27;" in html
    assert (
        re.findall(r"""(?:src|href)\s*=\s*["']?(?!["']?#)[^\s>]*""", re.sub(r"<script.*?</script>", "", html, flags=re.S)) == []
    )
    assert "http" not in re.sub(r"http-equiv|class=\"rollouts-part\">[^<]*", "", html)


def test_hostile_names_and_texts_stay_text() -> None:
    seed = evaluated({"harm": [harmful(0, 1.0, reply=HOSTILE), harmful(1, 0.0, prompt=HOSTILE)]}, judge=HOSTILE)
    both = [Arm(HOSTILE, (seed,)), Arm("b", (seed,))]
    html = page(compare(both), both)
    assert html.count("<script") == html.count("</script>") == 3  # facts, one part, the page's own
    assert "<img" not in html
    assert [item["prompt"] for item in unpacked(html)] == ["ask 0", HOSTILE]


def test_a_later_turn_is_shown_with_what_was_said_before_in_each_arm() -> None:
    def turn(reply: str) -> Measured:
        example = Example(
            "c/turn 2", "go on", "harmful", source="conversation/insist/turn 2", turns=(("user", "hi"), ("assistant", reply))
        )
        return replace(harmful(0, 0.0), rollout=Rollout(example, "t", "r"))

    both = arms(a=evaluated({"conversation": [turn("x")]}), b=evaluated({"conversation": [turn("y")]}))
    (item,) = unpacked(page(compare(both), both))
    assert item["turns"] == [["user", "hi"], ["assistant", "x"]]
    assert [r.get("turns") for r in item["rollouts"]] == [None, [["user", "hi"], ["assistant", "y"]]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=6))
def test_packing_keeps_every_text(texts: list[str]) -> None:
    items = [{"id": text, "rollouts": []} for text in texts]
    found = [item for part in packed(items) for item in json.loads(gzip.decompress(base64.b64decode(part)))]
    assert found == items


def test_a_big_set_is_packed_in_several_parts() -> None:
    items = [{"id": "x" * 300_000, "rollouts": []} for _ in range(7)]
    assert len(list(packed(items))) == 3  # 3, 3 and 1


class Scripted:
    """A model that gives every prompt the same answer, or its demonstration where there is none."""

    name = "scripted"

    def __init__(self, reply: str = "") -> None:
        self.reply = reply

    def takes(self, example: Example) -> bool:
        return True

    def sample(self, examples: Any, config: Any, advance: Any) -> list[Rollout]:
        return [Rollout(e, e.thought, self.reply or e.reply) for e in examples for _ in range(config.samples)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that refuses everything, and one that answers as demonstrated."""
    made = []
    for name, reply in (("refuses", "i can not help with that ."), ("shown", "")):
        folder = tmp_path_factory.mktemp("evaluations") / name
        run = Run(folder, Console(quiet=True), quiet=True)
        evaluate(Scripted(reply), EvaluationConfig(limit=12), run, identity={"weights": name}, world=True)
        made.append(folder)
    return made[0], made[1]


def test_the_command_compares_evaluations_and_prints_one_document(folders: tuple[Path, Path], tmp_path: Path) -> None:
    asked = ["compare", f"mute={folders[0]}", str(folders[1]), "--output", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, [*asked, "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert list(found["arms"]) == ["mute", "shown"]
    assert row(found, "borderline", "over_refusal", "shown")["verdict"] == "better"
    assert row(found, "harm", "harm", "shown")["verdict"].startswith("no difference shown")
    assert found == json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    html = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert sum(len(item["rollouts"]) for item in unpacked(html)) == 2 * 4 * 12
    again = CliRunner().invoke(app, asked)
    assert "shown against mute" in again.stdout
    assert "| borderline | over refusal ↓ | shown | 100.0" in (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")


def test_one_evaluation_has_a_page_too(folders: tuple[Path, Path], tmp_path: Path) -> None:
    html = write_page([folders[0]], tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(unpacked(html)) == 48
    assert "nothing is compared" in html
    assert 'id="pairs"' not in html
    assert 'id="by-differ"' not in html
    assert "<h1>scripted</h1>" in html


def test_models_are_evaluated_first_on_the_same_prompts(tmp_path: Path) -> None:
    words = ["compare", "a=microworld", "b=microworld", "suites=[harm]", "limit=4", "--output", str(tmp_path / "out"), "--json"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert row(found, arm="b")["difference"] == {**row(found, arm="b")["difference"], "mean": 0.0, "n": 4}
    assert "a and b have the same weights: they are one model sampled twice" in found["cautions"]
    assert read_evaluation(tmp_path / "out" / "b").model == "microworld"


def test_a_run_is_compared_by_its_arms(tmp_path: Path) -> None:
    run = fake_run.write(tmp_path / "toy")
    shown = CliRunner().invoke(app, ["compare", str(run), "--output", str(tmp_path / "out"), "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert (found["baseline"], list(found["arms"])) == ("base", ["base", "sft", "rl", "hybrid", "distilled"])
    assert row(found, arm="sft")["verdict"] == "better"
    assert row(found, arm="sft")["difference"]["n"] + row(found, arm="sft")["difference"]["unscored"] == 8 * 24
    assert {r["suite"] for r in found["pairs"]} == {"harm", "borderline", "benign", "task"}
    assert "H1 break living (train)" in found["arms"]["base"]["suites"]["harm"]["by_category"]
    assert len(read_run(run)["base"].rows["task"]) == 120
    seeds = CliRunner().invoke(app, ["compare", f"{run},{run}", "--output", str(tmp_path / "two"), "--json"])
    assert json.loads(seeds.stdout)["seeds"]["hybrid"]["seeds"] == 2


def test_bad_input_is_one_line_and_leaves_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    good, empty, broken, begun = str(folders[0]), tmp_path / "empty", tmp_path / "broken", tmp_path / "begun"
    empty.mkdir()
    (begun / "harm").mkdir(parents=True)
    (broken / "harm").mkdir(parents=True)
    told = json.loads((folders[0] / "evaluation.json").read_text(encoding="utf-8"))
    (broken / "evaluation.json").write_text(json.dumps({**told, "suites": {"harm": told["suites"]["harm"]}}), encoding="utf-8")
    (broken / "harm" / "samples.jsonl").write_text('{"id": "x"}\n', encoding="utf-8")
    old = tmp_path / "old"
    old.mkdir()
    (old / "evaluation.json").write_text("{}", encoding="utf-8")
    run = fake_run.write(tmp_path / "run")
    for words, line in (
        ([good], "one arm alone"),
        ([good, good], "two arms are called 'refuses'"),
        ([good, good + "x"], "did you mean 'refuses'?"),
        ([good, str(empty)], "neither an evaluation, nor a run, nor a model"),
        ([good, str(begun)], "has not finished"),
        ([good, str(broken)], "samples.jsonl, line 1"),
        ([good, str(old)], "this is no evaluation"),
        ([good, f"a={good},"], "names no folder"),
        ([good, f"a={folders[1]},{run}"], "mixes evaluation and run"),
        ([good, str(run)], "a run is compared by itself"),
        ([good, str(folders[1]), "limit=4"], "settings are for models yet to be evaluated"),
        ([good, str(folders[1]), "--baseline", "shwn"], "did you mean 'shown'?"),
        ([good, str(folders[1]), "--margin", "0"], "a margin of 0"),
        ([good, str(folders[1]), "--margin", "5"], "0.02 for 2 points"),
        ([good, str(folders[1]), "limt=4"], "did you mean 'limit='"),
        (["microworld", "b=microworld", "suites=[harms]"], "did you mean 'harm'?"),
    ):
        failed = CliRunner().invoke(app, ["compare", *words, "--output", str(tmp_path / "out")])
        assert isinstance(failed.exception, BadInput), (words, failed.output)
        assert line in str(failed.exception), words
        assert not (tmp_path / "out").exists()
