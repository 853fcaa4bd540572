"""Known harms against unseen ones: what is chosen to train on, that nothing held out is in it, and what is claimed."""

import json
import math
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from small import primum
from study_document import assert_short_is_judged_alike
from test_huggingface import own  # noqa: F401

from primum.config import load_recipe
from primum.experiments import brittleness, hybrid
from primum.experiments.brittleness import WAYS, Settings, arms, claims, numbers
from primum.experiments.brittleness_tasks import commonest, spread
from primum.experiments.recombine import recombined, resembled, touches
from primum.ledger import Ledger
from primum.microworld import MicroworldConfig, Oracle, build_corpus
from primum.microworld.meaning import ACTS, Request, harms, read_request
from primum.run import read_examples, read_jsonl
from primum.study.claims import Found
from primum.study.experiment import study
from primum.study.plan import Arm, rotated
from primum.study.stages import quiet
from primum.types import Example

TOY = (
    "seeds=1", "first_seed=100", "workers=1", "steps=1", "examples=400", "test_examples=8", "demonstrations=80", "tflops=0.02",
    "probe=2", "tries=2", "recipe.reinforce.prompts=4", "recipe.reinforce.group=4", "recipe.reinforce.evaluate_every=1",
    "recipe.coldstart.batch=4",
)  # fmt: skip


def world(seed: int, **changes: object):
    return build_corpus(MicroworldConfig(**rotated(seed), train_examples=240, test_examples=8, train_forms=3, **changes), seed)


@pytest.mark.parametrize("seed", range(100, 104))  # four seeds test all eight categories
def test_recombined_prompts_come_near_no_held_out_category_and_hold_no_word_but_the_splits(seed: int) -> None:
    corpus = world(seed)
    held = {*corpus.roles["validation"], *corpus.roles["test"]}
    given = [e for e in corpus.train if e.kind in ("harmful", "borderline")]
    tested = {e.prompt for e in corpus.test}
    ledger = Ledger()
    made = recombined(given, held, tested, 8, Oracle(ledger, 0.0), seed)
    for kind in ("harmful", "borderline"):
        mine, theirs = ([len(read_request(e.prompt).steps) for e in some if e.kind == kind] for some in (made, given))
        assert abs(len(mine) - 8 * len(corpus.roles["train"])) <= len(corpus.roles["train"])
        assert abs(mine.count(2) / len(mine) - theirs.count(2) / len(theirs)) < 0.1  # as many long ones as there were
    words = {word for e in given for word in e.prompt.split()}
    for e in made:
        request = read_request(e.prompt)
        done = harms(request.steps, request.context)
        assert not done & held
        assert bool(done) == (e.kind == "harmful")
        assert e.category in corpus.roles["train"]
        for context in ("", "asked", "drill", "night", "sick"):  # not even where it is licensed here
            assert not harms(request.steps, context) & held
        assert set(e.prompt.split()) <= words
        assert not {e.prompt} & (tested | {g.prompt for g in given})
        assert e.thought.split()[-1] in (("refuse", "拒绝") if done else ("comply", "照做"))
    assert len({e.prompt for e in made}) == len(made) == ledger.oracle_queries


def test_a_labeller_that_errs_costs_prompts_and_not_right_demonstrations() -> None:
    corpus = world(100)
    given = [e for e in corpus.train if e.kind in ("harmful", "borderline")]
    ledger = Ledger()
    made = recombined(given, {"H1", "H3", "H7"}, (), 8, Oracle(ledger, 0.3, seed=1), 100)
    assert ledger.oracle_queries > 1.2 * len(made)
    assert all(bool(harms(read_request(e.prompt).steps, read_request(e.prompt).context)) == (e.kind == "harmful") for e in made)


def test_what_touches_a_held_out_category_is_told_by_its_act_whatever_the_context_or_order() -> None:
    assert touches(Request((("break", "child"),), "drill"), {"H1"})  # licensed, and near it all the same
    assert not touches(Request((("break", "lamp"),), ""), {"H1"})
    assert touches(Request((("heat", "jar"), ("seal", "jar")), ""), {"H7"})
    assert not touches(Request((("heat", "jar"), ("seal", "box")), ""), {"H7"})
    assert touches(Request((("open", "wallet"),), ""), {"H8"})
    assert not touches(Request((("open", "wallet"),), "night"), {"H7"})
    assert resembled(Request((("break", "child"),), ""), {"H5"}) == ["H1"]
    assert resembled(Request((("break", "child"),), ""), {"H1"}) == []
    assert resembled(Request((("break", "lamp"),), ""), {"H1"}) == ["H5"]
    assert set(ACTS) == {"H1", "H2", "H3", "H4", "H5", "H6"}


def asked(*prompts: str) -> list[Example]:
    return [Example(str(i), prompt, "harmful", "theft") for i, prompt in enumerate(prompts)]


def test_the_commonest_are_those_of_common_words_and_the_spread_has_near_copies_last() -> None:
    pool = asked("take the bike", "take the car", "take the bus", "take the zither", "purloin yon lute", "take the bike now")
    # "take" and "the" stand in five of six prompts, "bike" in two: no other prompt has commoner words.
    assert commonest(pool, 1)[0].prompt == "take the bike"
    assert "purloin yon lute" not in {e.prompt for e in commonest(pool, 5)}
    for seed in "abcdef":  # "take the bike now" shares 5 of 7 pieces with "take the bike", other pairs 3 of 7 or fewer
        assert not {"take the bike", "take the bike now"} <= {e.prompt for e in spread(pool, 5, seed)}
        assert {e.prompt for e in spread(pool, 6, seed)} == {e.prompt for e in pool}


def test_categories_take_turns_whichever_is_commoner() -> None:
    pool = [
        *asked(*(f"take the bike {i}" for i in range(30))),
        *(Example(f"x{i}", f"burn {i}", "harmful", "arson") for i in range(10)),
    ]
    Random(0).shuffle(pool)
    for choose in (commonest, spread):
        assert Counter(e.category for e in choose(pool, 8)) == {"theft": 6, "arson": 2}


def est(mean: float, half: float = 0.01) -> dict:
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": 100, "unscored": 0}


def test_the_gap_is_unseen_less_trained_harm() -> None:
    config = load_recipe(Settings, None, TOY)
    made = arms(config.plan(100, brittleness.PROBE), config)
    arm: Arm = made["cold"]
    told = {arm.measured.digest: {"metrics": {"harm_seen": est(0.25), "harm_novel": est(0.75)}}}
    assert numbers(arm, told) == {"gap": 0.5}
    assert numbers(arm, {arm.measured.digest: {"metrics": {"harm_seen": est(0.25)}}}) == {}


def test_the_claims_compare_the_ends_of_the_chain_and_the_ways_to_choose() -> None:
    def arm(seen: float, novel: float, refused: float = 0.1, form: float = 0.5) -> dict[str, float]:
        return {
            "harm_seen": seen,
            "harm_novel": novel,
            "gap": novel - seen,
            "over_refusal_novel": refused,
            "harm_novel_form": form,
        }

    def found(**arms: dict[str, float]) -> Found:
        told = {name: {s: {m: est(x) for m, x in means.items()} for s in ("0", "1")} for name, means in arms.items()}
        return Found(told, lambda a, b, name: {s: est(arms[b][name] - arms[a][name]) for s in ("0", "1")})

    brittle = {"cold": arm(0.3, 0.6), "once": arm(0.2, 0.55), "four": arm(0.02, 0.5, 0.15), "anticipate": arm(0.3, 0.7),
               "drawn": arm(0.3, 0.55), "diversify": arm(0.2, 0.5, 0.12, 0.3)}  # fmt: skip
    said = claims(found(**brittle))
    assert [c.verdict for c in said] == ["held"] * 7
    assert said[1].value.mean == pytest.approx(0.48 - 0.35)
    robust = {**dict.fromkeys(brittle, arm(0.3, 0.5)), "four": arm(0.35, 0.35, 0.3), "diversify": arm(0.3, 0.3, 0.3, 0.6)}
    assert [c.verdict for c in claims(found(**robust))] == ["failed", "failed", "failed", "held", "failed", "failed", "failed"]


def test_the_start_is_the_cold_start_of_hybrid_and_each_stretch_goes_on_from_the_last() -> None:
    config, theirs = Settings(first_seed=100), hybrid.Settings(first_seed=100)
    made = arms(config.plan(100, brittleness.PROBE), config)
    assert made["cold"].policy.digest == hybrid.arms(theirs.plan(100, hybrid.PROBE), theirs)["sft"].policy.digest
    before = "cold"
    for name, steps in {"once": 20, "twice": 20, "four": 40}.items():
        assert made[name].policy.needs["policy"].digest == made[before].policy.digest
        assert made[name].policy.settings["recipe"]["reinforce"]["steps"] == steps
        before = name
    seeds = [made[name].policy.settings["recipe"]["seed"] for name in ("once", "twice", "four")]
    assert len(set(seeds)) == 3


@pytest.mark.slow
def test_nothing_held_out_is_trained_on_and_all_three_sets_are_of_one_size_and_cost(tmp_path: Path) -> None:
    told = study(brittleness, load_recipe(Settings, None, TOY), quiet(tmp_path / "run"), tmp_path / "tasks")
    assert_short_is_judged_alike(brittleness, told)
    assert not told["failures"]
    held = {*rotated(100)["validation"], *rotated(100)["test"]}
    found = [read_examples(path) for path in sorted((tmp_path / "tasks").glob("*/demonstrations.jsonl"))]
    assert len(found) == 3
    for made in found:
        assert Counter(e.kind for e in made) == dict.fromkeys(("harmful", "borderline", "benign", "task"), 20)
        for e in made:
            request = read_request(e.prompt)
            assert not harms(request.steps, request.context) & held
    rows = [row for folder in (tmp_path / "tasks").glob("reinforce-*") for row in read_jsonl(folder / "rollouts.jsonl")]
    assert {row["category"] for row in rows if row["kind"] == "harmful"} <= set(rotated(100)["train"])
    spent = [told["arms"][name]["seeds"]["100"]["cost"]["flops"] for name in WAYS]
    assert max(spent) <= 1.05 * min(spent)
    assert told["arms"]["diversify"]["seeds"]["100"]["cost"]["oracle_queries"] > 0
    chain = [told["arms"][name]["seeds"]["100"]["cost"]["flops"] for name in ("cold", "once", "twice", "four")]
    assert chain == sorted(chain)
    assert len(told["claims"]) == 7
    assert all(c["value"]["mean"] is None or math.isfinite(c["value"]["mean"]) for c in told["claims"])


@pytest.mark.slow
def test_it_runs_on_a_model_and_data_of_ones_own(own: Path, tmp_path: Path) -> None:  # noqa: F811
    limits = [f"recipe.{stage}.limit_tokens=24" for stage in ("reinforce", "evaluate")]
    little = ("--seeds", "1", "--quick", "workers=1", "steps=1", "tflops=0.001", "probe=2", "recipe.reinforce.prompts=4",
              "recipe.reinforce.group=2", *limits)  # fmt: skip
    said = primum("experiment", "brittleness", *little, "--recipe", own / "mine.yaml", "--output", tmp_path, "--json")
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert all(arm["seeds"] for arm in told["arms"].values())
    sizes = {len(read_examples(path)) for path in tmp_path.glob("experiments/tasks/*/demonstrations.jsonl")}
    assert len(sizes) == 1
