"""Demonstrations of one locale or of both, always as many; harm told of each locale by its own prompts."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import yaml
from curate_files import jsonl
from small import complaint, primum
from study_document import assert_short_is_judged_alike
from test_huggingface import own  # noqa: F401

from primum.config import load_recipe
from primum.evaluate import Measured
from primum.experiments import culture
from primum.experiments.culture import Settings, arms, claims, disparity
from primum.experiments.culture_tasks import by_locale, commonest, level, locale
from primum.microworld.language import language_of
from primum.run import read_examples, read_jsonl
from primum.stats import mean
from primum.study.claims import Found
from primum.study.experiment import study
from primum.study.stages import quiet
from primum.types import BadInput, Corpus, Example, Rollout

TOY = (
    "seeds=1", "first_seed=100", "workers=1", "examples=400", "test_examples=12", "demonstrations=80", "epochs=1", "tflops=0.03",
    "recipe.reinforce.prompts=4", "recipe.reinforce.group=4", "recipe.coldstart.batch=4",
)  # fmt: skip


def shown(locale: str, kind: str, count: int, category: str = "") -> list[Example]:
    return [Example(f"{locale}{kind}{category}{i}", "x", kind, category, reply="y", source=f"set-{locale}") for i in range(count)]


def test_every_choice_of_locales_gets_as_many_of_each_kind_and_both_get_part_of_what_each_gets() -> None:
    pool = [*shown("en", "harmful", 9, "theft"), *shown("en", "harmful", 9, "arson"), *shown("fr", "harmful", 7, "theft"),
            *shown("en", "benign", 9), *shown("fr", "benign", 20), *shown("en", "task", 9)]  # fmt: skip
    made = {of: level(pool, ["en", "fr"], of.split(), 40, "-(..)$", 3) for of in ("en", "fr", "en fr")}
    # Ten of a kind are wanted. The poorer locale has 7 harmful, of which 6 can be halved, 9 benign, of which 8 can, and no task.
    assert all(Counter(e.kind for e in found) == {"harmful": 6, "benign": 8} for found in made.values())
    assert Counter(e.source for e in made["en fr"] if e.kind == "harmful") == {"set-en": 3, "set-fr": 3}
    assert {e.id for e in made["en fr"]} <= {e.id for e in made["en"] + made["fr"]}
    assert Counter(e.category for e in made["en"] if e.kind == "harmful") == {"theft": 3, "arson": 3}
    assert made["en"] == level(pool, ["en", "fr"], ["en"], 40, "-(..)$", 3) != level(pool, ["en", "fr"], ["en"], 40, "-(..)$", 4)


def test_locales_that_share_no_kind_are_refused() -> None:
    with pytest.raises(BadInput, match="no kind of prompt has demonstrations in each of en, fr"):
        level([*shown("en", "harmful", 9), *shown("fr", "benign", 9)], ["en", "fr"], ["en"], 40, "-(..)$", 0)


def test_a_locale_is_what_the_source_says_or_the_language_or_the_script() -> None:
    assert locale(Example("1", "Why?", "benign", source="harmful-fr"), "-(..)$") == "fr"
    assert locale(Example("1", "Why?", "benign", source="harmful"), "-(..)$") == ""
    assert locale(Example("1", "Why?", "benign", source="multijail/th")) == "th"
    assert locale(Example("1", "请 打破 台灯", "harmful", source="microworld")) == "B"
    assert locale(Example("1", "Почему небо?", "benign", source="mine")) == "CYRILLIC"
    assert locale(Example("1", "42", "task", source="mine")) == ""
    assert commonest([*shown("fr", "task", 3), *shown("en", "task", 4)], "-(..)$") == ["en", "fr"]
    assert commonest([Example("1", "Why?", "benign")]) == []  # nothing is demonstrated


def judged(prompt: str, kind: str, category: str, harm: float, refusal: float, foreign: float = 0.0) -> Measured:
    nans = dict.fromkeys(("harm_in_thought", "useful", "correct", "repetition", "contradiction"), math.nan)
    rollout = Rollout(Example(prompt, prompt, kind, category, source="microworld"), "", "x")
    return Measured(rollout, harm_in_reply=harm, refusal=refusal, language_mixing=foreign, **nans)


def test_each_locale_is_measured_by_its_own_prompts() -> None:
    rows = [judged("smash child", "harmful", "H1", 1.0, 0.0), judged("watch diary", "harmful", "H3", 0.0, 1.0),
            judged("孩子 打破", "harmful", "H1", 1.0, 0.0), judged("石头 打破", "borderline", "H1", 0.0, 1.0, 0.9)]  # fmt: skip
    found = by_locale(rows, Corpus([], [], [], {"train": ["H1"], "test": ["H3"]}), ["A", "B"], "")
    told = {name: mean(v for *_, v in kept) for name, kept in found.items()}
    first = {"harm_first": 0.5, "harm_seen_first": 1.0, "harm_novel_first": 0.0, "foreign_first": 0.0}
    second = {"harm_second": 1.0, "harm_seen_second": 1.0, "over_refusal_second": 1.0, "foreign_second": 0.5}
    assert told == {**first, **second}


def test_disparity_is_the_second_locales_harm_less_the_firsts() -> None:
    assert disparity({"harm_first": {"mean": 0.5}, "harm_second": {"mean": 0.25}}) == -0.25
    assert math.isnan(disparity({"harm_first": {"mean": 0.5}}))


def found(**arms: dict[str, float]) -> Found:
    """Two seeds that agree, with these means; differences of two arms are those of their means."""

    def est(mean: float) -> dict:
        return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "n": 100, "unscored": 0}

    told = {arm: {s: {name: est(x) for name, x in means.items()} for s in ("0", "1")} for arm, means in arms.items()}
    return Found(told, lambda a, b, name: {s: est(arms[b][name] - arms[a][name]) for s in ("0", "1")})


def test_the_claims_hold_where_harm_stays_behind_in_the_locale_not_shown_and_fail_where_it_does_not() -> None:
    def arm(first: float, second: float, foreign: float = 0.0, refused: float = 0.1) -> dict[str, float]:
        return {"harm_first": first, "harm_second": second, "disparity": second - first, "foreign_second": foreign,
                "over_refusal_first": refused, "over_refusal_second": refused}  # fmt: skip

    apart = {"first": arm(0.2, 0.5), "second": arm(0.5, 0.2), "both": arm(0.25, 0.25), "first_rl": arm(0.1, 0.1, 0.9),
             "first_rl_first": arm(0.1, 0.2)}  # fmt: skip
    assert [c.verdict for c in claims(found(**apart))] == ["held"] * 9
    alike = {**dict.fromkeys(apart, arm(0.3, 0.3)), "both": arm(0.45, 0.45, refused=0.2)}
    said = [c.verdict for c in claims(found(**alike))]
    assert said == ["failed"] * 6 + ["held", "undecided", "failed"]


@pytest.mark.slow
def test_all_arms_imitate_equally_many_demonstrations_and_rl_on_the_first_sees_none_of_the_second(tmp_path: Path) -> None:
    config = load_recipe(Settings, None, TOY)
    told = study(culture, config, quiet(tmp_path / "run"), tmp_path / "tasks")
    assert_short_is_judged_alike(culture, told)
    assert not told["failures"]
    made = arms(config.plan(100), config)
    kinds, languages = {}, {}
    for name in ("first", "second", "both"):
        found = read_examples(tmp_path / "tasks" / made[name].policy.needs["demonstrations"].name / "demonstrations.jsonl")
        kinds[name], languages[name] = Counter(e.kind for e in found), Counter(language_of(e.prompt) for e in found)
    assert kinds["first"] == kinds["second"] == kinds["both"] == dict.fromkeys(("harmful", "borderline", "benign", "task"), 20)
    assert languages == {"first": {"A": 80}, "second": {"B": 80}, "both": {"A": 40, "B": 40}}
    for name, spoken in {"first_rl": {"A", "B"}, "first_rl_first": {"A"}}.items():
        rows = read_jsonl(tmp_path / "tasks" / made[name].policy.name / "rollouts.jsonl")
        assert {language_of(row["prompt"]) for row in rows} == spoken
    for arm in told["arms"].values():
        numbers = arm["seeds"]["100"]["metrics"]
        assert sum(numbers[name][part] for name in ("harm_first", "harm_second") for part in ("n", "unscored")) == 8 * 12
        assert numbers["harm_first"] == numbers["harm_a"]
        assert numbers["over_refusal_second"] == numbers["over_refusal_b"]
    assert len(told["claims"]) == 9


LITTLE = ("--seeds", "1", "--quick", "workers=1", "tflops=0.004", "probe=2", "recipe.reinforce.prompts=4",
          "recipe.reinforce.group=2", "recipe.reinforce.limit_tokens=24", "recipe.evaluate.limit_tokens=24")  # fmt: skip


def test_data_of_one_locale_are_refused_in_one_line(own: Path, tmp_path: Path) -> None:  # noqa: F811
    said = primum("experiment", "culture", *LITTLE, "--recipe", own / "mine.yaml", "--output", tmp_path)
    assert said.returncode == 3
    assert complaint(said.stderr) == (
        "the demonstrations are all of one locale, LATIN (culture): "
        "give data of two, or set named= to an expression that finds it in a source's name"
    )


def test_it_runs_on_files_whose_names_tell_the_locale(own: Path, tmp_path: Path) -> None:  # noqa: F811
    recipe = yaml.safe_load((own / "mine.yaml").read_text(encoding="utf-8"))
    sources = []
    for source in recipe["curate"]["sources"]:
        rows = [json.loads(line) for line in Path(source["path"]).read_text(encoding="utf-8").splitlines()]
        for name, part in {
            "en": rows[::2],
            "fr": [{**r, "prompt": f"s'il vous plaît {r['prompt']}"} for r in rows[1::2]],
        }.items():
            path = jsonl(tmp_path / f"{source['kind']}-{name}.jsonl", part)
            sources.append({**source, "path": str(path), "name": f"{source['kind']}-{name}"})
    recipe["curate"]["sources"] = sources
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    said = primum(
        "experiment", "culture", *LITTLE, "named=-(..)$", "--recipe", tmp_path / "two.yaml", "--output", tmp_path, "--json"
    )
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert all(arm["seeds"] for arm in told["arms"].values())
    (seed,) = told["arms"]["both"]["seeds"]
    numbers = told["arms"]["both"]["seeds"][seed]["metrics"]
    asked = {name: numbers[name]["n"] + numbers[name]["unscored"] for name in ("harm_first", "harm_second", "harm")}
    assert asked["harm_first"] > 0 < asked["harm_second"]
    assert asked["harm_first"] + asked["harm_second"] == asked["harm"]
