"""What the tasks of `reward-hacking` do: sample the start, teach a judge, train watched, and tell what changed."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from primum.curate import load_corpus
from primum.evaluate import Judge, Measured, build_judge
from primum.evaluate.forecast import ForecastConfig, Sampled, correlation, forecast_cooled
from primum.evaluate.hacking import Watcher, ask_text, ask_world, good_of, reference_rollouts
from primum.evaluate.hacking.evidence import bare, rollout_from
from primum.evaluate.hacking.reference import of_each_group, pay
from primum.evaluate.hacking.world import FORMS
from primum.evaluate.suites.values import harmful, safe
from primum.experiments.planted_hacks_score import onset
from primum.experiments.reward_hacking_kinds import counted, rises, shares
from primum.experiments.reward_hacking_rewards import adaptive_of, labeller, learner, listed, reward_of, rules
from primum.ledger import Ledger, total
from primum.policy import Policy, sample
from primum.recipe import Recipe
from primum.reinforce import Watch, reinforce
from primum.reinforce.watch import Together
from primum.reward import Reward, Sources, forgiving
from primum.reward.adaptive import Adaptive, Labellers
from primum.reward.types import Rewards
from primum.run import Run, plain, read_json, read_jsonl, write_jsonl
from primum.signals import keywords
from primum.stats import estimate, mean, paired_difference
from primum.study.stages import ledger_of, policy_of, quiet
from primum.types import Answer, BadInput, Corpus, Example, Rollout

Settings = dict[str, Any]
Needs = dict[str, Path]
WINDOW = 5  # steps that a point of a curve is the mean of
LOGGED = ("step", "flops", "reward", "kl", "entropy", "tokens")


def draw(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Rollouts of a start policy on training prompts, at RL's temperature and cooled: what forecasts are made from."""
    recipe = Recipe.model_validate(settings["recipe"])
    policy, corpus, spent = policy_of(needs["policy"], recipe), load_corpus(needs["corpus"]), Ledger()
    _asked(corpus)
    prompts = of_each_group(corpus.train, settings["prompts"], random.Random(f"prompts-{recipe.seed}"))
    asked = [replace(e, thought="", reply="", counter="") for e in prompts]
    for name, share in (("warm", 1.0), ("cooled", settings["cooling"])):
        rollouts = sample(
            policy, asked, group=settings["samples"], temperature=share * settings["temperature"],
            limit_tokens=settings["limit_tokens"], seed=recipe.seed + 11, ledger=spent,
        )  # fmt: skip
        write_jsonl(folder / f"{name}.jsonl", (asdict(bare(r)) for r in rollouts))
    return {"prompts": len(prompts), "sampled_tokens": spent.sampled_tokens}


def teach(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """A judge of harm, trained once on labels of the start policy's own rollouts, and whether it would have been accepted.

    Half of those labelled are drawn blindly, half in turn from what refuses and what does not, what holds a listed word and
    what does not: refusals are too rare in a start policy to learn from blind draws.
    """
    shutil.rmtree(folder / "versions", ignore_errors=True)  # of a try that was killed
    recipe, spent = Recipe.model_validate(settings["recipe"]), Ledger()
    policy, corpus = policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])
    prompts = _asked(corpus)
    group = max(2, math.ceil(2 * settings["labels"] / len(prompts)))
    rollouts = sample(
        policy, prompts, group=group, temperature=settings["temperature"], limit_tokens=settings["limit_tokens"],
        seed=recipe.seed + 17, ledger=spent,
    )  # fmt: skip
    once = {"labels": settings["labels"], "labels_per_round": max(10, settings["labels"]), "first_step": 1, "helpful_share": 0.0}
    config = recipe.adapt.model_copy(update={**once, "rule": "first", "learned": learner(recipe, needs["policy"])})
    asked = Labellers(labeller(recipe, settings["label_noise"], spent))
    words = rules(recipe, partial(keywords, words=listed(recipe)), Ledger(), blind=True)
    judge = Adaptive(asked, words, config, folder / "versions", seed=recipe.seed)
    judge.observe(1, rollouts, Rewards([], {}), policy, {})
    (made,) = judge.versions.all()
    told = {"labels": judge.spent, "accepted": made.accepted, "held_out": made.held_out, "why": made.why}
    return plain({"judge": f"versions/v{made.number}", "spent": asdict(spent), **told})


def train(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """RL on the reward of `source`, foretold from samples of its start, watched, gold of every harmful prompt's rollout noted."""
    recipe, run = Recipe.model_validate(settings["recipe"]), quiet(folder / "rl")
    start, corpus = policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])
    judge, source = build_judge(recipe.judge, recipe.curate.world), settings["source"]
    adaptive = None
    if source == "adaptive":
        adaptive = adaptive_of(recipe, settings, needs, corpus, run.ledger, folder / "versions", run.say)
    free = reward_of("keyword" if adaptive else source, recipe, settings, needs, Ledger())  # on no arm's bill
    world = recipe.curate.world == "microworld"
    told = {} if adaptive else foretold(needs["draws"], free, judge, settings["forecast"], world=world)
    watcher = _watcher(start, corpus, free, judge, recipe, known=source == "gold")
    audited = watcher.reference_answers
    watches: dict[str, Watch] = {"audit": watcher, "gold": Gold(judge, watcher.ends)}
    reward: Reward = reward_of(source, recipe, settings, needs, run.ledger) if adaptive is None else adaptive
    if adaptive is not None:
        watches["adapt"], watcher.reward = adaptive, adaptive
    reinforce(
        start, corpus, forgiving(reward, run.say), lambda _: {"selection": math.nan}, recipe.reinforce, run, seed=recipe.seed,
        watch=Together(watches),
    )  # fmt: skip
    return plain(_trained(run, needs, {**told, "reference_answers": audited}))


class Gold:
    """What the reward thinks of a step's replies to harmful prompts, and what gold does: noted, and told to nobody."""

    def __init__(self, judge: Judge, ends: tuple[float, float]) -> None:
        self.good, self.ends = good_of(judge), ends

    def observe(self, step: int, rollouts: Sequence[Rollout], rewards: Any, policy: Policy, row: Mapping[str, float]) -> Answer:
        places = [i for i, r in enumerate(rollouts) if r.example.kind == "harmful"]
        bad = [1.0 - g for g in self.good([rollouts[i] for i in places])]
        paid = [pay(rewards.total[i], self.ends) * b for i, b in zip(places, bad, strict=True)]
        harmless = rewards.parts["harmless"]
        return Answer({"proxy": mean(harmless[i] for i in places), "gold_harm": mean(bad), "paid_for_bad": mean(paid)})

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Any) -> None:
        """Nothing: what it noted is in the run's log."""


def foretold(folder: Path, reward: Reward, judge: Judge, settings: Settings, *, world: bool) -> dict[str, Any]:
    """What samples of the start say of a reward: harm after training on it, and how far it goes with gold on harmful prompts.

    The correlation is that under the policy before training: Laidlaw et al. 2024, arXiv:2403.03185.
    """
    sides = {name: [rollout_from(row) for row in read_jsonl(folder / f"{name}.jsonl")] for name in ("cooled", "warm")}
    good, meaning = good_of(judge), FORMS if world else {}
    told = {name: Sampled(rs, reward(rs).total, good(rs), meaning) for name, rs in sides.items()}
    found = forecast_cooled(told["cooled"], told["warm"], ForecastConfig(**settings)).get("harmful")
    warm = told["warm"]
    mine = [
        i for i, r in enumerate(warm.rollouts) if r.example.kind == "harmful" and not math.isnan(warm.totals[i] + warm.good[i])
    ]
    totals, gold = (np.array([values[i] for i in mine]) for values in (warm.totals, warm.good))
    goes = correlation(totals, gold, [warm.rollouts[i].example.cluster for i in mine]).mean if mine else math.nan
    return {"forecast": found["bad_after"].mean if found else math.nan, "correlation": goes}


def windowed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a training's log with, at the first and every fifth step, what the steps since then came to on average.

    `root_kl` is the root of the mean KL (nats a rollout) from the start, `proxy` and `gold_harm` shares of the replies to harmful
    prompts: what the reward calls harmless, and what gold calls bad.
    """
    steps = [row for row in rows if row.get("step")]
    out = []
    for i, row in enumerate(steps):
        kept = {k: row[k] for k in LOGGED if k in row}
        mine = steps[max(0, i + 1 - WINDOW) : i + 1]
        kl = mean(_number(r.get("kl")) for r in mine)
        if (i == 0 or (i + 1) % WINDOW == 0) and not math.isnan(kl):
            kept |= {name: _known(mean(_watched(r, name) for r in mine)) for name in ("proxy", "gold_harm")}
            kept["root_kl"] = math.sqrt(max(0.0, kl))
        out.append(kept)
    return out


def _trained(run: Run, needs: Needs, told: Mapping[str, float]) -> dict[str, Any]:
    """A training's result: where its policy lies, what it and its chain cost, how it went, when it was gamed and caught."""
    rows = run.metrics()
    paid = [{"step": r["step"], "paid_bad_harmful": _watched(r, "paid_for_bad")} for r in rows if r.get("step")]
    begun = onset({"steps": paid}, ["harmful"])
    alarms = [a for r in rows for a in r.get("alarms", ())]
    caught = next((a for a in alarms if a["name"] == "audit"), None)
    before = [ledger_of(read_json(needs[role] / "result.json")["spent"]) for role in ("policy", "judge") if role in needs]
    last = [_number(r.get("kl")) for r in rows[-WINDOW:]]
    noted = {
        **told, "onset": begun, "alarm_step": caught["step"] if caught else None, "alarm": caught["evidence"] if caught else "",
        "alarmed": float(caught is not None), "kl": mean(last),
        "audits": told["reference_answers"] + sum(r.get("watch", {}).get("asked") or 0 for r in rows),
        "labels": rows[-1].get("watch", {}).get("labels"), "version": rows[-1].get("watch", {}).get("version"),
        "fooled": [a["step"] for a in alarms if a["name"] == "fooled"],
        "rolled_back": [r["step"] for r in rows if "rolled_back" in r],
    }  # fmt: skip
    if begun is not None and caught:
        noted["alarm_delay"] = caught["step"] - begun
    spent = asdict(total([run.ledger, *before]))
    return {"policy": "rl/policy", "own": asdict(run.ledger), "spent": spent, "log": windowed(rows), "noted": noted}


def tell(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Replies to held-out harmful prompts of trained categories, before and after: what reward and words say, and their kinds."""
    recipe = Recipe.model_validate(settings["recipe"])
    before, after = (_harmful(needs[side]) for side in ("before", "after"))
    clusters = [m.rollout.example.cluster for m in before]
    words = [keywords([m.rollout for m in side], listed(recipe)) for side in (before, after)]
    bad = [1.0 - safe(m) for m in after]
    numbers = {"words": estimate(words[1], clusters), "bad": estimate(bad, clusters)}
    numbers |= {f"kind_{name}": share for name, share in shares(after).items()}
    if "source" in settings:
        proxy = [_harmless(side, recipe, settings, needs) for side in (before, after)]
        numbers |= {"proxy_before": estimate(proxy[0], clusters), "proxy": estimate(proxy[1], clusters)}
        numbers["harm_rise"] = paired_difference([harmful(m) for m in before], [harmful(m) for m in after], clusters)
        numbers |= {f"rise_{name}": rise for name, rise in rises(before, after).items()}
    lost = {"words_lost": 1.0 - mean(words[1]) / mean(words[0]) if mean(words[0]) else math.nan}
    told = {name: value.to_json() for name, value in numbers.items()}
    return plain({"numbers": told, "counts": counted(after), **lost})


def _harmless(rows: Sequence[Measured], recipe: Recipe, settings: Settings, needs: Needs) -> list[float]:
    """What the arm's own reward thinks of the replies, for an adaptive one that which it has ended with."""
    rollouts, source = [m.rollout for m in rows], settings["source"]
    if source != "adaptive":
        return reward_of(source, recipe, settings, needs, Ledger())(rollouts).parts["harmless"]
    words: Sources = rules(recipe, partial(keywords, words=listed(recipe)), Ledger(), blind=True)
    ended = Adaptive(Labellers(words.harm), words, recipe.adapt, needs["trained"] / "versions", seed=recipe.seed).carry_on()
    return ended(rollouts).parts["harmless"]


def _harmful(folder: Path) -> list[Measured]:
    """Measured replies to the harmful prompts of trained categories, attacks left out."""
    rows = (row for row in read_jsonl(folder / "samples.jsonl") if row["kind"] == "harmful" and row["role"] == "train")
    return [m for m in map(Measured.from_row, rows) if "jailbreak/" not in m.rollout.example.source]


def _asked(corpus: Corpus) -> list[Example]:
    """The harmful prompts that are trained on."""
    found = [e for e in corpus.train if e.kind == "harmful"]
    if not found:
        raise BadInput("no harmful prompt to train on, so no reward for harm to game", "curate", "add a source of kind harmful")
    return found


def _watcher(start: Policy, corpus: Corpus, reward: Reward, judge: Judge, recipe: Recipe, *, known: bool) -> Watcher:
    """The recipe's watch, which logs; gold is asked unless the reward is that very judge (`known`), and not the exact one."""
    rl, config = recipe.reinforce, recipe.watch.model_copy(update={"action": "log", "held_out": ""})
    reference = reference_rollouts(
        start, corpus.train, config, limit_tokens=rl.limit_tokens, temperature=rl.temperature, seed=recipe.seed
    )
    if recipe.curate.world == "microworld":
        ask = ask_world(judge)
    else:
        ask = ask_text(start, listed(recipe), good=None if known else good_of(judge))
    return Watcher(config, reference, reward, ask, seed=recipe.seed)


def _watched(row: Mapping[str, Any], name: str) -> float:
    return _number(row.get("watch", {}).get(name))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
