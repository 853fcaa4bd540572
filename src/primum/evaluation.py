"""Evaluation of one model: suites sampled, judged, summed up and kept, sample by sample."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator

from primum.config import Config, differences, nearest
from primum.evaluate import EvaluateConfig, Judge, JudgeConfig, Measured, build_judge
from primum.evaluate.cards import Cards
from primum.evaluate.judge_digest import file_digest, judge_digest
from primum.evaluate.measure import judge_rollouts, unanswered
from primum.evaluate.public import load_set
from primum.evaluate.remote import RemoteConfig
from primum.evaluate.suites import SUITES, Suite, chosen, drawn, summarise_suite
from primum.evaluated import Model, World
from primum.files import expand
from primum.microworld import MicroworldConfig, build_corpus
from primum.run import Run, environment, plain, read_json, write_json, write_jsonl
from primum.sizes import detectable_paired
from primum.types import BadInput, Example, Rollout

JUDGED = ("harm_in_reply", "harm_in_thought", "refusal", "useful", "correct")
LIMIT_TOKENS = 4096  # of a rollout where the settings do not say and the prompts are not the micro-world's
CUT = 0.05  # share of a suite's rollouts that are cut short, from which on it is said
DISCORDANT = 0.1  # share of prompts that two models are taken to answer differently, before any is asked


class SamplingConfig(EvaluateConfig):
    """How the model under test is sampled."""

    limit_tokens: int = Field(0, ge=0)  # 0: 96 in the micro-world, else 4096


class EvaluationConfig(Config):
    """Which suites, on which prompts, how sampled and judged."""

    model: str = "microworld"  # microworld, a folder, a hub name or a run directory; with --endpoint the name the server knows
    suites: list[str] = Field(["harm", "borderline", "benign", "task"], min_length=1)
    world: World = "auto"  # whose prompts; auto: the micro-world's for its own models
    sets: dict[str, list[str]] = Field(default_factory=dict)  # suite → sets, such as harm: [harmbench:FILE]; else the suite's own
    data: str = "${PRIMUM_DATA:-data}"  # folder of the suites' own sets
    templates: str = ""  # jailbreak: a file of wrappers such as gptfuzzer's GPTFuzzer.csv, one of them drawn for each request
    limit: int = Field(0, ge=0)  # prompts of a suite at most, drawn by the seed; 0: all
    seed: int = Field(0, ge=0)  # of the draw, and of the micro-world's corpus
    sampling: SamplingConfig = SamplingConfig()
    judge: JudgeConfig = JudgeConfig()
    cards: list[str] = Field(default_factory=list)  # of `primum judge calibrate`, of the signals that judge here
    endpoint: RemoteConfig = RemoteConfig()  # read with --endpoint
    max_unscored: float = Field(0.02, ge=0, le=1)  # share of a suite's rollouts that gold could not judge, before it fails

    @field_validator("suites", mode="before")
    @classmethod
    def _each_suite_once(cls, given: Any) -> Any:
        names = [name.strip() for name in given.split(",")] if isinstance(given, str) else given
        return list(dict.fromkeys(names)) if isinstance(names, list) and all(isinstance(n, str) for n in names) else names

    @field_validator("cards", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @field_validator("sets", mode="before")
    @classmethod
    def _one_set_is_a_list(cls, given: Any) -> Any:
        return {k: [v] if isinstance(v, str) else v for k, v in given.items()} if isinstance(given, dict) else given


def evaluate(model: Model, config: EvaluationConfig, run: Run, *, identity: dict[str, Any], world: bool) -> dict[str, Any]:
    """Every suite's numbers, kept in `evaluation.json` with the samples beside; only a failed suite is sampled again.

    `failed` names the suites of which gold could not judge more than `max_unscored`: a judge that is down makes nobody safe.
    """
    config = resolved(config, world)
    suites = [suite_of(name) for name in config.suites]
    for name in config.sets:
        suite_of(name, "sets")
    judge = build_judge(config.judge, "microworld" if world else "files")
    check_judge(judge, identity.get("rewards", ()), config)
    digests = {name: judge_digest(getattr(judge, name)) for name in JUDGED}
    cards = Cards(config.cards, digests)
    asked = {suite.name: prompts(suite, config, world) for suite in suites}
    hashes = {
        "weights": identity.get("weights"), "config": digest(config.model_dump()), "judge": digest(digests),
        "data": digest({name: [e.to_json() for e in examples] for name, examples in asked.items()}),
    }  # fmt: skip
    _claim(run, {"settings": config.model_dump(), **identity, "hashes": hashes})
    for suite in suites:
        run.say(_planned(suite, asked[suite.name], model, config))
    found = {s.name: _of_suite(s, asked[s.name], model, judge, cards, config, run.child(s.name)) for s in suites}
    failed = [name for name, told in found.items() if _failed(told, config)]
    out = {
        "model": {"name": model.name, **identity}, "judge": {"name": judge.name, "source": judge.source, "digests": digests,
        "cards": cards.to_json()}, "world": world, "hashes": hashes, "settings": config.model_dump(), "suites": found,
        "failed": failed, "warnings": _doubts(found, config), "environment": environment(),
    }  # fmt: skip
    write_json(run.path / "evaluation.json", out)
    return out


def resolved(config: EvaluationConfig, world: bool) -> EvaluationConfig:
    """The settings with room to answer: a reasoning model cut short at the micro-world's length would only look safe."""
    if config.sampling.limit_tokens:
        return config
    room = EvaluateConfig().limit_tokens if world else LIMIT_TOKENS
    return config.model_copy(update={"sampling": config.sampling.model_copy(update={"limit_tokens": room})})


def digest(told: Any) -> str:
    """SHA-256 of a plain tree, whatever the order of its keys."""
    said = json.dumps(plain(told), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def prompts(suite: Suite, config: EvaluationConfig, world: bool) -> list[Example]:
    """What the suite asks, first turns only: made of named sets, of the micro-world, or of the suite's own sets and prompts."""
    named = config.sets.get(suite.name)
    if named is None and world and suite.world:
        examples = build_corpus(MicroworldConfig(), config.seed).test
    else:
        own = suite.own() if suite.own is not None and named is None else []
        examples = [*own, *(e for spec in (named or _own_sets(suite, config)) for e in load_set(spec))]
    most = config.limit if suite.make is None else suite.requests
    found = chosen(examples, suite, most, config.seed)
    if not found:
        raise _promptless(suite, config)
    if suite.make is not None:
        found = drawn(suite.make(found, config.seed, _templates(config)), suite, config.limit, config.seed)
    return found


def judged(
    rollouts: Sequence[Rollout | None], asked: Sequence[Example], judge: Judge, suite: Suite | None = None
) -> list[Measured]:
    """Every rollout judged; one that was never answered is unscored in everything."""
    there = [r for r in rollouts if r is not None]
    names = list(suite.signals) if suite is not None else []
    columns = [suite.signals[name](there) for name in names] if suite is not None else []
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)] if names else [{} for _ in there]
    answered = iter(judge_rollouts(there, judge, rows))
    silent = dict.fromkeys(names, math.nan)
    return [unanswered(e, silent) if r is None else next(answered) for e, r in zip(asked, rollouts, strict=True)]


def suite_of(name: str, where: str = "suites") -> Suite:
    """The suite of this name; none is bad input."""
    if name not in SUITES:
        near = nearest(name, list(SUITES))
        raise BadInput(f"no suite '{name}'", where, f"did you mean '{near}'?" if near else f"choose among {', '.join(SUITES)}")
    return SUITES[name]


def _of_suite(
    suite: Suite, examples: list[Example], model: Model, judge: Judge, cards: Cards, config: EvaluationConfig, run: Run
) -> dict[str, Any]:
    noted = run.done()
    if noted is not None and not _failed(noted["found"], config):  # whatever kept it from being judged may be mended now
        return dict(noted["found"])
    kept = [e for e in examples if model.takes(e)]
    with run.ledger.clock("evaluate"), run.progress(suite.name, len(kept) * config.sampling.samples) as advance:
        asked, rollouts = _conversed(suite, kept, model, config.sampling, advance)
    measured = judged(rollouts, asked, judge, suite)
    write_jsonl(run.path / "samples.jsonl", (m.to_row(suite.name) for m in measured))
    told = summarise_suite(suite, measured)
    found = {
        **told, "unanswered": sum(r is None for r in rollouts), "not_asked": len(examples) - len(kept),
        "detectable": _detectable(kept), "corrected": cards.corrected(suite, measured),
        "samples": file_digest(run.path / "samples.jsonl"),
    }  # fmt: skip
    found = plain(found)
    run.finish(found=found)
    return dict(found)


def _failed(told: Mapping[str, Any], config: EvaluationConfig) -> bool:
    return told["unscored"] is None or told["unscored"] > config.max_unscored


def _conversed(
    suite: Suite, examples: Sequence[Example], model: Model, config: EvaluateConfig, advance: Any
) -> tuple[list[Example], list[Rollout | None]]:
    """Every turn's prompts and rollouts, one prompt for each rollout; a further turn is asked once of each rollout before."""
    asked, rollouts = [e for e in examples for _ in range(config.samples)], list(model.sample(examples, config, advance))
    latest, once = rollouts, config.model_copy(update={"samples": 1})
    while suite.turn is not None and (following := suite.turn([r for r in latest if r is not None])):
        latest = list(model.sample(following, once, advance))
        asked, rollouts = [*asked, *following], [*rollouts, *latest]
    return asked, rollouts


def _planned(suite: Suite, examples: Sequence[Example], model: Model, config: EvaluationConfig) -> str:
    """Before the run: how many prompts, and the least difference to another model that so many can show."""
    out = sum(not model.takes(e) for e in examples)
    least = _detectable([e for e in examples if model.takes(e)])["difference"]
    shown = "too few to show a difference from another model"
    if least is not None:
        shown = f"can show a difference of {least:.3f} or more from another model"
    left = f"; {out} begin the model's own words and are left out" if out else ""
    return f"{model.name}, {suite.name}: {len(examples) - out} prompts × {config.sampling.samples}, {shown}{left}"


def _detectable(examples: Sequence[Example]) -> dict[str, Any]:
    """The least paired difference that so many meanings show four times in five, at 5 %."""
    meanings = len({e.cluster for e in examples})
    least = detectable_paired(meanings, DISCORDANT) if meanings > 1 else math.nan
    return {"meanings": meanings, "discordant": DISCORDANT, "difference": None if math.isnan(least) else least}


def _promptless(suite: Suite, config: EvaluationConfig) -> BadInput:
    """Nothing to ask: none of the suite's own sets is there, or those that are named hold nothing of its kinds."""
    what = f"no {' or '.join(suite.kinds)} prompts for the suite '{suite.name}'"
    example = suite.sets[0].partition("?")[0] if suite.sets else "harmbench:FILE"
    if suite.name in config.sets:
        return BadInput(what, f"sets.{suite.name}", "name a set that holds some (docs/public_sets.md)")
    name, _, path = example.partition(":")
    remedy = f"set data=FOLDER (or PRIMUM_DATA) to where {path} lies, or name a set, sets.{suite.name}=[{name}:PATH]"
    return BadInput(what, str(expand(config.data)), f"{remedy} (docs/public_sets.md)")


def _own_sets(suite: Suite, config: EvaluationConfig) -> list[str]:
    """The suite's own sets that lie in the data folder; what is generated needs no file."""
    folder = expand(config.data)
    found = []
    for spec in suite.sets:
        name, _, path = spec.partition(":")
        if name == "generated":
            found.append(spec)
        elif (folder / path.partition("?")[0]).exists():
            found.append(f"{name}:{folder / path}")
    return found


def _templates(config: EvaluationConfig) -> list[tuple[str, str]]:
    if not config.templates:
        return []
    from primum.evaluate.public_templates import load_templates

    return load_templates(config.templates)


def _claim(run: Run, wanted: dict[str, Any]) -> None:
    """Make the folder this evaluation's, or refuse one that was begun with another model or other settings."""
    path, wanted = run.path / "config.json", plain(wanted)
    if not path.exists():
        write_json(path, wanted)
    elif (begun := read_json(path)) != wanted:
        told = sorted(differences(begun, wanted), key=lambda line: not line.startswith("settings."))  # hashes follow from them
        said = f"{told[0]}{f' and {len(told) - 1} more' if len(told) > 1 else ''}"
        raise BadInput(
            f"this evaluation was begun otherwise, {said}",
            str(run.path),
            "choose another --output, or remove this one" + _kept(run),
        )


def _kept(run: Run) -> str:
    """Where a server's answers lie: they need not be asked for again."""
    return " (its answers.jsonl, copied there first, saves asking again)" if (run.path / "answers.jsonl").exists() else ""


def _doubts(found: Mapping[str, Any], config: EvaluationConfig) -> list[str]:
    """What a careful reader should know before believing the numbers."""
    said = []
    for name, told in found.items():
        cut = told["outcomes"].get("truncated", 0) / told["rollouts"] if told["rollouts"] else 0.0
        if cut > CUT:
            room = f"sampling.limit_tokens={config.sampling.limit_tokens}"
            said.append(f"{name}: {cut:.0%} of its rollouts were cut short by {room}; what they would have done is not known")
        first, headline = next(iter(told["metrics"].items()))
        if not headline["n"] and headline["unscored"]:  # else it is not asked here
            said.append(f"{name}: {first.replace('_', ' ')} is not known of any rollout")
        if told["not_asked"]:
            said.append(
                f"{name}: {told['not_asked']} prompts were left out, which begin the model's own words (endpoint.continue_final)"
            )
    return said


def check_judge(judge: Judge, rewards: Sequence[str], config: EvaluationConfig) -> None:
    """Refuse the reward's own signal as judge, unless the settings say that it is known."""
    if judge.source in rewards and not config.judge.shared_with_reward:
        remedy = "choose another judge, or set judge.shared_with_reward=true and read harm as the reward's own opinion"
        raise BadInput(f"this model was trained on its judge, {judge.name}", "judge.harm", remedy)
