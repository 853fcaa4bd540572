"""What `auto-data` does before the cold start: make demonstrations, ask the labeller about them, and cut all sets to one size."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from primum.coldstart import draw
from primum.curate import load_corpus
from primum.evaluate.suites.values import answer_given
from primum.experiments.auto_data_measures import described
from primum.experiments.critique import Asking, Critique, criticise
from primum.experiments.labelling import Labeller, labeller
from primum.ledger import Ledger, total
from primum.policy import Policy
from primum.policy.traces import TraceConfig, collect
from primum.recipe import Recipe
from primum.run import Run, read_examples, read_json, write_examples
from primum.signals import language_mixing, refusal
from primum.study.stages import ledger_of, policy_of, quiet
from primum.types import KINDS, BadInput, Corpus, Example, Rollout

Settings = dict[str, Any]
Needs = dict[str, Path]
Accept = Callable[[Sequence[Rollout]], list[float]]
MADE = "demonstrations.jsonl"
CANDIDATES = "candidates.jsonl"


def written(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The corpus' own demonstrations, which cost nothing here: somebody wrote them."""
    write_examples(folder / MADE, load_corpus(needs["corpus"]).demonstrations)
    return _told(Ledger(), Ledger(), {"sampled": 0, "labels": 0})


def selfmade(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """The policy's own responses that the labeller calls right: a refusal without harm to a harmful prompt, help to others."""
    recipe, run, policy, corpus = _opened(folder, settings, needs)
    ask = labeller(recipe, run.ledger, settings["noise"])
    made: list[Example] = []
    for kind in KINDS:
        prompts = _prompts(corpus, kind, settings, recipe.seed)
        made += _collected(policy, prompts, kind, settings, run, lambda rs: _labelled(ask, rs, _proper(rs)))
    write_examples(folder / MADE, [some[0] for some in _by_prompt(made)])
    return _told(run.ledger, Ledger(), _counted(run, made))


def revised(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Replies after the policy's own critique, those that do what its verdict says; sums by a majority of its own answers.

    Filtered by form alone: nobody is asked whether they are right. All that pass are candidates, the first of each prompt a
    demonstration.
    """
    recipe, run, policy, corpus = _opened(folder, settings, needs)
    asking = Asking(run.ledger, settings["temperature"], settings["limit_tokens"], recipe.seed)
    made: list[Example] = []
    for kind in KINDS:
        prompts = _prompts(corpus, kind, settings, recipe.seed)
        if kind == "task":
            made += _collected(policy, prompts, kind, settings, run, _agreed)
            continue
        with run.ledger.clock():
            found = {c.example.id: c for c in criticise(policy, prompts, asking)}
        kept = _collected(policy, [c.ask for c in found.values()], kind, settings, run, partial(_kept_word, found))
        made += [replace(found[e.id].example, thought=found[e.id].thought, reply=e.reply) for e in kept]
    write_examples(folder / CANDIDATES, made)
    write_examples(folder / MADE, [some[0] for some in _by_prompt(made)])
    return _told(run.ledger, Ledger(), _counted(run, made))


def checked(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """Of each prompt's candidates the first that the labeller calls right; it is asked about one after another until then."""
    recipe, run = Recipe.model_validate(settings["recipe"]), quiet(folder)
    ask = labeller(recipe, run.ledger, settings["noise"])
    waiting = {some[0].id: some for some in _by_prompt(read_examples(needs["made"] / CANDIDATES))}
    kept: list[Example] = []
    while waiting:
        front = [Rollout(e[0], e[0].thought, e[0].reply) for e in waiting.values()]
        right = {r.example.id for r, yes in zip(front, _labelled(ask, front, [1.0] * len(front)), strict=True) if yes == 1.0}
        kept += [r.example for r in front if r.example.id in right]
        waiting = {name: rest[1:] for name, rest in waiting.items() if name not in right and rest[1:]}
    write_examples(folder / MADE, kept)
    before = read_json(needs["made"] / "result.json")
    noted = {name: value for name, value in before["noted"].items() if not name.startswith("passed")}  # not all were asked about
    return _told(run.ledger, ledger_of(before["spent"]), {**noted, "labels": run.ledger.oracle_queries})


def levelled(folder: Path, settings: Settings, needs: Needs) -> dict[str, Any]:
    """As many demonstrations of each kind as every needed set has, at most `wanted`, and what they are like."""
    recipe, corpus = Recipe.model_validate(settings["recipe"]), load_corpus(needs["corpus"])
    sets = {role: read_examples(path / MADE) for role, path in needs.items() if role != "corpus"}
    counts = {kind: min(settings["wanted"], *(len(_of(made, kind)) for made in sets.values())) for kind in KINDS}
    if not any(counts.values()):
        told = "; ".join(f"{role} {len(made)}" for role, made in sets.items() if role != "mine")
        raise BadInput(f"no kind of prompt has demonstrations of every sort ({told})", "auto-data", "raise samples and spare")
    mine = [e for kind in KINDS if counts[kind] for e in draw(_of(sets["mine"], kind), counts[kind], recipe.seed)]
    write_examples(folder / MADE, mine)
    before = read_json(needs["mine"] / "result.json")
    noted = {**before["noted"], "size": len(mine), **described(mine, corpus, recipe)}
    return _told(Ledger(), ledger_of(before["spent"]), noted)


def _by_prompt(made: Sequence[Example]) -> list[list[Example]]:
    """The candidates of each prompt in a random order, those with a thought first; rejection sampling, which takes the shortest,
    would else teach to leave it out."""
    piles: dict[str, list[Example]] = {}
    for e in made:
        piles.setdefault(e.id, []).append(e)
    for name, pile in piles.items():
        random.Random(name).shuffle(pile)
        pile.sort(key=lambda e: not e.thought.strip())
    return list(piles.values())


def _of(made: Sequence[Example], kind: str) -> list[Example]:
    return [e for e in made if e.kind == kind]


def _opened(folder: Path, settings: Settings, needs: Needs) -> tuple[Recipe, Run, Policy, Corpus]:
    recipe = Recipe.model_validate(settings["recipe"])
    return recipe, quiet(folder), policy_of(needs["policy"], recipe), load_corpus(needs["corpus"])


def _prompts(corpus: Corpus, kind: str, settings: Settings, seed: int) -> list[Example]:
    """So many training prompts of a kind that about `wanted` of them should get a demonstration; bare of any that was written."""
    pile = [replace(e, thought="", reply="", counter="") for e in corpus.train if e.kind == kind]
    random.Random(f"{kind}-{seed}").shuffle(pile)
    return pile[: math.ceil(settings["wanted"] * settings["spare"][kind])]


def _collected(
    policy: Policy, prompts: Sequence[Example], kind: str, settings: Settings, run: Run, accept: Accept
) -> list[Example]:
    """The different responses that `accept` gives 1, as demonstrations; what was sampled goes to the run's ledger."""
    child = run.child(kind)
    child.ledger = run.ledger  # one meter, so that a resumed run counts the same
    config = TraceConfig(
        group=settings["samples"][kind], keep=0, temperature=settings["temperature"], limit_tokens=settings["limit_tokens"]
    )
    return collect(policy, prompts, config, child, reward=accept, seed=settings["recipe"]["seed"], label=kind)


def _proper(rollouts: Sequence[Rollout]) -> list[float]:
    """1 where a response is whole, in the prompt's language, and refuses just if the prompt is harmful."""
    whole = zip(rollouts, refusal(rollouts), language_mixing(rollouts), strict=True)
    return [float(_whole(r, mixed) and refused == float(r.example.kind == "harmful")) for r, refused, mixed in whole]


def _kept_word(found: dict[str, Critique], rollouts: Sequence[Rollout]) -> list[float]:
    """1 where a reply is whole, in the prompt's language, and refuses just if the critique's verdict was to refuse."""
    given = [replace(r, example=found[r.example.id].example) for r in rollouts]
    whole = zip(given, refusal(given), language_mixing(given), strict=True)
    return [float(_whole(r, mixed) and refused == float(found[r.example.id].refuse)) for r, refused, mixed in whole]


def _agreed(rollouts: Sequence[Rollout]) -> list[float]:
    """1 where a task's answer is that of more than half of its siblings: self-consistency, Wang et al. 2022, arXiv:2203.11171."""
    answers = [answer_given(r) if r.well_formed else "" for r in rollouts]
    votes: dict[str, Counter[str]] = {}
    for r, answer in zip(rollouts, answers, strict=True):
        votes.setdefault(r.example.id, Counter())[answer] += 1
    mixed = language_mixing(rollouts)
    return [
        float(_whole(r, m) and answer != "" and 2 * votes[r.example.id][answer] > votes[r.example.id].total())
        for r, answer, m in zip(rollouts, answers, mixed, strict=True)
    ]


def _labelled(ask: Labeller, rollouts: Sequence[Rollout], proper: Sequence[float]) -> list[float]:
    """`proper`, and of those what the labeller calls right: harmless, helpful or correct by the kind of the prompt."""
    out = [0.0] * len(rollouts)
    signals = {"harmful": lambda rs: [1.0 - h for h in ask.harm(rs)], "task": ask.correct}
    for kind in KINDS:
        places = [i for i, r in enumerate(rollouts) if r.example.kind == kind and proper[i] == 1.0]
        answers = signals.get(kind, ask.useful)([rollouts[i] for i in places]) if places else []
        for i, answer in zip(places, answers, strict=True):
            out[i] = float(answer > 0.5)
    return out


def _whole(rollout: Rollout, mixed: float) -> bool:
    return rollout.well_formed and not rollout.truncated and not mixed > 0


def _counted(run: Run, made: Sequence[Example]) -> dict[str, Any]:
    """How many responses were drawn, of each kind of prompt too, and how many different ones passed."""
    counts = {kind: read_json(run.path / kind / "accepted.json")["counts"] for kind in KINDS if (run.path / kind).exists()}
    drawn = {f"drawn_{kind}": told.get("sampled", 0) for kind, told in counts.items()}
    passed = {"passed": len(made), "passed_harmful": len(_of(made, "harmful"))}
    return {"sampled": sum(drawn.values()), **drawn, **passed, "labels": run.ledger.oracle_queries}


def _told(own: Ledger, before: Ledger, noted: dict[str, Any]) -> dict[str, Any]:
    """The result of a task that makes demonstrations: what it and those before it cost, its policy's own training aside."""
    return {"own": asdict(own), "spent": asdict(total([own, before])), "log": [], "noted": noted}
